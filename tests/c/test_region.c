/* Blocks of the store that are put as they lie, while whoever has them goes on writing. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"
#include "store/heap.h"

#define HEAD 128u
#define LEN 300000u

static const wr_region_value whole = {HEAD, LEN, HEAD + LEN, NULL, 0};

static uint64_t chunks(session *x) { return wr_heap_chunks_used(&x->seg); }

static uint8_t *region(wr_client *c) {
  uint8_t *p = wr_region_alloc(c, LEN);
  CHECK(p != NULL);
  CHECK_EQ((uintptr_t)p % 4096, 0);
  CHECK_EQ(wr_region_size(p), LEN);
  return p;
}

/* All bytes of the value, where `p` shows those that are the region's. */
static void fill(wr_client *c, uint8_t *p, const wr_region_value *v, uint32_t seed) {
  uint8_t *dst = wr_region_begin(c, p, v);
  CHECK(dst != NULL);
  pattern_fill(dst, v->total, seed);
  CHECK_EQ(memcmp(dst + v->head, p, v->len), 0);
}

static wr_id put(wr_client *c, uint8_t *p, const wr_region_value *v, uint32_t seed) {
  wr_id id;
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  fill(c, p, v, seed);
  CHECK_EQ(wr_region_put(c, p, id, v), WR_OK);
  CHECK_EQ(wr_object_seal(c, id.idx, 0, 0), WR_OK);
  return id;
}

TEST(a_value_stays_as_it_was_put) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER), *other = session_client(&x, WR_ROLE_DRIVER);
  uint64_t before = chunks(&x);
  uint8_t *p = region(c);
  wr_id id = put(c, p, &whole, 5);
  CHECK_EQ(c->region_bytes, 0);
  memset(p, 1, 5000);
  p[LEN - 1] ^= 1;
  CHECK(pattern_is(other, id, HEAD + LEN, 5));
  CHECK(pattern_is(c, id, HEAD + LEN, 5));
  CHECK(wr_region_begin(c, p, &whole) == NULL); /* once */
  wr_creator_drop(c, id);
  CHECK_GT(chunks(&x), before); /* p still shows what it has not written */
  wr_id others[5];
  for (uint32_t k = 0; k < 5; k++) others[k] = pattern_put(other, LEN, 9, NULL, 0);
  uint8_t *like = malloc(HEAD + LEN);
  pattern_fill(like, HEAD + LEN, 5);
  CHECK_EQ(memcmp(p + 8192, like + HEAD + 8192, LEN - 8193), 0);
  CHECK_EQ(p[4999], 1);
  free(like);
  for (uint32_t k = 0; k < 5; k++) wr_creator_drop(other, others[k]);
  wr_region_free(p);
  CHECK_EQ(chunks(&x), before);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_value_refers_to_others_and_has_parts_beside_the_block) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER), *other = session_client(&x, WR_ROLE_DRIVER);
  uint64_t before = chunks(&x);
  wr_id inner = pattern_put(c, 20, 1, NULL, 0), refs[3] = {inner, inner, inner};
  wr_region_value v = {1024, LEN, 1024 + LEN + 3000, refs, 3};
  uint8_t *p = region(c);
  wr_id id = put(c, p, &v, 6);
  wr_creator_drop(c, inner);
  wr_region_free(p);
  wr_view view;
  CHECK(pattern_is(other, id, v.total, 6));
  CHECK_EQ(wr_value_view(other, id, &view), WR_OK);
  CHECK_EQ(view.nrefs, 3);
  CHECK_EQ(view.refs[2], inner.idx);
  CHECK(pattern_is(other, inner, 20, 1));
  wr_creator_drop(c, id);
  CHECK_EQ(wr_object_phase_of(c, inner), WR_STALE);
  CHECK_LE(chunks(&x), before + 17);
  session_check_empty(&x);
  session_close(&x);
}

