/* sched/death.h - how a process ended, and how the errors of its tasks say it.
 * Pure functions and plain data; the daemon and whoever fails calls on a dead actor. */
#ifndef WR_SCHED_DEATH_H
#define WR_SCHED_DEATH_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  int wait_status;    /* as waitpid gives it; -1 when unknown */
  int pid;
  uint64_t peak_rss;  /* bytes: the most that was resident at any time; 0 when unknown */
  int in_order;       /* it said before that it leaves */
  int job_over;       /* its job has ended: what it ran is cancelled, not run again */
  const char *low_memory; /* ended since memory was short: the error of what it ran; or NULL */
  int run_again;          /* in that case: what it ran may be, without loss of a retry */
  const char *reason; /* the daemon's own reason ("the driver exited"), or NULL */
} wr_death;

/* A sentence without subject and full stop, such as "was ended by signal 9 (SIGKILL: ...); its
 * resident memory peaked at 312 MiB".  The bytes written, fewer than cap. */
int wr_death_text(char *buf, size_t cap, int wait_status, uint64_t peak_rss);

/* Why a task that its process ran has no result; `why` may be NULL.  `name` of what it ran, as the
 * process showed it; "" when that is not known.  The bytes written. */
int wr_death_of_task(char *buf, size_t cap, const wr_death *why, const char *name);

#endif
