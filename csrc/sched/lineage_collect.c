/* What of the lineage is still of use: a look at all records, by whiprayd alone.
 *
 * First the candidates are found, records with no flag but that of lineage.  Nobody can come to
 * name one of these afterwards, since whoever names a record pins it then.  So each name of a
 * candidate is a KEPT task's before the second look, which goes from the tasks that are needed for
 * what still has references to all that they name, and on.  Candidates that it does not reach are
 * of no use. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/status.h"
#include "sched/lineage.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"
#include "store/refs.h"

enum { REACHED = 1, VISITED = 2 };

typedef struct {
  wr_seg *s;
  wr_map32 marks;     /* candidate + 1 -> REACHED and VISITED */
  wr_vec32 candidates;
  wr_vec32 todo; /* KEPT tasks that are needed */
  uint64_t bytes;
  int failed;
} look;

static int is_candidate(const look *l, wr_idx i) { return wr_map32_get(&l->marks, i + 1) != NULL; }

static void find_candidate(void *ctx, wr_idx i) {
  look *l = ctx;
  const wr_object *o = wr_obj(l->s, i);
  uint32_t phase = WR_OBJ_PHASE(wr_load(&o->state));
  if (phase == WR_OBJ_FREE || phase >= WR_OBJ_DYING) return;
  if (wr_tag_value(wr_load(&o->refs)) != WR_REF_LINEAGE) return;
  if (wr_vec32_push(&l->candidates, i) < 0 || wr_map32_put(&l->marks, i + 1, 0) < 0)
    l->failed = 1;
}

/* ---- reaching -------------------------------------------------------------------------------- */

static void reach(look *l, wr_idx i) {
  uint32_t *mark = wr_map32_get(&l->marks, i + 1);
  if (!mark || (*mark & REACHED)) return;
  *mark |= REACHED;
  wr_idx task = wr_lineage_task_of(l->s, i);
  if (task && wr_vec32_push(&l->todo, task) < 0) l->failed = 1;
}

static void visit(look *l, wr_idx task) {
  const wr_task *t = wr_task_at(l->s, task);
  uint32_t *mark = wr_map32_get(&l->marks, task + 1);
  if (mark && (*mark & VISITED)) return;
  if (mark) *mark |= REACHED | VISITED;
  const wr_pins *pins = wr_tasks_pins(l->s, t);
  uint32_t n = wr_pins_count(l->s, pins, pins->n), extras = wr_tasks_nextra(t);
  for (uint32_t k = 0; k < n; k++) reach(l, pins->idx[k]);
  for (uint32_t k = 1; k <= extras; k++) reach(l, wr_lineage_return(l->s, task, k));
}

