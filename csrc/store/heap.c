#include "store/heap.h"

#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "os/os.h"

static const uint32_t class_size[WR_HEAP_CLASSES] = {
    64,   128,  192,  256,  384,   512,   768,   1024,  1536,   2048,
    3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 65536, WR_HEAP_BLOCK_MAX};
#define SMALL_SPAN_MAX 4096u /* blocks up to this size come from spans of one chunk */
#define BIG_SPAN_CHUNKS 16u

wr_span_geometry wr_heap_geometry(uint32_t class) {
  wr_span_geometry g;
  g.block = class_size[class];
  g.chunks = g.block <= SMALL_SPAN_MAX ? 1 : BIG_SPAN_CHUNKS;
  uint64_t bytes = g.chunks * WR_CHUNK;
  g.n = (uint32_t)((bytes - 64) / (g.block + 8));
  g.first = (g.n * 8 + 63) / 64 * 64;
  WR_ASSERT(g.first + (uint64_t)g.n * g.block <= bytes);
  return g;
}

static uint32_t class_of(uint64_t size) {
  uint32_t c = 0;
  while (class_size[c] < size) c++;
  return c;
}

static uint64_t chunk_off(wr_seg *s, uint32_t chunk) {
  return s->heap_off + (uint64_t)chunk * WR_CHUNK;
}

static uint32_t chunk_at(wr_seg *s, uint64_t off) {
  return (uint32_t)((off - s->heap_off) >> WR_CHUNK_SHIFT);
}

wr_a64 *wr_heap_owners(wr_seg *s, uint32_t chunk) { return wr_at(s, chunk_off(s, chunk)); }

/* ---- runs ---------------------------------------------------------------------------------- */

/* Who has not seen yet that it is lower again claims more; nothing depends on it. */
static uint64_t claimable(wr_seg *s) {
  uint64_t limit = wr_load_relaxed(&s->h->heap_limit);
  return limit < s->heap_chunks ? limit : s->heap_chunks;
}

/* What is cut off a run may have been claimed by one process and left to another: its first chunk
 * alone names the owner. */
static int is_inner(uint64_t w, uint32_t first) {
  return WR_HEAP_KIND(w) == WR_HEAP_INNER && WR_HEAP_HIGH(w) == first;
}

static void unclaim(wr_seg *s, uint32_t first, uint32_t n, uint64_t first_word) {
  for (uint32_t i = n; i-- > 1;) {
    uint64_t w = wr_load(&s->heap_table[first + i]);
    if (is_inner(w, first)) (void)wr_cas(&s->heap_table[first + i], &w, 0);
    WR_FAILPOINT("heap.unclaim");
  }
  (void)wr_cas(&s->heap_table[first], &first_word, 0);
  WR_FAILPOINT("heap.run.freed");
}

/* Sweeps look no further than heap_high: it is raised before the first chunk is claimed. */
static void raise_high(wr_seg *s, uint64_t to) {
  uint64_t high = wr_load_relaxed(&s->h->heap_high);
  while (high < to && !wr_cas(&s->h->heap_high, &high, to)) {
  }
}

/* Claims chunks [first, first + n); on a conflict gives all back and says where it was. */
static int claim(wr_self *me, uint32_t first, uint32_t n, uint64_t word, uint32_t *conflict) {
  uint64_t zero = 0;
  raise_high(me->s, (uint64_t)first + n);
  if (!wr_cas(&me->s->heap_table[first], &zero, word)) {
    *conflict = first;
    return WR_AGAIN;
  }
  WR_FAILPOINT("heap.run.first");
  for (uint32_t i = 1; i < n; i++) {
    WR_FAILPOINT("heap.claim");
    zero = 0;
    if (!wr_cas(&me->s->heap_table[first + i], &zero,
                WR_HEAP_WORD(WR_HEAP_INNER, me->slot, 0, first))) {
      *conflict = first + i;
      unclaim(me->s, first, i, word);
      return WR_AGAIN;
    }
  }
  return WR_OK;
}

