#include "sched/queue.h"

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "sched/group.h"
#include "sched/ledger.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"
#include "shm/ring.h"

static uint64_t bit_of(uint32_t i) { return (uint64_t)1 << (i & 63); }

static void set_bit(wr_a64 *w, uint64_t bit) {
  if (!(wr_load(w) & bit)) atomic_fetch_or(w, bit);
}

static int rings_empty(wr_seg *s, wr_shape *sh) {
  return wr_ring_empty(s, &sh->ready) && wr_ring_empty(s, &sh->overflow);
}

static int shape_empty(wr_seg *s, wr_shape *sh) {
  return rings_empty(s, sh) && wr_load32(&sh->spilled) == 0;
}

/* ---- wake-ups ------------------------------------------------------------------------------ */

void wr_pool_set_idle(wr_seg *s, uint32_t pool, uint32_t slot) {
  wr_pool *p = wr_pool_at(s, pool);
  atomic_fetch_or(&p->idle[slot / 64], bit_of(slot));
  atomic_fetch_or(&p->idle_any, bit_of(slot / 64));
}

void wr_pool_clear_idle(wr_seg *s, uint32_t pool, uint32_t slot) {
  atomic_fetch_and(&wr_pool_at(s, pool)->idle[slot / 64], ~bit_of(slot));
}

/* Takes one sleeper off the idle set; 0: there is none. */
static uint32_t pick_idle(wr_pool *p) {
  uint64_t any;
  while ((any = wr_load(&p->idle_any)) != 0) {
    uint32_t w = (uint32_t)__builtin_ctzll(any);
    uint64_t bits = wr_load(&p->idle[w]);
    while (bits) {
      uint64_t low = bits & (~bits + 1);
      if (wr_cas(&p->idle[w], &bits, bits & ~low)) return w * 64 + (uint32_t)__builtin_ctzll(low);
    }
    atomic_fetch_and(&p->idle_any, ~bit_of(w));
    if (wr_load(&p->idle[w])) atomic_fetch_or(&p->idle_any, bit_of(w)); /* came in between */
  }
  return 0;
}

static int any_shape_fits(wr_seg *s, wr_pool *p) {
  for (uint64_t any = wr_load(&p->shape_words); any; any &= any - 1) {
    uint32_t w = (uint32_t)__builtin_ctzll(any);
    for (uint64_t b = wr_load(&p->shapes[w]); b; b &= b - 1)
      if (wr_ledger_fits(s, w * 64 + (uint32_t)__builtin_ctzll(b))) return 1;
  }
  return 0;
}

void wr_pool_kick(wr_self *me, uint32_t pool) {
  wr_pool *p = wr_pool_at(me->s, pool);
  wr_fence(); /* the work is visible before we look for sleepers */
  uint32_t turn = wr_load32(&me->s->h->turn);
  if (WR_UNLIKELY(turn) && turn != pool + 1) return; /* whoever ends the turn kicks all */
  if (wr_load(&p->spinning)) return; /* a worker that watches will find it */
  if (!any_shape_fits(me->s, p)) return; /* whoever holds the resources looks again later */
  uint32_t slot = pick_idle(p);
  if (slot) {
    WR_FAILPOINT("queue.picked");
    wr_wake(me->s, slot);
    return;
  }
  if (!me->want || wr_load32(&p->want)) return;
  if (wr_swap32(&p->want, 1) != 0) return;
  WR_FAILPOINT("queue.want");
  me->want(me->want_ctx, pool);
}

void wr_pool_kick_all(wr_self *me) {
  if (WR_UNLIKELY(wr_load32(&me->s->h->groups_waiting))) wr_groups_retry(me);
  uint32_t n = wr_load32(&me->s->h->npools);
  for (uint32_t i = 0; i < n && i < WR_MAX_POOLS; i++)
    if (wr_queue_has_work(me->s, i)) wr_pool_kick(me, i);
}

/* ---- queues -------------------------------------------------------------------------------- */

static int put(wr_seg *s, wr_shape *sh, wr_idx task) {
  int rc = WR_FULL;
  if (wr_ring_empty(s, &sh->overflow)) rc = wr_ring_put(s, &sh->ready, task);
  return rc == WR_FULL ? wr_ring_put(s, &sh->overflow, task) : rc;
}

