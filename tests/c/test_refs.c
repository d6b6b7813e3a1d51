/* Who keeps a record alive, and what goes when nobody does any more. */
#include "engine.h"

#include "base/status.h"
#include "sched/actor.h"
#include "store/heap.h"
#include "store/records.h"

#define MIB ((uint64_t)1 << 20)

TEST(an_object_goes_with_its_creators_reference) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i = engine_put(&p.e.me, 10000, NULL, 0);
  uint32_t gen = wr_gen_of(&p.e.s, i);
  uint64_t block = wr_obj(&p.e.s, i)->v.b.block;
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR);
  engine_drop(&p.e.me, i);
  CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_FREE);
  CHECK_EQ(wr_gen_of(&p.e.s, i), gen + 1);
  CHECK(!wr_heap_owned(&p.e.s, block, i, gen));
  wr_refs_clear(&p.e.me, i, gen, WR_REF_CREATOR); /* again: harmless */
  wr_reap(&p.e.me, i, gen);
  CHECK_EQ(wr_gen_of(&p.e.s, i), gen + 1);
  CHECK_EQ(engine_put(&p.e.me, 8, NULL, 0), i);
  wr_reap(&p.e.me, i, gen); /* the generation of before */
  engine_read(&p.e.s, i);
  engine_pair_close(&p);
}

TEST(both_flags_and_every_count_keep_it) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i;
  uint32_t gen;
  CHECK_EQ(wr_objects_create(&p.e.me, WR_REF_CREATOR | WR_REF_TASK, &i, &gen), WR_OK);
  CHECK_EQ(wr_hold_take(&p.other, i, gen, NULL), WR_OK);
  wr_refs_clear(&p.other, i, gen, WR_REF_TASK);
  wr_refs_clear(&p.other, i, gen, WR_REF_TASK);
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR | 1);
  engine_drop(&p.e.me, i);
  CHECK_EQ(engine_refs(&p.e.s, i), 1);
  CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_PENDING);
  wr_hold_drop(&p.other, i);
  CHECK_EQ(engine_phase(&p.e.s, i), WR_OBJ_FREE); /* pending or not */
  engine_pair_close(&p);
}

TEST(a_process_counts_its_holds_by_itself) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i = engine_put(&p.e.me, 100, NULL, 0);
  uint32_t gen = 0;
  for (int k = 0; k < 5; k++) {
    CHECK_EQ(wr_hold_take(&p.other, i, k % 2 ? gen : 0, &gen), WR_OK);
    CHECK_EQ(gen, wr_gen_of(&p.e.s, i));
    CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR | 1);
  }
  engine_audit(&p.e.s); /* finds the hold in the table */
  for (int k = 0; k < 4; k++) wr_hold_drop(&p.other, i);
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR | 1);
  wr_hold_drop(&p.other, i);
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR);
  wr_hold_drop(&p.other, i); /* holds none: harmless */
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR);
  engine_pair_close(&p);
}

TEST(stale_ids_are_refused) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i = engine_put(&p.e.me, 100, NULL, 0);
  uint32_t gen = wr_gen_of(&p.e.s, i), out = 7;
  CHECK_EQ(wr_hold_take(&p.other, i, gen + 1, &out), WR_STALE);
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR);
  CHECK_EQ(wr_hold_take(&p.other, i, gen, NULL), WR_OK);
  CHECK_EQ(wr_hold_take(&p.other, i, gen + 1, &out), WR_STALE);
  wr_hold_drop(&p.other, i);
  engine_drop(&p.e.me, i);
  CHECK_EQ(wr_hold_take(&p.other, i, gen, &out), WR_STALE);
  CHECK_EQ(wr_hold_take(&p.other, i, 0, &out), WR_STALE);
  CHECK_EQ(engine_put(&p.e.me, 100, NULL, 0), i);
  CHECK_EQ(wr_hold_take(&p.other, i, gen, &out), WR_STALE);
  CHECK_EQ(out, 7);
  engine_audit(&p.e.s);
  CHECK_EQ(p.other.held.n, 0);
  engine_pair_close(&p);
}

