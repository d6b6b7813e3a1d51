/* Tasks that wait for arguments, in every order of waiting and sealing. */
#include <stdlib.h>

#include "base/status.h"
#include "session.h"

static session x;
static wr_client *d;

static void open_session(void) {
  session_open(&x, 16u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
}

static wr_id pending(void) {
  wr_id id;
  CHECK_EQ(wr_object_create(d, &id), WR_OK);
  return id;
}

static void seal(wr_client *c, wr_id id, int is_error) {
  uint8_t *dst;
  CHECK_EQ(wr_value_reserve(c, id.idx, 4, NULL, 0, &dst), WR_OK);
  pattern_fill(dst, 4, 0);
  CHECK_EQ(wr_object_seal(c, id.idx, is_error, 0), WR_OK);
}

static wr_id wait_on(const wr_id *deps, uint32_t n, uint32_t seed) {
  wr_id out;
  task_plan p = {.o = {ORDER_ECHO, seed, 8, 0}, .spec = {.retries = -1}, .refs = deps, .nrefs = n,
                 .ndeps = n};
  plan_submit(d, &p, &out);
  return out;
}

static uint32_t phase(wr_id task) {
  return WR_TASK_PHASE(wr_load(&wr_task_at(&x.seg, task.idx)->tstate));
}

static void finish(const wr_id *ids, uint32_t n) {
  session_client(&x, WR_ROLE_WORKER);
  session_work(&x);
  for (uint32_t i = 0; i < n; i++) wr_creator_drop(d, ids[i]);
  session_check_empty(&x);
  session_close(&x);
}

/* The id of an object that has gone, tried when its record says who waits for another one. */
TEST(a_stale_id_does_no_harm_to_those_who_wait) {
  open_session();
  wr_id gone = pending(), all[2] = {pending()};
  wr_creator_drop(d, gone);
  all[1] = wait_on(all, 1, 7);
  CHECK_EQ(WR_OBJ_PHASE(wr_load(&wr_obj(&x.seg, gone.idx)->state)), WR_OBJ_NODE);
  CHECK_EQ(wr_hold(d, gone.idx, gone.gen, NULL), WR_STALE);
  CHECK_EQ(wr_hold(d, gone.idx, 0, NULL), WR_STALE);
  seal(d, all[0], 0);
  CHECK_EQ(phase(all[1]), WR_TASK_QUEUED);
  finish(all, 2);
}

TEST(a_task_waits_for_each_argument_in_whatever_order_they_come) {
  static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                       {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (int k = 0; k < 6; k++) {
    open_session();
    wr_id all[4] = {pending(), pending(), pending()};
    all[3] = wait_on(all, 3, 7);
    for (int i = 0; i < 3; i++) {
      CHECK_EQ(phase(all[3]), WR_TASK_WAITING);
      seal(d, all[orders[k][i]], 0);
    }
    CHECK_EQ(phase(all[3]), WR_TASK_QUEUED);
    finish(all, 4);
  }
}

TEST(sealed_arguments_are_not_waited_for) {
  open_session();
  wr_id all[3] = {pending(), pending()};
  seal(d, all[0], 0);
  seal(d, all[1], 1); /* an error is an argument too */
  all[2] = wait_on(all, 2, 7);
  CHECK_EQ(phase(all[2]), WR_TASK_QUEUED);
  finish(all, 3);
}

TEST(one_object_lets_many_tasks_go_in_the_order_they_came) {
  open_session();
  enum { N = 200 };
  wr_id all[N + 1] = {pending()};
  for (uint32_t i = 1; i <= N; i++) all[i] = wait_on(all, 1, i);
  seal(d, all[0], 0);
  wr_client *w = session_client(&x, WR_ROLE_WORKER);
  wr_job job;
  for (uint32_t i = 1; i <= N; i++) {
    CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
    CHECK_EQ(job.idx, all[i].idx);
    work_run(w, &job);
  }
  finish(all, N + 1);
}

TEST(the_same_argument_twice) {
  open_session();
  wr_id all[4] = {pending(), pending()};
  wr_id deps[4] = {all[0], all[0], all[1], all[0]};
  all[2] = wait_on(deps, 4, 1);
  seal(d, all[0], 0);
  CHECK_EQ(phase(all[2]), WR_TASK_WAITING);
  seal(d, all[1], 0);
  CHECK_EQ(phase(all[2]), WR_TASK_QUEUED);
  finish(all, 3);
}

TEST(a_chain_of_tasks_runs_from_its_start) {
  open_session();
  enum { N = 300 };
  wr_id all[N] = {pending()};
  for (uint32_t i = 1; i < N; i++) all[i] = wait_on(&all[i - 1], 1, i);
  seal(d, all[0], 0);
  session_client(&x, WR_ROLE_WORKER);
  session_work(&x);
  CHECK(pattern_is(d, all[N - 1], 8, N - 1));
  finish(all, N);
}

TEST(a_cancelled_waiter_does_not_come_back) {
  open_session();
  wr_id all[2] = {pending()};
  uint32_t slot;
  all[1] = wait_on(all, 1, 1);
  wr_id task = all[1];
  CHECK_EQ(wr_task_cancel(d, &task, 0, &slot, NULL), 1);
  wr_creator_drop(d, all[1]);
  wr_id next = wait_on(all, 1, 2); /* in the same record */
  CHECK_EQ(next.idx, task.idx);
  seal(d, all[0], 0);
  session_client(&x, WR_ROLE_WORKER);
  session_work(&x);
  CHECK(pattern_is(d, next, 8, 2));
  wr_creator_drop(d, next);
  wr_creator_drop(d, all[0]);
  session_check_empty(&x);
  session_close(&x);
}

/* ---- at the same time ------------------------------------------------------------------------ */

enum { ROUNDS = 300 };
static struct {
  _Atomic uint32_t turn;
  wr_id id[ROUNDS];
} *shared;

static void seal_all(session *s, wr_client *c, void *arg) {
  (void)s, (void)arg;
  for (uint32_t i = 0; i < ROUNDS; i++) {
    while (atomic_load(&shared->turn) <= i) wr_cpu_relax();
    seal(c, shared->id[i], 0);
  }
  exit(0);
}

TEST(a_task_waits_while_another_process_seals) {
  open_session();
  shared = wr_at(&x.seg, x.seg.h->size - 65536); /* the end of the heap is as good as any */
  uint32_t sealer = session_fork(&x, WR_ROLE_DRIVER, seal_all, NULL);
  static wr_id tasks[ROUNDS];
  for (uint32_t i = 0; i < ROUNDS; i++) {
    shared->id[i] = pending();
    atomic_store(&shared->turn, i + 1);
    tasks[i] = wait_on(&shared->id[i], 1, i);
  }
  CHECK_EQ(session_reap(&x, sealer), 0);
  for (uint32_t i = 0; i < ROUNDS; i++) CHECK_EQ(phase(tasks[i]), WR_TASK_QUEUED);
  session_sweep(&x, sealer);
  for (uint32_t i = 0; i < ROUNDS; i++) wr_creator_drop(d, shared->id[i]);
  finish(tasks, ROUNDS);
}
