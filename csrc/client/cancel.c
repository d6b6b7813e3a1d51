/* Cancelling tasks, and finding the tasks that a task has submitted. */
#include "client/internal.h"
#include "sched/cancel.h"
#include "sched/lineage.h"
#include "sched/task.h"

/* Does task i name the record among its extra returns?  It may have been freed and reused. */
static int returns(wr_seg *s, wr_idx i, wr_idx extra) {
  if (!wr_rec_is_task(s, i)) return 0;
  const wr_task *t = wr_task_at(s, i);
  uint64_t off = t->args, room = s->h->size;
  uint32_t n = wr_tasks_nextra(t);
  if (off == 0 || off > room - sizeof(wr_pins)) return 0;
  uint64_t end = sizeof(wr_pins) + 4ull * ((const wr_pins *)wr_at(s, off))->n + 4ull * n;
  if (end > room - off) return 0;
  const wr_idx *e = wr_tasks_extra(s, t, n);
  for (uint32_t k = 0; k < n; k++)
    if (e[k] == extra) return 1;
  return 0;
}

int wr_task_of(wr_client *c, wr_id *id) {
  wr_seg *s = &c->seg;
  uint32_t kind = wr_rec_kind_of(s, id->idx);
  if (kind == WR_REC_TASKS) return 1;
  if (kind == WR_REC_ITEMS) {
    const wr_item *item = wr_item_at(s, id->idx); /* in our hands: it can be no other's */
    *id = (wr_id){item->task, item->task_gen};
    return 1;
  }
  const wr_object *o = wr_obj(s, id->idx); /* an extra return names its task; others have none */
  if (wr_object_phase_of(c, *id) != WR_OBJ_PENDING || (o->flags & WR_VAL_BLOCK)) return 0;
  wr_idx i = o->v.b.producer; /* an inline value that is being written may stand there instead */
  if (!returns(s, i, id->idx)) return 0;
  *id = (wr_id){i, WR_TASK_GEN(wr_load(&wr_task_at(s, i)->tstate))};
  return 1;
}

/* The task that makes a lost value again.  It is what its original names for as long as the value
 * is not there, and so it can be no other by then. */
static int remaker_of(wr_client *c, wr_id *id) {
  wr_seg *s = &c->seg;
  if (!wr_value_remade(c, *id)) return 0;
  wr_idx kept = wr_lineage_task_of(s, id->idx);
  if (!kept) return 0;
  wr_a32 *name = &wr_task_at(s, kept)->qnext;
  wr_idx copy = wr_load32(name);
  if (!wr_rec_is_task(s, copy)) return 0;
  wr_id found = {copy, WR_TASK_GEN(wr_load(&wr_task_at(s, copy)->tstate))};
  if (!(wr_task_at(s, copy)->flags & WR_TF_REMAKE)) return 0;
  if (wr_load32(name) != copy || !wr_value_remade(c, *id)) return 0;
  *id = found;
  return 1;
}

int wr_task_cancel(wr_client *c, wr_id *id, uint32_t how, uint32_t *slot, int *began) {
  *slot = 0;
  if (began) *began = 0;
  if (!remaker_of(c, id) && !wr_task_of(c, id)) return 0;
  wr_lock(c);
  int done = wr_tasks_cancel(&c->self, id->idx, id->gen, how, slot, began);
  wr_unlock(c);
  return done;
}

typedef struct {
  void (*f)(void *ctx, wr_id child);
  void *ctx;
} family;

static void pass_on(void *arg, wr_idx i, uint32_t gen) {
  const family *w = arg;
  w->f(w->ctx, (wr_id){i, gen});
}

void wr_task_children(wr_client *c, wr_id parent, void (*f)(void *ctx, wr_id child), void *ctx) {
  family w = {f, ctx};
  wr_tasks_children(&c->seg, parent.idx, parent.gen, pass_on, &w);
}
