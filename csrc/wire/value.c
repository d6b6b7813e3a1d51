#include "wire/value.h"

#include "base/mem.h"

/* ---- writing --------------------------------------------------------------------------------- */

#ifdef WR_HOSTILE
#define GROW_FROM 65536u /* until then every append moves the buffer */
#else
#define GROW_FROM 0u
#endif

void wr_wbuf_init(wr_wbuf *b, void *scratch, size_t cap) {
  *b = (wr_wbuf){.data = scratch, .cap = cap};
}

void wr_wbuf_free(wr_wbuf *b) {
  if (b->heap) wr_free(b->data);
  *b = (wr_wbuf){.data = NULL};
}

uint8_t *wr_wbuf_grow(wr_wbuf *b, size_t n) {
  if (b->failed) return NULL;
  if (n > WR_VALUE_MAX_STREAM || b->len > WR_VALUE_MAX_STREAM - n) {
    b->failed = WR_LIMIT;
    return NULL;
  }
  size_t cap = (b->len > GROW_FROM ? b->len * 2 : b->len) + n;
  uint8_t *data = wr_realloc(b->heap ? b->data : NULL, cap);
  if (!data) {
    b->failed = WR_NOMEM;
    return NULL;
  }
  if (!b->heap && b->len) memcpy(data, b->data, b->len);
  b->data = data;
  b->cap = cap;
  b->heap = 1;
  return data + b->len;
}

#define EXT_SHORT 3u /* bytes of the header while the payload is below 256 */
#define EXT_LONG 6u

size_t wr_pack_ext_open(wr_wbuf *b) {
  wr_pack_raw(b, "\xC7\0\0", EXT_SHORT);
  return b->len;
}

static uint8_t fixed_ext(size_t n) {
  if (n == 0 || n > 16 || (n & (n - 1))) return 0;
  return (uint8_t)(0xD4 + __builtin_ctzl(n));
}

/* Puts a header of `head` bytes before the payload that starts at mark. */
static uint8_t *move_payload(wr_wbuf *b, size_t mark, size_t head) {
  size_t n = b->len - mark;
  if (head > EXT_SHORT && !wr_wbuf_room(b, head - EXT_SHORT)) return NULL;
  uint8_t *start = b->data + mark - EXT_SHORT;
  memmove(start + head, b->data + mark, n);
  b->len = mark - EXT_SHORT + head + n;
  return start;
}

void wr_pack_ext_close(wr_wbuf *b, size_t mark, enum wr_ext type) {
  if (b->failed) return;
  size_t n = b->len - mark;
  uint8_t fixed = fixed_ext(n);
  if (fixed) {
    uint8_t *head = move_payload(b, mark, 2);
    head[0] = fixed;
    head[1] = (uint8_t)type;
  } else if (n <= UINT8_MAX) {
    b->data[mark - 2] = (uint8_t)n;
    b->data[mark - 1] = (uint8_t)type;
  } else {
    uint8_t *head = move_payload(b, mark, EXT_LONG);
    if (!head) return;
    uint32_t be = __builtin_bswap32((uint32_t)n);
    head[0] = 0xC9;
    memcpy(head + 1, &be, 4);
    head[5] = (uint8_t)type;
  }
}

void wr_pack_ref(wr_wbuf *b, uint32_t index) {
  unsigned width = index <= UINT8_MAX ? 1 : index <= UINT16_MAX ? 2 : 4;
  uint8_t *q = wr_wbuf_room(b, 6);
  if (!q) return;
  q[0] = fixed_ext(width);
  q[1] = WR_EXT_REF;
  for (unsigned i = 0; i < width; i++) q[2 + i] = (uint8_t)(index >> (8 * i));
  b->len += 2 + width;
}

void wr_pack_varint(wr_wbuf *b, uint64_t v) {
  uint8_t *q = wr_wbuf_room(b, WR_VARINT_MAX);
  if (!q) return;
  size_t n = 0;
  for (; v >= 0x80; v >>= 7) q[n++] = (uint8_t)(v | 0x80);
  q[n++] = (uint8_t)v;
  b->len += n;
}

