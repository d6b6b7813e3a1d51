#include "engine.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/failpoint.h"
#include "base/status.h"
#include "sched/sweep_memory.h"
#include "store/heap.h"
#include "store/records.h"

void engine_open(engine *e, uint64_t heap_bytes) {
  wr_seg_config cfg = {.heap_bytes = heap_bytes, .cpus = 2};
  CHECK_EQ(wr_seg_create(&e->s, &cfg), WR_OK);
  engine_join(e, &e->me, ENGINE_ME);
}

void engine_close(engine *e) {
  wr_self_close(&e->me);
  wr_seg_detach(&e->s);
}

void *engine_shared(size_t bytes) {
  const int flags = MAP_SHARED | MAP_ANONYMOUS;
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
}

void engine_join(engine *e, wr_self *me, uint32_t slot) {
  wr_proc *p = &e->s.procs[slot];
  uint32_t gen = WR_PROC_GEN(wr_load(&p->state)) + 1, high = wr_load32(&e->s.h->proc_high);
  while (high < slot + 1 && !wr_cas32(&e->s.h->proc_high, &high, slot + 1)) continue;
  wr_store(&p->state, WR_PROC_STATE(WR_PROC_LIVE, WR_ROLE_WORKER, 0, gen));
  CHECK_EQ(wr_self_init(me, &e->s, slot, gen), WR_OK);
}

/* ---- peers --------------------------------------------------------------------------------- */

typedef struct {
  engine *e;
  uint32_t slot;
  engine_role *role;
  void *arg;
  const char *die_at;
} part;

static void run_part(void *arg) {
  const part *p = arg;
  wr_self me;
  engine_join(p->e, &me, p->slot);
#ifdef WR_HOSTILE
  if (p->die_at) wr_failpoint_arm(p->die_at);
#endif
  p->role(&me, p->arg);
  wr_self_close(&me);
}

int engine_peer(engine *e, uint32_t slot, engine_role *role, void *arg) {
  part p = {e, slot, role, arg, NULL};
  return check_fork(run_part, &p);
}

static int ended_by_kill(int pid) {
  int status = 0;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  CHECK_MSG(killed || status == 0, "process %d ended with status %#x", pid, (unsigned)status);
  return killed;
}

void engine_kill(int pid) {
  kill(pid, SIGKILL);
  (void)ended_by_kill(pid);
}

int engine_crash(engine *e, uint32_t slot, const char *point, int n, engine_role *role, void *arg) {
  char spec[80];
  snprintf(spec, sizeof spec, "%s@%d=kill", point, n);
  part p = {e, slot, role, arg, spec};
  return ended_by_kill(check_fork(run_part, &p));
}

void engine_sweep(engine *e, uint32_t slot) {
  wr_sweep_intent(&e->me, slot);
  wr_sweep_references(&e->me, slot);
  wr_sweep_chunks(&e->me, slot);
  atomic_fetch_add(&e->s.h->sweeps, 1);
}

/* ---- records ------------------------------------------------------------------------------- */

enum { PERIOD = 256 }; /* the bytes of a value repeat after so many */

static uint8_t byte_of(wr_idx idx, uint64_t at) { return (uint8_t)(idx * 31 + at * 7); }

static void fill_value(uint8_t *dst, uint64_t len, wr_idx idx) {
  for (uint64_t i = 0; i < len; i += PERIOD) {
    uint64_t n = len - i < PERIOD ? len - i : PERIOD;
    for (uint64_t k = 0; i == 0 && k < n; k++) dst[k] = byte_of(idx, k);
    if (i) memcpy(dst + i, dst, n);
  }
}

static uint64_t value_of(const wr_seg *s, wr_idx idx, uint8_t **bytes) {
  wr_object *o = wr_obj(s, idx);
  *bytes = o->flags & WR_VAL_BLOCK ? wr_at(s, o->v.b.off) : o->v.bytes;
  return o->flags & WR_VAL_BLOCK ? o->v.b.len : o->len;
}

void engine_fill(const wr_seg *s, wr_idx idx) {
  uint8_t *bytes;
  uint64_t len = value_of(s, idx, &bytes);
  fill_value(bytes, len, idx);
}

