#include "sched/actor.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "sched/death.h"
#include "sched/task.h"
#include "shm/ident.h"

static uint16_t put_text(wr_actor *a, size_t *at, const char *s) {
  size_t n = s ? strlen(s) : 0;
  if (n > sizeof a->text - *at) n = sizeof a->text - *at;
  if (n) memcpy(a->text + *at, s, n);
  *at += n;
  return (uint16_t)n;
}

static void fill(wr_self *me, wr_actor *a, const wr_actor_init *spec) {
  size_t at = 0;
  a->creation = 0;
  a->creation_gen = 0;
  a->cls = spec->cls;
  a->creator = (uint16_t)me->slot;
  a->job = (uint16_t)me->p->job;
  a->pool = spec->pool;
  a->shape = spec->shape;
  a->group = spec->group;
  a->max_restarts = spec->max_restarts;
  a->max_concurrency = spec->max_concurrency;
  a->max_pending = spec->max_pending;
  a->meta = spec->meta;
  a->cls_len = put_text(a, &at, spec->cls_name);
  a->name_len = put_text(a, &at, spec->name);
  a->ns_len = put_text(a, &at, spec->ns);
  wr_store32(&a->restarts, 0);
  wr_store32(&a->cause, WR_CAUSE_NONE);
  wr_store32(&a->exit_code, 0);
  wr_store32(&a->last_pid, 0);
  wr_store32(&a->last_call, 0);
  wr_store(&a->peak_rss, 0);
  wr_store32(&a->flags, spec->flags);
}

int wr_actors_create(wr_self *me, const wr_actor_init *spec, uint32_t *idx, uint32_t *gen) {
  wr_seg *s = me->s;
  for (uint32_t i = 0; i < WR_MAX_ACTORS; i++) {
    wr_actor *a = &s->actors[i];
    uint64_t st = wr_load(&a->state);
    if (WR_ACTOR_PHASE(st) != WR_ACTOR_FREE) continue;
    uint32_t g = WR_ACTOR_GEN(st) ? WR_ACTOR_GEN(st) : 1, high = wr_load32(&s->h->nactors);
    while (high < i + 1 && !wr_cas32(&s->h->nactors, &high, i + 1)) {
    }
    if (!wr_cas(&a->state, &st, WR_ACTOR_STATE(WR_ACTOR_MAKING, me->slot, g))) continue;
    WR_FAILPOINT("actor.claim");
    fill(me, a, spec);
    WR_FAILPOINT("actor.filled");
    uint64_t box = wr_load(&a->mailbox);
    wr_store(&a->mailbox, wr_tag_make(0, wr_tag_slot(box), wr_tag_seq(box)));
    wr_tag_acknowledge(wr_tagger_of(me), wr_load(&a->refs));
    /* a detached actor has a reference of its own, which goes when it is dead */
    wr_store(&a->refs, wr_tag_make(WR_REF_CREATOR | !!(spec->flags & WR_AF_DETACHED), 0, 0));
    /* whole now; nobody runs it yet */
    wr_actor_move(s, i, g, WR_ACTOR_MAKING, WR_ACTOR_MAKING, WR_ACTOR_PENDING, 0);
    *idx = i;
    *gen = g;
    return WR_OK;
  }
  return WR_LIMIT;
}

void wr_actors_set_creation(wr_seg *s, uint32_t idx, wr_idx task) {
  wr_actor *a = wr_actor_at(s, idx);
  a->creation_gen = WR_TASK_GEN(wr_load(&wr_task_at(s, task)->tstate));
  a->creation = task;
}

int wr_actor_move(wr_seg *s, uint32_t idx, uint32_t gen, uint32_t from_a, uint32_t from_b,
                  uint32_t to, uint32_t slot) {
  wr_a64 *w = &wr_actor_at(s, idx)->state;
  uint64_t st = wr_load(w);
  for (;;) {
    uint32_t phase = WR_ACTOR_PHASE(st);
    if (WR_ACTOR_GEN(st) != gen || (phase != from_a && phase != from_b)) return 0;
    if (wr_cas(w, &st, WR_ACTOR_STATE(to, slot, gen))) return 1;
  }
}

