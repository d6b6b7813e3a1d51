/* The bounded queue: order, laps, many producers and consumers, and death between two swaps. */
#include "engine.h"

#include <pthread.h>
#include <sched.h>

#include "base/status.h"
#include "shm/ring.h"

enum { PRODUCERS = 2, CONSUMERS = 2, EACH = 20000, TOTAL = PRODUCERS * EACH };

/* Rings of this file lie at the start of the heap area, which nothing else uses here. */
typedef struct {
  wr_ring ring;
  wr_seg *s;
  _Atomic uint32_t taken;            /* by everybody */
  _Atomic uint32_t seen[TOTAL + 1];  /* how often each value was taken */
  _Atomic uint32_t put[PRODUCERS];   /* last value that each producer knows it has put */
} bench;

static bench *bench_open(engine *e, uint64_t cap) {
  engine_open(e, 1 << 20);
  bench *b = engine_shared(sizeof *b);
  b->s = &e->s;
  wr_ring_init(&b->ring, e->s.h->heap, cap);
  return b;
}

static void put_all(bench *b, uint32_t from, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) CHECK_EQ(wr_ring_put(b->s, &b->ring, from + i), WR_OK);
}

static void take_all(bench *b, uint32_t from, uint32_t n) {
  wr_a32 hand = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t v;
    CHECK_EQ(wr_ring_take(b->s, &b->ring, &v, &hand), WR_OK);
    CHECK_EQ(v, from + i);
    CHECK_EQ(wr_load32(&hand), v);
  }
}

static void check_empty(bench *b) {
  wr_a32 hand = 77;
  uint32_t v = 5;
  CHECK(wr_ring_empty(b->s, &b->ring));
  CHECK_EQ(wr_ring_take(b->s, &b->ring, &v, &hand), WR_AGAIN);
  CHECK_EQ(wr_load32(&hand), 0);
  CHECK_EQ(v, 5);
  CHECK_EQ(wr_ring_len(&b->ring), 0);
}

TEST(first_in_first_out_until_full) {
  engine e;
  bench *b = bench_open(&e, 4);
  check_empty(b);
  put_all(b, 1, 4);
  CHECK_EQ(wr_ring_put(b->s, &b->ring, 5), WR_FULL);
  CHECK_EQ(wr_ring_len(&b->ring), 4);
  CHECK(!wr_ring_empty(b->s, &b->ring));
  take_all(b, 1, 1);
  put_all(b, 5, 1);
  CHECK_EQ(wr_ring_put(b->s, &b->ring, 6), WR_FULL);
  take_all(b, 2, 4);
  check_empty(b);
  engine_close(&e);
}

TEST(any_value_goes_through) {
  const uint32_t values[] = {0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
  engine e;
  bench *b = bench_open(&e, 2);
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    put_all(b, values[i], 1);
    take_all(b, values[i], 1);
  }
  engine_close(&e);
}

TEST(laps_wrap) {
  engine e;
  bench *b = bench_open(&e, 8);
  uint32_t in = 0, out = 0;
  for (uint32_t lap = 0; lap < 1000; lap++)
    for (uint32_t fill = 1; fill <= 8; fill++) {
      put_all(b, in, fill);
      in += fill;
      take_all(b, out, fill);
      out += fill;
    }
  check_empty(b);
  engine_close(&e);
}

/* The word has 31 bits for the lap; positions go on beyond. */
TEST(the_number_of_laps_wraps) {
  engine e;
  bench *b = bench_open(&e, 4);
  wr_a64 *word = wr_at(b->s, b->ring.off);
  const uint64_t last = 0x7FFFFFFF;
  for (int i = 0; i < 4; i++) wr_store(&word[i], last << 33); /* empty, in the last lap */
  wr_store(&b->ring.head, last * 4);
  wr_store(&b->ring.tail, last * 4);
  check_empty(b);
  for (uint32_t lap = 0; lap < 5; lap++) {
    put_all(b, lap * 4, 4);
    CHECK_EQ(wr_ring_put(b->s, &b->ring, 9), WR_FULL);
    take_all(b, lap * 4, 4);
    check_empty(b);
  }
  engine_close(&e);
}

/* head and tail are hints: whoever meets them behind moves them on. */
TEST(hints_may_lag) {
  engine e;
  bench *b = bench_open(&e, 8);
  put_all(b, 0, 16 - 8);
  take_all(b, 0, 8);
  put_all(b, 8, 5);
  take_all(b, 8, 2);
  wr_store(&b->ring.tail, 9);
  wr_store(&b->ring.head, 8);
  CHECK(!wr_ring_empty(b->s, &b->ring));
  put_all(b, 13, 5);
  CHECK_EQ(wr_ring_put(b->s, &b->ring, 18), WR_FULL);
  wr_store(&b->ring.head, 8);
  take_all(b, 10, 8);
  wr_store(&b->ring.head, 12);
  check_empty(b);
  engine_close(&e);
}

