#include "sched/group.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "sched/deps.h"
#include "sched/queue.h"
#include "sched/task.h"

#define OWNER(idx, gen) (((uint64_t)(idx) + 1) | (uint64_t)(gen) << 32)

#define ROUNDS 64u /* for the daemon: a group whose sums contradict each other is left alone */

/* The intent of a reservation: which need of which group. */
#define SUM_ARG(idx, i) ((uint64_t)(i) | (uint64_t)(idx) << 8)
#define SUM_ARG_NEED(arg) ((uint32_t)(arg) & 31)
#define SUM_ARG_GROUP(arg) ((uint32_t)((arg) >> 8))

/* One swap of phase and slot; flags stay.  The new state, or 0 when the group is in another phase,
 * or in other hands. */
static uint64_t move(wr_self *me, wr_group *g, uint32_t from, uint32_t to) {
  uint64_t st = wr_load(&g->state), now;
  int held = to == WR_GROUP_TAKING || to == WR_GROUP_REMOVING;
  do {
    uint32_t slot = WR_GROUP_SLOT(st);
    if (WR_GROUP_PHASE(st) != from || (slot && slot != me->slot)) return 0;
    now = WR_GROUP_STATE(to, held ? me->slot : 0, WR_GROUP_FLAGS(st), WR_GROUP_GEN(st));
  } while (!wr_cas(&g->state, &st, now));
  return now;
}

static void raise_mark(wr_a32 *mark, uint32_t to) {
  uint32_t high = wr_load32(mark);
  while (high < to && !wr_cas32(mark, &high, to)) {
  }
}

/* ---- the amounts ----------------------------------------------------------------------------- */

static int reserve(wr_self *me, wr_group *g, uint32_t i) {
  const wr_need *need = &g->sum[i];
  wr_a64 *avail = &wr_resource_at(me->s, need->res)->avail;
  wr_tagger t = wr_tagger_of(me);
  wr_tag_begin(t, WR_OP_RESERVE, need->res, SUM_ARG(g - me->s->groups, i));
  uint64_t old = wr_load(avail);
  int ok = 1;
  do ok = (int32_t)wr_tag_value(old) >= (int32_t)need->amount;
  while (ok && !wr_tag_swap(t, avail, &old, wr_tag_value(old) - need->amount));
  if (ok) wr_store32(&g->held, wr_load32(&g->held) | 1u << i);
  wr_tag_done(t);
  return ok;
}

static uint32_t nsum(const wr_group *g) {
  uint32_t n = (uint32_t)wr_guard_seen(g->nsum);
  return n < WR_SHAPE_RESOURCES ? n : WR_SHAPE_RESOURCES;
}

static int fits(const wr_seg *s, const wr_group *g) {
  for (uint32_t i = 0; i < nsum(g); i++) {
    uint64_t w = wr_load(&wr_resource_at(s, g->sum[i].res % WR_MAX_RESOURCES)->avail);
    if ((int32_t)wr_tag_value(w) < (int32_t)g->sum[i].amount) return 0;
  }
  return 1;
}

static int take_all(wr_self *me, wr_group *g) {
  if (!fits(me->s, g)) return 0;
  for (uint32_t i = 0; i < nsum(g); i++)
    if (!reserve(me, g, i)) return 0;
  return 1;
}

/* 1: there was something to give back. */
static int give_all(wr_self *me, wr_group *g) {
  wr_tagger t = wr_tagger_of(me);
  uint32_t held = wr_load32(&g->held);
  for (uint32_t i = 0; i < nsum(g); i++) {
    if (!(held & 1u << i)) continue;
    wr_tag_begin(t, WR_OP_RETURN, g->sum[i].res, SUM_ARG(g - me->s->groups, i));
    wr_tag_add(t, &wr_resource_at(me->s, g->sum[i].res)->avail, g->sum[i].amount);
    wr_store32(&g->held, wr_load32(&g->held) & ~(1u << i));
    wr_tag_done(t);
  }
  return held != 0;
}

/* ---- who waits for it ------------------------------------------------------------------------ */

