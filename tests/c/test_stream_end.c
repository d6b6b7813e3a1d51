/* Tasks that yield for a process that has died: queued, running, in a mailbox; those of which
 * somebody else has an item, or the end, go on. */
#include "base/status.h"
#include "session.h"

static session x;
static wr_client *d, *reader, *w;
static const order three = {ORDER_STREAM, 1, 8, 3};

static void open_session(void) {
  session_open(&x, 8u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  reader = session_client(&x, WR_ROLE_WORKER);
  w = session_client(&x, WR_ROLE_WORKER);
  session_note_interrupts(&x);
}

static void close_empty(void) {
  session_work(&x);
  session_check_empty(&x);
  session_close(&x);
}

static void kill_reader(void) {
  uint32_t slot = reader->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
}

static uint32_t marks(const wr_job *job) {
  return wr_load32(&job->t->cancel) & (WR_CANCEL_WANTED | WR_CANCEL_FAMILY | WR_CANCEL_FORCE);
}

TEST(one_that_runs_is_interrupted_once) {
  wr_id out[2];
  wr_job job;
  open_session();
  stream_submit(reader, three, (wr_task_spec){.retries = -1}, NULL, 0, out);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  kill_reader();
  CHECK_EQ(marks(&job), WR_CANCEL_WANTED | WR_CANCEL_FAMILY);
  CHECK(x.told == 1 && x.told_slot == w->slot && x.told_task == out[0].idx);
  reader = session_client(&x, WR_ROLE_WORKER);
  kill_reader();
  CHECK_EQ(x.told, 1);
  uint32_t slot = w->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot); /* and it is not run again, whatever its retries */
  w = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(work_all(w), 0);
  close_empty();
}

TEST(one_that_is_held_back_has_room) {
  wr_id out[2];
  wr_job job;
  uint8_t *dst;
  open_session();
  stream_submit(reader, three, (wr_task_spec){.room = 1}, NULL, 0, out);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(wr_value_reserve(w, job.extra[0], 8, NULL, 0, &dst), WR_OK);
  pattern_fill(dst, 8, 2);
  CHECK_EQ(wr_work_yield(w, &job, 0), WR_OK);
  CHECK_EQ(wr_work_wait_room(w, &job, 1), WR_TIMEOUT);
  kill_reader();
  CHECK_EQ(wr_work_wait_room(w, &job, 1), WR_OK);
  CHECK(marks(&job) & WR_CANCEL_WANTED);
  work_run(w, &job);
  close_empty();
}

TEST(one_that_is_queued_or_waits_never_runs) {
  wr_id out[2], gate;
  open_session();
  CHECK_EQ(wr_object_create(d, &gate), WR_OK);
  stream_submit(reader, three, (wr_task_spec){.retries = -1}, NULL, 0, out);
  task_plan p = {.o = three, .spec = {.flags = WR_TF_STREAM, .nreturns = 2}, .refs = &gate,
                 .nrefs = 1, .ndeps = 1};
  plan_submit(reader, &p, out);
  kill_reader();
  CHECK_EQ(work_all(w), 0);
  CHECK_EQ(x.told, 0);
  wr_creator_drop(d, gate);
  close_empty();
}

TEST(a_call_in_a_mailbox_never_runs) {
  wr_id creation, out[2], last;
  open_session();
  wr_id actor = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  CHECK_EQ(work_all(w), 1);
  CHECK_EQ(wr_hold(reader, actor.idx, actor.gen, NULL), WR_OK);
  wr_task_spec spec = {.flags = WR_TF_CALL, .actor = actor};
  stream_submit(reader, three, spec, NULL, 0, out);
  task_plan p = {.o = {ORDER_ECHO, 3, 8, 0}, .spec = {.flags = WR_TF_CALL, .actor = actor}};
  plan_submit(d, &p, &last);
  kill_reader();
  CHECK_EQ(work_all(w), 1);
  CHECK(pattern_is(d, last, 8, 3));
  wr_creator_drop(d, last);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  close_empty();
}

TEST(one_whose_next_item_or_end_somebody_has_goes_on) {
  for (int k = 0; k < 2; k++) {
    wr_id out[2];
    wr_job job;
    open_session();
    stream_submit(reader, three, (wr_task_spec){0}, NULL, 0, out);
    CHECK_EQ(wr_hold(d, out[k].idx, out[k].gen, NULL), WR_OK);
    CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
    kill_reader();
    CHECK_EQ(marks(&job), 0);
    work_run(w, &job);
    CHECK(pattern_is(d, out[k], 8, 1 + (uint32_t)k));
    wr_unhold(d, out[k]);
    close_empty();
  }
}

/* One that was read until then ends. */
TEST(one_that_was_left_before_its_reader_left_in_order_goes_on) {
  wr_id out[2], other[2];
  wr_job job, ends;
  wr_death why = {.pid = 4711, .in_order = 1};
  open_session();
  wr_client *second = session_client(&x, WR_ROLE_WORKER);
  stream_submit(reader, three, (wr_task_spec){0}, NULL, 0, out);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  stream_submit(reader, three, (wr_task_spec){0}, NULL, 0, other);
  CHECK_EQ(wr_work_next(second, &ends, 0), WR_OK);
  wr_stream_leave(reader, out[0]);
  stream_drop(reader, out[1]);
  wr_creator_drop(reader, out[0]);
  uint32_t slot = reader->slot;
  session_drop(&x, slot);
  session_mark_dead(&x, slot);
  CHECK_EQ(wr_sweep_slot(&x.sweeper, slot, &why), WR_OK);
  session_free_slot(&x, slot);
  CHECK_EQ(marks(&job), 0);
  CHECK_EQ(marks(&ends), WR_CANCEL_WANTED | WR_CANCEL_FAMILY);
  work_run(w, &job);
  work_run(second, &ends);
  close_empty();
}

TEST(what_one_has_submitted_before_it_is_queued_again_ends_with_it) {
  wr_id out[2], child;
  wr_job job, running;
  open_session();
  stream_submit(reader, three, (wr_task_spec){.retries = -1}, NULL, 0, out);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  wr_client *other = session_client(&x, WR_ROLE_WORKER);
  task_plan p = {.o = {ORDER_ECHO, 1, 8, 0}, .spec = {.parent = {job.idx, job.gen}}};
  plan_submit(w, &p, &child);
  CHECK_EQ(wr_work_next(other, &running, 0), WR_OK);
  CHECK_EQ(running.idx, child.idx);
  CHECK_EQ(wr_work_retry(w, &job), WR_OK);
  kill_reader();
  CHECK(x.told == 1 && x.told_slot == other->slot && x.told_task == child.idx);
  work_run(other, &running);
  wr_creator_drop(w, child);
  close_empty();
}
