/* Numbers of shapes: whoever uses one keeps it, the others are given away, and old tickets are
 * refused. */
#include "sched/shapes.h"

#include <string.h>

#include "base/failpoint.h"
#include "base/status.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "sched/task.h"
#include "session.h"

static session x;
static wr_client *d, *w;

enum { FIRST = SESSION_SHAPES, SOME = 5 };

static void open_shape(uint32_t i, uint32_t cpus) {
  wr_shape *sh = &x.seg.shapes[i];
  sh->pool = SESSION_POOL;
  sh->n = cpus != 0;
  sh->need[0] = (wr_need){WR_RES_CPU, cpus * WR_RES_SCALE};
  wr_shape_open(&x.seg, i);
}

static void open_session(void) {
  session_open(&x, 16u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  w = session_client(&x, WR_ROLE_WORKER);
  for (uint32_t i = 0; i < SOME; i++) open_shape(FIRST + i, 1);
}

static void close_session(void) {
  session_work(&x);
  session_check_empty(&x);
  session_close(&x);
}

static uint32_t ticket(uint32_t shape) {
  return WR_TICKET(shape, wr_load32(&x.seg.h->shape_round));
}

static wr_id submit(uint32_t shape, const wr_id *arg) {
  wr_id out;
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .spec = {.retries = -1, .shape = ticket(shape)},
                 .refs = arg, .nrefs = arg != NULL, .ndeps = arg != NULL};
  plan_submit(d, &p, &out);
  return out;
}

static int build(uint32_t some_ticket, wr_id *out) {
  wr_task_spec spec = {.shape = some_ticket};
  uint8_t *dst;
  return wr_task_create(d, &spec, 0, NULL, 0, 0, out, &dst);
}

static void nothing(void) {}

static int is_open(uint32_t shape) {
  return wr_load32(&x.seg.shapes[shape].state) == WR_SHAPE_OPEN;
}

/* Frees what is unused; the number of shapes from FIRST on that have stayed. */
static uint32_t reclaim(void (*settle)(void)) {
  uint32_t left = 0;
  (void)wr_shapes_reclaim(&x.sweeper.self, settle);
  for (uint32_t i = 0; i < SOME; i++) left += is_open(FIRST + i) != 0;
  return left;
}

TEST(what_nobody_uses_is_given_away) {
  open_session();
  wr_id out;
  uint32_t old = ticket(FIRST);
  CHECK_EQ(reclaim(nothing), 0);
  CHECK_EQ(build(old, &out), WR_STALE);
  open_shape(FIRST, 2);
  CHECK_EQ(build(old, &out), WR_STALE);
  wr_id ref = submit(FIRST, NULL);
  CHECK_EQ(work_all(w), 1);
  wr_creator_drop(d, ref);
  close_session();
}

TEST(tickets_stay_good_while_nothing_can_be_given_away) {
  open_session();
  reclaim(nothing);
  uint32_t old = ticket(FIRST);
  CHECK_EQ(wr_shapes_reclaim(&x.sweeper.self, nothing), 0);
  CHECK_EQ(ticket(FIRST), old);
  close_session();
}

TEST(users_keep_their_shapes) {
  open_session();
  wr_id built, pending = submit(FIRST + 4, NULL);
  wr_id waiting = submit(FIRST, &pending), queued = submit(FIRST + 1, NULL);
  wr_job job;
  CHECK_EQ(build(ticket(FIRST + 2), &built), WR_OK);
  CHECK_EQ(reclaim(nothing), 4); /* but FIRST + 3 */
  CHECK(!is_open(FIRST + 3));
  wr_task_discard(d, built.idx);
  CHECK_EQ(reclaim(nothing), 3);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(reclaim(nothing), 3); /* it runs, with a claim */
  work_run(w, &job);
  CHECK_EQ(work_all(w), 2);
  wr_creator_drop(d, pending);
  wr_creator_drop(d, waiting);
  wr_creator_drop(d, queued);
  CHECK_EQ(reclaim(nothing), 0);
  open_shape(FIRST, 1);
  CHECK_EQ(wr_ledger_claim(&w->self, FIRST), WR_OK);
  CHECK_EQ(reclaim(nothing), 1);
  wr_ledger_release(&w->self);
  CHECK_EQ(reclaim(nothing), 0);
  close_session();
}

