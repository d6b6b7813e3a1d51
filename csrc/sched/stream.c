#include "sched/stream.h"

#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "sched/deps.h"
#include "store/records.h"

#define END_CODE "END_OF_STREAM"

wr_stream *wr_stream_living(const wr_seg *s, wr_idx task, uint32_t gen) {
  if (!wr_rec_is_task(s, task)) return NULL;
  const wr_task *t = wr_task_at(s, task);
  uint64_t st = wr_load(&t->tstate);
  int lives = WR_TASK_GEN(st) == gen && WR_TASK_PHASE(st) != WR_TASK_FREE;
  return lives && (t->flags & WR_TF_STREAM) && t->args ? wr_stream_of(s, t) : NULL;
}

/* ---- the task's side ------------------------------------------------------------------------- */

/* The record (free, ours) becomes item `number` of the task's stream. */
static void make_item(wr_self *me, wr_idx i, wr_idx task, wr_idx prev, uint32_t refs) {
  wr_item *item = wr_item_at(me->s, i);
  wr_store32(&item->npinned, 0);
  item->n = 0;
  item->next = 0;
  item->number = prev ? wr_item_at(me->s, prev)->number + 1 : 0;
  item->task = task;
  item->task_gen = wr_gen_of(me->s, task);
  item->prev = prev;
  item->prev_gen = prev ? wr_gen_of(me->s, prev) : 0;
  wr_objects_init(me, i, refs);
}

int wr_stream_begin(wr_self *me, wr_idx task, wr_idx *out) {
  wr_stream *st = wr_stream_of(me->s, wr_task_at(me->s, task));
  int rc = wr_rec_alloc(me, WR_REC_ITEMS, out);
  if (rc < 0) return rc;
  wr_store32(&st->item, *out);
  make_item(me, *out, task, 0, WR_REF_CREATOR | WR_REF_TASK);
  WR_FAILPOINT("task.extra");
  return WR_OK;
}

uint32_t wr_stream_yielded(const wr_seg *s, const wr_task *t) {
  wr_idx i = wr_load32(&wr_stream_of(s, t)->item);
  return i ? wr_item_at(s, i)->number : 0;
}

/* While `letting` names the new item, what a sweep does follows from the records: the task names
 * it: the one before is let go; the one before is sealed: the task comes to name it; else it is let
 * go.  See wr_stream_settle. */
int wr_stream_publish(wr_self *me, wr_idx task, int is_error) {
  wr_seg *s = me->s;
  wr_stream *st = wr_stream_of(s, wr_task_at(s, task));
  wr_idx i = wr_load32(&st->item), next;
  wr_item *item = wr_item_at(s, i);
  WR_ASSERT(WR_OBJ_PHASE(wr_load(&item->obj.state)) == WR_OBJ_PENDING);
  int rc = wr_rec_alloc(me, WR_REC_ITEMS, &next);
  if (rc < 0) return rc;
  uint32_t gen = wr_gen_of(s, next);
  wr_store(&me->p->letting, (uint64_t)next | (uint64_t)(gen ? gen : 1) << 32);
  WR_FAILPOINT("stream.named");
  make_item(me, next, task, i, WR_REF_TASK);
  WR_FAILPOINT("stream.made");
  item->next = next;
  item->n = 1;
  (void)wr_pins_take(me, wr_item_link(item));
  WR_FAILPOINT("stream.linked");
  (void)wr_objects_seal(me, i, is_error, 0);
  wr_deps_release(me, i);
  wr_store32(&st->item, next);
  WR_FAILPOINT("stream.moved");
  wr_refs_clear(me, i, wr_gen_of(s, i), WR_REF_TASK);
  wr_store(&me->p->letting, 0);
  return WR_OK;
}

int wr_stream_end(wr_self *me, wr_idx task) {
  wr_idx i = wr_load32(&wr_stream_of(me->s, wr_task_at(me->s, task))->item);
  uint8_t value[WR_INLINE_VALUE], *dst;
  if (!i) return WR_OK;
  wr_objects_discard(me, i);
  size_t n = wr_error_value(value, sizeof value, END_CODE, "");
  int rc = wr_objects_reserve(me, i, n, NULL, 0, &dst); /* inline: there is room */
  if (rc < 0) return rc;
  memcpy(dst, value, n);
  wr_obj(me->s, i)->flags |= WR_VAL_FAILED | WR_VAL_SYSERR;
  return WR_OK;
}

int wr_stream_has_reader(const wr_seg *s, const wr_task *t) {
  wr_idx i = wr_load32(&wr_stream_of(s, t)->item);
  uint32_t refs = i ? wr_tag_value(wr_load(wr_refs(s, i))) : WR_REF_TASK;
  return (refs & ~WR_REF_LINEAGE) != WR_REF_TASK;
}

