/* Actors: made, called in order, killed, restarted, retired, and what their callers hear. */
#include <stdlib.h>

#include "base/status.h"
#include "sched/actor.h"
#include "sched/actor_end.h"
#include "session.h"

static session x;
static wr_client *d, *host;
static wr_id creation;

static wr_id open_actor(int32_t restarts, uint32_t flags, uint32_t op) {
  session_open(&x, 16u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  host = session_client(&x, WR_ROLE_WORKER);
  return actor_make(d, restarts, flags, (order){op, 1, 8, 0}, &creation);
}

static wr_id call(wr_client *c, wr_id actor, uint32_t seed, int16_t retries) {
  wr_id out;
  task_plan p = {.o = {ORDER_ECHO, seed, 8, 0},
                 .spec = {.flags = WR_TF_CALL, .actor = actor, .retries = retries}};
  plan_submit(c, &p, &out);
  return out;
}

static uint32_t phase(wr_id actor) {
  return WR_ACTOR_PHASE(wr_load(&wr_actor_at(&x.seg, actor.idx & ~WR_ACTOR_BIT)->state));
}

static void close_empty(wr_id actor) {
  wr_creator_drop(d, creation);
  if (actor.idx) wr_creator_drop(d, actor);
  session_work(&x);
  session_check_empty(&x);
  session_close(&x);
}

static int error_says(wr_id id, const char *words) {
  wr_view v;
  return wr_value_view(d, id, &v) == WR_OK && v.is_error &&
         memmem(v.data, v.len, words, strlen(words)) != NULL;
}

static void kill_host(void) {
  uint32_t slot = host->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
}

TEST(calls_run_in_the_order_of_each_caller) {
  enum { N = 50 };
  wr_id actor = open_actor(0, 0, ORDER_CREATE), ids[2 * N];
  wr_client *other = session_client(&x, WR_ROLE_DRIVER);
  for (uint32_t i = 0; i < N; i++) {
    ids[i] = call(d, actor, i, 0);
    ids[N + i] = call(other, actor, i, 0);
  }
  CHECK_EQ(phase(actor), WR_ACTOR_PENDING);
  wr_job job;
  uint32_t next[2] = {0, 0};
  for (uint32_t i = 0; i <= 2 * N; i++) {
    CHECK_EQ(wr_work_next(host, &job, 0), WR_OK);
    order o;
    memcpy(&o, job.args, sizeof o);
    if (i) CHECK_EQ(o.seed, next[job.t->submitter == d->slot]++);
    work_run(host, &job);
  }
  CHECK_EQ(phase(actor), WR_ACTOR_ALIVE);
  for (uint32_t i = 0; i < 2 * N; i++) {
    wr_client *c = i < N ? d : other;
    CHECK(pattern_is(c, ids[i], 8, i % N));
    wr_creator_drop(c, ids[i]);
  }
  close_empty(actor);
}

TEST(a_call_that_waits_for_an_argument_holds_up_its_caller_alone) {
  wr_id actor = open_actor(0, 0, ORDER_CREATE), gate, waiting, after, others;
  wr_client *other = session_client(&x, WR_ROLE_DRIVER);
  CHECK_EQ(wr_object_create(d, &gate), WR_OK);
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .refs = &gate, .nrefs = 1, .ndeps = 1,
                 .spec = {.flags = WR_TF_CALL, .actor = actor}};
  plan_submit(d, &p, &waiting);
  after = call(d, actor, 2, 0);
  others = call(other, actor, 3, 0);
  session_work(&x);
  CHECK_EQ(wr_object_phase_of(d, waiting), WR_OBJ_PENDING);
  CHECK_EQ(wr_object_phase_of(d, after), WR_OBJ_PENDING);
  CHECK(pattern_is(other, others, 8, 3));
  uint8_t *dst;
  CHECK_EQ(wr_value_reserve(d, gate.idx, 1, NULL, 0, &dst), WR_OK);
  CHECK_EQ(wr_object_seal(d, gate.idx, 0, 0), WR_OK);
  session_work(&x);
  CHECK(pattern_is(d, waiting, 8, 1) && pattern_is(d, after, 8, 2));
  wr_creator_drop(d, gate);
  wr_creator_drop(d, waiting);
  wr_creator_drop(d, after);
  wr_creator_drop(other, others);
  close_empty(actor);
}

TEST(a_mortal_actor_takes_its_calls_with_it) {
  wr_id actor = open_actor(0, 0, ORDER_CREATE);
  CHECK_EQ(work_all(host), 1);
  wr_id before = call(d, actor, 1, -1);
  kill_host();
  CHECK_EQ(phase(actor), WR_ACTOR_DEAD);
  CHECK_EQ(x.died, 1);
  wr_id after = call(d, actor, 2, -1);
  CHECK(error_says(before, "ACTOR_DIED") && error_says(before, "ended by signal 9"));
  CHECK(error_says(after, "ACTOR_DIED") && error_says(after, "class_name: Actor"));
  wr_creator_drop(d, before);
  wr_creator_drop(d, after);
  close_empty(actor);
}

