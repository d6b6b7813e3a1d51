#include "store/records.h"

#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "os/os.h"

#define CELLS_PER_CHUNK ((uint32_t)(WR_CHUNK / WR_CELL))

static wr_rec_cache *cache_of(wr_self *me, uint32_t kind) {
  return kind == WR_REC_TASKS ? &me->tasks : kind == WR_REC_ITEMS ? &me->items : &me->cells;
}

static int record_is_free(wr_self *me, uint32_t kind, wr_idx i) {
  if (WR_OBJ_PHASE(wr_load(&wr_obj(me->s, i)->state)) != WR_OBJ_FREE) return 0;
  return kind != WR_REC_TASKS ||
         WR_TASK_PHASE(wr_load(&wr_task_at(me->s, i)->tstate)) == WR_TASK_FREE;
}

/* A node whose object is gone stands in no list any more: its walker died before freeing it. */
static void drop_lost_node(wr_self *me, wr_idx i) {
  wr_node *n = wr_node_at(me->s, i);
  uint64_t st = wr_load(&n->state);
  if (WR_OBJ_PHASE(st) != WR_OBJ_NODE || n->obj == 0) return;
  if (WR_OBJ_GEN(wr_load(&wr_obj(me->s, n->obj)->state)) == n->obj_gen) return;
  (void)wr_cas(&n->state, &st, WR_OBJ_STATE(WR_OBJ_FREE, WR_OBJ_GEN(st) + 1));
}

/* For one chunk more and its records, before anything is claimed: a refusal then loses nothing. */
static int make_room(wr_rec_cache *c, uint32_t kind) {
  int rc = wr_vec32_grow(&c->chunks, c->chunks.n + 1);
  return rc < 0 ? rc : wr_vec32_grow(&c->free, c->free.n + CELLS_PER_CHUNK / wr_rec_step(kind));
}

/* Adds the free records of a chunk to the cache, which has room.  Only sound while none of them is
 * cached. */
static int collect(wr_self *me, uint32_t kind, uint32_t chunk, int repair) {
  wr_rec_cache *c = cache_of(me, kind);
  uint32_t step = wr_rec_step(kind), before = c->free.n;
  wr_idx first = wr_rec_first(chunk);
  for (uint32_t k = CELLS_PER_CHUNK; k >= step; k -= step) {
    wr_idx i = first + k - step;
    if (repair && kind == WR_REC_CELLS) drop_lost_node(me, i);
    if (record_is_free(me, kind, i)) c->free.v[c->free.n++] = i;
  }
  return c->free.n > before ? WR_OK : WR_AGAIN;
}

/* Chunks of our own in which others have freed something; after a sweep, all of them once. */
static int scan_own(wr_self *me, uint32_t kind) {
  wr_rec_cache *c = cache_of(me, kind);
  uint32_t sweeps = wr_load32(&me->s->h->sweeps);
  int full = c->sweeps != sweeps;
  for (uint32_t k = 0; k < c->chunks.n; k++) {
    uint32_t at = c->cursor % c->chunks.n, chunk = c->chunks.v[at];
    c->cursor = at + 1;
    wr_a32 *hint = &me->s->rec_freed[chunk];
    if (!full && atomic_load_explicit(hint, memory_order_relaxed) == 0) continue;
    int rc = make_room(c, kind);
    if (rc < 0) return rc;
    wr_swap32(hint, 0);
    if (collect(me, kind, chunk, full) == WR_OK && !full) return WR_OK;
  }
  c->sweeps = sweeps;
  return c->free.n ? WR_OK : WR_AGAIN;
}

static int own(wr_self *me, uint32_t kind, uint32_t chunk, int repair) {
  wr_rec_cache *c = cache_of(me, kind);
  c->chunks.v[c->chunks.n++] = chunk;
  return collect(me, kind, chunk, repair);
}

