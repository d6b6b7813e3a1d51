/* shm/guard.h - whiprayd does not trust what clients can write.
 *
 * Clients work on the segment as it is: one that scribbles over it harms its own session.  The
 * daemon outlives them.  Its objects are compiled with WR_GUARD, and there
 *   - an index or offset that leads out of its table leads to wr_pit, private memory in which
 *     nothing means anything and which anybody may change;
 *   - counts are cut to the room there is;
 *   - lists end after as many steps as there are records, whatever their links say;
 *   - what was checked is what is used: the compiler must not read it from shared memory again.
 * In clients all of it compiles to nothing. */
#ifndef WR_SHM_GUARD_H
#define WR_SHM_GUARD_H

#include <stdint.h>

#define WR_PIT_SIZE (512u << 10) /* more than the longest list of extra returns */
extern _Alignas(4096) uint8_t wr_pit[WR_PIT_SIZE];

#ifdef WR_GUARD
#define WR_GUARDED 1
static inline uint64_t wr_guard_seen(uint64_t v) {
  __asm__("" : "+r"(v));
  return v;
}
#define WR_GUARD_AT(type, i, limit, place) \
  ((i = (uint32_t)wr_guard_seen(i)) < (limit) ? (type *)(void *)(place) : (type *)(void *)wr_pit)
#define WR_GUARD_STEP(left) ((left) && (left)--)
#else
#define WR_GUARDED 0
static inline uint64_t wr_guard_seen(uint64_t v) { return v; }
#define WR_GUARD_AT(type, i, limit, place) ((type *)(void *)(place))
#define WR_GUARD_STEP(left) ((void)(left), 1) /* left = wr_guard_steps(s) at the start of a walk */
#endif

struct wr_seg;
/* Bytes from p to the end of the record or block that it lies in, at most. */
uint64_t wr_guard_room(const struct wr_seg *s, const void *p);

static inline uint64_t wr_guard_count(uint64_t n, uint64_t room) {
  if (!WR_GUARDED) return n;
  n = wr_guard_seen(n);
  return n < room ? n : room;
}

#endif
