/* A task is submitted, claimed, run and completed; any process may die at any step.
 *
 * Stands for:  submitter  wr_tasks_submit (sched/task.c), wr_queue_push (sched/queue.c)
 *              worker     wr_ring_take (shm/ring.c), take_from, claim_task (sched/queue.c),
 *                         wr_tasks_finish (sched/task.c)
 *              sweeper    visit_task, task_of_the_dead (sched/sweep.c)
 * Claims:      the task is sealed in the end, unless its submitter died before it was QUEUED; it is
 *              never run by two living processes, nor after it was sealed; its record goes.
 * Mutations:   NO_HAND (a worker takes an entry without saying so first)
 *              BLIND_CLAIM (the claim is a store instead of a swap)
 *              NO_WRITTEN (the sweep does not finish what was complete)
 *              NO_FLAG (the sweep forgets who had finished and not let go)
 */
#define SLOTS 4 /* 1 submits, 2 and 3 work; 0 is nobody */
#ifndef DEATHS
#define DEATHS 2
#endif
mtype = { BUILDING, QUEUED, RUNNING, FINISHED, GONE };
mtype phase = BUILDING;
byte owner = 1;       /* slot in the task's word: who builds, runs or finished it */
byte entries = 0;     /* of the queue, which are hints */
bool hand[SLOTS];     /* the process has the task in hand */
bool written = false, sealed = false, task_flag = true;
byte running = 0;     /* living processes that run it */
byte deaths = DEATHS;
byte dead = 0;        /* slot to be swept */
#define over (phase == GONE || (sealed && !task_flag))

/* Between any two steps the kernel may take the process away. */
#define MAY_DIE if :: atomic { deaths > 0 -> deaths--; goto died } :: skip fi

active proctype submitter() {
  MAY_DIE;
  hand[1] = true;
  MAY_DIE;
  atomic { phase = QUEUED; owner = 0 };
  MAY_DIE;
  entries++;
  MAY_DIE;
  hand[1] = false;
  goto done;
died:
  atomic { dead == 0 -> dead = 1 };
done: skip
}

proctype worker(byte me) {
  bool runs = false;
again:
  if
  :: over -> goto done
  :: entries > 0
  fi;
#ifndef NO_HAND
  hand[me] = true;
#endif
  MAY_DIE;
  if
  :: atomic { entries > 0 -> entries-- }
  :: entries == 0 -> hand[me] = false; goto again
  fi;
  MAY_DIE;
#ifdef BLIND_CLAIM
  if
  :: phase == QUEUED -> MAY_DIE; atomic { phase = RUNNING; owner = me }
#else
  if
  :: atomic { phase == QUEUED -> phase = RUNNING; owner = me }
#endif
  :: phase != QUEUED -> hand[me] = false; goto again
  fi;
  MAY_DIE;
  hand[me] = false;
  atomic { running++; runs = true; assert(running == 1); assert(!sealed) };
  MAY_DIE;
  atomic { running--; runs = false; written = true };
  MAY_DIE;
  sealed = true;
  MAY_DIE;
  atomic { phase = FINISHED; owner = me };
  MAY_DIE;
  task_flag = false;
  goto done;
died:
  atomic { dead == 0 -> running = running - (runs -> 1 : 0); runs = false; dead = me };
  dead != me; /* swept: another process in this slot */
  goto again;
done: skip
}

/* Swept one at a time, by a process that does not die: its death ends the session. */
active proctype sweeper() {
  bool had;
end:
  do
  :: dead != 0 ->
     had = hand[dead];
     if
     :: phase == BUILDING && owner == dead -> phase = GONE
     :: phase == QUEUED && had -> entries++
     :: phase == RUNNING && owner == dead ->
        if
#ifndef NO_WRITTEN
        :: written -> sealed = true; atomic { phase = FINISHED; owner = 0 }; task_flag = false
        :: !written ->
#else
        :: true ->
#endif
           atomic { phase = QUEUED; owner = 0 };
           entries++
        fi
#ifndef NO_FLAG
     :: phase == FINISHED && owner == dead -> task_flag = false
#endif
     :: else
     fi;
     hand[dead] = false;
     dead = 0
  od
}

init { atomic { run worker(2); run worker(3) } }