TEST(rings_of_shapes_are_apart) {
  engine e;
  engine_open(&e, 1 << 20);
  uint64_t end = e.s.h->rings;
  for (uint32_t i = 0; i < WR_MAX_SHAPES; i++) {
    wr_ring_open(&e.s, i);
    const wr_ring *both[] = {&e.s.shapes[i].ready, &e.s.shapes[i].overflow};
    for (int k = 0; k < 2; k++) {
      CHECK_EQ(both[k]->cap, k ? wr_ring_overflow_cap(i) : WR_RING_SHORT);
      CHECK_EQ(both[k]->off, end);
      CHECK(wr_ring_empty(&e.s, (wr_ring *)(uintptr_t)both[k]));
      end += both[k]->cap * 8;
    }
  }
  CHECK_LE(end, e.s.h->recs);
  engine_close(&e);
}

/* ---- many at once -------------------------------------------------------------------------- */

static void produce(bench *b, uint32_t number) {
  for (uint32_t i = wr_load32(&b->put[number]); i < EACH; i++) {
    while (wr_ring_put(b->s, &b->ring, number * EACH + i + 1) == WR_FULL) sched_yield();
    wr_store32(&b->put[number], i + 1);
  }
}

/* Values of one producer arrive in their order, whoever takes them. */
static void consume(bench *b, wr_a32 *hand) {
  uint32_t last[PRODUCERS] = {0}, v;
  while (atomic_load(&b->taken) < TOTAL) {
    if (wr_ring_take(b->s, &b->ring, &v, hand) == WR_AGAIN) {
      sched_yield();
      continue;
    }
    uint32_t from = (v - 1) / EACH;
    CHECK_GT(v, last[from]);
    last[from] = v;
    atomic_fetch_add(&b->seen[v], 1);
    atomic_fetch_add(&b->taken, 1);
    wr_store32(hand, 0);
  }
}

static void producing_peer(wr_self *me, void *arg) { produce(arg, me->slot - ENGINE_PEER); }
static void consuming_peer(wr_self *me, void *arg) { consume(arg, &me->p->hand); }

static void check_each_once(bench *b) {
  for (uint32_t v = 1; v <= TOTAL; v++)
    CHECK_MSG(b->seen[v] == 1, "value %u came %u times", v, b->seen[v]);
  check_empty(b);
}

TEST(every_value_comes_once_between_processes) {
  engine e;
  bench *b = bench_open(&e, 16);
  int pids[PRODUCERS + CONSUMERS];
  for (uint32_t i = 0; i < PRODUCERS + CONSUMERS; i++)
    pids[i] =
        engine_peer(&e, ENGINE_PEER + i, i < PRODUCERS ? producing_peer : consuming_peer, b);
  for (int i = 0; i < PRODUCERS + CONSUMERS; i++) check_join(pids[i]);
  check_each_once(b);
  engine_close(&e);
}

static bench *threads_bench;

static void *producing_thread(void *arg) {
  produce(threads_bench, (uint32_t)(uintptr_t)arg);
  return NULL;
}

static void *consuming_thread(void *arg) {
  wr_a32 hand = 0;
  (void)arg;
  consume(threads_bench, &hand);
  return NULL;
}

TEST(every_value_comes_once_between_threads) {
  engine e;
  pthread_t t[PRODUCERS + CONSUMERS];
  threads_bench = bench_open(&e, WR_RING_SHORT > 64 ? 64 : WR_RING_SHORT);
  for (uintptr_t i = 0; i < PRODUCERS + CONSUMERS; i++)
    CHECK_EQ(pthread_create(&t[i], NULL, i < PRODUCERS ? producing_thread : consuming_thread,
                            (void *)i), 0);
  for (int i = 0; i < PRODUCERS + CONSUMERS; i++) CHECK_EQ(pthread_join(t[i], NULL), 0);
  check_each_once(threads_bench);
  engine_close(&e);
}

/* ---- death --------------------------------------------------------------------------------- */

#ifdef WR_HOSTILE
static void put_three(wr_self *me, void *arg) {
  (void)me;
  put_all(arg, 1, 3);
}

