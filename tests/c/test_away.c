/* Values that leave memory and come back: what excludes what, and who frees in the end. */
#include "engine.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/status.h"
#include "store/away.h"
#include "store/heap.h"
#include "store/records.h"

#define MIB ((uint64_t)1 << 20)
#define LEN 300000u

static wr_away_refs *none; /* of values that refer to nothing */

static uint32_t place(const wr_seg *s, wr_idx i) {
  return WR_OBJ_PLACE(wr_load(&wr_obj(s, i)->state));
}

static void spill(wr_self *me, wr_idx i) {
  uint32_t gen = wr_gen_of(me->s, i);
  CHECK(wr_away_begin(me->s, i, gen));
  wr_away_settle();
  CHECK_EQ(wr_away_leave(me, i, gen, &none), WR_OK);
}

static void restore(wr_self *me, wr_idx i) {
  uint8_t *dst;
  uint32_t gen = wr_gen_of(me->s, i);
  CHECK_EQ(wr_away_return(me, i, gen, wr_obj(me->s, i)->v.b.len, none, &dst), WR_OK);
  engine_fill(me->s, i);
  wr_away_arrive(me, i, gen, WR_IN_MEMORY, &none);
}

TEST(a_value_leaves_and_comes_back) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i = engine_put(&p.e.me, LEN, NULL, 0);
  uint32_t gen = wr_gen_of(&p.e.s, i);
  uint64_t used = wr_heap_chunks_used(&p.e.s);
  spill(&p.e.me, i);
  CHECK_EQ(place(&p.e.s, i), WR_IN_FILE);
  CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_READY);
  CHECK_EQ(wr_heap_chunks_used(&p.e.s), used - (LEN + WR_CHUNK - 1) / WR_CHUNK);
  CHECK_EQ(wr_obj(&p.e.s, i)->v.b.block, 0);
  CHECK_EQ(wr_obj(&p.e.s, i)->v.b.len, LEN);
  CHECK(!wr_away_begin(&p.e.s, i, gen));
  CHECK(wr_away_wanted(&p.e.s, i, gen) && !wr_away_wanted(&p.e.s, i, gen + 1));
  restore(&p.e.me, i);
  CHECK_EQ(place(&p.e.s, i), WR_IN_MEMORY);
  CHECK_EQ(wr_heap_chunks_used(&p.e.s), used);
  engine_read(&p.e.s, i);
  engine_drop(&p.e.me, i);
  CHECK_EQ(wr_load32(&p.e.s.h->files_dropped), 0);
  engine_pair_close(&p);
}

TEST(no_room_and_no_bytes) {
  engine_pair p;
  uint8_t *dst;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i = engine_put(&p.e.me, LEN, NULL, 0), big;
  uint32_t gen = wr_gen_of(&p.e.s, i);
  spill(&p.e.me, i);
  big = engine_put(&p.e.me, 64 * MIB - 2 * WR_CHUNK, NULL, 0);
  CHECK_EQ(wr_away_return(&p.e.me, i, gen, LEN, none, &dst), WR_FULL);
  CHECK_EQ(place(&p.e.s, i), WR_IN_FILE);
  CHECK_EQ(wr_away_return(&p.e.me, i, gen + 1, LEN, none, &dst), WR_STALE);
  engine_drop(&p.e.me, big);
  CHECK_EQ(wr_away_return(&p.e.me, i, gen, LEN, none, &dst), WR_OK);
  wr_away_arrive(&p.e.me, i, gen, WR_IN_LOST, &none);
  CHECK_EQ(place(&p.e.s, i), WR_IN_LOST);
  CHECK_EQ(wr_heap_chunks_used(&p.e.s), 0);
  CHECK(!wr_away_wanted(&p.e.s, i, gen));
  CHECK_EQ(wr_objects_watch_value(&p.e.s, i, gen, ENGINE_PEER), 1);
  engine_drop(&p.e.me, i);
  CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_FREE);
  engine_pair_close(&p);
}

