/* Memory for values: blocks of size classes in spans, and runs of whole chunks. */
#include "engine.h"

#include "base/mem.h"
#include "base/status.h"
#include "shm/ring.h"
#include "store/heap.h"

#define MIB ((uint64_t)1 << 20)
enum { GEN = 3 };

static uint64_t take(wr_self *me, uint64_t size, wr_idx idx) {
  uint64_t off = 0;
  CHECK_EQ(wr_heap_alloc(me, size, idx, GEN, &off), WR_OK);
  CHECK_EQ(off % 64, 0);
  CHECK(off >= me->s->h->heap && off + size <= me->s->h->size);
  CHECK(wr_heap_owned(me->s, off, idx, GEN));
  return off;
}

static uint32_t chunk_of(const wr_seg *s, uint64_t off) {
  return (uint32_t)((off - s->h->heap) >> WR_CHUNK_SHIFT);
}

static void fill(const wr_seg *s, uint64_t off, uint64_t size, uint32_t mark) {
  memset(wr_at(s, off), (int)(mark & 0xFF), size);
}

static void check_filled(const wr_seg *s, uint64_t off, uint64_t size, uint32_t mark) {
  const uint8_t *p = wr_at(s, off);
  CHECK_EQ(p[0], (uint8_t)mark);
  CHECK_MSG(memcmp(p, p + 1, size - 1) == 0, "the block of %u", mark);
}

/* Chunks in use, whatever is said to have been used. */
static uint32_t used(wr_seg *s) {
  uint32_t n = 0;
  for (uint32_t c = 0; c < s->heap_chunks; c++) n += wr_load(&s->heap_table[c]) != 0;
  return n;
}

TEST(spans_hold_what_they_promise) {
  uint32_t last = 0;
  for (uint32_t class = 0; class < WR_HEAP_CLASSES; class++) {
    wr_span_geometry g = wr_heap_geometry(class);
    CHECK_GT(g.block, last);
    CHECK(g.n > 0 && g.first % 64 == 0 && g.block % 64 == 0);
    CHECK_GE(g.first, g.n * 8);
    CHECK_LE(g.first + (uint64_t)g.n * g.block, g.chunks * WR_CHUNK);
    last = g.block;
  }
  CHECK_EQ(last, WR_HEAP_BLOCK_MAX);
}

TEST(blocks_of_all_sizes_stay_apart) {
  enum { PER = 40 };
  engine e;
  uint64_t off[WR_HEAP_CLASSES * 3][PER], size[WR_HEAP_CLASSES * 3];
  engine_open(&e, 256 * MIB);
  for (uint32_t k = 0; k < WR_HEAP_CLASSES * 3; k++) {
    size[k] = wr_heap_geometry(k / 3).block - 1 + k % 3; /* around each limit */
    for (uint32_t i = 0; i < PER; i++) {
      off[k][i] = take(&e.me, size[k], k * PER + i + 1);
      fill(&e.s, off[k][i], size[k], k * PER + i);
    }
  }
  for (uint32_t k = 0; k < WR_HEAP_CLASSES * 3; k++)
    for (uint32_t i = 0; i < PER; i++) {
      check_filled(&e.s, off[k][i], size[k], k * PER + i);
      wr_heap_free(&e.me, off[k][i], k * PER + i + 1, GEN);
    }
  engine_close(&e);
}

TEST(an_empty_value_has_a_place) {
  engine e;
  engine_open(&e, MIB);
  CHECK_NE(take(&e.me, 0, 1), take(&e.me, 0, 2));
  engine_close(&e);
}

TEST(only_the_owner_frees_and_only_once) {
  const uint64_t sizes[] = {100, 5000, 200000};
  engine e;
  engine_open(&e, 4 * MIB);
  for (int k = 0; k < 3; k++) {
    uint64_t off = take(&e.me, sizes[k], 7), again;
    CHECK(!wr_heap_owned(&e.s, off, 8, GEN));
    CHECK(!wr_heap_owned(&e.s, off, 7, GEN + 1));
    CHECK(!wr_heap_owned(&e.s, off + 64, 7, GEN));
    CHECK(!wr_heap_owned(&e.s, off + 1, 7, GEN));
    wr_heap_free(&e.me, off, 8, GEN);
    wr_heap_free(&e.me, off, 7, GEN + 1);
    wr_heap_free(&e.me, off + 1, 7, GEN);
    CHECK(wr_heap_owned(&e.s, off, 7, GEN));
    wr_heap_free(&e.me, off, 7, GEN);
    CHECK(!wr_heap_owned(&e.s, off, 7, GEN));
    again = take(&e.me, sizes[k], 9);
    CHECK_EQ(again, off);
    wr_heap_free(&e.me, off, 7, GEN); /* the last owner, late */
    CHECK(wr_heap_owned(&e.s, off, 9, GEN));
  }
  const uint64_t nowhere[] = {0, e.s.h->heap - 64, e.s.h->size, UINT64_MAX, e.s.h->size - 64};
  for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
    CHECK(!wr_heap_owned(&e.s, nowhere[i], 7, GEN));
    wr_heap_free(&e.me, nowhere[i], 7, GEN);
  }
  engine_close(&e);
}

