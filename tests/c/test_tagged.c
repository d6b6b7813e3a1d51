/* Counters whose every change can be told to have happened or not. */
#include "engine.h"

#include "base/status.h"

enum { PEERS = 3, EACH = 30000 };

/* Words under test: the references of actor records, which nothing else uses here. */
static wr_a64 *word_of(engine *e, uint32_t i) { return &e->s.actors[i].refs; }

static int applied(engine *e, uint32_t slot, const wr_a64 *word) {
  return wr_tag_applied(&e->s.procs[slot], slot, word);
}

static void add(wr_self *me, wr_a64 *word, uint32_t delta) {
  wr_tagger t = wr_tagger_of(me);
  wr_tag_begin(t, WR_OP_PIN, 0, 0);
  wr_tag_add(t, word, delta);
  wr_tag_done(t);
}

TEST(words_carry_value_slot_and_sequence) {
  engine e;
  engine_open(&e, 1 << 20);
  wr_a64 *w = word_of(&e, 0);
  wr_tagger t = wr_tagger_of(&e.me);
  wr_tag_begin(t, WR_OP_HOLD, 17, 99);
  CHECK_EQ(WR_OP_KIND(wr_load(&e.me.p->op)), WR_OP_HOLD);
  CHECK_EQ(WR_OP_IDX(wr_load(&e.me.p->op)), 17);
  CHECK_EQ(wr_load(&e.me.p->op_arg), 99);
  uint64_t now = wr_tag_add(t, w, 5);
  CHECK_EQ(now, wr_load(w));
  CHECK(wr_tag_value(now) == 5 && wr_tag_slot(now) == ENGINE_ME && wr_tag_seq(now) == e.me.seq);
  wr_tag_done(t);
  CHECK_EQ(WR_OP_KIND(wr_load(&e.me.p->op)), WR_OP_NONE);
  add(&e.me, w, (uint32_t)-7);
  CHECK_EQ(wr_tag_value(wr_load(w)), (uint32_t)-2);
  engine_close(&e);
}

TEST(a_swap_fails_when_the_word_has_changed) {
  engine e;
  engine_open(&e, 1 << 20);
  wr_a64 *w = word_of(&e, 0);
  add(&e.me, w, 5);
  uint64_t old = wr_load(w), stale = old;
  wr_tagger t = wr_tagger_of(&e.me);
  wr_tag_begin(t, WR_OP_HOLD, 0, 0);
  CHECK(wr_tag_swap(t, w, &old, 6));
  CHECK_EQ(wr_tag_value(wr_load(w)), 6);
  wr_tag_begin(t, WR_OP_HOLD, 0, 0);
  CHECK(!wr_tag_swap(t, w, &stale, 7));
  CHECK_EQ(stale, wr_load(w));
  CHECK(!applied(&e, ENGINE_ME, w));
  CHECK(wr_tag_swap(t, w, &stale, 7));
  CHECK(applied(&e, ENGINE_ME, w));
  engine_close(&e);
}

TEST(clearing_flags_leaves_the_tag) {
  engine e;
  engine_open(&e, 1 << 20);
  wr_a64 *w = word_of(&e, 0);
  wr_tagger t = wr_tagger_of(&e.me);
  wr_tag_begin(t, WR_OP_PIN, 0, 0);
  wr_tag_add(t, w, WR_REF_CREATOR | WR_REF_TASK | 3);
  CHECK_EQ(wr_tag_clear(w, WR_REF_CREATOR), WR_REF_TASK | 3);
  CHECK_EQ(wr_tag_clear(w, WR_REF_CREATOR), WR_REF_TASK | 3);
  CHECK(applied(&e, ENGINE_ME, w));
  CHECK_EQ(wr_tag_clear(w, WR_REF_TASK | 3), 0);
  CHECK(applied(&e, ENGINE_ME, w));
  engine_close(&e);
}

/* ---- the truth about one operation --------------------------------------------------------- */

