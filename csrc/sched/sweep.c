#include "sched/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "sched/actor.h"
#include "sched/call_order.h"
#include "sched/cancel.h"
#include "sched/deps.h"
#include "sched/group.h"
#include "sched/ledger.h"
#include "sched/lineage.h"
#include "sched/queue.h"
#include "sched/stream.h"
#include "sched/stream_end.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"

int wr_sweeper_init(wr_sweeper *sw, wr_seg *s, uint32_t daemon_slot,
                    void (*actor_died)(void *ctx, uint32_t actor, uint32_t gen, int restarting),
                    void *ctx) {
  memset(sw, 0, sizeof *sw);
  sw->ctx = ctx;
  sw->actor_died = actor_died;
  return wr_self_init(&sw->self, s, daemon_slot,
                      WR_PROC_GEN(wr_load(&s->procs[daemon_slot].state)));
}

void wr_sweeper_close(wr_sweeper *sw) { wr_self_close(&sw->self); }

#define OWNER_GONE "the process that created this actor has ended"

typedef struct {
  wr_sweeper *sw;
  uint32_t slot, actor, gen; /* actor: number, when the pass concerns one */
  uint32_t was;              /* number of the actor that the dead process was, plus one */
  const wr_death *why;
  wr_idx hand;
  int draining;
  int yields; /* tasks that it has submitted yield */
  wr_vec32 *found;
} pass;

/* ---- tasks ----------------------------------------------------------------------------------- */

static const char JOB_OVER[] = "The driver of its job has ended.";

/* `name` of what it ran, as the process showed it; "" when that is not known. */
static int describe_death(char *buf, size_t cap, const wr_death *why, const char *name) {
  int n = snprintf(buf, cap, "The worker process died while it ran this task%s%.63s: ",
                   name[0] ? ", " : "", name);
  if (!why) return n + wr_death_text(buf + n, cap - (size_t)n, -1, 0);
  n += snprintf(buf + n, cap - (size_t)n, "(pid %d) ", why->pid);
  if (why->reason) return n + snprintf(buf + n, cap - (size_t)n, "%s", why->reason);
  n += snprintf(buf + n, cap - (size_t)n, "it ");
  return n + wr_death_text(buf + n, cap - (size_t)n, why->wait_status, why->peak_rss);
}

static void bury(wr_sweeper *sw, uint32_t actor, uint32_t slot);

static wr_pool *pool_of(const wr_seg *s, uint32_t shape) {
  return wr_pool_at(s, wr_shape_at(s, shape)->pool);
}

/* Nobody will run a task of this shape any more. */
static int pool_closed(const wr_seg *s, uint32_t shape) {
  return shape < WR_MAX_SHAPES && wr_load32(&pool_of(s, shape)->state) != WR_POOL_OPEN;
}

/* The process had claimed the creation of an actor.  Once the actor stands in its slot, the two
 * share their fate; before, nothing of it has run, and another process creates it. */
static void creation_of_the_dead(pass *p, wr_idx i, wr_task *t) {
  wr_self *me = &p->sw->self;
  uint32_t k = t->actor - 1;
  if (k >= WR_MAX_ACTORS) return;
  wr_actor *a = &me->s->actors[k];
  uint64_t st = wr_load(&a->state);
  if (WR_ACTOR_GEN(st) != t->actor_gen || WR_ACTOR_PHASE(st) == WR_ACTOR_DEAD) {
    t->flags &= (uint16_t)~WR_TF_CREATION; /* killed while its constructor ran */
    wr_actor_fail_call(me, i);
    return;
  }
  if (WR_ACTOR_SLOT(st) == p->slot) return;
  if (wr_load32(&a->flags) & WR_AF_NO_RESTART)
    bury(p->sw, k, p->slot);
  else
    wr_tasks_requeue(me, i);
}

/* A call in the hands of its actor goes with it.  Anyone else had claimed it because the actor is
 * dead, to say so. */
static void call_of_the_dead(pass *p, wr_idx i, const wr_task *t) {
  wr_seg *s = p->sw->self.s;
  if (t->actor && t->actor == p->was &&
      t->actor_gen == WR_ACTOR_GEN(wr_load(&wr_actor_at(s, t->actor - 1)->state)))
    return;
  wr_actor_fail_call(&p->sw->self, i);
}

