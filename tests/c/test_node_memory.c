/* Whose process ends when memory is short: pure functions of who uses what. */
#include "check.h"

#include "node/memory_policy.h"

#define GIB ((uint64_t)1 << 30)

TEST(short_is_above_the_threshold) {
  CHECK(!node_memory_short(95, 100, 0.95));
  CHECK(node_memory_short(96, 100, 0.95));
  CHECK(!node_memory_short(100, 100, 1.0));
  CHECK(!node_memory_short(5, 0, 0.95)); /* nothing is known */
  CHECK(node_memory_short(1, 100, 0.0));
}

TEST(looks_are_as_rare_as_memory_is_plenty) {
  CHECK_EQ(node_memory_next_look(0, 100 * GIB, 0.95, 1, 250, 2000), 2000);
  CHECK_EQ(node_memory_next_look(94 * GIB, 100 * GIB, 0.95, 1, 250, 2000), 500);
  CHECK_EQ(node_memory_next_look(94 * GIB, 100 * GIB, 0.95, 4, 250, 2000), 250);
  CHECK_EQ(node_memory_next_look(99 * GIB, 100 * GIB, 0.95, 1, 250, 2000), 250);
  CHECK_EQ(node_memory_next_look(0, 100 * GIB, 0.95, 1, 5000, 2000), 5000);
}

TEST(the_newest_that_can_be_retried_goes_first) {
  node_memory_user u[] = {{.slot = 1, .retriable = 0, .since_ns = 90, .bytes = 9},
                          {.slot = 2, .retriable = 1, .since_ns = 20, .bytes = 50},
                          {.slot = 3, .retriable = 1, .since_ns = 30, .bytes = 1},
                          {.slot = 4, .retriable = 0, .since_ns = 95, .bytes = 99}};
  CHECK_EQ(node_memory_victim(u, 0), -1);
  CHECK_EQ(u[node_memory_victim(u, 1)].slot, 1);
  CHECK_EQ(u[node_memory_victim(u, 4)].slot, 3);
  u[2].retriable = 0;
  CHECK_EQ(u[node_memory_victim(u, 4)].slot, 2);
  u[1].retriable = 0;
  CHECK_EQ(u[node_memory_victim(u, 4)].slot, 4);
}

TEST(of_those_seen_at_once_the_largest) {
  node_memory_user u[] = {{.slot = 1, .retriable = 1, .since_ns = 5, .bytes = 10},
                          {.slot = 2, .retriable = 1, .since_ns = 5, .bytes = 30},
                          {.slot = 3, .retriable = 1, .since_ns = 5, .bytes = 20}};
  CHECK_EQ(u[node_memory_victim(u, 3)].slot, 2);
  node_memory_sort(u, 3);
  CHECK_EQ(u[0].slot, 2);
  CHECK_EQ(u[1].slot, 3);
  CHECK_EQ(u[2].slot, 1);
  node_memory_sort(u, 0);
}
