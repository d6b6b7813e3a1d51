/* Cells and tasks: type-stable records in chunks that one process fills. */
#include "engine.h"

#include "base/mem.h"
#include "base/status.h"
#include "shm/ring.h"
#include "store/records.h"

enum { CELLS = WR_CHUNK / WR_CELL };

static wr_idx take(wr_self *me, enum wr_rec_kind kind) {
  wr_idx i = 0;
  CHECK_EQ(wr_rec_alloc(me, kind, &i), WR_OK);
  CHECK_EQ(WR_REC_KIND(wr_load(&me->s->rec_table[wr_rec_chunk(i)])), kind);
  CHECK_EQ(engine_phase(me->s, i), WR_OBJ_FREE);
  wr_object *o = wr_obj(me->s, i);
  wr_store(&o->refs, WR_REF_TASK); /* lives, whatever a sweep finds */
  wr_store(&o->state, WR_OBJ_STATE(WR_OBJ_PENDING, WR_OBJ_GEN(wr_load(&o->state)) + 1));
  if (kind == WR_REC_TASKS)
    wr_store(&wr_task_at(me->s, i)->tstate, WR_TASK_STATE(WR_TASK_BUILDING, me->slot, 0, 1));
  return i;
}

static void set_free(const wr_seg *s, wr_idx i) {
  wr_object *o = wr_obj(s, i);
  if (WR_REC_KIND(wr_load(&s->rec_table[wr_rec_chunk(i)])) == WR_REC_TASKS)
    wr_store(&wr_task_at(s, i)->tstate, 0);
  wr_store(&o->state, WR_OBJ_STATE(WR_OBJ_FREE, WR_OBJ_GEN(wr_load(&o->state)) + 1));
}

static void give(wr_self *me, wr_idx i) {
  set_free(me->s, i);
  wr_rec_release(me, i);
}

static uint32_t chunks_of(const wr_seg *s, uint32_t slot) {
  uint32_t n = 0;
  for (uint32_t c = 1; c < WR_REC_CHUNKS && (c < 64 || wr_load(&s->rec_table[c])); c++) {
    uint64_t w = wr_load(&s->rec_table[c]);
    n += w != 0 && WR_REC_SLOT(w) == slot;
  }
  return n;
}

TEST(records_are_distinct_and_in_place) {
  engine e;
  engine_open(&e, 1 << 20);
  for (uint32_t i = 0; i < 3 * CELLS; i++) {
    wr_idx cell = take(&e.me, WR_REC_CELLS), task = take(&e.me, WR_REC_TASKS);
    CHECK_NE(cell, 0);
    CHECK_EQ(task % WR_TASK_CELLS, 0);
  }
  CHECK_EQ(chunks_of(&e.s, ENGINE_ME), 3 + 3 * WR_TASK_CELLS);
  CHECK_EQ(wr_load32(&e.s.h->rec_high), 1 + 3 + 3 * WR_TASK_CELLS);
  engine_close(&e);
}

TEST(own_records_are_used_again_at_once) {
  engine e;
  engine_open(&e, 1 << 20);
  for (int kind = WR_REC_CELLS; kind <= WR_REC_TASKS; kind++) {
    wr_idx a = take(&e.me, kind), b = take(&e.me, kind);
    uint32_t gen = wr_gen_of(&e.s, a);
    give(&e.me, a);
    give(&e.me, b);
    CHECK_EQ(take(&e.me, kind), b);
    CHECK_EQ(take(&e.me, kind), a);
    CHECK_EQ(wr_gen_of(&e.s, a), gen + 2); /* a stale reference can tell */
    for (int i = 0; i < 3 * CELLS; i++) give(&e.me, take(&e.me, kind));
  }
  CHECK_EQ(chunks_of(&e.s, ENGINE_ME), 2);
  engine_close(&e);
}

/* A task record is free when both its words say so: the return may outlive the task, or not. */
TEST(a_task_is_free_when_its_return_is_too) {
  engine e;
  engine_open(&e, 1 << 20);
  wr_idx t = take(&e.me, WR_REC_TASKS), first = wr_rec_first(wr_rec_chunk(t));
  for (uint32_t i = 1; i < CELLS / WR_TASK_CELLS; i++) (void)take(&e.me, WR_REC_TASKS);
  wr_store(&wr_task_at(&e.s, t)->tstate, 0);
  atomic_fetch_add(&e.s.rec_freed[wr_rec_chunk(t)], 1);
  CHECK_NE(wr_rec_chunk(take(&e.me, WR_REC_TASKS)), wr_rec_chunk(first));
  engine_close(&e);
}

/* ---- others free --------------------------------------------------------------------------- */

