/* Two callers push a call each into the mailbox of an actor, which takes it whole.  Any of the three
 * may die at any step; the actor is started again, and its calls are put back.
 *
 * Stands for:  caller     deliver, push (sched/actor.c)
 *              actor      fetch_calls, claim_call (client/work.c), wr_actor_take_all (sched/actor.c)
 *              sweeper    settle_push, rebuild_mailbox, drop_coming (sched/sweep.c), wr_tag_pending
 *                         (shm/tagged.c)
 * Claims:      a call that was QUEUED is answered, once; no call is linked twice at a time.
 * Mutations:   NO_SETTLE (the sweep forgets a call that its dead caller had not pushed)
 *              NO_SINCE (calls that come while the mailbox is rebuilt are not looked for)
 *              NO_COMING (a call that its caller is about to push counts as lost)
 *              NO_LOST (calls that the dead actor had fetched are not put back)
 */
#define A 1 /* callers and their calls; bits of the mailbox */
#define B 2
#define ACTOR 3
#define BIT(k) (1 << ((k) - 1))
mtype = { BUILDING, QUEUED, RUNNING, DONE, GONE };
mtype phase[4];
byte mailbox = 0, tag_slot = 0;  /* one word: what is linked, and who changed it last */
byte fetched = 0;                /* the actor's own */
bool op[4];                      /* intent: a push; one in the life of each caller */
bool acked[4], alive = true;     /* the actor lives */
byte deaths = 2, dead = 0;
#define ends(k) (phase[k] == DONE || phase[k] == GONE)

/* Between any two steps the kernel may take a process away; not the one that sweeps. */
#define MAY_DIE if :: atomic { me != 0 && deaths > 0 -> deaths--; goto died } :: skip fi

/* The word is read, its last writer told, and swapped. */
inline swap_in(bits) {
  do
  :: atomic { was = mailbox; was_slot = tag_slot };
     if :: was_slot != 0 && was_slot != me -> acked[was_slot] = true :: else fi;
     MAY_DIE;
     if
     :: atomic { was == mailbox && was_slot == tag_slot ->
                 assert((mailbox & bits) == 0 && (!alive || (fetched & bits) == 0));
                 mailbox = mailbox | bits; tag_slot = me };
        break
     :: else
     fi
  od
}

inline take_out(into) {
  do
  :: atomic { was = mailbox; was_slot = tag_slot };
     if :: was == 0 -> into = 0; break :: else fi;
     if :: was_slot != 0 && was_slot != me -> acked[was_slot] = true :: else fi;
     MAY_DIE;
     if
     :: atomic { was == mailbox && was_slot == tag_slot -> into = was; mailbox = 0; tag_slot = me };
        break
     :: else
     fi
  od
}

proctype caller(byte me) {
  byte was, was_slot;
  MAY_DIE;
  op[me] = true;
  MAY_DIE;
  phase[me] = QUEUED;
  MAY_DIE;
  swap_in(BIT(me));
  MAY_DIE;
  op[me] = false;
  goto done;
died:
  atomic { dead == 0 -> dead = me };
done: skip
}

inline run_call(k) {
  if
  :: (fetched & BIT(k)) && phase[k] == QUEUED ->
     phase[k] = RUNNING;
     MAY_DIE;
     atomic { phase[k] = DONE; fetched = fetched & ~BIT(k) };
     MAY_DIE
  :: else -> fetched = fetched & ~BIT(k)
  fi
}

active proctype actor() {
  byte me = ACTOR, was, was_slot, got;
again:
  if
  :: mailbox != 0
  :: ends(A) && ends(B) -> goto done
  fi;
  take_out(got);
  MAY_DIE;
  fetched = got;
  run_call(A);
  run_call(B);
  goto again;
died:
  atomic { dead == 0 -> alive = false; dead = ACTOR };
  dead == 0; /* another process, with nothing fetched */
  goto again;
done: skip
}

inline sort(k) {
  if
  :: phase[k] == QUEUED -> found = found | BIT(k)
  :: phase[k] == RUNNING -> phase[k] = QUEUED; found = found | BIT(k)
  :: else
  fi
}

/* Is caller k about to push?  As wr_tag_pending: its intent, the tag, its intent again. */
inline look_for_coming(k) {
  if
  :: op[k] ->
     if
     :: tag_slot != k && !acked[k] -> if :: op[k] -> listed = listed | BIT(k) :: else fi
     :: else
     fi
  :: else
  fi
}

active proctype sweeper() {
  byte me = 0, was, was_slot, found, listed, before, since;
end:
  do
  :: dead == A || dead == B ->
     if
     :: phase[dead] == BUILDING -> phase[dead] = GONE
#ifndef NO_SETTLE
     :: phase[dead] == QUEUED && op[dead] && tag_slot != dead && !acked[dead] ->
        swap_in(BIT(dead))
#endif
     :: else
     fi;
     op[dead] = false;
     dead = 0
  :: dead == ACTOR ->
     found = 0; listed = 0;
     take_out(before);
     sort(A);
     sort(B);
#ifndef NO_COMING
     look_for_coming(A);
     look_for_coming(B);
#endif
#ifndef NO_SINCE
     take_out(since);
#else
     since = 0;
#endif
     listed = listed | before | since;
#ifndef NO_LOST
     found = found & ~listed;
#else
     found = 0;
#endif
     fetched = 0;
     found = found | before | since;
     if :: found != 0 -> swap_in(found) :: else fi;
     alive = true;
     dead = 0
  :: false -> died: skip
  od
}

init {
  atomic { phase[A] = BUILDING; phase[B] = BUILDING; run caller(A); run caller(B) }
}
