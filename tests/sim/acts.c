/* What the processes of a simulation do. */
#include "sched/actor.h"
#include "sched/group.h"
#include "sched/ledger.h"
#include "sim.h"

enum { CALLERS = 1024 };

static wr_id seen[SIM_OWN]; /* ids that anybody may try */
static uint32_t last_seed;  /* each task's and value's is greater than those before */
static struct {
  uint32_t actor, gen, who, seed;
} callers[CALLERS]; /* the last call of each that has begun */
static uint32_t ncallers;

void sim_acts_reset(void) {
  memset(seen, 0, sizeof seen);
  last_seed = ncallers = 0;
}

static int is_actor(wr_id id) { return (id.idx & WR_ACTOR_BIT) != 0; }

static uint32_t new_seed(void) { return last_seed += 8; } /* a task has some returns */

static void keep(sim_proc *p, wr_id id, uint32_t seed, uint32_t len) {
  if (p->nown == SIM_OWN) {
    wr_creator_drop(p->c, id);
    return;
  }
  p->own[p->nown++] = (sim_own){id, seed, len};
  seen[sim_pick(SIM_OWN)] = id;
}

static void drop_one(sim_proc *p) {
  if (!p->nown) return;
  uint32_t k = sim_pick(p->nown);
  wr_id id = p->own[k].id;
  p->own[k] = p->own[--p->nown];
  wr_creator_drop(p->c, id);
}

/* References that this process may pass on: its own.  *ndeps of them are objects, in front. */
static uint32_t some_refs(sim_proc *p, wr_id *refs, uint32_t most, uint32_t *ndeps) {
  uint32_t n = p->nown ? sim_pick(most + 1) : 0;
  for (uint32_t i = 0; i < n; i++) refs[i] = p->own[sim_pick(p->nown)].id;
  *ndeps = 0;
  while (*ndeps < n && !is_actor(refs[*ndeps])) ++*ndeps;
  if (*ndeps) *ndeps = sim_pick(*ndeps + 1);
  return n;
}

/* ---- tasks and values ------------------------------------------------------------------------ */

static void submit(sim_proc *p) {
  static const uint32_t ops[] = {ORDER_ECHO, ORDER_NEST, ORDER_FAIL, ORDER_PART, ORDER_RETRY,
                                 ORDER_AWAIT, ORDER_AWAIT};
  wr_id refs[3], out[3];
  uint32_t ndeps, n = some_refs(p, refs, 3, &ndeps), returns = 1 + sim_pick(3);
  uint32_t op = ops[sim_pick(7)], items = op == ORDER_AWAIT ? sim_pick(4) : 0;
  task_plan t = {.o = {op, new_seed(), sim_pick(2) ? 20 : 3000, items},
                 .padding = sim_pick(200), .refs = refs, .nrefs = n, .ndeps = ndeps,
                 .spec = {.shape = (uint16_t)sim_pick(SESSION_SHAPES),
                          .nreturns = (uint16_t)returns, .retries = (int16_t)sim_pick(5)}};
  plan_submit(p->c, &t, out);
  for (uint32_t i = 0; i < returns; i++) keep(p, out[i], t.o.seed + i, t.o.len);
}

static void put(sim_proc *p) {
  wr_id refs[3];
  uint32_t ndeps, n = some_refs(p, refs, 3, &ndeps), seed = new_seed();
  uint32_t len = sim_pick(5) ? sim_pick(64) : 90000;
  if (len > 64 && sim_pick(2)) n = 0; /* it may be spilled */
  keep(p, pattern_put(p->c, len, seed, refs, n), seed, len);
}

static void borrow(sim_proc *p) {
  wr_id id = seen[sim_pick(SIM_OWN)];
  if (!id.idx || wr_hold(p->c, id.idx, id.gen, NULL) != WR_OK) return;
  wr_unhold(p->c, id);
}

static void cancel(sim_proc *p) {
  uint32_t slot;
  if (!p->nown) return;
  wr_id id = p->own[sim_pick(p->nown)].id;
  if (!is_actor(id)) (void)wr_task_cancel(p->c, &id, 0, &slot, NULL);
}

/* What it sees stays there and stays the same, while others go on. */
static void look(sim_proc *p) {
  wr_view v;
  if (!p->nown) return;
  sim_own o = p->own[sim_pick(p->nown)];
  if (is_actor(o.id) || wr_view_hold(p->c, o.id) != WR_OK) return;
  if (wr_value_view(p->c, o.id, &v) == WR_OK && !v.is_error) {
    for (int i = 0; i < 4; i++) sim_give_way("look");
    if (v.len != o.len) sim_fail("a value of %u bytes has %zu", o.len, v.len);
    for (size_t i = 0; i < v.len; i++)
      if (v.data[i] != (uint8_t)(o.seed * 31 + i)) sim_fail("byte %zu of a value is wrong", i);
  }
  wr_view_unhold(p->c, o.id);
}

/* ---- actors ---------------------------------------------------------------------------------- */

