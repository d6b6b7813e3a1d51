/* sched/task.h - the life of a task: built by its submitter, claimed by one process, finished.
 *
 *   BUILDING -> WAITING -> QUEUED -> RUNNING -> FINISHED -> (record freed)
 *                          QUEUED -> CANCELLING -> ANSWERED -> FINISHED   (a call in a mailbox)
 *
 * RUNNING names the claimer, and only the claimer finishes a task, whatever "running" means: a
 * worker runs it, a canceller or the sweep claims it to fail it.  A retry goes back to QUEUED. */
#ifndef WR_SCHED_TASK_H
#define WR_SCHED_TASK_H

#include "store/objects.h"

typedef struct {
  uint32_t fn;
  uint32_t actor, actor_gen; /* actor idx + 1, or 0 */
  uint32_t shape; /* a ticket */
  uint16_t nreturns, flags, options;
  int16_t retries;
  uint32_t parent, parent_gen; /* task that submits this one, or 0 */
  uint32_t group, group_gen;   /* of its shape: placement group plus one, or 0 */
  uint32_t room;               /* of its stream */
  const uint8_t *name;         /* its own name; NULL: it goes by that of what it runs */
  uint32_t name_len;
} wr_task_spec2;

/* Builds a task: see wr_task_create in client/client.h.  out[] gets the idx of the returns.
 * WR_STALE: the ticket is of a former round, or the placement group has been removed.  WR_LIMIT:
 * the name is longer than WR_TASK_NAME. */
int wr_tasks_build(wr_self *me, const wr_task_spec2 *spec, size_t len, const wr_idx *refs,
                   uint32_t nrefs, uint32_t ndeps, wr_idx *out, uint8_t **dst);
void wr_tasks_discard(wr_self *me, wr_idx task);
int wr_tasks_submit(wr_self *me, wr_idx task);

/* The name that the task has of its own, and its length; NULL: none.  Whoever looks at a record
 * that others may change looks at its state afterwards. */
static inline const uint8_t *wr_tasks_name(const wr_task *t, uint32_t *len) {
  if (!(t->flags & WR_TF_NAMED)) return NULL;
  uint32_t n = t->inl[0];
  *len = n < WR_TASK_NAME ? n : WR_TASK_NAME;
  return t->inl + 1;
}

/* A call in a mailbox, or on its way there or from there. */
static inline int wr_tasks_call_waits(const wr_task *t, uint64_t st) {
  uint32_t phase = WR_TASK_PHASE(st);
  return (t->flags & WR_TF_CALL) && (phase == WR_TASK_QUEUED || phase == WR_TASK_CANCELLING ||
                                     phase == WR_TASK_ANSWERED);
}
static inline int wr_tasks_is_call_on(const wr_task *t, uint32_t actor, uint32_t gen) {
  return (t->flags & WR_TF_CALL) && t->actor == actor + 1 && t->actor_gen == gen;
}

static inline wr_pins *wr_tasks_pins(const wr_seg *s, const wr_task *t) {
  return wr_pins_at(s, t->args);
}
static inline uint32_t wr_tasks_nextra(const wr_task *t) {
  uint32_t n = (uint32_t)wr_guard_seen(t->nreturns);
  return n > 1 ? n - 1u : 0;
}
/* The first n of them. */
static inline wr_idx *wr_tasks_extra(const wr_seg *s, const wr_task *t, uint32_t n) {
  wr_pins *p = wr_tasks_pins(s, t);
  uint32_t before = (uint32_t)wr_guard_seen(p->n);
  int there = !WR_GUARDED || (uint64_t)before + n <= wr_pins_count(s, p, UINT32_MAX);
  return there ? &p->idx[before] : (wr_idx *)(void *)wr_pit;
}
/* Does a worker's run need the args to be there still; are all dependencies sealed?
 * Returns the first pending one, or ndeps. */
uint32_t wr_tasks_pending_dep(wr_seg *s, const wr_task *t);

/* One swap from WAITING or QUEUED to RUNNING under this process; 0: somebody else has it. */
int wr_tasks_claim(wr_self *me, wr_idx task, uint32_t gen);
/* A call that waits in its actor's mailbox: one swap from QUEUED to CANCELLING under this process,
 * which then answers it with wr_tasks_fail; the record goes when the actor comes across it. */
int wr_tasks_claim_linked(wr_self *me, wr_idx task, uint32_t gen);
/* A call that is not QUEUED has been taken out of its mailbox (or never got there). */
void wr_tasks_unlinked(wr_self *me, wr_idx task);
/* The task is RUNNING under this process (or, for the sweep, under `slot`, which is dead).  Seals
 * every return that is not sealed yet, lets dependents go, drops pins, lets the record go. */
void wr_tasks_finish(wr_self *me, wr_idx task, int is_error, uint16_t flags);
/* Gives a pending object an engine-made error for a value; the caller seals it. */
void wr_tasks_put_error(wr_self *me, wr_idx i, const char *code, const char *text);
/* Gives every unsealed return an engine-made error, then finishes. */
void wr_tasks_fail(wr_self *me, wr_idx task, const char *code, const char *text);
/* The same for one that was cancelled, whose id the error tells; `why`: more about it, or "". */
void wr_tasks_fail_cancelled(wr_self *me, wr_idx task, const char *why);
/* What an attempt has reserved for the returns goes: another attempt comes. */
void wr_tasks_discard_values(wr_self *me, wr_idx task);
/* RUNNING -> WAITING, and on as when it was submitted: it has not begun. */
int wr_tasks_postpone(wr_self *me, wr_idx task);
/* Queues it again: RUNNING -> QUEUED.  Values reserved so far are discarded. */
int wr_tasks_requeue(wr_self *me, wr_idx task);

#endif
