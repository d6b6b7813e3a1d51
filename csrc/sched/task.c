#include "sched/task.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "sched/actor.h"
#include "sched/deps.h"
#include "sched/group.h"
#include "sched/lineage.h"
#include "sched/queue.h"
#include "sched/stream.h"
#include "shm/ident.h"
#include "store/heap.h"
#include "store/records.h"

/* Bytes behind the pins: the extra returns, or what a stream has instead. */
static size_t extra_size(const wr_task *t) {
  return t->flags & WR_TF_STREAM ? sizeof(wr_stream) : 4ull * wr_tasks_nextra(t);
}

/* Writes the name to the start of the record's area; the bytes it takes there. */
static uint32_t place_name(wr_task *t, const wr_task_spec2 *spec) {
  if (WR_LIKELY(!spec->name)) return 0;
  t->inl[0] = (uint8_t)spec->name_len;
  memcpy(t->inl + 1, spec->name, spec->name_len);
  t->flags |= WR_TF_NAMED;
  return (1 + spec->name_len + 7) / 8 * 8;
}

/* Finds room for pins, extra returns and arguments: in the record, from byte `from` of its area, or
 * in a block of the heap.  Nothing is pinned and no return is there when the task comes to name it:
 * a sweep believes what it finds in an area that a task names. */
static int place_args(wr_self *me, wr_idx i, uint32_t gen, uint32_t from, const wr_idx *refs,
                      uint32_t nrefs, size_t len) {
  wr_task *t = wr_task_at(me->s, i);
  size_t extra = extra_size(t);
  uint64_t head = sizeof(wr_pins) + 4ull * nrefs + extra, off = wr_off(me->s, t->inl + from);
  int in_record = from + head + len <= WR_INLINE_ARGS;
  if (!in_record) {
    head = (head + 63) / 64 * 64;
    int rc = wr_heap_alloc(me, head + len, i, gen, &off);
    if (rc < 0) return rc;
  }
  wr_pins *pins = wr_at(me->s, off);
  wr_store32(&pins->npinned, 0);
  pins->n = nrefs;
  if (nrefs) memcpy(pins->idx, refs, 4ull * nrefs);
  if (extra) memset(&pins->idx[nrefs], 0, extra);
  t->args_len = (uint32_t)len;
  t->args_pos = (uint32_t)head;
  if (!in_record) t->flags |= WR_TF_ARGS_BLOCK;
  atomic_thread_fence(memory_order_release);
  t->args = off;
  WR_FAILPOINT("task.args");
  return WR_OK;
}

static int make_extra(wr_self *me, wr_task *t, wr_idx i, wr_idx *out) {
  if (t->flags & WR_TF_STREAM) return wr_stream_begin(me, i, out + 1);
  uint32_t n = wr_tasks_nextra(t);
  wr_idx *extra = wr_tasks_extra(me->s, t, n);
  for (uint32_t k = 0; k < n; k++) {
    uint32_t gen;
    int rc = wr_objects_create(me, WR_REF_CREATOR | WR_REF_TASK, &extra[k], &gen);
    if (rc < 0) return rc;
    wr_obj(me->s, extra[k])->v.b.producer = i;
    WR_FAILPOINT("task.extra");
    out[k + 1] = extra[k];
  }
  return WR_OK;
}

/* Looked at once the task is built: the daemon takes numbers back after it has said so and looked
 * for those who use them.  The barrier between our record and our look is its own, too: see
 * wr_os_barrier. */
static int is_stale(const wr_seg *s, uint32_t ticket) {
  atomic_signal_fence(memory_order_seq_cst);
  return WR_TICKET_ROUND(ticket) != wr_load32(&s->h->shape_round);
}

/* The worker of a task that is over has written its record last: bringing that here takes as long
 * as the rest of a submission. */
static void expect_next(wr_self *me) {
  wr_idx next = wr_rec_next(me, WR_REC_TASKS);
  if (!next) return;
  const uint8_t *t = (const uint8_t *)wr_task_at(me->s, next);
  for (size_t line = 0; line < sizeof(wr_task); line += 64) wr_expect_write(t + line);
}

