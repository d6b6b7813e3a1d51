#include "node/memory_policy.h"

#include <stdlib.h>

#define FILL_RATE (UINT64_C(2) << 30) /* bytes per second that one core may fill */

static uint64_t bound(uint64_t limit, double threshold) {
  return (uint64_t)((double)limit * threshold);
}

int node_memory_short(uint64_t used, uint64_t limit, double threshold) {
  return limit && used > bound(limit, threshold);
}

uint32_t node_memory_next_look(uint64_t used, uint64_t limit, double threshold, uint32_t cpus,
                               uint32_t least_ms, uint32_t most_ms) {
  uint64_t most = bound(limit, threshold), rate = FILL_RATE * (cpus ? cpus : 1) / 1000;
  uint64_t ms = used < most ? (most - used) / rate : 0;
  if (most_ms < least_ms) most_ms = least_ms;
  return ms < least_ms ? least_ms : ms > most_ms ? most_ms : (uint32_t)ms;
}

/* Would b rather be ended than a? */
static int rather(const node_memory_user *a, const node_memory_user *b) {
  if (a->retriable != b->retriable) return b->retriable;
  if (a->since_ns != b->since_ns) return b->since_ns > a->since_ns;
  return b->bytes > a->bytes;
}

int node_memory_victim(const node_memory_user *u, size_t n) {
  if (!n) return -1;
  size_t best = 0;
  for (size_t i = 1; i < n; i++)
    if (rather(&u[best], &u[i])) best = i;
  return (int)best;
}

static int larger(const void *a, const void *b) {
  uint64_t x = ((const node_memory_user *)a)->bytes, y = ((const node_memory_user *)b)->bytes;
  return x < y ? 1 : x > y ? -1 : 0;
}

void node_memory_sort(node_memory_user *u, size_t n) {
  if (n) qsort(u, n, sizeof *u, larger);
}
