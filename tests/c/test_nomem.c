/* Every operation of store/ with private memory refused at the n-th allocation, once and for good:
 * it fails or succeeds as a whole, and nothing shared is lost by it. */
#include "engine.h"

#include "base/mem.h"
#include "base/status.h"
#include "store/heap.h"
#include "store/records.h"

#define MIB ((uint64_t)1 << 20)
enum { N = 1500, PUTS = 75 };

typedef struct {
  engine e;
  wr_self other;
  wr_idx made[N];
  uint32_t n;
} bench;

static void bench_open(bench *b) {
  memset(b, 0, sizeof *b);
  engine_open(&b->e, 64 * MIB);
  engine_join(&b->e, &b->other, ENGINE_PEER);
}

/* What was refused may have left records that a sweep frees; after it nothing is left at all. */
static void bench_close(bench *b) {
  wr_self_close(&b->other);
  engine_sweep(&b->e, ENGINE_PEER);
  engine_audit(&b->e.s);
  CHECK_EQ(engine_living(&b->e.s), 0);
  engine_close(&b->e);
}

static void make_objects(bench *b) {
  for (; b->n < N; b->n++) b->made[b->n] = engine_put(&b->e.me, b->n % 100, NULL, 0);
}

static void drop_objects(bench *b) {
  for (uint32_t i = 0; i < b->n; i++) engine_drop(&b->e.me, b->made[i]);
  b->n = 0;
}

/* Runs op with the n-th allocation refused, for every n until none is refused any more. */
static void refuse_each(void (*before)(bench *b), void (*op)(bench *b), void (*after)(bench *b)) {
  static bench b;
  for (int persistent = 0; persistent < 2; persistent++)
    for (long n = 1, failures = 1; failures; n++) {
      bench_open(&b);
      if (before) before(&b);
      wr_mem_fail_at(n, persistent);
      op(&b);
      failures = wr_mem_failures();
      wr_mem_fail_at(0, 0);
      after(&b);
      bench_close(&b);
    }
}

/* ---- making and freeing objects ------------------------------------------------------------ */

static const uint64_t lengths[] = {10, 64, 3000, 30000, 140000};

static int try_put(wr_self *me, uint64_t len, wr_idx *out) {
  uint32_t gen;
  uint8_t *dst;
  int rc = wr_objects_create(me, WR_REF_CREATOR, out, &gen);
  if (rc < 0) return rc;
  rc = wr_objects_reserve(me, *out, len, NULL, 0, &dst);
  if (rc < 0) {
    engine_drop(me, *out);
    return rc;
  }
  engine_fill(me->s, *out);
  return wr_objects_seal(me, *out, 0, 0);
}

static void put_many(bench *b) {
  for (uint32_t i = 0; i < PUTS; i++) {
    int rc = try_put(&b->e.me, lengths[i % 5], &b->made[b->n]);
    CHECK(rc == WR_OK || (rc == WR_NOMEM && wr_mem_failures()));
    if (rc == WR_OK) b->n++;
  }
  CHECK(b->n >= PUTS - 1 || wr_mem_failures() > 1);
}

/* As if nothing had been refused: the same objects take no more room than in a fresh segment. */
static void put_again(bench *b) {
  static bench fresh;
  for (uint32_t i = 0; i < b->n; i++) engine_read(&b->e.s, b->made[i]);
  drop_objects(b);
  bench_open(&fresh);
  for (fresh.n = 0; fresh.n < PUTS; fresh.n++) {
    fresh.made[fresh.n] = engine_put(&fresh.e.me, lengths[fresh.n % 5], NULL, 0);
    b->made[b->n++] = engine_put(&b->e.me, lengths[fresh.n % 5], NULL, 0);
  }
  CHECK_EQ(wr_heap_chunks_used(&b->e.s), wr_heap_chunks_used(&fresh.e.s));
  CHECK_EQ(wr_load32(&b->e.s.h->rec_high), wr_load32(&fresh.e.s.h->rec_high));
  drop_objects(&fresh);
  bench_close(&fresh);
  drop_objects(b);
}

TEST(putting) { refuse_each(NULL, put_many, put_again); }

static void drop_while_refused(bench *b) {
  wr_vec32_free(&b->e.me.cells.free);
  for (int k = 0; k < WR_HEAP_CLASSES; k++) wr_vec64_free(&b->e.me.spans[k].free);
  drop_objects(b);
}

TEST(freeing) { refuse_each(put_many, drop_while_refused, put_again); }

/* ---- adopting ------------------------------------------------------------------------------ */

static void leave_orphans(bench *b) {
  wr_self dead;
  engine_join(&b->e, &dead, ENGINE_PEER + 1);
  for (int i = 0; i < PUTS; i++) (void)engine_put(&dead, lengths[i % 5], NULL, 0);
  wr_self_close(&dead);
  engine_sweep(&b->e, ENGINE_PEER + 1);
}

TEST(adopting) { refuse_each(leave_orphans, put_many, put_again); }

/* ---- references ---------------------------------------------------------------------------- */

/* Which of them are held is what the table says, the counts say, and wr_hold_take said. */
static void hold_many(bench *b) {
  uint32_t held = 0;
  for (uint32_t i = 0; i < N; i++) {
    uint32_t gen = wr_gen_of(&b->e.s, b->made[i]);
    int rc = wr_hold_take(&b->other, b->made[i], i % 2 ? gen : 0, NULL);
    CHECK_MSG(rc == WR_OK || (rc == WR_NOMEM && wr_mem_failures()), "%s", wr_status_name(rc));
    CHECK_EQ(engine_refs(&b->e.s, b->made[i]), WR_REF_CREATOR | (uint32_t)(rc == WR_OK));
    held += rc == WR_OK;
  }
  CHECK_EQ(b->other.held.n, held);
}

static void unhold_all(bench *b) {
  engine_audit(&b->e.s);
  for (int twice = 0; twice < 2; twice++) {
    for (uint32_t i = 0; i < N; i++) {
      CHECK_EQ(wr_hold_take(&b->other, b->made[i], 0, NULL), WR_OK);
      CHECK_EQ(engine_refs(&b->e.s, b->made[i]), WR_REF_CREATOR | 1);
    }
    CHECK_EQ(b->other.hold_chunks.n, 1); /* no part of the table was lost */
    for (uint32_t i = 0; i < N; i++)
      while (engine_refs(&b->e.s, b->made[i]) != WR_REF_CREATOR)
        wr_hold_drop(&b->other, b->made[i]);
  }
  drop_objects(b);
}

TEST(holding) { refuse_each(make_objects, hold_many, unhold_all); }

static void hold_all(bench *b) {
  make_objects(b);
  for (uint32_t i = 0; i < N; i++) CHECK_EQ(wr_hold_take(&b->other, b->made[i], 0, NULL), WR_OK);
  drop_objects(b);
}

static void let_all_go(bench *b) {
  wr_vec32_free(&b->other.hold_pos);
  for (uint32_t i = 0; i < N; i++) wr_hold_drop(&b->other, b->made[i]);
}

static void nothing(bench *b) { (void)b; }

TEST(letting_go) { refuse_each(hold_all, let_all_go, nothing); }

/* The list of what is to be freed needs memory too; what does not fit is left to a sweep. */
static void make_bag(bench *b) {
  make_objects(b);
  wr_idx bag = engine_put(&b->e.me, 5, b->made, N);
  drop_objects(b);
  b->made[0] = engine_put(&b->e.me, 5, &bag, 1);
  b->n = 1;
  engine_drop(&b->e.me, bag);
}

TEST(freeing_nested_values) { refuse_each(make_bag, drop_objects, nothing); }
