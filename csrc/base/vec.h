/* base/vec.h - private growable arrays, and a map from 32-bit keys.
 * Pushing returns 0 or WR_NOMEM; nothing shrinks before it is freed. */
#ifndef WR_BASE_VEC_H
#define WR_BASE_VEC_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint32_t *v;
  uint32_t n, cap;
} wr_vec32;
typedef struct {
  uint64_t *v;
  uint32_t n, cap;
} wr_vec64;

int wr_vec32_grow(wr_vec32 *a, uint32_t cap);
int wr_vec64_grow(wr_vec64 *a, uint32_t cap);
void wr_vec32_free(wr_vec32 *a);
void wr_vec64_free(wr_vec64 *a);

static inline int wr_vec32_push(wr_vec32 *a, uint32_t x) {
  if (a->n == a->cap) {
    int rc = wr_vec32_grow(a, a->n + 1);
    if (rc < 0) return rc;
  }
  a->v[a->n++] = x;
  return 0;
}
static inline int wr_vec64_push(wr_vec64 *a, uint64_t x) {
  if (a->n == a->cap) {
    int rc = wr_vec64_grow(a, a->n + 1);
    if (rc < 0) return rc;
  }
  a->v[a->n++] = x;
  return 0;
}

/* For arrays of structures: room for one more behind n elements of `size` bytes each.  The array,
 * which may have moved; NULL without memory, and then it stays as it was. */
void *wr_vec_room(void *v, uint32_t n, uint32_t *cap, size_t size);

/* Open addressing; key 0 is not allowed. */
typedef struct {
  uint32_t *key, *val;
  uint32_t n, cap; /* cap is 0 or a power of two */
} wr_map32;

uint32_t *wr_map32_get(const wr_map32 *m, uint32_t key); /* NULL: absent */
int wr_map32_put(wr_map32 *m, uint32_t key, uint32_t val);
void wr_map32_del(wr_map32 *m, uint32_t key);
void wr_map32_free(wr_map32 *m);

#endif
