#include "sched/call_order.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/vec.h"

typedef struct {
  wr_idx call;
  uint32_t submitter, place;
} call_place;

static int by_place(const void *x, const void *y) {
  const call_place *a = x, *b = y;
  if (a->submitter != b->submitter) return a->submitter < b->submitter ? -1 : 1;
  return (a->place > b->place) - (a->place < b->place);
}

/* Numbers wrap.  Places count from half a circle before the first call that is seen of the
 * submitter, so that any numbers stand in one line, as qsort requires. */
static call_place place_of(const wr_seg *s, wr_idx call, wr_map32 *firsts) {
  const wr_task *t = wr_task_at(s, call);
  uint32_t submitter = t->submitter, number = (uint32_t)wr_load(&t->wait);
  const uint32_t *first = wr_map32_get(firsts, submitter + 1);
  uint32_t from = first ? *first : number;
  if (!first) (void)wr_map32_put(firsts, submitter + 1, number);
  return (call_place){call, submitter, number - from + ((uint32_t)1 << 31)};
}

void wr_calls_sort(const wr_seg *s, wr_idx *calls, uint32_t n) {
  wr_map32 firsts = {0};
  call_place *places = n > 1 ? wr_alloc(n * sizeof *places) : NULL;
  if (!places) return;
  for (uint32_t k = 0; k < n; k++) places[k] = place_of(s, calls[k], &firsts);
  qsort(places, n, sizeof *places, by_place);
  for (uint32_t k = 0; k < n; k++) calls[k] = places[k].call;
  wr_map32_free(&firsts);
  wr_free(places);
}
