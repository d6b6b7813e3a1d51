/* Blocks of the store that a process has for itself, until they become values. */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"
#include "store/heap.h"

#define LEN 300000u

static uint64_t chunks(session *x) { return wr_heap_chunks_used(&x->seg); }

static wr_id give(wr_client *c, uint8_t *p, uint32_t seed) {
  wr_id id;
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  pattern_fill(p - 64, LEN, seed);
  CHECK_EQ(wr_loose_give(c, p, id.idx, 64, LEN), WR_OK);
  CHECK_EQ(wr_object_seal(c, id.idx, 0, 0), WR_OK);
  return id;
}

TEST(a_block_becomes_a_value_in_place) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_WORKER), *other = session_client(&x, WR_ROLE_DRIVER);
  uint64_t before = chunks(&x);
  uint8_t *p = wr_loose_alloc(c, LEN);
  CHECK(p != NULL);
  CHECK_EQ((uintptr_t)p % 4096, 0);
  CHECK_GE(wr_loose_size(c, p), LEN);
  wr_id id = give(c, p, 5);
  wr_view v;
  CHECK_EQ(wr_value_view(c, id, &v), WR_OK);
  CHECK(v.data == p - 64);
  CHECK(pattern_is(other, id, LEN, 5));
  wr_creator_drop(c, id);
  CHECK_EQ(chunks(&x), before);
  session_check_empty(&x);
  session_close(&x);
}

TEST(blocks_are_freed_in_any_order) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_WORKER);
  uint64_t before = chunks(&x);
  uint8_t *p[5];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 5; i++) {
      CHECK((p[i] = wr_loose_alloc(c, LEN)) != NULL);
      memset(p[i], i, LEN);
    }
    const int turn[] = {2, 0, 4, 3, 1};
    for (int i = 0; i < 5; i++) {
      CHECK_EQ(p[turn[i]][LEN - 1], turn[i]);
      wr_loose_free(c, p[turn[i]]);
    }
    CHECK_EQ(chunks(&x), before);
    CHECK_EQ(c->loose_bytes, 0);
  }
  session_close(&x);
}

TEST(a_process_gets_no_more_than_its_share) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_WORKER);
  CHECK(wr_loose_alloc(c, 23u << 20) == NULL);
  int n = 0;
  while (wr_loose_alloc(c, LEN)) n++;
  CHECK_GT(n, 1);
  CHECK_LE(c->loose_bytes, (24u << 20) / 8);
  session_close(&x);
}

TEST(values_come_first_when_the_store_fills) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER), *c = session_client(&x, WR_ROLE_WORKER);
  wr_id id = pattern_put(d, 7u << 20, 1, NULL, 0);
  CHECK(wr_loose_alloc(c, LEN) == NULL);
  wr_creator_drop(d, id);
  session_close(&x);
}

static uint8_t *forked_block; /* of parent and child, which share the mapping's address */

static void child_writes(void *arg) {
  int *seen = arg;
  memset(forked_block, 2, 100);
  seen[0] = forked_block[0];
  seen[1] = forked_block[LEN - 1];
}

TEST(after_a_fork_nobody_sees_the_other_write) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_WORKER);
  int *seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t before = chunks(&x);
  forked_block = wr_loose_alloc(c, LEN);
  memset(forked_block, 1, LEN);
  wr_loose_before_fork(c);
  int pid = check_fork(child_writes, seen);
  memset(forked_block + LEN - 100, 3, 100);
  check_join(pid);
  CHECK_EQ(seen[0], 2);
  CHECK_NE(seen[1], 0);
  CHECK_EQ(forked_block[0], 1);
  CHECK_EQ(forked_block[LEN - 1], 3);
  wr_id id;
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  CHECK_EQ(wr_loose_give(c, forked_block, id.idx, 64, LEN), WR_STATE); /* must be copied */
  wr_creator_drop(c, id);
  wr_loose_free(c, forked_block);
  CHECK_EQ(chunks(&x), before);
  uint8_t *p = wr_loose_alloc(c, LEN); /* the same memory, shared again */
  id = give(c, p, 7);
  wr_client *other = session_client(&x, WR_ROLE_DRIVER);
  CHECK(pattern_is(other, id, LEN, 7));
  munmap(seen, 4096);
  session_close(&x);
}

static void peer(session *x, wr_client *c, void *arg) {
  (void)x, (void)arg;
  CHECK(wr_loose_alloc(c, LEN) && wr_loose_alloc(c, 2 * LEN));
}

TEST(the_sweep_frees_what_the_dead_had) {
  session x;
  session_open(&x, 24u << 20);
  uint64_t before = chunks(&x);
  uint32_t slot = session_fork(&x, WR_ROLE_WORKER, peer, NULL);
  session_reap(&x, slot);
  CHECK_GT(chunks(&x), before);
  session_sweep(&x, slot);
  session_check_empty(&x);
  CHECK_EQ(chunks(&x), before);
  session_close(&x);
}