/* Its process was ended to save memory, through no fault of the task: its retries stay as many. */
static void task_of_the_ended(wr_self *me, wr_idx i, wr_task *t, const wr_death *why) {
  if (t->retries == 0 || !why->run_again) {
    wr_tasks_fail(me, i, "OOM", why->low_memory);
    return;
  }
  if (t->retries > 0 && t->retries < INT16_MAX) t->retries++;
  wr_tasks_requeue(me, i);
}

void wr_sweep_tell(wr_sweeper *sw, uint32_t slot, wr_idx i, uint32_t gen) {
  const wr_task *t = wr_task_at(sw->self.s, i);
  int kills = (wr_load32(&t->cancel) & WR_CANCEL_FORCE) && !(t->flags & WR_TF_CALL);
  if (sw->interrupt) sw->interrupt(sw->ctx, slot, i, gen, kills);
}

/* Who has marked it may be the one that died, before it came to interrupt the task. */
static void tell_the_marked(pass *p, wr_idx i, const wr_task *t, uint64_t st) {
  uint32_t marks = wr_load32(&t->cancel) & (WR_CANCEL_WANTED | WR_CANCEL_TOLD);
  if (marks == WR_CANCEL_WANTED) wr_sweep_tell(p->sw, WR_TASK_SLOT(st), i, WR_TASK_GEN(st));
}

typedef struct {
  wr_sweeper *sw;
  uint32_t how;
} kin;

static void cancel_child(void *ctx, wr_idx i, uint32_t gen) {
  const kin *k = ctx;
  uint32_t slot = 0;
  if (wr_load32(&wr_task_at(k->sw->self.s, i)->cancel) & WR_CANCEL_WANTED) return;
  (void)wr_tasks_cancel(&k->sw->self, i, gen, k->how, &slot, NULL);
  if (slot) wr_sweep_tell(k->sw, slot, i, gen);
}

void wr_sweep_cancel_children(wr_sweeper *sw, wr_idx i, uint32_t gen, uint32_t how) {
  kin k = {sw, how & (WR_CANCEL_FORCE | WR_CANCEL_FAMILY)};
  if (how & WR_CANCEL_FAMILY) wr_tasks_children(sw->self.s, i, gen, cancel_child, &k);
}

/* What a cancelled task had submitted last, its own process would have taken along. */
static void cancelled_of_the_dead(pass *p, wr_idx i, wr_task *t) {
  wr_self *me = &p->sw->self;
  wr_sweep_cancel_children(p->sw, i, WR_TASK_GEN(wr_load(&t->tstate)), wr_load32(&t->cancel));
  wr_tasks_fail_cancelled(me, i, "Its process was ended.");
}

static void task_of_the_dead(pass *p, wr_idx i, wr_task *t) {
  wr_self *me = &p->sw->self;
  if (t->flags & WR_TF_WRITTEN) { /* its result was complete */
    wr_tasks_finish(me, i, t->flags & WR_TF_FAILED, t->flags & WR_TF_SYSERR ? WR_VAL_SYSERR : 0);
    return;
  }
  if (t->flags & WR_TF_CREATION) {
    creation_of_the_dead(p, i, t);
    return;
  }
  if (wr_load32(&t->cancel) & WR_CANCEL_WANTED) {
    cancelled_of_the_dead(p, i, t);
    return;
  }
  if (t->flags & WR_TF_CALL) {
    call_of_the_dead(p, i, t);
    return;
  }
  if ((p->why && p->why->job_over) || pool_closed(me->s, WR_TASK_SHAPE(wr_load(&t->tstate)))) {
    wr_tasks_fail_cancelled(me, i, JOB_OVER);
    return;
  }
  if (p->why && p->why->low_memory) {
    task_of_the_ended(me, i, t, p->why);
    return;
  }
  if (t->retries != 0) {
    wr_tasks_requeue(me, i);
    return;
  }
  char text[512];
  describe_death(text, sizeof text, p->why, me->s->procs[p->slot].title);
  wr_tasks_fail(me, i, "WORKER_DIED", text);
}