/* ---- failing calls ------------------------------------------------------------------------- */

/* Why it is dead, as the end of a sentence. */
static int put_cause(char *to, size_t cap, const wr_actor *a) {
  const char *text = "its process died";
  switch (wr_load32(&a->cause)) {
    case WR_CAUSE_KILLED: text = "it was killed by `ray.kill`"; break;
    case WR_CAUSE_EXITED:
      text = "it exited: exit_actor was called or its last handle went away";
      break;
    case WR_CAUSE_CONSTRUCTOR: text = "its constructor raised an error"; break;
    case WR_CAUSE_OWNER: text = "the process that created it has ended"; break;
    case WR_CAUSE_MEMORY: text = "its process was ended: the node ran low on memory"; break;
    case WR_CAUSE_GROUP: text = "its placement group was removed"; break;
    case WR_CAUSE_UNSCHEDULABLE:
      text = "it could not be scheduled: the node that it must run on does not exist";
      break;
    case WR_CAUSE_CRASHED: {
      int n = snprintf(to, cap, "its process ");
      return n + wr_death_text(to + n, cap - (size_t)n, (int)wr_load32(&a->exit_code),
                               wr_load(&a->peak_rss));
    }
    default: break;
  }
  return snprintf(to, cap, "%s", text);
}

/* The id as Python prints it. */
int wr_actor_put_id(char *to, size_t cap, const wr_seg *s, uint32_t idx, uint32_t gen) {
  int n = snprintf(to, cap, "\n\tactor_id: ");
  if (n < 0 || (size_t)n >= cap) return n;
  return n + wr_ident_put_actor(to + n, cap - (size_t)n, s->h->session, idx | WR_ACTOR_BIT, gen);
}

static int copy_error(wr_self *me, wr_idx to, const uint8_t *src, uint64_t len) {
  uint8_t *dst;
  if (WR_OBJ_PHASE(wr_load(&wr_obj(me->s, to)->state)) != WR_OBJ_PENDING) return 1;
  wr_objects_discard(me, to);
  if (wr_objects_reserve(me, to, len, NULL, 0, &dst) < 0) return 0;
  memcpy(dst, src, len);
  return 1;
}

/* The constructor's own error, if that is why: same bytes for every return of every call. */
static int copy_constructor_error(wr_self *me, wr_actor *a, wr_idx task) {
  wr_seg *s = me->s;
  if (wr_load32(&a->cause) != WR_CAUSE_CONSTRUCTOR || !a->creation) return 0;
  wr_object *from = wr_obj(s, a->creation);
  uint64_t st = wr_load(&from->state);
  if (WR_OBJ_PHASE(st) != WR_OBJ_ERROR || WR_OBJ_GEN(st) != a->creation_gen) return 0;
  int block = from->flags & WR_VAL_BLOCK;
  uint64_t len = wr_guard_seen(block ? from->v.b.len : from->len);
  const uint8_t *src = block ? wr_bytes_at(s, from->v.b.off, len) : from->v.bytes;
  if (WR_GUARDED && (block ? src == wr_pit : len > WR_INLINE_VALUE)) return 0;
  if (block && from->v.b.nrefs) return 0;
  wr_task *t = wr_task_at(s, task);
  uint32_t n = wr_tasks_nextra(t);
  if (!copy_error(me, task, src, len)) return 0;
  for (uint32_t k = 0; k < n; k++) {
    wr_idx extra = wr_tasks_extra(s, t, n)[k];
    if (extra && !copy_error(me, extra, src, len)) return 0;
  }
  wr_tasks_finish(me, task, 1, from->flags & WR_VAL_SYSERR);
  return 1;
}

