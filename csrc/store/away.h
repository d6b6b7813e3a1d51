/* store/away.h - values that leave memory for a file, and come back.
 *
 * whiprayd calls all of this, from one thread; see enum wr_object_place for what everybody else may
 * rely on.  It never waits for a client, and its own death ends the session, so nothing here has to
 * be resumed by anybody. */
#ifndef WR_STORE_AWAY_H
#define WR_STORE_AWAY_H

#include "store/self.h"

typedef struct {
  wr_idx idx;
  uint32_t gen;
  uint32_t touched; /* see wr_object */
  uint64_t room;    /* bytes that become free without it */
  uint64_t off, len; /* of the value, inside the heap */
} wr_spillable;

/* Calls f for every value in memory that could be spilled, whether it is viewed or not. */
void wr_away_each(wr_seg *s, void (*f)(void *ctx, const wr_spillable *v), void *ctx);
/* Calls f for every record that some process has views of; may name one several times. */
void wr_away_each_view(wr_seg *s, void (*f)(void *ctx, wr_idx idx), void *ctx);

/* MEMORY -> LEAVING: 1, or 0: the record is another by now, or its value is somewhere else.  After
 * the last one of several: wr_away_settle, then wr_away_each_view, then stay or leave for each. */
int wr_away_begin(wr_seg *s, wr_idx idx, uint32_t gen);
void wr_away_settle(void);
/* LEAVING -> MEMORY; LEAVING -> FILE: the memory is free. */
void wr_away_stay(wr_self *me, wr_idx idx, uint32_t gen);
void wr_away_leave(wr_self *me, wr_idx idx, uint32_t gen);

/* FILE -> COMING, with `len` bytes of memory at *dst for the value.  WR_FULL and others: it is in
 * FILE as before; WR_STALE: it is not there. */
int wr_away_return(wr_self *me, wr_idx idx, uint32_t gen, uint64_t len, uint8_t **dst);
/* COMING -> MEMORY: the value has been written; or back to FILE, or LOST, without memory. */
void wr_away_arrive(wr_self *me, wr_idx idx, uint32_t gen, enum wr_object_place place);
/* FILE -> LOST. */
void wr_away_lose(wr_self *me, wr_idx idx, uint32_t gen);
/* Is the value of (idx, gen) in a file, or may it still go there: is what is on disk of use? */
int wr_away_wanted(const wr_seg *s, wr_idx idx, uint32_t gen);

#endif
