/* sched/sweep.h - what the daemon does after a death: takes back what the dead process held.
 * Single writer: only whiprayd calls this, from its loop.  A sweep is idempotent. */
#ifndef WR_SCHED_SWEEP_H
#define WR_SCHED_SWEEP_H

#include "sched/death.h"
#include "store/self.h"

typedef struct wr_sweeper wr_sweeper;
struct wr_sweeper {
  wr_self self; /* the daemon's */
  void *ctx;
  /* An actor's process died; `restarting` 1: its creation task is queued again. */
  void (*actor_died)(void *ctx, uint32_t actor, uint32_t gen, int restarting);
  /* A process must end, with its owner or its placement group.  May be NULL in tests. */
  void (*kill_process)(void *ctx, uint32_t slot, const char *reason);
  /* The process of the slot runs a task that is cancelled and has not been told; see
   * WR_CANCEL_TOLD.  May be NULL in tests. */
  void (*interrupt)(void *ctx, uint32_t slot, wr_idx task, uint32_t gen, int force);
};

int wr_sweeper_init(wr_sweeper *sw, wr_seg *s, uint32_t daemon_slot,
                    void (*actor_died)(void *ctx, uint32_t actor, uint32_t gen, int restarting),
                    void *ctx);
void wr_sweeper_close(wr_sweeper *sw);

/* The process of `slot` is dead (its phase is WR_PROC_DEAD): fails or retries its tasks, drops its
 * references, ends or restarts the actor it was, returns its resources, hands its memory on. */
int wr_sweep_slot(wr_sweeper *sw, uint32_t slot, const wr_death *why);
/* The driver of a job has gone: its queued tasks are cancelled and its non-detached actors marked
 * for good.  Their processes are the caller's to kill (before) and to sweep (after). */
int wr_sweep_job(wr_sweeper *sw, uint32_t driver_slot);
/* Interrupts a cancelled task that the process of the slot runs. */
void wr_sweep_tell(wr_sweeper *sw, uint32_t slot, wr_idx task, uint32_t gen);
/* Cancels what a cancelled task has submitted, if that is asked for, but for what is so already. */
void wr_sweep_cancel_children(wr_sweeper *sw, wr_idx task, uint32_t gen, uint32_t how);

#endif
