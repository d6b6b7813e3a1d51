#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_long countdown; /* 0: off; negative: refuse all */
static atomic_long failures;
static atomic_int for_good;

void wr_mem_fail_at(long n, int persistent) {
  atomic_store(&failures, 0);
  atomic_store(&for_good, persistent);
  atomic_store(&countdown, n);
}

long wr_mem_failures(void) { return atomic_load(&failures); }

static int refused(void) {
  long c = atomic_load_explicit(&countdown, memory_order_relaxed);
  if (c == 0) return 0;
  if (c > 0) {
    if (atomic_fetch_sub(&countdown, 1) != 1) return 0;
    if (atomic_load(&for_good)) atomic_store(&countdown, -1);
  }
  atomic_fetch_add(&failures, 1);
  return 1;
}

void *wr_alloc(size_t n) { return refused() ? NULL : calloc(1, n ? n : 1); }
void *wr_realloc(void *p, size_t n) { return refused() ? NULL : realloc(p, n ? n : 1); }
void wr_free(void *p) { free(p); }
