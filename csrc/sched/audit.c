#include "sched/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "sched/gpu.h"
#include "sched/group.h"
#include "sched/ledger.h"
#include "sched/stream.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"
#include "shm/ring.h"
#include "store/heap.h"
#include "store/records.h"
#include "store/shed.h"

typedef struct {
  wr_seg *s;
  wr_audit *out;
  char *text;
  size_t cap, len;
  uint32_t cells;   /* records that the chunks in use have room for */
  uint32_t *found;  /* references found, per record, then per actor */
  uint8_t *marks;   /* per record: MARK_* */
} audit;

enum { MARK_EXTRA = 1, MARK_QUEUED = 2 };

__attribute__((format(printf, 2, 3))) static void report(audit *a, const char *format, ...) {
  va_list ap;
  a->out->violations++;
  if (a->len + 1 >= a->cap) return;
  va_start(ap, format);
  int n = vsnprintf(a->text + a->len, a->cap - a->len, format, ap);
  va_end(ap);
  a->len += n > 0 ? (size_t)n : 0;
  if (a->len + 1 < a->cap)
    a->text[a->len++] = '\n';
  else
    a->len = a->cap - 1;
  a->text[a->len] = 0;
}

/* ---- small questions ------------------------------------------------------------------------- */

static int slot_lives(const wr_seg *s, uint32_t slot) {
  if (slot == 0 || slot >= WR_MAX_PROCS) return 0;
  uint32_t phase = WR_PROC_PHASE(wr_load(&s->procs[slot].state));
  return phase == WR_PROC_LIVE || phase == WR_PROC_STARTING;
}

static int is_record(const audit *a, wr_idx i) { return i && i < a->cells; }

static int object_lives(uint32_t phase) {
  return phase == WR_OBJ_PENDING || phase == WR_OBJ_READY || phase == WR_OBJ_ERROR;
}

static uint32_t phase_of(const audit *a, wr_idx i) {
  return WR_OBJ_PHASE(wr_load(&wr_obj(a->s, i)->state));
}

static uint32_t kind_of(const audit *a, wr_idx i) { return wr_rec_kind_of(a->s, i); }

static int actor_lives(const audit *a, uint32_t i, uint32_t gen) {
  uint64_t st = wr_load(&a->s->actors[i].state);
  uint32_t phase = WR_ACTOR_PHASE(st);
  return WR_ACTOR_GEN(st) == gen && phase != WR_ACTOR_FREE && phase != WR_ACTOR_DEAD;
}

/* All records of a kind, in the chunks that were in use when the audit began. */
static void each(audit *a, uint32_t kind, void (*f)(audit *a, wr_idx i)) {
  for (wr_idx c = 0; c < a->cells; c += wr_rec_first(1)) {
    if (kind_of(a, c) != kind) continue;
    for (wr_idx k = 0; k < wr_rec_first(1); k += wr_rec_step(kind))
      if (c + k) f(a, c + k);
  }
}

/* ---- references found ------------------------------------------------------------------------ */

static void count_ref(audit *a, wr_idx target, const char *who, uint32_t which) {
  if (target & WR_ACTOR_BIT) {
    uint32_t i = target & ~WR_ACTOR_BIT;
    if (i < WR_MAX_ACTORS)
      a->found[a->cells + i]++;
    else
      report(a, "%s %u refers to actor %u, which cannot be", who, which, i);
  } else if (is_record(a, target) && object_lives(phase_of(a, target))) {
    a->found[target]++;
  } else {
    report(a, "%s %u refers to record %u, which does not live", who, which, target);
  }
}

static void count_pins(audit *a, uint64_t off, const char *who, wr_idx which) {
  const wr_pins *pins = wr_pins_at(a->s, off);
  uint32_t n = wr_load32(&pins->npinned), all = wr_pins_count(a->s, pins, pins->n);
  if (n > all) report(a, "%s %u has %u pins of %u", who, which, n, all);
  for (uint32_t k = 0; k < n && k < all; k++) count_ref(a, pins->idx[k], who, which);
}

