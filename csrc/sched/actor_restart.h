/* sched/actor_restart.h - the process that was an actor has died: the actor starts again, with the
 * calls that it had and had not begun, or ends.
 * Single writer: only whiprayd calls this, from its loop. */
#ifndef WR_SCHED_ACTOR_RESTART_H
#define WR_SCHED_ACTOR_RESTART_H

#include "sched/sweep.h"

void wr_actor_process_died(wr_sweeper *sw, uint32_t slot, uint32_t actor, const wr_death *why);

#endif
