/* Two processes wait for an object; who seals it, and wakes them, may die at any step.
 *
 * Stands for:  sleeper    sleep_until, wr_park (client/wait.c, client/client.c), wr_objects_watch
 *                         (store/objects.c)
 *              sealer     wr_objects_seal (store/objects.c), wr_wake (shm/segment.c)
 *              sweeper    lose (sched/sweep_memory.c), wr_wake_stranded (shm/segment.c)
 * Claims:      nobody sleeps for ever (pan: no invalid end state).
 * Mutations:   LATE_SEEN (the sleeper counts the events after it has looked)
 *              NO_STRANDED (the sweep does not wake everybody)
 *              NO_PARK (the sleeper does not say that it sleeps)
 */
#define SLEEPERS 2
bool sealed = false, watched[SLEEPERS]; /* one word: the object's state with its two watchers */
bool park[SLEEPERS], asleep[SLEEPERS];  /* asleep: in the kernel, on the word `park` */
byte events[SLEEPERS];
bool dead = false, swept = false;

#define MAY_DIE if :: goto died :: skip fi

proctype sleeper(byte me) {
  byte seen;
again:
#ifndef LATE_SEEN
  seen = events[me];
#endif
  if /* look, and ask to be woken */
  :: atomic { sealed -> goto done }
  :: atomic { !sealed -> watched[me] = true }
  fi;
#ifdef LATE_SEEN
  seen = events[me];
#endif
#ifndef NO_PARK
  park[me] = true;
  if :: events[me] != seen -> goto again :: else fi;
  atomic { asleep[me] = park[me] }; /* the kernel compares and lies down at once */
#else
  atomic { asleep[me] = (events[me] == seen) };
#endif
  !asleep[me];
  goto again;
done: skip
}

active proctype sealer() {
  bool wake[SLEEPERS], was;
  byte k = 0;
  MAY_DIE;
  atomic { sealed = true; wake[0] = watched[0]; wake[1] = watched[1] };
  do
  :: k < SLEEPERS && wake[k] ->
     MAY_DIE;
     events[k]++;
     MAY_DIE;
     atomic { was = park[k]; park[k] = false };
     MAY_DIE;
     if :: was -> asleep[k] = false :: else fi;
     k++
  :: k < SLEEPERS && !wake[k] -> k++
  :: k == SLEEPERS -> break
  od;
  goto done;
died:
  dead = true;
done: skip
}

active proctype sweeper() {
  byte k = 0;
  bool wake[SLEEPERS];
end:
  dead;
  atomic { /* nobody else will seal it */
    if :: !sealed -> sealed = true; wake[0] = watched[0]; wake[1] = watched[1] :: else fi
  };
#ifdef NO_STRANDED
  do
  :: k < SLEEPERS && wake[k] -> events[k]++; park[k] = false; asleep[k] = false; k++
  :: k < SLEEPERS && !wake[k] -> k++
  :: k == SLEEPERS -> break
  od;
#else
  do
  :: k < SLEEPERS -> events[k]++; park[k] = false; asleep[k] = false; k++
  :: k == SLEEPERS -> break
  od;
#endif
  swept = true
}

init { atomic { run sleeper(0); run sleeper(1) } }