TEST(an_actor_keeps_the_shapes_it_starts_and_lives_with) {
  open_session();
  wr_actor_spec spec = {.max_concurrency = 1, .pool = SESSION_POOL, .shape = FIRST,
                        .max_restarts = -1, .cls_name = "Actor"};
  wr_id actor, creation;
  CHECK_EQ(wr_actor_create(d, &spec, &actor), WR_OK);
  task_plan p = {.o = {ORDER_CREATE, 1, 8, 0},
                 .spec = {.shape = ticket(FIRST + 1), .flags = WR_TF_CREATION, .actor = actor}};
  CHECK_EQ(reclaim(nothing), 1); /* before its creation is built */
  open_shape(FIRST + 1, 1);
  p.spec.shape = ticket(FIRST + 1);
  plan_submit(d, &p, &creation);
  CHECK_EQ(reclaim(nothing), 2);
  session_work(&x);
  CHECK_EQ(reclaim(nothing), 2);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  session_work(&x);
  CHECK_EQ(reclaim(nothing), 0);
  close_session();
}

/* ---- others in the middle of it -------------------------------------------------------------- */

static int seen;

static void use_meanwhile(void) {
  wr_id out;
  seen = build(WR_TICKET(FIRST, wr_load32(&x.seg.h->shape_round) - 1), &out);
  CHECK_EQ(wr_ledger_claim(&w->self, FIRST + 1), WR_AGAIN);
}

TEST(nothing_begins_in_a_shape_that_is_looked_at) {
  open_session();
  seen = WR_OK;
  CHECK_EQ(reclaim(use_meanwhile), 0);
  CHECK_EQ(seen, WR_STALE);
  CHECK_EQ(wr_load(&w->self.p->claim), 0);
  CHECK_EQ(session_free_amount(&x, WR_RES_CPU), SESSION_CPUS);
  close_session();
}

/* What a process has stored comes to be seen while the barrier is passed. */
static void claim_is_seen(void) { wr_store(&w->self.p->claim, WR_CLAIM(FIRST, 0)); }

TEST(a_user_who_is_seen_late_keeps_his_shape) {
  open_session();
  CHECK_EQ(reclaim(claim_is_seen), 1);
  CHECK(is_open(FIRST));
  wr_store(&w->self.p->claim, 0);
  wr_id ref = submit(FIRST, NULL);
  CHECK_EQ(work_all(w), 1);
  wr_creator_drop(d, ref);
  close_session();
}

#ifdef WR_HOSTILE
static wr_id late;

/* A worker has found that a shape needs nothing; then the number is another's. */
static void give_number_away(const char *name) {
  if (strcmp(name, "queue.resources") != 0) return;
  wr_failpoint_hook = NULL;
  CHECK_EQ(reclaim(nothing), 0);
  open_shape(FIRST, 3);
  late = submit(FIRST, NULL);
}

TEST(resources_of_a_former_shape_are_not_enough) {
  wr_job job;
  open_session();
  reclaim(nothing);
  open_shape(FIRST, 0);
  wr_id gone = submit(FIRST, NULL);
  CHECK(wr_tasks_claim(&d->self, gone.idx, gone.gen)); /* its entry stays in the queue */
  wr_tasks_fail(&d->self, gone.idx, "CANCELLED", "");
  wr_creator_drop(d, gone);
  wr_failpoint_hook = give_number_away;
  while (wr_work_next(w, &job, 0) != WR_OK) {
  }
  CHECK(!wr_failpoint_hook);
  CHECK_EQ(job.idx, late.idx);
  CHECK(wr_ledger_holds(&w->self, FIRST));
  CHECK_EQ(session_free_amount(&x, WR_RES_CPU), SESSION_CPUS - 3);
  work_run(w, &job);
  wr_creator_drop(d, late);
  close_session();
}
#endif

TEST(a_pool_looks_at_all_its_shapes) {
  open_session();
  const uint32_t far[] = {64, 700, 4000, WR_MAX_SHAPES - 1};
  wr_id refs[4];
  for (uint32_t i = 0; i < 4; i++) {
    open_shape(far[i], 1);
    refs[i] = submit(far[i], NULL);
  }
  CHECK(wr_queue_has_work(&x.seg, SESSION_POOL));
  CHECK_EQ(work_all(w), 4);
  CHECK(!wr_queue_has_work(&x.seg, SESSION_POOL));
  for (uint32_t i = 0; i < 4; i++) wr_creator_drop(d, refs[i]);
  wr_ledger_release(&w->self);
  reclaim(nothing);
  CHECK_EQ(wr_load(&x.seg.pools[SESSION_POOL].shape_words), 1); /* shape 0 is not given away */
  close_session();
}