typedef struct {
  wr_idx *list;
  uint32_t n;
} some;

static void give_some(wr_self *me, void *arg) {
  const some *l = arg;
  for (uint32_t i = 0; i < l->n; i++) give(me, l->list[i]);
}

static void fill_chunk(wr_self *me, wr_idx *list) {
  for (uint32_t i = 0; i < CELLS; i++) list[i] = take(me, WR_REC_CELLS);
}

/* Takes n cells, which must be those of the list and no others. */
static void take_exactly(wr_self *me, const wr_idx *list, uint32_t n) {
  wr_map32 wanted = {0};
  for (uint32_t i = 0; i < n; i++) CHECK_EQ(wr_map32_put(&wanted, list[i], 1), WR_OK);
  for (uint32_t i = 0; i < n; i++) {
    wr_idx got = take(me, WR_REC_CELLS);
    CHECK_MSG(wr_map32_get(&wanted, got) != NULL, "cell %u", got);
    wr_map32_del(&wanted, got);
  }
  wr_map32_free(&wanted);
}

TEST(the_owner_finds_what_others_freed) {
  engine e;
  wr_idx all[3][CELLS];
  engine_open(&e, 1 << 20);
  for (int c = 0; c < 3; c++) fill_chunk(&e.me, all[c]);
  for (int round = 0; round < 10; round++) {
    some l = {all[round % 3], 7 + (uint32_t)round * 50};
    check_join(engine_peer(&e, ENGINE_PEER, give_some, &l));
    take_exactly(&e.me, l.list, l.n);
  }
  CHECK_EQ(wr_load32(&e.s.h->rec_high), 4);
  CHECK_EQ(chunks_of(&e.s, ENGINE_PEER), 0);
  engine_close(&e);
}

/* After a sweep every chunk is looked at, once, whatever its counter says. */
TEST(a_sweep_makes_owners_look_everywhere) {
  enum { CHUNKS = 3 };
  for (uint32_t cursor = UINT32_MAX - 6; cursor != 3; cursor++) {
    engine e;
    wr_idx all[CHUNKS * CELLS], freed[CHUNKS * 5];
    engine_open(&e, 1 << 20);
    for (int c = 0; c < CHUNKS; c++) fill_chunk(&e.me, all + c * CELLS);
    for (uint32_t i = 0; i < CHUNKS * 5; i++) {
      freed[i] = all[i / 5 * CELLS + i % 5 * 200];
      set_free(&e.s, freed[i]); /* and died before it said so */
    }
    e.me.cells.cursor = cursor;
    engine_sweep(&e, ENGINE_PEER);
    take_exactly(&e.me, freed, CHUNKS * 5);
    CHECK_EQ(wr_load32(&e.s.h->rec_high), 1 + CHUNKS);
    engine_close(&e);
  }
}

enum { PEERS = 3, TURNS = 20000 };

/* Takes records and puts them on a ring; frees what it finds there, mostly others' records. */
static void exchange_records(wr_self *me, void *arg) {
  wr_ring *ring = arg;
  wr_a32 hand = 0;
  wr_idx i, got;
  for (uint32_t turn = 0; turn < TURNS; turn++) {
    CHECK_EQ(wr_rec_alloc(me, WR_REC_CELLS, &i), WR_OK);
    wr_object *o = wr_obj(me->s, i);
    uint64_t st = wr_load(&o->state);
    CHECK_EQ(WR_OBJ_PHASE(st), WR_OBJ_FREE);
    CHECK(wr_cas(&o->state, &st, WR_OBJ_STATE(WR_OBJ_PENDING, WR_OBJ_GEN(st) + 1)));
    o->len = i * 7;
    int full = wr_ring_put(me->s, ring, i) == WR_FULL;
    if (full) give(me, i);
    if ((!full && turn % 3) || wr_ring_take(me->s, ring, &got, &hand) != WR_OK) continue;
    CHECK_EQ(wr_obj(me->s, got)->len, got * 7);
    give(me, got);
  }
}

TEST(no_record_is_given_twice_between_processes) {
  engine e;
  int pids[PEERS];
  engine_open(&e, 1 << 20);
  wr_ring *ring = engine_shared(sizeof *ring);
  wr_ring_init(ring, e.s.h->heap, 256);
  for (uint32_t i = 0; i < PEERS; i++)
    pids[i] = engine_peer(&e, ENGINE_PEER + i, exchange_records, ring);
  for (int i = 0; i < PEERS; i++) check_join(pids[i]);
  CHECK_LE(wr_load32(&e.s.h->rec_high), 1 + 2 * PEERS); /* used again and again */
  engine_close(&e);
}