/* ---- runs ---------------------------------------------------------------------------------- */

TEST(runs_take_whole_chunks_and_give_them_back) {
  engine e;
  engine_open(&e, 16 * MIB);
  for (uint32_t n = 3; n < 100; n += 7) {
    uint64_t off = take(&e.me, n * WR_CHUNK - 1, 5);
    CHECK_EQ(used(&e.s), n);
    CHECK_EQ(wr_heap_chunks_used(&e.s), n);
    wr_heap_free(&e.me, off, 5, GEN);
    CHECK_EQ(used(&e.s), 0);
  }
  engine_close(&e);
}

enum { CHUNKS = 65, RUN = 5 };

/* Frees every second of the runs that fill the heap, by place. */
static void give_alternate(engine *e, const uint64_t *off, uint32_t n, uint32_t parity) {
  for (uint32_t i = 0; i < n; i++)
    if (chunk_of(&e->s, off[i]) / RUN % 2 == parity) wr_heap_free(&e->me, off[i], i + 1, GEN);
}

TEST(the_heap_has_an_end) {
  engine e;
  uint64_t off[CHUNKS], none = 1;
  engine_open(&e, CHUNKS * WR_CHUNK);
  for (uint32_t round = 0; round < 3; round++) {
    uint32_t n = 0;
    while (wr_heap_alloc(&e.me, RUN * WR_CHUNK, n + 1, GEN, &off[n]) == WR_OK) n++;
    CHECK_EQ(n, CHUNKS / RUN);
    CHECK_EQ(wr_heap_alloc(&e.me, RUN * WR_CHUNK, 99, GEN, &none), WR_FULL);
    CHECK_EQ(none, 1);
    give_alternate(&e, off, n, round % 2);
    CHECK_EQ(wr_heap_alloc(&e.me, (RUN + 1) * WR_CHUNK, 99, GEN, &none), WR_FULL); /* in pieces */
    give_alternate(&e, off, n, 1 - round % 2);
    CHECK_EQ(used(&e.s), 0);
  }
  CHECK_EQ(wr_heap_alloc(&e.me, CHUNKS * WR_CHUNK + 1, 99, GEN, &none), WR_FULL);
  CHECK_EQ(wr_heap_alloc(&e.me, UINT64_MAX, 99, GEN, &none), WR_FULL);
  off[0] = take(&e.me, CHUNKS * WR_CHUNK, 1);
  CHECK_EQ(off[0], e.s.h->heap);
  CHECK_EQ(wr_heap_alloc(&e.me, 1, 99, GEN, &none), WR_FULL);
  wr_heap_free(&e.me, off[0], 1, GEN);
  engine_close(&e);
}

/* Where no span of its class fits any more, a block takes a run. */
TEST(blocks_without_room_for_a_span_take_runs) {
  engine e;
  engine_open(&e, 4 * WR_CHUNK);
  uint64_t a = take(&e.me, 50000, 1), b = take(&e.me, 100000, 2);
  CHECK_EQ(used(&e.s), 3);
  fill(&e.s, a, 50000, 1);
  fill(&e.s, b, 100000, 2);
  check_filled(&e.s, a, 50000, 1);
  wr_heap_free(&e.me, a, 1, GEN);
  wr_heap_free(&e.me, b, 2, GEN);
  CHECK_EQ(used(&e.s), 0);
  engine_close(&e);
}

