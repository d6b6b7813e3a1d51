/* The msgpack reader and writer of messages, and the frame header. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/status.h"
#include "wire/frame.h"
#include "wire/pack.h"
#include "wire/unpack.h"

TEST(what_is_written_is_read) {
  static const uint64_t numbers[] = {0, 1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX,
                                     (uint64_t)UINT32_MAX + 1, INT64_MAX, UINT64_MAX};
  static const int64_t negatives[] = {-1, -32, -33, -128, -129, -32768, -32769, INT32_MIN,
                                      (int64_t)INT32_MIN - 1, INT64_MIN};
  wr_buf b = {0};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) wr_out_uint(&b, numbers[i]);
  for (size_t i = 0; i < sizeof negatives / sizeof negatives[0]; i++) wr_out_int(&b, negatives[i]);
  wr_out_double(&b, -2.5);
  wr_out_bool(&b, 1);
  wr_out_nil(&b);
  CHECK_EQ(b.failed, 0);
  wr_cursor c = wr_cursor_of(b.data, b.len);
  uint64_t u;
  int64_t v;
  double d;
  int flag;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    CHECK_EQ(wr_in_uint(&c, &u), WR_OK);
    CHECK_EQ(u, numbers[i]);
  }
  for (size_t i = 0; i < sizeof negatives / sizeof negatives[0]; i++) {
    CHECK_EQ(wr_in_int(&c, &v), WR_OK);
    CHECK_EQ(v, negatives[i]);
  }
  CHECK_EQ(wr_in_double(&c, &d), WR_OK);
  CHECK(fabs(d + 2.5) < 1e-12);
  CHECK_EQ(wr_in_bool(&c, &flag), WR_OK);
  CHECK_EQ(flag, 1);
  CHECK(wr_in_is_nil(&c));
  CHECK_EQ(wr_in_skip(&c), WR_OK);
  CHECK(c.p == c.end);
  wr_buf_free(&b);
}

TEST(texts_of_every_length_class) {
  static char text[70000];
  static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 70000};
  memset(text, 'x', sizeof text);
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
    for (int bin = 0; bin < 2; bin++) {
      wr_buf b = {0};
      wr_bytes got;
      if (bin)
        wr_out_bin(&b, text, lengths[i]);
      else
        wr_out_str(&b, text, lengths[i]);
      wr_cursor c = wr_cursor_of(b.data, b.len);
      CHECK_EQ(wr_in_bytes(&c, &got), WR_OK);
      CHECK_EQ(got.len, lengths[i]);
      CHECK_MEM(got.p, text, got.len);
      CHECK(c.p == c.end);
      for (size_t cut = 1; cut <= 3 && cut < b.len; cut++) {
        c = wr_cursor_of(b.data, b.len - cut);
        CHECK_EQ(wr_in_bytes(&c, &got), WR_PROTO);
      }
      wr_buf_free(&b);
    }
}

TEST(counts_never_exceed_what_is_there) {
  uint32_t n;
  wr_cursor c = wr_cursor_of("\xdd\xff\xff\xff\xff\x01", 6);
  CHECK_EQ(wr_in_array(&c, &n), WR_PROTO);
  c = wr_cursor_of("\xdf\x00\x00\x00\x02\x01\x02\x03", 8);
  CHECK_EQ(wr_in_map(&c, &n), WR_PROTO);
  c = wr_cursor_of("\x92\x01\x02", 3);
  CHECK_EQ(wr_in_array(&c, &n), WR_OK);
  CHECK_EQ(n, 2);
}

TEST(nesting_is_limited) {
  uint8_t deep[200];
  memset(deep, 0x91, sizeof deep);
  deep[sizeof deep - 1] = 0xc0;
  wr_cursor c = wr_cursor_of(deep, sizeof deep);
  CHECK_EQ(wr_in_skip(&c), WR_PROTO);
  c = wr_cursor_of(deep + sizeof deep - 10, 10);
  CHECK_EQ(wr_in_skip(&c), WR_OK);
}

/* Whatever the bytes, the reader stays inside them; exact copies let the sanitizer see one too
 * many. */
TEST(any_bytes_are_safe) {
  srand(7);
  for (int round = 0; round < 50000; round++) {
    size_t len = (size_t)rand() % 24;
    uint8_t *bytes = malloc(len + !len);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t)(rand() % 3 ? 0xc0 | rand() % 64 : rand());
    wr_cursor c = wr_cursor_of(bytes, len);
    while (wr_in_skip(&c) == WR_OK) CHECK(c.p <= c.end);
    CHECK(c.p <= c.end);
    free(bytes);
  }
}

TEST(nothing_is_written_and_read_without_memory) {
  wr_buf b = {0};
  CHECK_EQ(wr_buf_append(&b, "", 0), WR_OK);
  CHECK_EQ(b.failed, 0);
  wr_cursor c = wr_cursor_of(NULL, 0);
  uint64_t v;
  CHECK_EQ(wr_in_uint(&c, &v), WR_PROTO);
  wr_buf_free(&b);
}

TEST(memory_may_run_out_at_any_write) {
  for (long n = 1;; n++) {
    wr_buf b = {0};
    wr_mem_fail_at(n, 1);
    for (int i = 0; i < 100; i++) wr_out_text(&b, "some text");
    long failed = wr_mem_failures();
    wr_mem_fail_at(0, 0);
    CHECK_EQ(b.failed, failed != 0);
    wr_buf_free(&b);
    if (!failed) break;
  }
}

TEST(frame_header_limits_the_body) {
  uint8_t raw[WR_FRAME_HEADER];
  wr_head h = {WR_MAX_BODY, 7, 9}, got;
  wr_head_encode(&h, raw);
  CHECK_EQ(wr_head_decode(raw, &got), WR_OK);
  CHECK_EQ(got.len, h.len);
  CHECK_EQ(got.type, 7);
  CHECK_EQ(got.id, 9);
  h.len++;
  wr_head_encode(&h, raw);
  CHECK_EQ(wr_head_decode(raw, &got), WR_PROTO);
}