/* The return's record had been made and the task's word not yet written. */
static void drop_begun(pass *p, wr_idx i, wr_task *t) {
  wr_seg *s = p->sw->self.s;
  uint64_t st = wr_load(&t->ret.state);
  if (WR_OBJ_PHASE(st) != WR_OBJ_PENDING || t->ret.creator != p->slot) return;
  if (WR_REC_SLOT(wr_load(wr_rec_word(s, i))) != p->slot) return;
  wr_refs_clear(&p->sw->self, i, WR_OBJ_GEN(st), WR_REF_CREATOR | WR_REF_TASK);
}

/* A call in a mailbox, or on its way there or from there. */
static int call_waits(const wr_task *t, uint64_t st) {
  uint32_t phase = WR_TASK_PHASE(st);
  return (t->flags & WR_TF_CALL) && (phase == WR_TASK_QUEUED || phase == WR_TASK_CANCELLING ||
                                     phase == WR_TASK_ANSWERED);
}

/* The actor that the task would create has been killed before. */
static int creates_nothing(const wr_seg *s, const wr_task *t) {
  uint32_t k = t->actor - 1;
  if (k >= WR_MAX_ACTORS) return 1;
  uint64_t st = wr_load(&s->actors[k].state);
  return WR_ACTOR_GEN(st) != t->actor_gen || WR_ACTOR_PHASE(st) == WR_ACTOR_DEAD;
}

/* A worker may submit, or its death may queue again, after the job has ended and its tasks have
 * been cancelled.  1: this was one. */
static int cancel_of_ended_job(wr_self *me, wr_idx i, wr_task *t, uint64_t st) {
  uint32_t phase = WR_TASK_PHASE(st);
  if (phase != WR_TASK_WAITING && phase != WR_TASK_QUEUED) return 0;
  if ((t->flags & WR_TF_CALL) || !pool_closed(me->s, WR_TASK_SHAPE(st))) return 0;
  int creation = t->flags & WR_TF_CREATION;
  if (creation && !creates_nothing(me->s, t)) return 0; /* goes with its actor */
  if (!wr_tasks_claim(me, i, WR_TASK_GEN(st))) return 1;
  t->flags &= (uint16_t)~WR_TF_CREATION;
  if (creation)
    wr_actor_fail_call(me, i);
  else
    wr_tasks_fail_cancelled(me, i, JOB_OVER);
  return 1;
}

static void visit_task(void *ctx, wr_idx i) {
  pass *p = ctx;
  wr_self *me = &p->sw->self;
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  if (wr_stream_was_for(t, st, p->slot)) p->yields = 1;
  if (p->hand == i && call_waits(t, st)) wr_actor_call_settle(me, i);
  if (cancel_of_ended_job(me, i, t, st)) return;
  switch (WR_TASK_PHASE(st)) {
    case WR_TASK_FREE:
      drop_begun(p, i, t);
      break;
    case WR_TASK_BUILDING:
      if (WR_TASK_SLOT(st) == p->slot) wr_tasks_discard(me, i);
      break;
    case WR_TASK_WAITING:
      if (p->draining || p->hand == i) wr_deps_resume(me, i);
      break;
    case WR_TASK_QUEUED:
      if (p->hand == i && !(t->flags & WR_TF_CALL)) wr_queue_push(me, WR_TASK_SHAPE(st), i);
      break;
    case WR_TASK_RUNNING:
    case WR_TASK_CANCELLING:
      if (WR_TASK_SLOT(st) == p->slot)
        task_of_the_dead(p, i, t);
      else if (WR_TASK_PHASE(st) == WR_TASK_RUNNING)
        tell_the_marked(p, i, t, st);
      break;
    case WR_TASK_FINISHED:
      if (WR_TASK_SLOT(st) == p->slot && (wr_tag_value(wr_load(&t->ret.refs)) & WR_REF_TASK))
        wr_refs_clear(me, i, WR_TASK_GEN(st), WR_REF_TASK);
      break;
    case WR_TASK_KEPT:
      if (WR_TASK_SLOT(st) == p->slot && (wr_tag_value(wr_load(&t->ret.refs)) & WR_REF_TASK))
        wr_lineage_settle(me, i);
      break;
    default: break;
  }
}