int wr_tasks_build(wr_self *me, const wr_task_spec2 *spec, size_t len, const wr_idx *refs,
                   uint32_t nrefs, uint32_t ndeps, wr_idx *out, uint8_t **dst) {
  if (len > UINT32_MAX / 2 || ndeps > UINT16_MAX || spec->name_len > WR_TASK_NAME) return WR_LIMIT;
  wr_idx i;
  int rc = wr_rec_alloc(me, WR_REC_TASKS, &i);
  if (rc < 0) return rc;
  wr_task *t = wr_task_at(me->s, i);
  expect_next(me);
  t->args = 0;
  wr_objects_init(me, i, WR_REF_CREATOR | WR_REF_TASK);
  uint32_t gen = WR_OBJ_GEN(wr_load_relaxed(&t->ret.state));
  uint32_t shape = spec->flags & WR_TF_CALL ? WR_SHAPE_ACTOR : WR_TICKET_SHAPE(spec->shape);
  WR_FAILPOINT("task.record");
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_BUILDING, me->slot, shape, gen));
  WR_FAILPOINT("task.building");
  t->fn = spec->fn;
  t->actor = spec->actor;
  t->actor_gen = spec->actor_gen;
  t->submitter = (uint16_t)me->slot;
  t->nreturns = spec->nreturns;
  t->ndeps = (uint16_t)ndeps;
  t->flags = spec->flags;
  t->retries = spec->retries;
  t->options = spec->options;
  t->parent = spec->parent;
  t->parent_gen = spec->parent_gen;
  wr_store32(&t->qnext, 0);
  wr_store32(&t->cancel, 0);
  wr_store(&t->wait, WR_WAIT(spec->flags & WR_TF_CALL ? me->calls++ : 0, gen));
  out[0] = i;
  rc = place_args(me, i, gen, place_name(t, spec), refs, nrefs, len);
  if (rc == WR_OK) rc = make_extra(me, t, i, out);
  if (rc == WR_OK && (t->flags & WR_TF_STREAM)) wr_stream_of(me->s, t)->room = spec->room;
  if (rc == WR_OK && nrefs) rc = wr_pins_take(me, wr_tasks_pins(me->s, t));
  if (rc == WR_OK && !(spec->flags & WR_TF_CALL) && WR_UNLIKELY(is_stale(me->s, spec->shape)))
    rc = WR_STALE;
  if (rc == WR_OK && WR_UNLIKELY(spec->group)) { /* the daemon sees us from here, or we see it */
    wr_fence();
    if (!wr_group_lives(me->s, spec->group - 1, spec->group_gen)) rc = WR_STALE;
  }
  if (rc < 0) {
    wr_tasks_discard(me, i);
    return rc;
  }
  *dst = wr_at(me->s, t->args + t->args_pos);
  return WR_OK;
}

void wr_tasks_discard(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint32_t n = t->args ? wr_tasks_nextra(t) : 0;
  for (uint32_t k = 0; k < n; k++) {
    wr_idx e = wr_tasks_extra(me->s, t, n)[k];
    if (e) wr_refs_clear(me, e, wr_gen_of(me->s, e), WR_REF_CREATOR | WR_REF_TASK);
  }
  uint32_t gen = WR_TASK_GEN(wr_load(&t->tstate));
  wr_refs_clear(me, task, gen, WR_REF_CREATOR | WR_REF_TASK);
}

uint32_t wr_tasks_pending_dep(wr_seg *s, const wr_task *t) {
  const wr_pins *p = wr_tasks_pins(s, t);
  uint32_t k = 0;
  while (k < t->ndeps && !wr_objects_awaited(wr_load(&wr_obj(s, p->idx[k])->state))) k++;
  return k;
}

/* From a word that was private to this process so far. */
static void wait_for_arguments(wr_self *me, wr_idx task, uint32_t shape, uint32_t gen) {
  wr_store(&wr_task_at(me->s, task)->tstate, WR_TASK_STATE(WR_TASK_WAITING, 0, shape, gen));
  WR_FAILPOINT("submit.waiting");
  int rc = wr_deps_start(me, task);
  if (rc < 0 && wr_tasks_claim(me, task, gen)) wr_tasks_fail(me, task, "NO_ROOM", "");
}

int wr_tasks_submit(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load_relaxed(&t->tstate);
  uint32_t gen = WR_TASK_GEN(st), shape = WR_TASK_SHAPE(st);
  wr_store32(&me->p->hand, task); /* until it stands in a queue, a sweep finds it through us */
  if (t->flags & WR_TF_CALL) {
    wr_actor_call(me, task);
  } else if (t->ndeps && wr_tasks_pending_dep(me->s, t) < t->ndeps) {
    wait_for_arguments(me, task, shape, gen);
  } else {
    wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_QUEUED, 0, shape, gen));
    WR_FAILPOINT("submit.queued");
    wr_queue_push(me, shape, task);
  }
  wr_store32(&me->p->hand, 0);
  return WR_OK;
}

