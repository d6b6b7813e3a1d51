/* The scenes of the kill matrix: what the victim does before it dies, as a driver, as a worker and
 * as an actor that restarts, that does not, that is broken, that retires.  Together they pass every
 * failpoint.  See kill.h. */
#include "kill.h"

#include "sched/group.h"
#include "sched/ledger.h"
#include "sched/lineage.h"
#include "sched/queue.h"
#include "sched/remake.h"
#include "sched/shapes.h"
#include "sched/task.h"
#include "shm/ring.h"

#define ECHO(seed) (order){ORDER_ECHO, seed, 8, 0}
#define ALWAYS {.retries = -1}

/* ---- a driver -------------------------------------------------------------------------------- */

wr_id scene_actor(world *w, uint32_t op) {
  wr_id creation, actor = actor_make(w->d, 0, 0, (order){op, 1, 8, 0}, &creation);
  session_work(&w->x);
  wr_creator_drop(w->d, creation);
  return actor;
}

wr_id scene_submit(wr_client *c, order o, wr_task_spec spec, const wr_id *refs, uint32_t nrefs,
                    uint32_t ndeps) {
  wr_id id;
  task_plan p = {.o = o, .spec = spec, .refs = refs, .nrefs = nrefs, .ndeps = ndeps};
  plan_submit(c, &p, &id);
  return id;
}

wr_task_spec scene_call(wr_id actor) {
  return (wr_task_spec){.flags = WR_TF_CALL, .actor = actor, .retries = -1};
}

/* A worker that sleeps, as far as anybody can see (test_kill_wakeups.c has real ones). */
static void put_to_sleep(world *w, uint32_t slot) {
  wr_store32(&w->x.seg.procs[slot].park, 1);
  wr_pool_set_idle(&w->x.seg, SESSION_POOL, slot);
}

/* An object that is on disk, as far as anybody can see, and that the driver lets go: the task's pin
 * alone keeps it. */
static wr_id submit_with_spilled(world *w) {
  wr_away_refs *none;
  wr_id spilled = pattern_put(w->d, 250000, 13, NULL, 0);
  CHECK(wr_away_begin(&w->x.seg, spilled.idx, spilled.gen));
  wr_away_settle();
  CHECK_EQ(wr_away_leave(&w->x.sweeper.self, spilled.idx, spilled.gen, &none), WR_OK);
  wr_id task = scene_submit(w->d, ECHO(11), (wr_task_spec)ALWAYS, &spilled, 1, 0);
  wr_creator_drop(w->d, spilled);
  return task;
}

static void prepare_driver(world *w) {
  uint32_t sleeper = session_client(&w->x, WR_ROLE_WORKER)->slot;
  w->alive = scene_actor(w, ORDER_CREATE);
  w->gone = scene_actor(w, ORDER_BROKEN);
  w->task = submit_with_spilled(w);
  w->call = scene_submit(w->d, ECHO(12), scene_call(w->alive), NULL, 0, 0);
  kill_promise(w, w->task, 8, 11, 1);
  kill_promise(w, w->call, 8, 12, 1);
  put_to_sleep(w, sleeper);
}

wr_id scene_export(wr_client *c, uint32_t seed, wr_id *found) {
  uint8_t bytes[200], *dst;
  wr_id id;
  pattern_fill(bytes, sizeof bytes, seed);
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  CHECK_EQ(wr_value_reserve(c, id.idx, sizeof bytes, NULL, 0, &dst), WR_OK);
  memcpy(dst, bytes, sizeof bytes);
  CHECK_EQ(wr_export_seal(c, id, bytes, sizeof bytes), WR_OK);
  CHECK(wr_export_find(c, bytes, sizeof bytes, found));
  return id;
}

/* As if two processes brought the same function. */
static void export_twice(wr_client *v) {
  wr_id found, first = scene_export(v, 77, &found);
  CHECK(found.idx == first.idx && found.gen == first.gen);
  (void)scene_export(v, 77, &found);
  CHECK(found.idx == first.idx && found.gen == first.gen);
}

