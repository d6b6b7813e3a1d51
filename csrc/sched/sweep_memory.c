#include "sched/sweep_memory.h"

#include <string.h>

#include "base/status.h"
#include "sched/deps.h"
#include "store/heap.h"
#include "store/objects.h"
#include "store/records.h"
#include "store/shed.h"

#define AHEAD 12u /* records: a walk over many waits for memory alone */

static void fetch_ahead(const wr_seg *s, wr_idx i, uint32_t step) {
  const char *p = (const char *)s->recs + ((uint64_t)i + AHEAD * step) * WR_CELL;
  __builtin_prefetch(p);
  if (step > 1) __builtin_prefetch(p + WR_CELL); /* of tasks: their own state */
}

void wr_sweep_each(wr_seg *s, uint32_t kind, void (*f)(void *ctx, wr_idx idx), void *ctx) {
  uint32_t high = wr_load32(&s->h->rec_high), step = wr_rec_step(kind);
  for (uint32_t c = 0; c < high && c < WR_REC_CHUNKS; c++) {
    if (WR_REC_KIND(wr_load(&s->rec_table[c])) != kind) continue;
    for (uint32_t k = 0; k < WR_CHUNK / WR_CELL; k += step) {
      fetch_ahead(s, wr_rec_first(c) + k, step);
      if (c || k) f(ctx, wr_rec_first(c) + k);
    }
  }
}

/* ---- the operation under way ----------------------------------------------------------------- */

static int valid_target(wr_seg *s, wr_idx idx) {
  if (idx & WR_ACTOR_BIT) return (idx & ~WR_ACTOR_BIT) < WR_MAX_ACTORS;
  return idx && wr_rec_chunk(idx) < wr_load32(&s->h->rec_high);
}

static void settle_pin(wr_self *me, uint32_t kind, uint64_t arg, int applied) {
  uint64_t off = WR_PIN_ARG_OFF(arg);
  if (!applied || off > me->s->size - sizeof(wr_pins)) return;
  wr_pins *pins = wr_pins_at(me->s, off);
  uint32_t n = wr_load32(&pins->npinned), pos = WR_PIN_ARG_POS(arg);
  if (kind == WR_OP_PIN && (n & 0xFFFF) == pos) wr_store32(&pins->npinned, n + 1);
  if (kind == WR_OP_UNPIN && (n & 0xFFFF) == ((pos + 1) & 0xFFFF))
    wr_store32(&pins->npinned, n - 1);
}

static void settle_hold(wr_self *me, uint32_t kind, wr_idx idx, uint64_t pos, int applied) {
  if (pos / WR_HOLDS_PER_CHUNK >= WR_REC_CHUNKS) return;
  wr_a32 *entry = (wr_a32 *)(void *)(me->s->recs + pos * 4);
  if (kind == WR_OP_HOLD) wr_store32(entry, applied ? idx : 0);
  if (kind == WR_OP_UNHOLD && applied) wr_store32(entry, 0);
}

void wr_sweep_intent(wr_self *me, uint32_t slot) {
  wr_proc *p = &me->s->procs[slot];
  uint64_t op = wr_load(&p->op), arg = wr_load(&p->op_arg);
  uint32_t kind = WR_OP_KIND(op), idx = WR_OP_IDX(op);
  if (kind < WR_OP_HOLD || kind > WR_OP_UNPIN || !valid_target(me->s, idx)) return;
  int applied = wr_tag_applied(p, slot, wr_refs(me->s, idx));
  if (kind == WR_OP_PIN || kind == WR_OP_UNPIN)
    settle_pin(me, kind, arg, applied);
  else
    settle_hold(me, kind, idx, arg, applied);
  wr_store(&p->op, WR_OP(WR_OP_NONE, WR_OP_SEQ(op), 0));
}

/* ---- references ------------------------------------------------------------------------------ */

typedef struct {
  wr_self *me;
  uint32_t slot;
} dead;

/* Others wait for an object that only the dead process would have sealed. */
static void lose(wr_self *me, wr_idx i) {
  uint8_t buf[128], *dst;
  wr_objects_discard(me, i);
  size_t n = wr_error_value(buf, sizeof buf, "OBJECT_LOST", "its maker died before it was made");
  if (wr_objects_reserve(me, i, n, NULL, 0, &dst) < 0) { /* no room: the code alone fits inline */
    n = wr_error_value(buf, WR_INLINE_VALUE, "OBJECT_LOST", "");
    if (wr_objects_reserve(me, i, n, NULL, 0, &dst) < 0) return;
  }
  memcpy(dst, buf, n);
  wr_objects_seal(me, i, 1, WR_VAL_SYSERR);
  wr_deps_release(me, i);
}

