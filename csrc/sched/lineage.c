#include "sched/lineage.h"

#include "base/failpoint.h"
#include "base/status.h"
#include "sched/task.h"
#include "store/refs.h"

#define NEVER \
  (WR_TF_CREATION | WR_TF_CONTROL | WR_TF_STREAM | WR_TF_DYNAMIC | WR_TF_REMAKE | WR_TF_FAILED)

static int could_be_lost(const wr_object *o) {
  return (o->flags & WR_VAL_BLOCK) && !(o->flags & WR_VAL_FAILED) && o->v.b.len >= WR_SPILL_MIN;
}

/* An actor that lineage keeps would not end when its handles go, and an item would keep what
 * follows it in its stream. */
static int may_run_again(const wr_seg *s, const wr_task *t) {
  if (t->retries == 0 || (t->flags & NEVER)) return 0;
  const wr_pins *pins = wr_tasks_pins(s, t);
  uint32_t n = wr_pins_count(s, pins, pins->n);
  for (uint32_t k = 0; k < n; k++)
    if ((pins->idx[k] & WR_ACTOR_BIT) || wr_rec_kind_of(s, pins->idx[k]) == WR_REC_ITEMS) return 0;
  return 1;
}

static int wanted(const wr_seg *s, const wr_task *t) {
  uint32_t n = wr_tasks_nextra(t);
  const wr_idx *extra = wr_tasks_extra(s, t, n);
  int any = could_be_lost(&t->ret);
  for (uint32_t k = 0; k < n && !any; k++) any = extra[k] && could_be_lost(wr_obj(s, extra[k]));
  for (uint32_t k = 0; k < n; k++)
    if (!extra[k]) return 0; /* let go of by an earlier try, which has decided */
  return any && may_run_again(s, t);
}

/* The names are flagged while the task still pins them; from KEPT on they are lineage. */
int wr_lineage_keep(wr_self *me, wr_idx task) {
  wr_seg *s = me->s;
  wr_task *t = wr_task_at(s, task);
  if (!wanted(s, t)) return 0;
  const wr_pins *pins = wr_tasks_pins(s, t);
  uint32_t n = wr_pins_count(s, pins, pins->n), extras = wr_tasks_nextra(t);
  const wr_idx *extra = wr_tasks_extra(s, t, extras);
  uint64_t st = wr_load_relaxed(&t->tstate);
  for (uint32_t k = 0; k < n; k++) wr_refs_name(me, pins->idx[k]);
  for (uint32_t k = 0; k < extras; k++) {
    wr_object *o = wr_obj(s, extra[k]);
    if (o->flags & WR_VAL_BLOCK) o->len = task;
    wr_refs_name(me, extra[k]);
  }
  if (extras) wr_refs_name(me, task); /* it outlives its first return */
  WR_FAILPOINT("keep.named");
  wr_store(&t->tstate,
           WR_TASK_STATE(WR_TASK_KEPT, me->slot, WR_TASK_SHAPE(st), WR_TASK_GEN(st)));
  WR_FAILPOINT("keep.kept");
  wr_lineage_settle(me, task);
  return 1;
}

void wr_lineage_settle(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint32_t gen = WR_TASK_GEN(wr_load(&t->tstate)), n = wr_tasks_nextra(t);
  const wr_idx *extra = wr_tasks_extra(me->s, t, n);
  wr_pins_drop(me, wr_tasks_pins(me->s, t));
  for (uint32_t k = 0; k < n; k++)
    if (extra[k]) wr_refs_clear(me, extra[k], wr_gen_of(me->s, extra[k]), WR_REF_TASK);
  WR_FAILPOINT("keep.dropped");
  wr_refs_clear(me, task, gen, WR_REF_TASK);
}

static int is_kept(const wr_seg *s, wr_idx i) {
  return wr_rec_is_task(s, i) &&
         WR_TASK_PHASE(wr_load(&wr_task_at(s, i)->tstate)) == WR_TASK_KEPT;
}

wr_idx wr_lineage_return(const wr_seg *s, wr_idx task, uint32_t k) {
  const wr_task *t = wr_task_at(s, task);
  return k ? wr_tasks_extra(s, t, wr_tasks_nextra(t))[k - 1] : task;
}

wr_idx wr_lineage_task_of(const wr_seg *s, wr_idx obj) {
  if (!obj || (obj & WR_ACTOR_BIT) || wr_rec_chunk(obj) >= wr_load32(&s->h->rec_high)) return 0;
  uint32_t kind = wr_rec_kind_of(s, obj);
  if (kind == WR_REC_TASKS) return is_kept(s, obj) ? obj : 0;
  const wr_object *o = wr_obj(s, obj);
  wr_idx task = (wr_idx)wr_guard_seen(o->len);
  if (kind != WR_REC_CELLS || !(o->flags & WR_VAL_BLOCK) || !is_kept(s, task)) return 0;
  uint32_t n = wr_tasks_nextra(wr_task_at(s, task));
  for (uint32_t k = 1; k <= n; k++)
    if (wr_lineage_return(s, task, k) == obj) return task;
  return 0;
}