/* Puts, gets and lets go. */
static void act_objects(world *w, wr_client *v) {
  uint32_t gen = 0;
  CHECK_EQ(wr_hold(v, w->small.idx, w->small.gen, &gen), WR_OK);
  CHECK(pattern_is(v, w->small, 100, 1));
  CHECK_EQ(wr_view_hold(v, w->large), WR_OK);
  CHECK(pattern_is(v, w->large, 200000, 2));
  CHECK_EQ(wr_view_hold(v, w->large), WR_OK);
  wr_view_unhold(v, w->large);
  CHECK_EQ(wr_hold(v, w->large.idx, 0, &gen), WR_OK);
  wr_id one = pattern_put(v, 10, 20, NULL, 0);
  kill_offer(w, one, 10, 20, 0);
  wr_id inside[3] = {one, w->small, w->large};
  wr_id two = pattern_put(v, 5000, 21, inside, 3);
  kill_offer(w, two, 5000, 21, 0);
  inside[2] = two;
  wr_id three = pattern_put(v, 300000, 22, inside, 3);
  kill_offer(w, three, 300000, 22, 0);
  wr_id four = pattern_put(v, 150000, 23, inside, 3);
  wr_id five = pattern_put(v, 40, 24, &four, 1);
  wr_unhold(v, w->small);
  wr_unhold(v, w->large);
  wr_view_unhold(v, w->large);
  wr_creator_drop(v, four);
  wr_creator_drop(v, five); /* and with it all that it alone kept alive */
  wr_creator_drop(v, one);
  wr_creator_drop(v, three);
  uint8_t *dst;
  wr_id half;
  CHECK_EQ(wr_object_create(v, &half), WR_OK);
  CHECK_EQ(wr_value_reserve(v, half.idx, 200000, &two, 1, &dst), WR_OK);
  wr_value_discard(v, half.idx);
  CHECK_EQ(wr_value_reserve(v, half.idx, 3000, &two, 1, &dst), WR_OK);
  wr_value_discard(v, half.idx);
  CHECK_EQ(wr_value_reserve(v, half.idx, v->seg.heap_chunks * WR_CHUNK, NULL, 0, &dst), WR_FULL);
  wr_creator_drop(v, half);
  wr_creator_drop(v, two);
  export_twice(v);
}

static void act_submits(world *w, wr_client *v) {
  wr_task_spec spec = ALWAYS;
  wr_id out[3], deps[2];
  out[0] = scene_submit(v, ECHO(30), spec, NULL, 0, 0);
  kill_offer(w, out[0], 8, 30, 0);
  deps[0] = w->gate;
  deps[1] = out[0];
  wr_id waiting = scene_submit(v, ECHO(31), spec, deps, 2, 2);
  kill_offer(w, waiting, 8, 31, 0);
  task_plan large = {.o = {ORDER_ECHO, 32, 700, 0}, .padding = 9000, .spec = spec,
                     .refs = deps, .nrefs = 2, .ndeps = 0};
  large.spec.nreturns = 3;
  plan_submit(v, &large, out);
  for (uint32_t k = 0; k < 3; k++) kill_offer(w, out[k], 700, 32 + k, 0);
  large.padding = 200000;
  large.spec.nreturns = 1;
  plan_submit(v, &large, &out[1]);
  kill_offer(w, out[1], 700, 32, 0);
  large.padding = 0;
  large.spec.nreturns = 3;
  plan_build(v, &large, out);
  wr_task_discard(v, out[0].idx);
  spec.shape = SHAPE_GPU;
  kill_offer(w, scene_submit(v, (order){ORDER_SPAWN, 36, 8, 0}, spec, NULL, 0, 0), 8, 36, 0);
  wr_creator_drop(v, waiting);
}