/* The reader is the process that submitted the task: its flag goes when it dies. */
int wr_stream_is_read(const wr_seg *s, const wr_task *t) {
  return !wr_load32(&wr_stream_of(s, t)->closed) &&
         (wr_tag_value(wr_load(&t->ret.refs)) & WR_REF_CREATOR);
}

int wr_stream_has_room(const wr_seg *s, const wr_task *t) {
  const wr_stream *st = wr_stream_of(s, t);
  if (WR_LIKELY(st->room == 0)) return 1;
  uint32_t unread = wr_stream_yielded(s, t) - wr_load32(&st->consumed);
  return unread < st->room || !wr_stream_is_read(s, t);
}

int wr_stream_await_room(const wr_seg *s, const wr_task *t, uint32_t waiter) {
  if (wr_stream_has_room(s, t)) return 1;
  wr_store32(&wr_stream_of(s, t)->waiter, waiter);
  WR_FAILPOINT("stream.waits");
  wr_fence(); /* the reader sees us wait, or we see what it has read */
  return wr_stream_has_room(s, t);
}

/* ---- the reader's side ----------------------------------------------------------------------- */

static void wake_producer(wr_self *me, wr_stream *st) {
  wr_fence();
  uint32_t slot = wr_load32(&st->waiter);
  if (WR_LIKELY(!slot)) return;
  wr_store32(&st->waiter, 0);
  wr_wake(me->s, slot);
}

int wr_stream_follow(wr_self *me, wr_idx item, wr_idx *next, uint32_t *next_gen) {
  const wr_item *it = wr_item_at(me->s, item);
  if (it->n == 0) return WR_DEAD;
  *next = it->next;
  return wr_hold_take(me, it->next, wr_gen_of(me->s, it->next), next_gen);
}

void wr_stream_consume(wr_self *me, wr_idx task, wr_idx item) {
  wr_stream *st = wr_stream_of(me->s, wr_task_at(me->s, task));
  WR_FAILPOINT("stream.followed");
  wr_pins_drop(me, wr_item_link(wr_item_at(me->s, item)));
  WR_FAILPOINT("stream.cut");
  wr_store32(&st->consumed, wr_load32(&st->consumed) + 1);
  wake_producer(me, st);
}

void wr_stream_close(wr_self *me, wr_idx task) {
  wr_stream *st = wr_stream_of(me->s, wr_task_at(me->s, task));
  wr_store32(&st->closed, 1);
  WR_FAILPOINT("stream.closed");
  wake_producer(me, st);
}

/* ---- after a death --------------------------------------------------------------------------- */

static int is_living_item(const wr_seg *s, wr_idx i, uint32_t gen) {
  if (!i || (i & WR_ACTOR_BIT) || wr_rec_chunk(i) >= wr_load32(&s->h->rec_high) ||
      wr_rec_kind_of(s, i) != WR_REC_ITEMS || i % WR_ITEM_CELLS)
    return 0;
  uint64_t st = wr_load(&wr_obj(s, i)->state);
  uint32_t phase = WR_OBJ_PHASE(st);
  return WR_OBJ_GEN(st) == gen && phase >= WR_OBJ_PENDING && phase <= WR_OBJ_ERROR;
}

static void let_go(wr_self *me, wr_idx i, uint32_t gen) {
  if (is_living_item(me->s, i, gen) && (wr_tag_value(wr_load(wr_refs(me->s, i))) & WR_REF_TASK))
    wr_refs_clear(me, i, gen, WR_REF_TASK);
}

void wr_stream_settle(wr_self *me, uint32_t slot) {
  wr_seg *s = me->s;
  wr_proc *p = &s->procs[slot];
  uint64_t w = wr_load(&p->letting);
  wr_idx i = (wr_idx)w;
  uint32_t gen = (uint32_t)(w >> 32);
  if (!is_living_item(s, i, gen)) return; /* not made; or no item, and then not for us */
  const wr_item *item = wr_item_at(s, i);
  wr_idx prev = item->prev;
  uint32_t prev_gen = item->prev_gen;
  wr_stream *st = wr_stream_living(s, item->task, item->task_gen); /* NULL: the task is gone */
  wr_idx named = st ? wr_load32(&st->item) : 0;
  if (named && named == prev && is_living_item(s, prev, prev_gen) &&
      WR_OBJ_PHASE(wr_load(&wr_obj(s, prev)->state)) != WR_OBJ_PENDING) {
    wr_store32(&st->item, i);
    named = i;
  }
  if (named == i)
    let_go(me, prev, prev_gen);
  else
    let_go(me, i, gen);
  wr_store(&p->letting, 0);
}