wr_idx engine_put(wr_self *me, uint64_t len, const wr_idx *refs, uint32_t nrefs) {
  wr_idx idx;
  uint32_t gen;
  uint8_t *dst;
  CHECK_EQ(wr_objects_create(me, WR_REF_CREATOR, &idx, &gen), WR_OK);
  CHECK_EQ(wr_objects_reserve(me, idx, len, refs, nrefs, &dst), WR_OK);
  engine_fill(me->s, idx);
  CHECK_EQ(wr_objects_seal(me, idx, 0, 0), WR_OK);
  return idx;
}

void engine_read(const wr_seg *s, wr_idx idx) {
  uint8_t *p;
  CHECK_EQ(engine_phase(s, idx), WR_OBJ_READY);
  uint64_t len = value_of(s, idx, &p);
  for (uint64_t i = 0; i < len && i < PERIOD; i++)
    if (p[i] != byte_of(idx, i)) CHECK_MSG(0, "object %u, byte %" PRIu64, idx, i);
  if (len > PERIOD) CHECK_MEM(p + PERIOD, p, len - PERIOD);
}

void engine_drop(wr_self *me, wr_idx idx) {
  wr_refs_clear(me, idx, wr_gen_of(me->s, idx), WR_REF_CREATOR);
}

uint32_t engine_refs(const wr_seg *s, wr_idx idx) {
  return wr_tag_value(wr_load(wr_refs(s, idx)));
}

uint32_t engine_phase(const wr_seg *s, wr_idx idx) {
  return WR_OBJ_PHASE(wr_load(&wr_obj(s, idx)->state));
}

static int lives(const wr_seg *s, wr_idx idx) {
  uint32_t phase = engine_phase(s, idx);
  return phase != WR_OBJ_FREE && phase != WR_OBJ_NODE;
}

static void count_living(void *ctx, wr_idx idx) {
  void **c = ctx;
  *(uint32_t *)c[1] += (uint32_t)lives(c[0], idx);
}

uint32_t engine_living(const wr_seg *s) {
  uint32_t n = 0;
  wr_seg copy = *s;
  void *ctx[] = {&copy, &n};
  wr_sweep_each(&copy, WR_REC_CELLS, count_living, ctx);
  wr_sweep_each(&copy, WR_REC_ITEMS, count_living, ctx);
  return n;
}

/* ---- the audit ----------------------------------------------------------------------------- */

typedef struct {
  wr_seg *s;
  wr_map32 counts; /* idx -> pins and holds found */
} audit;

static void counted(audit *a, wr_idx idx) {
  uint32_t *n = wr_map32_get(&a->counts, idx);
  CHECK_EQ(wr_map32_put(&a->counts, idx, n ? *n + 1 : 1), WR_OK);
}

static void count_pins(audit *a, uint64_t off) {
  const wr_pins *pins = wr_at(a->s, off);
  uint32_t n = wr_load32(&pins->npinned);
  CHECK_LE(n, pins->n);
  for (uint32_t i = 0; i < n; i++) counted(a, pins->idx[i]);
}

static void count_of_object(void *ctx, wr_idx idx) {
  audit *a = ctx;
  const wr_object *o = wr_obj(a->s, idx);
  if (!lives(a->s, idx)) return;
  CHECK_NE(engine_phase(a->s, idx), WR_OBJ_DYING);
  if (!(o->flags & WR_VAL_BLOCK)) return;
  uint32_t place = WR_OBJ_PLACE(wr_load(&o->state));
  if (place == WR_IN_FILE || place == WR_IN_LOST) {
    CHECK_EQ(o->v.b.block, 0);
    return;
  }
  CHECK(wr_heap_owned(a->s, o->v.b.block, idx, wr_gen_of(a->s, idx)));
  if (o->v.b.nrefs) count_pins(a, o->v.b.block);
}

static void count_of_task(void *ctx, wr_idx idx) {
  audit *a = ctx;
  const wr_task *t = wr_task_at(a->s, idx);
  count_of_object(ctx, idx);
  if (WR_TASK_PHASE(wr_load(&t->tstate)) != WR_TASK_FREE && t->args) count_pins(a, t->args);
}

static void count_of_item(void *ctx, wr_idx idx) {
  audit *a = ctx;
  count_of_object(ctx, idx);
  if (lives(a->s, idx)) count_pins(a, wr_off(a->s, wr_item_link(wr_item_at(a->s, idx))));
}