/* An object of the victim's own that tasks wait for. */
static void act_seals(world *w, wr_client *v) {
  wr_task_spec spec = ALWAYS;
  wr_id pending;
  uint8_t *dst;
  CHECK_EQ(wr_object_create(v, &pending), WR_OK);
  kill_offer(w, scene_submit(v, ECHO(40), spec, &pending, 1, 1), 8, 40, 0);
  kill_offer(w, scene_submit(v, ECHO(41), spec, &pending, 1, 1), 8, 41, 0);
  CHECK_EQ(wr_value_reserve(v, pending.idx, 64, NULL, 0, &dst), WR_OK);
  pattern_fill(dst, 64, 42);
  CHECK_EQ(wr_object_seal(v, pending.idx, 0, 0), WR_OK);
  wr_creator_drop(v, pending);
  wr_id lost[2];
  CHECK_EQ(wr_object_create(v, &lost[0]), WR_OK);
  lost[1] = scene_submit(v, ECHO(43), spec, &lost[0], 1, 1);
  uint32_t slot;
  wr_id task = lost[1];
  CHECK_EQ(wr_task_cancel(v, &task, 0, &slot, NULL), 1);
  wr_creator_drop(v, lost[1]);
  wr_creator_drop(v, lost[0]); /* with a stale node in its list */
}

static void act_calls(world *w, wr_client *v) {
  wr_id refs[2] = {w->alive, w->small}, out;
  uint32_t slot;
  out = scene_submit(v, ECHO(50), scene_call(w->alive), refs, 2, 0);
  kill_offer(w, out, 8, 50, 0);
  kill_offer(w, scene_submit(v, ECHO(51), scene_call(w->alive), &w->gate, 1, 1), 8, 51, 0);
  kill_offer(w, scene_submit(v, ECHO(52), scene_call(w->gone), NULL, 0, 0), 8, 52, 1);
  out = scene_submit(v, ECHO(53), scene_call(w->alive), NULL, 0, 0);
  kill_offer(w, out, 8, 53, 1);
  CHECK_EQ(wr_task_cancel(v, &out, 0, &slot, NULL), 1);
  CHECK_EQ(wr_task_cancel(v, &w->call, 0, &slot, NULL), 1);
  CHECK_EQ(wr_task_cancel(v, &w->task, 0, &slot, NULL), 1);
}

static void act_actors(world *w, wr_client *v) {
  wr_id creation;
  wr_id mine = actor_make(v, 0, 0, (order){ORDER_CREATE, 60, 8, 0}, &creation);
  kill_offer(w, scene_submit(v, ECHO(61), scene_call(mine), &mine, 1, 0), 8, 61, 1);
  wr_creator_drop(v, creation);
  wr_id free = actor_make(v, -1, WR_AF_DETACHED, (order){ORDER_CREATE, 62, 8, 0}, &creation);
  kill_offer(w, scene_submit(v, ECHO(63), scene_call(free), NULL, 0, 0), 8, 63, 1);
  wr_creator_drop(v, creation);
  wr_creator_drop(v, free);
  wr_creator_drop(v, mine);
}

/* Values that are born in the store. */
static void act_loose(world *w, wr_client *v) {
  void *given = wr_loose_alloc(v, 150000), *dropped = wr_loose_alloc(v, 90000);
  wr_id id;
  CHECK(given && dropped && wr_loose_alloc(v, 70000));
  pattern_fill(given, 150000, 25);
  CHECK_EQ(wr_object_create(v, &id), WR_OK);
  CHECK_EQ(wr_loose_give(v, given, id.idx, 0, 150000), WR_OK);
  CHECK_EQ(wr_object_seal(v, id.idx, 0, 0), WR_OK);
  kill_offer(w, id, 150000, 25, 0);
  wr_loose_free(v, dropped);
  wr_creator_drop(v, id);
}

void scene_region_fill(uint8_t *dst, uint8_t *p, const wr_region_value *v, uint32_t seed) {
  CHECK(dst != NULL);
  pattern_fill(dst, v->total, seed); /* at once, in the segment's own mapping; seen at p as well */
  CHECK_EQ(memcmp(dst + v->head, p, v->len), 0);
}

