#include <math.h>
#include <string.h>

#include "base/status.h"
#include "node/node.h"
#include "os/os.h"
#include "sched/ledger.h"
#include "shm/ring.h"
#include "wire/limits.h"

#define MEMORY_SHIFT 20 /* memory counts in MiB */

static int is_memory(const char *name) {
  return strcmp(name, "memory") == 0 || strcmp(name, "object_store_memory") == 0;
}

/* Fixed point, rounded to the nearest; INT32_MAX stands for more. */
static uint32_t fixed(double amount, uint32_t shift) {
  double v = ldexp(amount, -(int)shift) * WR_RES_SCALE + 0.5;
  return v >= (double)INT32_MAX ? INT32_MAX : (uint32_t)v;
}

static int add_resource(node *n, const char *name, size_t len, double amount, uint32_t *out) {
  wr_header *h = n->seg.h;
  uint32_t idx = wr_load32(&h->nresources);
  if (len == 0 || len >= sizeof n->seg.resources[0].name) return WR_INVAL;
  if (idx >= WR_MAX_RESOURCES) return WR_LIMIT;
  wr_resource *r = &n->seg.resources[idx];
  memset(r->name, 0, sizeof r->name);
  memcpy(r->name, name, len);
  r->unit_shift = is_memory(r->name) ? MEMORY_SHIFT : 0;
  uint32_t total = fixed(amount, r->unit_shift);
  wr_store32(&r->total, total);
  wr_store(&r->avail, wr_tag_make(total, 0, 0));
  wr_store32(&h->nresources, idx + 1);
  *out = idx;
  return WR_OK;
}

static int find_resource(node *n, const char *name, size_t len, uint32_t *out) {
  uint32_t count = wr_load32(&n->seg.h->nresources);
  for (uint32_t i = 0; i < count && i < WR_MAX_RESOURCES; i++) {
    const char *known = n->seg.resources[i].name;
    if (strnlen(known, sizeof n->seg.resources[i].name) == len && memcmp(known, name, len) == 0) {
      *out = i;
      return WR_OK;
    }
  }
  return WR_NOTFOUND;
}

static void add_if_missing(node *n, const char *name, double amount) {
  uint32_t idx;
  if (find_resource(n, name, strlen(name), &idx) == WR_NOTFOUND)
    add_resource(n, name, strlen(name), amount, &idx);
}

