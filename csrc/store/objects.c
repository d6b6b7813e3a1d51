#include "store/objects.h"

#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "store/heap.h"
#include "store/records.h"

void wr_objects_init(wr_self *me, wr_idx idx, uint32_t refs) {
  wr_object *o = wr_obj(me->s, idx);
  uint32_t gen = WR_OBJ_GEN(wr_load_relaxed(&o->state));
  o->flags = 0;
  o->creator = (uint16_t)me->slot;
  o->len = 0;
  wr_store_relaxed(&o->deps, 0);
  wr_store_relaxed(&o->refs, wr_tag_make(refs, 0, 0));
  wr_store(&o->state, WR_OBJ_STATE(WR_OBJ_PENDING, gen ? gen : 1));
}

int wr_objects_create(wr_self *me, uint32_t refs, wr_idx *idx, uint32_t *gen) {
  int rc = wr_rec_alloc(me, WR_REC_CELLS, idx);
  if (rc < 0) return rc;
  wr_objects_init(me, *idx, refs);
  *gen = WR_OBJ_GEN(wr_load_relaxed(&wr_obj(me->s, *idx)->state));
  return WR_OK;
}

/* Values are spilled in the order in which they were made or last looked at. */
static inline void touch_new(wr_seg *s, wr_object *o, uint64_t len) {
  if (len < WR_SPILL_MIN) return;
  uint32_t now = atomic_fetch_add_explicit(&s->h->births, 1, memory_order_relaxed);
  atomic_store_explicit(&o->v.b.touched, now, memory_order_relaxed);
}

/* The list of what a value refers to, none of which is pinned yet, at the start of its block. */
static void list_pins(wr_seg *s, uint64_t off, const wr_idx *refs, uint32_t nrefs) {
  wr_pins *pins = wr_at(s, off);
  wr_store32(&pins->npinned, 0);
  pins->n = nrefs;
  memcpy(pins->idx, refs, 4ull * nrefs);
}

int wr_objects_reserve(wr_self *me, wr_idx idx, uint64_t len, const wr_idx *refs, uint32_t nrefs,
                       uint8_t **dst) {
  wr_object *o = wr_obj(me->s, idx);
  if (len <= WR_INLINE_VALUE && nrefs == 0) {
    o->flags &= (uint16_t)~WR_VAL_BLOCK;
    o->len = (uint32_t)len;
    *dst = o->v.bytes;
    return WR_OK;
  }
  uint64_t head = wr_objects_pins_size(nrefs), off;
  uint32_t gen = WR_OBJ_GEN(wr_load_relaxed(&o->state));
  int rc = wr_heap_alloc(me, head + len, idx, gen, &off);
  if (rc < 0) return rc;
  WR_FAILPOINT("value.room");
  o->v.b.block = off;
  o->v.b.off = off + head;
  o->v.b.len = len;
  o->v.b.nrefs = 0;
  o->len = nrefs;
  *dst = wr_at(me->s, off + head);
  if (nrefs) list_pins(me->s, off, refs, nrefs);
  atomic_thread_fence(memory_order_release);
  o->v.b.nrefs = nrefs;
  o->flags |= WR_VAL_BLOCK; /* from here a sweep finds the block through the object */
  touch_new(me->s, o, len);
  WR_FAILPOINT("value.named");
  if (nrefs) return wr_pins_take(me, wr_at(me->s, off));
  return WR_OK;
}

/* Named first, given after that: a block that is not the object's yet is left alone by whoever
 * frees the object, and freed by the sweep of its process. */
int wr_objects_adopt(wr_self *me, wr_idx idx, uint64_t run, uint64_t off, uint64_t len,
                     const wr_idx *refs, uint32_t nrefs) {
  wr_object *o = wr_obj(me->s, idx);
  WR_CHECK(off - run >= wr_objects_pins_size(nrefs));
  o->v.b.block = run;
  o->v.b.off = off;
  o->v.b.len = len;
  o->v.b.nrefs = 0;
  o->len = nrefs;
  if (nrefs) list_pins(me->s, run, refs, nrefs);
  atomic_thread_fence(memory_order_release);
  o->v.b.nrefs = nrefs;
  o->flags |= WR_VAL_BLOCK;
  touch_new(me->s, o, len);
  WR_FAILPOINT("value.adopted");
  int rc = wr_heap_give(me, run, idx, WR_OBJ_GEN(wr_load_relaxed(&o->state)));
  if (rc < 0)
    o->flags &= (uint16_t)~WR_VAL_BLOCK;
  else if (nrefs)
    rc = wr_pins_take(me, wr_at(me->s, run));
  return rc;
}

