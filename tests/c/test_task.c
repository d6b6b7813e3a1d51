/* The life of a task: built, discarded, claimed, finished, failed, run again. */
#include <string.h>

#include "base/status.h"
#include "sched/task.h"
#include "session.h"

static session x;
static wr_client *d, *w;

static void open_session(void) {
  session_open(&x, 16u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  w = session_client(&x, WR_ROLE_WORKER);
}

static void close_empty(void) {
  session_work(&x);
  session_check_empty(&x);
  session_close(&x);
}

static uint32_t phase(wr_id task) {
  return WR_TASK_PHASE(wr_load(&wr_task_at(&x.seg, task.idx)->tstate));
}

/* Arguments of every size around the limits of the record, a block and a run. */
TEST(arguments_of_any_size_arrive_whole) {
  static const uint32_t paddings[] = {0, 1, 80, 90, 95, 96, 97, 104, 120, 1000,
                                      65536, 131000, 400000};
  open_session();
  wr_id ref = pattern_put(d, 100, 1, NULL, 0), out[3];
  for (size_t i = 0; i < sizeof paddings / sizeof paddings[0]; i++)
    for (uint32_t n = 0; n <= 2; n++) {
      wr_id refs[2] = {ref, ref};
      task_plan p = {.o = {ORDER_ECHO, 7, 8, 0}, .padding = paddings[i], .refs = refs, .nrefs = n,
                     .spec = {.nreturns = (uint16_t)(1 + n)}};
      plan_submit(d, &p, out);
      CHECK_EQ(work_all(w), 1); /* it checks the arguments */
      for (uint32_t k = 0; k <= n; k++) {
        CHECK(pattern_is(d, out[k], 8, 7 + k));
        wr_creator_drop(d, out[k]);
      }
    }
  wr_creator_drop(d, ref);
  close_empty();
}

/* A name takes room that arguments had: they move behind it, or into a block. */
TEST(arguments_of_named_tasks_arrive_whole) {
  uint8_t name[WR_TASK_NAME];
  memset(name, 'n', sizeof name);
  open_session();
  wr_id ref = pattern_put(d, 100, 1, NULL, 0), out[2];
  for (uint32_t len = 0; len <= WR_TASK_NAME; len++)
    for (uint32_t padding = 0; padding <= 96; padding += 12) {
      wr_id refs[2] = {ref, ref};
      task_plan p = {.o = {ORDER_ECHO, 7, 8, 0}, .padding = padding, .refs = refs,
                     .nrefs = len % 3, .spec = {.nreturns = 2, .name = name, .name_len = len}};
      plan_submit(d, &p, out);
      CHECK_EQ(work_all(w), 1); /* it checks the arguments */
      uint32_t n = UINT32_MAX;
      const uint8_t *found = wr_tasks_name(wr_task_at(&x.seg, out[0].idx), &n);
      CHECK(found && n == len && memcmp(found, name, n) == 0); /* also when it is done */
      for (uint32_t k = 0; k < 2; k++) {
        CHECK(pattern_is(d, out[k], 8, 7 + k));
        wr_creator_drop(d, out[k]);
      }
    }
  wr_creator_drop(d, ref);
  close_empty();
}

TEST(names_of_tasks_do_not_stay_in_the_record) {
  open_session();
  wr_id out;
  uint32_t n;
  const uint8_t name[] = "once";
  task_plan p = {.o = {ORDER_ECHO, 7, 8, 0}, .spec = {.name = name, .name_len = 4}};
  for (int named = 1; named >= 0; named--) {
    plan_submit(d, &p, &out);
    CHECK_EQ(wr_tasks_name(wr_task_at(&x.seg, out.idx), &n) != NULL, named);
    CHECK_EQ(work_all(w), 1);
    wr_creator_drop(d, out);
    p.spec.name = NULL;
  }
  uint8_t *dst, longer[WR_TASK_NAME + 1] = {0};
  wr_task_spec spec = {.nreturns = 1, .name = longer, .name_len = sizeof longer};
  CHECK_EQ(wr_task_create(d, &spec, 8, NULL, 0, 0, &out, &dst), WR_LIMIT);
  close_empty();
}

TEST(a_discarded_task_leaves_nothing) {
  open_session();
  wr_id ref = pattern_put(d, 100, 1, NULL, 0), out[4];
  task_plan p = {.o = {ORDER_ECHO, 7, 8, 0}, .padding = 5000, .refs = &ref, .nrefs = 1,
                 .spec = {.nreturns = 4}};
  plan_build(d, &p, out);
  CHECK_EQ(phase(out[0]), WR_TASK_BUILDING);
  wr_audit a;
  session_audit(&x, &a);
  CHECK_EQ(a.objects, 5);
  wr_task_discard(d, out[0].idx);
  session_audit(&x, &a);
  CHECK_EQ(a.objects, 1);
  wr_creator_drop(d, ref);
  close_empty();
}

TEST(what_has_no_room_leaves_nothing) {
  open_session();
  wr_id out[2], ref = pattern_put(d, 100, 1, NULL, 0);
  uint8_t *dst;
  wr_task_spec spec = {.nreturns = 2};
  CHECK_EQ(wr_task_create(d, &spec, 64u << 20, &ref, 1, 1, out, &dst), WR_FULL);
  wr_creator_drop(d, ref);
  close_empty();
}

TEST(one_process_claims_a_task) {
  open_session();
  wr_id out;
  task_plan p = {.o = {ORDER_ECHO, 7, 8, 0}};
  plan_submit(d, &p, &out);
  CHECK(!wr_tasks_claim(&w->self, out.idx, out.gen + 1));
  CHECK(wr_tasks_claim(&w->self, out.idx, out.gen));
  CHECK(!wr_tasks_claim(&d->self, out.idx, out.gen));
  wr_tasks_fail(&w->self, out.idx, "SOME_CODE", "some text");
  CHECK_EQ(phase(out), WR_TASK_FINISHED);
  wr_view v;
  CHECK_EQ(wr_value_view(d, out, &v), WR_OK);
  CHECK(v.is_error && (v.flags & WR_VAL_SYSERR));
  CHECK(memmem(v.data, v.len, "SOME_CODE", 9) && memmem(v.data, v.len, "some text", 9));
  wr_creator_drop(d, out);
  CHECK_EQ(phase(out), WR_TASK_FREE);
  close_empty();
}

/* Its callers let go before it ran: the record goes when the task ends. */
TEST(a_task_that_nobody_waits_for_runs_and_is_freed) {
  open_session();
  wr_id ref = pattern_put(d, 90000, 1, NULL, 0), out[3];
  task_plan p = {.o = {ORDER_NEST, 7, 5000, 0}, .refs = &ref, .nrefs = 1, .spec = {.nreturns = 3}};
  plan_submit(d, &p, out);
  wr_creator_drop(d, ref);
  for (int k = 0; k < 3; k++) wr_creator_drop(d, out[k]);
  wr_audit a;
  session_audit(&x, &a);
  CHECK_EQ(a.objects, 4);
  CHECK_EQ(work_all(w), 1);
  close_empty();
}

TEST(a_value_keeps_alive_what_it_contains) {
  open_session();
  wr_id ref = pattern_put(d, 90000, 1, NULL, 0), out;
  task_plan p = {.o = {ORDER_NEST, 7, 16, 0}, .refs = &ref, .nrefs = 1};
  plan_submit(d, &p, &out);
  wr_creator_drop(d, ref);
  CHECK_EQ(work_all(w), 1);
  wr_view v;
  CHECK_EQ(wr_value_view(d, out, &v), WR_OK);
  CHECK_EQ(v.nrefs, 1);
  CHECK_EQ(v.refs[0], ref.idx);
  CHECK(pattern_is(d, ref, 90000, 1));
  wr_creator_drop(d, out);
  CHECK_EQ(wr_object_phase_of(d, ref), WR_STALE);
  close_empty();
}

TEST(a_failed_task_gives_every_return_its_error) {
  open_session();
  wr_id out[3];
  task_plan p = {.o = {ORDER_FAIL, 7, 300, 0}, .spec = {.nreturns = 3}};
  plan_submit(d, &p, out);
  CHECK_EQ(work_all(w), 1);
  CHECK_EQ(wr_load(&w->self.p->tasks_failed), 1);
  for (int k = 0; k < 3; k++) {
    CHECK_EQ(wr_object_phase_of(d, out[k]), WR_OBJ_ERROR);
    wr_creator_drop(d, out[k]);
  }
  close_empty();
}

TEST(a_task_may_fail_after_its_first_return) {
  open_session();
  wr_id out[3];
  task_plan p = {.o = {ORDER_PART, 7, 300, 0}, .spec = {.nreturns = 3}};
  plan_submit(d, &p, out);
  CHECK_EQ(work_all(w), 1);
  CHECK(pattern_is(d, out[0], 300, 7));
  for (int k = 0; k < 3; k++) {
    CHECK_EQ(wr_object_phase_of(d, out[k]), k ? WR_OBJ_ERROR : WR_OBJ_READY);
    wr_creator_drop(d, out[k]);
  }
  close_empty();
}

TEST(a_retry_counts_down_and_drops_what_was_reserved) {
  open_session();
  wr_id out[2];
  wr_job job;
  uint8_t *dst;
  task_plan p = {.o = {ORDER_ECHO, 7, 8, 0}, .spec = {.nreturns = 2, .retries = 2}};
  plan_submit(d, &p, out);
  for (int left = 2; left > 0; left--) {
    CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
    CHECK_EQ(job.t->retries, left);
    CHECK_EQ(wr_value_reserve(w, out[0].idx, 500000, NULL, 0, &dst), WR_OK);
    CHECK_EQ(wr_value_reserve(w, out[1].idx, 5000, out, 1, &dst), WR_OK);
    CHECK_EQ(wr_work_retry(w, &job), WR_OK);
    wr_audit a;
    session_audit(&x, &a);
  }
  CHECK_EQ(work_all(w), 1);
  for (int k = 0; k < 2; k++) {
    CHECK(pattern_is(d, out[k], 8, 7 + (uint32_t)k));
    wr_creator_drop(d, out[k]);
  }
  close_empty();
}
