#include "store/away.h"

#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "base/status.h"
#include "store/heap.h"
#include "store/objects.h"
#include "store/refs.h"

/* ---- looking ------------------------------------------------------------------------------- */

typedef struct {
  wr_seg *s;
  void (*f)(void *ctx, const wr_spillable *v);
  void *ctx;
} visit;

/* Record `idx` owns `room` bytes at `off`: is that a value that could be spilled?  What clients
 * have written is believed only as far as it lies inside the heap. */
static void consider(visit *v, wr_idx idx, uint32_t gen, uint32_t mask, uint64_t off,
                     uint64_t room) {
  wr_seg *s = v->s;
  if (!idx || (idx & WR_ACTOR_BIT) || wr_rec_chunk(idx) >= wr_load32(&s->h->rec_high)) return;
  const wr_object *o = wr_obj(s, idx);
  uint64_t st = wr_load(&o->state);
  if (WR_OBJ_PHASE(st) != WR_OBJ_READY || WR_OBJ_PLACE(st) != WR_IN_MEMORY) return;
  if ((WR_OBJ_GEN(st) & mask) != (gen & mask)) return;
  if (!(o->flags & WR_VAL_BLOCK) || (o->flags & WR_VAL_FUNC) || o->v.b.block != off) return;
  if (o->v.b.len < WR_SPILL_MIN) return;
  wr_spillable c = {.idx = idx,
                    .gen = WR_OBJ_GEN(st),
                    .touched = atomic_load_explicit(&o->v.b.touched, memory_order_relaxed),
                    .room = room,
                    .off = wr_guard_seen(o->v.b.off),
                    .len = wr_guard_seen(o->v.b.len)};
  if (off > s->size || room > s->size - off) return; /* a span at the end of the heap */
  if (c.off < off || c.len > room || c.off - off > room - c.len) return;
  v->f(v->ctx, &c);
}

static void consider_span(visit *v, uint32_t chunk, uint32_t class) {
  wr_span_geometry g = wr_heap_geometry(class);
  if (g.block < WR_SPILL_MIN) return;
  uint64_t base = v->s->heap_off + (uint64_t)chunk * WR_CHUNK + g.first;
  const wr_a64 *owner = wr_heap_owners(v->s, chunk);
  for (uint32_t k = 0; k < g.n; k++) {
    uint64_t w = wr_load(&owner[k]);
    if (w)
      consider(v, (wr_idx)w, (uint32_t)(w >> 32), UINT32_MAX, base + (uint64_t)k * g.block,
               g.block);
  }
}

void wr_away_each(wr_seg *s, void (*f)(void *ctx, const wr_spillable *v), void *ctx) {
  visit v = {s, f, ctx};
  uint64_t high = wr_load(&s->h->heap_high);
  if (high > s->heap_chunks) high = s->heap_chunks;
  for (uint32_t c = 0; c < high;) {
    uint64_t w = wr_load(&s->heap_table[c]);
    uint32_t first = c++, kind = WR_HEAP_KIND(w);
    if (kind == WR_HEAP_SPAN && WR_HEAP_LOW(w) < WR_HEAP_CLASSES)
      consider_span(&v, first, WR_HEAP_LOW(w));
    if (kind != WR_HEAP_RUN) continue;
    while (c < high && WR_HEAP_KIND(wr_load(&s->heap_table[c])) == WR_HEAP_INNER) c++;
    consider(&v, WR_HEAP_HIGH(w), WR_HEAP_LOW(w), 0xFFFFu, s->heap_off + (uint64_t)first * WR_CHUNK,
             (uint64_t)(c - first) * WR_CHUNK);
  }
}

