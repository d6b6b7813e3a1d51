/* store/heap.h - memory for values.
 *
 * Values up to 128 KiB live in blocks of a size class, cut from spans that one process owns; larger
 * ones in runs of whole chunks.  Every block and run names its owner record (idx, gen), so that a
 * sweep can tell what a dead process left half made.
 *
 * Invariants: only a span's owner allocates from it; anybody frees, by one swap of the block's
 * owner word from (idx, gen) to 0, which therefore happens once however often it is tried.  A run
 * is claimed from its first chunk up and freed from its last chunk down, so that what remains is
 * always a prefix.  Freed memory stays warm: it is reused before memory never touched.
 *
 * Chunks are claimed below `heap_limit` alone.  That is the size of the store, and more while
 * whiprayd finds that nothing else helps; what lies beyond it later is freed as everything else. */
#ifndef WR_STORE_HEAP_H
#define WR_STORE_HEAP_H

#include "store/self.h"

#define WR_HEAP_BLOCK_MAX (128u << 10)

/* Room for `size` bytes, 64-byte aligned, owned by record (idx, gen).  WR_FULL, WR_NOMEM. */
int wr_heap_alloc(wr_self *me, uint64_t size, wr_idx idx, uint32_t gen, uint64_t *off);
/* Frees what starts at `off` if (idx, gen) still owns it; otherwise does nothing. */
void wr_heap_free(wr_self *me, uint64_t off, wr_idx idx, uint32_t gen);
/* Does (idx, gen) own what starts at off? */
int wr_heap_owned(wr_seg *s, uint64_t off, wr_idx idx, uint32_t gen);
/* If somebody has found the heap full since the last call: gives back what this process has cut
 * into blocks and does not use.  For processes that are about to idle. */
void wr_heap_make_room(wr_self *me);

/* Loose runs: memory of this process that no record names yet, for values that are born in place.
 * A sweep frees those of the dead, since nobody names them.  Give makes record (idx, gen) the owner
 * of a loose run of ours, WR_STATE if it is none; drop frees it, if it is still loose. */
int wr_heap_loose(wr_self *me, uint64_t size, uint64_t *off);
int wr_heap_give(wr_self *me, uint64_t off, wr_idx idx, uint32_t gen);
void wr_heap_drop(wr_self *me, uint64_t off);
/* What starts at `off` becomes another record's: 1, or 0: it was not (idx, gen)'s. */
int wr_heap_pass(wr_seg *s, uint64_t off, wr_idx idx, uint32_t gen, wr_idx to, uint32_t to_gen);
/* Chunks in use, for observers: walks the table. */
uint64_t wr_heap_chunks_used(wr_seg *s);

/* For sweeps: calls f for each block of a span with its owner; geometry of a size class. */
typedef struct {
  uint32_t block, chunks, n; /* bytes of a block, chunks of a span, blocks in it */
  uint32_t first;            /* offset of the first block */
} wr_span_geometry;
wr_span_geometry wr_heap_geometry(uint32_t class);
wr_a64 *wr_heap_owners(wr_seg *s, uint32_t chunk);

#endif
