/* Streams: yielding from a task, and reading what it yields. */
#include "sched/stream.h"

#include "base/assert.h"
#include "client/internal.h"

/* ---- reading --------------------------------------------------------------------------------- */

int wr_stream_next(wr_client *c, wr_id item, wr_id *next) {
  int phase = wr_object_phase_of(c, item);
  if (phase < 0) return phase;
  if (phase == WR_OBJ_PENDING) return WR_AGAIN;
  wr_lock(c);
  int rc = wr_stream_follow(&c->self, item.idx, &next->idx, &next->gen);
  wr_unlock(c);
  return rc;
}

void wr_stream_advance(wr_client *c, wr_id task, wr_id item) {
  wr_lock(c);
  wr_stream_consume(&c->self, task.idx, item.idx);
  wr_unlock(c);
}

void wr_stream_leave(wr_client *c, wr_id task) {
  wr_lock(c);
  wr_stream_close(&c->self, task.idx);
  wr_unlock(c);
}

/* ---- yielding -------------------------------------------------------------------------------- */

int wr_work_yield(wr_client *c, const wr_job *job, int is_error) {
  wr_lock(c);
  int rc = WR_UNLIKELY(c->streams_room) ? wr_pace_reserve(c) : WR_OK;
  if (rc == WR_OK) rc = wr_stream_publish(&c->self, job->idx, is_error);
  if (WR_UNLIKELY(c->streams_room) && rc == WR_OK) wr_pace_note(c, job);
  wr_unlock(c);
  return rc;
}

int wr_work_end_stream(wr_client *c, const wr_job *job) {
  wr_lock(c);
  int rc = wr_stream_end(&c->self, job->idx);
  wr_unlock(c);
  return rc;
}

uint32_t wr_work_yielded(wr_client *c, const wr_job *job) {
  return wr_stream_yielded(&c->seg, job->t);
}

int wr_work_has_reader(wr_client *c, const wr_job *job) {
  return wr_stream_has_reader(&c->seg, job->t);
}

typedef struct {
  wr_client *c;
  const wr_job *job;
} room_wait;

int wr_work_has_room(wr_client *c, const wr_job *job) {
  if (wr_load32(&job->t->cancel) & WR_CANCEL_WANTED) return 1;
  return wr_stream_has_room(&c->seg, job->t) &&
         (WR_LIKELY(!c->streams_room) || wr_pace_has_room(c, job));
}

int wr_work_watch_room(wr_client *c, const wr_job *job) {
  if (wr_load32(&job->t->cancel) & WR_CANCEL_WANTED) return 1;
  return wr_stream_await_room(&c->seg, job->t, c->slot) &&
         (WR_LIKELY(!c->streams_room) || wr_pace_await_room(c, job));
}

static int room_or_watch(void *arg) {
  const room_wait *w = arg;
  return wr_work_watch_room(w->c, w->job);
}

static int room_in_sight(void *arg) {
  const room_wait *w = arg;
  return wr_client_ended(w->c) || wr_work_has_room(w->c, w->job);
}

int wr_work_wait_room(wr_client *c, const wr_job *job, int64_t deadline_ns) {
  room_wait arg = {c, job};
  wr_waiter w = {room_or_watch, room_in_sight, &arg};
  return room_or_watch(&arg) ? WR_OK : wr_wait_until(c, &w, deadline_ns);
}
