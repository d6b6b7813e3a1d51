/* Every operation on shared memory, killed after each of its instructions; see step.h.  A new one
 * is a function for its act, one for the stage where it needs one, and a line in the table.
 * STEP_EVERY=n and, for scenes, STEP_SCENES=n try every n-th image; 1: all of them, as `make
 * c-step` does.  STEP_KILLS=n: so many real kills in each. */
#include "step.h"

#include <stdlib.h>

#include "base/status.h"
#include "os/os.h"
#include "sched/actor.h"
#include "store/heap.h"

#define ALWAYS (wr_task_spec){.retries = -1}
#define ECHO(seed, len) (order){ORDER_ECHO, seed, len, 0}

/* What the victim has prepared for its act. */
static struct {
  wr_id id, other;
  wr_job job;
  void *block;
  uint32_t slot;
} has;

static void nothing(world *w) { (void)w; }

/* ---- values and references ------------------------------------------------------------------- */

/* Chunks, a hold table and a mapped heap, so that the act is one operation and no more. */
static void warm_up(world *w, wr_client *v) {
  wr_id refs[2] = {w->small, w->large}, out;
  uint32_t gen;
  CHECK_EQ(wr_hold(v, w->small.idx, w->small.gen, &gen), WR_OK);
  wr_unhold(v, w->small);
  wr_creator_drop(v, pattern_put(v, 20, 5, NULL, 0));
  wr_creator_drop(v, pattern_put(v, 700, 5, refs, 2));
  task_plan p = {.o = ECHO(5, 8), .spec = ALWAYS};
  plan_build(v, &p, &out);
  wr_task_discard(v, out.idx);
}

static void act_put_small(world *w, wr_client *v) {
  (void)w;
  has.id = pattern_put(v, 20, 5, NULL, 0);
}
static void act_put_block(world *w, wr_client *v) {
  wr_id refs[2] = {w->small, w->large};
  has.id = pattern_put(v, 700, 6, refs, 2);
}
static void act_put_run(world *w, wr_client *v) {
  wr_id refs[2] = {w->small, w->large};
  has.id = pattern_put(v, 200000, 7, refs, 2);
}

static void act_get(world *w, wr_client *v) {
  uint32_t gen;
  CHECK_EQ(wr_hold(v, w->small.idx, w->small.gen, &gen), WR_OK);
  CHECK(pattern_is(v, w->small, 100, 1));
  wr_unhold(v, w->small);
}

static void ready_block(world *w, wr_client *v) {
  warm_up(w, v);
  act_put_block(w, v);
}
static void ready_tree(world *w, wr_client *v) {
  warm_up(w, v);
  act_put_run(w, v);
  has.other = has.id;
  has.id = pattern_put(v, 700, 8, &has.other, 1); /* alone keeps the run alive */
  wr_creator_drop(v, has.other);
}
static void act_release(world *w, wr_client *v) {
  (void)w;
  wr_creator_drop(v, has.id);
}

static void ready_offered(world *w, wr_client *v) {
  warm_up(w, v);
  act_put_block(w, v);
  kill_offer(w, has.id, 700, 6, 0);
}

static void ready_awaited(world *w, wr_client *v) {
  uint8_t *dst;
  warm_up(w, v);
  CHECK_EQ(wr_object_create(v, &has.id), WR_OK);
  kill_offer(w, scene_submit(v, ECHO(40, 8), ALWAYS, &has.id, 1, 1), 8, 40, 0);
  kill_offer(w, scene_submit(v, ECHO(41, 8), ALWAYS, &has.id, 1, 1), 8, 41, 0);
  CHECK_EQ(wr_watch(w->d, has.id), 0);
  CHECK_EQ(wr_value_reserve(v, has.id.idx, 64, NULL, 0, &dst), WR_OK);
  pattern_fill(dst, 64, 42);
}
static void act_seal(world *w, wr_client *v) {
  (void)w;
  CHECK_EQ(wr_object_seal(v, has.id.idx, 0, 0), WR_OK);
}