static void count_holds(audit *a) {
  wr_seg *s = a->s;
  uint32_t high = wr_load32(&s->h->rec_high);
  for (uint32_t c = 1; c < high && c < WR_REC_CHUNKS; c++) {
    uint64_t w = wr_load(&s->rec_table[c]);
    if (WR_REC_KIND(w) != WR_REC_HOLDS) continue;
    const wr_a32 *table = (const wr_a32 *)(const void *)(s->recs + (uint64_t)c * WR_CHUNK);
    for (uint32_t k = 0; k < WR_HOLDS_PER_CHUNK; k++) {
      wr_idx i = wr_load32(&table[k]) & ~WR_HOLD_VIEW;
      if (!i) continue;
      a->out->holds++;
      if (WR_REC_SLOT(w))
        count_ref(a, i, "the hold table of slot", WR_REC_SLOT(w));
      else
        report(a, "chunk %u has no owner and holds record %u", c, i);
    }
  }
}

/* All that is needed to run a KEPT task again stays. */
static void check_names(audit *a, wr_idx i) {
  const wr_task *t = wr_task_at(a->s, i);
  const wr_pins *pins = wr_tasks_pins(a->s, t);
  uint32_t n = wr_pins_count(a->s, pins, pins->n), extras = wr_tasks_nextra(t);
  for (uint32_t k = 0; k < n + extras; k++) {
    wr_idx name = k < n ? pins->idx[k] : wr_tasks_extra(a->s, t, extras)[k - n];
    if (!is_record(a, name) || !object_lives(phase_of(a, name)) ||
        !(wr_load(&wr_obj(a->s, name)->refs) & WR_REF_LINEAGE))
      report(a, "task %u is kept and names record %u, which is not kept for it", i, name);
  }
}

static void count_of_task(audit *a, wr_idx i) {
  const wr_task *t = wr_task_at(a->s, i);
  uint32_t phase = WR_TASK_PHASE(wr_load(&t->tstate));
  if (phase == WR_TASK_FREE || !t->args) return;
  if ((t->flags & WR_TF_ARGS_BLOCK) && !wr_heap_owned(a->s, t->args, i, wr_gen_of(a->s, i))) {
    report(a, "task %u names arguments at %#llx, which are not its own", i,
           (unsigned long long)t->args);
    return;
  }
  count_pins(a, t->args, "task", i);
  if (phase == WR_TASK_KEPT) check_names(a, i);
  if (phase == WR_TASK_FINISHED || phase == WR_TASK_KEPT) return;
  uint32_t n = wr_tasks_nextra(t);
  for (uint32_t k = 0; k < n; k++) {
    wr_idx e = wr_tasks_extra(a->s, t, n)[k];
    if (e && is_record(a, e)) a->marks[e] |= MARK_EXTRA;
  }
}

static int is_away(uint64_t st) {
  uint32_t place = WR_OBJ_PLACE(st);
  return place == WR_IN_FILE || place == WR_IN_LOST || place == WR_IN_REMAKING;
}

/* Values that are not simply in memory.  LEAVING does not outlast one step of whiprayd, which is
 * not in the middle of one when a session is audited. */
static void check_place(audit *a, wr_idx i, uint64_t st) {
  const wr_object *o = wr_obj(a->s, i);
  uint32_t place = WR_OBJ_PLACE(st);
  if (WR_OBJ_PHASE(st) != WR_OBJ_READY || place > WR_IN_REMAKING || !(o->flags & WR_VAL_BLOCK))
    report(a, "object %u in phase %u has its value in place %u", i, WR_OBJ_PHASE(st), place);
  else if (is_away(st) && (o->v.b.block || o->v.b.off || o->v.b.nrefs))
    report(a, "object %u is spilled and names memory at %#llx", i,
           (unsigned long long)o->v.b.block);
  else if (place == WR_IN_SHEDDING && !slot_lives(a->s, WR_OBJ_W0(st)))
    report(a, "object %u is shed by slot %u, which does not live", i, WR_OBJ_W0(st));
  a->out->spilled += (uint64_t)is_away(st);
}

