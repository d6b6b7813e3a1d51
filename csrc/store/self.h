/* store/self.h - one process's own side of the shared records: who it is, and its private caches of
 * free records and blocks.  All of it is private memory: when the process dies, the records tell.
 * Callers hold the client's private lock; the daemon has one thread. */
#ifndef WR_STORE_SELF_H
#define WR_STORE_SELF_H

#include "base/vec.h"
#include "shm/segment.h"

#define WR_HEAP_CLASSES 20

typedef struct {
  wr_vec32 free;    /* idx of free records, last in first out */
  wr_vec32 chunks;  /* chunks owned */
  uint32_t cursor;  /* where the next scan for freed records starts */
  uint32_t sweeps;  /* value of the session's sweep counter at the last full scan */
} wr_rec_cache;

typedef struct {
  wr_vec64 free;   /* offsets of free blocks */
  wr_vec32 spans;  /* first chunks of own spans */
  uint32_t cursor;
  uint32_t sweeps;
} wr_span_cache;

typedef struct {
  uint32_t gen, count, pos;
  uint32_t views; /* how many of `count` are views */
} wr_held;

typedef struct wr_self wr_self;
struct wr_self {
  wr_seg *s;
  wr_proc *p;
  uint32_t slot, gen;
  uint32_t seq;   /* of the last tagged operation */
  uint32_t calls; /* actor calls made so far: their order */
  uint32_t room_seen; /* `room_wanted` at the last wr_heap_make_room */
  uint32_t takes; /* tasks taken from queues: every so often another shape comes first */
  wr_rec_cache cells, tasks, items;
  wr_span_cache spans[WR_HEAP_CLASSES];
  wr_vec64 warm;     /* runs freed here lately: first chunk | chunks << 32 */
  wr_vec64 reap;     /* idx, gen of records whose last reference went: to be freed */
  int reaping;
  wr_map32 held;     /* idx + 1 -> index into holds */
  wr_held *holds;
  uint32_t nholds, capholds, freehold;
  wr_vec32 hold_pos; /* free places in the hold table */
  wr_vec32 hold_chunks;
  /* Asks the daemon for more workers of a pool; NULL where nobody asks (the daemon itself). */
  void (*want)(void *ctx, uint32_t pool);
  void *want_ctx;
};

int wr_self_init(wr_self *me, wr_seg *s, uint32_t slot, uint32_t gen); /* WR_OK, WR_NOMEM */
void wr_self_close(wr_self *me); /* frees private memory; shared records stay as they are */

#endif
