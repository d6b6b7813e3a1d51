/* wire/unpack.h - reads msgpack from untrusted bytes without allocating.
 * A cursor moves over the bytes; strings point into them.  Every call returns WR_OK or WR_PROTO,
 * and after WR_PROTO the cursor must not be used any more.  Nothing is read beyond `end`. */
#ifndef WR_WIRE_UNPACK_H
#define WR_WIRE_UNPACK_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  const uint8_t *p, *end;
} wr_cursor;

typedef struct {
  const uint8_t *p;
  size_t len;
} wr_bytes;

/* p may be NULL when there is nothing. */
static inline wr_cursor wr_cursor_of(const void *p, size_t len) {
  wr_cursor c = {p, len ? (const uint8_t *)p + len : p};
  return c;
}

/* Counts never exceed what the remaining bytes could hold. */
int wr_in_array(wr_cursor *c, uint32_t *n);
int wr_in_map(wr_cursor *c, uint32_t *n);
int wr_in_uint(wr_cursor *c, uint64_t *v); /* integers >= 0 of any encoding */
int wr_in_u32(wr_cursor *c, uint32_t *v);
int wr_in_int(wr_cursor *c, int64_t *v);
int wr_in_bool(wr_cursor *c, int *v); /* true, false, or an integer */
int wr_in_double(wr_cursor *c, double *v); /* floats and integers */
int wr_in_bytes(wr_cursor *c, wr_bytes *v); /* str or bin */
int wr_in_skip(wr_cursor *c); /* one value with all it contains; depth is limited */
int wr_in_is_nil(const wr_cursor *c); /* 1: the next value is nil */

#endif
