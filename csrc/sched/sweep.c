#include "sched/sweep.h"

#include <string.h>

#include "base/status.h"
#include "sched/actor.h"
#include "sched/actor_end.h"
#include "sched/actor_restart.h"
#include "sched/cancel.h"
#include "sched/deps.h"
#include "sched/group.h"
#include "sched/ledger.h"
#include "sched/lineage.h"
#include "sched/queue.h"
#include "sched/shapes.h"
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

typedef struct {
  wr_sweeper *sw;
  uint32_t slot;
  uint32_t was; /* number of the actor that the dead process was, plus one */
  const wr_death *why;
  wr_idx hand;
  int draining;
  int yields; /* tasks that it has submitted yield */
} pass;

/* ---- tasks ----------------------------------------------------------------------------------- */

static const char JOB_OVER[] = "The driver of its job has ended.";

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
    wr_actor_bury(p->sw, k, p->slot);
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
  if ((p->why && p->why->job_over) || wr_shape_closed(me->s, WR_TASK_SHAPE(wr_load(&t->tstate)))) {
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
  wr_death_of_task(text, sizeof text, p->why, me->s->procs[p->slot].title);
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
  if ((t->flags & WR_TF_CALL) || !wr_shape_closed(me->s, WR_TASK_SHAPE(st))) return 0;
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
  if (p->hand == i && wr_tasks_call_waits(t, st)) wr_actor_call_settle(me, i);
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
    if (a < WR_MAX_ACTORS && wr_tasks_call_waits(t, wr_load(&t->tstate)) &&
        !wr_tag_applied(p, slot, &s->actors[a].mailbox))
      wr_actor_call_again(&sw->self, i);
  }
  wr_store(&p->op, WR_OP(WR_OP_NONE, WR_OP_SEQ(op), 0));
}

/* ---- actors ---------------------------------------------------------------------------------- */

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
    wr_actor_orphan(sw, i, WR_ACTOR_GEN(st), slot);
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
  if (actor && actor <= WR_MAX_ACTORS) wr_actor_process_died(sw, slot, actor - 1, why);
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
  if (shape >= WR_MAX_SHAPES) return;
  if (wr_pool_at(me->s, wr_shape_at(me->s, shape)->pool)->job != p->slot) return;
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
    wr_actor_orphan(sw, i, WR_ACTOR_GEN(st), 0);
  }
  wr_sweep_each(s, WR_REC_TASKS, cancel_job_task, &p);
  return WR_OK;
}
