/* tests/c/session.h - a session without a daemon: the test is the daemon.
 *
 * Slot 1 is the test's own and sweeps.  Clients are made in the test's process, each with a mapping
 * of its own, or in a forked peer.  Three shapes: one CPU, one CPU and two of "gpu", nothing.
 *
 * Tasks do what the `order` in their arguments says; values are patterns of bytes that a seed
 * names, so that anybody can tell whether a value is the right one. */
#ifndef SESSION_H
#define SESSION_H

#include "check.h"
#include "client/internal.h"
#include "sched/audit.h"
#include "sched/sweep.h"

#define SESSION_CPUS 8u
#define SESSION_GPUS 4u
#define SESSION_POOL 1u
enum { SHAPE_CPU = 0, SHAPE_GPU = 1, SHAPE_NONE = 2, SESSION_SHAPES };

typedef struct {
  wr_seg seg;
  wr_sweeper sweeper;
  uint32_t next_slot;
  int one_mapping; /* clients made here use that of the test: many are made faster */
  int pids[64];           /* of forked peers, by slot */
  wr_client *clients[64]; /* made here, by slot */
  uint32_t to_kill;       /* slot that the last sweep asked to be killed; 0: none */
  uint32_t died, restarted; /* actors, as the sweeper told */
  uint32_t told, told_slot; /* interruptions that sweeps asked for, and the last of them */
  wr_idx told_task;
} session;

void session_open(session *x, uint64_t heap_bytes);
/* Closes what is left of the clients made here; forked peers must be gone. */
void session_close(session *x);

uint32_t session_slot(session *x, enum wr_role role); /* a free slot, live from now on */
wr_client *session_attach(session *x, uint32_t slot); /* a client for it, in this process */
wr_client *session_client(session *x, enum wr_role role);
/* A process that runs fn with a client of its own, and is then killed without saying goodbye. */
typedef void session_peer(session *x, wr_client *c, void *arg);
uint32_t session_fork(session *x, enum wr_role role, session_peer *fn, void *arg);
/* Waits for the end of a forked peer; its wait status. */
int session_reap(session *x, uint32_t slot);
/* A client made here ends without a goodbye: its memory is freed, its slot is not swept. */
void session_drop(session *x, uint32_t slot);
/* The process of the slot is dead: sweeps it, buries who had to be killed, frees the slot. */
void session_sweep(session *x, uint32_t slot);
void session_note_interrupts(session *x); /* from now on; none of them may be by force */
void session_mark_dead(session *x, uint32_t slot);
void session_free_slot(session *x, uint32_t slot);
/* A hash of everything shared but what is about waking up. */
uint64_t session_hash(const session *x);

/* Fails the test when the audit finds something; prints what. */
void session_audit(session *x, wr_audit *out);
/* And when anything is left: objects, values, actors, tasks, claims. */
void session_check_empty(session *x);
int32_t session_free_amount(const session *x, uint32_t resource); /* in whole units */

/* ---- work ----------------------------------------------------------------------------------- */

enum order_op {
  ORDER_ECHO = 1,   /* every return: a value of `len` bytes, seed, seed + 1, ... */
  ORDER_NEST = 2,   /* as ECHO, and the value contains the task's references */
  ORDER_RETRY = 3,  /* asks to be run again while it has more than two retries, then as ECHO */
  ORDER_SPAWN = 4,  /* submits an ECHO of its own, waits for no time, then as ECHO */
  ORDER_FAIL = 5,   /* every return is an error */
  ORDER_CREATE = 6, /* the constructor of an actor */
  ORDER_BROKEN = 7, /* a constructor that fails */
  ORDER_PART = 8,   /* as ECHO, and every return but the first is an error */
  ORDER_STREAM = 9, /* yields `items` values of seed + 1, seed + 2, ... that contain its references,
                     * whatever the reader does, then as ECHO */
  ORDER_AWAIT = 10  /* as ECHO; in the simulation it submits `items` tasks and waits first */
};
typedef struct {
  uint32_t op, seed, len, items;
} order;

/* Called before (1) and after (0) what is no business of the engine: the bytes of values, waiting
 * for the test.  NULL: nobody cares. */
extern void (*session_aside)(int begins);
/* Until when a task that yields waits for its reader, each time; -1: for ever. */
extern int64_t session_patience;
void pattern_fill(uint8_t *to, size_t len, uint32_t seed);
/* Is the object READY with the value of that seed and length? */
int pattern_is(wr_client *c, wr_id id, size_t len, uint32_t seed);
wr_id pattern_put(wr_client *c, size_t len, uint32_t seed, const wr_id *refs, uint32_t nrefs);

/* Submits a task; `padding` bytes follow the order, to make arguments large. */
typedef struct {
  order o;
  uint32_t padding;
  wr_task_spec spec;
  const wr_id *refs;
  uint32_t nrefs, ndeps;
} task_plan;
void plan_build(wr_client *c, const task_plan *p, wr_id *out);
void plan_submit(wr_client *c, const task_plan *p, wr_id *out);

wr_id actor_make(wr_client *c, int32_t max_restarts, uint32_t flags, order o, wr_id *creation);

/* A task with ORDER_STREAM.  out[0] is its end, out[1] its first item. */
void stream_submit(wr_client *c, order o, wr_task_spec spec, const wr_id *refs, uint32_t nrefs,
                   wr_id *out);
/* Reads at most `most` items from *item on, as far as there are some, and lets go of each; checks
 * their values, the first of which has seed + 1 + its number.  *item is the next one then.  Returns
 * how many. */
uint32_t stream_read(wr_client *c, wr_id task, wr_id *item, const order *o, uint32_t most);
void stream_drop(wr_client *c, wr_id item); /* of one that this client reads from */

/* Does what the job says, and ends it. */
void work_run(wr_client *c, const wr_job *job);
/* Runs what there is for this client until there is nothing; how many were run. */
uint32_t work_all(wr_client *c);
/* The same for all workers of the test's process, with as many of them as actors need; workers
 * whose actor has retired leave. */
void session_work(session *x);

#endif
