#include "sched/shapes.h"

#include "base/status.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "sched/sweep_memory.h"
#include "shm/ring.h"

static uint64_t bit_of(uint32_t i) { return (uint64_t)1 << (i & 63); }

/* ---- one shape ------------------------------------------------------------------------------- */

void wr_shape_open(wr_seg *s, uint32_t i) {
  wr_shape *sh = wr_shape_at(s, i);
  wr_ring_open(s, i);
  wr_store32(&sh->spilled, 0);
  wr_store32(&sh->uses, wr_load32(&sh->uses) + 1);
  atomic_fetch_or(&wr_pool_at(s, sh->pool)->shape_words, bit_of(i / 64));
  wr_store32(&sh->state, WR_SHAPE_OPEN);
  if (wr_load32(&s->h->nshapes) <= i) wr_store32(&s->h->nshapes, i + 1);
}

/* What is left in the queue must not be met by those who get the number next. */
static void drain(wr_seg *s, wr_shape *sh) {
  wr_a32 hand;
  uint32_t task;
  while (wr_ring_take(s, &sh->ready, &task, &hand) == WR_OK) {
  }
  while (wr_ring_take(s, &sh->overflow, &task, &hand) == WR_OK) {
  }
}

static int has_others(const wr_seg *s, uint32_t pool, uint32_t i) {
  for (uint32_t k = i / 64 * 64; k < (i / 64 + 1) * 64; k++)
    if (k != i && s->shapes[k].pool == pool && wr_load32(&s->shapes[k].state) != WR_SHAPE_FREE)
      return 1;
  return 0;
}

void wr_shape_free(wr_seg *s, uint32_t i) {
  wr_shape *sh = wr_shape_at(s, i);
  wr_pool *p = wr_pool_at(s, sh->pool);
  wr_store32(&sh->state, WR_SHAPE_FREE);
  drain(s, sh);
  atomic_fetch_and(&p->shapes[i / 64], ~bit_of(i));
  if (!has_others(s, sh->pool, i)) atomic_fetch_and(&p->shape_words, ~bit_of(i / 64));
}

/* ---- users ----------------------------------------------------------------------------------- */

typedef struct {
  wr_seg *s;
  uint64_t shapes[WR_MAX_SHAPES / 64]; /* in use */
} users;

static void note(users *u, uint32_t shape) {
  if (shape < WR_MAX_SHAPES) u->shapes[shape / 64] |= bit_of(shape);
}

static void note_task(void *ctx, wr_idx i) {
  users *u = ctx;
  uint64_t st = wr_load(&wr_task_at(u->s, i)->tstate);
  if (WR_TASK_PHASE(st) != WR_TASK_FREE) note(u, WR_TASK_SHAPE(st));
}

static void note_actors(users *u) {
  for (uint32_t i = 0; i < wr_load32(&u->s->h->nactors) && i < WR_MAX_ACTORS; i++) {
    const wr_actor *a = wr_actor_at(u->s, i);
    uint32_t phase = WR_ACTOR_PHASE(wr_load(&a->state));
    if (phase != WR_ACTOR_FREE && phase != WR_ACTOR_DEAD) note(u, a->shape);
  }
}

/* The intent is read first: a claim that follows one is either seen, or was given up. */
static void note_claims(users *u) {
  uint32_t high = wr_load32(&u->s->h->proc_high);
  for (uint32_t k = 1; k <= high && k < WR_MAX_PROCS; k++) {
    note(u, wr_ledger_intent(u->s, k));
    uint64_t c = wr_load(&u->s->procs[k].claim);
    if (c) note(u, WR_CLAIM_SHAPE(c));
  }
}

static void find_users(wr_seg *s, users *u) {
  *u = (users){.s = s};
  wr_sweep_each(s, WR_REC_TASKS, note_task, u);
  note_actors(u);
  note_claims(u);
}

static int is_used(const users *u, uint32_t shape) {
  return (u->shapes[shape / 64] & bit_of(shape)) != 0;
}

/* ---- a round --------------------------------------------------------------------------------- */

int wr_shape_closed(const wr_seg *s, uint32_t i) {
  if (i >= WR_MAX_SHAPES) return 0;
  return wr_load32(&wr_pool_at(s, wr_shape_at(s, i)->pool)->state) != WR_POOL_OPEN;
}

static uint32_t close_unused(wr_seg *s, const users *u) {
  uint32_t n = 0;
  for (uint32_t i = 1; i < WR_MAX_SHAPES; i++) {
    wr_shape *sh = &s->shapes[i];
    if (wr_load32(&sh->state) != WR_SHAPE_OPEN || is_used(u, i)) continue;
    wr_store32(&sh->state, WR_SHAPE_CLOSING);
    n++;
  }
  return n;
}

/* Whoever was refused a claim meanwhile looks again. */
static void reopen(wr_self *me, uint32_t i) {
  wr_store32(&me->s->shapes[i].state, WR_SHAPE_OPEN);
  wr_pool_kick(me, me->s->shapes[i].pool);
}

uint32_t wr_shapes_reclaim(wr_self *me, void (*settle)(void)) {
  wr_seg *s = me->s;
  users u;
  uint32_t freed = 0;
  find_users(s, &u);
  if (!close_unused(s, &u)) return 0;
  wr_store32(&s->h->shape_round, (wr_load32(&s->h->shape_round) + 1) % WR_TICKET_ROUNDS);
  settle();
  find_users(s, &u);
  for (uint32_t i = 1; i < WR_MAX_SHAPES; i++) {
    if (wr_load32(&s->shapes[i].state) != WR_SHAPE_CLOSING) continue;
    if (is_used(&u, i)) {
      reopen(me, i);
    } else {
      wr_shape_free(s, i);
      freed++;
    }
  }
  return freed;
}