static int adopt_orphan(wr_self *me, uint32_t kind) {
  wr_header *h = me->s->h;
  if (wr_load32(&h->rec_orphans) == 0) return WR_AGAIN;
  uint32_t high = wr_load32(&h->rec_high);
  for (uint32_t i = 1; i < high && i < WR_REC_CHUNKS; i++) {
    uint64_t w = wr_load(&me->s->rec_table[i]);
    if (w != WR_REC_WORD(kind, 0)) continue;
    int rc = make_room(cache_of(me, kind), kind);
    if (rc < 0) return rc;
    if (!wr_cas(&me->s->rec_table[i], &w, WR_REC_WORD(kind, me->slot))) continue;
    WR_FAILPOINT("rec.adopt");
    atomic_fetch_sub(&h->rec_orphans, 1);
    if (own(me, kind, i, 1) == WR_OK) return WR_OK;
  }
  return WR_AGAIN;
}

static int claim_chunk(wr_self *me, uint32_t kind, uint32_t *chunk) {
  wr_header *h = me->s->h;
  for (uint32_t i = wr_load32(&h->rec_high); i < WR_REC_CHUNKS; i++) {
    uint64_t none = 0;
    if (!wr_cas(&me->s->rec_table[i], &none, WR_REC_WORD(kind, me->slot))) continue;
    WR_FAILPOINT("rec.claim");
    uint32_t high = wr_load32(&h->rec_high);
    while (high < i + 1 && !wr_cas32(&h->rec_high, &high, i + 1)) {
    }
    wr_os_populate(me->s->recs + (uint64_t)i * WR_CHUNK, WR_CHUNK);
    *chunk = i;
    return WR_OK;
  }
  return WR_LIMIT;
}

static int refill(wr_self *me, uint32_t kind) {
  int rc = scan_own(me, kind);
  if (rc != WR_AGAIN) return rc;
  rc = adopt_orphan(me, kind);
  if (rc != WR_AGAIN) return rc;
  rc = make_room(cache_of(me, kind), kind);
  if (rc < 0) return rc;
  uint32_t chunk;
  rc = claim_chunk(me, kind, &chunk);
  return rc < 0 ? rc : own(me, kind, chunk, 0);
}

int wr_rec_alloc(wr_self *me, enum wr_rec_kind kind, wr_idx *out) {
  wr_rec_cache *c = cache_of(me, kind);
  if (WR_UNLIKELY(c->free.n == 0)) {
    int rc = refill(me, kind);
    if (rc < 0) return rc;
  }
  *out = c->free.v[--c->free.n];
  WR_ASSERT(WR_GUARDED || record_is_free(me, kind, *out));
  return WR_OK;
}

wr_idx wr_rec_next(wr_self *me, enum wr_rec_kind kind) {
  const wr_rec_cache *c = cache_of(me, kind);
  return c->free.n ? c->free.v[c->free.n - 1] : 0;
}

void wr_rec_release(wr_self *me, wr_idx idx) {
  uint64_t w = wr_load(wr_rec_word(me->s, idx));
  WR_FAILPOINT("rec.release");
  if (WR_REC_SLOT(w) != me->slot || wr_vec32_push(&cache_of(me, WR_REC_KIND(w))->free, idx) < 0)
    atomic_fetch_add_explicit(wr_rec_freed(me->s, idx), 1, memory_order_release);
}

int wr_rec_hold_chunk(wr_self *me, uint32_t *chunk) {
  wr_header *h = me->s->h;
  uint32_t high = wr_load32(&h->rec_high);
  int found = 0, rc = wr_vec32_grow(&me->hold_chunks, me->hold_chunks.n + 1);
  if (rc < 0) return rc;
  for (uint32_t i = 1; wr_load32(&h->rec_orphans) && i < high && i < WR_REC_CHUNKS && !found; i++) {
    uint64_t w = WR_REC_WORD(WR_REC_HOLDS, 0);
    if (wr_load(&me->s->rec_table[i]) == w &&
        wr_cas(&me->s->rec_table[i], &w, WR_REC_WORD(WR_REC_HOLDS, me->slot))) {
      atomic_fetch_sub(&h->rec_orphans, 1);
      *chunk = i;
      found = 1;
    }
  }
  if (!found) rc = claim_chunk(me, WR_REC_HOLDS, chunk);
  if (rc < 0) return rc;
  memset(me->s->recs + (uint64_t)*chunk * WR_CHUNK, 0, WR_CHUNK);
  return wr_vec32_push(&me->hold_chunks, *chunk);
}
