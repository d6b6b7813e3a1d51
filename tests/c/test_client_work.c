/* The worker's side of a client: what wr_work_next says, and what it leaves for others to see. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/status.h"
#include "os/os.h"
#include "sched/actor.h"
#include "session.h"

static session x;
static wr_client *d, *w;

static void open_session(void) {
  session_open(&x, 8u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  w = session_client(&x, WR_ROLE_WORKER);
}

static wr_id submit(uint32_t op, uint32_t seed) {
  wr_id out;
  task_plan p = {.o = {op, seed, 8, 0}, .spec = {.retries = -1}};
  plan_submit(d, &p, &out);
  return out;
}

static uint32_t activity(void) { return wr_load32(&w->self.p->activity); }

TEST(a_job_says_what_is_to_be_done) {
  open_session();
  wr_id refs[2] = {pattern_put(d, 10, 1, NULL, 0), pattern_put(d, 20, 2, NULL, 0)}, out[3];
  task_plan p = {.o = {ORDER_NEST, 7, 8, 0}, .padding = 300, .refs = refs, .nrefs = 2, .ndeps = 1,
                 .spec = {.nreturns = 3, .fn = 77, .options = 5, .retries = 4}};
  plan_submit(d, &p, out);
  wr_job job;
  CHECK_EQ(activity(), WR_ACT_NONE);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(job.idx, out[0].idx);
  CHECK_EQ(job.gen, out[0].gen);
  CHECK_EQ(job.args_len, sizeof(order) + 300);
  CHECK_EQ(job.nrefs, 2);
  CHECK_EQ(job.ndeps, 1);
  CHECK_EQ(job.refs[1], refs[1].idx);
  CHECK_EQ(job.extra[0], out[1].idx);
  CHECK_EQ(job.extra[1], out[2].idx);
  CHECK_EQ(job.t->fn, 77);
  CHECK_EQ(job.t->options, 5);
  CHECK_EQ(job.t->retries, 4);
  CHECK_EQ(activity(), WR_ACT_RUN);
  CHECK_EQ(wr_load32(&w->self.p->current), out[0].idx);
  CHECK_EQ(wr_load32(&w->self.p->hand), 0);
  work_run(w, &job);
  CHECK_EQ(wr_load32(&w->self.p->current), 0);
  CHECK_EQ(wr_load(&w->self.p->tasks_done), 1);
  for (int k = 0; k < 3; k++) wr_creator_drop(d, out[k]);
  for (int k = 0; k < 2; k++) wr_creator_drop(d, refs[k]);
  work_all(w);
  session_check_empty(&x);
  session_close(&x);
}

TEST(an_idle_worker_lies_down_and_gives_its_resources_back) {
  open_session();
  wr_id id = submit(ORDER_ECHO, 1);
  wr_job job;
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  work_run(w, &job);
  CHECK_EQ(session_free_amount(&x, 0), (int32_t)SESSION_CPUS - 1); /* kept for the next one */
  CHECK_EQ(wr_work_next(w, &job, 1000), WR_TIMEOUT);
  CHECK_EQ(activity(), WR_ACT_PARKED);
  CHECK_EQ(session_free_amount(&x, 0), (int32_t)SESSION_CPUS);
  CHECK_EQ(wr_load(&x.seg.pools[SESSION_POOL].idle[0]), 0); /* up again */
  wr_creator_drop(d, id);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_worker_told_to_quit_finishes_what_there_is_first) {
  open_session();
  wr_id id = submit(ORDER_ECHO, 1);
  wr_job job;
  wr_store32(&w->self.p->quit, 1);
  CHECK_EQ(wr_work_next(w, &job, -1), WR_OK);
  work_run(w, &job);
  CHECK_EQ(wr_work_next(w, &job, -1), WR_DEAD);
  wr_creator_drop(d, id);
  session_close(&x);
}

TEST(an_ended_session_ends_the_work) {
  open_session();
  wr_job job;
  CHECK(!wr_client_ended(w));
  wr_seg_end(&x.seg, "over");
  CHECK(wr_client_ended(w));
  CHECK_EQ(wr_work_next(w, &job, -1), WR_CLOSED);
  session_close(&x);
}