TEST(what_does_not_fit_has_to_be_copied) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER), *other = session_client(&x, WR_ROLE_DRIVER);
  uint8_t *p = region(c);
  static const wr_id many[3000];
  const wr_region_value not[] = {
      {1u << 20, LEN, (1u << 20) + LEN, NULL, 0}, /* before the block */
      {HEAD, LEN, HEAD + LEN + (1u << 20), NULL, 0}, /* behind it */
      {HEAD, LEN, HEAD + LEN, many, 3000},
      {HEAD, LEN / 3, HEAD + LEN / 3, NULL, 0},    /* most of the memory would be for nothing */
      {HEAD, LEN - 64, HEAD + LEN + 64, NULL, 0},  /* would lie on the rest of the block */
      {HEAD, LEN + 1, HEAD + LEN + 1, NULL, 0},
  };
  for (size_t i = 0; i < sizeof not / sizeof *not; i++)
    CHECK(wr_region_begin(c, p, &not[i]) == NULL);
  CHECK(wr_region_begin(c, p + 4096, &whole) == NULL);
  CHECK(wr_region_begin(other, p, &whole) == NULL);
  CHECK_EQ(wr_region_put(c, p, (wr_id){1, 1}, &whole), WR_STATE); /* not begun */
  const wr_region_value front = {HEAD, LEN / 2 + 8, HEAD + LEN / 2 + 8, NULL, 0};
  wr_creator_drop(c, put(c, p, &front, 7));
  wr_region_free(p);
  CHECK_EQ(wr_region_size(p), 0);
  CHECK(wr_region_alloc(c, 1000) == NULL); /* too small for one */
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_block_that_can_not_be_put_stays_one) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER);
  uint8_t *p = region(c);
  fill(c, p, &whole, 8);
  CHECK_EQ(wr_region_put(c, p, (wr_id){0x40, 77}, &whole), WR_STALE); /* no such object */
  wr_id id = put(c, p, &whole, 9);
  CHECK(pattern_is(c, id, HEAD + LEN, 9));
  wr_region_free(p);
  wr_creator_drop(c, id);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_block_is_given_away) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_WORKER), *other = session_client(&x, WR_ROLE_DRIVER);
  wr_id id;
  uint8_t *p = region(c);
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  fill(c, p, &whole, 10);
  CHECK_EQ(wr_region_give(c, p, id.idx, &whole), WR_OK);
  CHECK_EQ(wr_region_size(p), 0);
  CHECK_EQ(wr_object_seal(c, id.idx, 0, 0), WR_OK);
  CHECK(pattern_is(other, id, HEAD + LEN, 10));
  wr_creator_drop(c, id);
  session_check_empty(&x);
  session_close(&x);
}

TEST(blocks_are_freed_in_any_order) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER);
  uint64_t before = chunks(&x);
  uint8_t *p[5];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 5; i++) {
      p[i] = wr_region_alloc(c, LEN);
      CHECK(p[i] != NULL);
      wr_region_prepare(c, p[i], 1);
      for (uint32_t k = 0; k < LEN; k++) CHECK_EQ(p[i][k], 0);
      memset(p[i], i + 1, LEN);
    }
    const int turn[] = {2, 0, 4, 3, 1};
    for (int i = 0; i < 5; i++) {
      CHECK_EQ(p[turn[i]][LEN - 1], turn[i] + 1);
      wr_region_free(p[turn[i]]);
    }
    CHECK_EQ(chunks(&x), before);
    CHECK_EQ(c->region_bytes, 0);
  }
  session_close(&x);
}

TEST(values_have_room_beside_blocks) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER), *other = session_client(&x, WR_ROLE_DRIVER);
  uint8_t *p[200];
  int n = 0;
  CHECK(wr_region_alloc(c, 13u << 20) == NULL);
  while ((p[n] = wr_region_alloc(c, LEN))) n++;
  CHECK_LE(c->region_bytes, 12u << 20);
  CHECK_GT(c->region_bytes, 11u << 20);
  c->loose_looked = other->loose_looked = 0;
  while ((p[n] = wr_region_alloc(other, LEN))) n++;
  CHECK_LE(chunks(&x) * WR_CHUNK, 18u << 20);
  wr_creator_drop(other, pattern_put(other, 5u << 20, 1, NULL, 0));
  while (n) wr_region_free(p[--n]);
  session_close(&x);
}

