/* The writer against msgpack-c as the reader, the reader against every kind of damage. */
#include "wire/value.h"

#include <math.h>
#include <msgpack.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"

static msgpack_object read_back(const wr_wbuf *b, msgpack_unpacked *m) {
  size_t off = 0;
  CHECK_EQ(b->failed, WR_OK);
  msgpack_unpacked_init(m);
  CHECK_EQ(msgpack_unpack_next(m, (const char *)b->data, b->len, &off), MSGPACK_UNPACK_SUCCESS);
  CHECK_EQ(off, b->len);
  return m->data;
}

static const int64_t integers[] = {0,          1,         -1,        31,        -32,
                                   -33,        127,       128,       255,       256,
                                   -128,       -129,      32767,     -32768,    -32769,
                                   65535,      65536,     INT32_MAX, INT32_MIN, (int64_t)UINT32_MAX,
                                   INT64_C(1) << 32, INT64_MAX, INT64_MIN};

TEST(integers_are_msgpack) {
  for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
    uint8_t scratch[16];
    wr_wbuf b;
    msgpack_unpacked m;
    wr_tok t;
    wr_wbuf_init(&b, scratch, sizeof scratch);
    wr_pack_int(&b, integers[i]);
    CHECK_EQ(read_back(&b, &m).via.i64, integers[i]);
    wr_rbuf r = {b.data, b.data + b.len};
    CHECK_EQ(wr_read_token(&r, &t), WR_OK);
    CHECK_EQ(t.kind, WR_TOK_INT);
    CHECK_EQ(t.v.i, integers[i]);
    CHECK(r.p == r.end);
    msgpack_unpacked_destroy(&m);
    wr_wbuf_free(&b);
  }
}

TEST(unsigned_beyond_signed) {
  uint8_t scratch[16];
  wr_wbuf b;
  wr_tok t;
  wr_wbuf_init(&b, scratch, sizeof scratch);
  wr_pack_uint(&b, UINT64_MAX);
  wr_rbuf r = {b.data, b.data + b.len};
  CHECK_EQ(wr_read_token(&r, &t), WR_OK);
  CHECK_EQ(t.kind, WR_TOK_UINT);
  CHECK(t.v.u == UINT64_MAX);
}

static const size_t lengths[] = {0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536};

TEST(lengths_are_msgpack) {
  char *text = malloc(65536);
  memset(text, 'x', 65536);
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    wr_wbuf b;
    msgpack_unpacked m;
    wr_wbuf_init(&b, NULL, 0);
    wr_pack_array(&b, 3);
    wr_pack_str(&b, text, lengths[i]);
    wr_pack_bin(&b, text, lengths[i]);
    wr_pack_array(&b, lengths[i]);
    for (size_t k = 0; k < lengths[i]; k++) wr_pack_nil(&b);
    msgpack_object o = read_back(&b, &m);
    CHECK_EQ(o.via.array.ptr[0].type, MSGPACK_OBJECT_STR);
    CHECK_EQ(o.via.array.ptr[0].via.str.size, lengths[i]);
    CHECK_EQ(o.via.array.ptr[1].type, MSGPACK_OBJECT_BIN);
    CHECK_EQ(o.via.array.ptr[1].via.bin.size, lengths[i]);
    CHECK_EQ(o.via.array.ptr[2].via.array.size, lengths[i]);
    msgpack_unpacked_destroy(&m);
    wr_wbuf_free(&b);
  }
  free(text);
}

TEST(nested_extensions_of_every_length) {
  for (size_t n = 0; n < 700; n++) {
    wr_wbuf b;
    msgpack_unpacked m;
    wr_wbuf_init(&b, NULL, 0);
    size_t outer = wr_pack_ext_open(&b);
    size_t inner = wr_pack_ext_open(&b);
    for (size_t k = 0; k < n; k++) wr_pack_byte(&b, (uint8_t)k);
    wr_pack_ext_close(&b, inner, WR_EXT_SCALAR);
    wr_pack_bool(&b, 1);
    wr_pack_ext_close(&b, outer, WR_EXT_TUPLE);
    CHECK_EQ(read_back(&b, &m).via.ext.type, WR_EXT_TUPLE);
    wr_rbuf r = {b.data, b.data + b.len};
    wr_tok t, in;
    CHECK_EQ(wr_read_token(&r, &t), WR_OK);
    wr_rbuf body = {t.data, t.data + t.n};
    CHECK_EQ(wr_read_token(&body, &in), WR_OK);
    CHECK_EQ(in.ext, WR_EXT_SCALAR);
    CHECK_EQ(in.n, n);
    for (size_t k = 0; k < n; k++) CHECK_EQ(in.data[k], (uint8_t)k);
    CHECK_EQ(wr_read_token(&body, &in), WR_OK);
    CHECK_EQ(in.kind, WR_TOK_BOOL);
    msgpack_unpacked_destroy(&m);
    wr_wbuf_free(&b);
  }
}