/* A call that the dead process was putting into a mailbox. */
static void settle_push(wr_sweeper *sw, uint32_t slot) {
  wr_seg *s = sw->self.s;
  wr_proc *p = &s->procs[slot];
  uint64_t op = wr_load(&p->op);
  wr_idx i = WR_OP_IDX(op);
  if (WR_OP_KIND(op) != WR_OP_PUSH) return;
  if (wr_rec_kind_of(s, i) == WR_REC_TASKS) {
    wr_task *t = wr_task_at(s, i);
    uint32_t a = t->actor - 1;
    if (a < WR_MAX_ACTORS && call_waits(t, wr_load(&t->tstate)) &&
        !wr_tag_applied(p, slot, &s->actors[a].mailbox))
      wr_actor_call_again(&sw->self, i);
  }
  wr_store(&p->op, WR_OP(WR_OP_NONE, WR_OP_SEQ(op), 0));
}

/* ---- actors ---------------------------------------------------------------------------------- */

static int is_call_on(const pass *p, const wr_task *t) {
  return (t->flags & WR_TF_CALL) && t->actor == p->actor + 1 && t->actor_gen == p->gen;
}

/* Fails every call on an actor that is dead for good. */
static void fail_call(void *ctx, wr_idx i) {
  pass *p = ctx;
  wr_self *me = &p->sw->self;
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  if (WR_TASK_PHASE(st) == WR_TASK_FREE || !is_call_on(p, t)) return;
  if (WR_TASK_PHASE(st) == WR_TASK_RUNNING && WR_TASK_SLOT(st) == p->slot && p->slot) {
    wr_actor_fail_call(me, i);
  } else if (WR_TASK_PHASE(st) == WR_TASK_QUEUED && wr_tasks_claim(me, i, WR_TASK_GEN(st))) {
    wr_actor_fail_call(me, i);
  } else {
    wr_tasks_unlinked(me, i); /* nobody walks the mailbox of a dead actor */
  }
}

/* The creation task has been kept for restarts; now it may go.  One that a living process has
 * claimed is that process's to answer: it finds its actor dead, or is killed and swept. */
static void drop_creation(wr_sweeper *sw, wr_idx i, uint32_t gen, uint32_t dead_slot) {
  wr_self *me = &sw->self;
  if (!i) return;
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  uint32_t phase = WR_TASK_PHASE(st), slot = WR_TASK_SLOT(st);
  if (WR_TASK_GEN(st) != gen || phase == WR_TASK_FREE) return;
  if (phase != WR_TASK_FINISHED) {
    if (phase == WR_TASK_RUNNING && slot != me->slot && slot != dead_slot) return;
    if (phase != WR_TASK_RUNNING && !wr_tasks_claim(me, i, gen)) return;
    wr_actor_fail_call(me, i);
  }
  t->flags &= (uint16_t)~WR_TF_CREATION;
  wr_tasks_finish(me, i, t->flags & WR_TF_FAILED, t->flags & WR_TF_SYSERR ? WR_VAL_SYSERR : 0);
}

/* Once it is dead its last handle may go, and its record to another actor: what is still needed of
 * it is read before. */
static void bury(wr_sweeper *sw, uint32_t actor, uint32_t slot) {
  wr_seg *s = sw->self.s;
  wr_actor *a = &s->actors[actor];
  uint64_t st = wr_load(&a->state);
  uint32_t gen = WR_ACTOR_GEN(st);
  uint32_t phase = WR_ACTOR_PHASE(st);
  if (phase == WR_ACTOR_FREE || phase == WR_ACTOR_DEAD || phase == WR_ACTOR_MAKING) return;
  wr_idx creation = a->creation;
  uint32_t creation_gen = a->creation_gen, flags = wr_load32(&a->flags);
  while (!wr_cas(&a->state, &st, WR_ACTOR_STATE(WR_ACTOR_DEAD, 0, gen))) {
  }
  uint32_t placed = WR_ACTOR_SLOT(st); /* a process that runs its constructor, or is the actor */
  if (placed && placed != slot && sw->kill_process) sw->kill_process(sw->ctx, placed, OWNER_GONE);
  pass p = {.sw = sw, .slot = slot, .actor = actor, .gen = gen};
  wr_sweep_each(s, WR_REC_TASKS, fail_call, &p);
  drop_creation(sw, creation, creation_gen, slot);
  if (sw->actor_died) sw->actor_died(sw->ctx, actor, gen, 0);
  st = WR_ACTOR_STATE(WR_ACTOR_DEAD, 0, gen);
  if (flags & WR_AF_DETACHED)
    wr_tag_add(wr_tagger_of(&sw->self), &a->refs, (uint32_t)-1);
  if (wr_tag_value(wr_load(&a->refs)) == 0)
    (void)wr_cas(&a->state, &st, WR_ACTOR_STATE(WR_ACTOR_FREE, 0, gen + 1));
}