/* The daemon fails what it finds queued in a group that is to be removed; what comes later finds
 * the group so.  (The actor of a creation is ended, and that with it.) */
static void refuse_if_removed(wr_self *me, const wr_shape *sh, wr_idx i) {
  const wr_task *t = wr_task_at(me->s, i);
  uint32_t gen = WR_TASK_GEN(wr_load(&t->tstate));
  wr_fence();
  if (wr_group_lives(me->s, sh->group - 1, sh->group_gen) || (t->flags & WR_TF_CREATION)) return;
  if (wr_tasks_claim(me, i, gen))
    wr_tasks_fail(me, i, WR_GROUP_GONE, WR_GROUP_GONE_TEXT);
}

void wr_queue_push(wr_self *me, uint32_t shape, wr_idx task) {
  wr_seg *s = me->s;
  WR_CHECK(WR_GUARDED || shape < WR_MAX_SHAPES);
  if (WR_GUARDED && shape >= WR_MAX_SHAPES) return;
  wr_shape *sh = wr_shape_at(s, shape);
  if (put(s, sh, task) < 0) atomic_fetch_add(&sh->spilled, 1);
  WR_FAILPOINT("queue.push");
  uint32_t pool = sh->pool;
  set_bit(&wr_pool_at(s, pool)->shapes[shape / 64], bit_of(shape));
  wr_pool_kick(me, pool);
  if (WR_UNLIKELY(sh->group)) refuse_if_removed(me, sh, task);
}

typedef struct {
  wr_seg *s;
  uint32_t shape;
  int full;
} refill;

static void refill_one(void *ctx, wr_idx i) {
  refill *r = ctx;
  uint64_t st = wr_load(&wr_task_at(r->s, i)->tstate);
  if (!r->full && WR_TASK_PHASE(st) == WR_TASK_QUEUED && WR_TASK_SHAPE(st) == r->shape)
    r->full = put(r->s, &r->s->shapes[r->shape], i) < 0;
}

/* The rings are empty and some tasks never got into them: the records tell which are QUEUED.  The
 * count goes back to zero only after a look at all of them during which nothing else was spilled,
 * so that a death in here leaves it as it is; a task that comes twice is claimed once. */
static void gather_spilled(wr_seg *s, uint32_t shape) {
  wr_shape *sh = &s->shapes[shape];
  uint32_t seen = wr_load32(&sh->spilled);
  refill r = {s, shape, 0};
  if (!seen) return;
  wr_sweep_each(s, WR_REC_TASKS, refill_one, &r);
  WR_FAILPOINT("queue.gathered");
  if (!r.full) (void)wr_cas32(&sh->spilled, &seen, 0);
}

int wr_queue_has_work(wr_seg *s, uint32_t pool) {
  wr_pool *p = wr_pool_at(s, pool);
  for (uint64_t any = wr_load(&p->shape_words); any; any &= any - 1) {
    uint32_t w = (uint32_t)__builtin_ctzll(any);
    for (uint64_t b = wr_load(&p->shapes[w]); b; b &= b - 1)
      if (!shape_empty(s, &s->shapes[w * 64 + (uint32_t)__builtin_ctzll(b)])) return 1;
  }
  return 0;
}

static int claim_task(wr_self *me, uint32_t shape, wr_idx i) {
  wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  if (WR_TASK_PHASE(st) != WR_TASK_QUEUED || WR_TASK_SHAPE(st) != shape) return 0;
  uint64_t now = WR_TASK_STATE(WR_TASK_RUNNING, me->slot, shape, WR_TASK_GEN(st));
  if (!wr_cas(&t->tstate, &st, now)) return 0;
  WR_FAILPOINT("queue.claimed");
  return 1;
}

/* Claimed, it keeps its shape from being given away.  That may have happened since `uses` was read,
 * before the resources were found: then these are those of another shape. */
static int is_other_shape(const wr_shape *sh, uint32_t uses) {
  return wr_load32(&sh->uses) != uses;
}

