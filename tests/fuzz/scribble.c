#include "scribble.h"

#include <sys/mman.h>
#include <unistd.h>

#include "../c/session.h"
#include "base/failpoint.h"
#include "sched/group.h"
#include "sched/ledger.h"

#define APART ((uint64_t)1 << 38) /* farther than any 32-bit index reaches */

static session x;
static wr_seg seg; /* the private mapping */

/* ---- the session ----------------------------------------------------------------------------- */

static void make_values(wr_client *c, wr_id *inner) {
  for (uint32_t i = 0; i < 8; i++) inner[i] = pattern_put(c, i * i * 300, i, NULL, 0);
  wr_id outer = pattern_put(c, 5000, 9, inner, 8);
  (void)pattern_put(c, 200000, 10, &outer, 1);
  (void)pattern_put(c, 8, 11, &outer, 1);
}

static void make_tasks(wr_client *c, const wr_id *refs, wr_id *pending) {
  wr_id out[8];
  for (uint32_t i = 0; i < 4; i++) {
    task_plan p = {.o = {ORDER_ECHO, i, 40, 0}, .padding = i * 90, .refs = refs, .nrefs = 3,
                   .ndeps = 2};
    p.spec = (wr_task_spec){.shape = (uint16_t)(i % SESSION_SHAPES), .retries = (int16_t)(i - 1),
                            .nreturns = (uint16_t)(i + 1)};
    plan_submit(c, &p, out);
    pending[i] = out[0];
  }
  for (uint32_t i = 0; i < 4; i++) { /* they wait for each other */
    task_plan p = {.o = {ORDER_NEST, i, 40, 0}, .refs = pending, .nrefs = 4, .ndeps = 4,
                   .spec = {.nreturns = 2}};
    plan_submit(c, &p, out);
  }
}

static void make_actors(wr_client *c, const wr_id *refs) {
  wr_id creation, out;
  for (uint32_t i = 0; i < SCRIBBLE_ACTORS; i++) {
    wr_id a = actor_make(c, (int32_t)i - 1, i & 1 ? WR_AF_DETACHED : 0,
                         (order){ORDER_CREATE, i, 8, 0}, &creation);
    if (i < 3) (void)work_all(session_client(&x, WR_ROLE_WORKER));
    for (uint32_t k = 0; k < 3; k++) {
      task_plan p = {.o = {ORDER_ECHO, k, 20, 0}, .refs = refs, .nrefs = 2, .ndeps = k & 1,
                     .spec = {.flags = WR_TF_CALL, .actor = a, .retries = (int16_t)(k - 1)}};
      plan_submit(c, &p, &out);
    }
  }
}

static void make_groups(wr_client *c) {
  for (uint32_t i = 0; i < 3; i++) { /* the last one waits */
    const wr_bundle_spec bundle = {.n = 2, .need = {{WR_RES_CPU, WR_RES_SCALE}, {1, WR_RES_SCALE}}};
    const wr_bundle_spec bundles[2] = {bundle, bundle};
    const wr_group_spec spec = {.n = 2, .bundles = bundles, .name = "group"};
    uint32_t idx, gen;
    CHECK_EQ(wr_groups_create(&c->self, &spec, &idx, &gen), WR_OK);
  }
}

static void run_some(void) {
  wr_client *w = session_client(&x, WR_ROLE_WORKER);
  wr_job job;
  for (int i = 0; i < 2; i++) (void)wr_work_try(w, &job); /* claimed, and not finished */
  for (uint32_t slot = 2; slot < 64; slot++) {
    wr_client *c = x.clients[slot];
    if (c && c->is_worker && wr_load32(&c->self.p->actor)) (void)wr_work_try(c, &job);
  }
}

/* Its pointers lead into another mapping of the same memory. */
static void move_to(wr_seg *s, uint8_t *base) {
#define MOVE(field) s->field = (void *)(base + ((uint8_t *)s->field - s->base))
  MOVE(h), MOVE(procs), MOVE(actors), MOVE(pools), MOVE(shapes), MOVE(resources);
  MOVE(groups), MOVE(bundles);
  MOVE(rec_table), MOVE(rec_freed), MOVE(heap_table), MOVE(heap_freed), MOVE(recs), MOVE(heap);
#undef MOVE
  s->base = base;
}