void wr_actor_fail(wr_sweeper *sw, uint32_t actor, int cause, int exit_code) {
  if (actor >= WR_MAX_ACTORS) return;
  wr_actor *a = &sw->self.s->actors[actor];
  if (wr_load32(&a->cause) == WR_CAUSE_NONE) wr_store32(&a->cause, (uint32_t)cause);
  wr_store32(&a->exit_code, (uint32_t)exit_code);
  bury(sw, actor, 0);
}

/* ---- restarting an actor --------------------------------------------------------------------- */

/* Calls that ran when the process died are run again or fail; calls that it had fetched from the
 * mailbox and not started must go back.  A call is lost in that sense if it is QUEUED (or was, and
 * has been cancelled since), in neither of two emptyings of the mailbox around this look, and not
 * about to be pushed by its submitter. */
static void sort_call(void *ctx, wr_idx i) {
  pass *p = ctx;
  wr_self *me = &p->sw->self;
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  if (WR_TASK_PHASE(st) == WR_TASK_FREE || !is_call_on(p, t)) return;
  uint32_t phase = WR_TASK_PHASE(st);
  if (call_waits(t, st)) (void)wr_vec32_push(p->found, i);
  if (phase != WR_TASK_RUNNING || WR_TASK_SLOT(st) != p->slot) return;
  if (t->retries == 0) {
    char text[512];
    int n = describe_death(text, sizeof text, p->why, "");
    wr_actor_put_id(text + n, sizeof text - (size_t)n, me->s, p->actor, p->gen);
    wr_tasks_fail(me, i, "ACTOR_UNAVAILABLE", text);
    return;
  }
  if (t->retries > 0) t->retries--;
  wr_tasks_discard_values(me, i);
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_QUEUED, 0, WR_SHAPE_ACTOR, WR_TASK_GEN(st)));
  (void)wr_vec32_push(p->found, i);
}

static void drop_listed(wr_seg *s, wr_map32 *listed, wr_idx i) {
  uint64_t left = wr_guard_steps(s);
  for (; i && WR_GUARD_STEP(left); i = wr_load32(&wr_task_at(s, i)->qnext))
    (void)wr_map32_put(listed, i, 1);
}

/* Calls that their submitters are about to push.  (That a submitter has one in hand says nothing:
 * it may have pushed it, and our actor may have fetched it.) */
static void drop_coming(wr_seg *s, wr_map32 *listed, uint32_t actor) {
  uint32_t high = wr_load32(&s->h->proc_high);
  for (uint32_t k = 1; k <= high && k < WR_MAX_PROCS; k++) {
    wr_idx i = wr_tag_pending(&s->procs[k], k, WR_OP_PUSH, &s->actors[actor].mailbox);
    if (i) (void)wr_map32_put(listed, i, 1);
  }
}

static wr_idx link_after(wr_seg *s, wr_idx list, wr_idx more) {
  if (!list) return more;
  wr_idx i = list, next;
  uint64_t left = wr_guard_steps(s);
  while ((next = wr_load32(&wr_task_at(s, i)->qnext)) && WR_GUARD_STEP(left)) i = next;
  wr_store32(&wr_task_at(s, i)->qnext, more);
  return list;
}