/* Runs freed here lately are still mapped and warm: try them first. */
static int claim_warm(wr_self *me, uint32_t n, uint64_t word, uint32_t *first) {
  uint64_t limit = claimable(me->s);
  for (uint32_t k = me->warm.n; k-- > 0;) {
    uint32_t at = (uint32_t)me->warm.v[k], len = (uint32_t)(me->warm.v[k] >> 32), conflict;
    if (len < n || at + n > limit) continue;
    int rc = claim(me, at, n, word, &conflict);
    if (rc == WR_OK && len > n)
      me->warm.v[k] = (uint64_t)(at + n) | (uint64_t)(len - n) << 32;
    else
      me->warm.v[k] = me->warm.v[--me->warm.n];
    if (rc == WR_OK) {
      *first = at;
      return WR_OK;
    }
  }
  return WR_AGAIN;
}

static int claim_anywhere(wr_self *me, uint32_t n, uint64_t word, uint32_t *first) {
  wr_seg *s = me->s;
  uint64_t total = claimable(s), run = 0;
  uint64_t low = wr_load_relaxed(&s->h->heap_low), seen_low = total;
  if (low > total) low = 0;
  for (int pass = 0; pass < 2; pass++, low = 0) {
    run = 0;
    for (uint64_t i = low; i < total; i++) {
      if (wr_load_relaxed(&s->heap_table[i]) != 0) {
        run = 0;
        continue;
      }
      if (seen_low == total) seen_low = i;
      if (++run < n) continue;
      uint32_t conflict, at = (uint32_t)(i + 1 - n);
      if (claim(me, at, n, word, &conflict) == WR_OK) {
        wr_store_relaxed(&s->h->heap_low, seen_low == at ? at + n : seen_low);
        *first = at;
        return WR_OK;
      }
      run = 0;
      i = conflict;
    }
    if (low == 0) break;
  }
  return WR_FULL;
}

static uint32_t release_spans(wr_self *me);

static int try_claim_run(wr_self *me, uint32_t n, uint64_t word, uint32_t *first) {
  if (claim_warm(me, n, word, first) == WR_OK) return WR_OK;
  int rc = claim_anywhere(me, n, word, first);
  if (rc != WR_FULL) return rc;
  atomic_fetch_add(&me->s->h->room_wanted, 1); /* others give up what they can, too */
  return release_spans(me) ? claim_anywhere(me, n, word, first) : WR_FULL;
}

/* Room is being made for another process, which has waited for long; whiprayd claims all the same,
 * to bring back what others have been promised. */
static int has_to_wait(const wr_self *me, uint32_t turn) {
  return turn != me->slot && WR_PROC_ROLE(wr_load(&me->p->state)) != WR_ROLE_DAEMON;
}

static int claim_run(wr_self *me, uint32_t n, uint64_t word, uint32_t *first) {
  uint32_t turn = wr_load32(&me->s->h->room_turn);
  if (n > me->s->heap_chunks) return WR_FULL;
  if (WR_UNLIKELY(turn) && has_to_wait(me, turn)) return WR_FULL;
  int rc = try_claim_run(me, n, word, first);
  if (WR_UNLIKELY(turn) && rc == WR_OK && turn == me->slot)
    (void)wr_cas32(&me->s->h->room_turn, &turn, 0);
  return rc;
}

static void freed_below(wr_seg *s, uint32_t chunk) {
  uint64_t low = wr_load_relaxed(&s->h->heap_low);
  while (chunk < low && !wr_cas(&s->h->heap_low, &low, chunk)) {
  }
}

static uint32_t run_length(wr_seg *s, uint32_t first) {
  uint32_t n = 1;
  while (first + n < s->heap_chunks && is_inner(wr_load(&s->heap_table[first + n]), first)) n++;
  return n;
}

