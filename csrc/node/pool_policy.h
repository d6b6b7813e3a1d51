/* node/pool_policy.h - how many workers a pool should start or let go: pure functions of counts. */
#ifndef WR_NODE_POOL_POLICY_H
#define WR_NODE_POOL_POLICY_H

#include <stdint.h>

typedef struct {
  uint32_t keep;     /* workers to keep ready whatever happens: the CPUs of the session */
  uint32_t cpus;     /* for the limit on how many start at once */
  uint32_t starting; /* asked for, not running yet */
  uint32_t idle;     /* live, waiting for tasks */
  uint32_t busy;     /* live, in a task, using its resources */
  uint32_t blocked;  /* live, in a task that waits; does not count */
  uint32_t runnable; /* queued tasks whose resources are available now */
} node_pool_counts;

#define NODE_POOL_MAX_BUSY 512u /* beyond this many workers a pool grows no further */

uint32_t node_pool_to_start(const node_pool_counts *c);
uint32_t node_pool_to_retire(const node_pool_counts *c); /* idle ones beyond what is kept */

#endif