TEST(runs_freed_here_are_used_first_and_split) {
  engine e;
  engine_open(&e, 16 * MIB);
  uint64_t hole = take(&e.me, 4 * WR_CHUNK, 1), big = take(&e.me, 10 * WR_CHUNK, 2);
  wr_self other;
  engine_join(&e, &other, ENGINE_PEER);
  wr_heap_free(&other, hole, 1, GEN); /* warm for the other, cold and lower for us */
  wr_heap_free(&e.me, big, 2, GEN);
  CHECK_EQ(take(&e.me, 4 * WR_CHUNK, 3), big);
  CHECK_EQ(take(&e.me, 4 * WR_CHUNK, 4), big + 4 * WR_CHUNK);
  CHECK_EQ(take(&other, 3 * WR_CHUNK, 5), hole);
  /* Two chunks are left of ours: somebody else takes them, and what is warm is only a hint. */
  uint64_t rest = take(&other, 4 * WR_CHUNK, 6);
  CHECK_EQ(rest, big + 8 * WR_CHUNK);
  CHECK_GE(take(&e.me, 2 * WR_CHUNK + 63 * 1024, 7), rest + 4 * WR_CHUNK);
  CHECK_EQ(used(&e.s), 4 + 4 + 3 + 4 + 3);
  wr_self_close(&other);
  engine_close(&e);
}

TEST(many_warm_runs_are_forgotten_and_not_lost) {
  enum { RUNS = 40 };
  engine e;
  uint64_t off[RUNS];
  engine_open(&e, RUNS * 4 * WR_CHUNK);
  for (int round = 0; round < 3; round++) {
    for (uint32_t i = 0; i < RUNS; i++) off[i] = take(&e.me, 4 * WR_CHUNK, i + 1);
    for (uint32_t i = 0; i < RUNS; i++) wr_heap_free(&e.me, off[i], i + 1, GEN);
    CHECK_EQ(used(&e.s), 0);
  }
  engine_close(&e);
}

/* ---- others -------------------------------------------------------------------------------- */

typedef struct {
  uint64_t off[4096], size;
  uint32_t n;
} some;

static void take_some(wr_self *me, some *l) {
  for (uint32_t i = 0; i < l->n; i++) l->off[i] = take(me, l->size, i + 1);
}

static void give_some(wr_self *me, void *arg) {
  const some *l = arg;
  for (uint32_t i = 0; i < l->n; i++) wr_heap_free(me, l->off[i], i + 1, GEN);
}

static void take_some_peer(wr_self *me, void *arg) { take_some(me, arg); }

TEST(the_owner_finds_what_others_freed) {
  const uint64_t sizes[] = {64, 1000, 40000};
  for (int k = 0; k < 3; k++) {
    engine e;
    engine_open(&e, 64 * MIB);
    some *l = engine_shared(sizeof *l);
    l->size = sizes[k];
    l->n = k == 2 ? 60 : 3000;
    take_some(&e.me, l);
    uint32_t before = used(&e.s);
    for (int round = 0; round < 5; round++) {
      check_join(engine_peer(&e, ENGINE_PEER, give_some, l));
      take_some(&e.me, l);
      CHECK_EQ(used(&e.s), before);
    }
    engine_close(&e);
  }
}

/* The spans of the dead go on to whoever needs blocks of their class. */
TEST(orphaned_spans_are_adopted) {
  const uint64_t sizes[] = {200, 20000};
  for (int k = 0; k < 2; k++) {
    engine e;
    engine_open(&e, 16 * MIB);
    some *l = engine_shared(sizeof *l), *m = engine_shared(sizeof *m);
    *m = *l = (some){.size = sizes[k], .n = 30};
    check_join(engine_peer(&e, ENGINE_PEER, take_some_peer, l));
    uint32_t before = used(&e.s);
    engine_sweep(&e, ENGINE_PEER); /* no record names these blocks */
    CHECK_EQ(wr_load32(&e.s.h->heap_orphans), 1);
    for (uint32_t i = 0; i < l->n; i++) CHECK(!wr_heap_owned(&e.s, l->off[i], i + 1, GEN));
    take_some(&e.me, m);
    CHECK_EQ(used(&e.s), before);
    CHECK_EQ(wr_load32(&e.s.h->heap_orphans), 0);
    CHECK_EQ(chunk_of(&e.s, m->off[0]) / 16, chunk_of(&e.s, l->off[0]) / 16);
    engine_close(&e);
  }
}

