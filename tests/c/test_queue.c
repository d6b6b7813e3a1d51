/* Ready queues: order, overflow, shapes, and several workers at once. */
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/status.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "session.h"
#include "shm/ring.h"

static session x;
static wr_client *d, *w;

static void open_session(void) {
  session_open(&x, 16u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  w = session_client(&x, WR_ROLE_WORKER);
}

static wr_id submit(uint32_t shape, uint32_t seed) {
  wr_id out;
  task_plan p = {.o = {ORDER_ECHO, seed, 8, 0}, .spec = {.retries = -1, .shape = (uint16_t)shape}};
  plan_submit(d, &p, &out);
  return out;
}

static void close_empty(const wr_id *ids, uint32_t n) {
  session_work(&x);
  for (uint32_t i = 0; i < n; i++) wr_creator_drop(d, ids[i]);
  session_check_empty(&x);
  session_close(&x);
}

/* More than the short ring of a hostile build holds: the rest waits in the overflow, in order. */
TEST(tasks_come_out_in_the_order_they_went_in) {
  enum { N = 3 * 64 + 5 };
  wr_id ids[N];
  wr_job job;
  open_session();
  for (uint32_t i = 0; i < N; i++) ids[i] = submit(SHAPE_CPU, i);
#ifdef WR_HOSTILE
  CHECK(!wr_ring_empty(&x.seg, &x.seg.shapes[SHAPE_CPU].overflow));
#endif
  for (uint32_t i = 0; i < N; i++) {
    CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
    CHECK_EQ(job.idx, ids[i].idx);
    work_run(w, &job);
  }
  CHECK(!wr_queue_has_work(&x.seg, SESSION_POOL));
  close_empty(ids, N);
}

TEST(an_entry_of_a_task_that_is_claimed_is_passed_over) {
  wr_idx got;
  open_session();
  wr_id ids[2] = {submit(SHAPE_CPU, 1), submit(SHAPE_CPU, 2)};
  wr_queue_push(&d->self, SHAPE_CPU, ids[0].idx); /* twice does no harm */
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &got), WR_OK);
  CHECK_EQ(got, ids[0].idx);
  wr_client *other = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(wr_queue_take(&other->self, SESSION_POOL, &got), WR_OK);
  CHECK_EQ(got, ids[1].idx);
  CHECK_EQ(wr_queue_take(&other->self, SESSION_POOL, &got), WR_AGAIN);
  CHECK_EQ(wr_load32(&other->self.p->hand), 0);
  uint32_t slots[2] = {w->slot, other->slot};
  for (int i = 0; i < 2; i++) {
    session_drop(&x, slots[i]);
    session_sweep(&x, slots[i]);
  }
  session_client(&x, WR_ROLE_WORKER);
  close_empty(ids, 2);
}

TEST(a_shape_whose_resources_are_taken_waits_and_others_run) {
  wr_idx got;
  open_session();
  wr_client *one = session_client(&x, WR_ROLE_WORKER), *two = session_client(&x, WR_ROLE_WORKER);
  wr_id ids[4] = {submit(SHAPE_GPU, 1), submit(SHAPE_GPU, 2), submit(SHAPE_GPU, 3)};
  CHECK_EQ(wr_queue_take(&one->self, SESSION_POOL, &got), WR_OK);
  CHECK_EQ(wr_queue_take(&two->self, SESSION_POOL, &got), WR_OK);
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &got), WR_AGAIN);
  ids[3] = submit(SHAPE_CPU, 4);
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &got), WR_OK);
  CHECK_EQ(got, ids[3].idx);
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &got), WR_AGAIN);
  uint32_t slots[3] = {w->slot, one->slot, two->slot};
  for (int i = 0; i < 3; i++) {
    session_drop(&x, slots[i]);
    session_sweep(&x, slots[i]);
  }
  session_client(&x, WR_ROLE_WORKER);
  close_empty(ids, 4);
}