static void put_back(wr_self *me, uint32_t shape, wr_idx i) {
  wr_task *t = wr_task_at(me->s, i);
  uint32_t gen = WR_TASK_GEN(wr_load(&t->tstate));
  wr_store32(&me->p->hand, i);
  wr_store(&t->tstate, WR_TASK_STATE(WR_TASK_QUEUED, 0, shape, gen));
  wr_queue_push(me, shape, i);
  wr_store32(&me->p->hand, 0);
}

/* Takes from one shape's queue until a task could be claimed or it is empty. */
static int take_from(wr_self *me, uint32_t pool, uint32_t shape, uint32_t uses, wr_idx *task) {
  wr_shape *sh = &me->s->shapes[shape];
  uint32_t v;
  while (wr_ring_take(me->s, &sh->ready, &v, &me->p->hand) == WR_OK ||
         wr_ring_take(me->s, &sh->overflow, &v, &me->p->hand) == WR_OK) {
    WR_FAILPOINT("queue.taken");
    if (WR_UNLIKELY(sh->pool != pool)) { /* the number has been given to another pool's shape */
      wr_queue_push(me, shape, v);
      wr_store32(&me->p->hand, 0);
      return WR_AGAIN;
    }
    int mine = claim_task(me, shape, v);
    if (mine && WR_UNLIKELY(is_other_shape(sh, uses))) {
      put_back(me, shape, v);
      return WR_AGAIN;
    }
    if (mine) {
      wr_store32(&me->p->hand, 0); /* from here its own word names us */
      *task = v;
      return WR_OK;
    }
    wr_store32(&me->p->hand, 0);
  }
  return WR_AGAIN;
}

/* whiprayd has given the turn to a pool that found nothing for long; it takes what others give back
 * between two tasks, once, and lets them go on. */
static void end_turn(wr_self *me, uint32_t pool) {
  uint32_t turn = pool + 1;
  if (!wr_cas32(&me->s->h->turn, &turn, 0)) return;
  WR_FAILPOINT("queue.turn");
  wr_pool_kick_all(me);
}

/* The resources of the shape: those this worker holds from its last task, or new ones. */
static int hold_resources(wr_self *me, uint32_t pool, uint32_t shape) {
  uint32_t groups = wr_load32(&me->s->h->groups_waiting); /* have a turn between any two tasks */
  uint32_t turn = wr_load32(&me->s->h->turn);
  if (!(groups | turn) && wr_ledger_holds(me, shape) && !wr_ledger_overdrawn(me, shape))
    return WR_OK;
  int gave = wr_load(&me->p->claim) != 0;
  wr_ledger_release(me);
  if (WR_UNLIKELY(groups)) wr_groups_retry(me);
  int fits = (!turn || turn == pool + 1) && wr_ledger_fits(me->s, shape);
  int rc = fits ? wr_ledger_claim(me, shape) : WR_AGAIN;
  if (WR_UNLIKELY(turn) && rc == WR_OK) end_turn(me, pool);
  /* What we gave back may be what others lack; also what we had for a moment of a claim that then
   * failed, since they may have looked in that moment. */
  if (gave || (fits && rc < 0)) wr_pool_kick_all(me);
  if (rc < 0) return WR_AGAIN;
  WR_FAILPOINT("queue.resources");
  return WR_OK;
}

static int try_shape(wr_self *me, uint32_t pool, uint32_t shape, wr_idx *task) {
  wr_seg *s = me->s;
  wr_shape *sh = &s->shapes[shape];
  uint32_t uses = wr_load32(&sh->uses);
  if (WR_UNLIKELY(sh->pool != pool) || shape_empty(s, sh)) { /* the bit may be of a former use */
    wr_a64 *w = &s->pools[pool].shapes[shape / 64];
    atomic_fetch_and(w, ~bit_of(shape));
    if (sh->pool != pool || shape_empty(s, sh)) return WR_AGAIN;
    atomic_fetch_or(w, bit_of(shape));
  }
  if (WR_UNLIKELY(wr_load32(&sh->spilled)) && rings_empty(s, sh)) gather_spilled(s, shape);
  return hold_resources(me, pool, shape) == WR_OK ? take_from(me, pool, shape, uses, task)
                                                   : WR_AGAIN;
}

/* ---- what others wait for -------------------------------------------------------------------- */

