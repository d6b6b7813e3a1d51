/* benchmarks/c/bench.h - what every C benchmark of this folder shares: clock, percentile, output.
 * A program prints one JSON object per line: {"name": ..., "value": ..., "unit": ...}.
 * Sources that a program needs from the repository stand in a comment of its first lines:
 *   "needs: csrc/shm/ring.c csrc/base/status.c", "flags: -pthread".
 */
#ifndef WR_BENCH_H
#define WR_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline int64_t bench_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int bench_order(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

/* Sorts the samples; share is 0 to 1. */
static inline double bench_percentile(int64_t *samples, size_t count, double share) {
  qsort(samples, count, sizeof *samples, bench_order);
  size_t at = (size_t)((double)count * share);
  return (double)samples[at < count ? at : count - 1];
}

static inline void bench_print(const char *name, double value, const char *unit) {
  printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, value, unit);
  fflush(stdout);
}

/* Keeps the compiler from dropping a result that nobody reads. */
#define BENCH_KEEP(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

static inline void bench_fail(const char *what) {
  perror(what);
  exit(1);
}

#endif
