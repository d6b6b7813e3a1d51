#include "node/table.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "wire/frame.h"

static uint64_t hash_of(const node_table *t, wr_bytes key) {
  uint64_t h = t->seed ^ UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < key.len; i++) h = (h ^ key.p[i]) * UINT64_C(0x100000001b3);
  return h ^ h >> 29;
}

static int same(wr_bytes a, wr_bytes b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* The link that points at the entry, or the one where it would be added. */
static node_entry **link_of(const node_table *t, wr_bytes key, uint64_t hash) {
  node_entry **at = &t->buckets[hash & (t->cap - 1)];
  while (*at && ((*at)->hash != hash || !same((*at)->key, key))) at = &(*at)->next;
  return at;
}

node_entry *node_table_find(const node_table *t, wr_bytes key) {
  return t->cap ? *link_of(t, key, hash_of(t, key)) : NULL;
}

static int grow(node_table *t) {
  size_t cap = t->cap ? 2 * t->cap : 16;
  node_entry **buckets = wr_alloc(cap * sizeof *buckets);
  if (!buckets) return WR_NOMEM;
  for (size_t i = 0; i < t->cap; i++)
    for (node_entry *e = t->buckets[i], *next; e; e = next) {
      next = e->next;
      e->next = buckets[e->hash & (cap - 1)];
      buckets[e->hash & (cap - 1)] = e;
    }
  wr_free(t->buckets);
  t->buckets = buckets;
  t->cap = cap;
  return WR_OK;
}

static node_entry *make_entry(wr_bytes key, wr_bytes value, uint64_t hash) {
  if (key.len > SIZE_MAX / 4 || value.len > SIZE_MAX / 4) return NULL;
  node_entry *e = wr_alloc(sizeof *e + key.len + value.len);
  if (!e) return NULL;
  uint8_t *data = (uint8_t *)(e + 1);
  if (key.len) memcpy(data, key.p, key.len);
  if (value.len) memcpy(data + key.len, value.p, value.len);
  *e = (node_entry){NULL, hash, {data, key.len}, {data + key.len, value.len}};
  return e;
}

static void drop_at(node_table *t, node_entry **at) {
  node_entry *e = *at;
  *at = e->next;
  t->n--;
  t->bytes -= e->key.len + e->value.len;
  wr_free(e);
}

int node_table_put(node_table *t, wr_bytes key, wr_bytes value) {
  uint64_t hash = hash_of(t, key);
  if (t->n >= t->cap && grow(t) != WR_OK && t->cap == 0) return WR_NOMEM;
  node_entry *e = make_entry(key, value, hash);
  if (!e) return WR_NOMEM;
  node_entry **at = link_of(t, key, hash);
  if (*at) drop_at(t, at);
  e->next = *at;
  *at = e;
  t->n++;
  t->bytes += key.len + value.len;
  return WR_OK;
}

int node_table_drop(node_table *t, wr_bytes key) {
  if (!t->cap) return 0;
  node_entry **at = link_of(t, key, hash_of(t, key));
  if (!*at) return 0;
  drop_at(t, at);
  return 1;
}

void node_table_each(node_table *t, int (*visit)(node_entry *e, void *arg), void *arg) {
  for (size_t i = 0; i < t->cap; i++)
    for (node_entry **at = &t->buckets[i]; *at;) {
      if (visit(*at, arg))
        drop_at(t, at);
      else
        at = &(*at)->next;
    }
}

static int drop_all(node_entry *e, void *arg) {
  (void)e;
  (void)arg;
  return 1;
}

void node_table_free(node_table *t) {
  node_table_each(t, drop_all, NULL);
  wr_free(t->buckets);
  memset(t, 0, sizeof *t);
}

int node_key_make(wr_buf *key, wr_bytes ns, wr_bytes name) {
  uint8_t len[4];
  wr_put_u32(len, (uint32_t)ns.len);
  wr_buf_append(key, len, sizeof len);
  wr_buf_append(key, ns.p, ns.len);
  wr_buf_append(key, name.p, name.len);
  return key->failed ? WR_NOMEM : WR_OK;
}

void node_key_split(wr_bytes key, wr_bytes *ns, wr_bytes *name) {
  uint32_t len = wr_get_u32(key.p);
  *ns = (wr_bytes){key.p + 4, len};
  *name = (wr_bytes){key.p + 4 + len, key.len - 4 - len};
}
