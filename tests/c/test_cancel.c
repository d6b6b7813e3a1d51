/* Cancelling tasks in every state, and finding the tasks that a task has submitted. */
#include "base/failpoint.h"
#include "base/status.h"
#include "session.h"

static session x;
static wr_client *d, *w;

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

static int cancelled(wr_id id) {
  wr_view v;
  return wr_value_view(d, id, &v) == WR_OK && v.is_error &&
         memmem(v.data, v.len, "CANCELLED", 9) != NULL;
}

static int cancel(wr_client *c, wr_id id, uint32_t how, uint32_t *slot) {
  return wr_task_cancel(c, &id, how, slot, NULL);
}

TEST(a_queued_task_never_runs) {
  wr_id out[3];
  uint32_t slot = 99;
  open_session();
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .spec = {.retries = -1, .nreturns = 3}};
  plan_submit(d, &p, out);
  wr_id named = out[2]; /* by an extra return */
  CHECK_EQ(wr_task_cancel(d, &named, 0, &slot, NULL), 1);
  CHECK_EQ(named.idx, out[0].idx);
  CHECK_EQ(slot, 0);
  CHECK_EQ(work_all(w), 0);
  for (int k = 0; k < 3; k++) {
    CHECK(cancelled(out[k]));
    wr_creator_drop(d, out[k]);
  }
  close_empty();
}

TEST(a_waiting_task_never_runs) {
  wr_id gate, out;
  uint32_t slot;
  open_session();
  CHECK_EQ(wr_object_create(d, &gate), WR_OK);
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .refs = &gate, .nrefs = 1, .ndeps = 1};
  plan_submit(d, &p, &out);
  CHECK_EQ(cancel(d, out, 0, &slot), 1);
  CHECK(cancelled(out));
  wr_creator_drop(d, out);
  wr_creator_drop(d, gate);
  close_empty();
}

TEST(a_running_task_is_flagged_and_its_process_named) {
  wr_id out;
  wr_job job;
  uint32_t slot;
  open_session();
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .spec = {.retries = -1}};
  plan_submit(d, &p, &out);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(cancel(d, out, WR_CANCEL_FORCE, &slot), 0);
  CHECK_EQ(slot, w->slot);
  CHECK_EQ(wr_load32(&job.t->cancel), WR_CANCEL_WANTED | WR_CANCEL_FORCE);
  uint32_t dead = w->slot;
  session_drop(&x, dead);
  session_sweep(&x, dead); /* as forced: it is not run again, whatever its retries */
  CHECK(cancelled(out));
  wr_creator_drop(d, out);
  close_empty();
}

TEST(what_is_done_or_no_task_is_left_alone) {
  wr_id out, value, pending;
  uint32_t slot;
  open_session();
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}};
  plan_submit(d, &p, &out);
  CHECK_EQ(work_all(w), 1);
  CHECK_EQ(cancel(d, out, 0, &slot), 0);
  CHECK(pattern_is(d, out, 8, 1));
  CHECK_EQ(cancel(d, (wr_id){out.idx, out.gen + 1}, 0, &slot), 0);
  value = pattern_put(d, 100, 2, NULL, 0);
  CHECK_EQ(cancel(d, value, 0, &slot), 0);
  CHECK_EQ(wr_object_create(d, &pending), WR_OK);
  CHECK_EQ(cancel(d, pending, 0, &slot), 0);
  CHECK_EQ(slot, 0);
  wr_creator_drop(d, out);
  wr_creator_drop(d, value);
  wr_creator_drop(d, pending);
  close_empty();
}

TEST(a_call_is_cancelled_in_the_mailbox_and_after_it_was_fetched) {
  wr_id creation, actor, ids[4];
  wr_job job;
  uint32_t slot;
  open_session();
  actor = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  for (uint32_t i = 0; i < 4; i++) {
    task_plan p = {.o = {ORDER_ECHO, i, 8, 0}, .spec = {.flags = WR_TF_CALL, .actor = actor}};
    plan_submit(d, &p, &ids[i]);
  }
  CHECK_EQ(cancel(d, ids[0], 0, &slot), 1);
  CHECK_EQ(WR_TASK_PHASE(wr_load(&wr_task_at(&x.seg, ids[0].idx)->tstate)), WR_TASK_ANSWERED);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  work_run(w, &job);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(job.idx, ids[1].idx);
  CHECK_EQ(cancel(d, ids[1], 0, &slot), 0);
  CHECK_EQ(slot, w->slot);
  CHECK_EQ(cancel(d, ids[2], 0, &slot), 1);
  work_run(w, &job);
  CHECK_EQ(work_all(w), 1);
  CHECK(cancelled(ids[0]) && cancelled(ids[2]));
  CHECK(pattern_is(d, ids[1], 8, 1) && pattern_is(d, ids[3], 8, 3));
  for (int i = 0; i < 4; i++) wr_creator_drop(d, ids[i]);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  close_empty();
}

typedef struct {
  wr_client *c;
  uint32_t n;
} family;

static void cancel_child(void *ctx, wr_id child) {
  family *f = ctx;
  uint32_t slot;
  f->n++;
  CHECK_EQ(cancel(f->c, child, 0, &slot), 1);
}