TEST(a_task_that_submits_and_waits_lends_its_cpu) {
  open_session();
  wr_id id = submit(ORDER_SPAWN, 5);
  session_work(&x);
  CHECK(pattern_is(d, id, 8, 5));
  CHECK_EQ(wr_load(&w->self.p->tasks_done), 2);
  wr_creator_drop(d, id);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_worker_becomes_an_actor_and_exchanges_its_claim) {
  wr_id creation, actor;
  wr_job job;
  open_session();
  actor = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  wr_actor *a = wr_actor_at(&x.seg, actor.idx & ~WR_ACTOR_BIT);
  CHECK_EQ(wr_load32(&w->self.p->actor), 1);
  CHECK_EQ(WR_ACTOR_SLOT(wr_load(&a->state)), w->slot);
  CHECK_EQ(session_free_amount(&x, 0), (int32_t)SESSION_CPUS - 1); /* to be placed */
  work_run(w, &job);
  CHECK_EQ(activity(), WR_ACT_ACTOR);
  CHECK_EQ(session_free_amount(&x, 0), (int32_t)SESSION_CPUS); /* for life: nothing */
  CHECK_NE(wr_load32(&a->last_pid), 0);
  wr_id id = submit(ORDER_ECHO, 1); /* no work of an actor's */
  CHECK_EQ(wr_work_next(w, &job, 0), WR_TIMEOUT);
  wr_work_actor_exit(w);
  CHECK_EQ(wr_load32(&a->cause), WR_CAUSE_EXITED);
  CHECK(wr_load32(&a->flags) & WR_AF_NO_RESTART);
  uint32_t slot = w->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
  session_client(&x, WR_ROLE_WORKER);
  session_work(&x);
  wr_creator_drop(d, id);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  session_check_empty(&x);
  session_close(&x);
}

/* There may be no memory for the list of calls that have come: none of them is lost, or overtaken
 * by one that comes later. */
TEST(calls_for_which_there_is_no_memory_wait) {
  enum { N = 20 };
  wr_id creation, actor, outs[N];
  wr_job job;
  open_session();
  actor = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  work_run(w, &job);
  for (uint32_t i = 0; i < N; i++) {
    task_plan p = {.o = {ORDER_ECHO, i, 8, 0}, .spec = {.flags = WR_TF_CALL, .actor = actor}};
    plan_submit(d, &p, &outs[i]);
    if (i == N / 2) { /* some are in the mailbox when there is no memory */
      wr_mem_fail_at(1, 1);
      CHECK_EQ(wr_work_next(w, &job, 0), WR_NOMEM);
      CHECK(wr_work_in_sight(w));
      CHECK_EQ(wr_work_try(w, &job), WR_NOMEM);
      wr_mem_fail_at(0, 0);
    }
  }
  wr_mem_fail_at(1, 0); /* once: tried again at once */
  for (uint32_t i = 0; i < N; i++) {
    CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
    CHECK_EQ(job.idx, outs[i].idx);
    work_run(w, &job);
    CHECK(pattern_is(d, outs[i], 8, i));
    wr_creator_drop(d, outs[i]);
  }
  CHECK_EQ(wr_mem_failures(), 1);
  wr_mem_fail_at(0, 0);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_TIMEOUT);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_DEAD); /* it retires */
  uint32_t slot = w->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
  session_check_empty(&x);
  session_close(&x);
}

/* ---- calls between processes ----------------------------------------------------------------- */

static void work_for_ever(session *s, wr_client *c, void *arg) {
  wr_job job;
  (void)s, (void)arg;
  for (;;)
    if (wr_work_next(c, &job, -1) == WR_OK) work_run(c, &job);
}

typedef struct {
  wr_id actor;
  uint32_t n;
} calls;

static void call_and_check(session *s, wr_client *c, void *arg) {
  const calls *k = arg;
  (void)s;
  for (uint32_t i = 0; i < k->n; i++) {
    wr_id out;
    int rc;
    task_plan p = {.o = {ORDER_ECHO, i, 8, 0}, .spec = {.flags = WR_TF_CALL, .actor = k->actor}};
    plan_submit(c, &p, &out);
    do rc = wr_wait_objects(c, &out, 1, 1, 0, -1);
    while (rc == WR_INTR);
    CHECK_EQ(rc, WR_OK);
    CHECK(pattern_is(c, out, 8, i));
    wr_creator_drop(c, out);
  }
  exit(0);
}

TEST(several_processes_call_a_sleeping_actor) {
  wr_id creation;
  uint32_t callers[3];
  session_open(&x, 8u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  calls k = {actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation), 500};
  uint32_t host = session_fork(&x, WR_ROLE_WORKER, work_for_ever, NULL);
  for (int i = 0; i < 3; i++) callers[i] = session_fork(&x, WR_ROLE_DRIVER, call_and_check, &k);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(session_reap(&x, callers[i]), 0);
    session_sweep(&x, callers[i]);
  }
  while (wr_load(&x.seg.procs[host].tasks_done) < 1501) /* the answer comes first */
    wr_os_sleep_ns(100000);
  CHECK_EQ(wr_load(&x.seg.procs[host].tasks_done), 1501);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, k.actor);
  wr_os_kill(x.pids[host], 9);
  session_reap(&x, host);
  session_sweep(&x, host);
  session_check_empty(&x);
  session_close(&x);
}