static void build(void) {
  wr_id inner[8], pending[4];
  session_open(&x, 8u << 20);
  wr_client *a = session_client(&x, WR_ROLE_DRIVER), *b = session_client(&x, WR_ROLE_DRIVER);
  make_values(a, inner);
  for (uint32_t i = 0; i < 8; i++) CHECK_EQ(wr_hold(b, inner[i].idx, inner[i].gen, NULL), WR_OK);
  make_actors(a, inner);
  make_groups(b);
  make_tasks(b, inner, pending);
  make_tasks(a, inner, pending);
  run_some();
  uint8_t *room = mmap(NULL, x.seg.size + 2 * APART, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(room != MAP_FAILED);
  void *base = mmap(room + APART, x.seg.size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, x.seg.fd, 0);
  CHECK(base != MAP_FAILED);
  seg = x.seg;
  move_to(&seg, base);
}

wr_seg *scribble_session(void) {
  if (!seg.base) build();
  return &seg;
}

void scribble_restore(void) {
  CHECK_EQ(madvise(seg.base, seg.size, MADV_DONTNEED), 0);
}

/* ---- writing over it ------------------------------------------------------------------------- */

static wr_idx some_record(const wr_seg *s, fuzz_input *in) {
  static uint32_t cells; /* of the session as it was built */
  if (!cells) cells = wr_load32(&s->h->rec_high) * (uint32_t)(WR_CHUNK / WR_CELL);
  uint32_t i = fuzz_u16(in) % cells;
  return i & 1 ? i : i - i % WR_TASK_CELLS;
}

static uint32_t *some_place(wr_seg *s, fuzz_input *in) {
  uint8_t where = fuzz_u8(in), which = fuzz_u8(in);
  uint32_t word = fuzz_u8(in);
#define IN(table, n) (uint32_t *)(void *)&(table)[which % (n)] + word % (sizeof *(table) / 4)
  switch (where % 14) {
    case 0:
      return (uint32_t *)(void *)s->h + ((uint32_t)which << 8 | word) % (sizeof *s->h / 4);
    case 1: return IN(s->procs, 16);
    case 2: return IN(s->actors, 8);
    case 3: return IN(s->pools, 4);
    case 4: return IN(s->shapes, 4);
    case 5: return IN(s->resources, 4);
    case 6: return IN(s->rec_table, 16);
    case 7: return IN(s->heap_table, 160 < s->heap_chunks ? 160 : s->heap_chunks);
    case 8: return (uint32_t *)(void *)(s->heap + (uint64_t)which * 1024 + word * 4);
    case 10: return IN(s->groups, 4);
    case 11: return IN(s->bundles, 8);
    case 9: return (uint32_t *)(void *)(s->base + s->rings_off) + which * 2u + (word & 1);
    default: return (uint32_t *)(void *)wr_obj(s, some_record(s, in)) + word % 64;
  }
#undef IN
}

static uint64_t some_value(wr_seg *s, fuzz_input *in, uint64_t old) {
  switch (fuzz_u8(in) % 9) {
    case 0: return fuzz_u64(in);
    case 1: return fuzz_u8(in);
    case 2: return UINT64_MAX - fuzz_u8(in);
    case 3: return some_record(s, in);
    case 4: return (uint64_t)some_record(s, in) | old << 32 >> 32 << 32;
    case 5: return old ^ (uint64_t)1 << (fuzz_u8(in) % 64);
    case 6: return old + (uint64_t)(int64_t)(int8_t)fuzz_u8(in);
    case 7: return s->size - fuzz_u16(in);
    default: return fuzz_u32(in) | WR_ACTOR_BIT;
  }
}

void scribble(wr_seg *s, fuzz_input *in) {
  uint32_t *at = some_place(s, in);
  uint64_t old = *at;
  int wide = ((uintptr_t)at & 7) == 0;
  if (wide) memcpy(&old, at, 8);
  uint64_t v = some_value(s, in, old);
  memcpy(at, &v, wide ? 8 : 4);
}

static struct {
  wr_seg *s;
  fuzz_input *in;
  uint32_t pause; /* places to be passed before the next write */
} race;

static void at_place(const char *name) {
  (void)name;
  if (race.pause-- || !fuzz_more(race.in)) return;
  scribble(race.s, race.in);
  race.pause = fuzz_u8(race.in);
}

void scribble_race(wr_seg *s, fuzz_input *in) {
  race.s = s;
  race.in = in;
  race.pause = in ? fuzz_u8(in) : 0;
  wr_failpoint_hook = in ? at_place : NULL;
}