/* The mark is there before the value is touched: it tells a sweep that the value is not whole. */
static void seal(wr_self *me, wr_idx i, int removed) {
  if (removed) {
    wr_obj(me->s, i)->flags |= WR_VAL_REMOVED;
    atomic_thread_fence(memory_order_release);
    wr_tasks_put_error(me, i, WR_GROUP_GONE, "the placement group has been removed");
    (void)wr_objects_seal(me, i, 1, WR_VAL_SYSERR);
  } else {
    (void)wr_objects_seal(me, i, 0, 0);
  }
  wr_deps_release(me, i);
}

/* The object is the business of the one who takes it off the group; the note lets a sweep do it. */
static void take_off(wr_self *me, wr_group *g, uint64_t ready, int removed) {
  uint64_t there = ready;
  wr_store(&me->p->letting, ready);
  WR_FAILPOINT("group.answer");
  if (wr_cas(&g->ready, &there, 0)) {
    WR_FAILPOINT("group.answering");
    seal(me, (wr_idx)ready, removed);
    wr_refs_clear(me, (wr_idx)ready, (uint32_t)(ready >> 32), WR_REF_TASK);
  }
  wr_store(&me->p->letting, 0);
}

static void answer(wr_self *me, wr_group *g, int removed) {
  uint64_t ready = wr_load(&g->ready);
  if (ready) take_off(me, g, ready, removed);
}

static void announce(wr_self *me, wr_group *g, uint64_t state) {
  answer(me, g, WR_GROUP_PHASE(state) != WR_GROUP_CREATED);
  if (WR_GROUP_FLAGS(state) & WR_GF_WATCHED) wr_wake_waiting(me->s);
}

/* ---- bundles --------------------------------------------------------------------------------- */

static void free_bundles(wr_seg *s, uint32_t from, uint32_t end, uint64_t owner) {
  for (uint32_t i = from; i < end && i < WR_MAX_BUNDLES; i++) {
    uint64_t mine = owner;
    (void)wr_cas(&wr_bundle_at(s, i)->owner, &mine, 0);
  }
}

/* Takes n bundles that lie one after the other; the number that it got from `at` on. */
static uint32_t claim_run(wr_seg *s, uint32_t at, uint32_t n, uint64_t owner) {
  uint32_t k = 0;
  raise_mark(&s->h->nbundles, at + n);
  for (; k < n; k++) {
    uint64_t none = 0;
    if (!wr_cas(&wr_bundle_at(s, at + k)->owner, &none, owner)) break;
  }
  return k;
}

static int claim_bundles(wr_seg *s, uint32_t n, uint64_t owner, uint32_t *first) {
  uint32_t at = wr_load32(&s->h->bundle_next) % WR_MAX_BUNDLES;
  for (uint32_t seen = 0; seen < WR_MAX_BUNDLES + n;) {
    uint32_t got = 0;
    if (at + n > WR_MAX_BUNDLES) {
      seen += WR_MAX_BUNDLES - at;
      at = 0;
      continue;
    }
    got = claim_run(s, at, n, owner);
    if (got == n) {
      wr_store32(&s->h->bundle_next, at + n);
      *first = at;
      return WR_OK;
    }
    free_bundles(s, at, at + got, owner);
    at += got + 1;
    seen += got + 1;
  }
  return WR_LIMIT;
}