int wr_tasks_claim(wr_self *me, wr_idx task, uint32_t gen) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load(&t->tstate);
  for (;;) {
    uint32_t phase = WR_TASK_PHASE(st);
    if (WR_TASK_GEN(st) != gen || (phase != WR_TASK_WAITING && phase != WR_TASK_QUEUED)) return 0;
    uint64_t now = WR_TASK_STATE(WR_TASK_RUNNING, me->slot, WR_TASK_SHAPE(st), gen);
    if (wr_cas(&t->tstate, &st, now)) return 1;
  }
}

int wr_tasks_claim_linked(wr_self *me, wr_idx task, uint32_t gen) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load(&t->tstate);
  while (WR_TASK_GEN(st) == gen && WR_TASK_PHASE(st) == WR_TASK_QUEUED)
    if (wr_cas(&t->tstate, &st,
               WR_TASK_STATE(WR_TASK_CANCELLING, me->slot, WR_TASK_SHAPE(st), gen)))
      return 1;
  return 0;
}

void wr_tasks_unlinked(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load(&t->tstate);
  for (;;) {
    uint32_t phase = WR_TASK_PHASE(st), gen = WR_TASK_GEN(st);
    if (phase == WR_TASK_CANCELLING) {
      uint64_t now = WR_TASK_STATE(WR_TASK_RUNNING, WR_TASK_SLOT(st), WR_TASK_SHAPE(st), gen);
      if (wr_cas(&t->tstate, &st, now)) return;
    } else if (phase == WR_TASK_ANSWERED) {
      if (!wr_cas(&t->tstate, &st, WR_TASK_STATE(WR_TASK_FINISHED, me->slot, 0, gen))) continue;
      WR_FAILPOINT("unlink.finished");
      wr_refs_clear(me, task, gen, WR_REF_TASK);
      return;
    } else {
      return;
    }
  }
}

/* 1: the call that has just been answered is still linked; who takes it out lets it go. */
static int stays_linked(wr_task *t) {
  uint64_t st = wr_load(&t->tstate);
  while (WR_TASK_PHASE(st) == WR_TASK_CANCELLING) {
    if (!wr_cas(&t->tstate, &st,
                WR_TASK_STATE(WR_TASK_ANSWERED, 0, WR_TASK_SHAPE(st), WR_TASK_GEN(st))))
      continue;
    WR_FAILPOINT("finish.answered");
    return 1;
  }
  return 0;
}

static void seal_and_release(wr_self *me, wr_idx i, int is_error, uint16_t flags) {
  if (wr_objects_seal(me, i, is_error, flags) == WR_OK) WR_FAILPOINT("finish.sealed");
  wr_deps_release(me, i); /* also when a dead claimer sealed it and got no further */
}

/* The task forgets the return before it lets it go: after that the record may be another's.  The
 * note in between lets a sweep finish the job. */
static void let_go(wr_self *me, wr_idx *extra) {
  wr_idx e = *extra;
  if (!e) return;
  uint32_t gen = wr_gen_of(me->s, e);
  wr_store(&me->p->letting, (uint64_t)e | (uint64_t)gen << 32);
  *extra = 0;
  WR_FAILPOINT("finish.letting");
  wr_refs_clear(me, e, gen, WR_REF_TASK);
  wr_store(&me->p->letting, 0);
}

void wr_tasks_finish(wr_self *me, wr_idx task, int is_error, uint16_t flags) {
  wr_seg *s = me->s;
  wr_task *t = wr_task_at(s, task);
  uint64_t st = wr_load_relaxed(&t->tstate);
  uint32_t gen = WR_TASK_GEN(st), n = wr_tasks_nextra(t);
  wr_pins *pins = wr_tasks_pins(s, t);
  t->flags |= (uint16_t)(WR_TF_WRITTEN | (is_error ? WR_TF_FAILED : 0) |
                         (flags & WR_VAL_SYSERR ? WR_TF_SYSERR : 0));
  atomic_thread_fence(memory_order_release);
  WR_FAILPOINT("finish.written");
  if (WR_UNLIKELY(n)) {
    wr_idx *extra = wr_tasks_extra(s, t, n);
    for (uint32_t k = 0; k < n; k++)
      if (extra[k]) seal_and_release(me, extra[k], is_error, flags);
  }
  seal_and_release(me, task, is_error, flags);
  WR_FAILPOINT("finish.before_pins");
  if (WR_UNLIKELY(wr_lineage_may_matter(t)) && wr_lineage_keep(me, task)) return;
  if (t->flags & WR_TF_CREATION) { /* kept as it is, for restarts, until its actor is gone */
    wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_FINISHED, 0, WR_TASK_SHAPE(st), gen));
    WR_FAILPOINT("finish.kept");
    return;
  }
  if (WR_UNLIKELY(wr_load32(&pins->npinned))) wr_pins_drop(me, pins);
  WR_FAILPOINT("finish.after_pins");
  if (WR_UNLIKELY(n)) {
    wr_idx *extra = wr_tasks_extra(s, t, n);
    for (uint32_t k = 0; k < n; k++) let_go(me, &extra[k]);
  }
  if (WR_UNLIKELY(t->flags & WR_TF_CALL) && stays_linked(t)) return;
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_FINISHED, me->slot, 0, gen));
  WR_FAILPOINT("finish.finished");
  wr_refs_clear(me, task, gen, WR_REF_TASK);
}

