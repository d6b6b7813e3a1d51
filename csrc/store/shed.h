/* store/shed.h - a record that only lineage names keeps what it needs to be made again, but not a
 * large value.
 *
 * The last one who lets go of such a record sheds its value, as it would have freed the record: at
 * once, without asking anybody.  whiprayd, which alone may need the value again, pins the record
 * first and looks at the place second; who sheds makes the place SHEDDING first and looks at the
 * references second.  Each puts a full barrier in between, so one sees the other. */
#ifndef WR_STORE_SHED_H
#define WR_STORE_SHED_H

#include "store/self.h"

/* Is the value of the object, which is in state `st`, more than lineage keeps?  Small values stay:
 * they cost less than their task would. */
static inline int wr_shed_wanted(const wr_object *o, uint64_t st) {
  return WR_OBJ_PHASE(st) == WR_OBJ_READY && WR_OBJ_PLACE(st) == WR_IN_MEMORY &&
         (o->flags & (WR_VAL_BLOCK | WR_VAL_FUNC)) == WR_VAL_BLOCK &&
         (o->v.b.len >= WR_SPILL_MIN || o->v.b.nrefs);
}

/* Nobody refers to the value of (idx, gen) any more: sheds it, unless it is small or somewhere
 * else.  Safe to repeat, and from several processes at once. */
void wr_shed(wr_self *me, wr_idx idx, uint32_t gen);
/* Finishes what a dead process began: the place is SHEDDING under its slot. */
void wr_shed_resume(wr_self *me, wr_idx idx);

#endif