static void rebuild_mailbox(wr_sweeper *sw, uint32_t actor, uint32_t gen, uint32_t slot,
                            const wr_death *why) {
  wr_self *me = &sw->self;
  wr_seg *s = me->s;
  wr_vec32 found = {0};
  wr_map32 listed = {0};
  pass p = {.sw = sw, .slot = slot, .actor = actor, .gen = gen, .why = why, .found = &found};
  wr_idx before = wr_actor_take_all(me, actor);
  wr_sweep_each(s, WR_REC_TASKS, sort_call, &p);
  drop_coming(s, &listed, actor);
  wr_idx since = wr_actor_take_all(me, actor);
  drop_listed(s, &listed, before);
  drop_listed(s, &listed, since);
  uint32_t n = 0;
  for (uint32_t k = 0; k < found.n; k++)
    if (!wr_map32_get(&listed, found.v[k])) found.v[n++] = found.v[k];
  wr_calls_sort(s, found.v, n);
  for (uint32_t k = 0; k < n; k++)
    wr_store32(&wr_task_at(s, found.v[k])->qnext, k + 1 < n ? found.v[k + 1] : 0);
  wr_idx all = link_after(s, n ? found.v[0] : 0, link_after(s, before, since));
  if (all) wr_actor_put_back(me, actor, all);
  wr_vec32_free(&found);
  wr_map32_free(&listed);
}

/* Nobody could run its constructor again. */
static int creation_closed(const wr_seg *s, const wr_actor *a) {
  return !a->creation ||
         pool_closed(s, WR_TASK_SHAPE(wr_load(&wr_task_at(s, a->creation)->tstate)));
}

static int may_restart(const wr_seg *s, const wr_actor *a) {
  if (wr_load32(&a->flags) & WR_AF_NO_RESTART) return 0;
  if (creation_closed(s, a)) return 0;
  return a->max_restarts < 0 || wr_load32(&a->restarts) < (uint32_t)a->max_restarts;
}

/* For those who will be told why their calls failed. */
static void note_death(wr_seg *s, wr_actor *a, uint32_t slot, const wr_death *why) {
  wr_idx i = wr_load32(&s->procs[slot].current);
  const wr_task *t = i ? wr_task_at(s, i) : NULL;
  int in_call = t && (t->flags & WR_TF_CALL) && t->actor && wr_actor_at(s, t->actor - 1) == a &&
                WR_TASK_PHASE(wr_load(&t->tstate)) == WR_TASK_RUNNING;
  wr_store32(&a->last_call, in_call ? t->fn + 1 : 0);
  wr_store32(&a->exit_code, why ? (uint32_t)why->wait_status : 0);
  wr_store(&a->peak_rss, why ? why->peak_rss : 0);
  if (why) wr_store32(&a->last_pid, (uint32_t)why->pid);
}

/* The process was killed with its job as it became a detached actor, which outlives the job. */
static int struck_by_mistake(const wr_seg *s, const wr_actor *a, const wr_death *why) {
  uint32_t flags = wr_load32(&a->flags);
  if (!why || !why->job_over || !(flags & WR_AF_DETACHED) || (flags & WR_AF_NO_RESTART)) return 0;
  return !creation_closed(s, a);
}

static void actor_process_died(wr_sweeper *sw, uint32_t slot, uint32_t actor, const wr_death *why) {
  wr_seg *s = sw->self.s;
  wr_actor *a = &s->actors[actor];
  uint64_t st = wr_load(&a->state);
  uint32_t gen = WR_ACTOR_GEN(st);
  if (WR_ACTOR_SLOT(st) != slot || WR_ACTOR_PHASE(st) == WR_ACTOR_DEAD) return;
  note_death(s, a, slot, why);
  int spared = struck_by_mistake(s, a, why);
  if (!spared && !may_restart(s, a)) {
    if (wr_load32(&a->cause) == WR_CAUSE_NONE)
      wr_store32(&a->cause, why && why->low_memory ? WR_CAUSE_MEMORY : WR_CAUSE_CRASHED);
    bury(sw, actor, slot);
    return;
  }
  if (!spared) atomic_fetch_add(&a->restarts, 1);
  wr_store(&a->state, WR_ACTOR_STATE(WR_ACTOR_RESTARTING, 0, gen));
  rebuild_mailbox(sw, actor, gen, slot, why);
  wr_tasks_requeue(&sw->self, a->creation);
  if (sw->actor_died) sw->actor_died(sw->ctx, actor, gen, 1);
}

/* The process that runs the constructor; 0: none does. */
static uint32_t constructor_of(wr_self *me, const wr_actor *a) {
  uint64_t ts = a->creation ? wr_load(&wr_task_at(me->s, a->creation)->tstate) : 0;
  int runs = WR_TASK_PHASE(ts) == WR_TASK_RUNNING && WR_TASK_GEN(ts) == a->creation_gen;
  return runs && WR_TASK_SLOT(ts) != me->slot ? WR_TASK_SLOT(ts) : 0;
}