static void count_of_object(audit *a, wr_idx i) {
  const wr_object *o = wr_obj(a->s, i);
  uint64_t st = wr_load(&o->state);
  if (st & WR_OBJ_PLACE_MASK) check_place(a, i, st);
  if (!object_lives(WR_OBJ_PHASE(st)) || !(o->flags & WR_VAL_BLOCK) || is_away(st)) return;
  if (!wr_heap_owned(a->s, o->v.b.block, i, WR_OBJ_GEN(st)))
    report(a, "object %u names a value at %#llx, which is not its own", i,
           (unsigned long long)o->v.b.block);
  else if (o->v.b.nrefs)
    count_pins(a, o->v.b.block, "object", i);
}

/* What a task has yielded follows one another, and the task seals the last of it. */
static void count_of_item(audit *a, wr_idx i) {
  wr_item *item = wr_item_at(a->s, i);
  uint32_t phase = phase_of(a, i), npinned = wr_load32(&item->npinned);
  if (!object_lives(phase)) return;
  count_of_object(a, i);
  count_pins(a, wr_off(a->s, wr_item_link(item)), "item", i);
  if (phase == WR_OBJ_PENDING && npinned) report(a, "item %u is pending and has a successor", i);
  if (!npinned || !is_record(a, item->next)) return;
  const wr_item *next = wr_item_at(a->s, item->next);
  if (kind_of(a, item->next) != WR_REC_ITEMS || next->task != item->task ||
      next->task_gen != item->task_gen || next->number != item->number + 1)
    report(a, "item %u is followed by %u, which is not the next of its stream", i, item->next);
}

static void check_stream(audit *a, const wr_task *t, wr_idx i) {
  wr_idx k = wr_load32(&wr_stream_of(a->s, t)->item);
  if (k && (!is_record(a, k) || kind_of(a, k) != WR_REC_ITEMS || wr_item_at(a->s, k)->task != i ||
            phase_of(a, k) != WR_OBJ_PENDING))
    report(a, "task %u yields item %u next, which is not a pending one of its own", i, k);
}

static void count_ring(audit *a, const wr_ring *r) {
  uint64_t head = wr_load(&r->head), n = wr_ring_len(r);
  for (uint64_t k = 0; k < n && k < WR_RING_LONG; k++) {
    wr_idx i = wr_ring_peek(a->s, r, head + k);
    if (is_record(a, i)) a->marks[i] |= MARK_QUEUED;
  }
}

static void count_references(audit *a) {
  count_holds(a);
  for (uint32_t i = 0; i < WR_MAX_GROUPS && i < wr_load32(&a->s->h->ngroups); i++) {
    wr_idx ready = (wr_idx)wr_load(&wr_group_at(a->s, i)->ready); /* as if a task returned it */
    if (is_record(a, ready)) a->marks[ready] |= MARK_EXTRA;
  }
  each(a, WR_REC_TASKS, count_of_task);
  each(a, WR_REC_TASKS, count_of_object);
  each(a, WR_REC_CELLS, count_of_object);
  each(a, WR_REC_ITEMS, count_of_item);
  for (uint32_t i = 0; i < WR_MAX_SHAPES; i++) {
    if (!wr_load32(&a->s->shapes[i].state)) continue;
    count_ring(a, &a->s->shapes[i].ready);
    count_ring(a, &a->s->shapes[i].overflow);
  }
}

/* ---- records --------------------------------------------------------------------------------- */

static void check_creator(audit *a, const char *what, wr_idx i, uint32_t creator) {
  if (!slot_lives(a->s, creator))
    report(a, "%s %u has its creator's flag, and slot %u does not live", what, i, creator);
}