TEST(a_process_may_hold_more_than_a_chunk_of_the_table) {
  enum { N = WR_HOLDS_PER_CHUNK * 2 + 100 };
  static wr_idx all[N];
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  for (int round = 0; round < 2; round++) {
    for (uint32_t i = 0; i < N; i++) {
      all[i] = engine_put(&p.e.me, 4, NULL, 0);
      CHECK_EQ(wr_hold_take(&p.other, all[i], 0, NULL), WR_OK);
      engine_drop(&p.e.me, all[i]);
    }
    CHECK_EQ(p.other.hold_chunks.n, 3);
    engine_audit(&p.e.s);
    for (uint32_t i = 0; i < N; i++) {
      engine_read(&p.e.s, all[i]);
      wr_hold_drop(&p.other, all[i]);
    }
    CHECK_EQ(engine_living(&p.e.s), 0);
  }
  engine_pair_close(&p);
}

/* ---- values that contain references -------------------------------------------------------- */

TEST(a_value_keeps_what_it_contains) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx in[3];
  for (uint32_t k = 0; k < 3; k++) in[k] = engine_put(&p.e.me, 50 << 4 * k, NULL, 0);
  wr_idx twice[] = {in[0], in[1], in[2], in[0]}, out = engine_put(&p.other, 70, twice, 4);
  CHECK_EQ(engine_refs(&p.e.s, in[0]), WR_REF_CREATOR | 2);
  for (uint32_t k = 0; k < 3; k++) engine_drop(&p.e.me, in[k]);
  engine_audit(&p.e.s);
  for (uint32_t k = 0; k < 3; k++) engine_read(&p.e.s, in[k]);
  engine_read(&p.e.s, out);
  engine_drop(&p.other, out);
  CHECK_EQ(engine_living(&p.e.s), 0);
  engine_pair_close(&p);
}

/* Each of the middle ones contains all of the lowest: freed once, with the last of them. */
TEST(what_is_shared_goes_with_the_last) {
  enum { N = 50 };
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx low[N], mid[N], top;
  for (int k = 0; k < N; k++) low[k] = engine_put(&p.e.me, 40, NULL, 0);
  for (int k = 0; k < N; k++) mid[k] = engine_put(&p.other, 40, low, N);
  for (int k = 0; k < N; k++) engine_drop(&p.e.me, low[k]);
  top = engine_put(&p.e.me, 40, mid, N);
  for (int k = 0; k < N - 1; k++) engine_drop(&p.other, mid[k]);
  CHECK_EQ(wr_hold_take(&p.e.me, mid[0], 0, NULL), WR_OK);
  engine_drop(&p.e.me, top);
  engine_audit(&p.e.s);
  CHECK_EQ(engine_living(&p.e.s), N + 2); /* mid[0] is held, the last one was not dropped */
  wr_hold_drop(&p.e.me, mid[0]);
  CHECK_EQ(engine_living(&p.e.s), N + 1);
  engine_drop(&p.other, mid[N - 1]);
  CHECK_EQ(engine_living(&p.e.s), 0);
  engine_pair_close(&p);
}

TEST(values_nest_without_limit) {
  enum { DEPTH = 100000 };
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx last = engine_put(&p.e.me, 4, NULL, 0);
  for (uint32_t k = 1; k < DEPTH; k++) {
    wr_idx next = engine_put(&p.e.me, 4, &last, 1);
    engine_drop(&p.e.me, last);
    last = next;
  }
  CHECK_EQ(engine_living(&p.e.s), DEPTH);
  engine_audit(&p.e.s);
  engine_drop(&p.other, last); /* by a process that made none of them */
  CHECK_EQ(engine_living(&p.e.s), 0);
  engine_pair_close(&p);
}

/* ---- other records ------------------------------------------------------------------------- */