size_t wr_frame_data(size_t stream_len) { return wr_value_align(WR_VALUE_HEADER + stream_len); }

void wr_frame_write(uint8_t *dst, const uint8_t *stream, size_t stream_len) {
  size_t end = WR_VALUE_HEADER + stream_len;
  const uint8_t head[4] = {WR_VALUE_FRAME, WR_VALUE_VERSION, 0, 0};
  memcpy(dst, head, 4);
  for (unsigned i = 0; i < 4; i++) dst[4 + i] = (uint8_t)(stream_len >> (8 * i));
  memcpy(dst + WR_VALUE_HEADER, stream, stream_len);
  memset(dst + end, 0, wr_value_align(end) - end);
}

/* ---- reading --------------------------------------------------------------------------------- */

static inline size_t left(const wr_rbuf *r) { return (size_t)(r->end - r->p); }

static int read_be(wr_rbuf *r, unsigned width, uint64_t *v) {
  if (left(r) < width) return WR_PROTO;
  uint64_t x = 0;
  for (unsigned i = 0; i < width; i++) x = x << 8 | r->p[i];
  r->p += width;
  *v = x;
  return WR_OK;
}

static int read_bytes(wr_rbuf *r, wr_tok *t, enum wr_kind kind, uint64_t n) {
  if (n > left(r)) return WR_PROTO;
  t->kind = kind;
  t->data = r->p;
  t->n = (size_t)n;
  r->p += n;
  return WR_OK;
}

static int read_count(wr_rbuf *r, wr_tok *t, enum wr_kind kind, uint64_t n) {
  if (n > left(r) / (kind == WR_TOK_MAP ? 2 : 1)) return WR_PROTO;
  t->kind = kind;
  t->n = (size_t)n;
  return WR_OK;
}

static int read_ext(wr_rbuf *r, wr_tok *t, uint64_t n) {
  if (left(r) < 1) return WR_PROTO;
  t->ext = (int8_t)*r->p++;
  return read_bytes(r, t, WR_TOK_EXT, n);
}

static int set_int(wr_tok *t, int64_t v) {
  t->kind = WR_TOK_INT;
  t->v.i = v;
  return WR_OK;
}

static int set_uint(wr_tok *t, uint64_t v) {
  if (v <= INT64_MAX) return set_int(t, (int64_t)v);
  t->kind = WR_TOK_UINT;
  t->v.u = v;
  return WR_OK;
}

static int set_signed(wr_tok *t, uint64_t v, unsigned width) {
  unsigned shift = 64 - 8 * width;
  return set_int(t, (int64_t)(v << shift) >> shift);
}

static int set_float(wr_tok *t, uint64_t bits, unsigned width) {
  t->kind = WR_TOK_FLOAT;
  if (width == 8) {
    memcpy(&t->v.f, &bits, 8);
  } else {
    float f;
    uint32_t low = (uint32_t)bits;
    memcpy(&f, &low, 4);
    t->v.f = (double)f;
  }
  return WR_OK;
}

/* Tags 0xC0 to 0xDF but for nil, bool and fixext: a number of 1, 2, 4 or 8 bytes follows each. */
static int read_sized(wr_rbuf *r, wr_tok *t, uint8_t tag) {
  static const uint8_t width_of[32] = {[0x04] = 1, [0x05] = 2, [0x06] = 4, [0x07] = 1, [0x08] = 2,
                                       [0x09] = 4, [0x0A] = 4, [0x0B] = 8, [0x0C] = 1, [0x0D] = 2,
                                       [0x0E] = 4, [0x0F] = 8, [0x10] = 1, [0x11] = 2, [0x12] = 4,
                                       [0x13] = 8, [0x19] = 1, [0x1A] = 2, [0x1B] = 4, [0x1C] = 2,
                                       [0x1D] = 4, [0x1E] = 2, [0x1F] = 4};
  unsigned width = width_of[tag & 31];
  uint64_t v;
  if (read_be(r, width, &v)) return WR_PROTO;
  if (tag <= 0xC6) return read_bytes(r, t, WR_TOK_BIN, v);
  if (tag <= 0xC9) return read_ext(r, t, v);
  if (tag <= 0xCB) return set_float(t, v, width);
  if (tag <= 0xCF) return set_uint(t, v);
  if (tag <= 0xD3) return set_signed(t, v, width);
  if (tag <= 0xDB) return read_bytes(r, t, WR_TOK_STR, v);
  return read_count(r, t, tag <= 0xDD ? WR_TOK_ARRAY : WR_TOK_MAP, v);
}

