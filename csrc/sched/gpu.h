/* sched/gpu.h - which GPUs a claim has: whole ones, or a share of one.
 *
 * The ledger counts GPUs as it counts any resource; this says which ones.  Invariant: what is free
 * of a GPU and the shares of the processes whose `gpus` word has its bit add up to the whole.  The
 * size of a share follows from the shape in the process's claim, so bits are set after the claim
 * and cleared before it; each change is one tagged operation. */
#ifndef WR_SCHED_GPU_H
#define WR_SCHED_GPU_H

#include "store/refs.h"

/* At the start of a session with that many GPUs (fixed point). */
void wr_gpus_init(wr_seg *s, uint32_t amount);
/* Notes GPUs for the process, `amount` in all (fixed point): shares fill up those in use first.
 * WR_AGAIN: what is free lies scattered; the process has none then. */
int wr_gpus_take(wr_self *me, uint32_t amount);
void wr_gpus_give(wr_self *me, uint32_t amount);
/* How often could `amount` be had now, at most `most` times?  A hint. */
uint32_t wr_gpus_times(const wr_seg *s, uint32_t amount, uint32_t most);
/* For the sweep: returns what process record `slot` has, in-flight operation included. */
void wr_gpus_return_dead(wr_self *me, uint32_t slot, uint32_t amount);
/* What there is of GPU i. */
static inline uint32_t wr_gpu_share(uint32_t amount) {
  return amount < WR_RES_SCALE ? amount : WR_RES_SCALE;
}

#endif
