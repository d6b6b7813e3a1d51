/* Placement groups: all or nothing, in turn, exact; claims inside them; their end. */
#include "sched/group.h"

#include <stdlib.h>

#include "base/status.h"
#include "client/internal.h"
#include "sched/actor.h"
#include "sched/group_end.h"
#include "sched/ledger.h"
#include "sched/lineage.h"
#include "sched/shapes.h"
#include "session.h"

static session x;

enum { SHAPE_IN = SESSION_SHAPES };

static wr_need cpu(uint32_t n) { return (wr_need){WR_RES_CPU, n * WR_RES_SCALE}; }
static wr_need gpu(uint32_t n) { return (wr_need){1, n * WR_RES_SCALE}; }

static int try_group(wr_client *c, const wr_bundle_spec *b, uint32_t n, wr_id *id) {
  wr_group_spec spec = {.bundles = b, .n = n, .name = "a name"};
  return wr_group_create(c, &spec, id);
}

static wr_id group_of(wr_client *c, wr_need a, wr_need b) {
  wr_bundle_spec two[2] = {{.n = 1, .need = {a}}, {.n = 1, .need = {b}}};
  wr_id id;
  CHECK_EQ(try_group(c, two, 2, &id), WR_OK);
  return id;
}

static int phase(wr_client *c, wr_id id) { return (int)wr_groups_watch(&c->seg, id.idx, id.gen); }

static void end(wr_client *c, wr_id id) { CHECK_EQ(wr_group_remove(c, id), WR_OK); }

static void check(void) {
  wr_audit a;
  session_audit(&x, &a);
}

/* As the daemon does: a shape in the group, for one bundle (from 1) or any (0). */
static void set_shape(wr_id group, uint32_t bundle, uint32_t cpus) {
  wr_shape *sh = &x.seg.shapes[SHAPE_IN];
  CHECK(wr_groups_know(&x.seg, group.idx, group.gen));
  sh->pool = SESSION_POOL;
  sh->n = cpus != 0;
  sh->need[0] = cpu(cpus);
  sh->group = group.idx + 1;
  sh->group_gen = group.gen;
  sh->bundle = bundle ? x.seg.groups[group.idx].first + bundle : 0;
  wr_shape_open(&x.seg, SHAPE_IN);
}

static void close_shape(void) { wr_store32(&x.seg.shapes[SHAPE_IN].state, 0); }

static wr_task_spec in_group(wr_id group) {
  return (wr_task_spec){.shape = SHAPE_IN, .group = {group.idx + 1, group.gen}};
}

TEST(a_group_takes_all_that_it_asks_for) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER);
  wr_id g = group_of(d, cpu(3), gpu(2));
  CHECK_EQ(phase(d, g), WR_GROUP_CREATED);
  CHECK_EQ(session_free_amount(&x, WR_RES_CPU), 5);
  CHECK_EQ(session_free_amount(&x, 1), 2);
  check();
  end(d, g);
  CHECK_EQ(phase(d, g), WR_GROUP_REMOVED);
  end(d, g); /* does no harm */
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_group_that_lacks_one_thing_holds_nothing) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER);
  wr_id first = group_of(d, cpu(1), gpu(4)), second = group_of(d, cpu(2), gpu(1));
  CHECK_EQ(phase(d, second), WR_GROUP_PENDING);
  CHECK_EQ(session_free_amount(&x, WR_RES_CPU), 7);
  check();
  end(d, first);
  CHECK_EQ(phase(d, second), WR_GROUP_CREATED);
  end(d, second);
  session_check_empty(&x);
  session_close(&x);
}

TEST(groups_that_wait_come_in_turn) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER);
  wr_id all = group_of(d, cpu(4), cpu(4)), g[3];
  for (int i = 0; i < 3; i++) g[i] = group_of(d, cpu(2), cpu(2));
  end(d, all);
  CHECK_EQ(phase(d, g[0]), WR_GROUP_CREATED);
  CHECK_EQ(phase(d, g[1]), WR_GROUP_CREATED);
  CHECK_EQ(phase(d, g[2]), WR_GROUP_PENDING);
  end(d, g[1]);
  CHECK_EQ(phase(d, g[2]), WR_GROUP_CREATED);
  CHECK_EQ(wr_load32(&x.seg.h->groups_waiting) > 0, 1);
  end(d, g[0]);
  end(d, g[2]);
  session_check_empty(&x);
  session_close(&x);
}