/* Values that are put as they lie, with what they refer to, and written on. */
static void act_regions(world *w, wr_client *v) {
  uint8_t *put = wr_region_alloc(v, 150000), *dropped = wr_region_alloc(v, 90000);
  wr_id refs[2] = {w->small, w->large}, id;
  wr_region_value value = {64, 150000, 150064, refs, 2};
  CHECK(put && dropped && wr_region_alloc(v, 70000));
  wr_region_prepare(v, put, 0);
  CHECK_EQ(wr_object_create(v, &id), WR_OK);
  scene_region_fill(wr_region_begin(v, put, &value), put, &value, 26);
  CHECK_EQ(wr_region_put(v, put, id, &value), WR_OK);
  CHECK_EQ(wr_object_seal(v, id.idx, 0, 0), WR_OK);
  memset(put, 1, 150000);
  kill_offer(w, id, 150064, 26, 0);
  wr_region_free(dropped);
  wr_creator_drop(v, id);
  wr_region_free(put);
}

static void act_driver(world *w, wr_client *v) {
  act_objects(w, v);
  act_loose(w, v);
  act_regions(w, v);
  act_submits(w, v);
  act_seals(w, v);
  act_calls(w, v);
  act_actors(w, v);
}

/* ---- a worker -------------------------------------------------------------------------------- */

void scene_promise(world *w, order o, wr_task_spec spec, const wr_id *refs, uint32_t nrefs,
                         uint32_t ndeps, wr_id *out) {
  wr_id own[3];
  task_plan p = {.o = o, .spec = spec, .refs = refs, .nrefs = nrefs, .ndeps = ndeps};
  if (!out) out = own;
  plan_submit(w->d, &p, out);
  for (uint32_t k = 0; k < (spec.nreturns ? spec.nreturns : 1); k++)
    kill_promise(w, out[k], o.len, o.seed + k,
                 o.op == ORDER_PART && k ? MUST_FAIL : spec.retries == 0 || o.op == ORDER_FAIL);
}

/* As if the rings had been full: the tasks are found again among the records. */
static void spill(world *w) {
  wr_shape *sh = &w->x.seg.shapes[SHAPE_CPU];
  wr_a32 hand;
  uint32_t task;
  while (wr_ring_take(&w->x.seg, &sh->ready, &task, &hand) == WR_OK)
    atomic_fetch_add(&sh->spilled, 1);
}

static void prepare_worker(world *w) {
  session_client(&w->x, WR_ROLE_WORKER);
  wr_task_spec always = ALWAYS, three = {.retries = -1, .nreturns = 3}, once = {.retries = 0};
  wr_task_spec gpu = {.retries = -1, .shape = SHAPE_GPU}, twice = {.retries = 4};
  wr_id refs[3] = {w->small, w->large, w->gate}, out[3], last;
  scene_promise(w, (order){ORDER_ECHO, 70, 8, 0}, always, NULL, 0, 0, NULL);
  scene_promise(w, (order){ORDER_ECHO, 71, 5000, 0}, three, refs, 2, 1, out);
  scene_promise(w, (order){ORDER_NEST, 74, 200000, 0}, always, out, 3, 3, &last);
  scene_promise(w, (order){ORDER_NEST, 75, 5000, 0}, three, &last, 1, 1, out);
  scene_promise(w, (order){ORDER_ECHO, 78, 8, 0}, always, &out[2], 1, 1, NULL);
  scene_promise(w, (order){ORDER_ECHO, 79, 8, 0}, always, &out[2], 1, 1, NULL);
  scene_promise(w, (order){ORDER_RETRY, 80, 200000, 0}, twice, refs, 2, 0, NULL);
  scene_promise(w, (order){ORDER_SPAWN, 81, 8, 0}, gpu, NULL, 0, 0, NULL);
  scene_promise(w, (order){ORDER_SPAWN, 82, 8, 0}, always, NULL, 0, 0, NULL);
  scene_promise(w, (order){ORDER_FAIL, 83, 300, 0}, always, NULL, 0, 0, NULL);
  scene_promise(w, (order){ORDER_ECHO, 84, 3000, 0}, once, refs, 2, 0, NULL);
  scene_promise(w, (order){ORDER_ECHO, 85, 8, 0}, always, &refs[2], 1, 1, NULL); /* waits on */
  scene_promise(w, (order){ORDER_PART, 88, 400, 0}, three, NULL, 0, 0, NULL);
  task_plan unwanted = {.o = {ORDER_NEST, 86, 900, 0}, .spec = three, .refs = refs, .nrefs = 2};
  plan_submit(w->d, &unwanted, out);
  for (uint32_t k = 0; k < 3; k++) wr_creator_drop(w->d, out[k]);
  wr_task_spec paced = {.retries = -1, .room = 2};
  kill_promise_stream(w, (order){ORDER_STREAM, 110, 8, 3}, always, NULL, 0, 0);
  kill_promise_stream(w, (order){ORDER_STREAM, 120, 900, 5}, paced, refs, 2, 0);
  kill_promise_stream(w, (order){ORDER_STREAM, 130, 8, 4}, once, NULL, 0, 1);
  spill(w);
}