static void free_run(wr_self *me, uint32_t first, uint64_t word) {
  wr_seg *s = me->s;
  uint32_t n = run_length(s, first);
  unclaim(s, first, n, word);
  freed_below(s, first);
  if (me->warm.n >= 16) memmove(me->warm.v, me->warm.v + 1, --me->warm.n * sizeof *me->warm.v);
  (void)wr_vec64_push(&me->warm, (uint64_t)first | (uint64_t)n << 32);
}

/* ---- spans --------------------------------------------------------------------------------- */

/* For one span more and its blocks, before anything is claimed: a refusal then loses nothing. */
static int make_room(wr_span_cache *c, uint32_t class) {
  int rc = wr_vec32_grow(&c->spans, c->spans.n + 1);
  return rc < 0 ? rc : wr_vec64_grow(&c->free, c->free.n + wr_heap_geometry(class).n);
}

/* Adds the free blocks of a span to the cache, which has room. */
static int collect_span(wr_self *me, uint32_t class, uint32_t chunk) {
  wr_span_geometry g = wr_heap_geometry(class);
  wr_span_cache *c = &me->spans[class];
  wr_a64 *owner = wr_heap_owners(me->s, chunk);
  uint64_t base = chunk_off(me->s, chunk) + g.first;
  uint32_t before = c->free.n;
  for (uint32_t i = g.n; i-- > 0;)
    if (wr_load(&owner[i]) == 0) c->free.v[c->free.n++] = base + (uint64_t)i * g.block;
  return c->free.n > before ? WR_OK : WR_AGAIN;
}

static int own_span(wr_self *me, uint32_t class, uint32_t chunk) {
  wr_span_cache *c = &me->spans[class];
  c->spans.v[c->spans.n++] = chunk;
  return collect_span(me, class, chunk);
}

static int scan_spans(wr_self *me, uint32_t class) {
  wr_span_cache *c = &me->spans[class];
  uint32_t sweeps = wr_load32(&me->s->h->sweeps);
  int full = c->sweeps != sweeps;
  for (uint32_t k = 0; k < c->spans.n; k++) {
    uint32_t at = c->cursor % c->spans.n, chunk = c->spans.v[at];
    c->cursor = at + 1;
    wr_a32 *hint = &me->s->heap_freed[chunk];
    if (!full && atomic_load_explicit(hint, memory_order_relaxed) == 0) continue;
    int rc = make_room(c, class);
    if (rc < 0) return rc;
    wr_swap32(hint, 0);
    if (collect_span(me, class, chunk) == WR_OK && !full) return WR_OK;
  }
  c->sweeps = sweeps;
  return c->free.n ? WR_OK : WR_AGAIN;
}

static int adopt_span(wr_self *me, uint32_t class) {
  wr_seg *s = me->s;
  if (wr_load32(&s->h->heap_orphans) == 0) return WR_AGAIN;
  uint64_t high = wr_load(&s->h->heap_high);
  for (uint64_t i = 0; i < high && i + wr_heap_geometry(class).chunks <= s->heap_chunks; i++) {
    uint64_t w = WR_HEAP_WORD(WR_HEAP_SPAN, 0, class, 0);
    if (wr_load(&s->heap_table[i]) != w) continue;
    int rc = make_room(&me->spans[class], class);
    if (rc < 0) return rc;
    if (!wr_cas(&s->heap_table[i], &w, WR_HEAP_WORD(WR_HEAP_SPAN, me->slot, class, 0))) continue;
    atomic_fetch_sub(&s->h->heap_orphans, 1);
    if (own_span(me, class, (uint32_t)i) == WR_OK) return WR_OK;
  }
  return WR_AGAIN;
}

/* While its owner words are cleared the chunk is a run without owner, so that a death in between
 * leaves something a sweep frees. */
