#include "wire/unpack.h"

#include <string.h>

#include "base/status.h"
#include "wire/limits.h"

static size_t left(const wr_cursor *c) { return (size_t)(c->end - c->p); }

/* A big endian number of n bytes. */
static int take(wr_cursor *c, size_t n, uint64_t *v) {
  if (left(c) < n) return WR_PROTO;
  *v = 0;
  for (size_t i = 0; i < n; i++) *v = *v << 8 | c->p[i];
  c->p += n;
  return WR_OK;
}

static int head(wr_cursor *c, uint8_t *b) {
  if (c->p >= c->end) return WR_PROTO;
  *b = *c->p++;
  return WR_OK;
}

/* Containers: `fix` and `mask` of the short form, then the tags with 16 and 32 bits of count. */
static int count(wr_cursor *c, uint8_t fix, uint8_t tag16, size_t per_item, uint32_t *n) {
  uint8_t b;
  uint64_t v = 0;
  if (head(c, &b) != WR_OK) return WR_PROTO;
  if ((b & 0xF0) == fix)
    v = b & 0x0F;
  else if (b != tag16 && b != tag16 + 1)
    return WR_PROTO;
  else if (take(c, b == tag16 ? 2 : 4, &v) != WR_OK)
    return WR_PROTO;
  if (v > left(c) / per_item) return WR_PROTO;
  *n = (uint32_t)v;
  return WR_OK;
}

int wr_in_array(wr_cursor *c, uint32_t *n) { return count(c, 0x90, 0xdc, 1, n); }
int wr_in_map(wr_cursor *c, uint32_t *n) { return count(c, 0x80, 0xde, 2, n); }

/* Any integer: its bits, and whether it is negative. */
static int integer(wr_cursor *c, uint64_t *bits, int *negative) {
  uint8_t b;
  *negative = 0;
  if (head(c, &b) != WR_OK) return WR_PROTO;
  if (b < 0x80) {
    *bits = b;
    return WR_OK;
  }
  if (b >= 0xe0) {
    *bits = (uint64_t)(int64_t)(int8_t)b;
    *negative = 1;
    return WR_OK;
  }
  if (b >= 0xcc && b <= 0xcf) return take(c, (size_t)1 << (b - 0xcc), bits);
  if (b < 0xd0 || b > 0xd3) return WR_PROTO;
  size_t n = (size_t)1 << (b - 0xd0);
  if (take(c, n, bits) != WR_OK) return WR_PROTO;
  uint64_t sign = (uint64_t)1 << (8 * n - 1);
  if (*bits & sign) {
    *negative = 1;
    *bits |= ~(sign | (sign - 1));
  }
  return WR_OK;
}

int wr_in_uint(wr_cursor *c, uint64_t *v) {
  int negative;
  return integer(c, v, &negative) == WR_OK && !negative ? WR_OK : WR_PROTO;
}

int wr_in_u32(wr_cursor *c, uint32_t *v) {
  uint64_t wide;
  if (wr_in_uint(c, &wide) != WR_OK || wide > UINT32_MAX) return WR_PROTO;
  *v = (uint32_t)wide;
  return WR_OK;
}

int wr_in_int(wr_cursor *c, int64_t *v) {
  uint64_t bits;
  int negative;
  if (integer(c, &bits, &negative) != WR_OK) return WR_PROTO;
  if (!negative && bits > INT64_MAX) return WR_PROTO;
  memcpy(v, &bits, sizeof *v);
  return WR_OK;
}

int wr_in_bool(wr_cursor *c, int *v) {
  uint64_t number;
  if (c->p < c->end && (*c->p == 0xc2 || *c->p == 0xc3)) {
    *v = *c->p++ == 0xc3;
    return WR_OK;
  }
  if (wr_in_uint(c, &number) != WR_OK) return WR_PROTO;
  *v = number != 0;
  return WR_OK;
}

