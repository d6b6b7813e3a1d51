/* The door to private memory, and how it is made to fail. */
#include "check.h"

#include "base/mem.h"

TEST(memory_is_zeroed_and_never_empty) {
  uint8_t zero[4096] = {0}, *p = wr_alloc(sizeof zero);
  CHECK_MEM(p, zero, sizeof zero);
  wr_free(p);
  for (int i = 0; i < 2; i++) {
    p = i ? wr_alloc(0) : wr_realloc(NULL, 0);
    CHECK(p != NULL);
    wr_free(p);
  }
  wr_free(NULL);
}

/* Which of ten allocations are refused, as bits. */
static unsigned refusals(void) {
  unsigned bits = 0;
  for (unsigned i = 0; i < 10; i++) {
    void *p = i & 1 ? wr_realloc(NULL, 8) : wr_alloc(8);
    if (!p) bits |= 1u << i;
    wr_free(p);
  }
  return bits;
}

TEST(one_allocation_fails) {
  for (long n = 1; n <= 10; n++) {
    wr_mem_fail_at(n, 0);
    CHECK_EQ(refusals(), 1u << (n - 1));
    CHECK_EQ(wr_mem_failures(), 1);
  }
  wr_mem_fail_at(11, 0);
  CHECK_EQ(refusals(), 0);
  CHECK_EQ(wr_mem_failures(), 0);
  wr_mem_fail_at(0, 0);
  CHECK_EQ(refusals(), 0);
}

TEST(all_that_follow_fail) {
  for (long n = 1; n <= 10; n++) {
    wr_mem_fail_at(n, 1);
    CHECK_EQ(refusals(), 0x3FFu & ~((1u << (n - 1)) - 1));
    CHECK_EQ(wr_mem_failures(), 11 - n);
  }
  wr_mem_fail_at(0, 0);
  CHECK_EQ(refusals(), 0);
  CHECK_EQ(wr_mem_failures(), 0);
}

TEST(a_refused_reallocation_leaves_the_block) {
  char *p = wr_alloc(8), *q;
  memcpy(p, "unmoved", 8);
  wr_mem_fail_at(1, 0);
  CHECK(wr_realloc(p, 1 << 20) == NULL);
  CHECK_STR(p, "unmoved");
  q = wr_realloc(p, 1 << 20);
  CHECK_STR(q, "unmoved");
  wr_free(q);
}
