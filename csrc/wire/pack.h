/* wire/pack.h - writes msgpack into a buffer that grows.
 * A failed allocation sets `failed`; later writes do nothing, so that callers check once. */
#ifndef WR_WIRE_PACK_H
#define WR_WIRE_PACK_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t *data; /* owned */
  size_t len, cap;
  int failed;
} wr_buf;

void wr_buf_free(wr_buf *b); /* leaves an empty buffer, ready for use */
int wr_buf_append(wr_buf *b, const void *p, size_t n); /* WR_OK, WR_NOMEM */
uint8_t *wr_buf_extend(wr_buf *b, size_t n); /* n more bytes, not set; NULL: no memory */

void wr_out_array(wr_buf *b, size_t n);
void wr_out_map(wr_buf *b, size_t n);
void wr_out_uint(wr_buf *b, uint64_t v);
void wr_out_int(wr_buf *b, int64_t v);
void wr_out_bool(wr_buf *b, int v);
void wr_out_nil(wr_buf *b);
void wr_out_double(wr_buf *b, double v);
void wr_out_str(wr_buf *b, const char *s, size_t n);
void wr_out_text(wr_buf *b, const char *s); /* NUL terminated */
void wr_out_bin(wr_buf *b, const void *p, size_t n);

#endif