static void overwritten_or_not(engine *e, wr_self *other, int overwrite, int swaps) {
  wr_a64 *w = word_of(e, 0);
  wr_tagger t = wr_tagger_of(&e->me), o = wr_tagger_of(other);
  wr_tag_begin(t, WR_OP_PIN, 0, 0);
  CHECK(!applied(e, ENGINE_ME, w));
  if (overwrite) add(other, w, 1); /* before the change: still not applied */
  CHECK(!applied(e, ENGINE_ME, w));
  wr_tag_add(t, w, 1);
  CHECK(applied(e, ENGINE_ME, w));
  if (overwrite && swaps) {
    uint64_t old = wr_load(w);
    wr_tag_begin(o, WR_OP_PIN, 0, 0);
    CHECK(wr_tag_swap(o, w, &old, 9));
    wr_tag_done(o);
  } else if (overwrite) {
    add(other, w, 1);
  }
  CHECK(applied(e, ENGINE_ME, w));
  wr_tag_done(t);
}

TEST(it_is_known_whether_an_operation_took_effect) {
  engine e;
  wr_self other;
  engine_open(&e, 1 << 20);
  engine_join(&e, &other, ENGINE_PEER);
  for (int round = 0; round < 100; round++)
    overwritten_or_not(&e, &other, round & 1, round & 2);
  wr_self_close(&other);
  engine_close(&e);
}

/* Sequences have 20 bits.  Tags of every age stand in words that the other process overwrites at
 * any time later; none of them may be taken for the operation under way. */
TEST(sequences_wrap_and_old_tags_do_not_confuse) {
  enum { WORDS = 64, EVERY = 1 << 14, ROUNDS = 3 << 20 };
  engine e;
  wr_self other;
  uint32_t seed = 1;
  engine_open(&e, 1 << 20);
  engine_join(&e, &other, ENGINE_PEER);
  wr_a64 *w = word_of(&e, WORDS);
  wr_tagger t = wr_tagger_of(&e.me);
  for (uint32_t i = 0; i < ROUNDS; i++) {
    seed = seed * 1664525 + 1013904223;
    if (i % EVERY == 0) add(&e.me, word_of(&e, i / EVERY % WORDS), 1);
    if (seed >> 8 < 100000000 / EVERY) add(&other, word_of(&e, (seed >> 2) % WORDS), 1);
    wr_tag_begin(t, WR_OP_PIN, 0, 0);
    CHECK_MSG(!applied(&e, ENGINE_ME, w), "operation %u", i);
    wr_tag_add(t, w, 1);
    if (seed >> 30 == 0) add(&other, w, 1);
    CHECK_MSG(applied(&e, ENGINE_ME, w), "operation %u", i);
    wr_tag_done(t);
  }
  wr_self_close(&other);
  engine_close(&e);
}

/* A slot's next holder goes on with the sequence of the last one. */
TEST(sequences_go_on_after_a_death) {
  engine e;
  wr_self peer;
  engine_open(&e, 1 << 20);
  wr_a64 *w = word_of(&e, 0);
  engine_join(&e, &peer, ENGINE_PEER);
  for (int i = 0; i < 5; i++) add(&peer, w, 1);
  add(&e.me, w, 1);
  wr_self_close(&peer);
  engine_sweep(&e, ENGINE_PEER);
  engine_join(&e, &peer, ENGINE_PEER);
  wr_tag_begin(wr_tagger_of(&peer), WR_OP_PIN, 0, 0);
  CHECK_EQ(peer.seq, 6);
  CHECK(!applied(&e, ENGINE_PEER, w));
  wr_self_close(&peer);
  engine_close(&e);
}

/* ---- several processes --------------------------------------------------------------------- */

static void add_many(wr_self *me, void *arg) {
  for (uint32_t i = 0; i < EACH; i++) add(me, arg, me->slot);
}

TEST(concurrent_additions_sum_exactly) {
  engine e;
  int pids[PEERS];
  uint32_t sum = 0;
  engine_open(&e, 1 << 20);
  for (uint32_t i = 0; i < PEERS; i++) {
    pids[i] = engine_peer(&e, ENGINE_PEER + i, add_many, (void *)word_of(&e, 0));
    sum += (ENGINE_PEER + i) * EACH;
  }
  for (int i = 0; i < PEERS; i++) check_join(pids[i]);
  CHECK_EQ(wr_tag_value(wr_load(word_of(&e, 0))), sum);
  engine_close(&e);
}

