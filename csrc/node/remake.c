/* Values that have been lost are computed again, if their task has been KEPT for that.
 *
 * whiprayd submits a copy of the task and gives what comes out of it to the lost objects (see
 * sched/remake.h).  What the copy needs and is not there is made again before: an argument whose
 * place is REMAKING is waited for like one that is pending, so all that is missing is submitted at
 * once, and tasks run in the order of their dependencies.  All of this is memory of whiprayd, whose
 * death ends the session; workers that die in between are the business of sched/sweep.c.
 *
 * A message from the worker is a hint; the clock finds what nobody told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "os/os.h"
#include "sched/group.h"
#include "sched/lineage.h"
#include "sched/remake.h"
#include "sched/task.h"
#include "shm/ident.h"
#include "store/away.h"
#include "store/refs.h"

#define TICK_MS 50u      /* while tasks run again */
#define LOOK_SHARE 20u   /* one part in so many of the time goes into that */
#define LOOK_BIRTHS 65536u
#define MAX_BYTES (UINT64_C(1) << 30)

/* One task that runs again.  The task is held; its copy has our creator's references. */
typedef struct {
  wr_idx task;
  uint32_t gen;
  wr_idx *out;    /* returns of the copy */
  uint32_t *gens; /* of the task's own: when its lineage is given up meanwhile, they may be freed */
  uint32_t n;
  int submitted;
} remake;

struct node_remakes {
  remake *v;
  uint32_t n, cap;
  wr_map32 of_task; /* task + 1 -> position in v */
  uint64_t max_bytes;
  uint64_t not_before;   /* the next look at lineage */
  uint32_t loose, births; /* of the header, at the last look */
};

