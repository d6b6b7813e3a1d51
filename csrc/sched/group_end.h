/* sched/group_end.h - removing a placement group that the daemon knows: its users first.
 *
 * Single writer: only whiprayd calls this, from its loop.  Users are the tasks and actors whose
 * shape lies in the group, and processes with a claim in it or on their way to one.  Everybody
 * looks at the group after he has made himself seen (a task that is built, an intent), so once the
 * group is REMOVING and a look at all of them finds none, there will be none: its bundles and the
 * numbers of its shapes may serve others. */
#ifndef WR_SCHED_GROUP_END_H
#define WR_SCHED_GROUP_END_H

#include "sched/sweep.h"

/* Nothing begins in the group any more.  0: it is removed, or its generation is another. */
int wr_group_doom(wr_seg *s, uint32_t idx, uint32_t gen);
/* Fails what is queued in the doomed group, kills who runs in it.  WR_OK: no user is left, and the
 * group is REMOVING under the daemon, for wr_groups_finish.  WR_AGAIN: call again soon.  WR_STALE:
 * there is no such group any more. */
int wr_group_clear(wr_sweeper *sw, uint32_t idx, uint32_t gen);

/* Is it a shape of the group? */
static inline int wr_group_has_shape(const wr_seg *s, uint32_t idx, uint32_t gen, uint32_t shape) {
  const wr_shape *sh = &s->shapes[shape % WR_MAX_SHAPES];
  return shape < WR_MAX_SHAPES && wr_load32(&sh->state) == WR_SHAPE_OPEN && sh->group == idx + 1 &&
         sh->group_gen == gen;
}

#endif
