/* A worker lies down while a task is submitted; the submitter, or the worker that watches the
 * queues for the others, may die at any step.
 *
 * Stands for:  worker     next_task, watch_queues, lie_down (client/work.c)
 *              submitter  wr_queue_push, wr_pool_kick, pick_idle (sched/queue.c)
 *              sweeper    leave_pools, visit_task, wr_pool_kick_all, wr_wake_stranded
 * Claims:      the task is taken in the end (pan: no invalid end state).
 * Mutations:   NO_LOOK (a worker lies down without another look at the queue)
 *              NO_LEAVE (the sweep leaves the dead in the place of the one that watches)
 *              NO_KICK (the sweep wakes nobody)
 *              OTHER_WORD (a sleeper sleeps on the count of events, wakers clear `park`: one that is
 *              late clears it for an event that was counted, and the next makes no call)
 */
byte entries = 0;         /* of the queue */
bool taken = false;
byte spinning = 0;        /* who watches the queue; 0: nobody */
bool idle[4], park[4], asleep[4];
byte events[4];
byte deaths = 1, dead = 0;
bool hand[4];

#define MAY_DIE if :: atomic { deaths > 0 -> deaths--; dead = me; goto died } :: skip fi

inline wake(k) {
  events[k]++;
  MAY_DIE;
  atomic { was = park[k]; park[k] = false };
  MAY_DIE;
  if :: was -> asleep[k] = false :: else fi
}

inline take() {
  hand[me] = true;
  if
  :: atomic { entries > 0 -> entries--; got = true }
  :: entries == 0 -> got = false
  fi;
  if :: got -> MAY_DIE; taken = true; hand[me] = false; goto done :: else fi;
  hand[me] = false
}

proctype worker(byte me) {
  byte seen;
  bool got, mine;
again:
  if :: taken -> goto done :: else fi;
  take();
  atomic { mine = (spinning == 0); if :: mine -> spinning = me :: else fi };
  if
  :: mine -> /* watches for a while, and gives up whether or not there is something */
     MAY_DIE;
     spinning = 0;
     if :: entries > 0 -> goto again :: else fi
  :: else
  fi;
  MAY_DIE;
  seen = events[me];
  idle[me] = true;
#ifndef NO_LOOK
  take();
#endif
  if :: taken -> goto done :: else fi;
  park[me] = true;
  MAY_DIE;
#ifndef OTHER_WORD
  if :: events[me] != seen -> idle[me] = false; goto again :: else fi;
  atomic { asleep[me] = park[me] };
#else
  atomic { asleep[me] = (events[me] == seen) };
#endif
  if :: !asleep[me] :: atomic { taken && asleep[me] -> goto done } fi; /* nothing is left to do */
  idle[me] = false;
  goto again;
died: skip;
done: skip
}

active proctype submitter() {
  byte me = 3, k = 0;
  bool was, mine;
  hand[me] = true;
  MAY_DIE;
  entries++;
  MAY_DIE;
  if
  :: spinning != 0 -> goto queued /* who watches will find it */
  :: spinning == 0
  fi;
  atomic {
    if
    :: idle[1] -> idle[1] = false; k = 1
    :: !idle[1] && idle[2] -> idle[2] = false; k = 2
    :: else
    fi
  };
  MAY_DIE;
  if :: k -> wake(k) :: else fi;
queued:
  hand[me] = false;
died: skip
}

active proctype sweeper() {
  byte k = 1;
end:
  dead != 0;
  idle[dead] = false;
#ifndef NO_LEAVE
  if :: spinning == dead -> spinning = 0 :: else fi;
#endif
  if :: hand[dead] && !taken -> entries++ :: else fi; /* twice does no harm */
  hand[dead] = false;
#ifndef NO_KICK
  do
  :: k < 3 -> events[k]++; park[k] = false; asleep[k] = false; k++
  :: k == 3 -> break
  od
#endif
}

init { atomic { run worker(1); run worker(2) } }
