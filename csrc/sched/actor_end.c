#include "sched/actor_end.h"

#include "sched/actor.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"

#define OWNER_GONE "the process that created this actor has ended"

typedef struct {
  wr_self *me;
  uint32_t slot, actor, gen; /* slot: of the dead process that had claimed calls; 0: none */
} pass;

/* Fails every call on an actor that is dead for good. */
static void fail_call(void *ctx, wr_idx i) {
  const pass *p = ctx;
  wr_self *me = p->me;
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  if (WR_TASK_PHASE(st) == WR_TASK_FREE || !wr_tasks_is_call_on(t, p->actor, p->gen)) return;
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
void wr_actor_bury(wr_sweeper *sw, uint32_t actor, uint32_t slot) {
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
  pass p = {.me = &sw->self, .slot = slot, .actor = actor, .gen = gen};
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
  wr_actor_note_cause(a, (uint32_t)cause);
  wr_store32(&a->exit_code, (uint32_t)exit_code);
  wr_actor_bury(sw, actor, 0);
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
    wr_actor_note_cause(a, WR_CAUSE_KILLED);
    atomic_fetch_or(&a->flags, WR_AF_NO_RESTART);
  }
  if (phase == WR_ACTOR_MAKING) return 0;
  if (phase != WR_ACTOR_ALIVE) { /* not placed yet, or its constructor runs */
    uint32_t slot = constructor_of(me, a);
    if (!slot && no_restart) slot = take_creation(me, a);
    if (!slot && no_restart) wr_actor_bury(sw, actor, 0);
    return slot;
  }
  return WR_ACTOR_SLOT(st);
}

void wr_actor_orphan(wr_sweeper *sw, uint32_t actor, uint32_t gen, uint32_t dead) {
  wr_actor_note_cause(wr_actor_at(sw->self.s, actor), WR_CAUSE_OWNER);
  uint32_t proc = wr_actor_kill(sw, actor, gen, 1);
  if (proc && proc != dead && sw->kill_process) sw->kill_process(sw->ctx, proc, OWNER_GONE);
}
