#include "shm/ring.h"

#include "base/failpoint.h"
#include "base/status.h"

#define FULL ((uint64_t)1 << 32)

/* word: value:32 | full:1 | lap:31 */
static uint64_t lap_of(uint64_t pos, uint64_t cap) { return (pos / cap) & 0x7FFFFFFF; }
static uint64_t word_empty(uint64_t lap) { return (lap & 0x7FFFFFFF) << 33; }
static uint64_t word_full(uint64_t lap, uint32_t v) { return word_empty(lap) | FULL | v; }
static uint64_t word_lap(uint64_t w) { return w >> 33; }

/* Where the words of a ring are and how many; the daemon knows it from the ring's place. */
static wr_a64 *words(wr_seg *s, const wr_ring *r, uint64_t *cap) {
  if (!WR_GUARDED) {
    *cap = r->cap;
    return wr_at(s, r->off);
  }
  uint64_t i = (uint64_t)((const uint8_t *)r - (const uint8_t *)s->shapes) / sizeof(wr_shape);
  int overflow = i < WR_MAX_SHAPES && r == &s->shapes[i].overflow;
  *cap = overflow ? wr_ring_overflow_cap((uint32_t)i) : WR_RING_SHORT;
  if (i >= WR_MAX_SHAPES) return (wr_a64 *)(void *)wr_pit;
  return wr_at(s, s->rings_off + (wr_ring_words((uint32_t)i) + (overflow ? WR_RING_SHORT : 0)) * 8);
}

void wr_ring_init(wr_ring *r, uint64_t off, uint64_t cap) {
  wr_store(&r->head, 0);
  wr_store(&r->tail, 0);
  r->off = off;
  r->cap = cap;
}

void wr_ring_open(wr_seg *s, uint32_t shape) {
  wr_shape *sh = &s->shapes[shape];
  uint64_t at = s->rings_off + wr_ring_words(shape) * 8;
  if (sh->ready.cap) return;
  wr_ring_init(&sh->ready, at, WR_RING_SHORT);
  wr_ring_init(&sh->overflow, at + (uint64_t)WR_RING_SHORT * 8, wr_ring_overflow_cap(shape));
}

static void move_on(wr_a64 *hint, uint64_t from) { (void)wr_cas(hint, &from, from + 1); }

int wr_ring_put(wr_seg *s, wr_ring *r, uint32_t value) {
  uint64_t cap;
  wr_a64 *w = words(s, r, &cap);
  for (;;) {
    uint64_t t = wr_load(&r->tail), lap = lap_of(t, cap);
    wr_a64 *slot = &w[t & (cap - 1)];
    uint64_t e = wr_load(slot);
    if (e == word_empty(lap)) {
      if (!wr_cas(slot, &e, word_full(lap, value))) continue;
      WR_FAILPOINT("ring.put.word");
      move_on(&r->tail, t);
      return WR_OK;
    }
    if (t != wr_load(&r->tail)) continue;
    if (word_lap(e) == lap || word_lap(e) == ((lap + 1) & 0x7FFFFFFF))
      move_on(&r->tail, t); /* put here already (and perhaps taken) */
    else
      return WR_FULL; /* still holds the value of the lap before */
  }
}

int wr_ring_take(wr_seg *s, wr_ring *r, uint32_t *value, wr_a32 *hand) {
  uint64_t cap;
  wr_a64 *w = words(s, r, &cap);
  for (;;) {
    uint64_t h = wr_load(&r->head), lap = lap_of(h, cap);
    wr_a64 *slot = &w[h & (cap - 1)];
    uint64_t e = wr_load(slot);
    if ((e & FULL) && word_lap(e) == lap) {
      wr_store32(hand, (uint32_t)e);
      if (!wr_cas(slot, &e, word_empty(lap + 1))) continue;
      WR_FAILPOINT("ring.take.word");
      move_on(&r->head, h);
      *value = (uint32_t)e;
      return WR_OK;
    }
    if (h != wr_load(&r->head)) continue;
    if (word_lap(e) == ((lap + 1) & 0x7FFFFFFF)) {
      move_on(&r->head, h); /* taken already */
      continue;
    }
    wr_store32(hand, 0);
    return WR_AGAIN;
  }
}

uint32_t wr_ring_peek(wr_seg *s, const wr_ring *r, uint64_t pos) {
  uint64_t cap;
  const wr_a64 *w = words(s, r, &cap);
  return (uint32_t)wr_load(&w[pos & (cap - 1)]);
}

uint64_t wr_ring_len(const wr_ring *r) {
  uint64_t t = wr_load_relaxed(&r->tail), h = wr_load_relaxed(&r->head);
  return t > h ? t - h : 0;
}

int wr_ring_empty(wr_seg *s, wr_ring *r) {
  uint64_t cap;
  const wr_a64 *w = words(s, r, &cap);
  for (;;) {
    uint64_t h = wr_load(&r->head), lap = lap_of(h, cap);
    uint64_t e = wr_load(&w[h & (cap - 1)]);
    if ((e & FULL) && word_lap(e) == lap) return 0;
    if (h != wr_load(&r->head)) continue;
    if (word_lap(e) != ((lap + 1) & 0x7FFFFFFF)) return 1;
    move_on(&r->head, h);
  }
}