void node_resources_init(node *n, const node_config *cfg) {
  uint64_t memory = 0, store = n->seg.heap_chunks * WR_CHUNK;
  add_if_missing(n, "CPU", n->num_cpus); /* first: its index is WR_RES_CPU */
  for (uint32_t i = 0; i < cfg->nresources; i++)
    add_if_missing(n, cfg->resources[i].name, cfg->resources[i].amount);
  wr_os_memory_limit(&memory);
  add_if_missing(n, "memory", (double)(memory > store ? memory - store : memory) * 0.7);
  add_if_missing(n, "object_store_memory", (double)store);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static void insert_need(wr_need *needs, uint32_t *n, wr_need need) {
  uint32_t i = (*n)++;
  for (; i > 0 && needs[i - 1].res > need.res; i--) needs[i] = needs[i - 1];
  needs[i] = need;
}

static int read_needs(node *n, wr_cursor *c, wr_need needs[WR_SHAPE_RESOURCES], uint32_t *count) {
  uint32_t items;
  *count = 0;
  if (wr_in_map(c, &items) != WR_OK) return WR_PROTO;
  for (uint32_t i = 0; i < items; i++) {
    wr_bytes name;
    double amount;
    if (wr_in_bytes(c, &name) != WR_OK || wr_in_double(c, &amount) != WR_OK) return WR_PROTO;
    if (!(amount >= 0) || (name.len && memchr(name.p, 0, name.len))) return WR_INVAL;
    if (amount == 0) continue;
    if (*count == WR_SHAPE_RESOURCES) return WR_LIMIT;
    wr_need need = {0, 0};
    int rc = find_resource(n, (const char *)name.p, name.len, &need.res);
    if (rc == WR_NOTFOUND) rc = add_resource(n, (const char *)name.p, name.len, 0, &need.res);
    if (rc != WR_OK) return rc;
    need.amount = fixed(amount, n->seg.resources[need.res].unit_shift);
    if (need.amount == 0) need.amount = 1;
    insert_need(needs, count, need);
  }
  return WR_OK;
}

static int same_shape(const wr_shape *s, uint32_t pool, const wr_need *needs, uint32_t n) {
  return wr_load32(&s->state) == 1 && s->pool == pool && s->n == n &&
         memcmp(s->need, needs, n * sizeof *needs) == 0;
}

int node_shape_get(node *n, uint32_t pool, wr_cursor *c, uint32_t *shape) {
  wr_need needs[WR_SHAPE_RESOURCES];
  uint32_t count, unused = 0;
  int rc = read_needs(n, c, needs, &count);
  if (rc != WR_OK) return rc;
  if (pool >= WR_MAX_POOLS || !n->pools[pool]) return WR_INVAL;
  for (uint32_t i = 1; i < WR_MAX_SHAPES; i++) {
    const wr_shape *s = &n->seg.shapes[i];
    *shape = i;
    if (same_shape(s, pool, needs, count)) return WR_OK;
    if (!unused && wr_load32(&s->state) == 0) unused = i;
  }
  if (!unused) return WR_LIMIT;
  wr_shape *s = &n->seg.shapes[unused];
  s->pool = pool;
  s->n = count;
  memcpy(s->need, needs, count * sizeof *needs);
  wr_store32(&s->spilled, 0);
  wr_store32(&s->state, 1);
  if (wr_load32(&n->seg.h->nshapes) <= unused) wr_store32(&n->seg.h->nshapes, unused + 1);
  *shape = unused;
  return WR_OK;
}

/* A stale entry left in a queue is skipped by whoever takes it: its task is claimed on its own
 * word. */
/* What is left in the queue must not be met by those who get the shape's number next. */
static void drain(node *n, wr_shape *s) {
  wr_a32 hand;
  uint32_t task;
  while (wr_ring_take(&n->seg, &s->ready, &task, &hand) == WR_OK) {
  }
  while (wr_ring_take(&n->seg, &s->overflow, &task, &hand) == WR_OK) {
  }
}

void node_shapes_free(node *n, uint32_t pool) {
  for (uint32_t i = 1; i < WR_MAX_SHAPES; i++) {
    wr_shape *s = &n->seg.shapes[i];
    if (wr_load32(&s->state) != 1 || s->pool != pool) continue;
    drain(n, s);
    wr_store32(&s->state, 0);
  }
  for (uint32_t i = 0; i < WR_MAX_SHAPES / 64; i++) wr_store(&n->seg.pools[pool].shapes[i], 0);
}

uint32_t node_shape_runnable(node *n, uint32_t shape) {
  const wr_shape *s = &n->seg.shapes[shape];
  uint64_t queued = wr_ring_len(&s->ready) + wr_ring_len(&s->overflow) + wr_load32(&s->spilled);
  uint32_t count = s->n <= WR_SHAPE_RESOURCES ? s->n : 0;
  uint64_t fit = queued < WR_MAX_PROCS ? queued : WR_MAX_PROCS;
  for (uint32_t i = 0; i < count && fit; i++) {
    wr_need need = s->need[i];
    if (need.res >= WR_MAX_RESOURCES || need.amount == 0) continue;
    int32_t avail = (int32_t)wr_tag_value(wr_load(&n->seg.resources[need.res].avail));
    uint64_t times = avail > 0 ? (uint32_t)avail / need.amount : 0;
    if (times < fit) fit = times;
  }
  return (uint32_t)fit;
}
