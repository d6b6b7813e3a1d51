/* store/away.h - values that leave memory for a file, and come back.
 *
 * whiprayd calls all of this, from one thread, but wr_away_each, which anybody may; see enum
 * wr_object_place for what everybody else may rely on.  It never waits for a client, and its own
 * death ends the session, so nothing here has to be resumed by anybody.
 *
 * What a value refers to is pinned by the value while that is in memory, and held by whiprayd while
 * it is away: taken there before it is let go of here, and the other way round when the value comes
 * back.  So a value that is away names nothing, and who frees its record has nothing to let go of;
 * whiprayd drops its holds when it drops the bytes on disk. */
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

/* Private memory of whiprayd: what a value refers to that is away, held for as long as this is
 * there. */
typedef struct {
  uint32_t n;
  wr_idx idx[];
} wr_away_refs;

/* Calls f for every value in memory that could be spilled, whether it is viewed or not. */
void wr_away_each(wr_seg *s, void (*f)(void *ctx, const wr_spillable *v), void *ctx);
/* Calls f for every record that some process has views of; may name one several times. */
void wr_away_each_view(wr_seg *s, void (*f)(void *ctx, wr_idx idx), void *ctx);

/* MEMORY -> LEAVING: 1, or 0: the record is another by now, or its value is somewhere else.  After
 * the last one of several: wr_away_settle, then wr_away_each_view, then stay or leave for each. */
int wr_away_begin(wr_seg *s, wr_idx idx, uint32_t gen);
void wr_away_settle(void);
/* LEAVING -> MEMORY; LEAVING -> FILE: the memory is free, and *refs is what the value refers to, or
 * NULL.  WR_NOMEM and others: it is still LEAVING. */
void wr_away_stay(wr_self *me, wr_idx idx, uint32_t gen);
int wr_away_leave(wr_self *me, wr_idx idx, uint32_t gen, wr_away_refs **refs);

/* FILE -> COMING, with `len` bytes of memory at *dst for the value.  WR_FULL and others: it is in
 * FILE as before; WR_STALE: it is not there. */
int wr_away_return(wr_self *me, wr_idx idx, uint32_t gen, uint64_t len, const wr_away_refs *refs,
                   uint8_t **dst);
/* COMING -> MEMORY: the value has been written, and *refs is NULL from now on; or back to FILE, or
 * LOST, without memory. */
void wr_away_arrive(wr_self *me, wr_idx idx, uint32_t gen, enum wr_object_place place,
                    wr_away_refs **refs);
/* The value is gone, or will not come back: lets go of what it referred to.  *refs is NULL then. */
void wr_away_forget(wr_self *me, wr_away_refs **refs);
/* FILE -> LOST. */
void wr_away_lose(wr_self *me, wr_idx idx, uint32_t gen);
/* Is the value of (idx, gen) in a file, or may it still go there: is what is on disk of use? */
int wr_away_wanted(const wr_seg *s, wr_idx idx, uint32_t gen);

#endif