static int set_constant(wr_tok *t, uint8_t tag) {
  if (tag == 0xC1) return WR_PROTO;
  t->kind = tag == 0xC0 ? WR_TOK_NIL : WR_TOK_BOOL;
  t->v.i = tag == 0xC3;
  return WR_OK;
}

int wr_read_token(wr_rbuf *r, wr_tok *t) {
  if (left(r) < 1) return WR_PROTO;
  uint8_t tag = *r->p++;
  if (tag < 0x80) return set_int(t, tag);
  if (tag >= 0xE0) return set_int(t, (int8_t)tag);
  if (tag < 0x90) return read_count(r, t, WR_TOK_MAP, tag & 15u);
  if (tag < 0xA0) return read_count(r, t, WR_TOK_ARRAY, tag & 15u);
  if (tag < 0xC0) return read_bytes(r, t, WR_TOK_STR, tag & 31u);
  if (tag <= 0xC3) return set_constant(t, tag);
  if (tag >= 0xD4 && tag <= 0xD8) return read_ext(r, t, 1u << (tag - 0xD4));
  return read_sized(r, t, tag);
}

int wr_read_varint(wr_rbuf *r, uint64_t *v) {
  uint64_t x = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (left(r) < 1) return WR_PROTO;
    uint64_t byte = *r->p++;
    if (shift == 63 && byte > 1) return WR_PROTO;
    x |= (byte & 0x7F) << shift;
    if (byte < 0x80) {
      *v = x;
      return WR_OK;
    }
  }
  return WR_PROTO;
}

int wr_read_ref(const wr_tok *t, uint32_t *index) {
  if (t->n != 1 && t->n != 2 && t->n != 4) return WR_PROTO;
  uint32_t x = 0;
  for (size_t i = 0; i < t->n; i++) x |= (uint32_t)t->data[i] << (8 * i);
  *index = x;
  return WR_OK;
}

int wr_frame_open(const uint8_t *p, size_t len, wr_frame *f) {
  if (len == 0) return WR_PROTO;
  if (p[0] != WR_VALUE_FRAME) {
    *f = (wr_frame){.stream = {p, p + len}};
    return WR_OK;
  }
  if (len < WR_VALUE_HEADER || p[1] != WR_VALUE_VERSION || p[2] || p[3]) return WR_PROTO;
  size_t n = 0;
  for (unsigned i = 0; i < 4; i++) n |= (size_t)p[4 + i] << (8 * i);
  size_t data = wr_frame_data(n);
  if (data > len) return WR_PROTO;
  f->stream = (wr_rbuf){p + WR_VALUE_HEADER, p + WR_VALUE_HEADER + n};
  f->data = p + data;
  f->data_len = len - data;
  return WR_OK;
}

int wr_frame_place(const wr_frame *f, wr_rbuf *r, uint64_t len, const uint8_t **p) {
  uint64_t unit;
  if (wr_read_varint(r, &unit) || unit > f->data_len / WR_VALUE_ALIGN) return WR_PROTO;
  size_t off = (size_t)unit * WR_VALUE_ALIGN;
  if (len > f->data_len - off) return WR_PROTO;
  *p = len ? f->data + off : (const uint8_t *)"";
  return WR_OK;
}

int wr_frame_span(const wr_frame *f, wr_rbuf *r, const uint8_t **p, size_t *len) {
  uint64_t n;
  wr_rbuf at = *r;
  if (wr_read_varint(r, &n) || wr_read_varint(r, &n)) return WR_PROTO;
  if (wr_frame_place(f, &at, n, p)) return WR_PROTO;
  *len = (size_t)n;
  return WR_OK;
}
