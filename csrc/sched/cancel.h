/* sched/cancel.h - marking tasks as cancelled, and finding what a task has submitted.
 * Callers: any attached process, under its private lock; whiprayd in a sweep. */
#ifndef WR_SCHED_CANCEL_H
#define WR_SCHED_CANCEL_H

#include "store/self.h"

/* A task of that generation; see wr_task_cancel in client/client.h. */
int wr_tasks_cancel(wr_self *me, wr_idx task, uint32_t gen, uint32_t how, uint32_t *slot,
                    int *began);
/* Calls f for every unfinished task that the parent has submitted. */
void wr_tasks_children(wr_seg *s, wr_idx parent, uint32_t gen,
                       void (*f)(void *ctx, wr_idx child, uint32_t gen), void *ctx);

#endif
