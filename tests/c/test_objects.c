/* The life of an object: pending, given a value, sealed, watched, read. */
#include "engine.h"

#include <sched.h>

#include "base/status.h"
#include "os/os.h"
#include "store/heap.h"

#define MIB ((uint64_t)1 << 20)

static wr_idx create(wr_self *me, uint32_t *gen) {
  wr_idx i;
  CHECK_EQ(wr_objects_create(me, WR_REF_CREATOR, &i, gen), WR_OK);
  CHECK_EQ(engine_phase(me->s, i), WR_OBJ_PENDING);
  CHECK_EQ(wr_obj(me->s, i)->creator, me->slot);
  return i;
}

TEST(generations_start_at_one_and_skip_zero) {
  engine e;
  uint32_t gen;
  engine_open(&e, MIB);
  wr_idx i = create(&e.me, &gen);
  CHECK_EQ(gen, 1);
  engine_drop(&e.me, i);
  CHECK_EQ(create(&e.me, &gen), i);
  CHECK_EQ(gen, 2);
  wr_store(&wr_obj(&e.s, i)->state, WR_OBJ_STATE(WR_OBJ_PENDING, UINT32_MAX));
  engine_drop(&e.me, i);
  CHECK_EQ(create(&e.me, &gen), i);
  CHECK_EQ(gen, 1);
  engine_close(&e);
}

TEST(small_values_lie_in_the_record) {
  engine e;
  engine_open(&e, 4 * MIB);
  for (uint64_t len = 0; len <= 2 * WR_INLINE_VALUE; len++) {
    wr_idx i = engine_put(&e.me, len, NULL, 0);
    const wr_object *o = wr_obj(&e.s, i);
    CHECK_EQ(!(o->flags & WR_VAL_BLOCK), len <= WR_INLINE_VALUE);
    CHECK_EQ(o->flags & WR_VAL_BLOCK ? o->v.b.len : o->len, len);
    engine_read(&e.s, i);
  }
  engine_audit(&e.s);
  engine_close(&e);
}

TEST(values_with_references_lie_in_a_block_behind_them) {
  engine e;
  wr_idx in[40];
  engine_open(&e, 4 * MIB);
  for (int k = 0; k < 40; k++) in[k] = engine_put(&e.me, 1, NULL, 0);
  for (uint32_t n = 1; n <= 40; n++) {
    wr_idx i = engine_put(&e.me, n % 3, in, n);
    const wr_object *o = wr_obj(&e.s, i);
    CHECK(o->flags & WR_VAL_BLOCK);
    CHECK(o->len == n && o->v.b.nrefs == n && o->v.b.len == n % 3);
    CHECK_EQ(o->v.b.off % 64, 0);
    CHECK_GE(o->v.b.off, o->v.b.block + sizeof(wr_pins) + 4 * n);
    const wr_pins *pins = wr_at(&e.s, o->v.b.block);
    CHECK_EQ(pins->n, n);
    CHECK_MEM(pins->idx, in, 4 * n);
    engine_read(&e.s, i);
  }
  engine_audit(&e.s);
  engine_close(&e);
}

TEST(a_value_without_room_leaves_the_object_pending) {
  engine e;
  uint32_t gen;
  uint8_t *dst = NULL;
  engine_open(&e, MIB);
  wr_idx i = create(&e.me, &gen), in = engine_put(&e.me, 1, NULL, 0);
  CHECK_EQ(wr_objects_reserve(&e.me, i, MIB + 1, &in, 1, &dst), WR_FULL);
  CHECK(dst == NULL && !(wr_obj(&e.s, i)->flags & WR_VAL_BLOCK));
  CHECK_EQ(engine_refs(&e.s, in), WR_REF_CREATOR);
  CHECK_EQ(wr_objects_reserve(&e.me, i, 3, NULL, 0, &dst), WR_OK); /* an error takes its place */
  engine_audit(&e.s);
  engine_close(&e);
}