/* One shape has always work; the other gets its turn all the same. */
TEST(no_shape_starves_another) {
  enum { N = 60 };
  wr_id ids[N + 1];
  open_session();
  wr_job job;
  ids[0] = submit(SHAPE_CPU, 0);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  work_run(w, &job);
  for (uint32_t i = 1; i < N; i++) ids[i] = submit(SHAPE_CPU, i);
  ids[N] = submit(SHAPE_GPU, N);
  for (uint32_t i = 0; wr_object_phase_of(d, ids[N]) == WR_OBJ_PENDING; i++) {
    CHECK_LT(i, 40);
    CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
    work_run(w, &job);
  }
  close_empty(ids, N + 1);
}

static wr_id submit_after(uint32_t seed, const wr_id *dep) {
  wr_id out;
  task_plan p = {.o = {ORDER_ECHO, seed, 8, 0}, .spec = {.retries = -1}, .refs = dep, .nrefs = 1,
                 .ndeps = 1};
  plan_submit(d, &p, &out);
  return out;
}

static void run_next(wr_id expected) {
  wr_job job;
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(job.idx, expected.idx);
  work_run(w, &job);
}

/* Also what those depend on, and what becomes ready only later. */
TEST(a_worker_leaves_the_turn_to_another_pool_after_its_task) {
  wr_job job;
  wr_idx got;
  open_session();
  wr_id ids[2] = {submit(SHAPE_CPU, 1), submit(SHAPE_CPU, 2)};
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  work_run(w, &job);
  CHECK(wr_ledger_holds(&w->self, SHAPE_CPU));
  wr_store32(&x.seg.h->turn, SESSION_POOL + 2);
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &got), WR_AGAIN);
  CHECK_EQ(wr_load(&w->self.p->claim), 0);
  wr_store32(&x.seg.h->turn, SESSION_POOL + 1);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(wr_load32(&x.seg.h->turn), 0); /* found what it needs: the others go on */
  work_run(w, &job);
  close_empty(ids, 2);
}

TEST(what_a_running_task_waits_for_overtakes_the_queue) {
  enum { N = 7 };
  wr_id ids[N];
  wr_job job;
  open_session();
  for (uint32_t i = 0; i < 5; i++) ids[i] = submit(SHAPE_CPU, i);
  ids[5] = submit(SHAPE_GPU, 5);
  ids[6] = submit_after(6, &ids[4]);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(job.idx, ids[0].idx);
  wr_id first[2] = {ids[3], ids[5]};
  CHECK_EQ(wr_wait_objects(w, first, 2, 2, 0, 0), WR_TIMEOUT);
  CHECK_EQ(wr_wait_objects(w, &ids[6], 1, 1, 0, 0), WR_TIMEOUT);
  CHECK_EQ(wr_wait_objects(w, &ids[6], 1, 1, 0, 0), WR_TIMEOUT); /* once is enough */
  work_run(w, &job);
  run_next(ids[4]);
  run_next(ids[6]);
  run_next(ids[3]);
  run_next(ids[5]);
  CHECK_EQ(wr_load32(&x.seg.pools[SESSION_POOL].urgent_any), 1); /* a hint, at most one take old */
  run_next(ids[1]);
  CHECK_EQ(wr_load32(&x.seg.pools[SESSION_POOL].urgent_any), 0);
  run_next(ids[2]);
  close_empty(ids, N);
}

/* Entries of tasks that have gone, and more tasks than there are entries. */
TEST(what_is_urged_may_be_anything) {
  enum { N = 2 * WR_POOL_URGENT };
  static wr_id ids[N];
  wr_job job;
  open_session();
  for (uint32_t i = 0; i < N; i++) ids[i] = submit(SHAPE_CPU, i);
  for (uint32_t i = 0; i < N; i++) wr_queue_urge(&x.seg, ids[i].idx);
  uint32_t slot;
  CHECK_EQ(wr_task_cancel(d, &ids[N - 1], 0, &slot, NULL), 1);
  run_next(ids[N - 2]);
  for (uint32_t i = 0; i < N - 2; i++) {
    CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
    work_run(w, &job);
  }
  wr_idx got;
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &got), WR_AGAIN);
  CHECK(!wr_queue_has_work(&x.seg, SESSION_POOL));
  close_empty(ids, N);
}