static void note(void *ctx, wr_idx idx) { *(wr_idx *)ctx = idx; }

static wr_idx viewed(const engine_pair *p) {
  wr_idx found = 0;
  wr_away_each_view((wr_seg *)(uintptr_t)&p->e.s, note, &found);
  return found;
}

TEST(a_view_is_seen_as_long_as_it_lasts) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i = engine_put(&p.e.me, LEN, NULL, 0);
  uint32_t gen = wr_gen_of(&p.e.s, i);
  CHECK_EQ(wr_hold_take(&p.other, i, gen, NULL), WR_OK);
  CHECK_EQ(viewed(&p), 0);
  CHECK_EQ(wr_view_take(&p.other, i, gen), WR_OK);
  CHECK_EQ(viewed(&p), i);
  engine_audit(&p.e.s);
  wr_hold_drop(&p.other, i); /* the plain hold goes, the view stays */
  CHECK_EQ(viewed(&p), i);
  CHECK_EQ(wr_view_take(&p.other, i, gen), WR_OK);
  wr_view_drop(&p.other, i);
  CHECK_EQ(viewed(&p), i);
  CHECK_EQ(wr_hold_take(&p.other, i, gen, NULL), WR_OK);
  wr_view_drop(&p.other, i);
  CHECK_EQ(viewed(&p), 0); /* only the hold is left */
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR | 1);
  CHECK_EQ(wr_view_take(&p.other, i, gen), WR_OK);
  engine_sweep(&p.e, ENGINE_PEER); /* its process dies with a view */
  CHECK_EQ(viewed(&p), 0);
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR);
  engine_drop(&p.e.me, i);
  engine_pair_close(&p);
}

/* The last reference goes while whiprayd moves the value: it frees the object when it is done. */
TEST(references_that_go_meanwhile) {
  engine_pair p;
  uint8_t *dst;
  engine_pair_open(&p, 64 * MIB);
  for (int how = 0; how < 5; how++) {
    wr_idx i = engine_put(&p.other, LEN, NULL, 0);
    uint32_t gen = wr_gen_of(&p.e.s, i);
    if (how >= 2) spill(&p.e.me, i);
    if (how < 2) CHECK(wr_away_begin(&p.e.s, i, gen));
    if (how == 2 || how == 3) CHECK_EQ(wr_away_return(&p.e.me, i, gen, LEN, none, &dst), WR_OK);
    uint32_t dropped = wr_load32(&p.e.s.h->files_dropped);
    engine_drop(&p.other, i);
    if (how < 4) {
      CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_READY);
      wr_reap(&p.other, i, gen); /* again, as a sweep might */
      CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_READY);
    }
    if (how == 0) wr_away_stay(&p.e.me, i, gen);
    if (how == 1) CHECK_EQ(wr_away_leave(&p.e.me, i, gen, &none), WR_OK);
    if (how == 2) wr_away_arrive(&p.e.me, i, gen, WR_IN_MEMORY, &none);
    if (how == 3) wr_away_arrive(&p.e.me, i, gen, WR_IN_FILE, &none);
    CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_FREE);
    CHECK_EQ(wr_gen_of(&p.e.s, i), gen + 1);
    CHECK_EQ(wr_heap_chunks_used(&p.e.s), 0);
    if (how == 4) CHECK_EQ(wr_load32(&p.e.s.h->files_dropped), dropped + 1);
  }
  engine_pair_close(&p);
}

