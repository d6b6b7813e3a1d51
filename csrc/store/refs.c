#include "store/refs.h"

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "base/status.h"
#include "store/heap.h"
#include "store/records.h"
#include "store/shed.h"

wr_tagger wr_tagger_of(wr_self *me) { return (wr_tagger){me->s, me->p, me->slot, &me->seq}; }

uint32_t wr_gen_of(const wr_seg *s, wr_idx idx) {
  if (idx & WR_ACTOR_BIT) return WR_ACTOR_GEN(wr_load(&wr_actor_at(s, idx & ~WR_ACTOR_BIT)->state));
  return WR_OBJ_GEN(wr_load(&wr_obj(s, idx)->state));
}

static void queue_reap(wr_self *me, wr_idx idx, uint32_t gen);

/* ---- pins ---------------------------------------------------------------------------------- */

int wr_pins_take(wr_self *me, wr_pins *pins) {
  wr_tagger t = wr_tagger_of(me);
  uint32_t n = wr_pins_count(me->s, pins, pins->n);
  for (uint32_t i = wr_load32(&pins->npinned); i < n; i++) {
    wr_tag_begin(t, WR_OP_PIN, pins->idx[i], WR_PIN_ARG(wr_off(me->s, pins), i));
    wr_tag_add(t, wr_refs(me->s, pins->idx[i]), 1);
    wr_store32(&pins->npinned, i + 1);
    wr_tag_done(t);
  }
  return WR_OK;
}

void wr_pins_drop(wr_self *me, wr_pins *pins) {
  wr_tagger t = wr_tagger_of(me);
  for (uint32_t i = wr_pins_count(me->s, pins, wr_load32(&pins->npinned)); i-- > 0;) {
    wr_idx idx = pins->idx[i];
    uint32_t gen = wr_gen_of(me->s, idx);
    wr_tag_begin(t, WR_OP_UNPIN, idx, WR_PIN_ARG(wr_off(me->s, pins), i));
    uint64_t now = wr_tag_add(t, wr_refs(me->s, idx), (uint32_t)-1);
    wr_store32(&pins->npinned, i);
    wr_tag_done(t);
    if (wr_ref_unwanted(now)) queue_reap(me, idx, gen);
  }
}

/* ---- holds --------------------------------------------------------------------------------- */

static wr_a32 *hold_entry(wr_self *me, uint32_t pos) {
  return (wr_a32 *)(void *)(me->s->recs + (uint64_t)pos * 4);
}

static int hold_place(wr_self *me, uint32_t *pos) {
  if (me->hold_pos.n == 0) {
    uint32_t chunk, all = (me->hold_chunks.n + 1) * WR_HOLDS_PER_CHUNK;
    int rc = wr_vec32_grow(&me->hold_pos, all); /* so that every place can come back */
    if (rc == WR_OK) rc = wr_rec_hold_chunk(me, &chunk);
    if (rc < 0) return rc;
    for (uint32_t i = WR_HOLDS_PER_CHUNK; i-- > 0;)
      me->hold_pos.v[me->hold_pos.n++] = chunk * WR_HOLDS_PER_CHUNK + i;
  }
  *pos = me->hold_pos.v[--me->hold_pos.n];
  return WR_OK;
}

static int held_new(wr_self *me, uint32_t *k) {
  if (me->freehold) { /* a chain through `pos` of unused entries, numbered from one */
    *k = me->freehold - 1;
    me->freehold = me->holds[*k].pos;
    return WR_OK;
  }
  if (me->nholds == me->capholds) {
    wr_held *h = wr_vec_room(me->holds, me->nholds, &me->capholds, sizeof *h);
    if (!h) return WR_NOMEM;
    me->holds = h;
  }
  *k = me->nholds++;
  return WR_OK;
}

static void held_free(wr_self *me, uint32_t k) {
  me->holds[k].pos = me->freehold;
  me->freehold = k + 1;
}

