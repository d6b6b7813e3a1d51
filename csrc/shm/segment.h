/* shm/segment.h - creating and mapping the segment, and finding things in it.
 * The daemon creates; every other process attaches to the memfd it was handed. */
#ifndef WR_SHM_SEGMENT_H
#define WR_SHM_SEGMENT_H

#include "shm/guard.h"
#include "shm/layout.h"

typedef struct wr_seg {
  uint8_t *base;   /* where this process maps it */
  wr_header *h;
  wr_proc *procs;
  wr_actor *actors;
  wr_pool *pools;
  wr_shape *shapes;
  wr_resource *resources;
  wr_group *groups;
  wr_bundle *bundles;
  wr_a64 *rec_table;  /* words of the record chunks */
  wr_a32 *rec_freed;  /* hint: records freed by others, per chunk */
  wr_a64 *heap_table;
  wr_a32 *heap_freed; /* hint: blocks freed by others, per span */
  wr_a64 *exports;    /* idx of exported functions, by the hash of their bytes */
  uint8_t *recs, *heap;
  uint64_t size, rings_off, recs_off, heap_off; /* as in the header, which others can write */
  uint64_t heap_chunks, store_chunks;           /* and so are these */
  int fd;
} wr_seg;

typedef struct {
  uint64_t heap_bytes; /* room for values */
  uint64_t more_bytes; /* addresses for more, should nothing else help */
  uint32_t cpus;       /* cores the session may use */
  uint8_t session[16];
} wr_seg_config;

int wr_seg_create(wr_seg *s, const wr_seg_config *cfg); /* s->fd owns the memfd */
int wr_seg_attach(wr_seg *s, int fd); /* takes over fd; WR_VERSION, WR_PROTO, WR_IO, WR_NOMEM */
void wr_seg_detach(wr_seg *s);

/* Ends the session for everybody: sets `ended` and wakes every process.  The daemon gives a reason;
 * who finds it dead gives none. */
void wr_seg_end(wr_seg *s, const char *reason);
const char *wr_seg_end_reason(const wr_seg *s); /* once it has ended */
/* Wakes one process, or all that wait for objects, or all. */
void wr_wake(wr_seg *s, uint32_t slot);
void wr_wake_waiting(wr_seg *s);
void wr_wake_all(wr_seg *s);
/* After a death: wakes every sleeper, also one whose waker got no further than to pick it. */
void wr_wake_stranded(wr_seg *s);

