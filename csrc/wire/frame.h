/* wire/frame.h - the header in front of every message, and little endian words. */
#ifndef WR_WIRE_FRAME_H
#define WR_WIRE_FRAME_H

#include <stdint.h>

#include "wire/limits.h"

typedef struct {
  uint32_t len, type, id; /* len: of the body */
} wr_head;

void wr_head_encode(const wr_head *f, uint8_t out[WR_FRAME_HEADER]);
int wr_head_decode(const uint8_t in[WR_FRAME_HEADER], wr_head *out); /* WR_PROTO: too long */

void wr_put_u32(uint8_t *p, uint32_t v);
uint32_t wr_get_u32(const uint8_t *p);

#endif