/* ---- orphans and limits -------------------------------------------------------------------- */

static void take_and_leave(wr_self *me, void *arg) {
  wr_idx *kept = arg;
  for (uint32_t i = 0; i < CELLS / 2; i++) kept[i] = take(me, WR_REC_CELLS);
  (void)take(me, WR_REC_TASKS);
}

TEST(orphans_are_adopted_with_what_lives_in_them) {
  engine e;
  engine_open(&e, 1 << 20);
  wr_idx *kept = engine_shared(CELLS * sizeof *kept);
  check_join(engine_peer(&e, ENGINE_PEER, take_and_leave, kept));
  CHECK_EQ(chunks_of(&e.s, ENGINE_PEER), 2);
  engine_sweep(&e, ENGINE_PEER);
  CHECK_EQ(chunks_of(&e.s, ENGINE_PEER), 0);
  CHECK_EQ(wr_load32(&e.s.h->rec_orphans), 2);
  for (uint32_t i = 0; i < CELLS / 2; i++) {
    wr_idx got = take(&e.me, WR_REC_CELLS);
    CHECK_EQ(wr_rec_chunk(got), 1);
    for (uint32_t k = 0; k < CELLS / 2; k++) CHECK_NE(got, kept[k]);
  }
  CHECK_EQ(wr_load32(&e.s.h->rec_orphans), 1);
  CHECK_EQ(wr_rec_chunk(take(&e.me, WR_REC_CELLS)), 3);
  CHECK_EQ(wr_rec_chunk(take(&e.me, WR_REC_TASKS)), 2);
  CHECK_EQ(wr_load32(&e.s.h->rec_orphans), 0);
  engine_close(&e);
}

/* A full orphan is adopted too: what is freed in it later comes to somebody. */
TEST(a_full_orphan_is_adopted_for_later) {
  engine e;
  wr_idx *all = engine_shared(CELLS * sizeof *all);
  some l = {all, 3};
  wr_self dead;
  engine_open(&e, 1 << 20);
  engine_join(&e, &dead, ENGINE_PEER);
  fill_chunk(&dead, all);
  wr_self_close(&dead);
  engine_sweep(&e, ENGINE_PEER);
  CHECK_EQ(wr_rec_chunk(take(&e.me, WR_REC_CELLS)), 2);
  CHECK_EQ(chunks_of(&e.s, ENGINE_ME), 2);
  for (int i = 1; i < CELLS; i++) (void)take(&e.me, WR_REC_CELLS);
  check_join(engine_peer(&e, ENGINE_PEER, give_some, &l));
  take_exactly(&e.me, all, 3);
  engine_close(&e);
}

TEST(the_record_area_has_an_end) {
  engine e;
  wr_idx i = 0;
  uint32_t chunk;
  engine_open(&e, 1 << 20);
  wr_store32(&e.s.h->rec_high, WR_REC_CHUNKS - 1);
  for (int k = 0; k < CELLS; k++) i = take(&e.me, WR_REC_CELLS);
  CHECK_EQ(wr_rec_chunk(i), WR_REC_CHUNKS - 1);
  for (int k = 0; k < 3; k++) {
    wr_idx none = 99;
    CHECK_EQ(wr_rec_alloc(&e.me, WR_REC_CELLS, &none), WR_LIMIT);
    CHECK_EQ(wr_rec_alloc(&e.me, WR_REC_TASKS, &none), WR_LIMIT);
    CHECK_EQ(wr_rec_hold_chunk(&e.me, &chunk), WR_LIMIT);
    CHECK_EQ(none, 99);
  }
  give(&e.me, i);
  CHECK_EQ(take(&e.me, WR_REC_CELLS), i);
  engine_close(&e);
}

TEST(chunks_of_the_hold_table_come_zeroed) {
  engine e;
  wr_self dead;
  uint32_t chunk = 0, again = 0;
  const uint8_t zero[WR_CHUNK] = {0};
  engine_open(&e, 1 << 20);
  engine_join(&e, &dead, ENGINE_PEER);
  CHECK_EQ(wr_rec_hold_chunk(&dead, &chunk), WR_OK);
  memset(e.s.recs + (uint64_t)chunk * WR_CHUNK + 100, 7, 100);
  wr_self_close(&dead);
  CHECK(wr_cas(&e.s.rec_table[chunk], &(uint64_t){WR_REC_WORD(WR_REC_HOLDS, ENGINE_PEER)},
               WR_REC_WORD(WR_REC_HOLDS, 0)));
  atomic_fetch_add(&e.s.h->rec_orphans, 1);
  CHECK_EQ(wr_rec_hold_chunk(&e.me, &again), WR_OK);
  CHECK_EQ(again, chunk);
  CHECK_MEM(e.s.recs + (uint64_t)chunk * WR_CHUNK, zero, WR_CHUNK);
  CHECK_EQ(wr_load32(&e.s.h->rec_orphans), 0);
  CHECK_EQ(wr_rec_hold_chunk(&e.me, &again), WR_OK);
  CHECK_NE(again, chunk);
  engine_close(&e);
}

