#include "wire/frame.h"

#include "base/status.h"

void wr_put_u32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}

uint32_t wr_get_u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void wr_head_encode(const wr_head *f, uint8_t out[WR_FRAME_HEADER]) {
  wr_put_u32(out, f->len);
  wr_put_u32(out + 4, f->type);
  wr_put_u32(out + 8, f->id);
}

int wr_head_decode(const uint8_t in[WR_FRAME_HEADER], wr_head *out) {
  out->len = wr_get_u32(in);
  out->type = wr_get_u32(in + 4);
  out->id = wr_get_u32(in + 8);
  return out->len <= WR_MAX_BODY ? WR_OK : WR_PROTO;
}