/* Takes one reference if the record lives. */
static int pin_living(wr_tagger t, wr_a64 *refs) {
  uint64_t old = wr_load(refs);
  do {
    if (wr_tag_value(old) == 0) return WR_STALE;
  } while (!wr_tag_swap(t, refs, &old, wr_tag_value(old) + 1));
  return WR_OK;
}

static void unpin_hold(wr_self *me, wr_idx idx, uint32_t pos) {
  wr_tagger t = wr_tagger_of(me);
  uint32_t gen = wr_gen_of(me->s, idx);
  wr_tag_begin(t, WR_OP_UNHOLD, idx, pos);
  uint64_t now = wr_tag_add(t, wr_refs(me->s, idx), (uint32_t)-1);
  wr_store32(hold_entry(me, pos), 0);
  wr_tag_done(t);
  (void)wr_vec32_push(&me->hold_pos, pos);
  if (wr_ref_unwanted(now)) queue_reap(me, idx, gen);
}

int wr_hold_take(wr_self *me, wr_idx idx, uint32_t gen, uint32_t *gen_out) {
  uint32_t *slot = wr_map32_get(&me->held, idx + 1), k, pos;
  if (slot) {
    wr_held *h = &me->holds[*slot];
    if (gen && h->gen != gen) return WR_STALE;
    h->count++;
    if (gen_out) *gen_out = h->gen;
    return WR_OK;
  }
  int rc = held_new(me, &k);
  if (rc < 0) return rc;
  if ((rc = hold_place(me, &pos)) < 0) {
    held_free(me, k);
    return rc;
  }
  wr_tagger t = wr_tagger_of(me);
  wr_tag_begin(t, WR_OP_HOLD, idx, pos);
  rc = pin_living(t, wr_refs(me->s, idx));
  if (rc == WR_OK) wr_store32(hold_entry(me, pos), idx);
  wr_tag_done(t);
  int pinned = rc == WR_OK;
  uint32_t now = wr_gen_of(me->s, idx);
  if (pinned && gen && now != gen) rc = WR_STALE;
  if (rc == WR_OK) rc = wr_map32_put(&me->held, idx + 1, k);
  if (rc < 0) {
    if (pinned)
      unpin_hold(me, idx, pos);
    else
      (void)wr_vec32_push(&me->hold_pos, pos);
    held_free(me, k);
    return rc;
  }
  me->holds[k] = (wr_held){.gen = now, .count = 1, .pos = pos};
  if (gen_out) *gen_out = now;
  return WR_OK;
}

void wr_hold_drop(wr_self *me, wr_idx idx) {
  uint32_t *slot = wr_map32_get(&me->held, idx + 1);
  if (!slot) return;
  uint32_t k = *slot;
  if (--me->holds[k].count) return;
  uint32_t pos = me->holds[k].pos;
  wr_map32_del(&me->held, idx + 1);
  held_free(me, k);
  unpin_hold(me, idx, pos);
}

/* ---- views --------------------------------------------------------------------------------- */

int wr_view_take(wr_self *me, wr_idx idx, uint32_t gen) {
  int rc = wr_hold_take(me, idx, gen, NULL);
  if (rc < 0) return rc;
  wr_held *h = &me->holds[*wr_map32_get(&me->held, idx + 1)];
  wr_object *o = wr_obj(me->s, idx);
  if (WR_LIKELY(o->flags & WR_VAL_BLOCK)) /* else the value itself may stand there */
    atomic_store_explicit(&o->v.b.touched, wr_load32(&me->s->h->births), memory_order_relaxed);
  if (h->views++ == 0) {
    wr_store32(hold_entry(me, h->pos), idx | WR_HOLD_VIEW);
    WR_FAILPOINT("view.marked");
    wr_fence(); /* pairs with the one in wr_away_begin */
  }
  return WR_OK;
}

void wr_view_drop(wr_self *me, wr_idx idx) {
  uint32_t *slot = wr_map32_get(&me->held, idx + 1);
  if (!slot) return;
  wr_held *h = &me->holds[*slot];
  if (--h->views == 0 && h->count > 1) wr_store32(hold_entry(me, h->pos), idx);
  wr_hold_drop(me, idx);
}