TEST(floats_of_both_widths) {
  const double values[] = {0.0, -0.0, 1.5, -1e300, INFINITY};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    uint8_t scratch[9];
    wr_wbuf b;
    wr_tok t;
    wr_wbuf_init(&b, scratch, sizeof scratch);
    wr_pack_double(&b, values[i]);
    wr_rbuf r = {b.data, b.data + b.len};
    CHECK_EQ(wr_read_token(&r, &t), WR_OK);
    CHECK_MEM(&t.v.f, &values[i], sizeof(double));
  }
  const uint8_t single[] = {0xCA, 0x3F, 0xC0, 0, 0}; /* 1.5f */
  wr_rbuf r = {single, single + sizeof single};
  wr_tok t;
  CHECK_EQ(wr_read_token(&r, &t), WR_OK);
  CHECK(t.v.f > 1.49 && t.v.f < 1.51);
}

TEST(varints_and_references) {
  for (unsigned bit = 0; bit < 64; bit++) {
    uint8_t scratch[32];
    wr_wbuf b;
    uint64_t v = UINT64_MAX >> bit, back;
    wr_wbuf_init(&b, scratch, sizeof scratch);
    wr_pack_varint(&b, v);
    wr_rbuf r = {b.data, b.data + b.len};
    CHECK_EQ(wr_read_varint(&r, &back), WR_OK);
    CHECK(back == v && r.p == r.end);
    wr_rbuf cut = {b.data, b.data + b.len - 1};
    CHECK_EQ(wr_read_varint(&cut, &back), WR_PROTO);
    uint32_t index;
    wr_tok t;
    wr_pack_ref(&b, (uint32_t)v);
    CHECK_EQ(wr_read_token(&(wr_rbuf){r.p, b.data + b.len}, &t), WR_OK);
    CHECK_EQ(wr_read_ref(&t, &index), WR_OK);
    CHECK_EQ(index, (uint32_t)v);
  }
  const uint8_t endless[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01};
  wr_rbuf r = {endless, endless + sizeof endless};
  uint64_t v;
  CHECK_EQ(wr_read_varint(&r, &v), WR_PROTO);
}

/* A count may never promise more than the bytes that follow could hold. */
TEST(counts_are_bounded_by_what_is_left) {
  const uint8_t heads[][5] = {{0xDD, 0xFF, 0xFF, 0xFF, 0xFF}, {0xDF, 0, 0, 0, 1},
                              {0xC6, 0, 0, 0, 1},             {0xDB, 0x7F, 0, 0, 0},
                              {0xC9, 0, 0, 0, 0},             {0xDD, 0, 0, 0, 1}};
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
    wr_rbuf r = {heads[i], heads[i] + 5};
    wr_tok t;
    CHECK_EQ(wr_read_token(&r, &t), WR_PROTO);
  }
  wr_tok t;
  CHECK_EQ(wr_read_token(&(wr_rbuf){heads[0], heads[0]}, &t), WR_PROTO);
}

TEST(frames_hold_what_they_say) {
  _Alignas(64) uint8_t value[256] = {0};
  wr_frame f;
  const uint8_t *p;
  wr_frame_write(value, (const uint8_t *)"\x01\x02\x03", 3);
  CHECK_EQ(wr_frame_data(3), 64);
  CHECK_EQ(wr_frame_open(value, 164, &f), WR_OK);
  CHECK_EQ(f.stream.end - f.stream.p, 3);
  CHECK(f.data == value + 64 && f.data_len == 100);
  wr_rbuf place = {f.stream.p, f.stream.p + 1}; /* varint 1: offset 64 */
  CHECK_EQ(wr_frame_place(&f, &place, 36, &p), WR_OK);
  CHECK(p == value + 128);
  place = (wr_rbuf){f.stream.p, f.stream.p + 1};
  CHECK_EQ(wr_frame_place(&f, &place, 37, &p), WR_PROTO);
  place = (wr_rbuf){f.stream.p, f.stream.p + 1};
  CHECK_EQ(wr_frame_place(&f, &place, UINT64_MAX, &p), WR_PROTO);
  place = (wr_rbuf){f.stream.p + 1, f.stream.p + 2}; /* varint 2: offset 128, past the end */
  CHECK_EQ(wr_frame_place(&f, &place, 0, &p), WR_PROTO);
  for (size_t cut = 0; cut < 64; cut++) CHECK_EQ(wr_frame_open(value, cut, &f), WR_PROTO);
  value[1]++;
  CHECK_EQ(wr_frame_open(value, 164, &f), WR_PROTO);
}

