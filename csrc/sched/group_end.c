#include "sched/group_end.h"

#include "base/status.h"
#include "sched/actor.h"
#include "sched/actor_end.h"
#include "sched/group.h"
#include "sched/ledger.h"
#include "sched/lineage.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"

int wr_group_doom(wr_seg *s, uint32_t idx, uint32_t gen) {
  if (idx >= WR_MAX_GROUPS || !wr_groups_know(s, idx, gen)) return 0;
  atomic_fetch_or(&wr_group_at(s, idx)->state, (uint64_t)WR_GF_DOOMED << 16);
  return 1;
}

typedef struct {
  wr_sweeper *sw;
  uint32_t idx, gen, users;
} search;

static void kill_user(search *x, uint32_t slot) {
  x->users++;
  if (slot && slot != x->sw->self.slot && x->sw->kill_process)
    x->sw->kill_process(x->sw->ctx, slot, "its placement group was removed");
}

/* What has not begun fails; what runs ends with its process, and the sweep says why; what is kept
 * to be run again is not kept any longer, since its shape will be another's. */
static void end_task(void *ctx, wr_idx i) {
  search *x = ctx;
  wr_self *me = &x->sw->self;
  const wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  uint32_t phase = WR_TASK_PHASE(st);
  if (phase == WR_TASK_FREE || (t->flags & WR_TF_CALL) ||
      !wr_group_has_shape(me->s, x->idx, x->gen, WR_TASK_SHAPE(st)))
    return;
  int waits = phase == WR_TASK_WAITING || phase == WR_TASK_QUEUED;
  if (waits && !(t->flags & WR_TF_CREATION) && wr_tasks_claim(me, i, WR_TASK_GEN(st)))
    wr_tasks_fail(me, i, WR_GROUP_GONE, WR_GROUP_GONE_TEXT);
  else if (phase == WR_TASK_RUNNING)
    kill_user(x, WR_TASK_SLOT(st));
  else if (phase != WR_TASK_KEPT || !wr_lineage_give_up(me, i, WR_TF_UNPLACED))
    x->users++;
}

static int is_in_group(const search *x, const wr_actor *a) {
  const wr_seg *s = x->sw->self.s;
  if (wr_group_has_shape(s, x->idx, x->gen, a->shape)) return 1;
  if (!a->creation) return 0;
  uint64_t ts = wr_load(&wr_task_at(s, a->creation)->tstate);
  return WR_TASK_GEN(ts) == a->creation_gen &&
         wr_group_has_shape(s, x->idx, x->gen, WR_TASK_SHAPE(ts));
}

static void end_actors(search *x) {
  wr_seg *s = x->sw->self.s;
  for (uint32_t i = 0; i < wr_load32(&s->h->nactors) && i < WR_MAX_ACTORS; i++) {
    wr_actor *a = wr_actor_at(s, i);
    uint64_t st = wr_load(&a->state);
    uint32_t phase = WR_ACTOR_PHASE(st);
    if (phase == WR_ACTOR_FREE || phase == WR_ACTOR_DEAD || phase == WR_ACTOR_MAKING) continue;
    if (!is_in_group(x, a)) continue;
    wr_actor_note_cause(a, WR_CAUSE_GROUP);
    kill_user(x, wr_actor_kill(x->sw, i, WR_ACTOR_GEN(st), 1));
  }
}

/* The intent is read first: a claim that follows one is either seen, or was given up. */
static void count_claims(search *x) {
  wr_seg *s = x->sw->self.s;
  uint32_t high = wr_load32(&s->h->proc_high);
  for (uint32_t k = 1; k <= high && k < WR_MAX_PROCS; k++) {
    uint32_t shape = wr_ledger_intent(s, k);
    uint64_t c = wr_load(&s->procs[k].claim);
    if (wr_group_has_shape(s, x->idx, x->gen, shape) ||
        (c && wr_group_has_shape(s, x->idx, x->gen, WR_CLAIM_SHAPE(c))))
      x->users++;
  }
}

/* REMOVING under the daemon, from whatever phase but in somebody's hands. */
static int take_group(wr_self *me, uint32_t idx, uint32_t gen) {
  wr_a64 *w = &wr_group_at(me->s, idx)->state;
  uint64_t st = wr_load(w), now;
  do {
    uint32_t phase = WR_GROUP_PHASE(st);
    if (WR_GROUP_GEN(st) != gen || phase == WR_GROUP_FREE || phase == WR_GROUP_REMOVED)
      return WR_STALE;
    if (phase == WR_GROUP_REMOVING && WR_GROUP_SLOT(st) == me->slot) return WR_OK;
    if (phase != WR_GROUP_PENDING && phase != WR_GROUP_CREATED) return WR_AGAIN;
    now = WR_GROUP_STATE(WR_GROUP_REMOVING, me->slot, WR_GROUP_FLAGS(st), gen);
  } while (!wr_cas(w, &st, now));
  return WR_OK;
}

int wr_group_clear(wr_sweeper *sw, uint32_t idx, uint32_t gen) {
  search x = {.sw = sw, .idx = idx, .gen = gen};
  int rc = take_group(&sw->self, idx, gen);
  if (rc != WR_OK) return rc;
  end_actors(&x);
  wr_sweep_each(sw->self.s, WR_REC_TASKS, end_task, &x);
  count_claims(&x);
  return x.users ? WR_AGAIN : WR_OK;
}