static wr_idx make_task(wr_self *me, const wr_idx *args, uint32_t n, int in_block) {
  wr_idx i;
  CHECK_EQ(wr_rec_alloc(me, WR_REC_TASKS, &i), WR_OK);
  wr_objects_init(me, i, WR_REF_TASK);
  wr_task *t = wr_task_at(me->s, i);
  uint32_t gen = wr_gen_of(me->s, i);
  t->args = wr_off(me->s, t->inl);
  t->flags = in_block ? WR_TF_ARGS_BLOCK : 0;
  if (in_block) CHECK_EQ(wr_heap_alloc(me, 8 + 4 * n, i, gen, &t->args), WR_OK);
  wr_pins *pins = wr_at(me->s, t->args);
  wr_store32(&pins->npinned, 0);
  pins->n = n;
  memcpy(pins->idx, args, n * sizeof *args);
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_RUNNING, me->slot, 0, gen));
  CHECK_EQ(wr_pins_take(me, pins), WR_OK);
  return i;
}

TEST(a_task_keeps_its_arguments) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  for (int in_block = 0; in_block < 2; in_block++) {
    wr_idx args[20];
    for (int k = 0; k < 20; k++) args[k] = engine_put(&p.e.me, 3000, NULL, 0);
    wr_idx t = make_task(&p.e.me, args, 20, in_block);
    for (int k = 0; k < 20; k++) engine_drop(&p.e.me, args[k]);
    engine_audit(&p.e.s);
    CHECK_EQ(engine_living(&p.e.s), 20);
    wr_refs_clear(&p.other, t, wr_gen_of(&p.e.s, t), WR_REF_TASK);
    CHECK_EQ(WR_TASK_PHASE(wr_load(&wr_task_at(&p.e.s, t)->tstate)), WR_TASK_FREE);
    CHECK_EQ(engine_phase(&p.e.s, t), WR_OBJ_FREE);
    CHECK_EQ(engine_living(&p.e.s), 0);
  }
  engine_pair_close(&p);
}

TEST(pins_are_taken_up_where_they_ended) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx args[8];
  for (int k = 0; k < 8; k++) args[k] = engine_put(&p.e.me, 4, NULL, 0);
  wr_idx t = make_task(&p.e.me, args, 8, 0);
  wr_pins *pins = wr_at(&p.e.s, wr_task_at(&p.e.s, t)->args);
  CHECK_EQ(wr_load32(&pins->npinned), 8);
  CHECK_EQ(wr_pins_take(&p.e.me, pins), WR_OK); /* all taken: nothing happens */
  engine_audit(&p.e.s);
  wr_pins_drop(&p.e.me, pins);
  CHECK_EQ(wr_load32(&pins->npinned), 0);
  for (int k = 0; k < 8; k++) CHECK_EQ(engine_refs(&p.e.s, args[k]), WR_REF_CREATOR);
  wr_pins_drop(&p.e.me, pins);
  engine_audit(&p.e.s);
  engine_pair_close(&p);
}

TEST(waiting_nodes_go_with_their_object) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  wr_idx i = engine_put(&p.e.me, 4, NULL, 0), next = 0;
  for (int k = 0; k < 5; k++) {
    wr_idx n;
    wr_self *maker = k % 2 ? &p.e.me : &p.other;
    CHECK_EQ(wr_rec_alloc(maker, WR_REC_CELLS, &n), WR_OK);
    wr_node *node = wr_node_at(&p.e.s, n);
    node->next = next;
    wr_store(&node->state, WR_OBJ_STATE(WR_OBJ_NODE, 1));
    next = n;
  }
  wr_store(&wr_obj(&p.e.s, i)->deps, next);
  engine_drop(&p.e.me, i);
  for (uint32_t c = 1; c < wr_load32(&p.e.s.h->rec_high); c++)
    for (uint32_t k = 0; k < WR_CHUNK / WR_CELL; k++)
      CHECK_EQ(engine_phase(&p.e.s, wr_rec_first(c) + k), WR_OBJ_FREE);
  engine_pair_close(&p);
}