TEST(a_sweep_makes_owners_look_everywhere) {
  engine e;
  wr_self other;
  engine_open(&e, 16 * MIB);
  engine_join(&e, &other, ENGINE_PEER);
  some *l = engine_shared(sizeof *l);
  *l = (some){.size = 4096, .n = 3 * wr_heap_geometry(11).n};
  CHECK_EQ(wr_heap_geometry(11).block, 4096);
  take_some(&e.me, l);
  uint32_t before = used(&e.s);
  give_some(&other, l);
  for (uint32_t c = 0; c < e.s.heap_chunks; c++) wr_store32(&e.s.heap_freed[c], 0);
  e.me.spans[11].cursor = UINT32_MAX - 1;
  atomic_fetch_add(&e.s.h->sweeps, 1);
  take_some(&e.me, l);
  CHECK_EQ(used(&e.s), before);
  for (uint32_t i = 0; i < l->n; i++)
    for (uint32_t k = 0; k < i; k++) CHECK_NE(l->off[i], l->off[k]);
  wr_self_close(&other);
  engine_close(&e);
}

enum { PEERS = 3, TURNS = 3000, PLACES = 64 };
typedef struct {
  wr_ring ring;
  struct {
    uint64_t off, size;
    wr_idx idx;
    _Atomic uint32_t taken;
  } item[PEERS * TURNS + 1];
} exchange;

static uint64_t some_size(uint32_t seed) {
  const uint64_t most[] = {64, 300, 2000, 10000, 130000, 400000};
  return 1 + (seed >> 8) % most[(seed >> 3) % 6];
}

static void give_item(wr_self *me, exchange *x, uint32_t k) {
  CHECK_EQ(atomic_fetch_add(&x->item[k].taken, 1), 0);
  check_filled(me->s, x->item[k].off, x->item[k].size, x->item[k].idx);
  wr_heap_free(me, x->item[k].off, x->item[k].idx, GEN);
}

/* Memory taken by one process, filled, and freed by whichever finds it: nothing overlaps. */
static void exchange_memory(wr_self *me, void *arg) {
  exchange *x = arg;
  wr_a32 hand = 0;
  uint32_t seed = me->slot, got;
  for (uint32_t turn = 0; turn < TURNS; turn++) {
    uint32_t k = (me->slot - ENGINE_PEER) * TURNS + turn + 1;
    seed = seed * 1664525 + 1013904223;
    x->item[k].size = some_size(seed);
    x->item[k].idx = k;
    while (wr_heap_alloc(me, x->item[k].size, k, GEN, &x->item[k].off) == WR_FULL)
      if (wr_ring_take(me->s, &x->ring, &got, &hand) == WR_OK) give_item(me, x, got);
    fill(me->s, x->item[k].off, x->item[k].size, k);
    if (wr_ring_put(me->s, &x->ring, k) == WR_FULL) give_item(me, x, k);
    if (seed >> 31 && wr_ring_take(me->s, &x->ring, &got, &hand) == WR_OK) give_item(me, x, got);
  }
}

TEST(nothing_overlaps_between_processes) {
  engine e;
  int pids[PEERS];
  wr_a32 hand = 0;
  uint32_t k;
  engine_open(&e, 40 * MIB);
  exchange *x = engine_shared(sizeof *x);
  wr_ring_init(&x->ring, e.s.h->rings, PLACES);
  for (uint32_t i = 0; i < PEERS; i++)
    pids[i] = engine_peer(&e, ENGINE_PEER + i, exchange_memory, x);
  for (int i = 0; i < PEERS; i++) check_join(pids[i]);
  while (wr_ring_take(&e.s, &x->ring, &k, &hand) == WR_OK) give_item(&e.me, x, k);
  for (uint32_t i = 0; i < PEERS; i++) engine_sweep(&e, ENGINE_PEER + i);
  engine_audit(&e.s); /* no record owns anything: only empty spans are left */
  engine_close(&e);
}

/* ---- out of private memory ----------------------------------------------------------------- */

TEST(refused_memory_loses_no_freed_block) {
  engine e;
  engine_open(&e, 4 * MIB);
  some *l = engine_shared(sizeof *l);
  *l = (some){.size = 4096, .n = wr_heap_geometry(11).n};
  take_some(&e.me, l);
  wr_vec64_free(&e.me.spans[11].free); /* so that noting a freed block needs memory */
  wr_mem_fail_at(1, 1);
  give_some(&e.me, l);
  wr_mem_fail_at(0, 0);
  take_some(&e.me, l);
  CHECK_EQ(used(&e.s), 1);
  engine_close(&e);
}