TEST(what_a_worker_gives_back_makes_a_group) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER), *w = session_client(&x, WR_ROLE_WORKER);
  wr_job job;
  CHECK_EQ(wr_ledger_claim(&w->self, SHAPE_CPU), WR_OK);
  wr_id g = group_of(d, cpu(4), cpu(4));
  CHECK_EQ(phase(d, g), WR_GROUP_PENDING);
  CHECK_EQ(wr_work_next(w, &job, 1000000), WR_TIMEOUT); /* it lies down */
  CHECK_EQ(phase(d, g), WR_GROUP_CREATED);
  end(d, g);
  session_check_empty(&x);
  session_close(&x);
}

TEST(what_there_never_is_waits_and_stops_nobody) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER);
  wr_id never = group_of(d, cpu(5), cpu(4)), g = group_of(d, cpu(4), cpu(4));
  CHECK_EQ(phase(d, never), WR_GROUP_PENDING);
  CHECK_EQ(phase(d, g), WR_GROUP_CREATED);
  CHECK_EQ(wr_load32(&x.seg.h->groups_waiting), 0);
  end(d, g);
  CHECK_EQ(phase(d, never), WR_GROUP_PENDING);
  end(d, never);
  session_check_empty(&x);
  session_close(&x);
}

TEST(there_are_so_many_bundles_and_no_more) {
  static wr_bundle_spec many[WR_MAX_BUNDLES + 1];
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER);
  wr_id id, half, more;
  for (uint32_t i = 0; i <= WR_MAX_BUNDLES; i++)
    many[i] = (wr_bundle_spec){.n = 1, .need = {{WR_RES_CPU, 1}}};
  CHECK_EQ(try_group(d, many, 0, &id), WR_INVAL);
  CHECK_EQ(try_group(d, many, WR_MAX_BUNDLES + 1, &id), WR_LIMIT);
  CHECK_EQ(try_group(d, many, WR_MAX_BUNDLES / 2 + 1, &half), WR_OK);
  CHECK_EQ(try_group(d, many, WR_MAX_BUNDLES / 2, &id), WR_LIMIT);
  CHECK_EQ(try_group(d, many, WR_MAX_BUNDLES / 2 - 1, &more), WR_OK);
  check();
  end(d, half);
  CHECK_EQ(try_group(d, many, 3, &id), WR_OK);
  end(d, id);
  end(d, more);
  session_check_empty(&x);
  session_close(&x);
}

TEST(there_are_so_many_groups_and_no_more) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER);
  static wr_id all[WR_MAX_GROUPS];
  wr_bundle_spec small = {.n = 1, .need = {{WR_RES_CPU, 1}}};
  wr_id id;
  for (uint32_t i = 0; i < WR_MAX_GROUPS; i++) CHECK_EQ(try_group(d, &small, 1, &all[i]), WR_OK);
  CHECK_EQ(try_group(d, &small, 1, &id), WR_LIMIT);
  end(d, all[17]);
  CHECK_EQ(try_group(d, &small, 1, &id), WR_OK);
  CHECK_EQ(id.idx, all[17].idx);
  CHECK_EQ(phase(d, all[17]), WR_GROUP_REMOVED);
  end(d, all[17]); /* names the group before */
  CHECK_EQ(phase(d, id), WR_GROUP_CREATED);
  all[17] = id;
  for (uint32_t i = 0; i < WR_MAX_GROUPS; i++) end(d, all[i]);
  session_check_empty(&x);
  session_close(&x);
}