static int new_span(wr_self *me, uint32_t class) {
  wr_seg *s = me->s;
  wr_span_geometry g = wr_heap_geometry(class);
  uint64_t raw = WR_HEAP_WORD(WR_HEAP_RUN, me->slot, 0, 0);
  uint32_t first;
  int rc = make_room(&me->spans[class], class);
  if (rc == WR_OK) rc = claim_run(me, g.chunks, raw, &first);
  if (rc < 0) return rc;
  WR_FAILPOINT("heap.span.raw");
  wr_os_populate(wr_at(s, chunk_off(s, first)), g.chunks == 1 ? WR_CHUNK : g.first);
  memset(wr_at(s, chunk_off(s, first)), 0, g.first);
  wr_store32(&s->heap_freed[first], 0);
  wr_store(&s->heap_table[first], WR_HEAP_WORD(WR_HEAP_SPAN, me->slot, class, 0));
  return own_span(me, class, first);
}

/* ---- giving spans back ----------------------------------------------------------------------- */

static int span_is_empty(wr_seg *s, uint32_t first, uint32_t class) {
  wr_span_geometry g = wr_heap_geometry(class);
  wr_a64 *owner = wr_heap_owners(s, first);
  for (uint32_t i = 0; i < g.n; i++)
    if (wr_load(&owner[i]) != 0) return 0;
  return 1;
}

/* A span without a block becomes a run of ours that no record owns, which a sweep would free. */
static uint32_t dissolve(wr_self *me, uint32_t first, uint32_t class, uint32_t slot) {
  uint64_t word = WR_HEAP_WORD(WR_HEAP_SPAN, slot, class, 0);
  uint64_t raw = WR_HEAP_WORD(WR_HEAP_RUN, me->slot, 0, 0);
  if (!wr_cas(&me->s->heap_table[first], &word, raw)) return 0;
  WR_FAILPOINT("heap.span.empty");
  free_run(me, first, raw);
  return wr_heap_geometry(class).chunks;
}

static void forget_blocks(wr_self *me, uint32_t first, uint32_t class) {
  wr_vec64 *free = &me->spans[class].free;
  uint64_t from = chunk_off(me->s, first), to = from + wr_heap_geometry(class).chunks * WR_CHUNK;
  uint32_t left = 0;
  for (uint32_t i = 0; i < free->n; i++)
    if (free->v[i] < from || free->v[i] >= to) free->v[left++] = free->v[i];
  free->n = left;
}

/* Own spans and orphans that hold no block; returns how many chunks that made free. */
static uint32_t release_spans(wr_self *me) {
  wr_seg *s = me->s;
  uint32_t freed = 0;
  for (uint32_t class = 0; class < WR_HEAP_CLASSES; class++) {
    wr_vec32 *spans = &me->spans[class].spans;
    for (uint32_t k = spans->n; k-- > 0;) {
      uint32_t first = spans->v[k];
      if (!span_is_empty(s, first, class)) continue;
      forget_blocks(me, first, class);
      spans->v[k] = spans->v[--spans->n];
      freed += dissolve(me, first, class, me->slot);
    }
  }
  uint64_t high = wr_load(&s->h->heap_high);
  for (uint32_t i = 0; wr_load32(&s->h->heap_orphans) && i < high && i < s->heap_chunks; i++) {
    uint64_t w = wr_load(&s->heap_table[i]);
    if (WR_HEAP_KIND(w) != WR_HEAP_SPAN || WR_HEAP_SLOT(w) || WR_HEAP_LOW(w) >= WR_HEAP_CLASSES ||
        !span_is_empty(s, i, WR_HEAP_LOW(w)))
      continue;
    uint32_t chunks = dissolve(me, i, WR_HEAP_LOW(w), 0);
    if (chunks) atomic_fetch_sub(&s->h->heap_orphans, 1);
    freed += chunks;
  }
  return freed;
}