/* ---- flags --------------------------------------------------------------------------------- */

void wr_refs_clear(wr_self *me, wr_idx idx, uint32_t gen, uint32_t bits) {
  if (wr_ref_unwanted(wr_tag_clear(wr_refs(me->s, idx), bits))) queue_reap(me, idx, gen);
}

void wr_refs_name(wr_self *me, wr_idx idx) {
  wr_a64 *refs = wr_refs(me->s, idx);
  if (!(wr_load(refs) & WR_REF_LINEAGE)) atomic_fetch_or(refs, WR_REF_LINEAGE);
}

/* ---- freeing ------------------------------------------------------------------------------- */

/* The last handle of an actor has gone: it leaves once its queued calls are done.  The record of a
 * dead actor is free at once; whoever of the last holder and the daemon sees both does it. */
static void retire_actor(wr_self *me, wr_idx idx, uint32_t gen) {
  wr_actor *a = wr_actor_at(me->s, idx & ~WR_ACTOR_BIT);
  uint64_t st = wr_load(&a->state);
  if (WR_ACTOR_GEN(st) != gen || WR_ACTOR_PHASE(st) == WR_ACTOR_FREE) return;
  if (!(wr_load32(&a->flags) & WR_AF_DETACHED)) atomic_fetch_or(&a->flags, WR_AF_RETIRE);
  WR_FAILPOINT("actor.retire");
  st = wr_load(&a->state);
  if (WR_ACTOR_GEN(st) == gen && WR_ACTOR_PHASE(st) == WR_ACTOR_DEAD)
    (void)wr_cas(&a->state, &st, WR_ACTOR_STATE(WR_ACTOR_FREE, 0, gen + 1));
  else
    wr_wake(me->s, WR_ACTOR_SLOT(st));
}

static void free_nodes(wr_self *me, wr_object *o) {
  wr_idx i = (wr_idx)wr_swap(&o->deps, 0);
  for (uint64_t left = wr_guard_steps(me->s); i && WR_GUARD_STEP(left);) {
    wr_node *n = wr_node_at(me->s, i);
    wr_idx next = n->next;
    uint64_t st = wr_load(&n->state);
    if (WR_OBJ_PHASE(st) == WR_OBJ_NODE &&
        wr_cas(&n->state, &st, WR_OBJ_STATE(WR_OBJ_FREE, WR_OBJ_GEN(st) + 1)))
      wr_rec_release(me, i);
    WR_FAILPOINT("reap.node");
    i = next;
  }
}

static void free_value(wr_self *me, wr_object *o, wr_idx idx, uint32_t gen) {
  if (!(o->flags & WR_VAL_BLOCK)) return;
  uint64_t block = o->v.b.block;
  if (!wr_heap_owned(me->s, block, idx, gen)) return;
  if (o->v.b.nrefs) wr_pins_drop(me, wr_pins_at(me->s, block));
  wr_heap_free(me, block, idx, gen);
}

void wr_value_free(wr_self *me, wr_object *o, wr_idx idx, uint32_t gen) {
  free_value(me, o, idx, gen);
}

static void free_task(wr_self *me, wr_idx idx, uint32_t gen) {
  wr_task *t = wr_task_at(me->s, idx);
  if (WR_TASK_PHASE(wr_load(&t->tstate)) == WR_TASK_FREE) return;
  uint64_t args = t->args;
  if (args && ((t->flags & WR_TF_ARGS_BLOCK) == 0 || wr_heap_owned(me->s, args, idx, gen))) {
    wr_pins_drop(me, wr_pins_at(me->s, args));
    if (t->flags & WR_TF_ARGS_BLOCK) wr_heap_free(me, args, idx, gen);
  }
  int kept = WR_TASK_PHASE(wr_load(&t->tstate)) == WR_TASK_KEPT;
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_FREE, 0, 0, gen + 1));
  if (WR_UNLIKELY(kept)) atomic_fetch_add(&me->s->h->lineage_loose, 1);
}

