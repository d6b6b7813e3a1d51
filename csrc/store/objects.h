/* store/objects.h - the life of an object: made pending, given a value, sealed, read.
 * Writers: its producer until the seal, then nobody.  The value is written before the state says
 * so, and readers look at the state first. */
#ifndef WR_STORE_OBJECTS_H
#define WR_STORE_OBJECTS_H

#include "store/refs.h"

/* Records start at generation 1, so that 0 can mean "any". */
int wr_objects_create(wr_self *me, uint32_t refs, wr_idx *idx, uint32_t *gen);
/* Makes a pending object of record idx, which is free and ours. */
void wr_objects_init(wr_self *me, wr_idx idx, uint32_t refs);

/* Room for a value that contains refs[0..nrefs), which are pinned here.  Inline when it fits. */
int wr_objects_reserve(wr_self *me, wr_idx idx, uint64_t len, const wr_idx *refs, uint32_t nrefs,
                       uint8_t **dst);
/* The loose run at `run` of this process, which holds a value of `len` bytes at `off`, becomes the
 * value: nothing is copied.  What it refers to is pinned as in reserve, by a list that goes before
 * the value.  WR_STATE when it is no such run. */
int wr_objects_adopt(wr_self *me, wr_idx idx, uint64_t run, uint64_t off, uint64_t len,
                     const wr_idx *refs, uint32_t nrefs);
/* Bytes between the start of a block and a value with so many references. */
static inline uint64_t wr_objects_pins_size(uint32_t nrefs) {
  return nrefs ? (sizeof(wr_pins) + 4ull * nrefs + 63) / 64 * 64 : 0;
}
void wr_objects_discard(wr_self *me, wr_idx idx);
/* READY or ERROR for all to see; wakes those that asked.  The caller then lets the tasks go that
 * wait for it (sched/deps.h).  WR_STATE when it was sealed before. */
int wr_objects_seal(wr_self *me, wr_idx idx, int is_error, uint16_t flags);

/* In this state an argument has to be waited for: a task will seal it, or make it again. */
static inline int wr_objects_awaited(uint64_t st) {
  return WR_OBJ_PHASE(st) == WR_OBJ_PENDING || WR_OBJ_PLACE(st) == WR_IN_REMAKING;
}
/* Wakes those who stood in the state that an object had. */
static inline void wr_objects_wake(wr_seg *s, uint64_t st) {
  if (WR_OBJ_W0(st)) wr_wake(s, WR_OBJ_W0(st));
  if (WR_OBJ_W1(st)) wr_wake(s, WR_OBJ_W1(st));
  if (st & WR_OBJ_MANY) wr_wake_waiting(s);
}
/* Registers `slot` to be woken at the seal: 1 sealed already, 0 registered, WR_STALE. */
int wr_objects_watch(wr_seg *s, wr_idx idx, uint32_t gen, uint32_t slot);

/* The same for a sealed object whose value is not in memory: 1: it is, or never will be again. */
int wr_objects_watch_value(wr_seg *s, wr_idx idx, uint32_t gen, uint32_t slot);

/* Engine-made error as a value: msgpack [code, text, {}] in buf; returns its length. */
size_t wr_error_value(uint8_t *buf, size_t cap, const char *code, const char *text);

#endif