static void ready_reserved(world *w, wr_client *v) {
  uint8_t *dst;
  wr_id refs[2] = {w->small, w->large};
  warm_up(w, v);
  CHECK_EQ(wr_object_create(v, &has.id), WR_OK);
  CHECK_EQ(wr_value_reserve(v, has.id.idx, 3000, refs, 2, &dst), WR_OK);
}
static void act_discard(world *w, wr_client *v) {
  (void)w;
  wr_value_discard(v, has.id.idx);
}

static void act_loose_alloc(world *w, wr_client *v) {
  (void)w;
  CHECK((has.block = wr_loose_alloc(v, 150000)) != NULL);
}
static void ready_loose(world *w, wr_client *v) {
  warm_up(w, v);
  act_loose_alloc(w, v);
  CHECK_EQ(wr_object_create(v, &has.id), WR_OK);
}
static void act_loose_give(world *w, wr_client *v) {
  (void)w;
  CHECK_EQ(wr_loose_give(v, has.block, has.id.idx, 0, 150000), WR_OK);
}
static void act_loose_free(world *w, wr_client *v) {
  (void)w;
  wr_loose_free(v, has.block);
}

/* Values that are put as they lie, while the array that has them lives on. */
static const wr_region_value whole = {64, 150000, 150064, NULL, 0};
static void act_region_alloc(world *w, wr_client *v) {
  (void)w;
  CHECK((has.block = wr_region_alloc(v, 150000)) != NULL);
}
static void ready_region(world *w, wr_client *v) {
  warm_up(w, v);
  act_region_alloc(w, v);
  CHECK_EQ(wr_object_create(v, &has.id), WR_OK);
  scene_region_fill(wr_region_begin(v, has.block, &whole), has.block, &whole, 27);
}
static void act_region_put(world *w, wr_client *v) {
  wr_id refs[2] = {w->small, w->large};
  wr_region_value value = whole;
  value.refs = refs;
  value.nrefs = 2;
  CHECK_EQ(wr_region_put(v, has.block, has.id, &value), WR_OK);
  CHECK_EQ(wr_object_seal(v, has.id.idx, 0, 0), WR_OK);
}
static void act_region_give(world *w, wr_client *v) {
  (void)w;
  CHECK_EQ(wr_region_give(v, has.block, has.id.idx, &whole), WR_OK);
}
static void ready_region_put(world *w, wr_client *v) {
  ready_region(w, v);
  act_region_put(w, v);
  kill_offer(w, has.id, whole.total, 27, 0);
}
static void act_region_free(world *w, wr_client *v) {
  (void)w, (void)v;
  wr_region_free(has.block);
}
static void act_region_leave(world *w, wr_client *v) {
  (void)w;
  CHECK_EQ(wr_regions_leave(v), WR_OK);
}

/* ---- exports --------------------------------------------------------------------------------- */

static void stage_exported(world *w) { (void)scene_export(w->d, 77, &has.other); }
static void act_export(world *w, wr_client *v) {
  (void)w;
  has.id = scene_export(v, 77, &has.other);
}

/* ---- values that come and go ----------------------------------------------------------------- */