static void finish_dying(wr_self *me, wr_idx idx, uint32_t gen) {
  wr_object *o = wr_obj(me->s, idx);
  WR_FAILPOINT("reap.dying");
  free_nodes(me, o);
  free_value(me, o, idx, gen);
  WR_FAILPOINT("reap.value");
  uint32_t kind = wr_rec_kind_of(me->s, idx);
  if (kind == WR_REC_TASKS) free_task(me, idx, gen);
  if (kind == WR_REC_ITEMS) wr_pins_drop(me, wr_item_link(wr_item_at(me->s, idx)));
  WR_FAILPOINT("reap.free");
  wr_tag_acknowledge(wr_tagger_of(me), wr_load(&o->refs)); /* the next use starts without a tag */
  o->flags = 0;
  uint32_t next = gen + 1 ? gen + 1 : 1;
  wr_store(&o->state, WR_OBJ_STATE(WR_OBJ_FREE, next));
  wr_rec_release(me, idx);
}

/* 1: whiprayd moves the value right now, or somebody sheds it, and looks for references when that
 * is done.  The fence pairs with the one there: either we see the new place, or it is seen that no
 * reference is left. */
static int in_other_hands(wr_object *o, uint64_t st) {
  uint32_t place = WR_OBJ_PLACE(st);
  int moves = place != WR_IN_MEMORY && place != WR_IN_FILE && place != WR_IN_LOST;
  wr_fence();
  return moves && wr_load(&o->state) == st;
}

static void reap_one(wr_self *me, wr_idx idx, uint32_t gen) {
  if (idx & WR_ACTOR_BIT) {
    retire_actor(me, idx, gen);
    return;
  }
  wr_object *o = wr_obj(me->s, idx);
  uint64_t st = wr_load(&o->state);
  for (;;) {
    uint32_t phase = WR_OBJ_PHASE(st);
    if (WR_OBJ_GEN(st) != gen || phase == WR_OBJ_FREE || phase >= WR_OBJ_DYING) return;
    if (WR_UNLIKELY(st & WR_OBJ_PLACE_MASK) && in_other_hands(o, st)) return;
    if (WR_UNLIKELY(wr_load(&o->refs) & WR_REF_LINEAGE)) {
      if (WR_OBJ_PLACE(st) == WR_IN_FILE) atomic_fetch_add(&me->s->h->files_dropped, 1);
      wr_shed(me, idx, gen);
      return;
    }
    if (wr_cas(&o->state, &st, WR_OBJ_STATE(WR_OBJ_DYING, gen) | (uint64_t)me->slot << 4)) break;
  }
  WR_FAILPOINT("reap.claimed");
  if (WR_UNLIKELY(st & WR_OBJ_PLACE_MASK)) atomic_fetch_add(&me->s->h->files_dropped, 1);
  finish_dying(me, idx, gen);
}

/* A loop instead of recursion: values nest without limit.  What the loop's list has no room for is
 * left, without a reference, to the next sweep. */
static void run_reaper(wr_self *me) {
  if (me->reaping) return;
  me->reaping = 1;
  while (me->reap.n) {
    uint64_t w = me->reap.v[--me->reap.n];
    reap_one(me, (wr_idx)w, (uint32_t)(w >> 32));
  }
  me->reaping = 0;
}

static void queue_reap(wr_self *me, wr_idx idx, uint32_t gen) {
  WR_FAILPOINT("reap.due");
  if (wr_vec64_push(&me->reap, (uint64_t)idx | (uint64_t)gen << 32) < 0 && !me->reaping) {
    me->reaping = 1;
    reap_one(me, idx, gen);
    me->reaping = 0;
  }
  run_reaper(me);
}

void wr_reap(wr_self *me, wr_idx idx, uint32_t gen) { queue_reap(me, idx, gen); }

void wr_reap_resume(wr_self *me, wr_idx idx) {
  finish_dying(me, idx, WR_OBJ_GEN(wr_load(&wr_obj(me->s, idx)->state)));
  run_reaper(me);
}