#ifdef WR_HOSTILE
enum { URGED = WR_POOL_URGENT + 1 };
static wr_id urged[URGED];

/* All places change hands in the middle of the take. */
static void urge_others(const char *name) {
  if (strcmp(name, "queue.claimed") != 0) return;
  wr_failpoint_hook = NULL;
  for (uint32_t i = 1; i < URGED; i++) wr_queue_urge(&x.seg, urged[i].idx);
}

TEST(others_are_urged_while_one_is_taken) {
  open_session();
  for (uint32_t i = 0; i < URGED; i++) urged[i] = submit(SHAPE_CPU, i);
  wr_queue_urge(&x.seg, urged[0].idx);
  wr_failpoint_hook = urge_others;
  run_next(urged[0]);
  run_next(urged[URGED - 1]);
  close_empty(urged, URGED);
}

/* The last CPU and GPUs: `lender` takes them before `w` does, and lends the CPU.  So `w` has it
 * for a moment, in which another task comes and finds none. */
static wr_client *lender;
static wr_id meanwhile;

static void submit_meanwhile(const char *name) {
  if (strcmp(name, "tag.applied") != 0) return;
  wr_failpoint_hook = NULL;
  meanwhile = submit(SHAPE_CPU, 2);
}

static void take_the_gpus(const char *name) {
  if (strcmp(name, "tag.begin") != 0) return;
  wr_failpoint_hook = NULL;
  CHECK_EQ(wr_ledger_claim(&lender->self, SHAPE_GPU), WR_OK);
  wr_ledger_release_cpu(&lender->self);
  wr_failpoint_hook = submit_meanwhile;
}

TEST(what_a_failed_claim_had_for_a_moment_is_offered_again) {
  wr_client *busy[SESSION_CPUS - 1];
  wr_idx got;
  open_session();
  wr_client *sleeper = session_client(&x, WR_ROLE_WORKER);
  lender = session_client(&x, WR_ROLE_WORKER);
  for (uint32_t i = 0; i < SESSION_CPUS - 1; i++) {
    busy[i] = session_client(&x, WR_ROLE_WORKER);
    CHECK_EQ(wr_ledger_claim(&busy[i]->self, i ? SHAPE_CPU : SHAPE_GPU), WR_OK);
  }
  wr_id wants = submit(SHAPE_GPU, 1);
  wr_pool_set_idle(&x.seg, SESSION_POOL, sleeper->slot);
  uint32_t before = wr_events(sleeper);
  wr_failpoint_hook = take_the_gpus;
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &got), WR_AGAIN);
  CHECK(!wr_failpoint_hook);
  CHECK_EQ(wr_events(sleeper), before + 1);
  for (uint32_t i = 0; i < SESSION_CPUS - 1; i++) wr_ledger_release(&busy[i]->self);
  wr_ledger_release(&lender->self);
  wr_id ids[2] = {wants, meanwhile};
  close_empty(ids, 2);
}
#endif

TEST(a_kick_wakes_one_sleeper_or_asks_for_workers) {
  open_session();
  wr_pool *p = &x.seg.pools[SESSION_POOL];
  wr_client *other = session_client(&x, WR_ROLE_WORKER);
  wr_pool_set_idle(&x.seg, SESSION_POOL, w->slot);
  wr_pool_set_idle(&x.seg, SESSION_POOL, other->slot);
  uint32_t before = wr_events(w) + wr_events(other);
  wr_id ids[3] = {submit(SHAPE_CPU, 1)};
  CHECK_EQ(wr_events(w) + wr_events(other), before + 1);
  ids[1] = submit(SHAPE_CPU, 2);
  CHECK_EQ(wr_events(w) + wr_events(other), before + 2);
  CHECK_EQ(wr_load(&p->idle[0]), 0);
  CHECK_EQ(wr_load32(&p->want), 0);
  ids[2] = submit(SHAPE_CPU, 3);
  CHECK_EQ(wr_load32(&p->want), 1);
  wr_pool_set_idle(&x.seg, SESSION_POOL, w->slot);
  wr_pool_clear_idle(&x.seg, SESSION_POOL, w->slot);
  CHECK_EQ(wr_load(&p->idle[0]), 0);
  close_empty(ids, 3);
}