/* A sentence for people, then facts as lines "\n\tname: value" for programs. */
static void describe(char *text, size_t cap, const wr_seg *s, const wr_actor *a, uint32_t gen) {
  size_t cls_len = wr_guard_seen(a->cls_len), name_len = wr_guard_seen(a->name_len);
  int n = snprintf(text, cap, "The actor died because ");
  n += put_cause(text + n, cap - (size_t)n, a);
  n += snprintf(text + n, cap - (size_t)n, ".\n\tclass_name: %.*s\n\tpid: %u",
                cls_len <= sizeof a->text ? (int)cls_len : 0, a->text, wr_load32(&a->last_pid));
  n += wr_actor_put_id(text + n, cap - (size_t)n, s, (uint32_t)(a - s->actors), gen);
  if (name_len && cls_len + name_len <= sizeof a->text)
    n += snprintf(text + n, cap - (size_t)n, "\n\tname: %.*s", (int)name_len, a->text + cls_len);
  uint32_t call = wr_load32(&a->last_call);
  if (call) snprintf(text + n, cap - (size_t)n, "\n\tlast_call: %u", call - 1);
}

/* The code tells which exception it becomes. */
static const char *code_of(const wr_actor *a) {
  switch (wr_load32(&a->cause)) {
    case WR_CAUSE_GROUP: /* one that had been created died as any other */
      return wr_load32(&a->last_pid) ? "ACTOR_DIED" : "ACTOR_GROUP_REMOVED";
    case WR_CAUSE_UNSCHEDULABLE: return "ACTOR_UNSCHEDULABLE";
    default: return "ACTOR_DIED";
  }
}

void wr_actor_fail_call(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint32_t idx = t->actor - 1;
  char text[900]; /* no more than one error has room for */
  if (idx >= WR_MAX_ACTORS) {
    wr_tasks_fail(me, task, "ACTOR_DIED", "the actor no longer exists");
    return;
  }
  wr_actor *a = &me->s->actors[idx];
  if (WR_ACTOR_GEN(wr_load(&a->state)) != t->actor_gen) {
    int n = snprintf(text, sizeof text,
                     "The actor no longer exists: it ended when its last handle went away.");
    (void)wr_actor_put_id(text + n, sizeof text - (size_t)n, me->s, idx, t->actor_gen);
    wr_tasks_fail(me, task, "ACTOR_DIED", text);
    return;
  }
  if (copy_constructor_error(me, a, task)) return;
  describe(text, sizeof text, me->s, a, t->actor_gen);
  wr_tasks_fail(me, task, code_of(a), text);
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

static int is_dead(const wr_actor *a, uint32_t gen) {
  uint64_t st = wr_load(&a->state);
  return WR_ACTOR_GEN(st) != gen || WR_ACTOR_PHASE(st) == WR_ACTOR_DEAD ||
         WR_ACTOR_PHASE(st) == WR_ACTOR_FREE;
}

static void push(wr_self *me, wr_actor *a, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  wr_tagger tag = wr_tagger_of(me);
  uint64_t head = wr_load(&a->mailbox);
  do wr_store32(&t->qnext, wr_tag_value(head));
  while (!wr_tag_swap(tag, &a->mailbox, &head, task));
}

/* The call is QUEUED and its actor dead, perhaps only since: the daemon may have emptied the
 * mailbox before the call was in it. */
static void refuse(wr_self *me, wr_idx task, uint32_t gen) {
  if (wr_tasks_claim(me, task, gen))
    wr_actor_fail_call(me, task);
  else
    wr_tasks_unlinked(me, task);
}

/* The intent stands from before the call is QUEUED until it is in the mailbox: a call that a dead
 * process left QUEUED was pushed exactly if the intent is gone or took effect. */
static void deliver(wr_self *me, wr_idx task, int make_queued) {
  wr_task *t = wr_task_at(me->s, task);
  WR_CHECK(WR_GUARDED || (t->actor && t->actor <= WR_MAX_ACTORS));
  wr_actor *a = wr_actor_at(me->s, t->actor - 1);
  uint32_t gen = WR_TASK_GEN(wr_load(&t->tstate)), actor_gen = t->actor_gen;
  wr_tag_begin(wr_tagger_of(me), WR_OP_PUSH, task, 0);
  if (make_queued) wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_QUEUED, 0, WR_SHAPE_ACTOR, gen));
  WR_FAILPOINT("actor.queued");
  int alive = !is_dead(a, actor_gen);
  if (alive) push(me, a, task);
  wr_tag_done(wr_tagger_of(me));
  if (!alive) WR_FAILPOINT("actor.refused");
  if (alive) {
    WR_FAILPOINT("actor.pushed");
    uint64_t st = wr_load(&a->state);
    if (!is_dead(a, actor_gen)) {
      if (WR_ACTOR_PHASE(st) == WR_ACTOR_ALIVE) wr_wake(me->s, WR_ACTOR_SLOT(st));
      return;
    }
  }
  refuse(me, task, gen);
}