TEST(what_was_reserved_can_be_discarded) {
  engine e;
  uint32_t gen;
  uint8_t *dst;
  engine_open(&e, 4 * MIB);
  wr_idx i = create(&e.me, &gen), in = engine_put(&e.me, 1, NULL, 0);
  const uint64_t lens[] = {10, 100, 300000, 10};
  for (int k = 0; k < 4; k++) {
    CHECK_EQ(wr_objects_reserve(&e.me, i, lens[k], &in, k > 0 && k < 3, &dst), WR_OK);
    uint64_t block = wr_obj(&e.s, i)->v.b.block;
    wr_objects_discard(&e.me, i);
    wr_objects_discard(&e.me, i);
    CHECK_EQ(engine_refs(&e.s, in), WR_REF_CREATOR);
    if (k == 1 || k == 2) CHECK(!wr_heap_owned(&e.s, block, i, gen));
    engine_audit(&e.s);
  }
  CHECK_EQ(wr_objects_reserve(&e.me, i, 100, &in, 1, &dst), WR_OK);
  CHECK_EQ(wr_objects_seal(&e.me, i, 0, 0), WR_OK);
  wr_objects_discard(&e.me, i); /* sealed: stays */
  CHECK_EQ(engine_refs(&e.s, in), WR_REF_CREATOR | 1);
  engine_audit(&e.s);
  engine_close(&e);
}

TEST(an_object_is_sealed_once) {
  engine e;
  uint32_t gen;
  engine_open(&e, MIB);
  for (int is_error = 0; is_error < 2; is_error++) {
    wr_idx i = create(&e.me, &gen);
    uint16_t flags = is_error ? WR_VAL_SYSERR : 0;
    CHECK_EQ(wr_objects_seal(&e.me, i, is_error, flags), WR_OK);
    CHECK_EQ(engine_phase(&e.s, i), is_error ? WR_OBJ_ERROR : WR_OBJ_READY);
    CHECK_EQ(wr_obj(&e.s, i)->flags, flags);
    CHECK_EQ(wr_gen_of(&e.s, i), gen);
    CHECK_EQ(wr_objects_seal(&e.me, i, !is_error, 0), WR_STATE);
    CHECK_EQ(engine_phase(&e.s, i), is_error ? WR_OBJ_ERROR : WR_OBJ_READY);
    engine_drop(&e.me, i);
    CHECK_EQ(wr_objects_seal(&e.me, i, 0, 0), WR_STATE);
  }
  engine_close(&e);
}

/* ---- watching ------------------------------------------------------------------------------ */

static uint32_t events(engine *e, uint32_t slot) { return wr_load32(&e->s.procs[slot].events); }

TEST(who_watches_is_woken_at_the_seal) {
  engine e;
  wr_self p[5];
  uint32_t gen;
  engine_open(&e, MIB);
  for (uint32_t k = 0; k < 5; k++) engine_join(&e, &p[k], 2 + k);
  for (uint32_t n = 0; n <= 4; n++) { /* two have a place in the word; for more, all that wait */
    uint32_t before[5];
    wr_idx i = create(&e.me, &gen);
    for (uint32_t k = 0; k < 5; k++) {
      wr_store32(&p[k].p->waiting, k >= 2);
      before[k] = events(&e, 2 + k);
    }
    for (uint32_t k = 0; k < 2 * n; k++) CHECK_EQ(wr_objects_watch(&e.s, i, gen, 2 + k % n), 0);
    CHECK_EQ(wr_objects_seal(&e.me, i, 0, 0), WR_OK);
    for (uint32_t k = 0; k < 5; k++)
      CHECK_EQ(events(&e, 2 + k) > before[k], k < 2 ? k < n : n > 2);
    CHECK_EQ(wr_objects_watch(&e.s, i, gen, 2), 1);
  }
  for (uint32_t k = 0; k < 5; k++) wr_self_close(&p[k]);
  engine_close(&e);
}

TEST(an_error_wakes_all_that_wait) {
  engine e;
  wr_self p;
  uint32_t gen;
  engine_open(&e, MIB);
  engine_join(&e, &p, 2);
  wr_store32(&p.p->waiting, 1);
  CHECK_EQ(wr_objects_seal(&e.me, create(&e.me, &gen), 0, 0), WR_OK);
  CHECK_EQ(events(&e, 2), 0);
  CHECK_EQ(wr_objects_seal(&e.me, create(&e.me, &gen), 1, 0), WR_OK);
  CHECK_EQ(events(&e, 2), 1);
  wr_self_close(&p);
  engine_close(&e);
}

TEST(only_living_objects_can_be_watched) {
  engine e;
  uint32_t gen;
  engine_open(&e, MIB);
  wr_idx i = create(&e.me, &gen);
  CHECK_EQ(wr_objects_watch(&e.s, i, gen + 1, 2), WR_STALE);
  engine_drop(&e.me, i);
  CHECK_EQ(wr_objects_watch(&e.s, i, gen, 2), WR_STALE);
  CHECK_EQ(wr_objects_watch(&e.s, i, gen + 1, 2), WR_STALE); /* free */
  CHECK_EQ(create(&e.me, &gen), i);
  CHECK_EQ(wr_objects_watch(&e.s, i, gen, 2), 0);
  CHECK_EQ(wr_objects_seal(&e.me, i, 1, 0), WR_OK);
  CHECK_EQ(wr_objects_watch(&e.s, i, gen, 2), 1);
  engine_close(&e);
}