static void fill_bundle(wr_self *me, wr_bundle *b, const wr_bundle_spec *spec, uint64_t owner) {
  wr_tagger t = wr_tagger_of(me);
  b->n = spec->n;
  for (uint32_t i = 0; i < spec->n; i++) {
    b->need[i] = spec->need[i];
    wr_tag_acknowledge(t, wr_load(&b->avail[i]));
    wr_store(&b->avail[i], wr_tag_make(spec->need[i].amount, 0, 0));
  }
  b->last = owner;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Entries are used in turn: those that wait lie in the order of their making, and a removed one is
 * remembered for as long as possible. */
static wr_group *claim_entry(wr_self *me, uint32_t *gen) {
  wr_header *h = me->s->h;
  uint32_t from = wr_load32(&h->group_next);
  for (uint32_t k = 0; k < WR_MAX_GROUPS; k++) {
    uint32_t i = (from + k) % WR_MAX_GROUPS;
    wr_group *g = wr_group_at(me->s, i);
    uint64_t st = wr_load(&g->state);
    if (WR_GROUP_PHASE(st) != WR_GROUP_FREE && WR_GROUP_PHASE(st) != WR_GROUP_REMOVED) continue;
    *gen = WR_GROUP_GEN(st) + 1 ? WR_GROUP_GEN(st) + 1 : 1;
    raise_mark(&h->ngroups, i + 1);
    if (!wr_cas(&g->state, &st, WR_GROUP_STATE(WR_GROUP_MAKING, me->slot, 0, *gen))) continue;
    wr_store32(&h->group_next, i + 1);
    return g;
  }
  return NULL;
}

static int add_need(wr_group *g, const wr_need *need) {
  uint32_t i = 0;
  while (i < g->nsum && g->sum[i].res != need->res) i++;
  if (i == WR_SHAPE_RESOURCES || need->res >= WR_MAX_RESOURCES) return WR_LIMIT;
  if (i == g->nsum) g->sum[g->nsum++] = (wr_need){need->res, 0};
  uint64_t sum = (uint64_t)g->sum[i].amount + need->amount;
  g->sum[i].amount = sum > INT32_MAX ? INT32_MAX : (uint32_t)sum;
  return WR_OK;
}

/* What all bundles need together; whether that is more than there will ever be. */
static int add_up(const wr_seg *s, wr_group *g, const wr_group_spec *spec, uint32_t *flags) {
  g->nsum = 0;
  for (uint32_t b = 0; b < spec->n; b++)
    for (uint32_t i = 0; i < spec->bundles[b].n; i++) {
      int rc = add_need(g, &spec->bundles[b].need[i]);
      if (rc != WR_OK) return rc;
    }
  for (uint32_t i = 0; i < g->nsum; i++)
    if (g->sum[i].amount > wr_load32(&wr_resource_at(s, g->sum[i].res)->total))
      *flags |= WR_GF_INFEASIBLE;
  return WR_OK;
}

/* A group ends with its job, or with the detached actor that made it. */
static void note_maker(wr_self *me, wr_group *g) {
  uint32_t actor = wr_load32(&me->p->actor);
  const wr_actor *a = actor ? wr_actor_at(me->s, (actor - 1) % WR_MAX_ACTORS) : NULL;
  int detached = a && (wr_load32(&a->flags) & WR_AF_DETACHED);
  g->job = (uint16_t)me->p->job;
  g->actor = detached ? actor : 0;
  g->actor_gen = detached ? WR_ACTOR_GEN(wr_load(&a->state)) : 0;
}

static int fill(wr_self *me, wr_group *g, uint32_t gen, const wr_group_spec *spec,
                uint32_t *flags) {
  uint64_t owner = OWNER(g - me->s->groups, gen);
  *flags = spec->flags;
  wr_store32(&g->held, 0);
  g->first = g->n = 0;
  g->strategy = spec->strategy;
  note_maker(me, g);
  snprintf(g->name, sizeof g->name, "%s", spec->name ? spec->name : "");
  int rc = add_up(me->s, g, spec, flags);
  WR_FAILPOINT("group.filling");
  if (rc == WR_OK) rc = claim_bundles(me->s, spec->n, owner, &g->first);
  if (rc != WR_OK) return rc;
  WR_FAILPOINT("group.bundles");
  g->n = spec->n;
  for (uint32_t b = 0; b < spec->n; b++)
    fill_bundle(me, wr_bundle_at(me->s, g->first + b), &spec->bundles[b], owner);
  return WR_OK;
}

/* The group is TAKING under us: CREATED afterwards, or PENDING.  A group that goes to sleep looks
 * once more after it is known to sleep, so whoever gives something back finds it, or it finds what
 * was given.  1: something was taken for a while, which others may have missed. */
static int settle(wr_self *me, wr_group *g) {
  int took = 0;
  uint64_t left = ROUNDS;
  for (; WR_GUARD_STEP(left);) {
    if (take_all(me, g)) {
      WR_FAILPOINT("group.taken");
      announce(me, g, move(me, g, WR_GROUP_TAKING, WR_GROUP_CREATED));
      return took;
    }
    took |= give_all(me, g);
    atomic_fetch_add(&me->s->h->groups_waiting, 1);
    WR_FAILPOINT("group.waiting");
    (void)move(me, g, WR_GROUP_TAKING, WR_GROUP_PENDING);
    wr_fence();
    if (!fits(me->s, g) || !move(me, g, WR_GROUP_PENDING, WR_GROUP_TAKING)) return took;
  }
  return 0;
}

int wr_groups_create(wr_self *me, const wr_group_spec *spec, uint32_t *idx, uint32_t *gen) {
  uint32_t flags;
  if (spec->n == 0) return WR_INVAL;
  if (spec->n > WR_MAX_BUNDLES) return WR_LIMIT;
  wr_group *g = claim_entry(me, gen);
  if (!g) return WR_LIMIT;
  WR_FAILPOINT("group.claimed");
  int rc = fill(me, g, *gen, spec, &flags);
  if (rc != WR_OK) {
    wr_store(&g->state, WR_GROUP_STATE(WR_GROUP_FREE, 0, 0, *gen));
    return rc;
  }
  *idx = (uint32_t)(g - me->s->groups);
  int never = (flags & WR_GF_INFEASIBLE) != 0;
  wr_store(&g->state, WR_GROUP_STATE(never ? WR_GROUP_PENDING : WR_GROUP_TAKING,
                                     never ? 0 : me->slot, flags, *gen));
  WR_FAILPOINT("group.filled");
  if (!never && settle(me, g)) wr_pool_kick_all(me);
  return WR_OK;
}

/* ---- waiting --------------------------------------------------------------------------------- */

void wr_groups_retry(wr_self *me) {
  wr_header *h = me->s->h;
  uint32_t waiting = wr_load32(&h->groups_waiting), pending = 0, again;
  uint64_t left = ROUNDS;
  do {
    uint32_t n = wr_load32(&h->ngroups), from = wr_load32(&h->group_next);
    again = 0;
    if (n > WR_MAX_GROUPS) n = WR_MAX_GROUPS;
    for (uint32_t k = 0; k < n; k++) {
      wr_group *g = wr_group_at(me->s, (from + k) % n);
      uint64_t st = wr_load(&g->state);
      uint32_t phase = WR_GROUP_PHASE(st);
      if (phase != WR_GROUP_PENDING && phase != WR_GROUP_TAKING) continue;
      if (WR_GROUP_FLAGS(st) & (WR_GF_INFEASIBLE | WR_GF_DOOMED)) continue;
      pending = 1;
      if (phase == WR_GROUP_PENDING && fits(me->s, g) &&
          move(me, g, WR_GROUP_PENDING, WR_GROUP_TAKING))
        again |= (uint32_t)settle(me, g);
    }
  } while (again && WR_GUARD_STEP(left));
  if (!pending) (void)wr_cas32(&h->groups_waiting, &waiting, 0);
}

uint32_t wr_groups_watch(wr_seg *s, uint32_t idx, uint32_t gen) {
  wr_a64 *w = &wr_group_at(s, idx % WR_MAX_GROUPS)->state;
  uint64_t st = wr_load(w), flag = (uint64_t)WR_GF_WATCHED << 16;
  for (;;) {
    uint32_t phase = WR_GROUP_PHASE(st);
    if (WR_GROUP_GEN(st) != gen || phase == WR_GROUP_FREE) return WR_GROUP_REMOVED;
    if (phase >= WR_GROUP_CREATED || (st & flag) || wr_cas(w, &st, st | flag)) return phase;
  }
}

int wr_groups_set_ready(wr_self *me, uint32_t idx, uint32_t gen, wr_idx obj, uint64_t *other) {
  wr_group *g = wr_group_at(me->s, idx % WR_MAX_GROUPS);
  uint64_t ready = (uint64_t)obj | (uint64_t)wr_gen_of(me->s, obj) << 32;
  *other = 0;
  wr_store(&me->p->letting, ready);
  atomic_fetch_or(&wr_obj(me->s, obj)->refs, WR_REF_TASK);
  WR_FAILPOINT("group.ready");
  int mine = wr_cas(&g->ready, other, ready);
  if (!mine) wr_refs_clear(me, obj, (uint32_t)(ready >> 32), WR_REF_TASK);
  wr_store(&me->p->letting, 0);
  WR_FAILPOINT("group.ready_set");
  if (!mine) return WR_STATE;
  uint64_t st = wr_load(&g->state);
  uint32_t phase = WR_GROUP_GEN(st) == gen ? WR_GROUP_PHASE(st) : WR_GROUP_REMOVED;
  if (phase == WR_GROUP_CREATED || phase == WR_GROUP_REMOVED)
    take_off(me, g, ready, phase == WR_GROUP_REMOVED);
  return WR_OK;
}

/* ---- removing -------------------------------------------------------------------------------- */

void wr_groups_finish(wr_self *me, uint32_t idx) {
  wr_group *g = wr_group_at(me->s, idx % WR_MAX_GROUPS);
  uint64_t owner = OWNER(idx, WR_GROUP_GEN(wr_load(&g->state)));
  WR_FAILPOINT("group.removing");
  give_all(me, g);
  WR_FAILPOINT("group.returned");
  uint32_t first = (uint32_t)wr_guard_seen(g->first), n = (uint32_t)wr_guard_seen(g->n);
  if (first < WR_MAX_BUNDLES && n <= WR_MAX_BUNDLES)
    free_bundles(me->s, first, first + n, owner);
  WR_FAILPOINT("group.emptied");
  uint64_t st = move(me, g, WR_GROUP_REMOVING, WR_GROUP_REMOVED);
  WR_FAILPOINT("group.removed");
  announce(me, g, st);
}

int wr_groups_remove(wr_self *me, uint32_t idx, uint32_t gen) {
  wr_group *g = wr_group_at(me->s, idx % WR_MAX_GROUPS);
  uint64_t st = wr_load(&g->state), now;
  do {
    uint32_t phase = WR_GROUP_PHASE(st), flags = WR_GROUP_FLAGS(st);
    if (WR_GROUP_GEN(st) != gen || phase == WR_GROUP_FREE || phase >= WR_GROUP_REMOVING)
      return WR_OK;
    if ((flags & WR_GF_KNOWN) || phase == WR_GROUP_MAKING || phase == WR_GROUP_TAKING)
      return WR_AGAIN;
    now = WR_GROUP_STATE(WR_GROUP_REMOVING, me->slot, flags, gen);
  } while (!wr_cas(&g->state, &st, now));
  wr_groups_finish(me, idx);
  wr_pool_kick_all(me);
  return WR_OK;
}

int wr_groups_know(wr_seg *s, uint32_t idx, uint32_t gen) {
  wr_a64 *w = &wr_group_at(s, idx % WR_MAX_GROUPS)->state;
  uint64_t st = wr_load(w);
  do {
    uint32_t phase = WR_GROUP_PHASE(st);
    if (WR_GROUP_GEN(st) != gen || phase == WR_GROUP_FREE || phase >= WR_GROUP_REMOVING ||
        (WR_GROUP_FLAGS(st) & WR_GF_DOOMED))
      return 0;
  } while (!wr_cas(w, &st, st | (uint64_t)WR_GF_KNOWN << 16));
  return 1;
}

/* ---- after a death --------------------------------------------------------------------------- */

static void settle_intent(wr_self *me, uint32_t slot) {
  wr_proc *p = &me->s->procs[slot];
  uint64_t op = wr_load(&p->op), arg = wr_load(&p->op_arg);
  uint32_t kind = WR_OP_KIND(op), res = WR_OP_IDX(op), idx = SUM_ARG_GROUP(arg);
  if (kind != WR_OP_RESERVE && kind != WR_OP_RETURN) return;
  if (res < WR_MAX_RESOURCES && idx < WR_MAX_GROUPS &&
      WR_GROUP_SLOT(wr_load(&wr_group_at(me->s, idx)->state)) == slot) {
    wr_group *g = wr_group_at(me->s, idx);
    uint32_t held = wr_load32(&g->held), bit = 1u << SUM_ARG_NEED(arg);
    int applied = wr_tag_applied(p, slot, &wr_resource_at(me->s, res)->avail);
    wr_store32(&g->held, (kind == WR_OP_RESERVE) == applied ? held | bit : held & ~bit);
  }
  wr_store(&p->op, WR_OP(WR_OP_NONE, WR_OP_SEQ(op), 0));
}

/* The object whose note the dead process left: on its way to a group, or off it. */
static void settle_letting(wr_self *me, uint32_t slot) {
  wr_seg *s = me->s;
  wr_proc *p = &s->procs[slot];
  uint64_t ready = wr_load(&p->letting);
  wr_idx i = (wr_idx)ready;
  if (!ready || (i & WR_ACTOR_BIT) || wr_rec_chunk(i) >= wr_load32(&s->h->rec_high)) return;
  if (wr_rec_kind_of(s, i) != WR_REC_CELLS) return;
  for (uint32_t k = 0; k < wr_load32(&s->h->ngroups) && k < WR_MAX_GROUPS; k++)
    if (wr_load(&wr_group_at(s, k)->ready) == ready) { /* still there: the group will see to it */
      wr_store(&p->letting, 0);
      return;
    }
  const wr_object *o = wr_obj(s, i);
  uint64_t st = wr_load(&o->state);
  if (WR_OBJ_PHASE(st) == WR_OBJ_PENDING && WR_OBJ_GEN(st) == (uint32_t)(ready >> 32))
    seal(me, i, o->flags & WR_VAL_REMOVED);
}

/* The dead process had the group in its hands: goes on with it. */
static void take_over(wr_self *me, uint32_t idx, uint64_t st) {
  wr_seg *s = me->s;
  wr_group *g = wr_group_at(s, idx);
  uint32_t phase = WR_GROUP_PHASE(st), gen = WR_GROUP_GEN(st);
  if (phase == WR_GROUP_MAKING) {
    free_bundles(s, 0, wr_load32(&s->h->nbundles), OWNER(idx, gen));
    wr_store(&g->state, WR_GROUP_STATE(WR_GROUP_FREE, 0, 0, gen));
    return;
  }
  while (!wr_cas(&g->state, &st, WR_GROUP_STATE(phase, me->slot, WR_GROUP_FLAGS(st), gen))) {
  }
  if (phase == WR_GROUP_TAKING) {
    give_all(me, g);
    settle(me, g);
  } else if (phase == WR_GROUP_REMOVING) {
    wr_groups_finish(me, idx);
  }
}

void wr_groups_sweep(wr_self *me, uint32_t slot) {
  settle_intent(me, slot);
  settle_letting(me, slot);
  for (uint32_t i = 0; i < wr_load32(&me->s->h->ngroups) && i < WR_MAX_GROUPS; i++) {
    wr_group *g = wr_group_at(me->s, i);
    uint64_t st = wr_load(&g->state);
    if (WR_GROUP_SLOT(st) == slot) take_over(me, i, st);
    uint32_t phase = WR_GROUP_PHASE(wr_load(&g->state));
    if (phase == WR_GROUP_CREATED || phase == WR_GROUP_REMOVED)
      answer(me, g, phase == WR_GROUP_REMOVED);
  }
}

int64_t wr_groups_reserved(const wr_seg *s, uint32_t res) {
  int64_t sum = 0;
  for (uint32_t k = 0; k < wr_load32(&s->h->ngroups) && k < WR_MAX_GROUPS; k++) {
    const wr_group *g = wr_group_at(s, k);
    for (uint32_t i = 0; i < nsum(g); i++)
      if (g->sum[i].res == res && (wr_load32(&g->held) & 1u << i)) sum += g->sum[i].amount;
  }
  return sum;
}