/* Any bytes at all: tokens stay inside, and reading ends. */
TEST(random_bytes_stay_inside) {
  uint64_t seed = 88172645463325252u;
  for (int round = 0; round < 200000; round++) {
    uint8_t bytes[40];
    size_t n = 0;
    for (; n < sizeof bytes; n++) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      bytes[n] = (uint8_t)(seed >> 32);
    }
    n = seed % (sizeof bytes + 1);
    uint8_t *copy = malloc(n ? n : 1); /* the sanitizer sees a read past the end */
    memcpy(copy, bytes, n);
    wr_rbuf r = {copy, copy + n};
    wr_tok t;
    while (wr_read_token(&r, &t) == WR_OK) {
      CHECK(r.p <= r.end);
      if (t.kind == WR_TOK_STR || t.kind == WR_TOK_BIN || t.kind == WR_TOK_EXT)
        CHECK(t.data >= copy && t.data + t.n <= r.end);
      else if (t.kind == WR_TOK_ARRAY || t.kind == WR_TOK_MAP)
        CHECK(t.n <= (size_t)(r.end - r.p));
    }
    wr_frame f;
    if (wr_frame_open(copy, n, &f) == WR_OK) CHECK(f.stream.end <= copy + n);
    free(copy);
  }
}

static void write_much(wr_wbuf *b) {
  wr_wbuf_init(b, NULL, 0);
  size_t mark = wr_pack_ext_open(b);
  for (int i = 0; i < 200; i++) wr_pack_int(b, i * 1000);
  wr_pack_ext_close(b, mark, WR_EXT_TUPLE);
  wr_pack_str(b, "end", 3);
}

TEST(failed_allocations_are_seen_at_the_end) {
  for (int persistent = 0; persistent < 2; persistent++)
    for (long n = 1;; n++) {
      wr_wbuf b;
      wr_mem_fail_at(n, persistent);
      write_much(&b);
      long refused = wr_mem_failures();
      wr_mem_fail_at(0, 0);
      CHECK_EQ(b.failed, refused ? WR_NOMEM : WR_OK);
      wr_wbuf_free(&b);
      if (!refused) break;
    }
}

#define LARGE (((size_t)8 << 20) + 32768 + 4096 + 37)

static void copy_and_compare(uint8_t *dst, const uint8_t *src) {
  memset(dst, 0, LARGE);
  dst[LARGE] = 0x5A;
  wr_copy_large(dst, src, LARGE);
  CHECK_MEM(dst, src, LARGE);
  CHECK_EQ(dst[LARGE], 0x5A);
}

static uint8_t *pattern(size_t n) {
  uint8_t *src = malloc(n);
  for (size_t i = 0; i < n; i++) src[i] = (uint8_t)(i * 31 + (i >> 9));
  return src;
}

/* While the ways are tried, which takes 24 MiB, and afterwards; and where dst is not aligned. */
TEST(large_copies_are_exact) {
  static const size_t shifts[] = {0, 21, 16, 42, 32, 48, 63};
  uint8_t *src = pattern(LARGE + 64), *dst = malloc(LARGE + 65);
  for (size_t k = 0; k < sizeof shifts / sizeof *shifts; k++)
    copy_and_compare(dst + shifts[k], src + 7);
  free(src);
  free(dst);
}

/* Threads that come too late find nothing to do, also when the memory has gone. */
TEST(large_copies_are_exact_without_help_and_with_late_help) {
  for (int k = 0; k < 12; k++) {
    uint8_t *src = pattern(LARGE), *dst = malloc(LARGE + 1);
    wr_mem_fail_at(k % 4, k % 2);
    copy_and_compare(dst, src);
    wr_mem_fail_at(0, 0);
    free(src);
    free(dst);
  }
}

static void *copy_often(void *arg) {
  uint8_t *dst = malloc(LARGE + 1);
  for (int k = 0; k < 4; k++) copy_and_compare(dst, arg);
  free(dst);
  return NULL;
}

TEST(several_threads_make_large_copies) {
  pthread_t t[3];
  uint8_t *src = pattern(LARGE);
  for (int k = 0; k < 3; k++) CHECK_EQ(pthread_create(&t[k], NULL, copy_often, src), 0);
  for (int k = 0; k < 3; k++) pthread_join(t[k], NULL);
  free(src);
}
