/* shm/segment.h - creating and mapping the segment, and finding things in it.
 * The daemon creates; every other process attaches to the memfd it was handed. */
#ifndef WR_SHM_SEGMENT_H
#define WR_SHM_SEGMENT_H

#include "shm/layout.h"

typedef struct {
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
  uint8_t *recs, *heap;
  uint64_t heap_chunks;
  int fd;
} wr_seg;

typedef struct {
  uint64_t heap_bytes; /* room for values */
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

static inline wr_object *wr_obj(const wr_seg *s, wr_idx i) {
  return (wr_object *)(void *)(s->recs + (uint64_t)i * WR_CELL);
}
static inline wr_task *wr_task_at(const wr_seg *s, wr_idx i) {
  return (wr_task *)(void *)(s->recs + (uint64_t)i * WR_CELL);
}
static inline wr_node *wr_node_at(const wr_seg *s, wr_idx i) {
  return (wr_node *)(void *)(s->recs + (uint64_t)i * WR_CELL);
}
static inline wr_a64 *wr_refs(const wr_seg *s, wr_idx i) {
  return i & WR_ACTOR_BIT ? &s->actors[i & ~WR_ACTOR_BIT].refs : &wr_obj(s, i)->refs;
}
static inline uint32_t wr_rec_chunk(wr_idx i) { return i / (uint32_t)(WR_CHUNK / WR_CELL); }
static inline void *wr_at(const wr_seg *s, uint64_t off) { return s->base + off; }
static inline uint64_t wr_off(const wr_seg *s, const void *p) {
  return (uint64_t)((const uint8_t *)p - s->base);
}

#endif
