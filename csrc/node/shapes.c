#include <string.h>

#include "base/status.h"
#include "node/node.h"
#include "os/os.h"
#include "sched/gpu.h"
#include "sched/group.h"
#include "sched/group_end.h"
#include "sched/ledger.h"
#include "sched/shapes.h"
#include "shm/ring.h"
#include "wire/limits.h"

#define MEMORY_SHIFT 20 /* memory counts in MiB */
/* Every node has 1 of each resource whose name begins like this, without being told: with them
 * Ray's libraries limit how much of something runs on a node. */
#define IMPLICIT "node:__internal_implicit_resource_"

static int is_memory(const char *name) {
  return strcmp(name, "memory") == 0 || strcmp(name, "object_store_memory") == 0;
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
  uint32_t total = wr_ledger_fixed(amount, r->unit_shift);
  wr_store32(&r->total, total);
  wr_store(&r->avail, wr_tag_make(total, 0, 0));
  wr_store32(&h->nresources, idx + 1);
  *out = idx;
  return WR_OK;
}

/* A resource that is new and that a claim names: there is none of it, unless it is implicit. */
static int add_wanted(node *n, const char *name, size_t len, uint32_t *out) {
  size_t prefix = sizeof IMPLICIT - 1;
  int implicit = len > prefix && memcmp(name, IMPLICIT, prefix) == 0;
  return add_resource(n, name, len, implicit, out);
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
  uint64_t memory = 0, store = n->seg.store_chunks * WR_CHUNK;
  add_if_missing(n, "CPU", n->num_cpus); /* first: its index is WR_RES_CPU */
  for (uint32_t i = 0; i < cfg->nresources; i++)
    add_if_missing(n, cfg->resources[i].name, cfg->resources[i].amount);
  wr_os_memory_limit(&memory);
  add_if_missing(n, "memory", (double)(memory > store ? memory - store : memory) * 0.7);
  add_if_missing(n, "object_store_memory", (double)store);
  uint32_t gpu;
  if (find_resource(n, "GPU", 3, &gpu) == WR_OK)
    wr_gpus_init(&n->seg, wr_load32(&n->seg.resources[gpu].total));
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
    if (rc == WR_NOTFOUND) rc = add_wanted(n, (const char *)name.p, name.len, &need.res);
    if (rc != WR_OK) return rc;
    need.amount = wr_ledger_fixed(amount, n->seg.resources[need.res].unit_shift);
    if (need.amount == 0) need.amount = 1;
    insert_need(needs, count, need);
  }
  return WR_OK;
}

/* Where in a group the claims of a shape come from: see wr_shape. */
typedef struct {
  uint32_t group, gen, bundle;
} place;

typedef struct {
  uint32_t pool, n;
  place at;
  wr_need needs[WR_SHAPE_RESOURCES];
} demand;

static int same_shape(const wr_shape *s, const demand *d) {
  return wr_load32(&s->state) == WR_SHAPE_OPEN && s->pool == d->pool && s->n == d->n &&
         s->group == d->at.group &&
         (!d->at.group || (s->group_gen == d->at.gen && s->bundle == d->at.bundle)) &&
         memcmp(s->need, d->needs, d->n * sizeof *d->needs) == 0;
}

/* The fields behind the needs: group, its generation, number of the bundle plus one. */
static int read_place(node *n, wr_cursor *c, place *at) {
  *at = (place){0, 0, 0};
  if (c->p == c->end) return WR_OK;
  if (wr_in_u32(c, &at->group) != WR_OK || wr_in_u32(c, &at->gen) != WR_OK ||
      wr_in_u32(c, &at->bundle) != WR_OK || at->group > WR_MAX_GROUPS)
    return WR_PROTO;
  if (!at->group) return WR_OK;
  const wr_group *g = wr_group_at(&n->seg, at->group - 1);
  if (!wr_groups_know(&n->seg, at->group - 1, at->gen)) return WR_STALE;
  uint32_t first = g->first, count = g->n;
  if (first >= WR_MAX_BUNDLES || count > WR_MAX_BUNDLES - first || at->bundle > count)
    return WR_INVAL;
  if (at->bundle) at->bundle += first;
  return WR_OK;
}

