/* benchmarks/c/store.c - the engine's own parts, without Python and without a daemon: rings, the
 * records and queue a task goes through, memory for values, objects.  A row is the median over
 * windows of the time per operation; rows of two processes run on two CPUs.
 * needs: csrc/base/assert.c csrc/base/mem.c csrc/base/status.c csrc/base/vec.c
 * needs: csrc/os/futex.c csrc/os/mem.c csrc/os/proc.c csrc/os/sock.c csrc/os/time.c
 * needs: csrc/shm/ring.c csrc/shm/segment.c csrc/shm/tagged.c
 * needs: csrc/store/heap.c csrc/store/objects.c csrc/store/records.c csrc/store/refs.c
 * needs: csrc/store/self.c
 * flags: -D_GNU_SOURCE
 */
#include "bench.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "shm/ring.h"
#include "store/heap.h"
#include "store/objects.h"
#include "store/records.h"

enum { WINDOWS = 15, FIRST_SLOT = 1, SECOND_SLOT = 2, GEN = 1 };
#define MIB ((uint64_t)1 << 20)

typedef struct {
  wr_seg seg;
  wr_self me;
  wr_ring *ring; /* of the segment: used between processes */
  int cpus[2];   /* both the same where there is only one */
} bench;

static void must(int rc) {
  if (rc >= 0) return;
  fprintf(stderr, "%s\n", wr_status_text(rc));
  exit(1);
}

/* Median nanoseconds of one of the `count` operations that a call of op does, after a warm-up. */
static void row(const char *name, bench *b, void (*op)(bench *b, uint32_t count), uint32_t count) {
  int64_t taken[WINDOWS];
  op(b, count);
  for (int w = 0; w < WINDOWS; w++) {
    int64_t start = bench_now_ns();
    op(b, count);
    taken[w] = bench_now_ns() - start;
  }
  bench_print(name, bench_percentile(taken, WINDOWS, 0.5) / count, "ns");
}

/* ---- two processes ------------------------------------------------------------------------- */

static void pin(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET((size_t)cpu, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) bench_fail("sched_setaffinity");
}

static uint32_t take_value(wr_self *me, wr_ring *ring) {
  uint32_t value;
  while (wr_ring_take(me->s, ring, &value, &me->p->hand) != WR_OK) wr_cpu_relax();
  wr_store32(&me->p->hand, 0);
  return value;
}

/* As row, where a second process does `consume` with what op puts on the ring; 0 ends it. */
static void row_of_two(const char *name, bench *b, void (*op)(bench *b, uint32_t count),
                       void (*consume)(wr_self *me, uint32_t value), uint32_t count) {
  pid_t child = fork();
  if (child < 0) bench_fail("fork");
  if (child == 0) {
    wr_self me;
    pin(b->cpus[1]);
    must(wr_self_init(&me, &b->seg, SECOND_SLOT, 1));
    for (uint32_t v; (v = take_value(&me, b->ring)) != 0;) consume(&me, v);
    _exit(0);
  }
  row(name, b, op, count);
  while (wr_ring_put(&b->seg, b->ring, 0) != WR_OK) wr_cpu_relax();
  waitpid(child, NULL, 0);
}

static void put_value(bench *b, uint32_t value) {
  while (wr_ring_put(&b->seg, b->ring, value) != WR_OK) wr_cpu_relax();
}

static void drain(bench *b) {
  while (!wr_ring_empty(&b->seg, b->ring)) wr_cpu_relax();
}

/* ---- rings and records --------------------------------------------------------------------- */

static void put_and_take(bench *b, uint32_t count) {
  for (uint32_t i = 1; i <= count; i++) {
    put_value(b, i);
    (void)take_value(&b->me, b->ring);
  }
}

static void put_only(bench *b, uint32_t count) {
  for (uint32_t i = 1; i <= count; i++) put_value(b, i);
  drain(b);
}

static void nothing(wr_self *me, uint32_t value) {
  (void)me;
  (void)value;
}

static wr_idx new_task(bench *b) {
  wr_idx i;
  must(wr_rec_alloc(&b->me, WR_REC_TASKS, &i));
  wr_objects_init(&b->me, i, WR_REF_TASK);
  uint32_t gen = wr_gen_of(&b->seg, i);
  wr_task *t = wr_task_at(&b->seg, i);
  t->args = 0;
  t->flags = 0;
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_QUEUED, 0, 0, gen));
  return i;
}

