#include "wire/pack.h"

#include <msgpack/pack.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"

void wr_buf_free(wr_buf *b) {
  wr_free(b->data);
  memset(b, 0, sizeof *b);
}

uint8_t *wr_buf_extend(wr_buf *b, size_t n) {
  if (b->failed) return NULL;
  if (!b->data || n > b->cap - b->len) { /* NULL means failure, also of nothing */
    size_t cap = b->cap ? b->cap : 64;
    while (cap - b->len < n) {
      if (cap > SIZE_MAX / 2) {
        b->failed = 1;
        return NULL;
      }
      cap *= 2;
    }
    uint8_t *data = wr_realloc(b->data, cap);
    if (!data) {
      b->failed = 1;
      return NULL;
    }
    b->data = data;
    b->cap = cap;
  }
  uint8_t *at = b->data + b->len;
  b->len += n;
  return at;
}

int wr_buf_append(wr_buf *b, const void *p, size_t n) {
  uint8_t *at = wr_buf_extend(b, n);
  if (!at) return WR_NOMEM;
  if (n) memcpy(at, p, n);
  return WR_OK;
}

static int write_packed(void *data, const char *p, size_t n) { return wr_buf_append(data, p, n); }

static msgpack_packer packer_of(wr_buf *b) {
  msgpack_packer pk;
  msgpack_packer_init(&pk, b, write_packed);
  return pk;
}

#define PACK(call)                    \
  do {                                \
    msgpack_packer pk = packer_of(b); \
    call;                             \
  } while (0)

void wr_out_array(wr_buf *b, size_t n) { PACK(msgpack_pack_array(&pk, n)); }
void wr_out_map(wr_buf *b, size_t n) { PACK(msgpack_pack_map(&pk, n)); }
void wr_out_uint(wr_buf *b, uint64_t v) { PACK(msgpack_pack_uint64(&pk, v)); }
void wr_out_int(wr_buf *b, int64_t v) { PACK(msgpack_pack_int64(&pk, v)); }
void wr_out_nil(wr_buf *b) { PACK(msgpack_pack_nil(&pk)); }
void wr_out_double(wr_buf *b, double v) { PACK(msgpack_pack_double(&pk, v)); }

void wr_out_bool(wr_buf *b, int v) {
  if (v)
    PACK(msgpack_pack_true(&pk));
  else
    PACK(msgpack_pack_false(&pk));
}

void wr_out_str(wr_buf *b, const char *s, size_t n) {
  PACK(msgpack_pack_str(&pk, n));
  wr_buf_append(b, s, n);
}

void wr_out_text(wr_buf *b, const char *s) { wr_out_str(b, s, strlen(s)); }

void wr_out_bin(wr_buf *b, const void *p, size_t n) {
  PACK(msgpack_pack_bin(&pk, n));
  wr_buf_append(b, p, n);
}
