/* Processes that die inside the operations of store/, and what the sweep makes of it: exact counts,
 * whole values, and no memory without an owner. */
#include "engine.h"

#include "base/status.h"
#include "store/heap.h"
#include "store/records.h"

#define MIB ((uint64_t)1 << 20)
enum { KEPT = 3, TREE = 6 };

/* What lies in shared memory for a peer to work with. */
typedef struct {
  wr_idx kept[KEPT]; /* the test keeps these */
  wr_idx top;        /* the test's reference on this tree is the peer's to drop */
  uint32_t top_gen;
  _Atomic uint32_t turns; /* done by a peer that goes on until it is killed */
} scene;

static const uint64_t sizes[KEPT] = {20, 3000, 300000};

static void plant_tree(wr_self *me, scene *sc) {
  wr_idx leaf[] = {engine_put(me, 8, NULL, 0), engine_put(me, 500, NULL, 0),
                   engine_put(me, 200000, NULL, 0)};
  wr_idx branch[] = {engine_put(me, 9, leaf, 3), engine_put(me, 250000, leaf, 2), sc->kept[1]};
  sc->top = engine_put(me, 7000, branch, 3);
  sc->top_gen = wr_gen_of(me->s, sc->top);
  for (int k = 0; k < 3; k++) engine_drop(me, leaf[k]);
  for (int k = 0; k < 2; k++) engine_drop(me, branch[k]);
}

static scene *scene_open(engine *e) {
  engine_open(e, 16 * MIB);
  scene *sc = engine_shared(sizeof *sc);
  for (int k = 0; k < KEPT; k++) sc->kept[k] = engine_put(&e->me, sizes[k], NULL, 0);
  plant_tree(&e->me, sc);
  CHECK_EQ(engine_living(&e->s), KEPT + TREE);
  return sc;
}

/* After a sweep: what the test keeps is whole, the tree is too or is gone, and nothing else is. */
static void check_scene(engine *e, scene *sc) {
  int stands = wr_gen_of(&e->s, sc->top) == sc->top_gen;
  engine_audit(&e->s);
  for (int k = 0; k < KEPT; k++) {
    engine_read(&e->s, sc->kept[k]);
    CHECK_EQ(engine_refs(&e->s, sc->kept[k]), WR_REF_CREATOR | (uint32_t)(stands && k == 1));
  }
  CHECK_EQ(engine_living(&e->s), KEPT + (stands ? TREE : 0));
  if (stands) engine_read(&e->s, sc->top);
}

static void scene_close(engine *e, scene *sc) {
  check_scene(e, sc);
  if (wr_gen_of(&e->s, sc->top) == sc->top_gen) engine_drop(&e->me, sc->top);
  for (int k = 0; k < KEPT; k++) engine_drop(&e->me, sc->kept[k]);
  CHECK_EQ(engine_living(&e->s), 0);
  engine_audit(&e->s);
  wr_idx large = engine_put(&e->me, 4 * MIB, NULL, 0); /* the room is there, and in one piece */
  engine_drop(&e->me, large);
  engine_close(e);
}

/* ---- what peers do ------------------------------------------------------------------------- */

static void hold_some(wr_self *me, scene *sc) {
  for (int k = 0; k < KEPT; k++) CHECK_EQ(wr_hold_take(me, sc->kept[k], 0, NULL), WR_OK);
  CHECK_EQ(wr_hold_take(me, sc->kept[0], 99, NULL), WR_STALE);
  wr_hold_drop(me, sc->kept[1]);
}

/* Values of all forms that contain the test's objects and each other; all but one are dropped. */
static wr_idx put_some(wr_self *me, scene *sc) {
  wr_idx a = engine_put(me, 10, NULL, 0), b = engine_put(me, 100, NULL, 0);
  wr_idx in[] = {a, sc->kept[0], b, sc->kept[2], a};
  wr_idx c = engine_put(me, 40000, in, 5), d = engine_put(me, 400000, in, 4);
  engine_drop(me, a);
  engine_drop(me, d);
  wr_idx x = engine_put(me, 330000, &c, 1);
  engine_drop(me, c);
  engine_drop(me, b);
  engine_drop(me, x);
  return engine_put(me, 270000, &sc->kept[0], 1);
}