static void count_holds(audit *a) {
  for (uint32_t c = 1; c < wr_load32(&a->s->h->rec_high); c++) {
    const wr_a32 *table = (const wr_a32 *)(const void *)(a->s->recs + (uint64_t)c * WR_CHUNK);
    if (WR_REC_KIND(wr_load(&a->s->rec_table[c])) != WR_REC_HOLDS) continue;
    for (uint32_t k = 0; k < WR_HOLDS_PER_CHUNK; k++)
      if (wr_load32(&table[k])) counted(a, wr_load32(&table[k]) & ~WR_HOLD_VIEW);
  }
}

static void compare_count(void *ctx, wr_idx idx) {
  audit *a = ctx;
  const uint32_t *n = wr_map32_get(&a->counts, idx);
  if (!lives(a->s, idx)) {
    CHECK_MSG(!n, "record %u is free and has %u references", idx, *n);
    return;
  }
  uint32_t refs = engine_refs(a->s, idx);
  CHECK_MSG(refs != 0, "record %u lives without a reference", idx);
  CHECK_MSG((refs & WR_REF_COUNT) == (n ? *n : 0), "record %u counts %u and has %u references", idx,
            refs & WR_REF_COUNT, n ? *n : 0);
}

static int names(const wr_seg *s, wr_idx idx, uint32_t gen, uint32_t mask, uint64_t off) {
  const wr_object *o = wr_obj(s, idx);
  if (!idx || !lives(s, idx) || (wr_gen_of(s, idx) & mask) != (gen & mask)) return 0;
  if ((o->flags & WR_VAL_BLOCK) && o->v.b.block == off) return 1;
  return WR_REC_KIND(wr_load(&s->rec_table[wr_rec_chunk(idx)])) == WR_REC_TASKS &&
         wr_task_at(s, idx)->args == off;
}

static void look_at_span(wr_seg *s, uint32_t chunk, uint64_t word) {
  wr_span_geometry g = wr_heap_geometry(WR_HEAP_LOW(word));
  uint64_t first = s->h->heap + (uint64_t)chunk * WR_CHUNK + g.first;
  for (uint32_t k = 0; k < g.n; k++) {
    uint64_t w = wr_load(&wr_heap_owners(s, chunk)[k]), off = first + (uint64_t)k * g.block;
    CHECK_MSG(!w || names(s, (wr_idx)w, (uint32_t)(w >> 32), UINT32_MAX, off),
              "block %u of span %u (class %u) belongs to nobody", k, chunk, WR_HEAP_LOW(word));
  }
}

/* All of the table, not only what is said to have been used. */
static void look_at_heap(wr_seg *s) {
  uint32_t first = 0;
  for (uint32_t c = 0; c < s->heap_chunks; c++) {
    uint64_t w = wr_load(&s->heap_table[c]), off = s->h->heap + (uint64_t)c * WR_CHUNK;
    if (WR_HEAP_KIND(w) == WR_HEAP_INNER) {
      CHECK_EQ(WR_HEAP_HIGH(w), first);
      CHECK(c > 0 && wr_load(&s->heap_table[c - 1]) != 0);
      continue;
    }
    first = c;
    if (WR_HEAP_KIND(w) == WR_HEAP_SPAN) look_at_span(s, c, w);
    if (WR_HEAP_KIND(w) == WR_HEAP_RUN)
      CHECK_MSG(names(s, WR_HEAP_HIGH(w), WR_HEAP_LOW(w), 0xFFFF, off),
                "run at chunk %u belongs to nobody", c);
  }
}

void engine_audit(const wr_seg *s) {
  wr_seg copy = *s;
  audit a = {.s = &copy};
  wr_sweep_each(&copy, WR_REC_CELLS, count_of_object, &a);
  wr_sweep_each(&copy, WR_REC_TASKS, count_of_task, &a);
  wr_sweep_each(&copy, WR_REC_ITEMS, count_of_item, &a);
  count_holds(&a);
  wr_sweep_each(&copy, WR_REC_CELLS, compare_count, &a);
  wr_sweep_each(&copy, WR_REC_TASKS, compare_count, &a);
  wr_sweep_each(&copy, WR_REC_ITEMS, compare_count, &a);
  look_at_heap(&copy);
  wr_map32_free(&a.counts);
}

/* ---- two processes in one -------------------------------------------------------------------- */

void engine_pair_open(engine_pair *p, uint64_t heap_bytes) {
  engine_open(&p->e, heap_bytes);
  engine_join(&p->e, &p->other, ENGINE_PEER);
}

void engine_pair_close(engine_pair *p) {
  engine_audit(&p->e.s);
  wr_self_close(&p->other);
  engine_close(&p->e);
}