enum { READERS = 3, OBJECTS = 3000 };
typedef struct {
  wr_idx idx[OBJECTS];
  uint32_t gen[OBJECTS];
  _Atomic uint32_t asleep; /* how often somebody lay down */
} series;

/* Waits for each object as a client does, asleep where it is not sealed yet, and reads it. */
static void read_series(wr_self *me, void *arg) {
  series *all = arg;
  wr_store32(&me->p->waiting, 1);
  for (uint32_t k = 0; k < OBJECTS; k++)
    for (;;) {
      uint32_t seen = wr_load32(&me->p->events);
      int rc = wr_objects_watch(me->s, all->idx[k], all->gen[k], me->slot);
      CHECK_GE(rc, 0);
      if (rc == 1) {
        engine_read(me->s, all->idx[k]);
        break;
      }
      wr_store32(&me->p->park, 1);
      wr_fence();
      if (wr_load32(&me->p->events) == seen) {
        atomic_fetch_add(&all->asleep, 1);
        wr_os_futex_wait(&me->p->park, 1, -1);
      }
      wr_store32(&me->p->park, 0);
    }
}

static int somebody_sleeps(void *arg) { return atomic_load((_Atomic uint32_t *)arg) > 0; }

TEST(sleepers_see_whole_values) {
  engine e;
  int pids[READERS];
  engine_open(&e, 64 * MIB);
  series *all = engine_shared(sizeof *all);
  for (uint32_t k = 0; k < OBJECTS; k++) {
    wr_idx i = engine_put(&e.me, k % 7 ? k % 5000 : k % 20, NULL, 0); /* filled and sealed ... */
    all->idx[k] = i;
    all->gen[k] = wr_gen_of(&e.s, i);
    wr_store(&wr_obj(&e.s, i)->state, WR_OBJ_STATE(WR_OBJ_PENDING, all->gen[k]));
    if (wr_obj(&e.s, i)->flags & WR_VAL_BLOCK) /* ... and made unwritten again */
      memset(wr_at(&e.s, wr_obj(&e.s, i)->v.b.off), 0, wr_obj(&e.s, i)->v.b.len);
  }
  for (uint32_t r = 0; r < READERS; r++)
    pids[r] = engine_peer(&e, ENGINE_PEER + r, read_series, all);
  check_until(somebody_sleeps, &all->asleep);
  for (uint32_t k = 0; k < OBJECTS; k++) {
    if (wr_obj(&e.s, all->idx[k])->flags & WR_VAL_BLOCK) engine_fill(&e.s, all->idx[k]);
    CHECK_EQ(wr_objects_seal(&e.me, all->idx[k], 0, 0), WR_OK);
    if (k % 16 == 0) sched_yield();
  }
  for (int r = 0; r < READERS; r++) check_join(pids[r]);
  engine_close(&e);
}

/* ---- errors made by the engine ------------------------------------------------------------- */

/* Checks the three elements of an error and that they fill n bytes. */
static void check_error(const uint8_t *p, size_t n, const char *code, const char *text, size_t nt) {
  size_t nc = strlen(code);
  CHECK_EQ(n, nc + nt + 8);
  CHECK_EQ(p[0], 0x93);
  CHECK(p[1] == 0xDA && p[2] == nc >> 8 && p[3] == (nc & 0xFF));
  CHECK_MEM(p + 4, code, nc);
  p += 4 + nc;
  CHECK(p[0] == 0xDA && p[1] == nt >> 8 && p[2] == (nt & 0xFF));
  CHECK_MEM(p + 3, text, nt);
  CHECK_EQ(p[3 + nt], 0x80);
}

TEST(errors_are_cut_to_their_buffer) {
  static uint8_t buf[80000];
  static char text[70001];
  memset(text, 'x', sizeof text - 1);
  check_error(buf, wr_error_value(buf, 100, "CODE", "short"), "CODE", "short", 5);
  check_error(buf, wr_error_value(buf, 32, "CODE", text), "CODE", text, 32 - 12);
  check_error(buf, wr_error_value(buf, 13, "CODE", "short"), "CODE", "s", 1);
  check_error(buf, wr_error_value(buf, 1024, "CODE", text), "CODE", text, 1024 - 12);
  check_error(buf, wr_error_value(buf, sizeof buf, "CODE", text), "CODE", text, 65535);
}