static void work_until_told(session *s, wr_client *c, void *arg) {
  wr_job job;
  (void)s, (void)arg;
  while (wr_work_next(c, &job, -1) == WR_OK) work_run(c, &job);
  exit(0);
}

/* Sleeping workers in processes of their own; each task runs once. */
TEST(several_workers_share_a_queue) {
  enum { N = 2000, WORKERS = 4 };
  static wr_id ids[N];
  uint32_t slots[WORKERS];
  session_open(&x, 16u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  for (int i = 0; i < WORKERS; i++)
    slots[i] = session_fork(&x, WR_ROLE_WORKER, work_until_told, NULL);
  for (uint32_t i = 0; i < N; i++) ids[i] = submit(i % 3 ? SHAPE_CPU : SHAPE_GPU, i);
  for (uint32_t i = 0; i < N; i++) {
    int rc;
    do rc = wr_wait_objects(d, &ids[i], 1, 1, 0, -1);
    while (rc == WR_INTR);
    CHECK_EQ(rc, WR_OK);
    CHECK(pattern_is(d, ids[i], 8, i));
  }
  uint64_t done = 0;
  for (int i = 0; i < WORKERS; i++) {
    wr_store32(&x.seg.procs[slots[i]].quit, 1);
    wr_wake(&x.seg, slots[i]);
    CHECK_EQ(session_reap(&x, slots[i]), 0);
    done += wr_load(&x.seg.procs[slots[i]].tasks_done);
    session_sweep(&x, slots[i]);
  }
  CHECK_EQ(done, N);
  close_empty(ids, N);
}

#ifdef WR_HOSTILE
/* Both rings are full and tasks go on becoming ready: none is lost, and none runs twice. */
TEST_LIMIT(tasks_beyond_the_rings_are_found_again, 120) {
  enum { N = WR_RING_SHORT + WR_RING_LONG + 700 };
  static wr_id ids[N];
  open_session();
  for (uint32_t i = 0; i < N; i++) ids[i] = submit(SHAPE_NONE, i);
  CHECK_EQ(wr_load32(&x.seg.shapes[SHAPE_NONE].spilled), 700);
  CHECK_EQ(work_all(w), N);
  CHECK_EQ(wr_load32(&x.seg.shapes[SHAPE_NONE].spilled), 0);
  for (uint32_t i = 0; i < N; i++) CHECK(pattern_is(d, ids[i], 8, i));
  close_empty(ids, N);
}
#endif

/* A worker that was blocked and went on has made the count of free CPUs negative: who ends a task
 * then starts no other one on the CPU that is owed. */
TEST(no_task_starts_while_more_cpus_are_taken_than_there_are) {
  wr_idx got;
  open_session();
  wr_resource *cpu = &x.seg.resources[0];
  wr_id ids[2] = {submit(SHAPE_CPU, 1), submit(SHAPE_CPU, 2)};
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &got), WR_OK);
  uint64_t before = wr_load(&cpu->avail);
  wr_store(&cpu->avail, wr_tag_make((uint32_t)-3 * WR_RES_SCALE, 0, 0));
  wr_idx next;
  CHECK_EQ(wr_queue_take(&w->self, SESSION_POOL, &next), WR_AGAIN);
  CHECK_EQ((int32_t)wr_tag_value(wr_load(&cpu->avail)), -2 * WR_RES_SCALE); /* its own given back */
  wr_store(&cpu->avail, wr_tag_make(wr_tag_value(before) + WR_RES_SCALE, 0, 0));
  uint32_t slot = w->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
  session_client(&x, WR_ROLE_WORKER);
  close_empty(ids, 2);
}