void wr_queue_urge(wr_seg *s, wr_idx task) {
  uint32_t shape = WR_TASK_SHAPE(wr_load(&wr_task_at(s, task)->tstate));
  if (shape >= WR_MAX_SHAPES) return;
  wr_pool *p = wr_pool_at(s, wr_shape_at(s, shape)->pool);
  for (uint32_t k = 0; k < WR_POOL_URGENT; k++)
    if (wr_load32(&p->urgent[k]) == task) return;
  uint32_t top = atomic_fetch_add(&p->urgent_top, 1);
  wr_store32(&p->urgent[top % WR_POOL_URGENT], task);
  wr_store32(&p->urgent_any, 1);
}

/* Takes the newest that is ready and finds its resources; drops what is no use any more. */
static int take_urgent(wr_self *me, uint32_t pool, wr_idx *task) {
  wr_seg *s = me->s;
  wr_pool *p = wr_pool_at(s, pool);
  uint32_t top = wr_load32(&p->urgent_top);
  wr_store32(&p->urgent_any, 0);
  for (uint32_t k = 1, kept = 0; k <= WR_POOL_URGENT; k++) {
    wr_a32 *entry = &p->urgent[(top - k) % WR_POOL_URGENT];
    uint32_t i = wr_load32(entry), now = i;
    if (!i) continue;
    uint64_t st = wr_rec_is_task(s, i) ? wr_load(&wr_task_at(s, i)->tstate) : 0;
    uint32_t phase = WR_TASK_PHASE(st), shape = WR_TASK_SHAPE(st);
    const wr_shape *sh = wr_shape_at(s, shape < WR_MAX_SHAPES ? shape : 0);
    uint32_t uses = wr_load32(&sh->uses);
    int ours = shape < WR_MAX_SHAPES && sh->pool == pool;
    int taken = ours && phase == WR_TASK_QUEUED && hold_resources(me, pool, shape) == WR_OK &&
                claim_task(me, shape, i);
    if (taken && is_other_shape(sh, uses)) {
      put_back(me, shape, i);
      taken = 0;
    }
    int waits = ours && !taken && (phase == WR_TASK_QUEUED || phase == WR_TASK_WAITING);
    if (!waits) (void)wr_cas32(entry, &now, 0); /* another may have been urged in its place */
    if ((waits || taken) && !kept++) wr_store32(&p->urgent_any, 1);
    if (!taken) continue;
    *task = i;
    return WR_OK;
  }
  return WR_AGAIN;
}

static int try_word(wr_self *me, uint32_t pool, uint32_t w, uint64_t which, wr_idx *task) {
  for (uint64_t b = wr_load(&me->s->pools[pool].shapes[w]) & which; b; b &= b - 1)
    if (try_shape(me, pool, w * 64 + (uint32_t)__builtin_ctzll(b), task) == WR_OK) return WR_OK;
  return WR_AGAIN;
}

/* Bit `by` becomes the lowest. */
static uint64_t turned(uint64_t bits, uint32_t by) {
  return by ? bits >> by | bits << (64 - by) : bits;
}

int wr_queue_take(wr_self *me, uint32_t pool, wr_idx *task) {
  wr_pool *p = wr_pool_at(me->s, pool);
  if (WR_UNLIKELY(wr_load32(&p->urgent_any)) && take_urgent(me, pool, task) == WR_OK) return WR_OK;
  uint64_t c = wr_load(&me->p->claim);
  uint32_t first = c ? WR_CLAIM_SHAPE(c) : 0;
  if (c && (me->takes++ & 15) == 15) first = (first + 1) % WR_MAX_SHAPES; /* others have a turn */
  uint64_t upwards = ~(uint64_t)0 << (first & 63);
  if (try_word(me, pool, first / 64, upwards, task) == WR_OK) return WR_OK;
  uint64_t others = turned(wr_load(&p->shape_words), first / 64) & ~(uint64_t)1;
  for (; others; others &= others - 1) {
    uint32_t w = (first / 64 + (uint32_t)__builtin_ctzll(others)) % 64;
    if (try_word(me, pool, w, ~(uint64_t)0, task) == WR_OK) return WR_OK;
  }
  return first & 63 ? try_word(me, pool, first / 64, ~upwards, task) : WR_AGAIN;
}