static void drop_record(void *ctx, wr_idx i) {
  const dead *d = ctx;
  wr_self *me = d->me;
  wr_object *o = wr_obj(me->s, i);
  uint64_t st = wr_load(&o->state);
  uint32_t phase = WR_OBJ_PHASE(st), gen = WR_OBJ_GEN(st);
  if (phase == WR_OBJ_FREE || phase == WR_OBJ_NODE) return;
  if (phase == WR_OBJ_DYING) {
    if (WR_OBJ_W0(st) == d->slot) wr_reap_resume(me, i);
    return;
  }
  if (WR_OBJ_PLACE(st) == WR_IN_SHEDDING && WR_OBJ_W0(st) == d->slot) wr_shed_resume(me, i);
  if (!wr_objects_awaited(st) && wr_load(&o->deps)) wr_deps_release(me, i); /* sealed, then dead */
  uint32_t refs = wr_tag_value(wr_load(&o->refs));
  int made =
      o->creator == d->slot && WR_REC_SLOT(wr_load(wr_rec_word(me->s, i))) == d->slot;
  int lost = made && phase == WR_OBJ_PENDING && !(refs & WR_REF_TASK);
  if (lost && (refs & (WR_REF_COUNT | WR_REF_LINEAGE))) lose(me, i);
  if (made && (refs & WR_REF_CREATOR) && (lost || !(o->flags & WR_VAL_FUNC)))
    wr_refs_clear(me, i, gen, WR_REF_CREATOR);
  else if (wr_ref_unwanted(refs))
    wr_reap(me, i, gen); /* its last holder died before it could */
}

static void drop_holds(wr_self *me, uint32_t chunk) {
  wr_a32 *table = (wr_a32 *)(void *)(me->s->recs + (uint64_t)chunk * WR_CHUNK);
  for (uint32_t k = 0; k < WR_HOLDS_PER_CHUNK; k++) {
    wr_idx i = wr_load32(&table[k]) & ~WR_HOLD_VIEW;
    if (!i || !valid_target(me->s, i)) continue;
    uint32_t gen = wr_gen_of(me->s, i);
    uint64_t now = wr_tag_add(wr_tagger_of(me), wr_refs(me->s, i), (uint32_t)-1);
    wr_store32(&table[k], 0);
    if (wr_ref_unwanted(now)) wr_reap(me, i, gen);
  }
}

static void drop_letting(wr_self *me, wr_proc *p) {
  uint64_t w = wr_load(&p->letting);
  wr_idx i = (wr_idx)w;
  wr_store(&p->letting, 0);
  if (!w || (i & WR_ACTOR_BIT) || !valid_target(me->s, i)) return;
  if (wr_gen_of(me->s, i) != (uint32_t)(w >> 32)) return;
  if (wr_tag_value(wr_load(&wr_obj(me->s, i)->refs)) & WR_REF_TASK)
    wr_refs_clear(me, i, (uint32_t)(w >> 32), WR_REF_TASK);
}

void wr_sweep_references(wr_self *me, uint32_t slot) {
  wr_seg *s = me->s;
  dead d = {me, slot};
  drop_letting(me, &s->procs[slot]);
  uint32_t high = wr_load32(&s->h->rec_high);
  for (uint32_t c = 1; c < high && c < WR_REC_CHUNKS; c++)
    if (wr_load(&s->rec_table[c]) == WR_REC_WORD(WR_REC_HOLDS, slot)) drop_holds(me, c);
  wr_sweep_each(s, WR_REC_TASKS, drop_record, &d);
  wr_sweep_each(s, WR_REC_CELLS, drop_record, &d);
  wr_sweep_each(s, WR_REC_ITEMS, drop_record, &d);
  for (uint32_t i = 0; i < wr_load32(&s->h->nactors) && i < WR_MAX_ACTORS; i++) {
    wr_actor *a = &s->actors[i];
    uint32_t refs = wr_tag_value(wr_load(&a->refs));
    uint32_t phase = WR_ACTOR_PHASE(wr_load(&a->state));
    if (phase == WR_ACTOR_FREE || phase == WR_ACTOR_MAKING) continue;
    if ((a->creator == slot && (refs & WR_REF_CREATOR)) || refs == 0)
      wr_refs_clear(me, i | WR_ACTOR_BIT, wr_gen_of(s, i | WR_ACTOR_BIT), WR_REF_CREATOR);
  }
}

