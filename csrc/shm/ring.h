/* shm/ring.h - bounded queue of 32-bit values for many producers and consumers.
 * Invariant: a position's word carries its lap and whether it is full, so that putting and taking
 * are one swap each; head and tail are hints that whoever meets them behind moves on.  A process
 * that dies between the two swaps loses nothing and blocks nobody. */
#ifndef WR_SHM_RING_H
#define WR_SHM_RING_H

#include "shm/segment.h"

void wr_ring_init(wr_ring *r, uint64_t off, uint64_t cap); /* the words must be zero */
/* The rings of a shape whose number is used for the first time; again, it changes nothing. */
void wr_ring_open(wr_seg *s, uint32_t shape);
static inline uint64_t wr_ring_overflow_cap(uint32_t shape) {
  return shape < WR_WIDE_SHAPES ? WR_RING_LONG : WR_RING_SHORT;
}
int wr_ring_put(wr_seg *s, wr_ring *r, uint32_t value);    /* WR_OK or WR_FULL */
/* WR_OK or WR_AGAIN.  *hand is set to the value before it is taken, so that a sweep can tell what
 * a dead process had in its hands; the caller clears it. */
int wr_ring_take(wr_seg *s, wr_ring *r, uint32_t *value, wr_a32 *hand);
/* Hints: no ordering is promised. */
uint64_t wr_ring_len(const wr_ring *r);
uint32_t wr_ring_peek(wr_seg *s, const wr_ring *r, uint64_t pos); /* the value put there last */
int wr_ring_empty(wr_seg *s, wr_ring *r);

#endif