/* Where an index leads; what shm/guard.h says about those that lead nowhere holds for all. */
static inline wr_object *wr_obj(const wr_seg *s, wr_idx i) {
  return WR_GUARD_AT(wr_object, i, WR_MAX_CELLS, s->recs + (uint64_t)i * WR_CELL);
}
static inline wr_task *wr_task_at(const wr_seg *s, wr_idx i) {
  return WR_GUARD_AT(wr_task, i, WR_MAX_CELLS - WR_TASK_CELLS + 1, s->recs + (uint64_t)i * WR_CELL);
}
static inline wr_node *wr_node_at(const wr_seg *s, wr_idx i) {
  return WR_GUARD_AT(wr_node, i, WR_MAX_CELLS, s->recs + (uint64_t)i * WR_CELL);
}
static inline wr_actor *wr_actor_at(const wr_seg *s, uint32_t i) {
  return WR_GUARD_AT(wr_actor, i, WR_MAX_ACTORS, &s->actors[i]);
}
static inline wr_pool *wr_pool_at(const wr_seg *s, uint32_t i) {
  return WR_GUARD_AT(wr_pool, i, WR_MAX_POOLS, &s->pools[i]);
}
static inline wr_shape *wr_shape_at(const wr_seg *s, uint32_t i) {
  return WR_GUARD_AT(wr_shape, i, WR_MAX_SHAPES, &s->shapes[i]);
}
static inline wr_resource *wr_resource_at(const wr_seg *s, uint32_t i) {
  return WR_GUARD_AT(wr_resource, i, WR_MAX_RESOURCES, &s->resources[i]);
}
static inline wr_group *wr_group_at(const wr_seg *s, uint32_t i) {
  return WR_GUARD_AT(wr_group, i, WR_MAX_GROUPS, &s->groups[i]);
}
static inline wr_bundle *wr_bundle_at(const wr_seg *s, uint32_t i) {
  return WR_GUARD_AT(wr_bundle, i, WR_MAX_BUNDLES, &s->bundles[i]);
}
static inline wr_item *wr_item_at(const wr_seg *s, wr_idx i) {
  return WR_GUARD_AT(wr_item, i, WR_MAX_CELLS - WR_ITEM_CELLS + 1, s->recs + (uint64_t)i * WR_CELL);
}
static inline wr_pins *wr_item_link(wr_item *item) { return (wr_pins *)(void *)&item->npinned; }
static inline wr_a64 *wr_refs(const wr_seg *s, wr_idx i) {
  return i & WR_ACTOR_BIT ? &wr_actor_at(s, i & ~WR_ACTOR_BIT)->refs : &wr_obj(s, i)->refs;
}
static inline uint32_t wr_rec_chunk(wr_idx i) { return i / (uint32_t)(WR_CHUNK / WR_CELL); }
/* The word of the chunk that a record lies in. */
static inline wr_a64 *wr_rec_word(const wr_seg *s, wr_idx i) {
  return WR_GUARD_AT(wr_a64, i, WR_MAX_CELLS, &s->rec_table[wr_rec_chunk(i)]);
}
static inline uint32_t wr_rec_kind_of(const wr_seg *s, wr_idx i) {
  return WR_REC_KIND(wr_load(wr_rec_word(s, i)));
}
/* Does an index that anybody may have written name a task's record? */
static inline int wr_rec_is_task(const wr_seg *s, wr_idx i) {
  uint32_t chunk = wr_rec_chunk(i);
  return i && !(i & WR_ACTOR_BIT) && i % WR_TASK_CELLS == 0 && chunk < WR_REC_CHUNKS &&
         chunk < wr_load32(&s->h->rec_high) && wr_rec_kind_of(s, i) == WR_REC_TASKS;
}
static inline wr_a32 *wr_rec_freed(const wr_seg *s, wr_idx i) {
  return WR_GUARD_AT(wr_a32, i, WR_MAX_CELLS, &s->rec_freed[wr_rec_chunk(i)]);
}
/* Words of the rings of all shapes before shape i, of which each has two. */
static inline uint64_t wr_ring_words(uint32_t i) {
  uint64_t wide = i < WR_WIDE_SHAPES ? i : WR_WIDE_SHAPES;
  return wide * (WR_RING_SHORT + WR_RING_LONG) + (i - wide) * 2 * WR_RING_SHORT;
}
/* Needs of a shape. */
static inline uint32_t wr_shape_needs(const wr_shape *sh) {
  return (uint32_t)wr_guard_count(sh->n, WR_SHAPE_RESOURCES);
}
static inline void *wr_at(const wr_seg *s, uint64_t off) { return s->base + off; }
/* `len` bytes at an offset that was read from the segment. */
static inline void *wr_bytes_at(const wr_seg *s, uint64_t off, uint64_t len) {
  if (!WR_GUARDED) return s->base + off;
  off = wr_guard_seen(off);
  return off % 8 || off > s->size || len > s->size - off ? wr_pit : s->base + off;
}
static inline wr_pins *wr_pins_at(const wr_seg *s, uint64_t off) {
  return wr_bytes_at(s, off, sizeof(wr_pins));
}
/* How many of the n entries that a list claims can be there. */
static inline uint32_t wr_pins_count(const wr_seg *s, const wr_pins *pins, uint32_t n) {
  return WR_GUARDED ? (uint32_t)wr_guard_count(n, wr_guard_room(s, pins->idx) / 4) : n;
}
/* How far a list that clients have linked may reach: see WR_GUARD_STEP. */
static inline uint64_t wr_guard_steps(const wr_seg *s) {
  return WR_GUARDED ? wr_guard_count(wr_load32(&s->h->rec_high), WR_REC_CHUNKS) *
                          (WR_CHUNK / WR_CELL) : 0;
}
static inline uint64_t wr_off(const wr_seg *s, const void *p) {
  return (uint64_t)((const uint8_t *)p - s->base);
}

#endif