static void free_task(wr_self *me, uint32_t i) {
  wr_refs_clear(me, i, wr_gen_of(me->s, i), WR_REF_TASK);
}

static void queue_own(bench *b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    put_value(b, new_task(b));
    free_task(&b->me, take_value(&b->me, b->ring));
  }
}

static void queue_to_other(bench *b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) put_value(b, new_task(b));
  drain(b);
}

/* ---- memory for values --------------------------------------------------------------------- */

static uint64_t size; /* of the values of a row */

static void memory_own(bench *b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    uint64_t off;
    must(wr_heap_alloc(&b->me, size, 1, GEN, &off));
    wr_heap_free(&b->me, off, 1, GEN);
  }
}

static void memory_to_other(bench *b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    uint64_t off;
    must(wr_heap_alloc(&b->me, size, 1, GEN, &off));
    put_value(b, (uint32_t)(off / 64));
  }
  drain(b);
}

static void free_memory(wr_self *me, uint32_t at) { wr_heap_free(me, (uint64_t)at * 64, 1, GEN); }

/* Create, reserve, seal, drop; the value is not written. */
static void objects(bench *b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    wr_idx idx;
    uint32_t gen;
    uint8_t *dst;
    must(wr_objects_create(&b->me, WR_REF_CREATOR, &idx, &gen));
    must(wr_objects_reserve(&b->me, idx, size, NULL, 0, &dst));
    BENCH_KEEP(dst);
    must(wr_objects_seal(&b->me, idx, 0, 0));
    wr_refs_clear(&b->me, idx, gen, WR_REF_CREATOR);
  }
}

/* A second reference of this process is private; the first is a tagged operation each way. */
static void holds(bench *b, uint32_t count) {
  wr_idx idx;
  uint32_t gen;
  must(wr_objects_create(&b->me, WR_REF_CREATOR, &idx, &gen));
  for (uint32_t i = 0; i < count; i++) {
    must(wr_hold_take(&b->me, idx, gen, NULL));
    wr_hold_drop(&b->me, idx);
  }
  wr_refs_clear(&b->me, idx, gen, WR_REF_CREATOR);
}

/* ---- all ----------------------------------------------------------------------------------- */

static void rows_of_one(bench *b) {
  row("ring_put_take", b, put_and_take, 1000000);
  row("queue_task_own", b, queue_own, 300000);
  size = 100;
  row("block_100b_own", b, memory_own, 1000000);
  size = 100 * 1024;
  row("block_100kib_own", b, memory_own, 1000000);
  size = MIB;
  row("run_1mib_warm", b, memory_own, 100000);
  size = 16;
  row("object_inline", b, objects, 1000000);
  size = 1000;
  row("object_1kb", b, objects, 500000);
  size = MIB;
  row("object_1mib", b, objects, 100000);
  row("hold_take_drop", b, holds, 500000);
}

static void rows_of_two(bench *b) {
  row_of_two("ring_two_processes", b, put_only, nothing, 1000000);
  row_of_two("queue_task_two_processes", b, queue_to_other, free_task, 300000);
  size = 100;
  row_of_two("block_100b_freed_by_other", b, memory_to_other, free_memory, 300000);
  size = MIB;
  row_of_two("run_1mib_freed_by_other", b, memory_to_other, free_memory, 20000);
}

int main(void) {
  static bench b;
  cpu_set_t allowed;
  const wr_seg_config cfg = {.heap_bytes = 2048 * MIB, .cpus = 2};
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) bench_fail("sched_getaffinity");
  int found = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
    if (CPU_ISSET((size_t)cpu, &allowed)) b.cpus[found++] = cpu;
  must(wr_seg_create(&b.seg, &cfg));
  must(wr_self_init(&b.me, &b.seg, FIRST_SLOT, 1));
  wr_ring_init(b.ring = &b.seg.shapes[0].ready, b.seg.h->rings, 1024);
  pin(b.cpus[0]);
  rows_of_one(&b);
  if (found == 2) rows_of_two(&b);
  wr_self_close(&b.me);
  wr_seg_detach(&b.seg);
  return 0;
}