static void act_worker(world *w, wr_client *v) {
  wr_job job;
  (void)w;
  wr_store32(&v->seg.h->turn, SESSION_POOL + 1);
  work_all(v);
  work_all(v); /* lies down and gets up again */
  while (wr_work_next(v, &job, 1000000) == WR_OK) work_run(v, &job); /* sleeps */
}

/* ---- a worker whose results could be lost ---------------------------------------------------- */

/* An object of the driver's is lost, and its task runs again, as far as anybody can see: after it
 * has become the argument of one task, and before it becomes that of another. */
void scene_remade(world *w) {
  wr_away_refs *none;
  wr_task_spec always = ALWAYS;
  wr_id id = w->remade = pattern_put(w->d, 150000, 13, NULL, 0);
  CHECK(wr_away_begin(&w->x.seg, id.idx, id.gen));
  wr_away_settle();
  CHECK_EQ(wr_away_leave(&w->x.sweeper.self, id.idx, id.gen, &none), WR_OK);
  scene_promise(w, (order){ORDER_ECHO, 180, 8, 0}, always, &id, 1, 1, NULL);
  CHECK(wr_remake_mark(&w->x.seg, id.idx, id.gen));
  scene_promise(w, (order){ORDER_ECHO, 181, 8, 0}, always, &id, 1, 1, NULL);
}

/* What the tasks were given goes with them, but for what it takes to make it again. */
static void prepare_lineage(world *w) {
  wr_task_spec always = ALWAYS, three = {.retries = -1, .nreturns = 3};
  wr_id inside[2] = {w->small, w->large}, refs[4] = {w->large}, out[3];
  session_client(&w->x, WR_ROLE_WORKER);
  refs[1] = scene_submit(w->d, (order){ORDER_ECHO, 170, 5000, 0}, always, NULL, 0, 0);
  refs[2] = pattern_put(w->d, 300000, 171, inside, 2);
  scene_promise(w, (order){ORDER_ECHO, 172, 150000, 0}, always, refs, 3, 2, &refs[3]);
  scene_promise(w, (order){ORDER_ECHO, 173, 2000, 0}, always, &refs[3], 1, 1, NULL);
  wr_creator_drop(w->d, refs[1]);
  wr_creator_drop(w->d, refs[2]);
  task_plan plan = {.o = {ORDER_ECHO, 174, 3000, 0}, .spec = three, .refs = refs, .nrefs = 1};
  plan_submit(w->d, &plan, out);
  wr_creator_drop(w->d, out[0]);
  wr_creator_drop(w->d, out[2]);
  kill_promise(w, out[1], 3000, 175, 0);
  scene_remade(w);
}

static void act_lineage(world *w, wr_client *v) {
  wr_job job;
  while (wr_work_next(v, &job, 0) == WR_OK)
    if (job.ndeps && job.refs[0] == w->remade.idx)
      CHECK_EQ(wr_work_postpone(v, &job), WR_OK);
    else
      work_run(v, &job);
}

/* ---- who cancels a task that runs again ------------------------------------------------------ */

