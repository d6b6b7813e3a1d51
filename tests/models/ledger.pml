/* Two processes take the one unit there is and give it back; both may die at any step.
 *
 * Stands for:  worker     take, give (sched/ledger.c)
 *              sweeper    wr_ledger_return_dead (sched/ledger.c)
 * Claims:      never more is held than there is; in the end all of it is free.
 * Mutations:   NO_ACK (who overwrites a tag does not acknowledge it)
 *              NO_INTENT (the sweep believes the claim as it stands)
 *              CLAIM_FIRST (the claim is noted before the unit is taken, and no intent is left)
 */
#define TOTAL 1
byte avail = TOTAL, tag_slot = 0, tag_seq = 0; /* one word */
byte acked[5], op[5], seq[5]; /* intent: 0 none, 1 take, 2 give */
bool claim[5];
byte held = 0, deaths = 2, dead = 0, ended = 0;

/* Between any two steps the kernel may take a process away; not the one that sweeps. */
#define MAY_DIE if :: atomic { me != 4 && deaths > 0 -> deaths--; goto died } :: skip fi

inline begin(kind) {
  d_step { seq[me]++; acked[me] = seq[me] - 1 };
#ifndef CLAIM_FIRST
  op[me] = kind;
#endif
  MAY_DIE
}

inline change(delta) {
  do
  :: d_step { was = avail; was_slot = tag_slot; was_seq = tag_seq };
     if :: delta < 0 && was == 0 -> ok = false; break :: else fi;
#ifndef NO_ACK
     if
     :: atomic { was_slot != 0 && was_slot != me && acked[was_slot] < was_seq ->
                 acked[was_slot] = was_seq }
     :: else
     fi;
     MAY_DIE;
#endif
     if
     :: d_step { was == avail && was_slot == tag_slot && was_seq == tag_seq ->
                 avail = avail + delta; tag_slot = me; tag_seq = seq[me] };
        ok = true; break
     :: else
     fi
  od;
  MAY_DIE
}

proctype worker(byte me) {
  byte was, was_slot, was_seq;
  bool ok, holds = false;
  begin(1);
#ifdef CLAIM_FIRST
  claim[me] = true;
  MAY_DIE;
#endif
  change(-1);
  claim[me] = ok;
  MAY_DIE;
  op[me] = 0;
  if :: !ok -> goto done :: else fi; /* too little was free */
  skip;
  d_step { held++; holds = true; assert(held <= TOTAL) };
  MAY_DIE;
  d_step { held--; holds = false };
  begin(2);
  change(1);
  claim[me] = false;
  MAY_DIE;
  op[me] = 0;
  goto done;
died:
  atomic { dead == 0 -> held = held - (holds -> 1 : 0); dead = me };
  goto end;
done: ended++;
end: skip
}

active proctype sweeper() {
  byte me = 4, was, was_slot, was_seq;
  bool ok, mine, applied;
  do
  :: dead != 0 ->
     mine = claim[dead];
#ifndef NO_INTENT
     if
     :: op[dead] != 0 ->
        d_step { applied = (tag_slot == dead && tag_seq == seq[dead]) || acked[dead] == seq[dead] };
        if
        :: applied -> mine = (op[dead] == 1)
        :: !applied && op[dead] == 1 -> mine = false
        :: else
        fi
     :: else
     fi;
#endif
     op[dead] = 0;
     claim[dead] = false;
     if :: mine -> change(1) :: else fi;
     ended++;
     dead = 0
  :: ended == 2 -> break
  od;
died:
  assert(avail == TOTAL)
}

init { atomic { run worker(1); run worker(2) } }