void wr_objects_discard(wr_self *me, wr_idx idx) {
  wr_object *o = wr_obj(me->s, idx);
  uint64_t st = wr_load(&o->state);
  if (WR_OBJ_PHASE(st) != WR_OBJ_PENDING) return;
  /* Whoever died in here may have freed the block: then it can be another's by now. */
  if ((o->flags & WR_VAL_BLOCK) && wr_heap_owned(me->s, o->v.b.block, idx, WR_OBJ_GEN(st))) {
    if (o->v.b.nrefs) wr_pins_drop(me, wr_pins_at(me->s, o->v.b.block));
    wr_heap_free(me, o->v.b.block, idx, WR_OBJ_GEN(st));
    WR_FAILPOINT("value.dropped");
  }
  if (WR_UNLIKELY(wr_rec_kind_of(me->s, idx) == WR_REC_ITEMS)) { /* linked, and not sealed */
    wr_pins_drop(me, wr_item_link(wr_item_at(me->s, idx)));
    wr_item_at(me->s, idx)->n = 0;
  }
  o->flags &= (uint16_t)~(WR_VAL_BLOCK | WR_VAL_FAILED | WR_VAL_SYSERR);
  o->len = 0;
}

int wr_objects_seal(wr_self *me, wr_idx idx, int is_error, uint16_t flags) {
  wr_object *o = wr_obj(me->s, idx);
  o->flags |= flags;
  WR_FAILPOINT("seal.before");
  uint64_t st = wr_load(&o->state), now;
  if (o->flags & WR_VAL_FAILED) is_error = 1;
  do {
    if (WR_OBJ_PHASE(st) != WR_OBJ_PENDING) return WR_STATE;
    now = WR_OBJ_STATE(is_error ? WR_OBJ_ERROR : WR_OBJ_READY, WR_OBJ_GEN(st));
  } while (!wr_cas(&o->state, &st, now));
  WR_FAILPOINT("seal.after");
  if (WR_OBJ_W0(st)) wr_wake(me->s, WR_OBJ_W0(st));
  if (WR_OBJ_W1(st)) wr_wake(me->s, WR_OBJ_W1(st));
  if ((st & WR_OBJ_MANY) || is_error) wr_wake_waiting(me->s); /* who waits for all wants to know */
  return WR_OK;
}

/* The state with `slot` among those to be woken. */
static uint64_t with_watcher(uint64_t st, uint32_t slot) {
  if (WR_OBJ_W0(st) == slot || WR_OBJ_W1(st) == slot) return st;
  if (WR_OBJ_W0(st) == 0) return st | (uint64_t)slot << 4;
  if (WR_OBJ_W1(st) == 0) return st | (uint64_t)slot << 16;
  return st | WR_OBJ_MANY;
}

int wr_objects_watch(wr_seg *s, wr_idx idx, uint32_t gen, uint32_t slot) {
  wr_object *o = wr_obj(s, idx);
  uint64_t st = wr_load(&o->state), now;
  do {
    if (WR_OBJ_GEN(st) != gen) return WR_STALE;
    uint32_t phase = WR_OBJ_PHASE(st);
    if (phase == WR_OBJ_READY || phase == WR_OBJ_ERROR) return 1;
    if (phase != WR_OBJ_PENDING) return WR_STALE;
    now = with_watcher(st, slot);
  } while (now != st && !wr_cas(&o->state, &st, now));
  return 0;
}

int wr_objects_watch_value(wr_seg *s, wr_idx idx, uint32_t gen, uint32_t slot) {
  wr_object *o = wr_obj(s, idx);
  uint64_t st = wr_load(&o->state), now;
  do {
    if (WR_OBJ_GEN(st) != gen || WR_OBJ_PHASE(st) != WR_OBJ_READY) return WR_STALE;
    uint32_t place = WR_OBJ_PLACE(st);
    if (place == WR_IN_MEMORY || place == WR_IN_LOST) return 1;
    now = with_watcher(st, slot);
  } while (now != st && !wr_cas(&o->state, &st, now));
  return 0;
}

static size_t put_str(uint8_t *p, const char *s, size_t n) {
  p[0] = 0xda; /* msgpack str 16 */
  p[1] = (uint8_t)(n >> 8);
  p[2] = (uint8_t)n;
  memcpy(p + 3, s, n);
  return n + 3;
}

size_t wr_error_value(uint8_t *buf, size_t cap, const char *code, const char *text) {
  size_t nc = strlen(code), nt = strlen(text);
  WR_CHECK(nc + 8 < cap);
  if (nt > cap - nc - 8) nt = cap - nc - 8;
  if (nt > UINT16_MAX) nt = UINT16_MAX; /* all that a str 16 says */
  size_t at = 0;
  buf[at++] = 0x93;
  at += put_str(buf + at, code, nc);
  at += put_str(buf + at, text, nt);
  buf[at++] = 0x80;
  return at;
}