static void discard_some(wr_self *me, scene *sc) {
  wr_idx i;
  uint32_t gen;
  uint8_t *dst;
  CHECK_EQ(wr_objects_create(me, WR_REF_CREATOR, &i, &gen), WR_OK);
  for (int k = 0; k < 3; k++) {
    CHECK_EQ(wr_objects_reserve(me, i, sizes[k], sc->kept, KEPT, &dst), WR_OK);
    wr_objects_discard(me, i);
  }
}

static void cut_tree(wr_self *me, scene *sc) {
  CHECK_EQ(wr_hold_take(me, sc->top, sc->top_gen, NULL), WR_OK);
  wr_refs_clear(me, sc->top, sc->top_gen, WR_REF_CREATOR); /* ours now */
  wr_hold_drop(me, sc->top);
}

static void do_all(wr_self *me, void *arg) {
  hold_some(me, arg);
  (void)put_some(me, arg); /* left to the sweep, as the holds are */
  discard_some(me, arg);
  cut_tree(me, arg);
}

TEST(an_end_without_a_word_leaves_all_to_the_sweep) {
  engine e;
  scene *sc = scene_open(&e);
  check_join(engine_peer(&e, ENGINE_PEER, do_all, sc));
  CHECK_NE(wr_gen_of(&e.s, sc->top), sc->top_gen);
  CHECK_GT(engine_living(&e.s), KEPT);
  engine_audit(&e.s);
  engine_sweep(&e, ENGINE_PEER);
  scene_close(&e, sc);
}

#ifdef WR_HOSTILE
TEST_LIMIT(a_death_at_every_step_is_mended, 120) {
  const char *const points[] = {"tag.begin",     "tag.applied", "tag.done",   "heap.claim",
                                "heap.unclaim",  "heap.block",  "heap.freed", "heap.span.raw",
                                "rec.claim",     "rec.release", "seal.before", "seal.after",
                                "reap.dying",    "reap.free"};
  for (size_t k = 0; k < sizeof points / sizeof *points; k++) {
    int n = 1;
    for (int died = 1; died; n++) {
      engine e;
      scene *sc = scene_open(&e);
      died = engine_crash(&e, ENGINE_PEER, points[k], n, do_all, sc);
      engine_sweep(&e, ENGINE_PEER);
      scene_close(&e, sc);
    }
    CHECK_MSG(n > 2, "nobody passed %s", points[k]);
  }
}

/* The daemon takes up what a dead process was freeing; a second death must not hurt either. */
TEST(two_deaths_in_the_same_tree) {
  for (int first = 1; first < 6; first++)
    for (int second = 1; second < 4; second++) {
      engine e;
      scene *sc = scene_open(&e);
      wr_idx bag = engine_put(&e.me, 5, &sc->top, 1);
      uint32_t gen = wr_gen_of(&e.s, bag);
      engine_drop(&e.me, sc->top);
      scene inner = *sc;
      sc->top = bag;
      sc->top_gen = gen;
      CHECK(engine_crash(&e, ENGINE_PEER, "reap.dying", first, do_all, sc));
      CHECK(engine_crash(&e, ENGINE_PEER + 1, "tag.applied", second, do_all, &inner));
      engine_sweep(&e, ENGINE_PEER + 1);
      engine_sweep(&e, ENGINE_PEER);
      engine_audit(&e.s);
      for (int i = 0; i < KEPT; i++) engine_read(&e.s, sc->kept[i]);
      engine_close(&e);
    }
}
#endif

static void do_all_for_ever(wr_self *me, void *arg) {
  scene *sc = arg;
  for (;;) {
    hold_some(me, sc);
    engine_drop(me, put_some(me, sc));
    discard_some(me, sc);
    wr_hold_drop(me, sc->kept[0]);
    wr_hold_drop(me, sc->kept[2]);
    atomic_fetch_add(&sc->turns, 1);
  }
}

static int turned_enough(void *arg) {
  void **a = arg;
  return atomic_load((_Atomic uint32_t *)a[0]) >= *(uint32_t *)a[1];
}

