#include "node/pool_policy.h"

static uint32_t max32(uint32_t a, uint32_t b) { return a > b ? a : b; }
static uint32_t min32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t minus(uint32_t a, uint32_t b) { return a > b ? a - b : 0; }

uint32_t node_pool_to_start(const node_pool_counts *c) {
  uint32_t present = c->idle + c->busy + c->starting;
  uint32_t for_stock = minus(c->keep, present);
  uint32_t for_tasks = minus(c->runnable, c->idle + c->starting);
  uint32_t room_now = minus(max32(4, 2 * c->cpus), c->starting);
  uint32_t room_ever = minus(max32(NODE_POOL_MAX_BUSY, c->keep), present);
  return min32(max32(for_stock, for_tasks), min32(room_now, room_ever));
}

uint32_t node_pool_to_retire(const node_pool_counts *c) {
  if (c->runnable) return 0;
  return min32(c->idle, minus(c->idle + c->busy, c->keep));
}
