/* sched/stream_end.h - tasks that yield for a process that is dead: nobody reads on, and one that
 * has no end would keep its CPU.
 *
 * Single writer: only whiprayd, in a sweep. */
#ifndef WR_SCHED_STREAM_END_H
#define WR_SCHED_STREAM_END_H

#include "sched/sweep.h"
#include "sched/task.h"

/* Did the process submit a task that yields, which has not finished? */
static inline int wr_stream_was_for(const wr_task *t, uint64_t st, uint32_t slot) {
  uint32_t phase = WR_TASK_PHASE(st);
  return (t->flags & WR_TF_STREAM) && t->ret.creator == slot &&
         (phase == WR_TASK_WAITING || phase == WR_TASK_QUEUED || phase == WR_TASK_RUNNING);
}

/* The references of the dead process have gone: cancels those of its tasks that yield of which
 * nobody else has the next item or the end, and what they have submitted.  in_order: it had time to
 * read on, so a stream that it had left before was to go on without a reader. */
void wr_streams_end(wr_sweeper *sw, uint32_t slot, int in_order);

#endif