TEST(claims_come_from_the_bundles) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER), *w[4];
  wr_id g = group_of(d, cpu(2), cpu(3));
  set_shape(g, 0, 2);
  for (int i = 0; i < 4; i++) w[i] = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(wr_ledger_times(&x.seg, SHAPE_IN, 9), 2); /* one in each bundle */
  CHECK_EQ(wr_ledger_claim(&w[0]->self, SHAPE_IN), WR_OK);
  CHECK_EQ(wr_ledger_claim(&w[1]->self, SHAPE_IN), WR_OK);
  CHECK_EQ(wr_ledger_claim(&w[2]->self, SHAPE_IN), WR_AGAIN);
  CHECK_EQ(session_free_amount(&x, WR_RES_CPU), 3);
  CHECK(wr_ledger_holds(&w[0]->self, SHAPE_IN));
  check();
  wr_ledger_release_cpu(&w[0]->self);
  CHECK_EQ(wr_ledger_claim(&w[2]->self, SHAPE_IN), WR_OK);
  wr_ledger_retake_cpu(&w[0]->self);
  CHECK(wr_ledger_overdrawn(&w[0]->self, SHAPE_IN));
  check();
  uint32_t dead = w[1]->slot;
  session_drop(&x, dead);
  session_sweep(&x, dead);
  wr_ledger_release(&w[0]->self);
  wr_ledger_release(&w[2]->self);
  check();
  CHECK_EQ(wr_group_doom(&x.seg, g.idx, g.gen), 1);
  CHECK_EQ(wr_group_clear(&x.sweeper, g.idx, g.gen), WR_OK);
  close_shape();
  wr_groups_finish(&x.sweeper.self, g.idx);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_bundle_by_number_is_the_only_one_that_will_do) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER), *w = session_client(&x, WR_ROLE_WORKER);
  wr_id g = group_of(d, cpu(1), cpu(3));
  set_shape(g, 1, 2);
  CHECK_EQ(wr_ledger_claim(&w->self, SHAPE_IN), WR_AGAIN);
  set_shape(g, 2, 2);
  CHECK_EQ(wr_ledger_claim(&w->self, SHAPE_IN), WR_OK);
  wr_ledger_release(&w->self);
  CHECK_EQ(wr_groups_remove(&d->self, g.idx, g.gen), WR_AGAIN); /* the daemon has to do it */
  wr_group_doom(&x.seg, g.idx, g.gen);
  CHECK_EQ(wr_group_clear(&x.sweeper, g.idx, g.gen), WR_OK);
  close_shape();
  wr_groups_finish(&x.sweeper.self, g.idx);
  session_check_empty(&x);
  session_close(&x);
}

TEST(tasks_wait_for_the_group_and_run_in_it) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER), *w = session_client(&x, WR_ROLE_WORKER);
  wr_id all = group_of(d, cpu(4), cpu(4)), g = group_of(d, cpu(1), cpu(1)), out;
  set_shape(g, 0, 1);
  task_plan p = {.o = {ORDER_ECHO, 5, 8, 0}, .spec = in_group(g)};
  plan_submit(d, &p, &out);
  CHECK_EQ(work_all(w), 0);
  end(d, all);
  CHECK_EQ(work_all(w), 1);
  CHECK(pattern_is(d, out, 8, 5));
  wr_creator_drop(d, out);
  wr_ledger_release(&w->self);
  wr_group_doom(&x.seg, g.idx, g.gen);
  CHECK_EQ(wr_group_clear(&x.sweeper, g.idx, g.gen), WR_OK);
  close_shape();
  wr_groups_finish(&x.sweeper.self, g.idx);
  session_check_empty(&x);
  session_close(&x);
}

TEST(what_a_group_computed_is_not_kept_beyond_its_end) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER), *w = session_client(&x, WR_ROLE_WORKER);
  wr_id g = group_of(d, cpu(1), cpu(1)), out;
  set_shape(g, 0, 1);
  task_plan p = {.o = {ORDER_ECHO, 5, 3000, 0}, .spec = in_group(g)};
  p.spec.retries = -1;
  plan_submit(d, &p, &out);
  CHECK_EQ(work_all(w), 1);
  CHECK_EQ(wr_lineage_task_of(&x.seg, out.idx), out.idx);
  check();
  wr_ledger_release(&w->self);
  wr_group_doom(&x.seg, g.idx, g.gen);
  CHECK_EQ(wr_group_clear(&x.sweeper, g.idx, g.gen), WR_OK);
  close_shape();
  wr_groups_finish(&x.sweeper.self, g.idx);
  CHECK_EQ(wr_lineage_task_of(&x.seg, out.idx), 0);
  CHECK(wr_task_at(&x.seg, out.idx)->flags & WR_TF_UNPLACED);
  CHECK(pattern_is(d, out, 3000, 5));
  wr_creator_drop(d, out);
  session_check_empty(&x);
  session_close(&x);
}

