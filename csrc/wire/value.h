/* wire/value.h - how a value looks as bytes: MessagePack, six extension types, aligned buffers.
 *
 * A value is one of
 *   plain:  [stream]
 *   framed: [0xC1, version, 0, 0, stream length: le32] [stream] [padding to 64] [data area]
 * 0xC1 opens no MessagePack object, so the first byte tells them apart.  A value is framed when
 * something lies out of line in the data area, at an offset that is a multiple of 64 from the
 * start of the value: a reader may use it in place.  The payload of each extension:
 *   TUPLE    an array of MessagePack
 *   REF      index in the value's table of references, 1, 2 or 4 bytes, little endian
 *   ARRAY    dtype code (| WR_EXT_INLINE | WR_EXT_OWN), ndim (| WR_EXT_FORTRAN), dimensions as
 *            varints, then the elements themselves (inline) or the place of the elements; OWN: the
 *            reader makes a copy that may be written
 *   SCALAR   dtype code, the element
 *   PICKLE   varint: number of buffers * 2 + 1 if the pickle itself is out of line; then place and
 *            length of the pickle (if so) and of each buffer; else the pickle follows to the end
 *   BYTES, TEXT  place and length of bytes, or of UTF-8, too long for the stream
 * A place is a varint: offset in the data area / 64.  A length is a varint.
 *
 * The writer owns its memory once it has outgrown the caller's scratch; the reader owns nothing
 * and trusts nothing: any bytes give tokens inside the bounds, or WR_PROTO.  Not thread-safe per
 * object; no shared state. */
#ifndef WR_WIRE_VALUE_H
#define WR_WIRE_VALUE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/status.h"

enum wr_ext {
  WR_EXT_TUPLE = 1,
  WR_EXT_REF = 2,
  WR_EXT_ARRAY = 3,
  WR_EXT_SCALAR = 4,
  WR_EXT_PICKLE = 5,
  WR_EXT_BYTES = 6,
  WR_EXT_TEXT = 7
};
#define WR_EXT_INLINE 0x80u
#define WR_EXT_OWN 0x40u
#define WR_EXT_FORTRAN 0x80u

#define WR_VALUE_ALIGN ((size_t)64)
#define WR_VALUE_FRAME 0xC1u
#define WR_VALUE_VERSION 1u
#define WR_VALUE_HEADER ((size_t)8)
#define WR_VALUE_MAX_STREAM ((size_t)1 << 30)
#define WR_VARINT_MAX 10 /* bytes of the longest varint */