void wr_tasks_put_error(wr_self *me, wr_idx i, const char *code, const char *text) {
  wr_object *o = wr_obj(me->s, i);
  if (WR_OBJ_PHASE(wr_load(&o->state)) != WR_OBJ_PENDING) return;
  uint8_t buf[1024], *dst;
  wr_objects_discard(me, i);
  size_t n = wr_error_value(buf, sizeof buf, code, text);
  if (wr_objects_reserve(me, i, n, NULL, 0, &dst) < 0) { /* no room: the code alone fits inline */
    n = wr_error_value(buf, WR_INLINE_VALUE, code, "");
    if (wr_objects_reserve(me, i, n, NULL, 0, &dst) < 0) return;
  }
  memcpy(dst, buf, n);
}

void wr_tasks_fail(wr_self *me, wr_idx task, const char *code, const char *text) {
  wr_task *t = wr_task_at(me->s, task);
  uint32_t n = wr_tasks_nextra(t);
  wr_tasks_put_error(me, task, code, text);
  for (uint32_t k = 0; k < n; k++) {
    wr_idx e = wr_tasks_extra(me->s, t, n)[k];
    if (e) wr_tasks_put_error(me, e, code, text);
  }
  wr_tasks_finish(me, task, 1, WR_VAL_SYSERR);
}

void wr_tasks_fail_cancelled(wr_self *me, wr_idx task, const char *why) {
  char text[160];
  size_t n = (size_t)snprintf(text, sizeof text, "%s\n\ttask_id: ", why);
  (void)wr_ident_put_task(text + n, sizeof text - n, me->s->h->session, task,
                          wr_gen_of(me->s, task));
  wr_tasks_fail(me, task, "CANCELLED", text);
}

void wr_tasks_discard_values(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint32_t n = wr_tasks_nextra(t);
  wr_objects_discard(me, task);
  for (uint32_t k = 0; k < n; k++) wr_objects_discard(me, wr_tasks_extra(me->s, t, n)[k]);
}

int wr_tasks_postpone(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load(&t->tstate);
  wr_store(&t->wait, WR_WAIT(0, WR_TASK_GEN(st)));
  wr_store32(&me->p->hand, task);
  WR_FAILPOINT("postpone.begin");
  wait_for_arguments(me, task, WR_TASK_SHAPE(st), WR_TASK_GEN(st));
  wr_store32(&me->p->hand, 0);
  return WR_OK;
}

/* Who cancels sets the mark first and looks for somebody to interrupt second; here the task is
 * queued first and the mark looked at second: one of the two ends it.  The record may be another
 * task's by now: then the claim fails. */
static void heed_cancel(wr_self *me, wr_idx task, uint32_t gen) {
  wr_fence();
  if ((wr_load32(&wr_task_at(me->s, task)->cancel) & WR_CANCEL_WANTED) &&
      wr_tasks_claim(me, task, gen))
    wr_tasks_fail_cancelled(me, task, "");
}

int wr_tasks_requeue(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load(&t->tstate);
  int plain = !(t->flags & (WR_TF_CALL | WR_TF_CREATION));
  uint32_t shape = WR_TASK_SHAPE(st);
  wr_tasks_discard_values(me, task);
  if (t->retries > 0) t->retries--;
  WR_FAILPOINT("requeue.begin");
  t->flags &= (uint16_t) ~(WR_TF_WRITTEN | WR_TF_FAILED | WR_TF_SYSERR);
  t->flags |= WR_TF_AGAIN;
  wr_store32(&me->p->hand, task);
  if (t->flags & WR_TF_CALL) {
    wr_actor_call(me, task);
  } else {
    wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_QUEUED, 0, shape, WR_TASK_GEN(st)));
    WR_FAILPOINT("requeue.queued");
    wr_queue_push(me, shape, task);
  }
  wr_store32(&me->p->hand, 0);
  if (plain) heed_cancel(me, task, WR_TASK_GEN(st));
  return WR_OK;
}