void wr_actor_call(wr_self *me, wr_idx task) { deliver(me, task, 1); }

void wr_actor_call_again(wr_self *me, wr_idx task) {
  if (WR_TASK_PHASE(wr_load(&wr_task_at(me->s, task)->tstate)) == WR_TASK_QUEUED)
    deliver(me, task, 0);
  else
    wr_tasks_unlinked(me, task);
}

void wr_actor_call_settle(wr_self *me, wr_idx task) {
  const wr_task *t = wr_task_at(me->s, task);
  if (t->actor == 0 || t->actor > WR_MAX_ACTORS) return;
  const wr_actor *a = wr_actor_at(me->s, t->actor - 1);
  uint64_t st = wr_load(&a->state);
  if (is_dead(a, t->actor_gen))
    refuse(me, task, WR_TASK_GEN(wr_load(&t->tstate)));
  else if (WR_ACTOR_PHASE(st) == WR_ACTOR_ALIVE)
    wr_wake(me->s, WR_ACTOR_SLOT(st));
}

wr_idx wr_actor_take_all(wr_self *me, uint32_t idx) {
  wr_seg *s = me->s;
  wr_a64 *box = &wr_actor_at(s, idx)->mailbox;
  uint64_t head = wr_load(box);
  if (wr_tag_value(head) == 0) return 0;
  while (!wr_tag_swap(wr_tagger_of(me), box, &head, 0)) {
  }
  WR_FAILPOINT("actor.taken");
  wr_idx out = 0, i = wr_tag_value(head);
  for (uint64_t left = wr_guard_steps(s); i && WR_GUARD_STEP(left);) {
    wr_task *t = wr_task_at(s, i);
    wr_idx next = wr_load32(&t->qnext);
    wr_store32(&t->qnext, out);
    out = i;
    i = next;
  }
  return out;
}

void wr_actor_put_back(wr_self *me, uint32_t idx, wr_idx oldest) {
  wr_seg *s = me->s;
  wr_a64 *box = &wr_actor_at(s, idx)->mailbox;
  wr_idx top = 0, i = oldest; /* turn the list over: mailboxes run newest first */
  uint64_t left = wr_guard_steps(s);
  while (i && WR_GUARD_STEP(left)) {
    wr_idx next = wr_load32(&wr_task_at(s, i)->qnext);
    wr_store32(&wr_task_at(s, i)->qnext, top);
    top = i;
    i = next;
  }
  while (top && WR_GUARD_STEP(left)) {
    uint64_t head = wr_load(box);
    if (wr_tag_value(head) == 0 && wr_tag_swap(wr_tagger_of(me), box, &head, top)) break;
    /* came in meanwhile: newer, so on top */
    for (i = wr_actor_take_all(me, idx); i && WR_GUARD_STEP(left);) {
      wr_idx next = wr_load32(&wr_task_at(s, i)->qnext);
      wr_store32(&wr_task_at(s, i)->qnext, top);
      top = i;
      i = next;
    }
  }
}