static inline size_t wr_value_align(size_t n) {
  return (n + WR_VALUE_ALIGN - 1) & ~(WR_VALUE_ALIGN - 1);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Bytes that grow.  A failed allocation sets `failed` and drops what follows: look once, at the
 * end. */
typedef struct {
  uint8_t *data;
  size_t len, cap;
  int heap;   /* data is ours to free */
  int failed; /* WR_OK, WR_NOMEM or WR_LIMIT */
} wr_wbuf;

void wr_wbuf_init(wr_wbuf *b, void *scratch, size_t cap);
void wr_wbuf_free(wr_wbuf *b);
/* Room for n more bytes, or NULL. */
uint8_t *wr_wbuf_grow(wr_wbuf *b, size_t n);

static inline uint8_t *wr_wbuf_room(wr_wbuf *b, size_t n) {
  return WR_LIKELY(b->cap - b->len >= n) ? b->data + b->len : wr_wbuf_grow(b, n);
}

static inline void wr_pack_raw(wr_wbuf *b, const void *p, size_t n) {
  uint8_t *q = wr_wbuf_room(b, n);
  if (!q) return;
  if (n) memcpy(q, p, n);
  b->len += n;
}

static inline void wr_pack_byte(wr_wbuf *b, uint8_t byte) {
  uint8_t *q = wr_wbuf_room(b, 1);
  if (!q) return;
  q[0] = byte;
  b->len++;
}

/* The tag, then the low `width` bytes of v, big endian. */
static inline void wr_pack_tagged(wr_wbuf *b, uint8_t tag, uint64_t v, unsigned width) {
  uint8_t *q = wr_wbuf_room(b, 9);
  if (!q) return;
  uint64_t be = __builtin_bswap64(v << (64 - 8 * width));
  q[0] = tag;
  memcpy(q + 1, &be, 8);
  b->len += 1 + width;
}

static inline void wr_pack_nil(wr_wbuf *b) { wr_pack_byte(b, 0xC0); }
static inline void wr_pack_bool(wr_wbuf *b, int on) { wr_pack_byte(b, on ? 0xC3 : 0xC2); }

static inline void wr_pack_uint(wr_wbuf *b, uint64_t v) {
  if (v < 0x80)
    wr_pack_byte(b, (uint8_t)v);
  else if (v <= UINT8_MAX)
    wr_pack_tagged(b, 0xCC, v, 1);
  else if (v <= UINT16_MAX)
    wr_pack_tagged(b, 0xCD, v, 2);
  else if (v <= UINT32_MAX)
    wr_pack_tagged(b, 0xCE, v, 4);
  else
    wr_pack_tagged(b, 0xCF, v, 8);
}

static inline void wr_pack_int(wr_wbuf *b, int64_t v) {
  if (v >= 0)
    wr_pack_uint(b, (uint64_t)v);
  else if (v >= -32)
    wr_pack_byte(b, (uint8_t)v);
  else if (v >= INT8_MIN)
    wr_pack_tagged(b, 0xD0, (uint64_t)v, 1);
  else if (v >= INT16_MIN)
    wr_pack_tagged(b, 0xD1, (uint64_t)v, 2);
  else if (v >= INT32_MIN)
    wr_pack_tagged(b, 0xD2, (uint64_t)v, 4);
  else
    wr_pack_tagged(b, 0xD3, (uint64_t)v, 8);
}

static inline void wr_pack_double(wr_wbuf *b, double v) {
  uint64_t bits;
  memcpy(&bits, &v, 8);
  wr_pack_tagged(b, 0xCB, bits, 8);
}

/* Header of a length or count: `fix` with up to `max` in its low bits (max 0: no such form), then
 * forms of 1 (tag8 0: none), 2 and 4 bytes, whose tags follow each other. */
static inline void wr_pack_head(wr_wbuf *b, size_t n, uint8_t fix, size_t max, uint8_t tag8,
                                uint8_t tag16) {
  if (n < max)
    wr_pack_byte(b, (uint8_t)(fix | n));
  else if (tag8 && n <= UINT8_MAX)
    wr_pack_tagged(b, tag8, n, 1);
  else if (n <= UINT16_MAX)
    wr_pack_tagged(b, tag16, n, 2);
  else if (n <= UINT32_MAX)
    wr_pack_tagged(b, (uint8_t)(tag16 + 1), n, 4);
  else
    b->failed = WR_LIMIT;
}

static inline void wr_pack_array(wr_wbuf *b, size_t n) { wr_pack_head(b, n, 0x90, 16, 0, 0xDC); }
static inline void wr_pack_map(wr_wbuf *b, size_t n) { wr_pack_head(b, n, 0x80, 16, 0, 0xDE); }
static inline void wr_pack_str(wr_wbuf *b, const char *s, size_t n) {
  wr_pack_head(b, n, 0xA0, 32, 0xD9, 0xDA);
  wr_pack_raw(b, s, n);
}
static inline void wr_pack_bin(wr_wbuf *b, const void *p, size_t n) {
  wr_pack_head(b, n, 0, 0, 0xC4, 0xC5);
  wr_pack_raw(b, p, n);
}

/* An extension whose payload is written between open and close. */
size_t wr_pack_ext_open(wr_wbuf *b);
void wr_pack_ext_close(wr_wbuf *b, size_t mark, enum wr_ext type);
void wr_pack_ref(wr_wbuf *b, uint32_t index);
void wr_pack_varint(wr_wbuf *b, uint64_t v);

/* Length of the whole value; header and padding are there when data_len > 0 or framed. */
size_t wr_frame_data(size_t stream_len); /* offset of the data area of a framed value */
/* Writes header, stream and padding of a framed value at dst; the data area is the caller's. */
void wr_frame_write(uint8_t *dst, const uint8_t *stream, size_t stream_len);

/* copy.c: memcpy that bypasses the caches where that is faster: large copies to memory that another
 * processor will read. */
void wr_copy_large(uint8_t *dst, const uint8_t *src, size_t n);

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
  const uint8_t *p, *end;
} wr_rbuf;

enum wr_kind {
  WR_TOK_NIL,
  WR_TOK_BOOL,
  WR_TOK_INT,
  WR_TOK_UINT, /* above INT64_MAX */
  WR_TOK_FLOAT,
  WR_TOK_STR,
  WR_TOK_BIN,
  WR_TOK_ARRAY,
  WR_TOK_MAP,
  WR_TOK_EXT
};

typedef struct {
  enum wr_kind kind;
  int ext; /* enum wr_ext, or any other number a peer made up */
  union {
    int64_t i;
    uint64_t u;
    double f;
  } v;
  const uint8_t *data; /* STR, BIN, EXT */
  size_t n;            /* bytes, or elements of ARRAY, or pairs of MAP */
} wr_tok;

/* The next token; counts never exceed the bytes that are left, so a reader may allocate by them. */
int wr_read_token(wr_rbuf *r, wr_tok *t);
int wr_read_varint(wr_rbuf *r, uint64_t *v);
int wr_read_ref(const wr_tok *t, uint32_t *index);

typedef struct {
  wr_rbuf stream;
  const uint8_t *data; /* the data area; may be empty */
  size_t data_len;
} wr_frame;

int wr_frame_open(const uint8_t *p, size_t len, wr_frame *f);
/* Reads a place from r and checks that len bytes lie there. */
int wr_frame_place(const wr_frame *f, wr_rbuf *r, uint64_t len, const uint8_t **p);
/* Reads a place, then a length. */
int wr_frame_span(const wr_frame *f, wr_rbuf *r, const uint8_t **p, size_t *len);

#endif
