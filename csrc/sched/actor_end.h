/* sched/actor_end.h - the end of an actor: killed, orphaned, or dead for good.
 * Single writer: only whiprayd calls this, from its loop. */
#ifndef WR_SCHED_ACTOR_END_H
#define WR_SCHED_ACTOR_END_H

#include "sched/sweep.h"

/* It is dead for good: its calls fail, its creation goes.  `slot` of the process that was it, or
 * ran its constructor, and has died; 0: none has. */
void wr_actor_bury(wr_sweeper *sw, uint32_t actor, uint32_t slot);
/* Ends an actor: its queued calls fail.  For one that never had a process, or has none any more. */
void wr_actor_fail(wr_sweeper *sw, uint32_t actor, int cause, int exit_code);
/* Marks an actor killed: no_restart also forbids restarts.  Its process, if any, is returned for
 * the caller to kill; 0: there is none, and the actor has been failed if it may not restart. */
uint32_t wr_actor_kill(wr_sweeper *sw, uint32_t actor, uint32_t gen, int no_restart);
/* Ends, for want of its owner, an actor that is not to outlive it.  The process of `dead` needs no
 * killing. */
void wr_actor_orphan(wr_sweeper *sw, uint32_t actor, uint32_t gen, uint32_t dead);

#endif