TEST(who_waits_is_woken) {
  engine_pair p;
  uint8_t *dst;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i = engine_put(&p.e.me, LEN, NULL, 0);
  uint32_t gen = wr_gen_of(&p.e.s, i);
  wr_proc *waiter = &p.e.s.procs[ENGINE_PEER];
  CHECK_EQ(wr_objects_watch_value(&p.e.s, i, gen, ENGINE_PEER), 1);
  CHECK(wr_away_begin(&p.e.s, i, gen));
  CHECK_EQ(wr_objects_watch_value(&p.e.s, i, gen, ENGINE_PEER), 0);
  CHECK_EQ(wr_objects_watch(&p.e.s, i, gen, ENGINE_PEER), 1); /* it is ready all the time */
  uint32_t events = wr_load32(&waiter->events);
  CHECK_EQ(wr_away_leave(&p.e.me, i, gen, &none), WR_OK);
  CHECK_EQ(wr_load32(&waiter->events), events);
  CHECK_EQ(wr_away_return(&p.e.me, i, gen, LEN, none, &dst), WR_OK);
  engine_fill(&p.e.s, i);
  wr_away_arrive(&p.e.me, i, gen, WR_IN_MEMORY, &none);
  CHECK_EQ(wr_load32(&waiter->events), events + 1);
  CHECK_EQ(wr_load(&wr_obj(&p.e.s, i)->state), WR_OBJ_STATE(WR_OBJ_READY, gen));
  engine_read(&p.e.s, i);
  engine_drop(&p.e.me, i);
  engine_pair_close(&p);
}

typedef struct {
  wr_spillable v[16];
  uint32_t n;
} found;

static void collect(void *ctx, const wr_spillable *v) {
  found *f = ctx;
  CHECK_LT(f->n, 16);
  f->v[f->n++] = *v;
}

TEST(what_can_be_spilled) {
  engine_pair p;
  found f = {.n = 0};
  engine_pair_open(&p, 64 * MIB);
  wr_idx inner = engine_put(&p.e.me, 100, NULL, 0), all[5];
  all[0] = engine_put(&p.e.me, LEN, NULL, 0);
  all[1] = engine_put(&p.other, 5000, NULL, 0);
  all[2] = engine_put(&p.e.me, WR_SPILL_MIN - 1, NULL, 0); /* small */
  all[3] = engine_put(&p.other, 70000, &inner, 1);         /* behind its list of references */
  all[4] = engine_put(&p.e.me, LEN, NULL, 0);              /* an export, below */
  wr_obj(&p.e.s, all[4])->flags |= WR_VAL_FUNC;
  wr_away_each(&p.e.s, collect, &f);
  CHECK_EQ(f.n, 3);
  uint32_t first = 0, last = 0;
  while (f.v[first].idx != all[0]) first++;
  while (f.v[last].idx != all[1]) last++;
  CHECK_EQ(f.v[first].idx, all[0]);
  CHECK_EQ(f.v[first].len, LEN);
  CHECK_EQ(f.v[first].room, (LEN + WR_CHUNK - 1) / WR_CHUNK * WR_CHUNK);
  CHECK_EQ(f.v[last].idx, all[1]);
  CHECK_LT(f.v[first].touched, f.v[last].touched);
  CHECK_EQ(wr_view_take(&p.other, all[0], 0), WR_OK); /* looking at it makes it young again */
  wr_view_drop(&p.other, all[0]);
  f.n = 0;
  wr_away_each(&p.e.s, collect, &f);
  CHECK_GT(f.v[first].touched, f.v[last].touched);
  for (int k = 0; k < 5; k++) engine_drop(k == 1 || k == 3 ? &p.other : &p.e.me, all[k]);
  engine_drop(&p.e.me, inner);
  engine_pair_close(&p);
}