static void check_object(audit *a, wr_idx i) {
  const wr_object *o = wr_obj(a->s, i);
  uint32_t phase = phase_of(a, i), refs = wr_tag_value(wr_load(&o->refs));
  if (phase == WR_OBJ_FREE) return;
  if (phase == WR_OBJ_NODE) {
    a->out->nodes++;
    return;
  }
  if (!object_lives(phase)) {
    report(a, "object %u is in phase %u", i, phase);
    return;
  }
  int function = (o->flags & WR_VAL_FUNC) && phase == WR_OBJ_READY;
  if (function) {
    a->out->functions++;
  } else if (wr_ref_unwanted(refs)) {
    a->out->lineage++;
    if (wr_shed_wanted(o, wr_load(&o->state)))
      report(a, "object %u is there for lineage alone, and has a value of %llu bytes", i,
             (unsigned long long)o->v.b.len);
  } else {
    a->out->objects++;
    if (phase != WR_OBJ_PENDING && WR_OBJ_PLACE(wr_load(&o->state)) != WR_IN_LOST)
      a->out->value_bytes += o->flags & WR_VAL_BLOCK ? o->v.b.len : o->len;
  }
  /* One that is being made again is looked at when that is done. */
  if (refs == 0 && WR_OBJ_PLACE(wr_load(&o->state)) != WR_IN_REMAKING)
    report(a, "object %u lives without references", i);
  if ((refs & WR_REF_COUNT) != a->found[i])
    report(a, "object %u counts %u references; %u were found", i, refs & WR_REF_COUNT,
           a->found[i]);
  if ((refs & WR_REF_CREATOR) && !function) {
    check_creator(a, "object", i, o->creator);
    if (WR_REC_SLOT(wr_load(wr_rec_word(a->s, i))) != o->creator)
      report(a, "object %u has its creator's flag in a chunk that is not slot %u's", i,
             o->creator);
  }
  if (kind_of(a, i) != WR_REC_TASKS && !!(refs & WR_REF_TASK) != (a->marks[i] & MARK_EXTRA))
    report(a, "object %u: its task's flag is %s, and %s task returns it", i,
           refs & WR_REF_TASK ? "set" : "clear", a->marks[i] & MARK_EXTRA ? "a" : "no");
}

static void check_waiting(audit *a, const wr_task *t, wr_idx i) {
  uint64_t w = wr_load(&t->wait);
  const wr_pins *pins = wr_tasks_pins(a->s, t);
  uint32_t pos = (uint32_t)w;
  if (pos >= wr_pins_count(a->s, pins, t->ndeps) || !is_record(a, pins->idx[pos]) ||
      !wr_objects_awaited(wr_load(&wr_obj(a->s, pins->idx[pos])->state)))
    report(a, "task %u waits for argument %u, which is not pending", i, pos);
}

static void check_task_phase(audit *a, const wr_task *t, wr_idx i, uint64_t st) {
  uint32_t phase = WR_TASK_PHASE(st), refs = wr_tag_value(wr_load(&t->ret.refs));
  int done = (phase == WR_TASK_FINISHED && !(t->flags & WR_TF_CREATION)) || phase == WR_TASK_KEPT;
  if (!!(refs & WR_REF_TASK) == done)
    report(a, "task %u in phase %u has its flag %s", i, phase, done ? "set" : "clear");
  if ((phase == WR_TASK_BUILDING || phase == WR_TASK_RUNNING || phase == WR_TASK_CANCELLING) &&
      !slot_lives(a->s, WR_TASK_SLOT(st)))
    report(a, "task %u is in phase %u under slot %u, which does not live", i, phase,
           WR_TASK_SLOT(st));
  if (phase == WR_TASK_WAITING) check_waiting(a, t, i);
  if (phase != WR_TASK_QUEUED) return;
  if (t->flags & WR_TF_CALL) {
    if (!actor_lives(a, (t->actor - 1) % WR_MAX_ACTORS, t->actor_gen))
      report(a, "call %u is queued for an actor that is gone", i);
  } else if (!(a->marks[i] & MARK_QUEUED)) {
    report(a, "task %u is queued and stands in no queue", i);
  }
}

