/* sched/stream.h - what a task yields while it runs: a list of items, see wr_item.
 *
 * The task that runs makes the list longer, one process reads it.  Neither waits for the other but
 * by its own wish: the reader as for any object, since the next item exists already and is pending;
 * the task while more items are unread than it may have (wr_stream_has_room). */
#ifndef WR_SCHED_STREAM_H
#define WR_SCHED_STREAM_H

#include "sched/task.h"

static inline wr_stream *wr_stream_of(const wr_seg *s, const wr_task *t) {
  return (wr_stream *)(void *)wr_tasks_extra(s, t, sizeof(wr_stream) / 4);
}

/* That of the task, which may be gone: NULL then. */
wr_stream *wr_stream_living(const wr_seg *s, wr_idx task, uint32_t gen);
/* Makes the first item of a task that is being built. */
int wr_stream_begin(wr_self *me, wr_idx task, wr_idx *out);
/* Items that have been yielded so far, by earlier attempts too. */
uint32_t wr_stream_yielded(const wr_seg *s, const wr_task *t);
/* The value of the item that the task names has been written: adds the next item and seals this
 * one.  On failure nothing has changed. */
int wr_stream_publish(wr_self *me, wr_idx task, int is_error);
/* The task will yield no more: writes the end into the item that it names.  Finishing seals it. */
int wr_stream_end(wr_self *me, wr_idx task);

/* Is there somebody who could read what the task yields next? */
int wr_stream_has_reader(const wr_seg *s, const wr_task *t);
/* Or has he left the stream, or the session? */
int wr_stream_is_read(const wr_seg *s, const wr_task *t);
/* May the task yield more, or not before more is read?  wr_stream_await_room: if not, slot `waiter`
 * will be woken then. */
int wr_stream_has_room(const wr_seg *s, const wr_task *t);
int wr_stream_await_room(const wr_seg *s, const wr_task *t, uint32_t waiter);

/* The reader's side.  The item is sealed, and the reader holds it: takes a hold of the next one.
 * WR_DEAD: there is none. */
int wr_stream_follow(wr_self *me, wr_idx item, wr_idx *next, uint32_t *next_gen);
/* The reader goes on to the item that it has followed to. */
void wr_stream_consume(wr_self *me, wr_idx task, wr_idx item);
/* Nobody will read on. */
void wr_stream_close(wr_self *me, wr_idx task);

/* For sweeps, before the tasks of the dead process are looked at: an item that it was adding is
 * part of the stream, or gone. */
void wr_stream_settle(wr_self *me, uint32_t slot);

#endif