void wr_away_each_view(wr_seg *s, void (*f)(void *ctx, wr_idx idx), void *ctx) {
  uint32_t high = wr_load32(&s->h->rec_high);
  for (uint32_t c = 1; c < high && c < WR_REC_CHUNKS; c++) {
    uint64_t w = wr_load(&s->rec_table[c]);
    if (WR_REC_KIND(w) != WR_REC_HOLDS || !WR_REC_SLOT(w)) continue;
    const wr_a32 *table = (const wr_a32 *)(const void *)(s->recs + (uint64_t)c * WR_CHUNK);
    for (uint32_t k = 0; k < WR_HOLDS_PER_CHUNK; k++) {
      uint32_t entry = atomic_load_explicit(&table[k], memory_order_relaxed);
      if (WR_UNLIKELY(entry & WR_HOLD_VIEW) && !(entry & WR_ACTOR_BIT))
        f(ctx, entry & ~WR_HOLD_VIEW);
    }
  }
  atomic_thread_fence(memory_order_acquire);
}

/* ---- moving -------------------------------------------------------------------------------- */

/* Moves a READY object from one place to another and wakes who waits for its value, if it need wait
 * no longer.  0: it is not in that place. */
static int move(wr_seg *s, wr_idx idx, uint32_t gen, uint32_t from, uint32_t to) {
  wr_object *o = wr_obj(s, idx);
  uint64_t st = wr_load(&o->state), now;
  int home = to == WR_IN_MEMORY || to == WR_IN_LOST;
  do {
    if (WR_OBJ_GEN(st) != gen || WR_OBJ_PHASE(st) != WR_OBJ_READY || WR_OBJ_PLACE(st) != from)
      return 0;
    now = home ? WR_OBJ_STATE(WR_OBJ_READY, gen) : st & ~WR_OBJ_PLACE_MASK;
    now |= WR_OBJ_IN(to);
  } while (!wr_cas(&o->state, &st, now));
  if (!home) return 1;
  wr_objects_wake(s, st);
  return 1;
}

/* Whoever let go of the last reference meanwhile has left the rest to us. */
static void look_for_end(wr_self *me, wr_idx idx, uint32_t gen) {
  wr_fence(); /* pairs with the one in the reaper */
  const wr_object *o = wr_obj(me->s, idx);
  if (WR_OBJ_GEN(wr_load(&o->state)) == gen && wr_ref_unwanted(wr_load(&o->refs)))
    wr_reap(me, idx, gen);
}

static void release(wr_self *me, wr_idx idx, uint32_t gen) {
  wr_object *o = wr_obj(me->s, idx);
  uint64_t block = o->v.b.block;
  o->v.b.block = o->v.b.off = 0;
  wr_heap_free(me, block, idx, gen);
}

/* What lies in front of a value that refers to others. */
static uint64_t head_of(uint32_t nrefs) {
  return nrefs ? (sizeof(wr_pins) + UINT64_C(4) * nrefs + 63) / 64 * 64 : 0;
}

static void drop_holds(wr_self *me, const wr_away_refs *refs, uint32_t n) {
  while (n-- > 0) wr_hold_drop(me, refs->idx[n]);
}

/* Takes over what the value has pinned. */
static int take_refs(wr_self *me, wr_idx idx, wr_away_refs **out) {
  wr_object *o = wr_obj(me->s, idx);
  *out = NULL;
  if (!o->v.b.nrefs) return WR_OK;
  wr_pins *pins = wr_pins_at(me->s, o->v.b.block);
  uint32_t n = wr_pins_count(me->s, pins, o->v.b.nrefs);
  wr_away_refs *refs = wr_alloc(sizeof *refs + UINT64_C(4) * n);
  if (!refs) return WR_NOMEM;
  memcpy(refs->idx, pins->idx, UINT64_C(4) * n);
  for (refs->n = 0; refs->n < n; refs->n++) {
    int rc = wr_hold_take(me, refs->idx[refs->n], 0, NULL);
    if (rc == WR_OK) continue;
    drop_holds(me, refs, refs->n);
    wr_free(refs);
    return rc;
  }
  wr_pins_drop(me, pins);
  o->v.b.nrefs = 0;
  *out = refs;
  return WR_OK;
}