TEST(the_end_of_a_group_ends_what_is_in_it) {
  session_open(&x, 4u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER), *w = session_client(&x, WR_ROLE_WORKER);
  wr_id g = group_of(d, cpu(1), cpu(1)), runs, waits, built, late;
  wr_job job;
  set_shape(g, 1, 1);
  task_plan p = {.o = {ORDER_ECHO, 5, 8, 0}, .spec = in_group(g)};
  plan_submit(d, &p, &runs);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  plan_submit(d, &p, &waits);
  plan_build(d, &p, &built);
  CHECK_EQ(wr_group_doom(&x.seg, g.idx, g.gen), 1);
  CHECK_EQ(wr_group_clear(&x.sweeper, g.idx, g.gen), WR_AGAIN);
  CHECK_EQ(x.to_kill, w->slot);
  CHECK_EQ(wr_object_phase_of(d, waits), WR_OBJ_ERROR);
  CHECK_EQ(wr_task_submit(d, built.idx), WR_OK); /* refused where it is queued */
  CHECK_EQ(wr_object_phase_of(d, built), WR_OBJ_ERROR);
  uint8_t *dst;
  wr_task_spec spec = in_group(g);
  CHECK_EQ(wr_task_create(d, &spec, 0, NULL, 0, 0, &late, &dst), WR_STALE);
  CHECK_EQ(wr_group_clear(&x.sweeper, g.idx, g.gen), WR_AGAIN);
  uint32_t slot = w->slot;
  x.to_kill = 0;
  session_drop(&x, slot);
  session_sweep(&x, slot);
  CHECK_EQ(wr_object_phase_of(d, runs), WR_OBJ_ERROR);
  CHECK_EQ(wr_group_clear(&x.sweeper, g.idx, g.gen), WR_OK);
  close_shape();
  wr_groups_finish(&x.sweeper.self, g.idx);
  wr_creator_drop(d, runs);
  wr_creator_drop(d, waits);
  wr_creator_drop(d, built);
  session_check_empty(&x);
  session_close(&x);
}

static void churn(session *s, wr_client *c, void *arg) {
  uint32_t n = *(const uint32_t *)arg;
  for (uint32_t i = 0; i < n; i++) {
    wr_id g = group_of(c, cpu(1 + (c->slot + i) % 4), gpu(1 + i % 3));
    CHECK_LE(session_free_amount(s, WR_RES_CPU), (int32_t)SESSION_CPUS);
    if (i + 1 < n || c->slot % 2) (void)wr_groups_remove(&c->self, g.idx, g.gen);
  }
  exit(0); /* some of them with a group in hand */
}

TEST(many_processes_make_and_remove_groups) {
  session_open(&x, 4u << 20);
  uint32_t slots[6], n = 3000;
  for (int i = 0; i < 6; i++) slots[i] = session_fork(&x, WR_ROLE_DRIVER, churn, &n);
  for (int i = 0; i < 6; i++) CHECK_EQ(session_reap(&x, slots[i]), 0);
  for (int i = 0; i < 6; i++) session_sweep(&x, slots[i]);
  check();
  for (uint32_t i = 0; i < wr_load32(&x.seg.h->ngroups); i++) {
    uint32_t gen = WR_GROUP_GEN(wr_load(&x.seg.groups[i].state));
    if (!wr_group_doom(&x.seg, i, gen)) continue;
    CHECK_EQ(wr_group_clear(&x.sweeper, i, gen), WR_OK);
    wr_groups_finish(&x.sweeper.self, i);
  }
  session_check_empty(&x);
  session_close(&x);
}