/* Who frees such a value, or dies, leaves what it refers to to whiprayd. */
TEST(what_a_value_refers_to_is_held_while_it_is_away) {
  engine_pair p;
  uint8_t *dst;
  engine_pair_open(&p, 64 * MIB);
  for (int how = 0; how < 8; how++) {
    wr_idx inner[3], i;
    wr_away_refs *refs;
    for (uint32_t k = 0; k < 3; k++) inner[k] = engine_put(&p.e.me, 100, NULL, 0);
    i = engine_put(&p.other, how & 1 ? LEN : 3000, inner, 3);
    uint32_t gen = wr_gen_of(&p.e.s, i), left = 3, len = how & 1 ? LEN : 3000;
    for (uint32_t k = 0; k < 3; k++) engine_drop(&p.e.me, inner[k]);
    CHECK(wr_away_begin(&p.e.s, i, gen));
    wr_away_settle();
    CHECK_EQ(wr_away_leave(&p.e.me, i, gen, &refs), WR_OK);
    CHECK_EQ(refs->n, 3);
    engine_audit(&p.e.s);
    if (how >= 2) CHECK_EQ(wr_away_return(&p.e.me, i, gen, len, refs, &dst), WR_OK);
    engine_audit(&p.e.s);
    if (how / 2 == 1) wr_away_arrive(&p.e.me, i, gen, WR_IN_FILE, &refs); /* can not be read */
    if (how / 2 == 2) {
      engine_fill(&p.e.s, i);
      wr_away_arrive(&p.e.me, i, gen, WR_IN_MEMORY, &refs);
      CHECK(refs == NULL);
      engine_read(&p.e.s, i);
      left = 0;
    }
    engine_audit(&p.e.s);
    for (uint32_t k = 0; k < 3; k++) engine_read(&p.e.s, inner[k]);
    engine_drop(&p.other, i);
    if (how / 2 == 3) wr_away_arrive(&p.e.me, i, gen, WR_IN_MEMORY, &refs); /* for nobody */
    if (how / 2 == 3) left = 0;
    CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_FREE);
    for (uint32_t k = 0; k < left; k++) engine_read(&p.e.s, inner[k]);
    wr_away_forget(&p.e.me, &refs);
    for (uint32_t k = 0; k < 3; k++) CHECK_EQ(engine_phase(&p.e.s, inner[k]), WR_OBJ_FREE);
    engine_audit(&p.e.s);
  }
  engine_pair_close(&p);
}

/* A reader in another process takes views of a value that goes and comes all the time.  Whenever it
 * finds the value in memory after it has marked its view, the bytes stay the right ones. */
typedef struct {
  _Atomic uint32_t stop, looks, misses;
  wr_idx idx;
} race;

static void look_all_the_time(wr_self *me, void *arg) {
  race *r = arg;
  uint32_t gen = wr_gen_of(me->s, r->idx);
  while (!atomic_load(&r->stop)) {
    CHECK_EQ(wr_view_take(me, r->idx, gen), WR_OK);
    if (place(me->s, r->idx) == WR_IN_MEMORY) {
      engine_read(me->s, r->idx);
      sched_yield();
      engine_read(me->s, r->idx);
      atomic_fetch_add(&r->looks, 1);
    } else {
      atomic_fetch_add(&r->misses, 1);
    }
    wr_view_drop(me, r->idx);
    if (atomic_load(&r->looks) % 8 == 0) sched_yield();
  }
}

TEST_LIMIT(a_reader_and_whiprayd_race, 120) {
  engine e;
  engine_open(&e, 64 * MIB);
  race *r = engine_shared(sizeof *r);
  r->idx = engine_put(&e.me, 2000, NULL, 0);
  uint32_t gen = wr_gen_of(&e.s, r->idx), gone = 0, stayed = 0;
  int pid = engine_peer(&e, ENGINE_PEER, look_all_the_time, r);
  while (gone < 300 || stayed < 300) {
    CHECK(wr_away_begin(&e.s, r->idx, gen));
    wr_away_settle();
    wr_idx seen = 0;
    wr_away_each_view(&e.s, note, &seen);
    if (seen == r->idx) {
      wr_away_stay(&e.me, r->idx, gen);
      stayed++;
    } else {
      CHECK_EQ(wr_away_leave(&e.me, r->idx, gen, &none), WR_OK);
      wr_idx other = engine_put(&e.me, 2000, NULL, 0); /* scribbles where the value was */
      gone++;
      engine_drop(&e.me, other);
      restore(&e.me, r->idx);
    }
    if (gone > stayed + 100) sched_yield();
  }
  atomic_store(&r->stop, 1);
  check_join(pid);
  engine_sweep(&e, ENGINE_PEER);
  CHECK_GT(atomic_load(&r->looks), 0);
  engine_drop(&e.me, r->idx);
  engine_audit(&e.s);
  engine_close(&e);
}