/* A value of the driver's is lost, and a copy of its task is queued that makes it again. */
static void prepare_copy(world *w) {
  wr_self *daemon = &w->x.sweeper.self;
  wr_task_spec always = ALWAYS;
  wr_away_refs *none;
  wr_id refs[2] = {w->small, w->large}, id;
  session_client(&w->x, WR_ROLE_WORKER);
  id = scene_submit(w->d, (order){ORDER_ECHO, 190, 5000, 0}, always, refs, 2, 1);
  kill_promise(w, id, 5000, 190, 1);
  session_work(&w->x);
  CHECK(wr_away_begin(&w->x.seg, id.idx, id.gen));
  wr_away_settle();
  CHECK_EQ(wr_away_leave(daemon, id.idx, id.gen, &none), WR_OK);
  w->copied = wr_lineage_task_of(&w->x.seg, id.idx);
  CHECK_EQ(w->copied, id.idx);
  CHECK_EQ(wr_remake_build(daemon, w->copied, &w->copy), WR_OK);
  wr_store32(&wr_task_at(&w->x.seg, w->copied)->qnext, w->copy);
  CHECK(wr_remake_mark(&w->x.seg, id.idx, id.gen));
  scene_promise(w, ECHO(191), always, &id, 1, 1, NULL); /* waits for it */
  CHECK_EQ(wr_tasks_submit(daemon, w->copy), WR_OK);
}

static void act_cancel_copy(world *w, wr_client *v) {
  wr_id id = {w->copied, wr_gen_of(&v->seg, w->copied)};
  uint32_t slot;
  CHECK_EQ(wr_hold(v, id.idx, id.gen, NULL), WR_OK);
  CHECK_EQ(wr_task_cancel(v, &id, 0, &slot, NULL), 1);
  CHECK_EQ(id.idx, w->copy);
  id = (wr_id){w->copied, wr_gen_of(&v->seg, w->copied)};
  CHECK_EQ(wr_task_cancel(v, &id, 0, &slot, NULL), 0); /* once is enough */
  wr_unhold(v, (wr_id){w->copied, wr_gen_of(&v->seg, w->copied)});
}

/* ---- a process that reads what it yields ---------------------------------------------------- */

static void prepare_reader(world *w) { (void)w; }

/* Reads a part, hands it on, and leaves the rest: of a stream that is complete, of one that nobody
 * has begun, and of one that it lets go. */
static void act_reader(world *w, wr_client *v) {
  wr_task_spec always = ALWAYS, paced = {.retries = -1, .room = 1};
  wr_id refs[2] = {w->small, w->large}, out[2], other[2], next;
  order o = {ORDER_STREAM, 140, 8, 5}, large = {ORDER_STREAM, 150, 5000, 4};
  stream_submit(v, o, paced, NULL, 0, out);
  stream_submit(v, large, always, refs, 2, other);
  (void)work_all(v);
  CHECK_EQ(stream_read(v, out[0], &out[1], &o, 2), 2);
  CHECK_EQ(wr_stream_next(v, out[1], &next), WR_OK);
  kill_offer(w, out[1], 8, 143, 0);
  wr_stream_advance(v, out[0], out[1]);
  stream_drop(v, out[1]);
  kill_offer(w, next, 8, 144, 0);
  CHECK_EQ(stream_read(v, out[0], &next, &o, 9), 2);
  CHECK_EQ(stream_read(v, other[0], &other[1], &large, 1), 1);
  wr_stream_leave(v, other[0]);
  stream_drop(v, other[1]);
  wr_creator_drop(v, other[0]);
  stream_submit(v, o, always, NULL, 0, other);
  kill_offer(w, other[0], 8, 140, 0);
}

/* ---- an actor -------------------------------------------------------------------------------- */