static void add_for_ever(wr_self *me, void *arg) {
  for (;;) add(me, arg, 1);
}

static int word_is_past(void *arg) {
  void **a = arg;
  return wr_tag_value(wr_load(a[0])) >= *(uint32_t *)a[1];
}

/* How many additions took effect, of those since sequence `start`. */
static uint32_t additions(engine *e, uint32_t slot, const wr_a64 *w, uint32_t start) {
  wr_proc *p = &e->s.procs[slot];
  uint64_t op = wr_load(&p->op);
  uint32_t begun = (WR_OP_SEQ(op) - start) & WR_TAG_SEQ_MASK;
  int done = WR_OP_KIND(op) == WR_OP_NONE || applied(e, slot, w);
  wr_store(&p->op, WR_OP(WR_OP_NONE, WR_OP_SEQ(op), 0)); /* settled, as by a sweep */
  return done ? begun : begun - 1;
}

/* All peers are killed anywhere; the intents and tags left tell the sum. */
TEST(the_sum_is_known_after_kills_anywhere) {
  engine e;
  engine_open(&e, 1 << 20);
  for (uint32_t round = 0; round < 30; round++) {
    wr_a64 *w = word_of(&e, round);
    int pids[PEERS];
    uint32_t wanted = 1000 + round * 100, sum = 0, start[PEERS];
    void *wait[] = {(void *)w, &wanted};
    for (uint32_t i = 0; i < PEERS; i++) {
      start[i] = WR_OP_SEQ(wr_load(&e.s.procs[ENGINE_PEER + i].op));
      pids[i] = engine_peer(&e, ENGINE_PEER + i, add_for_ever, (void *)w);
    }
    check_until(word_is_past, wait);
    for (int i = 0; i < PEERS; i++) engine_kill(pids[i]);
    for (uint32_t i = 0; i < PEERS; i++) sum += additions(&e, ENGINE_PEER + i, w, start[i]);
    CHECK_EQ((wr_tag_value(wr_load(w)) - sum) & WR_TAG_SEQ_MASK, 0); /* sequences tell no more */
  }
  engine_close(&e);
}

#ifdef WR_HOSTILE
static void add_three(wr_self *me, void *arg) {
  for (int i = 0; i < 3; i++) add(me, arg, 1);
}

static void add_one_swapping(wr_self *me, void *arg) {
  wr_tagger t = wr_tagger_of(me);
  uint64_t old = wr_load(arg);
  wr_tag_begin(t, WR_OP_HOLD, 0, 0);
  while (!wr_tag_swap(t, arg, &old, wr_tag_value(old) + 1)) continue;
  wr_tag_done(t);
}

TEST(a_death_at_each_step_is_told_apart) {
  const struct {
    const char *point;
    engine_role *role;
    int n, took_effect;
    uint32_t value;
  } deaths[] = {
      {"tag.begin", add_three, 2, 0, 1},          {"tag.applied", add_three, 2, 1, 2},
      {"tag.done", add_three, 3, 1, 3},           {"tag.begin", add_one_swapping, 1, 0, 0},
      {"tag.applied", add_one_swapping, 1, 1, 1}, {"tag.done", add_one_swapping, 1, 1, 1},
  };
  for (uint32_t k = 0; k < sizeof deaths / sizeof *deaths; k++)
    for (int before = 0; before < 2; before++) {
      engine e;
      engine_open(&e, 1 << 20);
      wr_a64 *w = word_of(&e, 0);
      if (before) add(&e.me, w, 100);
      CHECK(engine_crash(&e, ENGINE_PEER, deaths[k].point, deaths[k].n, deaths[k].role, (void *)w));
      CHECK_EQ(wr_tag_value(wr_load(w)), deaths[k].value + (before ? 100 : 0));
      CHECK_EQ(applied(&e, ENGINE_PEER, w), deaths[k].took_effect);
      add(&e.me, w, 1);
      CHECK_EQ(applied(&e, ENGINE_PEER, w), deaths[k].took_effect);
      add(&e.me, w, 1);
      CHECK_EQ(applied(&e, ENGINE_PEER, w), deaths[k].took_effect);
      engine_close(&e);
    }
}
#endif