/* Two peers at a time, killed anywhere; the segment is the same for all. */
TEST(deaths_anywhere_are_mended) {
  enum { ROUNDS = 60 };
  engine e;
  scene *sc = scene_open(&e);
  for (uint32_t round = 1; round <= ROUNDS; round++) {
    uint32_t wanted = atomic_load(&sc->turns) + 1 + round % 9;
    void *wait[] = {(void *)&sc->turns, &wanted};
    int a = engine_peer(&e, ENGINE_PEER, do_all_for_ever, sc);
    int b = engine_peer(&e, ENGINE_PEER + 1, do_all_for_ever, sc);
    check_until(turned_enough, wait);
    engine_kill(a);
    engine_kill(b);
    engine_sweep(&e, ENGINE_PEER);
    engine_sweep(&e, ENGINE_PEER + 1);
    check_scene(&e, sc);
  }
  CHECK_LE(wr_load32(&e.s.h->rec_high), 16); /* orphans are used again */
  scene_close(&e, sc);
}

/* ---- what stays ---------------------------------------------------------------------------- */

static void give_away(wr_self *me, void *arg) {
  wr_idx *gift = arg, in = engine_put(me, 60000, NULL, 0);
  gift[0] = engine_put(me, 300000, &in, 1);
  gift[1] = in;
  engine_drop(me, in);
  (void)engine_put(me, 300000, gift, 1); /* nobody else's */
}

TEST(what_a_survivor_holds_outlives_its_creator) {
  engine e;
  engine_open(&e, 32 * MIB);
  wr_idx *gift = engine_shared(2 * sizeof *gift);
  check_join(engine_peer(&e, ENGINE_PEER, give_away, gift));
  CHECK_EQ(wr_hold_take(&e.me, gift[0], 0, NULL), WR_OK);
  engine_sweep(&e, ENGINE_PEER);
  engine_audit(&e.s);
  CHECK_EQ(engine_living(&e.s), 2);
  engine_read(&e.s, gift[0]);
  engine_read(&e.s, gift[1]);
  for (int k = 0; k < 1500; k++) engine_drop(&e.me, engine_put(&e.me, 60000, NULL, 0));
  engine_read(&e.s, gift[1]);
  wr_hold_drop(&e.me, gift[0]);
  CHECK_EQ(engine_living(&e.s), 0);
  engine_audit(&e.s);
  engine_close(&e);
}

TEST(exported_functions_outlive_their_creator) {
  engine e;
  wr_self dead;
  wr_idx i;
  uint32_t gen;
  uint8_t *dst;
  engine_open(&e, 4 * MIB);
  engine_join(&e, &dead, ENGINE_PEER);
  CHECK_EQ(wr_objects_create(&dead, WR_REF_CREATOR, &i, &gen), WR_OK);
  CHECK_EQ(wr_objects_reserve(&dead, i, 500, NULL, 0, &dst), WR_OK);
  CHECK_EQ(wr_objects_seal(&dead, i, 0, WR_VAL_FUNC), WR_OK);
  wr_self_close(&dead);
  engine_sweep(&e, ENGINE_PEER);
  CHECK_EQ(engine_phase(&e.s, i), WR_OBJ_READY);
  CHECK_EQ(engine_refs(&e.s, i), WR_REF_CREATOR);
  engine_audit(&e.s);
  engine_close(&e);
}

/* Sweeping twice, or a slot that did nothing, changes nothing. */
TEST(sweeps_are_idempotent) {
  engine e;
  scene *sc = scene_open(&e);
  int pid = engine_peer(&e, ENGINE_PEER, do_all_for_ever, sc);
  uint32_t wanted = 3;
  void *wait[] = {(void *)&sc->turns, &wanted};
  check_until(turned_enough, wait);
  engine_kill(pid);
  for (int k = 0; k < 3; k++) {
    engine_sweep(&e, ENGINE_PEER);
    engine_sweep(&e, ENGINE_PEER + 5);
    check_scene(&e, sc);
  }
  scene_close(&e, sc);
}