static uint64_t place_of(const node *n, wr_idx i) {
  return WR_OBJ_PLACE(wr_load(&wr_obj(&n->seg, i)->state));
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* The pool of a task that is no call; NULL: it has ended, or is about to. */
static const wr_pool *pool_of(const node *n, wr_idx task) {
  const wr_shape *sh =
      wr_shape_at(&n->seg, WR_TASK_SHAPE(wr_load(&wr_task_at(&n->seg, task)->tstate)));
  const wr_pool *pool = wr_pool_at(&n->seg, sh->pool);
  return wr_load32(&sh->state) == 1 && wr_load32(&pool->state) == WR_POOL_OPEN ? pool : NULL;
}

/* Why the object can not be made again, as from_code() in task_error.py reads it; NULL: it can, or
 * nothing is known about its task. */
static const char *refusal(const node *n, wr_idx idx, wr_idx task) {
  if (!task && !wr_rec_is_task(&n->seg, idx)) return NULL;
  const wr_task *t = wr_task_at(&n->seg, task ? task : idx);
  if (t->flags & WR_TF_EVICTED) return "LINEAGE_EVICTED";
  if (t->flags & WR_TF_UNPLACED) return WR_GROUP_GONE;
  if (t->flags & WR_TF_OWNERLESS) return "TASK_CANCELLED";
  if (t->retries == 0) return task ? "MAX_ATTEMPTS_EXCEEDED" : "RETRIES_DISABLED";
  if (!task || (t->flags & WR_TF_CALL)) return NULL;
  return pool_of(n, task) ? NULL : "TASK_CANCELLED";
}

static int grow(struct node_remakes *r) {
  remake *v = wr_vec_room(r->v, r->n, &r->cap, sizeof *v);
  if (v) r->v = v;
  return v ? WR_OK : WR_NOMEM;
}

/* Builds the copy; it is submitted when all that it needs is on its way. */
static int begin(node *n, wr_idx task) {
  struct node_remakes *r = n->remakes;
  wr_self *me = &n->sweeper.self;
  wr_task *t = wr_task_at(&n->seg, task);
  remake m = {.task = task, .gen = wr_gen_of(&n->seg, task)};
  int rc = grow(r);
  if (rc != WR_OK) return rc;
  m.n = wr_remake_returns(&n->seg, task);
  m.out = wr_alloc(m.n * (sizeof *m.out + sizeof *m.gens));
  m.gens = m.out ? (uint32_t *)(m.out + m.n) : NULL;
  for (uint32_t k = 0; m.out && k < m.n; k++) {
    wr_idx own = wr_lineage_return(&n->seg, task, k);
    m.gens[k] = own ? wr_gen_of(&n->seg, own) : 0;
  }
  rc = m.out ? wr_map32_put(&r->of_task, task + 1, r->n) : WR_NOMEM;
  if (rc == WR_OK) rc = wr_hold_take(me, task, m.gen, NULL);
  if (rc == WR_OK) {
    if (t->retries > 0) t->retries--;
    rc = wr_remake_build(me, task, m.out);
    if (rc != WR_OK) {
      if (t->retries >= 0) t->retries++;
      wr_hold_drop(me, task);
    }
  }
  if (rc != WR_OK) {
    wr_map32_del(&r->of_task, task + 1);
    wr_free(m.out);
    return rc;
  }
  wr_store32(&t->qnext, m.out[0]); /* for who cancels it */
  r->v[r->n++] = m;
  n->remade_tasks++;
  return WR_OK;
}

/* From here the object waits for the end of a copy; see hand_over. */
static int mark(node *n, wr_idx idx, uint32_t gen) {
  if (!wr_remake_mark(&n->seg, idx, gen)) return 0;
  node_spill_forget(n, idx, gen);
  return 1;
}

/* The id as Python prints it: session, node, index, generation, job and number. */
static void refuse(node *n, wr_idx idx, uint32_t gen, const char *why) {
  char text[160];
  if (strcmp(why, WR_GROUP_GONE) == 0) {
    wr_remake_fail(&n->sweeper.self, idx, gen, why, WR_GROUP_GONE_TEXT);
    return;
  }
  int at = snprintf(text, sizeof text, "%s\n\tobject_id: ", why);
  at += wr_ident_put_task(text + at, sizeof text - (size_t)at, n->session, idx, gen);
  snprintf(text + at, sizeof text - (size_t)at, "%08x", __builtin_bswap32(1));
  wr_remake_fail(&n->sweeper.self, idx, gen, "UNRECONSTRUCTABLE", text);
}

/* The object waits for its task from now on: 1; 0: that can not be run again; -1: not now. */
static int want(node *n, wr_idx idx, uint32_t gen) {
  wr_self *me = &n->sweeper.self;
  if (wr_gen_of(&n->seg, idx) != gen) return 0;
  wr_idx task = wr_lineage_task_of(&n->seg, idx);
  int wanted = !wr_ref_unwanted(wr_load(&wr_obj(&n->seg, idx)->refs));
  int runs = task && wr_map32_get(&n->remakes->of_task, task + 1);
  const char *why = wanted && !runs ? refusal(n, idx, task) : NULL;
  if (wanted && !why && task) {
    int rc = runs ? WR_OK : begin(n, task);
    if (rc == WR_FULL) node_spill_room(n, WR_CHUNK);
    if (rc == WR_FULL || rc == WR_NOMEM) return -1;
    if (rc == WR_OK && mark(n, idx, gen)) return 1;
  }
  if (why)
    refuse(n, idx, gen, why);
  else
    wr_away_lose(me, idx, gen);
  return 0;
}

/* Its pool ends, or has: nobody would run it there. */
static int refuse_copy(node *n, remake *m) {
  const wr_task *t = wr_task_at(&n->seg, m->out[0]);
  if (m->submitted || (t->flags & WR_TF_CALL) || pool_of(n, m->out[0])) return 0;
  m->submitted = 1;
  wr_tasks_fail_cancelled(&n->sweeper.self, m->out[0], "The driver of its job has ended.");
  return 1;
}

/* Submits the copy once its arguments are there or on their way.  One that nobody can make again is
 * found by the worker, as LOST. */
static void submit(node *n, uint32_t at) {
  if (refuse_copy(n, &n->remakes->v[at])) return;
  wr_idx copy = n->remakes->v[at].out[0];
  const wr_pins *pins = wr_tasks_pins(&n->seg, wr_task_at(&n->seg, copy));
  uint32_t names = wr_pins_count(&n->seg, pins, pins->n);
  wr_fence(); /* pairs with the one of who sheds: it sees the copy's pins, or we its place */
  for (uint32_t k = 0; k < names; k++)
    if (!(pins->idx[k] & WR_ACTOR_BIT) && place_of(n, pins->idx[k]) == WR_IN_SHEDDING) return;
  for (uint32_t k = 0; k < names; k++) {
    wr_idx i = pins->idx[k];
    if ((i & WR_ACTOR_BIT) || place_of(n, i) != WR_IN_LOST) continue;
    if (want(n, i, wr_gen_of(&n->seg, i)) < 0) return;
  }
  n->remakes->v[at].submitted = 1; /* the list may have grown, and moved */
  wr_tasks_submit(&n->sweeper.self, copy);
}

/* Further ones come to the end of the list meanwhile. */
static void submit_all(node *n) {
  for (uint32_t i = 0; i < n->remakes->n; i++)
    if (!n->remakes->v[i].submitted) submit(n, i);
}

/* ---- the end of a copy ----------------------------------------------------------------------- */

static int is_done(const node *n, const remake *m) {
  const wr_task *t = wr_task_at(&n->seg, m->out[0]);
  uint32_t refs = wr_tag_value(wr_load(&t->ret.refs));
  return m->submitted && WR_TASK_PHASE(wr_load(&t->tstate)) == WR_TASK_FINISHED &&
         !(refs & WR_REF_TASK);
}

/* Does anybody refer to it, but for `ours` of our own holds? */
static int has_users(const node *n, wr_idx i, int ours) {
  return (wr_tag_value(wr_load(&wr_obj(&n->seg, i)->refs)) & ~WR_REF_LINEAGE) > (uint32_t)ours;
}

/* Other returns of the task are on disk, or were: where one is lost, others may be.  0: there is no
 * room for a value yet. */
static int hand_over(node *n, const remake *m) {
  wr_self *me = &n->sweeper.self;
  wr_task *t = wr_task_at(&n->seg, m->task);
  for (uint32_t k = 0; k < m->n; k++) {
    wr_idx to = wr_lineage_return(&n->seg, m->task, k);
    if (!to || wr_gen_of(&n->seg, to) != m->gens[k]) continue;
    if (has_users(n, to, to == m->task)) (void)mark(n, to, m->gens[k]);
    if (wr_remake_put(me, m->out[k], to) == WR_OK) continue;
    node_spill_room(n, WR_CHUNK);
    return 0;
  }
  t->retries = wr_task_at(&n->seg, m->out[0])->retries;
  for (uint32_t k = m->n; k-- > 0;)
    wr_refs_clear(me, m->out[k], wr_gen_of(&n->seg, m->out[k]), WR_REF_CREATOR);
  wr_hold_drop(me, m->task);
  return 1;
}

static void drop(struct node_remakes *r, uint32_t at) {
  wr_map32_del(&r->of_task, r->v[at].task + 1);
  wr_free(r->v[at].out);
  r->v[at] = r->v[--r->n];
  if (at < r->n) *wr_map32_get(&r->of_task, r->v[at].task + 1) = at;
}

static void review(node *n) {
  struct node_remakes *r = n->remakes;
  if (n->ending) return;
  for (uint32_t i = r->n; i-- > 0;)
    if (is_done(n, &r->v[i]) && hand_over(n, &r->v[i])) drop(r, i);
  submit_all(n);
  if (!r->n) uv_timer_stop(&n->remake_tick);
}

/* Before its shapes become another's. */
void node_remake_end_pool(node *n, uint32_t pool) {
  struct node_remakes *r = n->remakes;
  for (uint32_t i = 0; i < r->n; i++) (void)refuse_copy(n, &r->v[i]);
  wr_lineage_give_up_pool(&n->sweeper.self, pool);
}

static void on_tick(uv_timer_t *timer) { review(timer->data); }

void node_on_remade(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  (void)p;
  (void)id;
  (void)c;
  review(n);
}

int node_remake(node *n, wr_idx idx, uint32_t gen) {
  struct node_remakes *r = n->remakes;
  int wanted = want(n, idx, gen);
  submit_all(n);
  if (r->n && !uv_is_active((uv_handle_t *)&n->remake_tick))
    uv_timer_start(&n->remake_tick, on_tick, TICK_MS, TICK_MS);
  return wanted;
}

/* ---- lineage that is of no use any more ------------------------------------------------------ */

static void on_look(uv_timer_t *timer) {
  node *n = timer->data;
  struct node_remakes *r = n->remakes;
  if (n->ending || !n->seg.h) return;
  uint32_t loose = wr_load32(&n->seg.h->lineage_loose), births = wr_load32(&n->seg.h->births);
  uint64_t began = wr_os_now_ns(), bytes;
  if (loose == r->loose && births - r->births < LOOK_BIRTHS) return;
  if (began < r->not_before) return;
  r->loose = loose;
  r->births = births;
  if (wr_lineage_collect(&n->sweeper.self, &bytes) == WR_OK && bytes > r->max_bytes)
    wr_lineage_evict(&n->sweeper.self);
  uint64_t now = wr_os_now_ns();
  r->not_before = now + (now - began) * LOOK_SHARE;
}

int node_remake_init(node *n) {
  struct node_remakes *r = wr_alloc(sizeof *r);
  const char *text = getenv("RAY_max_lineage_bytes");
  long long bytes = text ? atoll(text) : 0;
  if (!r) return WR_NOMEM;
  r->max_bytes = bytes > 0 ? (uint64_t)bytes : MAX_BYTES;
  n->remakes = r;
  uv_timer_init(n->loop, &n->remake_tick);
  uv_timer_init(n->loop, &n->lineage_look);
  n->remake_tick.data = n->lineage_look.data = n;
  uv_timer_start(&n->lineage_look, on_look, NODE_LOOK_MS, NODE_LOOK_MS);
  return WR_OK;
}

void node_remake_close(node *n) {
  struct node_remakes *r = n->remakes;
  uv_timer_stop(&n->remake_tick);
  uv_timer_stop(&n->lineage_look);
  while (r->n) drop(r, r->n - 1);
  wr_map32_free(&r->of_task);
  wr_free(r->v);
  wr_free(r);
  n->remakes = NULL;
}
