/* store/records.h - cells, items and tasks: type-stable records in chunks that one process fills.
 *
 * Invariant: a record is free exactly if its state word says so.  Freeing is that one store; the
 * owner of the chunk finds what others freed by looking, helped by a counter per chunk (a hint).
 * A chunk whose owner died becomes an orphan, and whoever needs records of its kind adopts it. */
#ifndef WR_STORE_RECORDS_H
#define WR_STORE_RECORDS_H

#include "store/self.h"

/* A free record; the caller sets its state at once.  WR_LIMIT: the record area is used up. */
int wr_rec_alloc(wr_self *me, enum wr_rec_kind kind, wr_idx *out);
/* The record that will be handed out next; 0: others have to be looked for first. */
wr_idx wr_rec_next(wr_self *me, enum wr_rec_kind kind);
/* The record's state says free already: makes it available again. */
void wr_rec_release(wr_self *me, wr_idx idx);
/* A chunk of hold-table entries for this process, zeroed. */
int wr_rec_hold_chunk(wr_self *me, uint32_t *chunk);
/* Number of the first record of a chunk, and how far apart they are, in cells. */
static inline wr_idx wr_rec_first(uint32_t chunk) { return chunk * (uint32_t)(WR_CHUNK / WR_CELL); }
static inline uint32_t wr_rec_step(uint32_t kind) {
  return kind == WR_REC_TASKS ? WR_TASK_CELLS : kind == WR_REC_ITEMS ? WR_ITEM_CELLS : 1;
}

#endif