static void check_task(audit *a, wr_idx i) {
  const wr_task *t = wr_task_at(a->s, i);
  uint64_t st = wr_load(&t->tstate), ret = wr_load(&t->ret.state);
  uint32_t phase = WR_TASK_PHASE(st);
  if (phase < WR_AUDIT_PHASES) a->out->tasks[phase]++;
  if ((phase == WR_TASK_FREE) != (WR_OBJ_PHASE(ret) == WR_OBJ_FREE)) {
    report(a, "task %u is in phase %u, its return in phase %u", i, phase, WR_OBJ_PHASE(ret));
  } else if (phase != WR_TASK_FREE) {
    if (WR_TASK_GEN(st) != WR_OBJ_GEN(ret))
      report(a, "task %u and its return are of generations %u and %u", i, WR_TASK_GEN(st),
             WR_OBJ_GEN(ret));
    check_task_phase(a, t, i, st);
    if ((t->flags & WR_TF_STREAM) && phase != WR_TASK_FINISHED) check_stream(a, t, i);
  }
  check_object(a, i);
}

/* ---- actors ---------------------------------------------------------------------------------- */

static void check_actor(audit *a, uint32_t i) {
  const wr_actor *r = &a->s->actors[i];
  uint64_t st = wr_load(&r->state);
  uint32_t phase = WR_ACTOR_PHASE(st), slot = WR_ACTOR_SLOT(st);
  uint32_t refs = wr_tag_value(wr_load(&r->refs)), flags = wr_load32(&r->flags);
  uint32_t found = a->found[a->cells + i];
  if (phase == WR_ACTOR_FREE) {
    if (found) report(a, "actor %u is free, and %u references were found", i, found);
    return;
  }
  if (phase == WR_ACTOR_MAKING) {
    if (!slot_lives(a->s, slot)) report(a, "actor %u was being made by slot %u, now gone", i, slot);
    return;
  }
  a->out->actors++;
  found += (flags & WR_AF_DETACHED) && phase != WR_ACTOR_DEAD;
  if ((refs & WR_REF_COUNT) != found)
    report(a, "actor %u counts %u references; %u were found", i, refs & WR_REF_COUNT, found);
  if (refs & WR_REF_CREATOR) check_creator(a, "actor", i, r->creator);
  if (phase == WR_ACTOR_DEAD) {
    if (refs == 0) report(a, "actor %u is dead and has no references left", i);
    return;
  }
  if (phase == WR_ACTOR_ALIVE && !slot_lives(a->s, slot))
    report(a, "actor %u is alive in slot %u, which does not live", i, slot);
  if (phase == WR_ACTOR_ALIVE && slot < WR_MAX_PROCS &&
      wr_load32(&a->s->procs[slot].actor) != i + 1)
    report(a, "actor %u is alive in slot %u, which is another actor", i, slot);
  if (!is_record(a, r->creation) || wr_gen_of(a->s, r->creation) != r->creation_gen)
    report(a, "actor %u has lost the task that creates it", i);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void check_rec_chunks(audit *a) {
  uint32_t high = wr_load32(&a->s->h->rec_high);
  for (uint32_t c = 1; c < WR_REC_CHUNKS; c++) {
    uint64_t w = wr_load(&a->s->rec_table[c]);
    if (c >= high && !w) break;
    if (c >= high) report(a, "record chunk %u is taken and lies above the mark of %u", c, high);
    if (!w) continue;
    a->out->rec_chunks++;
    if (WR_REC_SLOT(w) && !slot_lives(a->s, WR_REC_SLOT(w)))
      report(a, "record chunk %u belongs to slot %u, which does not live", c, WR_REC_SLOT(w));
  }
}

static void check_span(audit *a, uint32_t chunk, uint64_t word) {
  uint32_t class = WR_HEAP_LOW(word), slot = WR_HEAP_SLOT(word);
  if (class >= WR_HEAP_CLASSES || (slot && !slot_lives(a->s, slot))) {
    report(a, "span %u of class %u belongs to slot %u", chunk, class, slot);
    return;
  }
  wr_span_geometry g = wr_heap_geometry(class);
  uint64_t base = a->s->heap_off + (uint64_t)chunk * WR_CHUNK + g.first;
  const wr_a64 *owner = wr_heap_owners(a->s, chunk);
  for (uint32_t k = 0; k < g.n; k++) {
    uint64_t w = wr_load(&owner[k]);
    if (w && !wr_sweep_named(a->s, (wr_idx)w, (uint32_t)(w >> 32), UINT32_MAX,
                             base + (uint64_t)k * g.block))
      report(a, "block %u of span %u belongs to record %u, which does not name it", k, chunk,
             (wr_idx)w);
  }
}

static void check_heap(audit *a) {
  wr_seg *s = a->s;
  uint64_t high = wr_load(&s->h->heap_high), w = 0;
  uint64_t limit = wr_load(&s->h->heap_limit);
  uint32_t first = 0;
  if (limit < s->store_chunks || limit > s->heap_chunks)
    report(a, "the heap ends at chunk %llu of %llu, %llu of them the store's",
           (unsigned long long)limit, (unsigned long long)s->heap_chunks,
           (unsigned long long)s->store_chunks);
  for (uint32_t c = 0; c < high && c < s->heap_chunks; c++) {
    uint64_t now = wr_load(&s->heap_table[c]);
    uint32_t kind = WR_HEAP_KIND(now);
    if (kind == WR_HEAP_INNER) {
      int of_it = (WR_HEAP_KIND(w) == WR_HEAP_RUN || WR_HEAP_KIND(w) == WR_HEAP_SPAN) &&
                  WR_HEAP_HIGH(now) == first;
      if (!of_it) report(a, "heap chunk %u is inside %u, which does not reach it", c,
                         WR_HEAP_HIGH(now));
    } else {
      first = c;
      w = now;
    }
    a->out->heap_chunks += kind != WR_HEAP_FREE;
    if (kind == WR_HEAP_SPAN) check_span(a, c, now);
    if (kind != WR_HEAP_RUN) continue;
    if (WR_HEAP_HIGH(now) == 0 && slot_lives(s, WR_HEAP_SLOT(now))) continue; /* a loose one */
    if (!wr_sweep_named(s, WR_HEAP_HIGH(now), WR_HEAP_LOW(now), 0xFFFFu,
                        s->heap_off + (uint64_t)c * WR_CHUNK))
      report(a, "run %u belongs to record %u, which does not name it", c, WR_HEAP_HIGH(now));
  }
}

/* ---- resources and processes ----------------------------------------------------------------- */

static void check_resources(audit *a) {
  uint32_t n = wr_load32(&a->s->h->nresources);
  for (uint32_t i = 0; i < n && i < WR_MAX_RESOURCES; i++) {
    const wr_resource *r = &a->s->resources[i];
    int64_t avail = (int32_t)wr_tag_value(wr_load(&r->avail));
    int64_t held = wr_ledger_claimed(a->s, &r->avail), reserved = wr_groups_reserved(a->s, i);
    if (avail + held + reserved != (int64_t)wr_load32(&r->total))
      report(a, "resource %.32s: %lld free, %lld claimed and %lld reserved of %u", r->name,
             (long long)avail, (long long)held, (long long)reserved, wr_load32(&r->total));
  }
}

static void check_gpus(audit *a) {
  const wr_seg *s = a->s;
  uint32_t high = wr_load32(&s->h->proc_high), n = s->h->ngpus;
  for (uint32_t i = 0; i < n && i < WR_MAX_GPUS; i++) {
    int64_t sum = (int32_t)wr_tag_value(wr_load(&s->h->gpu[i]));
    for (uint32_t k = 1; k <= high && k < WR_MAX_PROCS; k++) {
      uint64_t c = wr_load(&s->procs[k].claim);
      if (!(wr_load(&s->procs[k].gpus) >> i & 1)) continue;
      if (c && WR_CLAIM_SHAPE(c) < WR_MAX_SHAPES)
        sum += wr_gpu_share(wr_shape_at(s, WR_CLAIM_SHAPE(c))->gpu);
      else
        report(a, "slot %u has GPU %u without a claim", k, i);
    }
    if (sum != WR_RES_SCALE && (i + 1 < n || sum > WR_RES_SCALE))
      report(a, "GPU %u: what is free and what is claimed add up to %lld", i, (long long)sum);
  }
}

static void check_bundles(audit *a, uint32_t i, const wr_group *g, uint64_t owner) {
  for (uint32_t k = g->first; k < g->first + g->n && k < WR_MAX_BUNDLES; k++) {
    const wr_bundle *b = wr_bundle_at(a->s, k);
    if (wr_load(&b->owner) != owner) report(a, "bundle %u is not that of group %u", k, i);
    for (uint32_t n = 0; n < b->n && n < WR_SHAPE_RESOURCES; n++) {
      int64_t avail = (int32_t)wr_tag_value(wr_load(&b->avail[n]));
      int64_t held = wr_ledger_claimed(a->s, &b->avail[n]);
      if (avail + held != (int64_t)b->need[n].amount)
        report(a, "bundle %u of group %u: %lld free and %lld claimed of %u of resource %u",
               k - g->first, i, (long long)avail, (long long)held, b->need[n].amount,
               b->need[n].res);
    }
  }
}

static void check_group(audit *a, uint32_t i) {
  const wr_group *g = wr_group_at(a->s, i);
  uint64_t st = wr_load(&g->state);
  uint32_t phase = WR_GROUP_PHASE(st), slot = WR_GROUP_SLOT(st), held = wr_load32(&g->held);
  int stands = phase == WR_GROUP_CREATED || phase == WR_GROUP_REMOVING;
  if (slot && !slot_lives(a->s, slot))
    report(a, "group %u is in the hands of slot %u, which does not live", i, slot);
  if (phase == WR_GROUP_CREATED && held != (1u << g->nsum % 32) - 1)
    report(a, "group %u stands and holds %x of its %u resources", i, held, g->nsum);
  if (!stands && phase != WR_GROUP_TAKING && phase != WR_GROUP_MAKING && held)
    report(a, "group %u in phase %u holds resources", i, phase);
  if ((phase == WR_GROUP_CREATED || phase == WR_GROUP_REMOVED) && wr_load(&g->ready))
    report(a, "group %u in phase %u has not told those who wait for it", i, phase);
  if (stands || phase == WR_GROUP_PENDING)
    check_bundles(a, i, g, ((uint64_t)i + 1) | (uint64_t)WR_GROUP_GEN(st) << 32);
}

static void check_groups(audit *a) {
  uint32_t n = wr_load32(&a->s->h->ngroups), high = wr_load32(&a->s->h->nbundles);
  for (uint32_t i = 0; i < n && i < WR_MAX_GROUPS; i++) check_group(a, i);
  for (uint32_t k = 0; k < high && k < WR_MAX_BUNDLES; k++) {
    uint64_t owner = wr_load(&wr_bundle_at(a->s, k)->owner);
    if (!owner) continue;
    uint32_t i = ((uint32_t)owner - 1) % WR_MAX_GROUPS;
    uint64_t st = wr_load(&wr_group_at(a->s, i)->state);
    uint32_t phase = WR_GROUP_PHASE(st);
    if (WR_GROUP_GEN(st) != (uint32_t)(owner >> 32) || phase == WR_GROUP_FREE ||
        phase == WR_GROUP_REMOVED)
      report(a, "bundle %u belongs to group %u, which is gone", k, i);
  }
}

static void check_procs(audit *a) {
  uint32_t high = wr_load32(&a->s->h->proc_high);
  for (uint32_t k = 1; k <= high && k < WR_MAX_PROCS; k++) {
    const wr_proc *p = &a->s->procs[k];
    if (WR_PROC_PHASE(wr_load(&p->state)) == WR_PROC_DEAD) report(a, "slot %u is not swept", k);
    uint32_t op = WR_OP_KIND(wr_load(&p->op));
    if (op != WR_OP_NONE) report(a, "slot %u is in the middle of operation %u", k, op);
    if (wr_load32(&p->hand)) report(a, "slot %u has task %u in hand", k, wr_load32(&p->hand));
    if (wr_load32(&p->drain)) report(a, "slot %u drains object %u", k, wr_load32(&p->drain));
    wr_idx letting = (wr_idx)wr_load(&p->letting);
    if (letting) report(a, "slot %u lets record %u go", k, letting);
    if (wr_load(&p->claim) && !slot_lives(a->s, k)) report(a, "slot %u is gone with a claim", k);
  }
}

static void check_exports(audit *a) {
  for (uint32_t k = 0; k < WR_MAX_EXPORTS; k++) {
    wr_idx i = (wr_idx)wr_load(&a->s->exports[k]);
    if (i && i < a->cells &&
        (phase_of(a, i) != WR_OBJ_READY || !(wr_obj(a->s, i)->flags & WR_VAL_FUNC)))
      report(a, "entry %u of the exports names record %u, which is none", k, i);
  }
}

static void check_pools(audit *a) {
  uint32_t n = wr_load32(&a->s->h->npools);
  for (uint32_t i = 0; i < n && i < WR_MAX_POOLS; i++) {
    const wr_pool *p = &a->s->pools[i];
    uint64_t spinner = wr_load(&p->spinning);
    if (spinner && !slot_lives(a->s, (uint32_t)spinner - 1))
      report(a, "pool %u is watched by slot %u, which does not live", i, (uint32_t)spinner - 1);
    for (uint32_t w = 0; w < WR_MAX_PROCS / 64; w++)
      for (uint64_t bits = wr_load(&p->idle[w]); bits; bits &= bits - 1) {
        uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(bits);
        if (!slot_lives(a->s, slot))
          report(a, "pool %u counts slot %u as idle, which does not live", i, slot);
      }
  }
}

int wr_audit_session(wr_seg *s, wr_audit *out, char *text, size_t cap) {
  audit a = {.s = s, .out = out, .text = text, .cap = cap};
  memset(out, 0, sizeof *out);
  if (cap) text[0] = 0;
  uint32_t high = wr_load32(&s->h->rec_high);
  a.cells = wr_rec_first(high < WR_REC_CHUNKS ? high : WR_REC_CHUNKS);
  a.found = wr_alloc(((size_t)a.cells + WR_MAX_ACTORS) * sizeof *a.found);
  a.marks = wr_alloc((size_t)a.cells + 1);
  int rc = a.found && a.marks ? WR_OK : WR_NOMEM;
  if (rc == WR_OK) {
    uint32_t actors = wr_load32(&s->h->nactors);
    count_references(&a);
    each(&a, WR_REC_TASKS, check_task);
    each(&a, WR_REC_CELLS, check_object);
    each(&a, WR_REC_ITEMS, check_object);
    for (uint32_t i = 0; i < actors && i < WR_MAX_ACTORS; i++) check_actor(&a, i);
    check_rec_chunks(&a);
    check_heap(&a);
    check_resources(&a);
    check_groups(&a);
    check_gpus(&a);
    check_procs(&a);
    check_pools(&a);
    check_exports(&a);
    rc = out->violations > INT32_MAX ? INT32_MAX : (int)out->violations;
  }
  wr_free(a.found);
  wr_free(a.marks);
  return rc;
}