TEST(a_restarting_actor_runs_its_calls_again_in_order) {
  wr_id actor = open_actor(1, 0, ORDER_CREATE), ids[6];
  wr_job job;
  CHECK_EQ(work_all(host), 1);
  ids[0] = call(d, actor, 0, 0);
  for (uint32_t i = 1; i < 6; i++) ids[i] = call(d, actor, i, 1);
  CHECK_EQ(wr_work_next(host, &job, 0), WR_OK); /* fetches them all; the first one runs */
  CHECK_EQ(job.idx, ids[0].idx);
  kill_host();
  CHECK_EQ(phase(actor), WR_ACTOR_RESTARTING);
  CHECK_EQ(x.restarted, 1);
  CHECK(error_says(ids[0], "ACTOR_UNAVAILABLE")); /* it had no retries */
  host = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(wr_work_next(host, &job, 0), WR_OK);
  work_run(host, &job);
  for (uint32_t i = 1; i < 6; i++) {
    CHECK_EQ(wr_work_next(host, &job, 0), WR_OK);
    CHECK_EQ(job.idx, ids[i].idx);
    work_run(host, &job);
  }
  ids[0] = (wr_creator_drop(d, ids[0]), call(d, actor, 9, -1));
  kill_host(); /* once too often */
  CHECK_EQ(phase(actor), WR_ACTOR_DEAD);
  for (uint32_t i = 0; i < 6; i++) wr_creator_drop(d, ids[i]);
  close_empty(actor);
}

TEST(callers_hear_why_a_constructor_failed) {
  wr_id actor = open_actor(-1, 0, ORDER_BROKEN), ids[2];
  ids[0] = call(d, actor, 1, -1);
  session_work(&x);
  ids[1] = call(d, actor, 2, -1);
  CHECK_EQ(phase(actor), WR_ACTOR_DEAD);
  wr_view v;
  for (int i = 0; i < 2; i++) { /* the constructor's own error */
    CHECK_EQ(wr_value_view(d, ids[i], &v), WR_OK);
    CHECK(v.is_error && v.len == 8 && v.data[0] == 31);
    wr_creator_drop(d, ids[i]);
  }
  close_empty(actor);
}

TEST(an_actor_without_handles_leaves_after_its_calls) {
  wr_id actor = open_actor(-1, 0, ORDER_CREATE);
  wr_id id = call(d, actor, 1, 0);
  wr_creator_drop(d, actor);
  CHECK(wr_load32(&wr_actor_at(&x.seg, 0)->flags) & WR_AF_RETIRE);
  session_work(&x);
  CHECK(pattern_is(d, id, 8, 1));
  CHECK_EQ(phase(actor), WR_ACTOR_FREE);
  CHECK_EQ(x.restarted, 0);
  wr_creator_drop(d, id);
  close_empty((wr_id){0, 0});
}

TEST(a_detached_actor_outlives_its_creator_and_its_handles) {
  wr_id actor = open_actor(0, WR_AF_DETACHED, ORDER_CREATE);
  CHECK_EQ(work_all(host), 1);
  wr_creator_drop(d, creation);
  uint32_t slot = d->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
  CHECK_EQ(phase(actor), WR_ACTOR_ALIVE);
  d = session_client(&x, WR_ROLE_DRIVER);
  wr_id id = call(d, actor, 1, 0);
  session_work(&x);
  CHECK(pattern_is(d, id, 8, 1));
  wr_creator_drop(d, id);
  CHECK_EQ(wr_actor_kill(&x.sweeper, 0, actor.gen + 1, 1), 0);
  CHECK_EQ(wr_actor_kill(&x.sweeper, 0, actor.gen, 1), host->slot);
  kill_host();
  session_check_empty(&x);
  session_close(&x);
}

TEST(an_actor_is_killed_before_it_was_placed) {
  wr_id actor = open_actor(-1, 0, ORDER_CREATE);
  wr_id id = call(d, actor, 1, -1);
  CHECK_EQ(wr_actor_kill(&x.sweeper, 0, actor.gen, 1), 0);
  CHECK_EQ(phase(actor), WR_ACTOR_DEAD);
  CHECK(error_says(id, "killed by `ray.kill`"));
  CHECK_EQ(work_all(host), 0);
  wr_creator_drop(d, id);
  close_empty(actor);
}

TEST(an_actor_is_killed_while_its_constructor_runs) {
  wr_id actor = open_actor(-1, 0, ORDER_CREATE);
  wr_job job;
  CHECK_EQ(wr_work_next(host, &job, 0), WR_OK);
  CHECK_EQ(wr_actor_kill(&x.sweeper, 0, actor.gen, 1), host->slot);
  kill_host();
  CHECK_EQ(phase(actor), WR_ACTOR_DEAD);
  CHECK_EQ(x.restarted, 0);
  close_empty(actor);
}

TEST(a_number_is_reused_under_another_generation) {
  wr_id actor = open_actor(0, 0, ORDER_CREATE);
  CHECK_EQ(work_all(host), 1);
  kill_host();
  wr_creator_drop(d, actor);
  wr_creator_drop(d, creation);
  CHECK_EQ(phase(actor), WR_ACTOR_FREE);
  host = session_client(&x, WR_ROLE_WORKER);
  wr_id next = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  CHECK_EQ(next.idx, actor.idx);
  CHECK_EQ(next.gen, actor.gen + 1);
  wr_id old = call(d, actor, 1, -1);
  CHECK(error_says(old, "no longer exists"));
  wr_creator_drop(d, old);
  close_empty(next);
}