/* A task is needed for itself if a return of it has references. */
static void find_root(void *ctx, wr_idx i) {
  look *l = ctx;
  const wr_task *t = wr_task_at(l->s, i);
  if (WR_TASK_PHASE(wr_load(&t->tstate)) != WR_TASK_KEPT) return;
  uint32_t n = wr_tasks_nextra(t);
  int needed = !is_candidate(l, i);
  for (uint32_t k = 1; k <= n && !needed; k++)
    needed = !is_candidate(l, wr_lineage_return(l->s, i, k));
  if (needed) visit(l, i);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static uint64_t size_of(const wr_seg *s, wr_idx i) {
  const wr_object *o = wr_obj(s, i);
  uint64_t bytes = WR_CELL;
  if (wr_rec_is_task(s, i)) {
    const wr_task *t = wr_task_at(s, i);
    bytes = sizeof *t + (t->flags & WR_TF_ARGS_BLOCK ? (uint64_t)t->args_pos + t->args_len : 0);
  }
  if ((o->flags & WR_VAL_BLOCK) && WR_OBJ_PLACE(wr_load(&o->state)) == WR_IN_MEMORY)
    bytes += o->v.b.len;
  return bytes;
}

int wr_lineage_collect(wr_self *me, uint64_t *bytes) {
  look l = {.s = me->s};
  *bytes = 0;
  wr_sweep_each(me->s, WR_REC_TASKS, find_candidate, &l);
  wr_sweep_each(me->s, WR_REC_CELLS, find_candidate, &l);
  wr_fence(); /* pairs with the swaps that let go of pins after a task has become KEPT */
  if (l.candidates.n) wr_sweep_each(me->s, WR_REC_TASKS, find_root, &l);
  while (l.todo.n && !l.failed) visit(&l, l.todo.v[--l.todo.n]);
  for (uint32_t k = 0; k < l.candidates.n && !l.failed; k++) {
    wr_idx i = l.candidates.v[k];
    if (*wr_map32_get(&l.marks, i + 1) & REACHED)
      *bytes += size_of(me->s, i);
    else
      wr_refs_clear(me, i, wr_gen_of(me->s, i), WR_REF_LINEAGE);
  }
  wr_map32_free(&l.marks);
  wr_vec32_free(&l.candidates);
  wr_vec32_free(&l.todo);
  return l.failed ? WR_NOMEM : WR_OK;
}

/* ---- giving it up ---------------------------------------------------------------------------- */

static int is_let_go(const wr_task *t) {
  return !(wr_tag_value(wr_load(&t->ret.refs)) & WR_REF_TASK);
}

/* Held meanwhile: else its last user could free the record, and another task be built in it.  When
 * there is no memory for a hold, the reason is not told. */
int wr_lineage_give_up(wr_self *me, wr_idx task, uint16_t why) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load(&t->tstate);
  if (WR_TASK_PHASE(st) != WR_TASK_KEPT) return 1;
  if (!is_let_go(t)) return 0;
  int rc = wr_hold_take(me, task, WR_TASK_GEN(st), NULL);
  if (rc == WR_STALE) return 1;
  if (rc == WR_OK) t->flags |= why;
  if (wr_cas(&t->tstate, &st, WR_TASK_STATE(WR_TASK_FINISHED, 0, 0, WR_TASK_GEN(st))))
    atomic_fetch_add(&me->s->h->lineage_loose, 1);
  if (rc == WR_OK) wr_hold_drop(me, task);
  return 1;
}

typedef struct {
  wr_self *me;
  uint32_t pool;
} closing;

static void give_up_in_pool(void *ctx, wr_idx i) {
  const closing *c = ctx;
  const wr_task *t = wr_task_at(c->me->s, i);
  uint64_t st = wr_load(&t->tstate);
  uint32_t shape = WR_TASK_SHAPE(st);
  if (WR_TASK_PHASE(st) != WR_TASK_KEPT || (t->flags & WR_TF_CALL)) return;
  if (shape < WR_MAX_SHAPES && wr_shape_at(c->me->s, shape)->pool == c->pool)
    (void)wr_lineage_give_up(c->me, i, WR_TF_OWNERLESS);
}

void wr_lineage_give_up_pool(wr_self *me, uint32_t pool) {
  closing c = {me, pool};
  wr_sweep_each(me->s, WR_REC_TASKS, give_up_in_pool, &c);
}

typedef struct {
  wr_seg *s;
  wr_vec64 kept; /* age | idx */
  uint32_t now;
} census;

static void note_kept(void *ctx, wr_idx i) {
  census *c = ctx;
  const wr_task *t = wr_task_at(c->s, i);
  if (WR_TASK_PHASE(wr_load(&t->tstate)) != WR_TASK_KEPT) return;
  if (!is_let_go(t)) return;
  uint32_t touched = atomic_load_explicit(&t->ret.v.b.touched, memory_order_relaxed);
  (void)wr_vec64_push(&c->kept, (uint64_t)(c->now - touched) << 32 | i);
}

static int oldest_first(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? 1 : x > y ? -1 : 0;
}

void wr_lineage_evict(wr_self *me) {
  census c = {.s = me->s, .now = wr_load32(&me->s->h->births)};
  wr_sweep_each(me->s, WR_REC_TASKS, note_kept, &c);
  if (c.kept.n) qsort(c.kept.v, c.kept.n, sizeof *c.kept.v, oldest_first);
  for (uint32_t k = 0; k < c.kept.n / 8 + 1 && k < c.kept.n; k++)
    (void)wr_lineage_give_up(me, (wr_idx)c.kept.v[k], WR_TF_EVICTED);
  wr_vec64_free(&c.kept);
}