static void call_actor(world *w, wr_id actor, int mortal) {
  wr_task_spec call = scene_call(actor), once = call, three = call, twice = call;
  wr_id refs[2] = {w->small, actor}, out[3];
  once.retries = 0;
  three.nreturns = 3;
  twice.retries = 4;
  uint32_t first = w->npromised;
  scene_promise(w, (order){ORDER_ECHO, 90, 8, 0}, call, refs, 2, 0, NULL);
  scene_promise(w, (order){ORDER_ECHO, 91, 5000, 0}, three, refs, 2, 1, out);
  scene_promise(w, (order){ORDER_NEST, 94, 900, 0}, call, out, 3, 3, NULL);
  scene_promise(w, (order){ORDER_ECHO, 95, 8, 0}, once, NULL, 0, 0, NULL);
  scene_promise(w, (order){ORDER_RETRY, 96, 200000, 0}, twice, NULL, 0, 0, NULL);
  scene_promise(w, (order){ORDER_SPAWN, 97, 8, 0}, call, NULL, 0, 0, NULL);
  wr_id dropped = scene_submit(w->d, ECHO(98), call, NULL, 0, 0);
  uint32_t slot;
  CHECK_EQ(wr_task_cancel(w->d, &dropped, 0, &slot, NULL), 1);
  kill_promise(w, dropped, 8, 98, 1);
  scene_promise(w, (order){ORDER_ECHO, 99, 8, 0}, call, NULL, 0, 0, NULL);
  kill_promise_stream(w, (order){ORDER_STREAM, 160, 8, 3}, call, refs, 1, mortal);
  for (uint32_t i = first; mortal && i < w->npromised; i++) w->promised[i].may_fail = 1;
}

static void prepare_actor(world *w, int32_t restarts, uint32_t op) {
  wr_id creation;
  w->alive = actor_make(w->d, restarts, 0, (order){op, 1, 8, 0}, &creation);
  wr_creator_drop(w->d, creation);
  call_actor(w, w->alive, restarts == 0);
}

static void prepare_lasting(world *w) { prepare_actor(w, -1, ORDER_CREATE); }
static void prepare_mortal(world *w) { prepare_actor(w, 0, ORDER_CREATE); }
static void prepare_broken(world *w) { prepare_actor(w, 0, ORDER_BROKEN); }
static void prepare_retiring(world *w) {
  prepare_actor(w, -1, ORDER_CREATE);
  wr_creator_drop(w->d, w->alive);
  w->alive.idx = 0;
  for (uint32_t i = 0; i < w->npromised; i++) w->promised[i].may_fail = w->promised[i].seed >= 90;
  w->streams[0].may_fail = 1;
}

static void act_actor(world *w, wr_client *v) {
  wr_job job;
  (void)w;
  work_all(v);
  if (wr_work_next(v, &job, 0) == WR_DEAD) wr_work_actor_exit(v);
}

/* A constructor that fails is the end of its process. */
static void act_broken(world *w, wr_client *v) {
  wr_job job;
  (void)w;
  CHECK_EQ(wr_work_next(v, &job, 0), WR_OK);
  work_run(v, &job);
}

/* ---- placement groups ------------------------------------------------------------------------ */

static wr_id make_group(wr_client *c, uint32_t cpus, uint32_t gpus) {
  wr_need all = {WR_RES_CPU, (cpus - 1) * WR_RES_SCALE}, gpu = {1, gpus * WR_RES_SCALE};
  wr_bundle_spec b[2] = {{.n = 1, .need = {{WR_RES_CPU, WR_RES_SCALE}}},
                         {.n = 2, .need = {all, gpu}}};
  wr_group_spec spec = {.bundles = b, .n = 2, .name = ""};
  wr_id id;
  CHECK_EQ(wr_group_create(c, &spec, &id), WR_OK);
  return id;
}

/* An object that stands for the group: sealed with it, or with its removal. */
static void await_group(world *w, wr_client *v, wr_id group, uint32_t seed) {
  wr_id obj, other;
  uint8_t *dst;
  CHECK_EQ(wr_object_create(v, &obj), WR_OK);
  CHECK_EQ(wr_value_reserve(v, obj.idx, 700, NULL, 0, &dst), WR_OK);
  pattern_fill(dst, 700, seed);
  kill_offer(w, obj, 700, seed, 1);
  int rc = wr_group_ready(v, group, obj, &other);
  CHECK(rc == WR_OK || rc == WR_STATE);
  if (rc == WR_STATE) {
    wr_unhold(v, other);
    CHECK_EQ(wr_object_seal(v, obj.idx, 0, 0), WR_OK);
  }
  wr_creator_drop(v, obj);
}

