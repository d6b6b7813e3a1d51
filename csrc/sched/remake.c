#include "sched/remake.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "sched/deps.h"
#include "sched/task.h"
#include "store/heap.h"
#include "store/refs.h"

uint32_t wr_remake_returns(const wr_seg *s, wr_idx task) {
  return 1 + wr_tasks_nextra(wr_task_at(s, task));
}

int wr_remake_build(wr_self *me, wr_idx task, wr_idx *out) {
  wr_seg *s = me->s;
  const wr_task *t = wr_task_at(s, task);
  uint64_t st = wr_load(&t->tstate);
  const uint16_t same = WR_TF_RETRY_EXC | WR_TF_CALL;
  wr_task_spec2 spec = {.fn = t->fn,
                        .actor = t->actor,
                        .actor_gen = t->actor_gen,
                        .shape = WR_TICKET(WR_TASK_SHAPE(st), wr_load32(&s->h->shape_round)),
                        .nreturns = t->nreturns,
                        .flags = (uint16_t)((t->flags & same) | WR_TF_REMAKE),
                        .options = t->options,
                        .retries = t->retries,
                        .parent = t->parent,
                        .parent_gen = t->parent_gen};
  spec.name = wr_tasks_name(t, &spec.name_len);
  if (WR_GUARDED && (spec.flags & WR_TF_CALL ? spec.actor - 1 >= WR_MAX_ACTORS
                                             : WR_TASK_SHAPE(st) >= WR_MAX_SHAPES))
    return WR_INVAL;
  const wr_pins *pins = wr_tasks_pins(s, t);
  uint32_t n = wr_pins_count(s, pins, pins->n), len = t->args_len, ndeps = t->ndeps;
  const uint8_t *args = wr_bytes_at(s, t->args + t->args_pos, len), *from = args;
  if (WR_GUARDED && (ndeps > n || args == wr_pit)) return WR_INVAL;
  uint8_t *dst;
  int rc = wr_tasks_build(me, &spec, len, pins->idx, n, ndeps, out, &dst);
  if (rc == WR_OK && len) memcpy(dst, from, len);
  return rc;
}

int wr_remake_mark(wr_seg *s, wr_idx idx, uint32_t gen) {
  wr_object *o = wr_obj(s, idx);
  uint64_t st = wr_load(&o->state), now;
  do {
    uint32_t place = WR_OBJ_PLACE(st);
    if (WR_OBJ_GEN(st) != gen || WR_OBJ_PHASE(st) != WR_OBJ_READY) return 0;
    if (place != WR_IN_FILE && place != WR_IN_LOST) return 0;
    now = WR_OBJ_STATE(WR_OBJ_READY, gen) | WR_OBJ_IN(WR_IN_REMAKING);
  } while (!wr_cas(&o->state, &st, now));
  wr_objects_wake(s, st); /* they wait in another way from now on */
  return 1;
}

/* The value of an object that was REMAKING is there, or never will be: tells who waits for it. */
static void publish(wr_self *me, wr_idx idx, uint32_t phase, uint32_t place) {
  wr_object *o = wr_obj(me->s, idx);
  uint64_t st = wr_load(&o->state);
  uint32_t gen = WR_OBJ_GEN(st);
  while (!wr_cas(&o->state, &st, WR_OBJ_STATE(phase, gen) | WR_OBJ_IN(place))) {
  }
  wr_objects_wake(me->s, st);
  if (phase == WR_OBJ_ERROR) wr_wake_waiting(me->s);
  wr_deps_release(me, idx);
  wr_fence(); /* pairs with the one in the reaper, which has left the object to us */
  if (wr_gen_of(me->s, idx) == gen && wr_ref_unwanted(wr_load(&o->refs))) wr_reap(me, idx, gen);
}

static void name_value(wr_self *me, wr_object *o, uint64_t block, uint64_t off, uint64_t len,
                       uint32_t nrefs) {
  o->v.b.len = len;
  o->v.b.nrefs = nrefs;
  o->v.b.off = off;
  o->v.b.block = block;
  atomic_store_explicit(&o->v.b.touched, wr_load32(&me->s->h->births), memory_order_relaxed);
}

/* A value that is no block becomes one: readers may have found one here before. */
static int copy_inline(wr_self *me, const uint8_t *bytes, uint64_t len, wr_idx idx) {
  uint64_t off;
  int rc = wr_heap_alloc(me, len ? len : 1, idx, wr_gen_of(me->s, idx), &off);
  if (rc < 0) return rc;
  memcpy(wr_at(me->s, off), bytes, len);
  name_value(me, wr_obj(me->s, idx), off, off, len, 0);
  return WR_OK;
}

static int take_over(wr_self *me, wr_idx from, wr_idx to) {
  wr_object *f = wr_obj(me->s, from);
  if (!(f->flags & WR_VAL_BLOCK))
    return copy_inline(me, f->v.bytes, wr_guard_count(f->len, WR_INLINE_VALUE), to);
  uint64_t block = f->v.b.block, off = f->v.b.off, len = f->v.b.len;
  uint32_t nrefs = f->v.b.nrefs;
  if (!wr_heap_pass(me->s, block, from, wr_gen_of(me->s, from), to, wr_gen_of(me->s, to)))
    return WR_STATE; /* a client has written over it */
  f->flags &= (uint16_t)~WR_VAL_BLOCK;
  f->len = 0;
  name_value(me, wr_obj(me->s, to), block, off, len, nrefs);
  return WR_OK;
}

int wr_remake_put(wr_self *me, wr_idx from, wr_idx to) {
  wr_object *o = wr_obj(me->s, to), *f = wr_obj(me->s, from);
  const uint16_t error = WR_VAL_FAILED | WR_VAL_SYSERR;
  uint64_t st = wr_load(&o->state);
  if (WR_OBJ_PHASE(st) != WR_OBJ_READY || WR_OBJ_PLACE(st) != WR_IN_REMAKING) return WR_OK;
  int rc = take_over(me, from, to), failed = WR_OBJ_PHASE(wr_load(&f->state)) == WR_OBJ_ERROR;
  if (rc == WR_STATE) {
    publish(me, to, WR_OBJ_READY, WR_IN_LOST);
    return WR_OK;
  }
  if (rc < 0) return rc;
  o->flags = (uint16_t)((o->flags & ~error) | (f->flags & error) | WR_VAL_BLOCK);
  publish(me, to, failed ? WR_OBJ_ERROR : WR_OBJ_READY, WR_IN_MEMORY);
  return WR_OK;
}

void wr_remake_fail(wr_self *me, wr_idx idx, uint32_t gen, const char *code, const char *text) {
  uint8_t buf[512];
  (void)wr_remake_mark(me->s, idx, gen);
  uint64_t st = wr_load(&wr_obj(me->s, idx)->state);
  if (WR_OBJ_GEN(st) != gen || WR_OBJ_PLACE(st) != WR_IN_REMAKING) return;
  size_t n = wr_error_value(buf, sizeof buf, code, text);
  if (copy_inline(me, buf, n, idx) < 0) {
    publish(me, idx, WR_OBJ_READY, WR_IN_LOST);
    return;
  }
  wr_obj(me->s, idx)->flags |= WR_VAL_SYSERR | WR_VAL_BLOCK;
  publish(me, idx, WR_OBJ_ERROR, WR_IN_MEMORY);
}
