/* Actors that limit the unfinished calls of each caller. */
#include "base/mem.h"
#include "base/status.h"
#include "session.h"

static session x;
static wr_client *d, *w;

static wr_id limited(wr_client *c, uint32_t limit, wr_id *creation) {
  wr_actor_spec spec = {.max_concurrency = 1, .pool = SESSION_POOL, .shape = SHAPE_NONE,
                        .max_pending = limit};
  wr_id actor;
  CHECK_EQ(wr_actor_create(c, &spec, &actor), WR_OK);
  task_plan p = {.o = {ORDER_CREATE, 1, 8, 0},
                 .spec = {.shape = SHAPE_CPU, .flags = WR_TF_CREATION, .actor = actor}};
  plan_submit(c, &p, creation);
  return actor;
}

static int call(wr_client *c, wr_id actor, wr_id *out) {
  wr_task_spec spec = {.flags = WR_TF_CALL, .actor = actor, .nreturns = 1};
  order o = {ORDER_ECHO, 3, 8, 0};
  uint8_t *dst;
  int rc = wr_task_create(c, &spec, sizeof o, NULL, 0, 0, out, &dst);
  if (rc != WR_OK) return rc;
  memcpy(dst, &o, sizeof o);
  return wr_task_submit(c, out->idx);
}

static void open_session(void) {
  session_open(&x, 8u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  w = session_client(&x, WR_ROLE_WORKER);
}

static void close_empty(void) {
  session_work(&x);
  session_check_empty(&x);
  session_close(&x);
}

TEST(one_call_more_than_the_limit_is_refused_until_one_has_ended) {
  wr_id creation, ids[4], no;
  wr_job job;
  open_session();
  wr_id actor = limited(d, 3, &creation);
  for (int i = 0; i < 3; i++) CHECK_EQ(call(d, actor, &ids[i]), WR_OK);
  CHECK_EQ(call(d, actor, &no), WR_LIMIT);
  wr_audit a;
  session_audit(&x, &a);
  CHECK_EQ(a.objects, 4); /* the refused call left nothing */
  for (int i = 0; i < 2; i++) { /* the constructor and one call */
    CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
    work_run(w, &job);
  }
  CHECK_EQ(call(d, actor, &ids[3]), WR_OK);
  CHECK_EQ(call(d, actor, &no), WR_LIMIT);
  session_work(&x);
  for (int i = 0; i < 4; i++) {
    CHECK(pattern_is(d, ids[i], 8, 3));
    wr_creator_drop(d, ids[i]);
  }
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  close_empty();
}

TEST(the_limit_is_one_for_each_caller) {
  wr_id creation, mine, theirs, no;
  open_session();
  wr_client *other = session_client(&x, WR_ROLE_DRIVER);
  wr_id actor = limited(d, 1, &creation);
  CHECK_EQ(call(d, actor, &mine), WR_OK);
  CHECK_EQ(call(d, actor, &no), WR_LIMIT);
  CHECK_EQ(call(other, actor, &theirs), WR_OK);
  CHECK_EQ(call(other, actor, &no), WR_LIMIT);
  session_work(&x);
  wr_creator_drop(d, mine);
  wr_creator_drop(other, theirs);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  close_empty();
}

/* Many at once, past the first size of the list; dropped calls count until they have ended. */
TEST(a_limit_of_many) {
  enum { LIMIT = 100 };
  wr_id creation, id;
  open_session();
  wr_id actor = limited(d, LIMIT, &creation);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < LIMIT; i++) {
      CHECK_EQ(call(d, actor, &id), WR_OK);
      wr_creator_drop(d, id);
    }
    CHECK_EQ(call(d, actor, &id), WR_LIMIT);
    session_work(&x);
  }
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  close_empty();
}

TEST(the_list_of_an_actor_that_is_gone_is_dropped) {
  wr_id creation, id;
  open_session();
  for (int i = 0; i < 3; i++) {
    wr_id actor = limited(d, 1, &creation);
    CHECK_EQ(call(d, actor, &id), WR_OK);
    session_work(&x);
    wr_creator_drop(d, id);
    wr_creator_drop(d, creation);
    wr_creator_drop(d, actor);
    session_work(&x); /* it retires, and its worker leaves; the number is reused */
    session_client(&x, WR_ROLE_WORKER);
  }
  close_empty();
}

TEST(no_memory_is_reported_and_leaves_nothing) {
  wr_id creation, id;
  open_session();
  wr_id actor = limited(d, 5, &creation);
  for (long n = 1;; n++) {
    wr_mem_fail_at(n, 1);
    int rc = call(d, actor, &id);
    long failures = wr_mem_failures();
    wr_mem_fail_at(0, 0);
    if (rc == WR_OK) break;
    CHECK_EQ(rc, WR_NOMEM);
    CHECK_GT(failures, 0);
    CHECK_LT(n, 20);
    wr_audit a;
    session_audit(&x, &a);
    CHECK_EQ(a.objects, 1);
  }
  wr_creator_drop(d, id);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  close_empty();
}