TEST(an_actor_without_handles_retires_or_is_free) {
  engine_pair p;
  engine_pair_open(&p, 64 * MIB);
  const struct {
    uint32_t phase, flags, want_phase, want_flags;
  } cases[] = {{WR_ACTOR_ALIVE, 0, WR_ACTOR_ALIVE, WR_AF_RETIRE},
               {WR_ACTOR_ALIVE, WR_AF_DETACHED, WR_ACTOR_ALIVE, WR_AF_DETACHED},
               {WR_ACTOR_DEAD, 0, WR_ACTOR_FREE, WR_AF_RETIRE}};
  for (uint32_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    wr_actor *a = &p.e.s.actors[k];
    wr_idx i = k | WR_ACTOR_BIT;
    wr_store(&a->state, WR_ACTOR_STATE(cases[k].phase, ENGINE_PEER, 5));
    wr_store32(&a->flags, cases[k].flags);
    wr_store(&a->refs, WR_REF_CREATOR);
    CHECK_EQ(wr_hold_take(&p.other, i, 4, NULL), WR_STALE);
    CHECK_EQ(wr_hold_take(&p.other, i, 5, NULL), WR_OK);
    wr_refs_clear(&p.e.me, i, 5, WR_REF_CREATOR);
    CHECK_EQ(wr_load32(&a->flags), cases[k].flags);
    wr_hold_drop(&p.other, i);
    CHECK_EQ(WR_ACTOR_PHASE(wr_load(&a->state)), cases[k].want_phase);
    CHECK_EQ(WR_ACTOR_GEN(wr_load(&a->state)), cases[k].want_phase == WR_ACTOR_FREE ? 6 : 5);
    CHECK_EQ(wr_load32(&a->flags), cases[k].want_flags);
  }
  CHECK_GE(wr_load32(&p.e.s.procs[ENGINE_PEER].events), 1); /* it was told */
  engine_pair_close(&p);
}

/* A record may be freed and used again while the process that dropped its count has not yet noted
 * so: a death then must still find that it took effect. */
TEST(an_operation_is_known_after_the_record_was_used_again) {
  for (int as_node = 0; as_node < 2; as_node++) {
    engine_pair p;
    engine_pair_open(&p, 64 * MIB);
    wr_idx i = engine_put(&p.e.me, 4, NULL, 0), j;
    CHECK_EQ(wr_hold_take(&p.other, i, 0, NULL), WR_OK);
    uint32_t pos = p.other.holds[0].pos;
    wr_tag_begin(wr_tagger_of(&p.other), WR_OP_UNHOLD, i, pos);
    wr_tag_add(wr_tagger_of(&p.other), wr_refs(&p.e.s, i), (uint32_t)-1); /* ... and dies */
    engine_drop(&p.e.me, i);
    CHECK_EQ(wr_rec_alloc(&p.e.me, WR_REC_CELLS, &j), WR_OK);
    CHECK_EQ(j, i);
    if (as_node) {
      wr_node *n = wr_node_at(&p.e.s, i);
      n->task = 1234;
      n->task_gen = 5678;
      wr_store(&n->state, WR_OBJ_STATE(WR_OBJ_NODE, 9));
    } else {
      wr_objects_init(&p.e.me, i, WR_REF_CREATOR);
    }
    CHECK(wr_tag_applied(p.other.p, ENGINE_PEER, wr_refs(&p.e.s, i)));
    engine_sweep(&p.e, ENGINE_PEER);
    if (!as_node) CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR);
    engine_pair_close(&p);
  }
}

