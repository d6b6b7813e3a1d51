#include "base/vec.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"

static uint32_t next_cap(uint32_t cap, uint32_t want) {
  uint32_t c = cap ? cap * 2 : 64;
  return c < want ? want : c;
}

int wr_vec32_grow(wr_vec32 *a, uint32_t want) {
  if (want <= a->cap) return WR_OK;
  uint32_t cap = next_cap(a->cap, want);
  uint32_t *v = wr_realloc(a->v, (size_t)cap * sizeof *v);
  if (!v) return WR_NOMEM;
  a->v = v;
  a->cap = cap;
  return WR_OK;
}

int wr_vec64_grow(wr_vec64 *a, uint32_t want) {
  if (want <= a->cap) return WR_OK;
  uint32_t cap = next_cap(a->cap, want);
  uint64_t *v = wr_realloc(a->v, (size_t)cap * sizeof *v);
  if (!v) return WR_NOMEM;
  a->v = v;
  a->cap = cap;
  return WR_OK;
}

void wr_vec32_free(wr_vec32 *a) {
  wr_free(a->v);
  memset(a, 0, sizeof *a);
}

void wr_vec64_free(wr_vec64 *a) {
  wr_free(a->v);
  memset(a, 0, sizeof *a);
}

void *wr_vec_room(void *v, uint32_t n, uint32_t *cap, size_t size) {
  if (n < *cap) return v;
  uint32_t more = next_cap(*cap, n + 1);
  void *moved = wr_realloc(v, more * size);
  if (moved) *cap = more;
  return moved;
}

static uint32_t home(uint32_t key, uint32_t cap) { return (key * 2654435769u) & (cap - 1); }

uint32_t *wr_map32_get(const wr_map32 *m, uint32_t key) {
  if (m->n == 0) return NULL;
  for (uint32_t i = home(key, m->cap); m->key[i]; i = (i + 1) & (m->cap - 1))
    if (m->key[i] == key) return &m->val[i];
  return NULL;
}

static void insert(uint32_t *key, uint32_t *val, uint32_t cap, uint32_t k, uint32_t v) {
  uint32_t i = home(k, cap);
  while (key[i]) i = (i + 1) & (cap - 1);
  key[i] = k;
  val[i] = v;
}

static int rehash(wr_map32 *m, uint32_t cap) {
  uint32_t *key = wr_alloc((size_t)cap * sizeof *key);
  uint32_t *val = wr_alloc((size_t)cap * sizeof *val);
  if (!key || !val) {
    wr_free(key);
    wr_free(val);
    return WR_NOMEM;
  }
  for (uint32_t i = 0; i < m->cap; i++)
    if (m->key[i]) insert(key, val, cap, m->key[i], m->val[i]);
  wr_free(m->key);
  wr_free(m->val);
  m->key = key;
  m->val = val;
  m->cap = cap;
  return WR_OK;
}

int wr_map32_put(wr_map32 *m, uint32_t key, uint32_t val) {
  uint32_t *v = wr_map32_get(m, key);
  if (v) {
    *v = val;
    return WR_OK;
  }
  if ((m->n + 1) * 2 > m->cap) {
    int rc = rehash(m, m->cap ? m->cap * 2 : 64);
    if (rc < 0) return rc;
  }
  insert(m->key, m->val, m->cap, key, val);
  m->n++;
  return WR_OK;
}

void wr_map32_del(wr_map32 *m, uint32_t key) {
  uint32_t *v = wr_map32_get(m, key);
  if (!v) return;
  uint32_t mask = m->cap - 1, i = (uint32_t)(v - m->val);
  for (uint32_t j = (i + 1) & mask; m->key[j]; j = (j + 1) & mask) {
    uint32_t h = home(m->key[j], m->cap);
    if (((j - h) & mask) < ((j - i) & mask)) continue; /* its home lies behind the hole */
    m->key[i] = m->key[j];
    m->val[i] = m->val[j];
    i = j;
  }
  m->key[i] = 0;
  m->n--;
}

void wr_map32_free(wr_map32 *m) {
  wr_free(m->key);
  wr_free(m->val);
  memset(m, 0, sizeof *m);
}