/* A node whose object has gone on to another generation stands in no list any more. */
TEST(lost_nodes_are_found_by_the_look_after_a_sweep) {
  engine e;
  wr_idx all[CELLS];
  engine_open(&e, 1 << 20);
  fill_chunk(&e.me, all);
  for (int i = 1; i <= 3; i++) {
    wr_node *n = wr_node_at(&e.s, all[i]);
    n->obj = i == 3 ? 0 : all[0];
    n->obj_gen = wr_gen_of(&e.s, all[0]) - (i == 1);
    wr_store(&n->state, WR_OBJ_STATE(WR_OBJ_NODE, 1));
  }
  engine_sweep(&e, ENGINE_PEER);
  take_exactly(&e.me, &all[1], 1); /* the second one waits still, the third is being built */
  CHECK_EQ(wr_rec_chunk(take(&e.me, WR_REC_CELLS)), 2);
  engine_close(&e);
}

/* ---- death --------------------------------------------------------------------------------- */

#ifdef WR_HOSTILE
static void take_one(wr_self *me, void *arg) { *(wr_idx *)arg = take(me, WR_REC_CELLS); }

/* Whatever it died of, the only chunk in play comes back and nothing else is claimed. */
TEST(chunks_of_processes_that_died_claiming_them_come_back) {
  const char *const points[] = {"rec.claim", "rec.adopt"};
  for (int k = 0; k < 2; k++) {
    engine e;
    engine_open(&e, 1 << 20);
    wr_idx *got = engine_shared(sizeof *got);
    if (k) {
      check_join(engine_peer(&e, ENGINE_PEER, take_one, got));
      set_free(&e.s, *got);
      engine_sweep(&e, ENGINE_PEER);
    }
    for (int round = 0; round < 3; round++) {
      CHECK(engine_crash(&e, ENGINE_PEER, points[round ? 1 : k], 1, take_one, got));
      CHECK_EQ(chunks_of(&e.s, ENGINE_PEER), 1);
      engine_sweep(&e, ENGINE_PEER);
      CHECK_EQ(chunks_of(&e.s, ENGINE_PEER), 0);
    }
    for (int i = 0; i < CELLS; i++) CHECK_EQ(wr_rec_chunk(take(&e.me, WR_REC_CELLS)), 1);
    engine_close(&e);
  }
}

TEST(a_record_freed_by_a_dying_process_is_found) {
  engine e;
  wr_idx all[CELLS];
  some l = {all, 5};
  engine_open(&e, 1 << 20);
  fill_chunk(&e.me, all);
  CHECK(engine_crash(&e, ENGINE_PEER, "rec.release", 3, give_some, &l));
  engine_sweep(&e, ENGINE_PEER);
  take_exactly(&e.me, all, 3);
  CHECK_EQ(wr_rec_chunk(take(&e.me, WR_REC_CELLS)), 2);
  engine_close(&e);
}
#endif

/* ---- out of private memory ----------------------------------------------------------------- */

TEST(refused_memory_loses_no_freed_record) {
  engine e;
  wr_idx all[CELLS];
  some l = {all, CELLS};
  engine_open(&e, 1 << 20);
  fill_chunk(&e.me, all);
  wr_vec32_free(&e.me.cells.free); /* so that noting a freed record needs memory */
  wr_mem_fail_at(1, 1);
  for (int i = 0; i < 10; i++) give(&e.me, all[i]);
  wr_mem_fail_at(0, 0);
  take_exactly(&e.me, all, 10);
  check_join(engine_peer(&e, ENGINE_PEER, give_some, &l));
  wr_vec32_free(&e.me.cells.free);
  for (long n = 1;; n++) {
    wr_idx i;
    wr_mem_fail_at(n, 0);
    int rc = wr_rec_alloc(&e.me, WR_REC_CELLS, &i);
    long failures = wr_mem_failures();
    wr_mem_fail_at(0, 0);
    CHECK(rc == WR_OK || (failures && rc == WR_NOMEM));
    if (rc == WR_OK) e.me.cells.free.v[e.me.cells.free.n++] = i;
    if (!failures) break;
  }
  take_exactly(&e.me, all, CELLS);
  engine_close(&e);
}