void wr_heap_make_room(wr_self *me) {
  uint32_t wanted = wr_load32(&me->s->h->room_wanted);
  if (WR_LIKELY(wanted == me->room_seen)) return;
  me->room_seen = wanted;
  (void)release_spans(me);
}

static wr_a64 *block_owner(wr_seg *s, uint32_t span, uint32_t class, uint64_t off) {
  wr_span_geometry g = wr_heap_geometry(class);
  uint64_t rel = off - chunk_off(s, span);
  if (rel < g.first || (rel - g.first) % g.block) return NULL;
  uint64_t i = (rel - g.first) / g.block;
  return i < g.n ? &wr_heap_owners(s, span)[i] : NULL;
}

static int alloc_block(wr_self *me, uint32_t class, wr_idx idx, uint32_t gen, uint64_t *off) {
  wr_span_cache *c = &me->spans[class];
  if (c->free.n == 0) {
    int rc = scan_spans(me, class);
    if (rc == WR_AGAIN) rc = adopt_span(me, class);
    if (rc == WR_AGAIN) rc = new_span(me, class);
    if (rc < 0) return rc;
  }
  *off = c->free.v[--c->free.n];
  wr_seg *s = me->s;
  uint32_t chunk = chunk_at(s, *off);
  uint64_t w = wr_load(&s->heap_table[chunk]);
  uint32_t span = WR_HEAP_KIND(w) == WR_HEAP_INNER ? WR_HEAP_HIGH(w) : chunk;
  wr_a64 *owner = block_owner(s, span, class, *off);
  if (WR_GUARDED && (!owner || span >= s->heap_chunks)) return WR_FULL; /* the table lies */
  wr_store(owner, WR_OWNER(idx, gen));
  WR_FAILPOINT("heap.block");
  return WR_OK;
}

/* ---- both ---------------------------------------------------------------------------------- */

int wr_heap_alloc(wr_self *me, uint64_t size, wr_idx idx, uint32_t gen, uint64_t *off) {
  if (size <= WR_HEAP_BLOCK_MAX) {
    int rc = alloc_block(me, class_of(size), idx, gen, off);
    if (rc != WR_FULL) return rc;
  }
  if (size > me->s->heap_chunks * WR_CHUNK) return WR_FULL;
  uint32_t n = (uint32_t)((size + WR_CHUNK - 1) / WR_CHUNK), first;
  int rc = claim_run(me, n, WR_HEAP_WORD(WR_HEAP_RUN, me->slot, gen, idx), &first);
  if (rc < 0) return rc;
  *off = chunk_off(me->s, first);
  return WR_OK;
}

/* Finds the span or run that off lies in: its first chunk and that chunk's word; 0 if none. */
static uint64_t locate(wr_seg *s, uint64_t off, uint32_t *first) {
  if (off < s->heap_off || off >= s->size) return 0;
  *first = chunk_at(s, off);
  uint64_t w = wr_load(&s->heap_table[*first]);
  if (WR_HEAP_KIND(w) == WR_HEAP_INNER) {
    *first = WR_HEAP_HIGH(w);
    if (*first >= s->heap_chunks) return 0;
    w = wr_load(&s->heap_table[*first]);
  }
  return w;
}

static int owns_run(wr_seg *s, uint32_t first, uint64_t w, uint64_t off, wr_idx idx, uint32_t gen) {
  return off == chunk_off(s, first) && WR_HEAP_HIGH(w) == idx && WR_HEAP_LOW(w) == (gen & 0xFFFF);
}

int wr_heap_owned(wr_seg *s, uint64_t off, wr_idx idx, uint32_t gen) {
  uint32_t first = 0;
  uint64_t w = locate(s, off, &first);
  if (WR_HEAP_KIND(w) == WR_HEAP_RUN) return owns_run(s, first, w, off, idx, gen);
  if (WR_HEAP_KIND(w) != WR_HEAP_SPAN || WR_HEAP_LOW(w) >= WR_HEAP_CLASSES) return 0;
  wr_a64 *o = block_owner(s, first, WR_HEAP_LOW(w), off);
  return o && wr_load(o) == WR_OWNER(idx, gen);
}

