/* sched/deps.h - tasks that wait for arguments.
 *
 * A task waits for one argument at a time: wait = (position, generation).  Whoever finds that
 * argument sealed moves the position on by one swap, and only the winner goes on with the task, so
 * nodes in an object's list may be doubled or stale.  A task that has passed its last argument is
 * queued.  The waiter adds its node and looks at the object again; the sealer seals and looks at
 * the list: one of them sees the other. */
#ifndef WR_SCHED_DEPS_H
#define WR_SCHED_DEPS_H

#include "store/refs.h"

/* The task is WAITING with its position at 0: waits for the first pending argument, or queues it.
 */
int wr_deps_start(wr_self *me, wr_idx task);
/* Object idx has been sealed: lets its waiting tasks go on. */
void wr_deps_release(wr_self *me, wr_idx obj);
/* For sweeps: takes up a waiting task again from where it stands. */
void wr_deps_resume(wr_self *me, wr_idx task);

#endif
