#include "store/exports.h"

#include <string.h>

#include "base/failpoint.h"

enum { PROBES = 64 };

static wr_a64 *entry(const wr_seg *s, uint64_t hash, uint32_t k) {
  return &s->exports[(hash + k) % WR_MAX_EXPORTS];
}

static uint64_t hash_of(const uint8_t *bytes, size_t len) {
  const uint64_t prime = UINT64_C(0x9E3779B97F4A7C15);
  uint64_t h = len * prime, word;
  for (; len >= 8; bytes += 8, len -= 8) {
    memcpy(&word, bytes, 8);
    h = (h ^ word) * prime;
    h ^= h >> 29;
  }
  while (len--) h = (h ^ *bytes++) * prime;
  return h ^ h >> 32;
}

static int same_bytes(const wr_seg *s, wr_idx idx, const uint8_t *bytes, size_t len) {
  const wr_object *o = wr_obj(s, idx);
  if (!(o->flags & WR_VAL_BLOCK)) return o->len == len && memcmp(o->v.bytes, bytes, len) == 0;
  return o->v.b.len == len && memcmp(wr_bytes_at(s, o->v.b.off, len), bytes, len) == 0;
}

wr_idx wr_exports_find(const wr_seg *s, const uint8_t *bytes, size_t len) {
  uint64_t hash = hash_of(bytes, len);
  for (uint32_t k = 0; k < PROBES; k++) {
    wr_idx i = (wr_idx)wr_load(entry(s, hash, k)); /* pairs with the swap of who noted it */
    if (!i) return 0;
    if (same_bytes(s, i, bytes, len)) return i;
  }
  return 0;
}

void wr_exports_note(wr_seg *s, wr_idx idx, const uint8_t *bytes, size_t len) {
  uint64_t hash = hash_of(bytes, len), none;
  WR_FAILPOINT("export.sealed");
  for (uint32_t k = 0; k < PROBES; k++) {
    none = 0;
    if (wr_cas(entry(s, hash, k), &none, idx)) break;
  }
  WR_FAILPOINT("export.noted");
}