/* Their list has been in front of the value since there has been memory for it. */
static void give_refs(wr_self *me, wr_object *o, wr_away_refs **refs) {
  if (!*refs) return;
  o->v.b.nrefs = (*refs)->n;
  (void)wr_pins_take(me, wr_pins_at(me->s, o->v.b.block));
  wr_away_forget(me, refs);
}

void wr_away_forget(wr_self *me, wr_away_refs **refs) {
  wr_away_refs *gone = *refs;
  if (!gone) return;
  *refs = NULL;
  drop_holds(me, gone, gone->n);
  wr_free(gone);
}

int wr_away_begin(wr_seg *s, wr_idx idx, uint32_t gen) {
  return move(s, idx, gen, WR_IN_MEMORY, WR_IN_LEAVING);
}

void wr_away_settle(void) { wr_fence(); }

void wr_away_stay(wr_self *me, wr_idx idx, uint32_t gen) {
  int moved = move(me->s, idx, gen, WR_IN_LEAVING, WR_IN_MEMORY);
  WR_ASSERT(WR_GUARDED || moved);
  (void)moved;
  look_for_end(me, idx, gen);
}

int wr_away_leave(wr_self *me, wr_idx idx, uint32_t gen, wr_away_refs **refs) {
  int rc = take_refs(me, idx, refs);
  if (rc < 0) return rc;
  release(me, idx, gen);
  int moved = move(me->s, idx, gen, WR_IN_LEAVING, WR_IN_FILE);
  WR_ASSERT(WR_GUARDED || moved);
  (void)moved;
  look_for_end(me, idx, gen);
  return WR_OK;
}

int wr_away_return(wr_self *me, wr_idx idx, uint32_t gen, uint64_t len, const wr_away_refs *refs,
                   uint8_t **dst) {
  uint64_t off, head = head_of(refs ? refs->n : 0);
  if (!move(me->s, idx, gen, WR_IN_FILE, WR_IN_COMING)) return WR_STALE;
  int rc = wr_heap_alloc(me, head + len, idx, gen, &off);
  if (rc == WR_OK) {
    wr_object *o = wr_obj(me->s, idx);
    if (refs) {
      wr_pins *pins = wr_at(me->s, off);
      wr_store32(&pins->npinned, 0);
      pins->n = refs->n;
      memcpy(pins->idx, refs->idx, UINT64_C(4) * refs->n);
    }
    o->v.b.block = off;
    o->v.b.off = off + head;
    *dst = wr_at(me->s, off + head);
    return WR_OK;
  }
  move(me->s, idx, gen, WR_IN_COMING, WR_IN_FILE);
  look_for_end(me, idx, gen);
  return rc;
}

void wr_away_arrive(wr_self *me, wr_idx idx, uint32_t gen, enum wr_object_place place,
                    wr_away_refs **refs) {
  wr_object *o = wr_obj(me->s, idx);
  if (place == WR_IN_MEMORY)
    give_refs(me, o, refs);
  else
    release(me, idx, gen);
  atomic_store_explicit(&o->v.b.touched, wr_load32(&me->s->h->births), memory_order_relaxed);
  int moved = move(me->s, idx, gen, WR_IN_COMING, place);
  WR_ASSERT(WR_GUARDED || moved);
  (void)moved;
  look_for_end(me, idx, gen);
}

void wr_away_lose(wr_self *me, wr_idx idx, uint32_t gen) {
  move(me->s, idx, gen, WR_IN_FILE, WR_IN_LOST);
}

int wr_away_wanted(const wr_seg *s, wr_idx idx, uint32_t gen) {
  uint64_t st = wr_load(&wr_obj(s, idx)->state);
  return WR_OBJ_GEN(st) == gen && WR_OBJ_PHASE(st) == WR_OBJ_READY &&
         WR_OBJ_PLACE(st) != WR_IN_LOST && WR_OBJ_PLACE(st) != WR_IN_REMAKING;
}
