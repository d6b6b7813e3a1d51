/* sched/lineage.h - keeping what is needed to compute a value again, and forgetting it in time.
 *
 * Only values that can be spilled can be lost, so only tasks with such a result are KEPT: their
 * record stays as it is while a result of theirs lives, and what their list of pins names gets the
 * flag of lineage and is let go of.  A record that only lineage names stays, without a large value
 * (store/shed.h), so that it can be made again in turn.  Small results pay nothing for this.
 *
 * Nobody counts who names a record: whiprayd looks at all of them now and then and clears the flags
 * that have become useless. */
#ifndef WR_SCHED_LINEAGE_H
#define WR_SCHED_LINEAGE_H

#include "store/self.h"

/* A cheap test that small results fail. */
static inline int wr_lineage_may_matter(const wr_task *t) {
  return (t->ret.flags & WR_VAL_BLOCK) || t->nreturns > 1;
}
/* The task runs under this process (or a dead one) and its returns are sealed: if one of them could
 * be lost and the task may be run again, it becomes KEPT and is let go of: 1.  Else 0. */
int wr_lineage_keep(wr_self *me, wr_idx task);
/* The task is KEPT: lets go of its pins, its extra returns and of itself.  Safe to repeat. */
void wr_lineage_settle(wr_self *me, wr_idx task);
/* The KEPT task that made the object; 0: there is none. */
wr_idx wr_lineage_task_of(const wr_seg *s, wr_idx obj);
/* Of a KEPT task: its k-th return. */
wr_idx wr_lineage_return(const wr_seg *s, wr_idx task, uint32_t k);

/* For whiprayd.  A KEPT task is not kept any longer, for the reason `why` (WR_TF_EVICTED,
 * WR_TF_UNPLACED, WR_TF_OWNERLESS): 1; 0: its process has not let go of it yet. */
int wr_lineage_give_up(wr_self *me, wr_idx task, uint16_t why);
/* The pool ends, and all its processes have: its shapes will be another's, so what was computed
 * in it is not kept any longer. */
void wr_lineage_give_up_pool(wr_self *me, uint32_t pool);
/* For whiprayd.  Clears the flag of every record that no lineage needs, whereupon it is freed, and
 * tells how many bytes the others have.  WR_NOMEM: nothing has been done. */
int wr_lineage_collect(wr_self *me, uint64_t *bytes);
/* Gives up the lineage of the oldest eighth of the KEPT tasks. */
void wr_lineage_evict(wr_self *me);

#endif
