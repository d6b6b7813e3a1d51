#include "store/shed.h"

#include "base/failpoint.h"
#include "store/heap.h"
#include "store/objects.h"
#include "store/refs.h"

/* SHEDDING -> `place`, for whoever has come to wait for the value meanwhile. */
static void settle(wr_self *me, wr_object *o, uint32_t gen, uint32_t place) {
  uint64_t st = wr_load(&o->state), now = WR_OBJ_STATE(WR_OBJ_READY, gen) | WR_OBJ_IN(place);
  do {
    if (WR_OBJ_GEN(st) != gen || WR_OBJ_PLACE(st) != WR_IN_SHEDDING) return;
  } while (!wr_cas(&o->state, &st, now));
  wr_objects_wake(me->s, st); /* who sheds as well: another thread of it may wait for the value */
}

/* Nothing of it has been freed yet. */
static int is_whole(wr_self *me, const wr_object *o, wr_idx idx, uint32_t gen) {
  if (!wr_heap_owned(me->s, o->v.b.block, idx, gen)) return 0;
  if (!o->v.b.nrefs) return 1;
  const wr_pins *pins = wr_pins_at(me->s, o->v.b.block);
  return wr_load32(&pins->npinned) == pins->n;
}

static void finish(wr_self *me, wr_idx idx, uint32_t gen) {
  wr_object *o = wr_obj(me->s, idx);
  wr_fence(); /* pairs with the one of whoever has pinned the record and looks at the place */
  if (!wr_ref_unwanted(wr_load(&o->refs)) && is_whole(me, o, idx, gen)) {
    settle(me, o, gen, WR_IN_MEMORY);
  } else {
    wr_value_free(me, o, idx, gen);
    WR_FAILPOINT("shed.freed");
    o->v.b.nrefs = 0;
    o->v.b.block = o->v.b.off = 0;
    settle(me, o, gen, WR_IN_LOST);
    atomic_fetch_add(&me->s->h->files_dropped, 1); /* a copy on disk is of no use any more */
  }
  WR_FAILPOINT("shed.settled");
  atomic_fetch_add(&me->s->h->lineage_loose, 1);
  wr_fence(); /* pairs with the one in the reaper, which leaves the record to us */
  if (wr_gen_of(me->s, idx) == gen && wr_ref_unwanted(wr_load(&o->refs))) wr_reap(me, idx, gen);
}

void wr_shed(wr_self *me, wr_idx idx, uint32_t gen) {
  wr_object *o = wr_obj(me->s, idx);
  uint64_t st = wr_load(&o->state), now;
  do {
    if (WR_OBJ_GEN(st) != gen || !wr_shed_wanted(o, st)) return;
    now = WR_OBJ_STATE(WR_OBJ_READY, gen) | WR_OBJ_IN(WR_IN_SHEDDING) | (uint64_t)me->slot << 4;
  } while (!wr_cas(&o->state, &st, now));
  WR_FAILPOINT("shed.claimed");
  finish(me, idx, gen);
}

void wr_shed_resume(wr_self *me, wr_idx idx) { finish(me, idx, wr_gen_of(me->s, idx)); }
