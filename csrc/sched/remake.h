/* sched/remake.h - computing lost values again, for whiprayd.
 *
 * A KEPT task does not run again itself: its record is where its results are.  whiprayd submits a
 * copy of it, an ordinary task like any other, and what comes out of that is put where the lost
 * values were.  Whoever waits for them waits for their place to be MEMORY, as for any value that is
 * not there right now. */
#ifndef WR_SCHED_REMAKE_H
#define WR_SCHED_REMAKE_H

#include "store/self.h"

/* Builds a copy of the KEPT task; out[] gets its returns, as many as wr_remake_returns says.  The
 * caller submits it with wr_tasks_submit, and has the creator's references.  WR_FULL, WR_NOMEM. */
int wr_remake_build(wr_self *me, wr_idx task, wr_idx *out);
uint32_t wr_remake_returns(const wr_seg *s, wr_idx task);

/* FILE or LOST -> REMAKING: 1, or 0: it is in neither. */
int wr_remake_mark(wr_seg *s, wr_idx idx, uint32_t gen);
/* The value of `from`, a sealed return of a copy, becomes that of `to`, if that is REMAKING: READY
 * in memory, or an error.  Those who wait for it are told.  WR_FULL: not yet. */
int wr_remake_put(wr_self *me, wr_idx from, wr_idx to);
/* The object, in FILE, LOST or REMAKING, becomes an error made by the engine; without room for that
 * it is LOST. */
void wr_remake_fail(wr_self *me, wr_idx idx, uint32_t gen, const char *code, const char *text);

#endif
