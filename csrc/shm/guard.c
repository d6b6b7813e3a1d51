#include "shm/guard.h"

#include "shm/segment.h"

_Alignas(4096) uint8_t wr_pit[WR_PIT_SIZE];

/* A list in a record ends with the record; one in the heap with the chunks of its run or span, as
 * far as the table says so. */
uint64_t wr_guard_room(const wr_seg *s, const void *p) {
  const uint8_t *at = p;
  if (at >= wr_pit && at < wr_pit + WR_PIT_SIZE) return (uint64_t)(wr_pit + WR_PIT_SIZE - at);
  if (at < s->recs || at >= s->base + s->size) return 0;
  if (at < s->heap) return sizeof(wr_task) - (uint64_t)(at - s->recs) % sizeof(wr_task);
  uint64_t off = (uint64_t)(at - s->heap), chunk = off / WR_CHUNK, end = chunk + 1;
  while (end < s->heap_chunks && WR_HEAP_KIND(wr_load(&s->heap_table[end])) == WR_HEAP_INNER) end++;
  return end * WR_CHUNK - off;
}
