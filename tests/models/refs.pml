/* A record with a creator and two holders; each lets go, and whoever is last frees it.  Any two of
 * them may die at any step.
 *
 * Stands for:  holder     wr_hold_take, unpin_hold (store/refs.c), wr_tag_begin, wr_tag_swap,
 *                         wr_tag_acknowledge (shm/tagged.c)
 *              creator    wr_refs_clear (store/refs.c)
 *              all        reap_one, finish_dying (store/refs.c)
 *              sweeper    wr_sweep_intent, drop_holds, drop_record (sched/sweep_memory.c)
 * Claims:      the record is not freed while a living process holds it; it is freed in the end, and
 *              once.
 * Mutations:   NO_ACK (who overwrites a tag does not acknowledge it)
 *              NO_INTENT (the sweep takes the hold table as it finds it)
 *              REAP_STORE (freeing is claimed by a store instead of a swap)
 *              NO_DYING (the sweep does not finish what a dead process was freeing)
 */
#define SLOTS 5 /* 1 created it, 2 and 3 hold it, 4 sweeps; 0 is nobody */
mtype = { LIVE, DYING, FREE };
mtype state = LIVE;
byte reaper = 0;       /* slot in the state word while DYING */
byte count = 1;        /* the refs word: holds, the creator's flag ... */
bool creator = true;   /* (the first hold is the one that the creator gives to holder 2) */
byte tag_slot = 0, tag_seq = 0; /* ... and the tag of its last operation */
byte acked[SLOTS];
byte op[SLOTS], seq[SLOTS]; /* intent: 0 none, 1 hold, 2 unhold; and its number */
bool entry[SLOTS];     /* the hold table; holder 2 begins with an entry */
bool uses[SLOTS];
byte freed = 0, deaths = 2, dead = 0, ended = 0;
#define value (count + (creator -> 1 : 0))

/* Between any two steps the kernel may take a process away; not the one that sweeps. */
#define MAY_DIE if :: atomic { me != 4 && deaths > 0 -> deaths--; goto died } :: skip fi

inline begin(kind) {
  d_step { seq[me]++; acked[me] = seq[me] - 1 };
  MAY_DIE;
  op[me] = kind;
  MAY_DIE
}

/* The slot that is overwritten is told first, as wr_tag_acknowledge does. */
inline change(delta) {
  do
  :: d_step { was_slot = tag_slot; was_seq = tag_seq; was_count = count; was_creator = creator };
     if :: delta > 0 && was_count == 0 && !was_creator -> ok = false; break :: else fi;
#ifndef NO_ACK
     if
     :: atomic { was_slot != 0 && was_slot != me && acked[was_slot] < was_seq ->
                 acked[was_slot] = was_seq }
     :: else
     fi;
     MAY_DIE;
#endif
     if
     :: d_step { was_slot == tag_slot && was_seq == tag_seq && was_count == count &&
                 was_creator == creator ->
                 count = count + delta; tag_slot = me; tag_seq = seq[me]; last = (value == 0) };
        ok = true; break
     :: else
     fi
  od;
  MAY_DIE
}

inline reap() {
#ifdef REAP_STORE
  if
  :: state == LIVE -> MAY_DIE; state = DYING; reaper = me; mine = true
#else
  if
  :: d_step { state == LIVE -> state = DYING; reaper = me; mine = true }
#endif
  :: else -> mine = false
  fi;
  MAY_DIE;
  if
  :: mine -> d_step { assert(!uses[2] && !uses[3]); freed++; assert(freed == 1); state = FREE }
  :: else
  fi
}

inline let_go() {
  begin(2);
  change(-1);
  entry[me] = false;
  MAY_DIE;
  op[me] = 0;
  MAY_DIE;
  if :: last -> reap() :: else fi
}

proctype holder(byte me) {
  byte was_slot, was_seq, was_count;
  bool was_creator, ok = true, last = false, mine;
  if
  :: me == 2 -> skip
  :: me == 3 ->
     begin(1);
     change(1);
     if :: ok -> entry[me] = true :: else fi;
     MAY_DIE;
     op[me] = 0
  fi;
  if
  :: !ok -> goto done /* stale: it had gone */
  :: ok -> d_step { assert(state == LIVE); uses[me] = true }
  fi;
  MAY_DIE;
  uses[me] = false;
  let_go();
  goto done;
died:
  atomic { dead == 0 -> uses[me] = false; dead = me };
  goto end;
done: ended++;
end: skip
}

active proctype maker() {
  byte me = 1;
  bool last, mine;
  MAY_DIE;
  d_step { creator = false; last = (value == 0) }; /* clears its bit, and leaves the tag */
  MAY_DIE;
  if :: last -> reap() :: else fi;
  goto done;
died:
  atomic { dead == 0 -> dead = 1 };
  goto end;
done: ended++;
end: skip
}

active proctype sweeper() {
  byte me = 4, was_slot, was_seq, was_count;
  bool was_creator, ok, last, mine, applied;
  do
  :: dead != 0 ->
#ifndef NO_INTENT
     if
     :: op[dead] != 0 ->
        d_step { applied = (tag_slot == dead && tag_seq == seq[dead]) || acked[dead] == seq[dead] };
        if
        :: op[dead] == 1 -> entry[dead] = applied
        :: op[dead] == 2 && applied -> entry[dead] = false
        :: else
        fi
     :: else
     fi;
#endif
     op[dead] = 0;
     last = false;
     if :: entry[dead] -> change(-1); entry[dead] = false :: else fi;
     if :: dead == 1 -> creator = false :: else fi;
#ifndef NO_DYING
     if
     :: d_step { state == DYING && reaper == dead ->
                 assert(!uses[2] && !uses[3]); freed++; assert(freed == 1); state = FREE }
     :: else
     fi;
#endif
     if :: value == 0 -> reap() :: else fi;
     ended++;
     dead = 0
  :: ended == 3 -> break
  od;
died:
  assert(freed == 1 && state == FREE && value == 0)
}

init { atomic { entry[2] = true; run holder(2); run holder(3) } }