/* Nobody will run the constructor any more, unless somebody was quicker: then who that is. */
static uint32_t take_creation(wr_self *me, const wr_actor *a) {
  if (!a->creation || wr_tasks_claim(me, a->creation, a->creation_gen)) return 0;
  return constructor_of(me, a);
}

uint32_t wr_actor_kill(wr_sweeper *sw, uint32_t actor, uint32_t gen, int no_restart) {
  wr_self *me = &sw->self;
  if (actor >= WR_MAX_ACTORS) return 0;
  wr_actor *a = &me->s->actors[actor];
  uint64_t st = wr_load(&a->state);
  uint32_t phase = WR_ACTOR_PHASE(st);
  if (WR_ACTOR_GEN(st) != gen || phase == WR_ACTOR_FREE || phase == WR_ACTOR_DEAD) return 0;
  if (no_restart) {
    if (wr_load32(&a->cause) == WR_CAUSE_NONE) wr_store32(&a->cause, WR_CAUSE_KILLED);
    atomic_fetch_or(&a->flags, WR_AF_NO_RESTART);
  }
  if (phase == WR_ACTOR_MAKING) return 0;
  if (phase != WR_ACTOR_ALIVE) { /* not placed yet, or its constructor runs */
    uint32_t slot = constructor_of(me, a);
    if (!slot && no_restart) slot = take_creation(me, a);
    if (!slot && no_restart) bury(sw, actor, 0);
    return slot;
  }
  return WR_ACTOR_SLOT(st);
}

/* Nothing will ever create it: its creator died before the creation task was submitted (such a task
 * has been dropped by now). */
static int never_comes(wr_seg *s, const wr_actor *a, uint64_t st) {
  if (WR_ACTOR_PHASE(st) != WR_ACTOR_PENDING) return 0;
  return !a->creation || WR_TASK_GEN(wr_load(&wr_task_at(s, a->creation)->tstate)) !=
                             a->creation_gen;
}

static void give_number_back(wr_actor *a, uint64_t st) {
  wr_store(&a->refs, 0);
  wr_store(&a->state, WR_ACTOR_STATE(WR_ACTOR_FREE, 0, WR_ACTOR_GEN(st) + 1));
}