TEST(children_are_found_by_their_parent) {
  wr_id parent, other, children[3];
  wr_job job;
  open_session();
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}};
  plan_submit(d, &p, &parent);
  plan_submit(d, &p, &other);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  p.spec.parent = (wr_id){job.idx, job.gen};
  for (int i = 0; i < 3; i++) plan_submit(w, &p, &children[i]);
  family f = {d, 0};
  wr_task_children(d, parent, cancel_child, &f);
  CHECK_EQ(f.n, 3);
  wr_task_children(d, parent, cancel_child, &f); /* they have ended */
  wr_task_children(d, (wr_id){0, 0}, cancel_child, &f);
  CHECK_EQ(f.n, 3);
  work_run(w, &job);
  CHECK_EQ(work_all(w), 1);
  CHECK(pattern_is(d, other, 8, 1));
  for (int i = 0; i < 3; i++) wr_creator_drop(w, children[i]);
  wr_creator_drop(d, parent);
  wr_creator_drop(d, other);
  close_empty();
}

TEST(a_task_that_waits_to_be_tried_again_may_have_children) {
  wr_id parent, child;
  wr_job job;
  uint32_t slot;
  int began = 1;
  open_session();
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .spec = {.retries = -1}};
  plan_submit(d, &p, &child);
  CHECK_EQ(wr_task_cancel(d, &child, 0, &slot, &began), 1);
  CHECK_EQ(began, 0);
  wr_creator_drop(d, child);
  plan_submit(d, &p, &parent);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  p.spec.parent = (wr_id){job.idx, job.gen};
  plan_submit(w, &p, &child);
  uint32_t dead = w->slot;
  session_drop(&x, dead);
  session_sweep(&x, dead);
  CHECK_EQ(wr_task_cancel(d, &parent, 0, &slot, &began), 1);
  CHECK_EQ(slot, 0);
  CHECK_EQ(began, 1);
  family f = {d, 0};
  wr_task_children(d, parent, cancel_child, &f);
  CHECK_EQ(f.n, 1);
  wr_creator_drop(d, parent);
  w = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(work_all(w), 0);
  close_empty();
}

/* ---- the sweep finishes what a process had begun -------------------------------------------- */

static void bury(wr_client *c) {
  uint32_t slot = c->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
}

TEST(a_task_that_was_marked_by_the_dead_is_interrupted_once) {
  wr_id task;
  wr_job job;
  uint32_t slot;
  open_session();
  session_note_interrupts(&x);
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}};
  plan_submit(d, &p, &task);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  wr_client *canceller = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(cancel(canceller, task, WR_CANCEL_FAMILY | WR_CANCEL_ANEW, &slot), 0);
  CHECK_EQ(wr_load32(&job.t->cancel), WR_CANCEL_WANTED | WR_CANCEL_FAMILY);
  bury(canceller);
  CHECK_EQ(x.told, 1);
  CHECK(x.told_slot == w->slot && x.told_task == task.idx);
  bury(session_client(&x, WR_ROLE_WORKER));
  CHECK_EQ(x.told, 1);
  CHECK_EQ(cancel(d, task, 0, &slot), 0); /* with its family, later */
  CHECK(wr_load32(&job.t->cancel) & WR_CANCEL_TOLD);
  CHECK_EQ(cancel(d, task, WR_CANCEL_ANEW, &slot), 0);
  CHECK(!(wr_load32(&job.t->cancel) & WR_CANCEL_TOLD));
  work_run(w, &job);
  wr_creator_drop(d, task);
  close_empty();
}

TEST(what_a_cancelled_task_submitted_last_goes_with_its_process) {
  wr_id parent, queued, running;
  wr_job job, child;
  uint32_t slot;
  open_session();
  session_note_interrupts(&x);
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .spec = {.retries = -1}};
  plan_submit(d, &p, &parent);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(cancel(d, parent, WR_CANCEL_FAMILY, &slot), 0);
  job.t->cancel |= WR_CANCEL_TOLD;
  p.spec.parent = (wr_id){job.idx, job.gen};
  plan_submit(w, &p, &running);
  plan_submit(w, &p, &queued);
  wr_client *other = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(wr_work_next(other, &child, 0), WR_OK);
  CHECK_EQ(child.idx, running.idx);
  bury(w);
  CHECK(cancelled(parent));
  CHECK_EQ(x.told, 1);
  CHECK(x.told_slot == other->slot && x.told_task == running.idx);
  CHECK(wr_load32(&child.t->cancel) & WR_CANCEL_FAMILY);
  work_run(other, &child);
  CHECK_EQ(work_all(other), 0);
  wr_creator_drop(d, parent);
  w = other;
  close_empty();
}

#ifdef WR_HOSTILE
static wr_id meanwhile;

static void cancel_at_requeue(const char *name) {
  uint32_t slot;
  if (strcmp(name, "requeue.begin") != 0) return;
  wr_failpoint_hook = NULL;
  CHECK_EQ(wr_task_cancel(d, &meanwhile, 0, &slot, NULL), 0);
}

TEST(a_task_that_is_cancelled_while_it_is_queued_again_does_not_run) {
  wr_job job;
  open_session();
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .spec = {.retries = -1}};
  plan_submit(d, &p, &meanwhile);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  uint32_t dead = w->slot;
  session_drop(&x, dead);
  wr_failpoint_hook = cancel_at_requeue;
  session_sweep(&x, dead);
  CHECK(!wr_failpoint_hook);
  CHECK(cancelled(meanwhile));
  wr_creator_drop(d, meanwhile);
  w = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(work_all(w), 0);
  close_empty();
}
#endif
