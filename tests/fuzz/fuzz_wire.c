/* Any bytes as the body of a message: the cursor stays inside and every call answers. */
#include "fuzz.h"

#include "base/status.h"
#include "node/config.h"
#include "wire/frame.h"
#include "wire/unpack.h"

static void check_inside(const wr_cursor *c, const uint8_t *data, size_t size) {
  if (c->p < data || c->p > data + size) __builtin_trap();
}

static void read_as(uint8_t kind, wr_cursor *c) {
  uint32_t n;
  uint64_t u;
  int64_t i;
  double d;
  int b;
  wr_bytes s;
  volatile uint8_t last; /* what was handed out can be read */
  switch (kind % 9) {
    case 0: (void)wr_in_array(c, &n); break;
    case 1: (void)wr_in_map(c, &n); break;
    case 2: (void)wr_in_uint(c, &u); break;
    case 3: (void)wr_in_u32(c, &n); break;
    case 4: (void)wr_in_int(c, &i); break;
    case 5: (void)wr_in_bool(c, &b); break;
    case 6: (void)wr_in_double(c, &d); break;
    case 7:
      if (wr_in_bytes(c, &s) == WR_OK && s.len) last = s.p[s.len - 1], (void)last;
      break;
    default: (void)wr_in_skip(c); break;
  }
}

static void read_config(const uint8_t *data, size_t size) {
  node_config cfg;
  const char *wrong;
  wr_buf env = {0};
  wr_cursor c = wr_cursor_of(data, size), e = c;
  (void)node_config_parse(&cfg, &c, &wrong);
  node_config_free(&cfg);
  (void)node_env_parse(&env, &e);
  wr_buf_free(&env);
  check_inside(&c, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 4) return 0;
  wr_cursor c = wr_cursor_of(data + 4, size - 4);
  for (int i = 0; i < 4 && c.p < c.end; i++) {
    read_as(data[i], &c);
    check_inside(&c, data, size);
  }
  wr_head h;
  if (size >= WR_FRAME_HEADER && wr_head_decode(data, &h) == WR_OK && h.len > WR_MAX_BODY)
    __builtin_trap();
  read_config(data, size);
  return 0;
}
