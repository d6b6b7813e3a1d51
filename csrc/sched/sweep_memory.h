/* sched/sweep_memory.h - the part of a sweep that concerns memory: records, blocks, references. */
#ifndef WR_SCHED_SWEEP_MEMORY_H
#define WR_SCHED_SWEEP_MEMORY_H

#include "store/refs.h"

/* Calls f for every record of a kind in the session. */
void wr_sweep_each(wr_seg *s, uint32_t kind, void (*f)(void *ctx, wr_idx idx), void *ctx);
/* Does record idx, in generation gen (as far as mask says), name the memory at off as its own? */
int wr_sweep_named(wr_seg *s, wr_idx i, uint32_t gen, uint32_t mask, uint64_t off);
/* Settles the one operation on references that the dead process had under way. */
void wr_sweep_intent(wr_self *me, uint32_t slot);
/* Drops what the dead process created and held, and finishes what it was freeing. */
void wr_sweep_references(wr_self *me, uint32_t slot);
/* Frees blocks that no record names, and leaves its chunks to whoever needs them. */
void wr_sweep_chunks(wr_self *me, uint32_t slot);

#endif
