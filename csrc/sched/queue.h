/* sched/queue.h - ready tasks of a pool, and who is woken for them.
 * Queues hold hints: what counts is the task's own state word.  A wake-up is never lost: whoever
 * adds work looks for sleepers after adding it, and a sleeper looks for work after lying down. */
#ifndef WR_SCHED_QUEUE_H
#define WR_SCHED_QUEUE_H

#include "store/refs.h"

/* Puts a task, whose state says QUEUED, on its shape's queue and wakes a worker for it.  When the
 * queue is full it is found again among the records, once the queue is empty. */
void wr_queue_push(wr_self *me, uint32_t shape, wr_idx task);
/* Somebody waits for this task, which is QUEUED or WAITING: it is taken before others of its pool.
 * A hint; an index of any task's record does no harm. */
void wr_queue_urge(wr_seg *s, wr_idx task);
/* Claims a task for this worker, and the resources it needs; WR_AGAIN: none can be had now.
 * Keeps the resources of the last task for the next one of the same shape. */
int wr_queue_take(wr_self *me, uint32_t pool, wr_idx *task);
int wr_queue_has_work(wr_seg *s, uint32_t pool); /* a hint */

/* There may be work for another worker of this pool: wakes one, or asks for one to be started. */
void wr_pool_kick(wr_self *me, uint32_t pool);
/* Resources were given back: kicks every pool that has work. */
void wr_pool_kick_all(wr_self *me);
/* Idle bookkeeping of a worker that lies down or gets up. */
void wr_pool_set_idle(wr_seg *s, uint32_t pool, uint32_t slot);
void wr_pool_clear_idle(wr_seg *s, uint32_t pool, uint32_t slot);

#endif