/* ---- chunks ---------------------------------------------------------------------------------- */

int wr_sweep_named(wr_seg *s, wr_idx i, uint32_t gen, uint32_t mask, uint64_t off) {
  if (i == 0 || (i & WR_ACTOR_BIT) || wr_rec_chunk(i) >= wr_load32(&s->h->rec_high)) return 0;
  const wr_object *o = wr_obj(s, i);
  uint64_t st = wr_load(&o->state);
  uint32_t phase = WR_OBJ_PHASE(st);
  if ((WR_OBJ_GEN(st) & mask) != (gen & mask) || phase == WR_OBJ_FREE || phase == WR_OBJ_NODE)
    return 0;
  if ((o->flags & WR_VAL_BLOCK) && o->v.b.block == off) return 1;
  if (wr_rec_kind_of(s, i) != WR_REC_TASKS) return 0;
  const wr_task *t = wr_task_at(s, i);
  return WR_TASK_PHASE(wr_load(&t->tstate)) != WR_TASK_FREE && (t->flags & WR_TF_ARGS_BLOCK) &&
         t->args == off;
}

static void sweep_span(wr_self *me, uint32_t chunk, uint64_t word) {
  wr_seg *s = me->s;
  uint32_t class = WR_HEAP_LOW(word);
  if (class >= WR_HEAP_CLASSES) return;
  wr_span_geometry g = wr_heap_geometry(class);
  uint64_t base = s->heap_off + (uint64_t)chunk * WR_CHUNK + g.first;
  wr_a64 *owner = wr_heap_owners(s, chunk);
  for (uint32_t k = 0; k < g.n; k++) {
    uint64_t w = wr_load(&owner[k]), off = base + (uint64_t)k * g.block;
    if (w && !wr_sweep_named(s, (wr_idx)w, (uint32_t)(w >> 32), 0xFFFFFFFFu, off))
      wr_heap_free(me, off, (wr_idx)w, (uint32_t)(w >> 32));
  }
  if (wr_cas(&s->heap_table[chunk], &word, WR_HEAP_WORD(WR_HEAP_SPAN, 0, class, 0)))
    atomic_fetch_add(&s->h->heap_orphans, 1);
}

/* The dead process may have claimed a chunk and not yet raised the mark. */
static uint32_t settle_high(wr_seg *s) {
  uint32_t high = wr_load32(&s->h->rec_high);
  while (high < WR_REC_CHUNKS && wr_load(&s->rec_table[high]))
    if (wr_cas32(&s->h->rec_high, &high, high + 1)) high++;
  return high;
}

void wr_sweep_chunks(wr_self *me, uint32_t slot) {
  wr_seg *s = me->s;
  uint64_t high = wr_load(&s->h->heap_high);
  for (uint32_t c = 0; c < high && c < s->heap_chunks; c++) {
    uint64_t w = wr_load(&s->heap_table[c]), off = s->heap_off + (uint64_t)c * WR_CHUNK;
    if (WR_HEAP_SLOT(w) != slot) continue;
    if (WR_HEAP_KIND(w) == WR_HEAP_SPAN) sweep_span(me, c, w);
    if (WR_HEAP_KIND(w) == WR_HEAP_RUN &&
        !wr_sweep_named(s, WR_HEAP_HIGH(w), WR_HEAP_LOW(w), 0xFFFFu, off))
      wr_heap_free(me, off, WR_HEAP_HIGH(w), WR_HEAP_LOW(w));
  }
  uint32_t rec_high = settle_high(s);
  for (uint32_t c = 1; c < rec_high && c < WR_REC_CHUNKS; c++) {
    uint64_t w = wr_load(&s->rec_table[c]);
    if (WR_REC_KIND(w) == WR_REC_NONE || WR_REC_SLOT(w) != slot) continue;
    if (wr_cas(&s->rec_table[c], &w, WR_REC_WORD(WR_REC_KIND(w), 0)))
      atomic_fetch_add(&s->h->rec_orphans, 1);
  }
}
