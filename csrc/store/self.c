#include "store/self.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"

int wr_self_init(wr_self *me, wr_seg *s, uint32_t slot, uint32_t gen) {
  memset(me, 0, sizeof *me);
  me->s = s;
  me->slot = slot;
  me->gen = gen;
  me->p = &s->procs[slot];
  me->seq = WR_OP_SEQ(wr_load(&me->p->op)); /* goes on where the slot's last holder ended */
  uint32_t sweeps = wr_load32(&s->h->sweeps);
  me->cells.sweeps = me->tasks.sweeps = me->items.sweeps = sweeps;
  for (int i = 0; i < WR_HEAP_CLASSES; i++) me->spans[i].sweeps = sweeps;
  return wr_vec64_grow(&me->reap, 1); /* letting go of little must not need memory */
}

static void close_records(wr_rec_cache *c) {
  wr_vec32_free(&c->free);
  wr_vec32_free(&c->chunks);
}

void wr_self_close(wr_self *me) {
  close_records(&me->cells);
  close_records(&me->tasks);
  close_records(&me->items);
  for (int i = 0; i < WR_HEAP_CLASSES; i++) {
    wr_vec64_free(&me->spans[i].free);
    wr_vec32_free(&me->spans[i].spans);
  }
  wr_vec64_free(&me->warm);
  wr_vec64_free(&me->reap);
  wr_map32_free(&me->held);
  wr_free(me->holds);
  me->holds = NULL;
  me->nholds = me->capholds = me->freehold = 0;
  wr_vec32_free(&me->hold_pos);
  wr_vec32_free(&me->hold_chunks);
}
