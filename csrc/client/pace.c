/* One limit for all that the methods of this actor have yielded and nobody has read.
 *
 * What a stream has yielded is noted here, what was read of it stands in its record; the list has
 * the streams of which something may be unread, also those that have ended. */
#include "base/status.h"
#include "client/internal.h"
#include "sched/stream.h"

#define TASK_OF(entry) ((wr_idx)(entry))
#define GEN_OF(entry) ((uint32_t)((entry) >> 32))

/* Items of the k-th stream that somebody may still read, 0: also where there is nobody. */
static uint32_t unread(const wr_client *c, uint32_t k) {
  uint64_t entry = c->streams.v[k];
  const wr_stream *st = wr_stream_living(&c->seg, TASK_OF(entry), GEN_OF(entry));
  if (!st || !wr_stream_is_read(&c->seg, wr_task_at(&c->seg, TASK_OF(entry)))) return 0;
  uint32_t n = c->yielded.v[k] - wr_load32(&st->consumed);
  /* the record may have become another task's while we looked */
  return wr_stream_living(&c->seg, TASK_OF(entry), GEN_OF(entry)) ? n : 0;
}

static uint32_t drop_read(wr_client *c) {
  uint32_t kept = 0, all = 0;
  for (uint32_t k = 0; k < c->streams.n; k++) {
    uint32_t n = unread(c, k);
    if (!n) continue;
    all += n;
    c->streams.v[kept] = c->streams.v[k];
    c->yielded.v[kept++] = c->yielded.v[k];
  }
  c->streams.n = c->yielded.n = kept;
  return all;
}

void wr_pace_limit(wr_client *c, uint32_t room) { c->streams_room = room; }

int wr_pace_reserve(wr_client *c) {
  int rc = wr_vec64_grow(&c->streams, c->streams.n + 1);
  return rc < 0 ? rc : wr_vec32_grow(&c->yielded, c->yielded.n + 1);
}

void wr_pace_note(wr_client *c, const wr_job *job) {
  uint32_t gen = WR_TASK_GEN(wr_load(&job->t->tstate)), k = 0;
  uint64_t entry = (uint64_t)job->idx | (uint64_t)gen << 32;
  while (k < c->streams.n && c->streams.v[k] != entry) k++;
  if (k == c->streams.n) {
    c->streams.v[c->streams.n++] = entry;
    c->yielded.v[c->yielded.n++] = 0;
  }
  c->yielded.v[k] = wr_stream_yielded(&c->seg, job->t);
}

int wr_pace_has_room(wr_client *c, const wr_job *job) {
  wr_lock(c);
  int room = drop_read(c) < c->streams_room || !wr_stream_is_read(&c->seg, job->t);
  wr_unlock(c);
  return room;
}

int wr_pace_await_room(wr_client *c, const wr_job *job) {
  wr_lock(c);
  (void)drop_read(c);
  for (uint32_t k = 0; k < c->streams.n; k++) {
    uint64_t entry = c->streams.v[k];
    wr_stream *st = wr_stream_living(&c->seg, TASK_OF(entry), GEN_OF(entry));
    if (st) wr_store32(&st->waiter, c->slot);
  }
  wr_unlock(c);
  wr_fence(); /* a reader sees us wait, or we see what it has read */
  return wr_pace_has_room(c, job);
}

void wr_pace_free(wr_client *c) {
  wr_vec64_free(&c->streams);
  wr_vec32_free(&c->yielded);
}
