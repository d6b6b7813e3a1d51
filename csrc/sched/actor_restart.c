#include "sched/actor_restart.h"

#include "sched/actor.h"
#include "sched/actor_end.h"
#include "sched/call_order.h"
#include "sched/shapes.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"

typedef struct {
  wr_self *me;
  uint32_t slot, actor, gen; /* of the dead process, and of the actor that it was */
  const wr_death *why;
  wr_vec32 *found;
} pass;

/* Calls that ran when the process died are run again or fail; calls that it had fetched from the
 * mailbox and not started must go back.  A call is lost in that sense if it is QUEUED (or was, and
 * has been cancelled since), in neither of two emptyings of the mailbox around this look, and not
 * about to be pushed by its submitter. */
static void sort_call(void *ctx, wr_idx i) {
  const pass *p = ctx;
  wr_self *me = p->me;
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  if (WR_TASK_PHASE(st) == WR_TASK_FREE || !wr_tasks_is_call_on(t, p->actor, p->gen)) return;
  uint32_t phase = WR_TASK_PHASE(st);
  if (wr_tasks_call_waits(t, st)) (void)wr_vec32_push(p->found, i);
  if (phase != WR_TASK_RUNNING || WR_TASK_SLOT(st) != p->slot) return;
  if (t->retries == 0) {
    char text[512];
    int n = wr_death_of_task(text, sizeof text, p->why, "");
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
  pass p = {.me = me, .slot = slot, .actor = actor, .gen = gen, .why = why, .found = &found};
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
         wr_shape_closed(s, WR_TASK_SHAPE(wr_load(&wr_task_at(s, a->creation)->tstate)));
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

void wr_actor_process_died(wr_sweeper *sw, uint32_t slot, uint32_t actor, const wr_death *why) {
  wr_seg *s = sw->self.s;
  wr_actor *a = &s->actors[actor];
  uint64_t st = wr_load(&a->state);
  uint32_t gen = WR_ACTOR_GEN(st);
  if (WR_ACTOR_SLOT(st) != slot || WR_ACTOR_PHASE(st) == WR_ACTOR_DEAD) return;
  note_death(s, a, slot, why);
  int spared = struck_by_mistake(s, a, why);
  if (!spared && !may_restart(s, a)) {
    wr_actor_note_cause(a, why && why->low_memory ? WR_CAUSE_MEMORY : WR_CAUSE_CRASHED);
    wr_actor_bury(sw, actor, slot);
    return;
  }
  if (!spared) atomic_fetch_add(&a->restarts, 1);
  wr_store(&a->state, WR_ACTOR_STATE(WR_ACTOR_RESTARTING, 0, gen));
  rebuild_mailbox(sw, actor, gen, slot, why);
  wr_tasks_requeue(&sw->self, a->creation);
  if (sw->actor_died) sw->actor_died(sw->ctx, actor, gen, 1);
}