/* Never used, in part, and used before, with large pages where there are some. */
TEST(large_blocks) {
  enum { LARGE = 7u << 20 };
  const wr_region_value v = {HEAD, LARGE, HEAD + LARGE, NULL, 0};
  session x;
  session_open(&x, 64u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER), *other = session_client(&x, WR_ROLE_DRIVER);
  wr_creator_drop(c, pattern_put(c, 2u << 20, 1, NULL, 0));
  for (uint32_t round = 0; round < 4; round++) {
    uint8_t *p = wr_region_alloc(c, LARGE);
    CHECK(p != NULL);
    wr_region_prepare(c, p, 1);
    for (uint32_t k = 0; k < LARGE; k++) CHECK_EQ(p[k], 0);
    wr_id id = put(c, p, &v, round);
    memset(p, 7, 3u << 20);
    CHECK(pattern_is(other, id, v.total, round));
    if (round % 2) CHECK_EQ(wr_regions_leave(c), WR_OK);
    if (round % 2) wr_creator_drop(c, id);
    CHECK_EQ(p[(3u << 20) - 1], 7);
    wr_region_free(p);
    if (!(round % 2)) CHECK(pattern_is(c, id, v.total, round));
    if (!(round % 2)) wr_creator_drop(c, id);
  }
  session_check_empty(&x);
  session_close(&x);
}

static uint8_t *open_block, *put_block; /* of parent and child */

static void child_writes(void *arg) {
  int *seen = arg;
  wr_regions_in_child();
  memset(open_block, 2, 100);
  put_block[0] = 2;
  seen[0] = open_block[0];
  seen[1] = open_block[LEN - 1];
  wr_region_free(open_block);
  wr_region_free(put_block);
}

TEST(after_a_fork_nobody_sees_the_other_write) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER);
  int *seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t before = chunks(&x);
  open_block = region(c);
  put_block = region(c);
  memset(open_block, 1, LEN);
  wr_id id = put(c, put_block, &whole, 11);
  put_block[1] = 3;
  wr_regions_before_fork();
  int pid = check_fork(child_writes, seen);
  memset(open_block + LEN - 100, 3, 100);
  check_join(pid);
  CHECK_EQ(seen[0], 2);
  CHECK_NE(seen[1], 0);
  CHECK_EQ(open_block[0], 1);
  CHECK_EQ(open_block[LEN - 1], 3);
  CHECK_EQ(put_block[1], 3);
  CHECK(pattern_is(c, id, HEAD + LEN, 11));
  CHECK(wr_region_begin(c, open_block, &whole) == NULL);
  wr_creator_drop(c, id);
  CHECK_EQ(chunks(&x), before); /* nothing of the store is theirs any more */
  wr_region_free(open_block);
  wr_region_free(put_block);
  session_check_empty(&x);
  munmap(seen, 4096);
  session_close(&x);
}

TEST(blocks_outlive_their_session) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER);
  uint64_t before = chunks(&x);
  uint8_t *p = region(c), *q = region(c), *r = region(c);
  memset(p, 1, LEN);
  wr_id id = put(c, q, &whole, 12);
  fill(c, r, &whole, 13); /* a put that is under way */
  CHECK_EQ(wr_regions_leave(c), WR_OK);
  CHECK_EQ(wr_region_put(c, r, id, &whole), WR_STATE);
  wr_creator_drop(c, id);
  CHECK_EQ(chunks(&x), before);
  session_check_empty(&x);
  uint8_t seen = q[LEN - 1];
  session_close(&x);
  CHECK_EQ(p[LEN - 1], 1);
  CHECK_EQ(q[LEN - 1], seen);
  memset(p, 4, LEN);
  uint32_t open, put;
  wr_regions_count(&open, &put);
  CHECK_EQ(open + put, 0);
  wr_region_free(p);
  wr_region_free(q);
  wr_region_free(r);
}

static void peer(session *x, wr_client *c, void *arg) {
  (void)x, (void)arg;
  uint8_t *p = region(c);
  region(c);
  put(c, p, &whole, 14);
}

TEST(the_sweep_frees_what_the_dead_had) {
  session x;
  session_open(&x, 24u << 20);
  uint64_t before = chunks(&x);
  uint32_t slot = session_fork(&x, WR_ROLE_DRIVER, peer, NULL);
  session_reap(&x, slot);
  CHECK_GT(chunks(&x), before);
  session_sweep(&x, slot);
  session_check_empty(&x);
  CHECK_EQ(chunks(&x), before);
  session_close(&x);
}