static void prepare_groups(world *w) { make_group(w->d, 2, 1); }

static void act_groups(world *w, wr_client *v) {
  wr_id first = make_group(v, 3, 2), second = make_group(v, 6, 1), third = make_group(v, 7, 4);
  CHECK_EQ(wr_group_wait(v, first, 0), WR_GROUP_CREATED);
  CHECK_EQ(wr_group_wait(v, second, 0), WR_TIMEOUT);
  await_group(w, v, second, 101);
  await_group(w, v, second, 102);
  await_group(w, v, third, 103);
  CHECK_EQ(wr_group_remove(v, first), WR_OK);
  CHECK_EQ(wr_group_wait(v, second, 0), WR_GROUP_CREATED);
  await_group(w, v, second, 104);
  CHECK_EQ(wr_group_remove(v, third), WR_OK);
  CHECK_EQ(wr_group_remove(v, second), WR_OK);
}

/* Tasks whose claims come from the bundles of a group. */
static void prepare_grouped(world *w) {
  enum { SHAPE_GROUPED = SESSION_SHAPES };
  wr_id group = make_group(w->d, 3, 2);
  wr_shape *sh = &w->x.seg.shapes[SHAPE_GROUPED];
  CHECK(wr_groups_know(&w->x.seg, group.idx, group.gen));
  sh->pool = SESSION_POOL;
  sh->n = 1;
  sh->need[0] = (wr_need){WR_RES_CPU, WR_RES_SCALE};
  sh->group = group.idx + 1;
  sh->group_gen = group.gen;
  wr_shape_open(&w->x.seg, SHAPE_GROUPED);
  session_client(&w->x, WR_ROLE_WORKER);
  wr_task_spec in = {.retries = -1, .shape = SHAPE_GROUPED, .group = {group.idx + 1, group.gen}};
  scene_promise(w, (order){ORDER_ECHO, 110, 8, 0}, in, NULL, 0, 0, NULL);
  scene_promise(w, (order){ORDER_SPAWN, 111, 300, 0}, in, NULL, 0, 0, NULL);
  scene_promise(w, (order){ORDER_ECHO, 112, 8, 0}, (wr_task_spec)ALWAYS, NULL, 0, 0, NULL);
}

/* ---- all of them ----------------------------------------------------------------------------- */

const scenario *const kill_scenes[KILL_SCENES] = {
    &(const scenario){"driver", WR_ROLE_DRIVER, prepare_driver, act_driver, NULL},
    &(const scenario){"worker", WR_ROLE_WORKER, prepare_worker, act_worker, NULL},
    &(const scenario){"worker with lineage", WR_ROLE_WORKER, prepare_lineage, act_lineage, NULL},
    &(const scenario){"who cancels a copy", WR_ROLE_DRIVER, prepare_copy, act_cancel_copy, NULL},
    &(const scenario){"reader", WR_ROLE_WORKER, prepare_reader, act_reader, NULL},
    &(const scenario){"restarting actor", WR_ROLE_WORKER, prepare_lasting, act_actor, NULL},
    &(const scenario){"mortal actor", WR_ROLE_WORKER, prepare_mortal, act_actor, NULL},
    &(const scenario){"broken actor", WR_ROLE_WORKER, prepare_broken, act_broken, NULL},
    &(const scenario){"retiring actor", WR_ROLE_WORKER, prepare_retiring, act_actor, NULL},
    &(const scenario){"placement groups", WR_ROLE_DRIVER, prepare_groups, act_groups, NULL},
    &(const scenario){"worker in a group", WR_ROLE_WORKER, prepare_grouped, act_worker, NULL},
};