static void stage_leaving(world *w) {
  w->moving = pattern_put(w->d, 250000, 13, &w->small, 1);
  CHECK(wr_away_begin(&w->x.seg, w->moving.idx, w->moving.gen));
  wr_away_settle();
}
static void stage_coming(world *w) {
  wr_self *daemon = &w->x.sweeper.self;
  uint8_t *dst;
  stage_leaving(w);
  CHECK_EQ(wr_away_leave(daemon, w->moving.idx, w->moving.gen, &w->carried), WR_OK);
  CHECK_EQ(wr_away_return(daemon, w->moving.idx, w->moving.gen, 250000, w->carried, &dst), WR_OK);
  pattern_fill(dst, 250000, 13);
}
/* Nothing but a task's pin keeps it. */
static void pin_moving(world *w) {
  w->task = scene_submit(w->d, ECHO(11, 8), ALWAYS, &w->moving, 1, 0);
  kill_promise(w, w->task, 8, 11, 1);
  wr_creator_drop(w->d, w->moving);
}
static void stage_pinned_leaving(world *w) {
  stage_leaving(w);
  pin_moving(w);
}
static void stage_pinned_coming(world *w) {
  stage_coming(w);
  pin_moving(w);
}
static void stage_seen_leaving(world *w) {
  stage_leaving(w);
  kill_promise(w, w->moving, 250000, 13, 0);
}
static void stage_seen_coming(world *w) {
  stage_coming(w);
  kill_promise(w, w->moving, 250000, 13, 0);
}
static void act_view(world *w, wr_client *v) {
  CHECK_EQ(wr_view_hold(v, w->large), WR_OK);
  CHECK(pattern_is(v, w->large, 200000, 2));
  wr_view_unhold(v, w->large);
}
static void act_view_moving(world *w, wr_client *v) {
  CHECK_EQ(wr_view_hold(v, w->moving), WR_OK);
  CHECK_EQ(wr_value_fetch(v, w->moving, (int64_t)wr_os_now_ns() + 1), WR_TIMEOUT);
  wr_view_unhold(v, w->moving);
}

