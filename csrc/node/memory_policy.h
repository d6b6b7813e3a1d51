/* node/memory_policy.h - whether memory is short, when to look again, and whose process has to end:
 * pure functions. */
#ifndef WR_NODE_MEMORY_POLICY_H
#define WR_NODE_MEMORY_POLICY_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint32_t slot;
  int pid;
  int retriable;     /* what it runs will be run again */
  uint64_t since_ns; /* when it was first seen running that */
  uint64_t bytes;    /* of its own: memory that it shares does not count */
} node_memory_user;

int node_memory_short(uint64_t used, uint64_t limit, double threshold);
/* Milliseconds until memory can be short at the earliest, between least and most. */
uint32_t node_memory_next_look(uint64_t used, uint64_t limit, double threshold, uint32_t cpus,
                               uint32_t least_ms, uint32_t most_ms);
/* Index of the one to end: of those that can be retried the newest, so that the oldest get done;
 * else the newest of the others; of several the largest.  -1: there is none. */
int node_memory_victim(const node_memory_user *u, size_t n);
/* Largest first. */
void node_memory_sort(node_memory_user *u, size_t n);

#endif