static void make_actor(sim_proc *p) {
  static const int32_t restarts[] = {0, -1, -1};
  wr_id creation;
  order o = {sim_pick(8) ? ORDER_CREATE : ORDER_BROKEN, 1, 8, 0};
  wr_id actor = actor_make(p->c, restarts[sim_pick(3)], sim_pick(8) ? 0 : WR_AF_DETACHED, o,
                           &creation);
  wr_creator_drop(p->c, creation);
  keep(p, actor, 0, 0);
}

static void call_once(sim_proc *p, wr_id actor) {
  static const uint32_t ops[] = {ORDER_ECHO, ORDER_NEST, ORDER_FAIL, ORDER_AWAIT};
  wr_id refs[3], out[2];
  uint32_t ndeps, n = some_refs(p, refs, 3, &ndeps);
  task_plan t = {.o = {ops[sim_pick(4)], new_seed(), 20, p->who}, .refs = refs, .nrefs = n,
                 .ndeps = ndeps,
                 .spec = {.flags = WR_TF_CALL, .actor = actor, .nreturns = 2,
                          .retries = (int16_t)(sim_pick(4) - 1)}};
  plan_submit(p->c, &t, out);
  for (uint32_t i = 0; i < 2; i++) keep(p, out[i], t.o.seed + i, 20);
}

