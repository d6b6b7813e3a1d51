/* tests/sim/sim.h - the parts of the simulation: processes as coroutines, what they do, and what
 * the daemon does between two steps of theirs.
 *
 * Everything is drawn from one seed.  A process gives way at failpoints (base/failpoint.h), in the
 * middle of operations; the daemon, which nobody may interrupt but death, does not. */
#ifndef SIM_H
#define SIM_H

#include <ucontext.h>

#include "../c/session.h"

enum {
  SIM_PROCS = 10,
  SIM_WORKERS = 6,
  SIM_OWN = 48,
  SIM_STREAMS = 3,
  SIM_GROUPS = 3,
  SIM_WAITS = 6
};

/* An object with the creator's reference, or an actor.  If it has a value, and no error, that is a
 * pattern of `len` bytes. */
typedef struct {
  wr_id id;
  uint32_t seed, len;
} sim_own;

typedef struct {
  wr_id task, item;
  order o;
} sim_reading;

typedef struct {
  ucontext_t ctx;
  uint8_t *stack;
  wr_client *c; /* NULL: dead */
  uint32_t slot, who; /* who: its number among all that the run has seen */
  int worker;
  int busy;    /* inside an operation */
  int asleep;  /* and there it sleeps, until it is woken */
  int leaving; /* it ends by itself */
  sim_own own[SIM_OWN];
  sim_reading streams[SIM_STREAMS];
  wr_id groups[SIM_GROUPS];
  uint32_t nown, nstreams, ngroups;
  wr_id waits[SIM_WAITS]; /* what it waits for, and how many of them */
  uint32_t nwaits, want;
  int stop_on_error;
  atomic_int gives_up; /* this wait, as if its session had ended */
} sim_proc;

extern session sim_session;
extern sim_proc sim_procs[SIM_PROCS];
extern int sim_calm; /* workers go on until there is nothing to do for them */

uint32_t sim_pick(uint32_t n);    /* 0 .. n - 1 */
void sim_give_way(const char *);  /* perhaps */
void sim_leave(void);             /* for certain */
/* Says how to see it again, and ends the program. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* acts.c: one operation of a process; and what all of them have in common, forgotten. */
void sim_act(sim_proc *p);
void sim_acts_reset(void);

/* sleep.c: the calling process sleeps until it is woken; does it?  Has it get up without a reason,
 * or for another one.  Waits for some objects, at most SIM_WAITS.  What must hold when nobody is in
 * the middle of an operation but who sleeps there (all: and workers have done what they could). */
void sim_sleep(sim_proc *p);
int sim_asleep(const sim_proc *p);
void sim_rouse(sim_proc *p);
void sim_await(sim_proc *p, const wr_id *ids, uint32_t n);
void sim_check_rest(int all);

/* daemon.c: takes over a session that has been opened; one act of the daemon's own; the death of a
 * process, and of all whom the sweep asks to be killed; the end of all that outlives processes. */
void sim_daemon_begin(void);
void sim_daemon_act(void);
void sim_die(sim_proc *p);
void sim_daemon_end(void);

/* lost.c: a value's file is gone: it is made again, if it can be, else LOST; 0: not now.  What the
 * daemon does about such values from time to time, and about lineage; and at the end. */
void sim_lost_begin(void);
int sim_lose(session *x, wr_idx idx, uint32_t gen);
void sim_remake(session *x);
void sim_look_at_lineage(session *x, int evict);
void sim_lost_end(session *x);

#endif