/* The victim is the daemon. */
static void stage_spillable(world *w) {
  wr_id refs[2] = {w->small, w->large};
  has.id = pattern_put(w->d, 250000, 13, refs, 2);
}
static void act_spill(world *w, wr_client *v) {
  CHECK(wr_away_begin(&v->seg, has.id.idx, has.id.gen));
  wr_away_settle();
  CHECK_EQ(wr_away_leave(&v->self, has.id.idx, has.id.gen, &w->carried), WR_OK);
}
static void act_bring_back(world *w, wr_client *v) {
  uint8_t *dst;
  CHECK_EQ(wr_away_return(&v->self, has.id.idx, has.id.gen, 250000, w->carried, &dst), WR_OK);
  pattern_fill(dst, 250000, 13);
  wr_away_arrive(&v->self, has.id.idx, has.id.gen, WR_IN_MEMORY, &w->carried);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void act_wait(world *w, wr_client *v) {
  int64_t soon = (int64_t)wr_os_now_ns() + 1;
  CHECK_EQ(wr_wait_objects(v, &w->gate, 1, 1, 0, soon), WR_TIMEOUT);
}

/* ---- tasks: the submitter -------------------------------------------------------------------- */

static void act_submit(world *w, wr_client *v) {
  (void)w;
  has.id = scene_submit(v, ECHO(30, 8), ALWAYS, NULL, 0, 0);
}
static void act_submit_waiting(world *w, wr_client *v) {
  wr_id refs[2] = {w->gate, w->small};
  has.id = scene_submit(v, ECHO(31, 8), ALWAYS, refs, 2, 2);
}
static void act_submit_large(world *w, wr_client *v) {
  wr_id refs[2] = {w->gate, w->small}, out[3];
  task_plan p = {.o = ECHO(32, 700), .padding = 9000, .spec = ALWAYS, .refs = refs, .nrefs = 2};
  p.spec.nreturns = 3;
  plan_submit(v, &p, out);
}
static void ready_built(world *w, wr_client *v) {
  wr_id refs[2] = {w->gate, w->small}, out[3];
  task_plan p = {.o = ECHO(33, 8), .padding = 900, .spec = ALWAYS, .refs = refs, .nrefs = 2};
  warm_up(w, v);
  p.spec.nreturns = 3;
  plan_build(v, &p, out);
  has.id = out[0];
}
static void act_unbuild(world *w, wr_client *v) {
  (void)w;
  wr_task_discard(v, has.id.idx);
}

static void stage_task(world *w) {
  w->task = scene_submit(w->d, ECHO(11, 8), ALWAYS, &w->small, 1, 1);
  kill_promise(w, w->task, 8, 11, 1);
}
static void act_cancel(world *w, wr_client *v) {
  CHECK_EQ(wr_task_cancel(v, &w->task, 0, &has.slot, NULL), 1);
}

/* ---- tasks: the worker ----------------------------------------------------------------------- */

static void stage_worker(world *w) {
  wr_id out, refs[2] = {w->small, w->large};
  scene_promise(w, ECHO(70, 8), ALWAYS, refs, 2, 1, &out);
  scene_promise(w, ECHO(71, 8), ALWAYS, &out, 1, 1, NULL); /* waits for the first */
}
static void stage_nested(world *w) {
  wr_id out[3], refs[2] = {w->small, w->large};
  wr_task_spec three = {.retries = -1, .nreturns = 3};
  scene_promise(w, (order){ORDER_NEST, 72, 5000, 0}, three, refs, 2, 2, out);
  scene_promise(w, ECHO(76, 8), ALWAYS, &out[2], 1, 1, NULL);
}
static void stage_once(world *w) {
  scene_promise(w, (order){ORDER_FAIL, 77, 300, 0}, (wr_task_spec){.retries = 0}, &w->small, 1, 1,
                NULL);
}
static void stage_retry(world *w) {
  scene_promise(w, (order){ORDER_RETRY, 80, 5000, 0}, (wr_task_spec){.retries = 4}, &w->small, 1,
                0, NULL);
}
static void stage_gpu(world *w) {
  wr_task_spec gpu = {.retries = -1, .shape = SHAPE_GPU};
  scene_promise(w, (order){ORDER_SPAWN, 81, 8, 0}, gpu, NULL, 0, 0, NULL);
}

static void act_claim(world *w, wr_client *v) {
  (void)w;
  CHECK_EQ(wr_work_next(v, &has.job, 0), WR_OK);
}
static void ready_running(world *w, wr_client *v) {
  warm_up(w, v);
  act_claim(w, v);
}
static void act_run(world *w, wr_client *v) { /* gets its arguments, completes, or is retried */
  (void)w;
  work_run(v, &has.job);
}
/* Holds a claim that the next task does not need. */
static void ready_claimed(world *w, wr_client *v) {
  warm_up(w, v);
  act_submit(w, v);
  act_claim(w, v);
  act_run(w, v);
}
/* ---- a worker that gives up ------------------------------------------------------------------ */

/* Its task, whose argument is made again. */
static void act_postpone(world *w, wr_client *v) {
  (void)w;
  CHECK_EQ(wr_work_postpone(v, &has.job), WR_OK);
}
/* Itself: whiprayd has asked it to leave. */
static void ready_unwanted(world *w, wr_client *v) {
  ready_claimed(w, v);
  wr_store32(&v->self.p->quit, 1);
}
/* Waiting, inside a task: its CPU goes back and comes again. */
static void act_give_up_wait(world *w, wr_client *v) {
  wr_id both[2] = {w->gate, w->small};
  int64_t soon = (int64_t)wr_os_now_ns() + 1;
  CHECK_EQ(wr_wait_objects(v, both, 2, 2, 0, soon), WR_TIMEOUT);
}
/* Memory that it has cut into blocks and does not use. */
static void ready_spans(world *w, wr_client *v) {
  wr_id ids[6];
  warm_up(w, v);
  for (uint32_t k = 0; k < 6; k++) ids[k] = pattern_put(v, 400u << k, k, NULL, 0);
  for (uint32_t k = 0; k < 6; k++) wr_creator_drop(v, ids[k]);
  atomic_fetch_add(&v->seg.h->room_wanted, 1);
}
static void act_give_room(world *w, wr_client *v) {
  (void)w;
  wr_heap_make_room(&v->self);
}
static void act_lie_down(world *w, wr_client *v) {
  (void)w;
  CHECK_EQ(wr_work_next(v, &has.job, 0), WR_TIMEOUT);
}

/* ---- actors ---------------------------------------------------------------------------------- */

static void stage_actor(world *w) {
  session_client(&w->x, WR_ROLE_WORKER);
  w->alive = scene_actor(w, ORDER_CREATE);
  w->gone = scene_actor(w, ORDER_BROKEN);
  w->call = scene_submit(w->d, ECHO(12, 8), scene_call(w->alive), NULL, 0, 0);
  kill_promise(w, w->call, 8, 12, 1);
}
static void act_make_actor(world *w, wr_client *v) {
  (void)w;
  has.id = actor_make(v, 0, 0, (order){ORDER_CREATE, 60, 8, 0}, &has.other);
}
static void ready_handle(world *w, wr_client *v) {
  warm_up(w, v);
  act_make_actor(w, v);
  kill_offer(w, scene_submit(v, ECHO(61, 8), scene_call(has.id), &has.id, 1, 0), 8, 61, 1);
  wr_creator_drop(v, has.other);
}
static void act_call(world *w, wr_client *v) {
  has.id = scene_submit(v, ECHO(50, 8), scene_call(w->alive), &w->small, 1, 1);
}
static void act_call_dead(world *w, wr_client *v) {
  has.id = scene_submit(v, ECHO(51, 8), scene_call(w->gone), &w->small, 1, 1);
}
static void act_cancel_call(world *w, wr_client *v) {
  CHECK_EQ(wr_task_cancel(v, &w->call, 0, &has.slot, NULL), 1);
}

/* The victim becomes the actor. */
static void stage_calls(world *w) {
  wr_id creation;
  w->alive = actor_make(w->d, -1, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  wr_creator_drop(w->d, creation);
  scene_promise(w, ECHO(90, 8), scene_call(w->alive), &w->small, 1, 1, NULL);
  scene_promise(w, ECHO(91, 700), scene_call(w->alive), &w->large, 1, 0, NULL);
}
static void stage_last_call(world *w) {
  stage_calls(w);
  wr_creator_drop(w->d, w->alive);
  w->alive.idx = 0;
  for (uint32_t i = 0; i < w->npromised; i++) w->promised[i].may_fail = w->promised[i].seed >= 90;
}
static void ready_actor(world *w, wr_client *v) {
  warm_up(w, v);
  act_claim(w, v);
  act_run(w, v);
}
static void ready_call(world *w, wr_client *v) {
  ready_actor(w, v);
  act_claim(w, v);
}
static void ready_leaving(world *w, wr_client *v) {
  warm_up(w, v);
  work_all(v);
}
static void act_leave(world *w, wr_client *v) {
  (void)w;
  CHECK_EQ(wr_work_next(v, &has.job, 0), WR_DEAD);
}
/* Fetched calls go back, below what has come since. */
static void act_put_back(world *w, wr_client *v) {
  uint32_t actor = w->alive.idx & ~WR_ACTOR_BIT;
  wr_actor_put_back(&v->self, actor, wr_actor_take_all(&v->self, actor));
}

/* ---- processes ------------------------------------------------------------------------------- */

static void act_attach_detach(world *w, wr_client *v) {
  wr_client *c = session_attach(&w->x, v->slot);
  wr_creator_drop(v, pattern_put(v, 20, 5, NULL, 0));
  wr_client_free(c);
}

/* The victim is the daemon, and dies while it sweeps. */
static void sweep(world *w, wr_client *v) {
  wr_sweeper s;
  wr_death why = {.wait_status = 9, .pid = 4711};
  CHECK_EQ(wr_sweeper_init(&s, &v->seg, v->slot, NULL, NULL), WR_OK);
  CHECK_EQ(wr_sweep_slot(&s, w->dead, &why), WR_OK);
}
static void dies(world *w, wr_client *c) {
  w->dead = c->slot;
  session_drop(&w->x, c->slot);
  session_mark_dead(&w->x, w->dead);
}
static void stage_dead_driver(world *w) {
  wr_client *c = session_client(&w->x, WR_ROLE_DRIVER);
  uint32_t gen;
  warm_up(w, c);
  CHECK_EQ(wr_hold(c, w->large.idx, w->large.gen, &gen), WR_OK);
  act_put_run(w, c);
  act_submit_waiting(w, c);
  act_submit_large(w, c);
  ready_built(w, c);
  act_make_actor(w, c);
  dies(w, c);
}
static void stage_dead_worker(world *w) {
  wr_client *c = session_client(&w->x, WR_ROLE_WORKER);
  stage_nested(w);
  act_claim(w, c);
  dies(w, c);
}
static void stage_dead_actor(world *w) {
  stage_calls(w);
  wr_client *c = session_client(&w->x, WR_ROLE_WORKER);
  ready_call(w, c);
  dies(w, c);
}

/* ---- all of them ----------------------------------------------------------------------------- */

#define DRIVER(name, stage, act, ready) {name, WR_ROLE_DRIVER, stage, act, ready}
#define WORKER(name, stage, act, ready) {name, WR_ROLE_WORKER, stage, act, ready}

static const scenario operations[] = {
    DRIVER("first put of a process", nothing, act_put_small, NULL),
    DRIVER("put, inline", nothing, act_put_small, warm_up),
    DRIVER("put, block with refs", nothing, act_put_block, warm_up),
    DRIVER("put, run with refs", nothing, act_put_run, warm_up),
    DRIVER("first get of a process", nothing, act_get, NULL),
    DRIVER("get", nothing, act_get, warm_up),
    DRIVER("release", nothing, act_release, ready_block),
    DRIVER("release of a tree", nothing, act_release, ready_tree),
    DRIVER("release, others hold it", nothing, act_release, ready_offered),
    DRIVER("seal, tasks wait", nothing, act_seal, ready_awaited),
    DRIVER("discard a value", nothing, act_discard, ready_reserved),
    DRIVER("loose run, alloc", nothing, act_loose_alloc, warm_up),
    DRIVER("loose run, give", nothing, act_loose_give, ready_loose),
    DRIVER("loose run, free", nothing, act_loose_free, ready_loose),
    DRIVER("region, alloc", nothing, act_region_alloc, warm_up),
    DRIVER("region, put", nothing, act_region_put, ready_region),
    DRIVER("region, give", nothing, act_region_give, ready_region),
    DRIVER("region, free", nothing, act_region_free, ready_region),
    DRIVER("region, put, then free", nothing, act_region_free, ready_region_put),
    DRIVER("region, put, then leave", nothing, act_region_leave, ready_region_put),
    DRIVER("region, leave", nothing, act_region_leave, ready_region),
    DRIVER("export", nothing, act_export, warm_up),
    DRIVER("export, again", stage_exported, act_export, warm_up),
    DRIVER("view", nothing, act_view, warm_up),
    DRIVER("view, value leaving", stage_seen_leaving, act_view_moving, warm_up),
    DRIVER("view, value coming", stage_seen_coming, act_view_moving, warm_up),
    DRIVER("release, value leaving", stage_pinned_leaving, act_cancel, warm_up),
    DRIVER("release, value coming", stage_pinned_coming, act_cancel, warm_up),
    DRIVER("wait", nothing, act_wait, warm_up),
    DRIVER("submit", nothing, act_submit, warm_up),
    DRIVER("submit, waits", nothing, act_submit_waiting, warm_up),
    DRIVER("submit, large, 3 returns", nothing, act_submit_large, warm_up),
    DRIVER("discard a task", nothing, act_unbuild, ready_built),
    DRIVER("cancel a task", stage_task, act_cancel, warm_up),
    DRIVER("make an actor", nothing, act_make_actor, warm_up),
    DRIVER("drop the last handle", nothing, act_release, ready_handle),
    DRIVER("call", stage_actor, act_call, warm_up),
    DRIVER("call a dead actor", stage_actor, act_call_dead, warm_up),
    DRIVER("cancel a call", stage_actor, act_cancel_call, warm_up),
    DRIVER("attach and detach", nothing, act_attach_detach, warm_up),
    WORKER("claim", stage_worker, act_claim, warm_up),
    WORKER("complete", stage_worker, act_run, ready_running),
    WORKER("complete, 3 nested returns", stage_nested, act_run, ready_running),
    WORKER("complete, error", stage_once, act_run, ready_running),
    WORKER("retry", stage_retry, act_run, ready_running),
    WORKER("claim, two resources", stage_gpu, act_claim, ready_claimed),
    WORKER("submit and wait in a task", stage_gpu, act_run, ready_running),
    WORKER("lie down", nothing, act_lie_down, ready_claimed),
    WORKER("give up a task", scene_remade, act_postpone, ready_running),
    WORKER("give up waiting", stage_nested, act_give_up_wait, ready_running),
    WORKER("give up room", nothing, act_give_room, ready_spans),
    WORKER("give up, told to", nothing, act_leave, ready_unwanted),
    WORKER("become an actor", stage_calls, act_run, ready_running),
    WORKER("mailbox take, claim", stage_calls, act_claim, ready_actor),
    WORKER("complete a call", stage_calls, act_run, ready_call),
    WORKER("put calls back", stage_calls, act_put_back, ready_actor),
    WORKER("retire", stage_last_call, act_leave, ready_leaving),
    {"spill", WR_ROLE_DAEMON, stage_spillable, act_spill, NULL},
    {"bring back", WR_ROLE_DAEMON, stage_spillable, act_bring_back, act_spill},
    {"sweep a driver", WR_ROLE_DAEMON, stage_dead_driver, sweep, NULL},
    {"sweep a worker", WR_ROLE_DAEMON, stage_dead_worker, sweep, NULL},
    {"sweep an actor", WR_ROLE_DAEMON, stage_dead_actor, sweep, NULL},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static void add(step_count *sum, const char *name, const step_count *n) {
  printf("  %-28s %7" PRIu64 " instructions %6" PRIu64 " stores %5" PRIu64 " images, %5" PRIu64
         " tried, %2" PRIu64 " kills, %" PRIu64 " broken\n",
         name, n->instructions, n->stores, n->images, n->tried, n->kills, n->broken);
  sum->instructions += n->instructions;
  sum->stores += n->stores;
  sum->images += n->images;
  sum->tried += n->tried;
  sum->kills += n->kills;
  sum->broken += n->broken;
}

static uint32_t number(const char *name, uint32_t otherwise) {
  const char *text = getenv(name);
  return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

/* STEP_ONLY=text: the operations whose name has it. */
static void step_all(const scenario *const *all, uint32_t n, uint32_t every, uint32_t kills) {
  step_count sum = {0};
  const char *only = getenv("STEP_ONLY");
  for (uint32_t i = 0; i < n; i++) {
    step_count one = {0};
    if (only && !strstr(all[i]->name, only)) continue;
    step_through(all[i], every, kills, &one);
    add(&sum, all[i]->name, &one);
  }
  step_count none = {0};
  add(&none, "all", &sum);
  CHECK_EQ(sum.broken, 0);
}

TEST_LIMIT(a_process_dies_after_any_instruction_of_an_operation, 3600) {
  const scenario *all[OPERATIONS];
  for (uint32_t i = 0; i < OPERATIONS; i++) all[i] = &operations[i];
  step_all(all, OPERATIONS, number("STEP_EVERY", 24), number("STEP_KILLS", 1));
}

TEST_LIMIT(a_process_dies_after_any_instruction_of_a_scene, 3600) {
  step_all(kill_scenes, KILL_SCENES, number("STEP_SCENES", 240), number("STEP_KILLS", 1));
}