TEST(a_producer_killed_after_its_swap_blocks_nobody) {
  engine e;
  bench *b = bench_open(&e, 4);
  CHECK(engine_crash(&e, ENGINE_PEER, "ring.put.word", 2, put_three, b));
  CHECK_EQ(wr_load(&b->ring.tail), 1);
  put_all(b, 3, 2);
  CHECK_EQ(wr_ring_put(b->s, &b->ring, 5), WR_FULL);
  take_all(b, 1, 4);
  check_empty(b);
  engine_close(&e);
}

static void take_three(wr_self *me, void *arg) {
  uint32_t v;
  bench *b = arg;
  for (int i = 0; i < 3; i++) CHECK_EQ(wr_ring_take(b->s, &b->ring, &v, &me->p->hand), WR_OK);
}

TEST(the_hand_names_what_a_killed_consumer_took) {
  engine e;
  bench *b = bench_open(&e, 4);
  put_all(b, 1, 4);
  CHECK(engine_crash(&e, ENGINE_PEER, "ring.take.word", 2, take_three, b));
  CHECK_EQ(wr_load32(&e.s.procs[ENGINE_PEER].hand), 2);
  CHECK_EQ(wr_load(&b->ring.head), 1);
  put_all(b, 5, 2);
  CHECK_EQ(wr_ring_put(b->s, &b->ring, 7), WR_FULL);
  take_all(b, 3, 4);
  check_empty(b);
  engine_close(&e);
}
#endif

typedef struct {
  bench *b;
  uint32_t wanted;
} progress;

static int taken_enough(void *arg) {
  const progress *p = arg;
  return atomic_load(&p->b->taken) >= p->wanted || atomic_load(&p->b->taken) >= TOTAL;
}

static int in_ring(bench *b, uint32_t v) {
  const wr_a64 *word = wr_at(b->s, b->ring.off);
  int n = 0;
  for (uint32_t k = 0; k < b->ring.cap; k++) {
    uint64_t w = wr_load(&word[k]);
    n += (w >> 32 & 1) && (uint32_t)w == v;
  }
  return n;
}

/* What the dead consumer's hand names is in the ring, or noted, or was taken and is noted now. */
static void settle_hand(bench *b, wr_a32 *hand) {
  uint32_t v = wr_swap32(hand, 0), sum = 0;
  CHECK_LE(v, TOTAL);
  if (v && b->seen[v] == 0 && !in_ring(b, v)) {
    CHECK_GE(wr_load32(&b->put[(v - 1) / EACH]), (v - 1) % EACH);
    b->seen[v] = 1;
  }
  for (uint32_t k = 1; k <= TOTAL; k++) sum += b->seen[k];
  b->taken = sum; /* it may have died before it counted */
}

TEST(consumers_killed_anywhere_lose_only_what_is_in_their_hands) {
  engine e;
  bench *b = bench_open(&e, 16);
  int producers[PRODUCERS];
  const uint32_t consumer = ENGINE_PEER + PRODUCERS;
  for (uint32_t i = 0; i < PRODUCERS; i++)
    producers[i] = engine_peer(&e, ENGINE_PEER + i, producing_peer, b);
  for (uint32_t round = 1; round <= 20; round++) {
    int pid = engine_peer(&e, consumer, consuming_peer, b);
    progress p = {b, round * TOTAL / 25};
    check_until(taken_enough, &p);
    engine_kill(pid);
    settle_hand(b, &e.s.procs[consumer].hand);
  }
  consume(b, &e.s.procs[ENGINE_ME].hand);
  for (int i = 0; i < PRODUCERS; i++) check_join(producers[i]);
  check_each_once(b);
  engine_close(&e);
}

static int put_enough(void *arg) {
  const progress *p = arg;
  return wr_load32(&p->b->put[0]) >= p->wanted;
}

/* A producer killed anywhere has put all that it says, and at most one more. */
TEST(producers_killed_anywhere_block_nobody) {
  engine e;
  bench *b = bench_open(&e, 16);
  wr_a32 hand = 0;
  uint32_t next = 1, v;
  for (uint32_t round = 1; round <= 20; round++) {
    int pid = engine_peer(&e, ENGINE_PEER, producing_peer, b);
    progress p = {b, next - 1 + 2 * (round % 8)}; /* of 16: killed on its way, or full */
    if (round % 2)
      for (uint32_t k = 0; k < 300;) {
        if (wr_ring_take(b->s, &b->ring, &v, &hand) == WR_AGAIN) continue;
        CHECK_EQ(v, next++);
        k++;
      }
    else
      check_until(put_enough, &p);
    engine_kill(pid);
    while (wr_ring_take(b->s, &b->ring, &v, &hand) == WR_OK) CHECK_EQ(v, next++);
    CHECK(next - 1 == b->put[0] || next - 1 == b->put[0] + 1);
    b->put[0] = next - 1;
  }
  engine_close(&e);
}