static uint32_t gpus_in(const node *n, const wr_need *needs, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (strcmp(n->seg.resources[needs[i].res].name, "GPU") == 0) return needs[i].amount;
  return 0;
}

/* WR_NOTFOUND: it has no number, this one is free; WR_LIMIT: and none is free. */
static int find(const node *n, const demand *d, uint32_t *number) {
  uint32_t unused = 0;
  for (uint32_t i = 1; i < WR_MAX_SHAPES; i++) {
    const wr_shape *s = &n->seg.shapes[i];
    *number = i;
    if (same_shape(s, d)) return WR_OK;
    if (!unused && wr_load32(&s->state) == WR_SHAPE_FREE) unused = i;
  }
  *number = unused;
  return unused ? WR_NOTFOUND : WR_LIMIT;
}

static void open_shape(node *n, uint32_t i, const demand *d) {
  wr_shape *s = &n->seg.shapes[i];
  s->pool = d->pool;
  s->n = d->n;
  s->group = d->at.group;
  s->group_gen = d->at.gen;
  s->bundle = d->at.bundle;
  s->gpu = gpus_in(n, d->needs, d->n);
  memcpy(s->need, d->needs, d->n * sizeof *d->needs);
  wr_shape_open(&n->seg, i);
}

int node_shape_get(node *n, uint32_t pool, wr_cursor *c, uint32_t *ticket) {
  demand d = {.pool = pool};
  uint32_t i;
  int rc = read_needs(n, c, d.needs, &d.n);
  if (rc == WR_OK) rc = read_place(n, c, &d.at);
  if (rc != WR_OK) return rc;
  if (pool >= WR_MAX_POOLS || !n->pools[pool]) return WR_INVAL;
  rc = find(n, &d, &i);
  if (rc == WR_LIMIT && wr_shapes_reclaim(&n->sweeper.self, wr_os_barrier)) rc = find(n, &d, &i);
  if (rc == WR_NOTFOUND) {
    open_shape(n, i, &d);
    rc = WR_OK;
  }
  *ticket = WR_TICKET(i, wr_load32(&n->seg.h->shape_round));
  return rc;
}

void node_shapes_free(node *n, uint32_t pool) {
  for (uint32_t i = 1; i < WR_MAX_SHAPES; i++)
    if (wr_load32(&n->seg.shapes[i].state) == WR_SHAPE_OPEN && n->seg.shapes[i].pool == pool)
      wr_shape_free(&n->seg, i);
  for (uint32_t i = 0; i < WR_MAX_SHAPES / 64; i++) wr_store(&n->seg.pools[pool].shapes[i], 0);
}

void node_shapes_free_group(node *n, uint32_t group, uint32_t gen) {
  for (uint32_t i = 1; i < WR_MAX_SHAPES; i++)
    if (wr_group_has_shape(&n->seg, group, gen, i)) wr_shape_free(&n->seg, i);
}

/* Numbers for names of resources, made where a name is new. */
void node_resources_find(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint32_t count, res;
  wr_bytes name;
  int rc = wr_in_array(c, &count);
  wr_buf b = {0};
  wr_out_array(&b, rc == WR_OK ? count : 0);
  for (uint32_t i = 0; rc == WR_OK && i < count; i++) {
    rc = wr_in_bytes(c, &name);
    if (rc == WR_OK && name.len && memchr(name.p, 0, name.len)) rc = WR_INVAL;
    if (rc == WR_OK) rc = find_resource(n, (const char *)name.p, name.len, &res);
    if (rc == WR_NOTFOUND) rc = add_wanted(n, (const char *)name.p, name.len, &res);
    wr_out_uint(&b, res);
  }
  node_conn_answer(p->conn, id, rc, &b);
}

uint32_t node_shape_runnable(node *n, uint32_t shape) {
  const wr_shape *s = &n->seg.shapes[shape];
  uint64_t queued = wr_ring_len(&s->ready) + wr_ring_len(&s->overflow) + wr_load32(&s->spilled);
  return wr_ledger_times(&n->seg, shape, queued < WR_MAX_PROCS ? (uint32_t)queued : WR_MAX_PROCS);
}
