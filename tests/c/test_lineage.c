/* What tasks leave behind so that their results can be made again, and how that is done. */
#include "session.h"

#include "sched/lineage.h"
#include "sched/remake.h"
#include "sched/task.h"
#include "store/away.h"
#include "store/refs.h"
#include "store/shed.h"

#define ALWAYS {.retries = -1}
#define ECHO(seed, len) (order){ORDER_ECHO, seed, len, 0}

static session x;
static wr_client *d;

static void begin(void) {
  session_open(&x, 24u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  session_client(&x, WR_ROLE_WORKER);
}

static void end(void) {
  session_check_empty(&x);
  session_close(&x);
}

static wr_id submit(order o, wr_task_spec spec, const wr_id *refs, uint32_t n) {
  wr_id out[3];
  task_plan p = {.o = o, .spec = spec, .refs = refs, .nrefs = n, .ndeps = n};
  plan_submit(d, &p, out);
  for (uint32_t k = 1; k < spec.nreturns; k++) wr_creator_drop(d, out[k]);
  return out[0];
}

static uint32_t place(wr_id id) { return WR_OBJ_PLACE(wr_load(&wr_obj(&x.seg, id.idx)->state)); }
static uint32_t phase(wr_id id) {
  return WR_TASK_PHASE(wr_load(&wr_task_at(&x.seg, id.idx)->tstate));
}
static uint32_t refs(wr_id id) { return wr_tag_value(wr_load(wr_refs(&x.seg, id.idx))); }

static uint64_t collect(void) {
  uint64_t bytes;
  wr_audit a;
  CHECK_EQ(wr_lineage_collect(&x.sweeper.self, &bytes), WR_OK);
  session_audit(&x, &a);
  return bytes;
}

static void lose(wr_id id) {
  wr_away_refs *refs;
  CHECK(wr_away_begin(&x.seg, id.idx, id.gen));
  wr_away_settle();
  CHECK_EQ(wr_away_leave(&x.sweeper.self, id.idx, id.gen, &refs), WR_OK);
  wr_away_forget(&x.sweeper.self, &refs);
}

/* Runs a copy of the object's task; out[] gets its returns. */
static void again(wr_id id, wr_idx out[3]) {
  wr_idx task = wr_lineage_task_of(&x.seg, id.idx);
  CHECK(task != 0);
  CHECK_EQ(wr_remake_build(&x.sweeper.self, task, out), WR_OK);
  CHECK(wr_remake_mark(&x.seg, id.idx, id.gen));
  CHECK_EQ(wr_tasks_submit(&x.sweeper.self, out[0]), WR_OK);
  session_work(&x);
}

static void check_name(wr_idx task, const char *name) {
  uint32_t n = 0;
  const uint8_t *found = wr_tasks_name(wr_task_at(&x.seg, task), &n);
  CHECK(found && n == strlen(name) && memcmp(found, name, n) == 0);
}

static void drop_copy(const wr_idx *out, uint32_t n) {
  for (uint32_t k = 0; k < n; k++)
    wr_refs_clear(&x.sweeper.self, out[k], wr_gen_of(&x.seg, out[k]), WR_REF_CREATOR);
}

TEST(arguments_stay_without_their_values) {
  begin();
  wr_id ids[20];
  ids[0] = submit(ECHO(1, 200000), (wr_task_spec)ALWAYS, NULL, 0);
  for (uint32_t k = 1; k < 20; k++)
    ids[k] = submit(ECHO(1 + k, 200000), (wr_task_spec)ALWAYS, &ids[k - 1], 1);
  for (uint32_t k = 0; k < 19; k++) wr_creator_drop(d, ids[k]);
  session_work(&x);
  for (uint32_t k = 0; k < 19; k++) {
    CHECK_EQ(phase(ids[k]), WR_TASK_KEPT);
    CHECK_EQ(refs(ids[k]), WR_REF_LINEAGE);
    CHECK_EQ(place(ids[k]), WR_IN_LOST);
  }
  CHECK(pattern_is(d, ids[19], 200000, 20));
  wr_audit a;
  session_audit(&x, &a);
  CHECK_EQ(a.objects, 1);
  CHECK_EQ(a.lineage, 19);
  CHECK_EQ(a.value_bytes, 200000);
  CHECK_EQ(collect(), 19 * sizeof(wr_task)); /* all of it is needed */
  wr_lineage_evict(&x.sweeper.self);
  CHECK_LT(collect(), 19 * sizeof(wr_task));
  CHECK(pattern_is(d, ids[19], 200000, 20));
  wr_creator_drop(d, ids[19]);
  CHECK_EQ(collect(), 0);
  end();
}

TEST(small_arguments_keep_their_values) {
  begin();
  wr_id small = pattern_put(d, 700, 3, NULL, 0), out;
  wr_task_spec named = {.retries = -1, .name = (const uint8_t *)"made", .name_len = 4};
  out = submit(ECHO(4, 5000), named, &small, 1);
  session_work(&x);
  wr_creator_drop(d, small);
  CHECK_EQ(refs(small), WR_REF_LINEAGE);
  CHECK(pattern_is(d, small, 700, 3));
  CHECK_EQ(collect(), WR_CELL + 700);
  lose(out);
  wr_idx copy[3];
  again(out, copy);
  check_name(copy[0], "made");
  CHECK_EQ(wr_remake_put(&x.sweeper.self, copy[0], out.idx), WR_OK);
  drop_copy(copy, 1);
  CHECK(pattern_is(d, out, 5000, 4));
  wr_creator_drop(d, out);
  end();
}

TEST(what_can_not_be_lost_or_run_again_is_not_kept) {
  begin();
  wr_id ids[] = {
      submit(ECHO(1, 900), (wr_task_spec)ALWAYS, NULL, 0),
      submit(ECHO(2, 5000), (wr_task_spec){.retries = 0}, NULL, 0),
      submit((order){ORDER_FAIL, 3, 5000, 0}, (wr_task_spec)ALWAYS, NULL, 0),
  };
  session_work(&x);
  for (uint32_t k = 0; k < 3; k++) {
    CHECK_EQ(phase(ids[k]), WR_TASK_FINISHED);
    CHECK_EQ(wr_lineage_task_of(&x.seg, ids[k].idx), 0);
    wr_creator_drop(d, ids[k]);
  }
  end();
}

TEST(one_of_several_returns_is_made_again) {
  begin();
  wr_id out[3];
  task_plan p = {.o = ECHO(5, 3000), .spec = {.retries = -1, .nreturns = 3}};
  plan_submit(d, &p, out);
  session_work(&x);
  wr_creator_drop(d, out[0]);
  CHECK_EQ(place(out[0]), WR_IN_LOST);
  CHECK_EQ(wr_lineage_task_of(&x.seg, out[2].idx), out[0].idx);
  (void)collect(); /* the others need its record */
  lose(out[2]);
  wr_idx copy[3];
  again(out[2], copy);
  for (uint32_t k = 0; k < 3; k++)
    CHECK_EQ(wr_remake_put(&x.sweeper.self, copy[k], out[k].idx), WR_OK);
  CHECK(pattern_is(d, out[2], 3000, 7));
  lose(out[2]);
  CHECK_EQ(place(out[0]), WR_IN_LOST);
  wr_remake_fail(&x.sweeper.self, out[2].idx, out[2].gen, "LOST", "a test");
  CHECK_EQ(wr_object_phase_of(d, out[2]), WR_OBJ_ERROR);
  CHECK(pattern_is(d, out[1], 3000, 6));
  drop_copy(copy, 3);
  wr_creator_drop(d, out[1]);
  wr_creator_drop(d, out[2]);
  end();
}

TEST(tasks_wait_for_what_is_made_again) {
  begin();
  wr_id arg = submit(ECHO(1, 5000), (wr_task_spec)ALWAYS, NULL, 0), users[3];
  session_work(&x);
  lose(arg);
  CHECK(wr_remake_mark(&x.seg, arg.idx, arg.gen));
  for (uint32_t k = 0; k < 3; k++) {
    users[k] = submit(ECHO(10 + k, 8), (wr_task_spec)ALWAYS, &arg, 1);
    CHECK_EQ(phase(users[k]), WR_TASK_WAITING);
  }
  session_work(&x);
  wr_id small = pattern_put(d, 8, 7, NULL, 0); /* whatever comes out, it is the value */
  CHECK_EQ(wr_remake_put(&x.sweeper.self, small.idx, arg.idx), WR_OK);
  wr_creator_drop(d, small);
  CHECK(pattern_is(d, arg, 8, 7));
  session_work(&x);
  for (uint32_t k = 0; k < 3; k++) {
    CHECK(pattern_is(d, users[k], 8, 10 + k));
    wr_creator_drop(d, users[k]);
  }
  wr_creator_drop(d, arg);
  end();
}

TEST(who_sheds_leaves_what_is_pinned_meanwhile) {
  begin();
  wr_id id = pattern_put(d, 5000, 3, NULL, 0);
  wr_refs_name(&x.sweeper.self, id.idx);
  wr_shed(&x.sweeper.self, id.idx, id.gen); /* as if the reference had come in between */
  CHECK_EQ(place(id), WR_IN_MEMORY);
  CHECK(pattern_is(d, id, 5000, 3));
  wr_creator_drop(d, id);
  CHECK_EQ(place(id), WR_IN_LOST);
  end();
}

TEST(what_a_pool_computed_is_not_kept_beyond_its_end) {
  begin();
  wr_id arg = submit(ECHO(1, 5000), (wr_task_spec)ALWAYS, NULL, 0);
  wr_id out = submit(ECHO(2, 5000), (wr_task_spec)ALWAYS, &arg, 1);
  session_work(&x);
  wr_creator_drop(d, arg);
  wr_lineage_give_up_pool(&x.sweeper.self, SESSION_POOL + 1);
  CHECK_EQ(wr_lineage_task_of(&x.seg, out.idx), out.idx);
  wr_lineage_give_up_pool(&x.sweeper.self, SESSION_POOL);
  for (uint32_t k = 0; k < 2; k++) {
    CHECK_EQ(wr_lineage_task_of(&x.seg, k ? out.idx : arg.idx), 0);
    CHECK(wr_task_at(&x.seg, k ? out.idx : arg.idx)->flags & WR_TF_OWNERLESS);
  }
  CHECK(pattern_is(d, out, 5000, 2));
  CHECK_EQ(collect(), 0); /* nothing names the argument any more */
  wr_creator_drop(d, out);
  end();
}
