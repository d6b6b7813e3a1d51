/* Any bytes as an encoded value: every token lies inside, and so does what it points at. */
#include "fuzz.h"

#include "base/status.h"
#include "wire/value.h"

enum { MAX_TOKENS = 20000, MAX_NESTING = 40 };

static uint64_t sum; /* everything that was handed out is read */

static void touch(const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i += 1 + n / 16) sum += p[i];
  if (n) sum += p[n - 1];
}

static void read_ext(const wr_frame *f, const wr_tok *t, int *left, int depth);

static void read_tokens(const wr_frame *f, wr_rbuf *r, int *left, int depth) {
  wr_tok t;
  while (r->p < r->end && (*left)-- > 0) {
    if (wr_read_token(r, &t) != WR_OK) return;
    if (t.kind == WR_TOK_STR || t.kind == WR_TOK_BIN) touch(t.data, t.n);
    if ((t.kind == WR_TOK_ARRAY || t.kind == WR_TOK_MAP) && t.n > (size_t)(r->end - r->p))
      __builtin_trap();
    if (t.kind == WR_TOK_EXT) read_ext(f, &t, left, depth);
  }
}

static void read_ext(const wr_frame *f, const wr_tok *t, int *left, int depth) {
  wr_rbuf in = {t->data, t->data + t->n};
  const uint8_t *p;
  size_t len;
  uint64_t v;
  uint32_t index;
  touch(t->data, t->n);
  if (t->ext == WR_EXT_TUPLE && depth < MAX_NESTING) read_tokens(f, &in, left, depth + 1);
  if (t->ext == WR_EXT_REF) (void)wr_read_ref(t, &index);
  if (t->ext == WR_EXT_BYTES || t->ext == WR_EXT_TEXT || t->ext == WR_EXT_PICKLE) {
    while (in.p < in.end && wr_frame_span(f, &in, &p, &len) == WR_OK) touch(p, len);
  }
  if (t->ext == WR_EXT_ARRAY && wr_read_varint(&in, &v) == WR_OK &&
      wr_frame_place(f, &in, v, &p) == WR_OK)
    touch(p, v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  wr_frame f;
  int left = MAX_TOKENS;
  if (wr_frame_open(data, size, &f) != WR_OK) return 0;
  touch(f.data, f.data_len);
  read_tokens(&f, &f.stream, &left, 0);
  return 0;
}
