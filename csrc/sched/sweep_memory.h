/* sched/sweep_memory.h - the part of a sweep that concerns memory: records, blocks, references. */
#ifndef WR_SCHED_SWEEP_MEMORY_H
#define WR_SCHED_SWEEP_MEMORY_H

#include "store/refs.h"

/* Calls f for every record of a kind in the session. */
void wr_sweep_each(wr_seg *s, uint32_t kind, void (*f)(void *ctx, wr_idx idx), void *ctx);
/* Settles the one operation on references that the dead process had under way. */
void wr_sweep_intent(wr_self *me, uint32_t slot);
/* Drops what the dead process created and held, and finishes what it was freeing. */
void wr_sweep_references(wr_self *me, uint32_t slot);
/* Frees blocks that no record names, and leaves its chunks to whoever needs them. */
void wr_sweep_chunks(wr_self *me, uint32_t slot);

#endif