/* Some in a row, so that the actor has more of them in its hands than the one that runs. */
static void call(sim_proc *p) {
  wr_id actor = {0, 0};
  for (uint32_t i = 0; i < p->nown; i++)
    if (is_actor(p->own[i].id) && (!actor.idx || sim_pick(2))) actor = p->own[i].id;
  if (!actor.idx)
    make_actor(p);
  else
    for (uint32_t n = 1 + sim_pick(4); n; n--) call_once(p, actor);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* A task of this one; it may wait for tasks of its own, and for the one before. */
static wr_id submit_child(sim_proc *p, const wr_job *job, uint32_t items, const wr_id *before) {
  wr_id id;
  int nested = items && sim_pick(2);
  uint32_t op = nested ? ORDER_AWAIT : sim_pick(3) ? ORDER_ECHO : ORDER_FAIL;
  task_plan t = {.o = {op, new_seed(), 20, nested ? items : 0},
                 .refs = before, .nrefs = before != NULL, .ndeps = before != NULL,
                 .spec = {.shape = (uint16_t)sim_pick(SESSION_SHAPES),
                          .retries = (int16_t)(sim_pick(4) - 1), .parent = {job->idx, job->gen}}};
  plan_submit(p->c, &t, &id);
  return id;
}

/* On an actor whose handle the task has been given. */
static wr_id call_given(sim_proc *p, const wr_job *job, wr_idx actor) {
  wr_id id;
  uint64_t st = wr_load(&p->c->seg.actors[actor & ~WR_ACTOR_BIT].state);
  task_plan t = {.o = {ORDER_ECHO, new_seed(), 20, p->who},
                 .spec = {.flags = WR_TF_CALL, .actor = {actor, WR_ACTOR_GEN(st)},
                          .retries = (int16_t)(sim_pick(4) - 1), .parent = {job->idx, job->gen}}};
  plan_submit(p->c, &t, &id);
  return id;
}

/* Tasks of its own, calls of its own, and what it was given. */
static void await_children(sim_proc *p, const wr_job *job, const order *o) {
  wr_id ids[SIM_WAITS];
  uint32_t n = 0, own, items = job->t->flags & WR_TF_CALL ? 1 : o->items;
  for (uint32_t k = 0; k < items; k++, n++)
    ids[n] = submit_child(p, job, items - 1, k && sim_pick(2) ? &ids[n - 1] : NULL);
  for (uint32_t k = 0; k < job->nrefs && n < SIM_WAITS; k++)
    if (job->refs[k] & WR_ACTOR_BIT) ids[n++] = call_given(p, job, job->refs[k]);
  own = n;
  for (uint32_t k = 0; k < job->nrefs && n < SIM_WAITS; k++)
    if (!(job->refs[k] & WR_ACTOR_BIT))
      ids[n++] = (wr_id){job->refs[k], wr_gen_of(&p->c->seg, job->refs[k])};
  sim_await(p, ids, n);
  for (uint32_t k = 0; k < own; k++) wr_creator_drop(p->c, ids[k]);
}

static void await_some(sim_proc *p) {
  wr_id ids[SIM_WAITS];
  uint32_t n = 0;
  for (uint32_t k = 0; k < 3 && p->nown; k++) {
    wr_id id = p->own[sim_pick(p->nown)].id;
    if (!is_actor(id)) ids[n++] = id;
  }
  sim_await(p, ids, n);
}

/* ---- working --------------------------------------------------------------------------------- */

/* The calls of one caller begin in the order of their submission; after a death of the actor the
 * one that ran may begin again, and no other. */
static void note_begun(const wr_job *job, const order *o) {
  const wr_task *t = job->t;
  uint32_t k = 0;
  if (!(t->flags & WR_TF_CALL)) return;
  while (k < ncallers && (callers[k].actor != t->actor || callers[k].gen != t->actor_gen ||
                          callers[k].who != o->items))
    k++;
  if (k == CALLERS) return;
  if (k == ncallers) {
    ncallers++;
    callers[k].actor = t->actor;
    callers[k].gen = t->actor_gen;
    callers[k].who = o->items;
    callers[k].seed = 0;
  }
  if (o->seed < callers[k].seed)
    sim_fail("call %u of process %u runs after its call %u", o->seed, o->items, callers[k].seed);
  callers[k].seed = o->seed;
}

static void work(sim_proc *p) {
  wr_job job;
  order o;
  int rc = sim_calm || sim_pick(2) ? wr_work_next(p->c, &job, -1) : wr_work_try(p->c, &job);
  if (rc == WR_DEAD) p->leaving = 1;
  if (rc != WR_OK) return;
  memcpy(&o, job.args, sizeof o);
  note_begun(&job, &o);
  if (o.op == ORDER_AWAIT) await_children(p, &job, &o);
  work_run(p->c, &job);
  if (o.op == ORDER_BROKEN) p->leaving = 1; /* a constructor that fails ends its process */
}

/* ---- streams --------------------------------------------------------------------------------- */

static void begin_stream(sim_proc *p) {
  wr_id refs[2], out[2];
  uint32_t ndeps, n = some_refs(p, refs, 2, &ndeps);
  if (p->nstreams == SIM_STREAMS) return;
  order o = {ORDER_STREAM, new_seed(), sim_pick(3) ? 8 : 2000, 1 + sim_pick(4)};
  wr_task_spec spec = {.retries = (int16_t)(sim_pick(3) - 1), .room = sim_pick(3)};
  stream_submit(p->c, o, spec, refs, n, out);
  p->streams[p->nstreams++] = (sim_reading){out[0], out[1], o};
}

static void end_stream(sim_proc *p, uint32_t k) {
  sim_reading r = p->streams[k];
  p->streams[k] = p->streams[--p->nstreams];
  wr_stream_leave(p->c, r.task);
  stream_drop(p->c, r.item);
  wr_creator_drop(p->c, r.task);
}

/* Reads on in one of them, or leaves it. */
static void read_stream(sim_proc *p) {
  if (!p->nstreams) return;
  uint32_t k = sim_pick(p->nstreams);
  sim_reading *r = &p->streams[k];
  wr_id next;
  int rc = sim_pick(8) ? wr_stream_next(p->c, r->item, &next) : WR_DEAD;
  if (rc == WR_AGAIN && sim_pick(2)) sim_await(p, &r->item, 1);
  if (rc == WR_AGAIN) return;
  if (rc != WR_OK) {
    end_stream(p, k);
    return;
  }
  wr_stream_advance(p->c, r->task, r->item);
  wr_id read = r->item;
  r->item = next;
  stream_drop(p->c, read);
}

/* ---- placement groups ------------------------------------------------------------------------ */

static void make_group(sim_proc *p) {
  wr_bundle_spec b[2] = {{.n = 1, .need = {{WR_RES_CPU, (1 + sim_pick(4)) * WR_RES_SCALE}}},
                         {.n = 1, .need = {{1, (1 + sim_pick(2)) * WR_RES_SCALE}}}};
  wr_group_spec spec = {.bundles = b, .n = 1 + sim_pick(2), .name = ""};
  wr_id id;
  if (p->ngroups < SIM_GROUPS && wr_group_create(p->c, &spec, &id) == WR_OK)
    p->groups[p->ngroups++] = id;
}

static void await_group(sim_proc *p) {
  wr_id obj, other;
  uint8_t *dst;
  if (!p->ngroups) return;
  uint32_t seed = new_seed();
  CHECK_EQ(wr_object_create(p->c, &obj), WR_OK);
  CHECK_EQ(wr_value_reserve(p->c, obj.idx, 30, NULL, 0, &dst), WR_OK);
  pattern_fill(dst, 30, seed);
  int rc = wr_group_ready(p->c, p->groups[sim_pick(p->ngroups)], obj, &other);
  if (rc == WR_STATE) wr_unhold(p->c, other);
  if (rc != WR_OK) CHECK_EQ(wr_object_seal(p->c, obj.idx, 0, 0), WR_OK);
  keep(p, obj, seed, 30);
}

static void remove_group(sim_proc *p) {
  if (!p->ngroups) return;
  uint32_t k = sim_pick(p->ngroups);
  wr_lock(p->c);
  int rc = wr_groups_remove(&p->c->self, p->groups[k].idx, p->groups[k].gen);
  wr_unlock(p->c);
  if (rc != WR_AGAIN) p->groups[k] = p->groups[--p->ngroups]; /* else the daemon will do it */
}

/* ---- all of them ----------------------------------------------------------------------------- */

void sim_act(sim_proc *p) {
  static void (*const acts[])(sim_proc *) = {
      submit, submit, submit, put, put, call, call, call, look, look, borrow, cancel, await_some,
      begin_stream, read_stream, read_stream, make_group, await_group, remove_group, drop_one,
      drop_one, drop_one};
  if (p->worker)
    work(p);
  else
    acts[sim_pick(sizeof acts / sizeof acts[0])](p);
}
