#include "sched/cancel.h"

#include "base/failpoint.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"

/* Nobody runs the task yet: claims it and gives its callers the error. */
static int answer(wr_self *me, wr_task *t, wr_idx i, uint32_t gen) {
  int call = t->flags & WR_TF_CALL;
  int claimed = call ? wr_tasks_claim_linked(me, i, gen) : wr_tasks_claim(me, i, gen);
  if (!claimed) return 0;
  WR_FAILPOINT("cancel.claimed");
  uint32_t actor = t->actor - 1;
  wr_tasks_fail_cancelled(me, i, "It had not begun.");
  if (call && actor < WR_MAX_ACTORS) { /* later calls may have waited behind it */
    uint64_t st = wr_load(&me->s->actors[actor].state);
    if (WR_ACTOR_PHASE(st) == WR_ACTOR_ALIVE) wr_wake(me->s, WR_ACTOR_SLOT(st));
  }
  return 1;
}

int wr_tasks_cancel(wr_self *me, wr_idx i, uint32_t gen, uint32_t how, uint32_t *slot,
                    int *began) {
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  int over = WR_TASK_PHASE(st) == WR_TASK_FINISHED || WR_TASK_PHASE(st) == WR_TASK_KEPT;
  if (WR_TASK_GEN(st) != gen || over) return 0;
  if (how & WR_CANCEL_ANEW) atomic_fetch_and(&t->cancel, ~WR_CANCEL_TOLD);
  atomic_fetch_or(&t->cancel, (how & ~WR_CANCEL_ANEW) | WR_CANCEL_WANTED);
  wr_fence(); /* whoever queues it again sees this, or we see it queued */
  WR_FAILPOINT("cancel.wanted");
  int again = (t->flags & WR_TF_AGAIN) != 0, done = answer(me, t, i, gen);
  st = wr_load(&t->tstate);
  if (!done && WR_TASK_GEN(st) == gen && WR_TASK_PHASE(st) == WR_TASK_RUNNING)
    *slot = WR_TASK_SLOT(st);
  if (began) *began = again || *slot;
  return done;
}

typedef struct {
  wr_seg *s;
  wr_idx parent;
  uint32_t gen;
  void (*f)(void *ctx, wr_idx child, uint32_t gen);
  void *ctx;
} family;

static void look_at(void *arg, wr_idx i) {
  family *w = arg;
  const wr_task *t = wr_task_at(w->s, i);
  uint64_t st = wr_load(&wr_task_at(w->s, i)->tstate);
  uint32_t phase = WR_TASK_PHASE(st);
  if (phase != WR_TASK_WAITING && phase != WR_TASK_QUEUED && phase != WR_TASK_RUNNING) return;
  if (t->parent == w->parent && t->parent_gen == w->gen) w->f(w->ctx, i, WR_TASK_GEN(st));
}

void wr_tasks_children(wr_seg *s, wr_idx parent, uint32_t gen,
                       void (*f)(void *ctx, wr_idx child, uint32_t gen), void *ctx) {
  family w = {s, parent, gen, f, ctx};
  if (parent) wr_sweep_each(s, WR_REC_TASKS, look_at, &w);
}
