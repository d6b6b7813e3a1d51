/* The audit finds what is wrong: each test spoils one record of a whole session. */
#include "base/status.h"
#include "sched/actor.h"
#include "sched/ledger.h"
#include "session.h"
#include "shm/ring.h"
#include "store/heap.h"

static session x;
static wr_client *d, *w;
static wr_id kept, outer, task, actor, creation;

/* One of everything: values that refer to each other, a hold, a queued task, a waiting one, an
 * actor. */
static void open_full(void) {
  session_open(&x, 8u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  w = session_client(&x, WR_ROLE_WORKER);
  actor = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  CHECK_EQ(work_all(w), 1);
  kept = pattern_put(d, 5000, 1, NULL, 0);
  outer = pattern_put(d, 300000, 2, &kept, 1);
  CHECK_EQ(wr_hold(w, outer.idx, outer.gen, NULL), WR_OK);
  task_plan p = {.o = {ORDER_ECHO, 3, 8, 0}, .spec = {.nreturns = 2}, .refs = &kept, .nrefs = 1};
  wr_id out[2];
  plan_submit(d, &p, out);
  task = out[0];
}

static void expect(uint32_t violations, const char *words) {
  wr_audit a;
  char text[1024];
  int n = wr_audit_session(&x.seg, &a, text, sizeof text);
  CHECK_MSG(n == (int)violations, "%d violations:\n%s", n, text);
  CHECK_EQ(a.violations, violations);
  CHECK_MSG(strstr(text, words) != NULL, "no \"%s\" in: %s", words, text);
}

TEST(a_whole_session_passes_and_is_counted) {
  open_full();
  wr_audit a;
  session_audit(&x, &a);
  CHECK_EQ(a.objects, 5); /* two values, two returns of the task, one of the constructor */
  CHECK_EQ(a.value_bytes, 305000 + 8);
  CHECK_EQ(a.holds, 1);
  CHECK_EQ(a.actors, 1);
  CHECK_EQ(a.tasks[WR_TASK_QUEUED], 1);
  CHECK_EQ(a.tasks[WR_TASK_FINISHED], 1);
  CHECK_EQ(a.functions, 0);
  session_close(&x);
}

TEST(a_wrong_count_is_found) {
  open_full();
  atomic_fetch_add(&wr_obj(&x.seg, kept.idx)->refs, 1);
  expect(1, "counts 3 references; 2 were found");
  atomic_fetch_sub(&wr_obj(&x.seg, kept.idx)->refs, 1);
  atomic_fetch_add(&wr_actor_at(&x.seg, actor.idx & ~WR_ACTOR_BIT)->refs, 1);
  expect(1, "actor 0 counts 1 references; 0 were found");
  session_close(&x);
}

TEST(flags_of_the_dead_are_found) {
  open_full();
  wr_obj(&x.seg, kept.idx)->creator = 60;
  expect(2, "slot 60 does not live");
  wr_obj(&x.seg, kept.idx)->creator = (uint16_t)d->slot;
  atomic_fetch_or(&wr_obj(&x.seg, kept.idx)->refs, WR_REF_TASK);
  expect(1, "no task returns it");
  session_close(&x);
}

TEST(phases_that_cannot_be_are_found) {
  open_full();
  wr_task *t = wr_task_at(&x.seg, task.idx);
  uint64_t st = wr_load(&t->tstate);
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_RUNNING, 60, 0, task.gen));
  expect(1, "under slot 60, which does not live");
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_WAITING, 0, 0, task.gen));
  expect(1, "which is not pending");
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_QUEUED, 0, 0, task.gen + 1));
  expect(1, "of generations");
  wr_store(&t->tstate, st);
  wr_object *o = wr_obj(&x.seg, outer.idx);
  wr_store(&o->state, WR_OBJ_STATE(WR_OBJ_DYING, outer.gen));
  expect(3, "is in phase 4"); /* the hold on it, and its pin on the other value, are lost too */
  session_close(&x);
}

TEST(a_task_in_no_queue_is_found) {
  open_full();
  uint32_t v;
  wr_a32 hand = 0;
  CHECK_EQ(wr_ring_take(&x.seg, &x.seg.shapes[SHAPE_CPU].ready, &v, &hand), WR_OK);
  CHECK_EQ(v, task.idx);
  expect(1, "stands in no queue");
  session_close(&x);
}

TEST(memory_that_nobody_names_is_found) {
  open_full();
  uint64_t block, run;
  CHECK_EQ(wr_heap_alloc(&d->self, 200, kept.idx, kept.gen, &block), WR_OK);
  expect(1, "which does not name it");
  CHECK_EQ(wr_heap_alloc(&d->self, 500000, kept.idx, kept.gen, &run), WR_OK);
  expect(2, "run ");
  wr_heap_free(&d->self, block, kept.idx, kept.gen);
  wr_heap_free(&d->self, run, kept.idx, kept.gen);
  wr_heap_free(&d->self, wr_obj(&x.seg, kept.idx)->v.b.block, kept.idx, kept.gen);
  expect(1, "which is not its own");
  session_close(&x);
}

TEST(resources_that_do_not_add_up_are_found) {
  open_full();
  atomic_fetch_sub(&x.seg.resources[WR_RES_CPU].avail, WR_RES_SCALE);
  expect(1, "resource CPU: 70000 free, 0 claimed and 0 reserved of 80000");
  wr_store(&x.seg.procs[w->slot].claim, WR_CLAIM(SHAPE_CPU, 1));
  wr_audit a;
  session_audit(&x, &a);
  session_close(&x);
}

TEST(operations_under_way_are_found) {
  open_full();
  wr_store32(&x.seg.procs[w->slot].hand, task.idx);
  expect(1, "in hand");
  wr_store32(&x.seg.procs[w->slot].hand, 0);
  wr_store(&x.seg.procs[w->slot].op, WR_OP(WR_OP_PIN, 5, kept.idx));
  expect(1, "in the middle of operation 3");
  session_close(&x);
}

TEST(chunks_and_hints_of_the_dead_are_found) {
  open_full();
  wr_pool *p = &x.seg.pools[SESSION_POOL];
  atomic_fetch_or(&p->idle[0], (uint64_t)1 << 60);
  expect(1, "counts slot 60 as idle");
  wr_store(&p->idle[0], 0);
  uint32_t high = wr_load32(&x.seg.h->rec_high);
  wr_store(&x.seg.rec_table[high], WR_REC_WORD(WR_REC_CELLS, 60));
  expect(2, "lies above the mark");
  session_close(&x);
}

TEST(a_long_list_is_cut_to_the_buffer) {
  open_full();
  char text[40];
  wr_audit a;
  for (uint32_t i = 20; i < 30; i++) wr_store32(&x.seg.procs[i].hand, 1);
  wr_store32(&x.seg.h->proc_high, 40);
  CHECK_EQ(wr_audit_session(&x.seg, &a, text, sizeof text), 10);
  CHECK_LT(strlen(text), sizeof text);
  CHECK(strncmp(text, "slot 20 has task 1 in hand\n", 27) == 0);
  CHECK_EQ(wr_audit_session(&x.seg, &a, NULL, 0), 10);
  session_close(&x);
}