void wr_heap_free(wr_self *me, uint64_t off, wr_idx idx, uint32_t gen) {
  wr_seg *s = me->s;
  uint32_t first = 0;
  uint64_t w = locate(s, off, &first);
  if (WR_HEAP_KIND(w) == WR_HEAP_RUN) {
    if (owns_run(s, first, w, off, idx, gen)) free_run(me, first, w);
    return;
  }
  if (WR_HEAP_KIND(w) != WR_HEAP_SPAN || WR_HEAP_LOW(w) >= WR_HEAP_CLASSES) return;
  wr_a64 *o = block_owner(s, first, WR_HEAP_LOW(w), off);
  uint64_t owner = WR_OWNER(idx, gen);
  if (!o || !wr_cas(o, &owner, 0)) return;
  WR_FAILPOINT("heap.freed");
  if (WR_HEAP_SLOT(w) != me->slot || wr_vec64_push(&me->spans[WR_HEAP_LOW(w)].free, off) < 0)
    atomic_fetch_add_explicit(&s->heap_freed[first], 1, memory_order_release);
}

int wr_heap_pass(wr_seg *s, uint64_t off, wr_idx idx, uint32_t gen, wr_idx to, uint32_t to_gen) {
  uint32_t first = 0;
  uint64_t w = locate(s, off, &first);
  if (WR_HEAP_KIND(w) == WR_HEAP_RUN)
    return owns_run(s, first, w, off, idx, gen) &&
           wr_cas(&s->heap_table[first], &w,
                  WR_HEAP_WORD(WR_HEAP_RUN, WR_HEAP_SLOT(w), to_gen, to));
  if (WR_HEAP_KIND(w) != WR_HEAP_SPAN || WR_HEAP_LOW(w) >= WR_HEAP_CLASSES) return 0;
  wr_a64 *o = block_owner(s, first, WR_HEAP_LOW(w), off);
  uint64_t owner = WR_OWNER(idx, gen);
  return o && wr_cas(o, &owner, WR_OWNER(to, to_gen));
}

/* ---- loose runs ---------------------------------------------------------------------------- */

static uint64_t loose_word(const wr_self *me) {
  return WR_HEAP_WORD(WR_HEAP_RUN, me->slot, 0, 0);
}

int wr_heap_loose(wr_self *me, uint64_t size, uint64_t *off) {
  if (size > me->s->heap_chunks * WR_CHUNK) return WR_FULL;
  uint32_t n = (uint32_t)((size + WR_CHUNK - 1) / WR_CHUNK), first;
  int rc = claim_run(me, n, loose_word(me), &first);
  if (rc == WR_OK) *off = chunk_off(me->s, first);
  return rc;
}

int wr_heap_give(wr_self *me, uint64_t off, wr_idx idx, uint32_t gen) {
  uint64_t word = loose_word(me);
  uint64_t owned = WR_HEAP_WORD(WR_HEAP_RUN, me->slot, gen, idx);
  int ok = wr_cas(&me->s->heap_table[chunk_at(me->s, off)], &word, owned);
  WR_FAILPOINT("heap.given");
  return ok ? WR_OK : WR_STATE;
}

void wr_heap_drop(wr_self *me, uint64_t off) {
  uint32_t first = chunk_at(me->s, off);
  if (wr_load(&me->s->heap_table[first]) == loose_word(me)) free_run(me, first, loose_word(me));
}

uint64_t wr_heap_chunks_used(wr_seg *s) {
  uint64_t used = 0, high = wr_load(&s->h->heap_high);
  for (uint64_t i = 0; i < high && i < s->heap_chunks; i++)
    used += wr_load_relaxed(&s->heap_table[i]) != 0;
  return used;
}