int wr_in_double(wr_cursor *c, double *v) {
  uint64_t bits;
  int negative;
  if (c->p < c->end && *c->p == 0xcb) {
    c->p++;
    if (take(c, 8, &bits) != WR_OK) return WR_PROTO;
    memcpy(v, &bits, sizeof *v);
    return WR_OK;
  }
  if (c->p < c->end && *c->p == 0xca) {
    c->p++;
    if (take(c, 4, &bits) != WR_OK) return WR_PROTO;
    uint32_t narrow = (uint32_t)bits;
    float f;
    memcpy(&f, &narrow, sizeof f);
    *v = (double)f;
    return WR_OK;
  }
  if (integer(c, &bits, &negative) != WR_OK) return WR_PROTO;
  *v = negative ? (double)(int64_t)bits : (double)bits;
  return WR_OK;
}

static int bytes_length(wr_cursor *c, uint64_t *n) {
  uint8_t b;
  if (head(c, &b) != WR_OK) return WR_PROTO;
  if ((b & 0xE0) == 0xA0) {
    *n = b & 0x1F;
    return WR_OK;
  }
  if (b >= 0xd9 && b <= 0xdb) return take(c, (size_t)1 << (b - 0xd9), n);
  if (b >= 0xc4 && b <= 0xc6) return take(c, (size_t)1 << (b - 0xc4), n);
  return WR_PROTO;
}

int wr_in_bytes(wr_cursor *c, wr_bytes *v) {
  uint64_t n;
  if (bytes_length(c, &n) != WR_OK || n > left(c)) return WR_PROTO;
  v->p = c->p;
  v->len = (size_t)n;
  c->p += n;
  return WR_OK;
}

int wr_in_is_nil(const wr_cursor *c) { return c->p < c->end && *c->p == 0xc0; }

static int advance(wr_cursor *c, uint64_t n) {
  if (n > left(c)) return WR_PROTO;
  c->p += n;
  return WR_OK;
}

/* Extension values: a type byte and the data. */
static int skip_ext(wr_cursor *c, uint8_t b) {
  uint64_t n;
  c->p++;
  if (b >= 0xd4 && b <= 0xd8) return advance(c, 1 + ((uint64_t)1 << (b - 0xd4)));
  if (take(c, (size_t)1 << (b - 0xc7), &n) != WR_OK) return WR_PROTO;
  return advance(c, n + 1);
}

static int skip_at(wr_cursor *c, unsigned depth);

static int skip_items(wr_cursor *c, uint64_t n, unsigned depth) {
  if (depth >= WR_MAX_DEPTH) return WR_PROTO;
  for (uint64_t i = 0; i < n; i++)
    if (skip_at(c, depth + 1) != WR_OK) return WR_PROTO;
  return WR_OK;
}

static int skip_at(wr_cursor *c, unsigned depth) {
  if (c->p >= c->end) return WR_PROTO;
  uint8_t b = *c->p;
  uint32_t n;
  wr_bytes bytes;
  double number;
  if ((b & 0xF0) == 0x90 || b == 0xdc || b == 0xdd)
    return wr_in_array(c, &n) == WR_OK ? skip_items(c, n, depth) : WR_PROTO;
  if ((b & 0xF0) == 0x80 || b == 0xde || b == 0xdf)
    return wr_in_map(c, &n) == WR_OK ? skip_items(c, 2 * (uint64_t)n, depth) : WR_PROTO;
  if ((b & 0xE0) == 0xA0 || (b >= 0xd9 && b <= 0xdb) || (b >= 0xc4 && b <= 0xc6))
    return wr_in_bytes(c, &bytes);
  if (b == 0xc0 || b == 0xc2 || b == 0xc3) return advance(c, 1);
  if ((b >= 0xc7 && b <= 0xc9) || (b >= 0xd4 && b <= 0xd8)) return skip_ext(c, b);
  return wr_in_double(c, &number); /* numbers; 0xc1 fails in it */
}

int wr_in_skip(wr_cursor *c) { return skip_at(c, 0); }