TEST(an_operation_is_known_after_the_actor_record_was_used_again) {
  engine_pair p;
  uint32_t number, again, gen;
  const wr_actor_init spec = {.cls = 1};
  engine_pair_open(&p, 64 * MIB);
  CHECK_EQ(wr_actors_create(&p.e.me, &spec, &number, &gen), WR_OK);
  wr_idx i = number | WR_ACTOR_BIT;
  CHECK_EQ(wr_hold_take(&p.other, i, gen, NULL), WR_OK);
  wr_tag_begin(wr_tagger_of(&p.other), WR_OP_UNHOLD, i, p.other.holds[0].pos);
  wr_tag_add(wr_tagger_of(&p.other), wr_refs(&p.e.s, i), (uint32_t)-1);
  wr_store(&p.e.s.actors[number].state, WR_ACTOR_STATE(WR_ACTOR_DEAD, 0, gen));
  wr_refs_clear(&p.e.me, i, gen, WR_REF_CREATOR);
  CHECK_EQ(wr_actors_create(&p.e.me, &spec, &again, &gen), WR_OK);
  CHECK_EQ(again, number);
  engine_sweep(&p.e, ENGINE_PEER);
  CHECK_EQ(engine_refs(&p.e.s, i), WR_REF_CREATOR);
  engine_pair_close(&p);
}

/* ---- many at once -------------------------------------------------------------------------- */

enum { HOLDERS = 3, SHOWN = 32, ROUNDS = 20000 };
typedef struct {
  _Atomic uint64_t shown[SHOWN]; /* idx | gen << 32 */
  _Atomic uint32_t over;
  _Atomic uint32_t held; /* by all holders so far */
} window;

/* Takes what is shown, reads it and lets it go; keeps some for a while. */
static void hold_and_read(wr_self *me, void *arg) {
  window *w = arg;
  wr_idx kept[8] = {0};
  for (uint32_t turn = 0; !atomic_load(&w->over) || turn < 1000; turn++) {
    uint64_t v = atomic_load(&w->shown[turn * me->slot % SHOWN]);
    int rc = wr_hold_take(me, (wr_idx)v, (uint32_t)(v >> 32), NULL);
    CHECK(rc == WR_OK || rc == WR_STALE);
    if (rc != WR_OK) continue;
    atomic_fetch_add(&w->held, 1);
    engine_read(me->s, (wr_idx)v);
    if (kept[turn % 8]) wr_hold_drop(me, kept[turn % 8]);
    kept[turn % 8] = (wr_idx)v;
  }
  for (int k = 0; k < 8; k++)
    if (kept[k]) wr_hold_drop(me, kept[k]);
}

TEST(holds_race_with_the_last_reference) {
  engine e;
  int pids[HOLDERS];
  uint32_t seed = 1;
  engine_open(&e, 64 * MIB);
  window *w = engine_shared(sizeof *w);
  wr_idx mine[SHOWN], inner = engine_put(&e.me, 100, NULL, 0);
  for (uint32_t k = 0; k < SHOWN; k++) {
    mine[k] = engine_put(&e.me, 10, NULL, 0);
    w->shown[k] = (uint64_t)wr_gen_of(&e.s, mine[k]) << 32 | mine[k];
  }
  for (uint32_t i = 0; i < HOLDERS; i++)
    pids[i] = engine_peer(&e, ENGINE_PEER + i, hold_and_read, w);
  for (uint32_t round = 0; round < ROUNDS || w->held < 1000; round++) {
    seed = seed * 1664525 + 1013904223;
    uint32_t k = (seed >> 8) % SHOWN;
    engine_drop(&e.me, mine[k]); /* while it is shown still */
    mine[k] = engine_put(&e.me, 1 + (seed >> 16) % 500, &inner, seed >> 31);
    atomic_store(&w->shown[k], (uint64_t)wr_gen_of(&e.s, mine[k]) << 32 | mine[k]);
  }
  atomic_store(&w->over, 1);
  for (int i = 0; i < HOLDERS; i++) check_join(pids[i]);
  engine_audit(&e.s);
  for (uint32_t k = 0; k < SHOWN; k++) engine_drop(&e.me, mine[k]);
  engine_drop(&e.me, inner);
  CHECK_EQ(engine_living(&e.s), 0);
  engine_audit(&e.s);
  engine_close(&e);
}
