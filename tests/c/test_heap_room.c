/* A heap that is full of spans in which nothing lives has room. */
#include "engine.h"

#include "base/status.h"
#include "store/heap.h"

#define MIB ((uint64_t)1 << 20)
#define HEAP (8 * MIB)
enum { GEN = 3, MANY = 100000 };

/* Small blocks of several classes until nothing is left; how many. */
static uint32_t fill(wr_self *me, uint64_t *off) {
  static const uint32_t sizes[] = {64, 1000, 4096, 9000, 60000};
  uint32_t n = 0;
  for (uint32_t k = 0; k < 5; k++)
    for (uint32_t i = 0; n < MANY && i < (k < 4 ? 200u : MANY); i++, n++)
      if (wr_heap_alloc(me, sizes[k], n + 1, GEN, &off[n]) != WR_OK) return n;
  return n;
}

static void free_all(wr_self *me, const uint64_t *off, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) wr_heap_free(me, off[i], i + 1, GEN);
}

static int all_of_it(wr_self *me) {
  uint64_t off;
  int rc = wr_heap_alloc(me, HEAP, 7, GEN, &off);
  if (rc == WR_OK) wr_heap_free(me, off, 7, GEN);
  return rc;
}

TEST(own_spans_make_room) {
  static uint64_t off[MANY];
  engine e;
  engine_open(&e, HEAP);
  for (int round = 0; round < 3; round++) {
    uint32_t n = fill(&e.me, off);
    CHECK_GT(n, 800);
    CHECK_EQ(all_of_it(&e.me), WR_FULL);
    free_all(&e.me, off, n);
    CHECK_EQ(all_of_it(&e.me), WR_OK);
    CHECK_EQ(wr_heap_chunks_used(&e.s), 0);
  }
  engine_close(&e);
}

TEST(spans_with_one_block_stay) {
  static uint64_t off[MANY];
  engine e;
  engine_open(&e, HEAP);
  uint32_t n = fill(&e.me, off);
  for (uint32_t i = 1; i < n; i++) wr_heap_free(&e.me, off[i], i + 1, GEN);
  CHECK_EQ(all_of_it(&e.me), WR_FULL);
  CHECK_EQ(wr_heap_chunks_used(&e.s), 1);
  CHECK(wr_heap_owned(&e.s, off[0], 1, GEN));
  uint64_t again;
  CHECK_EQ(wr_heap_alloc(&e.me, 64, 2, GEN, &again), WR_OK);
  CHECK_NE(again, off[0]);
  engine_close(&e);
}

static void fill_and_free(wr_self *me, void *arg) {
  static uint64_t off[MANY];
  (void)arg;
  free_all(me, off, fill(me, off));
}

TEST(orphans_make_room) {
  engine e;
  engine_open(&e, HEAP);
  check_join(engine_peer(&e, ENGINE_PEER, fill_and_free, NULL));
  engine_sweep(&e, ENGINE_PEER);
  CHECK_GT(wr_heap_chunks_used(&e.s), 0);
  CHECK_EQ(all_of_it(&e.me), WR_OK);
  CHECK_EQ(wr_heap_chunks_used(&e.s), 0);
  CHECK_EQ(wr_load32(&e.s.h->heap_orphans), 0);
  engine_close(&e);
}

TEST(others_give_up_theirs_when_they_hear_of_it) {
  static uint64_t off[MANY];
  wr_self other;
  engine e;
  engine_open(&e, HEAP);
  engine_join(&e, &other, ENGINE_PEER);
  free_all(&other, off, fill(&other, off));
  CHECK_EQ(all_of_it(&e.me), WR_FULL);
  wr_heap_make_room(&other);
  CHECK_EQ(wr_heap_chunks_used(&e.s), 0);
  CHECK_EQ(all_of_it(&e.me), WR_OK);
  wr_heap_make_room(&other); /* nothing has happened since */
  wr_self_close(&other);
  engine_close(&e);
}

TEST(whose_turn_it_is_claims_alone_and_once) {
  wr_self other;
  engine e;
  uint64_t off, more;
  engine_open(&e, HEAP);
  engine_join(&e, &other, ENGINE_PEER);
  wr_store32(&e.s.h->room_turn, other.slot);
  CHECK_EQ(wr_heap_alloc(&e.me, MIB, 1, GEN, &off), WR_FULL);
  CHECK_EQ(wr_heap_alloc(&e.me, 100, 1, GEN, &off), WR_FULL);
  CHECK_EQ(wr_heap_alloc(&other, HEAP + 1, 2, GEN, &off), WR_FULL);
  CHECK_EQ(wr_load32(&e.s.h->room_turn), other.slot);
  CHECK_EQ(wr_heap_alloc(&other, MIB, 2, GEN, &off), WR_OK);
  CHECK_EQ(wr_load32(&e.s.h->room_turn), 0);
  CHECK_EQ(wr_heap_alloc(&e.me, MIB, 1, GEN, &more), WR_OK);
  wr_heap_free(&e.me, off, 2, GEN);
  wr_heap_free(&e.me, more, 1, GEN);
  wr_self_close(&other);
  engine_close(&e);
}

/* A store that may grow, by as much as it has. */
static void open_growing(engine *e) {
  wr_seg_config cfg = {.heap_bytes = HEAP, .more_bytes = HEAP, .cpus = 2};
  CHECK_EQ(wr_seg_create(&e->s, &cfg), WR_OK);
  CHECK_EQ(e->s.store_chunks, HEAP / WR_CHUNK);
  CHECK_EQ(e->s.heap_chunks, 2 * HEAP / WR_CHUNK);
  engine_join(e, &e->me, ENGINE_ME);
}

TEST(room_beyond_the_store_is_there_while_the_limit_allows_it) {
  engine e;
  uint64_t whole, beyond, off;
  open_growing(&e);
  CHECK_EQ(wr_heap_alloc(&e.me, HEAP, 1, GEN, &whole), WR_OK);
  CHECK_EQ(wr_heap_alloc(&e.me, MIB, 2, GEN, &beyond), WR_FULL);
  wr_store(&e.s.h->heap_limit, (HEAP + MIB) / WR_CHUNK);
  CHECK_EQ(wr_heap_alloc(&e.me, MIB, 2, GEN, &beyond), WR_OK);
  CHECK_EQ(wr_heap_alloc(&e.me, 100, 3, GEN, &off), WR_FULL);
  wr_store(&e.s.h->heap_limit, e.s.store_chunks);
  CHECK(wr_heap_owned(&e.s, beyond, 2, GEN));
  wr_heap_free(&e.me, beyond, 2, GEN);
  CHECK_EQ(wr_heap_alloc(&e.me, MIB, 4, GEN, &off), WR_FULL); /* warm, but beyond */
  wr_heap_free(&e.me, whole, 1, GEN);
  CHECK_EQ(wr_heap_alloc(&e.me, MIB, 5, GEN, &off), WR_OK);
  CHECK_LT(off, e.s.heap_off + HEAP);
  wr_heap_free(&e.me, off, 5, GEN);
  CHECK_EQ(wr_heap_chunks_used(&e.s), 0);
  engine_close(&e);
}

TEST(a_limit_beyond_the_heap_leads_nowhere) {
  engine e;
  uint64_t off, n = 0;
  open_growing(&e);
  wr_store(&e.s.h->heap_limit, UINT64_MAX);
  while (n < 100 && wr_heap_alloc(&e.me, MIB, (wr_idx)n + 1, GEN, &off) == WR_OK) n++;
  CHECK_EQ(n, 2 * HEAP / MIB);
  engine_close(&e);
}