/* Actors live no longer than the process that created them, unless detached. */
static void orphan_actors(wr_sweeper *sw, uint32_t slot) {
  wr_seg *s = sw->self.s;
  for (uint32_t i = 0; i < wr_load32(&s->h->nactors) && i < WR_MAX_ACTORS; i++) {
    wr_actor *a = &s->actors[i];
    uint64_t st = wr_load(&a->state);
    if (WR_ACTOR_PHASE(st) == WR_ACTOR_MAKING) {
      if (WR_ACTOR_SLOT(st) == slot) give_number_back(a, st);
      continue;
    }
    if (WR_ACTOR_PHASE(st) == WR_ACTOR_FREE || WR_ACTOR_PHASE(st) == WR_ACTOR_DEAD) continue;
    if (a->creator != slot) continue;
    if ((wr_load32(&a->flags) & WR_AF_DETACHED) && !never_comes(s, a, st)) continue;
    if (wr_load32(&a->cause) == WR_CAUSE_NONE) wr_store32(&a->cause, WR_CAUSE_OWNER);
    uint32_t proc = wr_actor_kill(sw, i, WR_ACTOR_GEN(st), 1);
    if (proc && proc != slot && sw->kill_process) sw->kill_process(sw->ctx, proc, OWNER_GONE);
  }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void leave_pools(wr_seg *s, uint32_t slot) {
  for (uint32_t i = 0; i < wr_load32(&s->h->npools) && i < WR_MAX_POOLS; i++) {
    uint64_t spinner = slot + 1;
    wr_pool_clear_idle(s, i, slot);
    (void)wr_cas(&s->pools[i].spinning, &spinner, 0);
  }
}

static void clear_proc(wr_proc *p) {
  wr_store32(&p->hand, 0);
  wr_store32(&p->drain, 0);
  wr_store32(&p->current, 0);
  wr_store32(&p->actor, 0);
  wr_store32(&p->cancel, 0);
  wr_store32(&p->waiting, 0);
  wr_store(&p->awaits, 0);
  wr_store32(&p->quit, 0);
  wr_store32(&p->activity, WR_ACT_NONE);
}

int wr_sweep_slot(wr_sweeper *sw, uint32_t slot, const wr_death *why) {
  wr_self *me = &sw->self;
  wr_seg *s = me->s;
  if (slot == 0 || slot >= WR_MAX_PROCS || slot == me->slot) return WR_INVAL;
  wr_proc *p = &s->procs[slot];
  uint32_t actor = wr_load32(&p->actor);
  leave_pools(s, slot);
  wr_sweep_intent(me, slot);
  wr_stream_settle(me, slot);
  settle_push(sw, slot);
  wr_ledger_return_dead(me, slot);
  wr_groups_sweep(me, slot);
  pass t = {.sw = sw, .slot = slot, .was = actor, .why = why, .hand = wr_load32(&p->hand)};
  t.draining = wr_load32(&p->drain) != 0;
  wr_sweep_each(s, WR_REC_TASKS, visit_task, &t);
  if (actor && actor <= WR_MAX_ACTORS) actor_process_died(sw, slot, actor - 1, why);
  orphan_actors(sw, slot);
  wr_sweep_references(me, slot);
  if (t.yields) wr_streams_end(sw, slot, why && why->in_order);
  wr_sweep_chunks(me, slot);
  clear_proc(p);
  atomic_fetch_add(&s->h->sweeps, 1);
  wr_pool_kick_all(me);
  wr_wake_stranded(s);
  return WR_OK;
}

/* Detached actors outlive their driver, and what they have submitted goes on. */
static int of_detached_actor(const wr_seg *s, const wr_task *t) {
  if (t->submitter >= WR_MAX_PROCS) return 0;
  uint32_t actor = wr_load32(&s->procs[t->submitter].actor);
  if (!actor || actor > WR_MAX_ACTORS) return 0;
  const wr_actor *a = &s->actors[actor - 1];
  return WR_ACTOR_SLOT(wr_load(&a->state)) == t->submitter &&
         (wr_load32(&a->flags) & WR_AF_DETACHED);
}

static void cancel_job_task(void *ctx, wr_idx i) {
  pass *p = ctx;
  wr_self *me = &p->sw->self;
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  uint32_t phase = WR_TASK_PHASE(st), shape = WR_TASK_SHAPE(st);
  if (phase != WR_TASK_WAITING && phase != WR_TASK_QUEUED) return;
  if (t->flags & WR_TF_CALL) return; /* it has been sent: it runs, or fails with its actor */
  if (shape >= WR_MAX_SHAPES || pool_of(me->s, shape)->job != p->slot) return;
  if ((t->flags & WR_TF_CREATION) && t->actor &&
      (wr_load32(&me->s->actors[(t->actor - 1) % WR_MAX_ACTORS].flags) & WR_AF_DETACHED))
    return;
  if (!of_detached_actor(me->s, t) && wr_tasks_claim(me, i, WR_TASK_GEN(st)))
    wr_tasks_fail_cancelled(me, i, JOB_OVER);
}

int wr_sweep_job(wr_sweeper *sw, uint32_t driver_slot) {
  wr_seg *s = sw->self.s;
  pass p = {.sw = sw, .slot = driver_slot};
  for (uint32_t i = 0; i < wr_load32(&s->h->nactors) && i < WR_MAX_ACTORS; i++) {
    wr_actor *a = &s->actors[i];
    uint64_t st = wr_load(&a->state);
    uint32_t phase = WR_ACTOR_PHASE(st);
    if (phase == WR_ACTOR_FREE || phase == WR_ACTOR_DEAD || phase == WR_ACTOR_MAKING) continue;
    if (a->job != driver_slot || (wr_load32(&a->flags) & WR_AF_DETACHED)) continue;
    if (wr_load32(&a->cause) == WR_CAUSE_NONE) wr_store32(&a->cause, WR_CAUSE_OWNER);
    uint32_t proc = wr_actor_kill(sw, i, WR_ACTOR_GEN(st), 1);
    if (proc && sw->kill_process) sw->kill_process(sw->ctx, proc, OWNER_GONE);
  }
  wr_sweep_each(s, WR_REC_TASKS, cancel_job_task, &p);
  return WR_OK;
}
