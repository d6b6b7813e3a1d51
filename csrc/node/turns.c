/* Turns: resources for pools whose tasks get none.
 *
 * A worker keeps what its task had for the next one, so the workers of one driver that never runs
 * out of tasks would keep all that there is from the others.  A pool that has work, and of which
 * nothing has run from one look to the next, gets a turn: workers of other pools give back what
 * they hold after their task and leave it to that pool, until one of its workers has found what it
 * needs (sched/queue.c).  A turn that nobody could use, since tasks run for long, ends with the
 * next look, and its pool waits twice as long for another. */
#include <string.h>

#include "node/node.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "shm/ring.h"

#define LONGEST_PAUSE 32u /* looks */

static uint64_t tasks_done(const node_pool *p, int *busy) {
  const node *n = p->job->n;
  uint64_t done = 0;
  uint32_t seen = 0;
  *busy = 0;
  for (uint32_t i = 0; i < WR_MAX_PROCS && seen < p->procs; i++) {
    if (!n->procs[i] || n->procs[i]->pool != p) continue;
    const wr_proc *r = &n->seg.procs[i];
    done += wr_load_relaxed(&r->tasks_done);
    *busy |= !n->procs[i]->is_actor && wr_load32(&r->activity) == WR_ACT_RUN;
    seen++;
  }
  return done;
}

/* How much of each resource workers would give back after their tasks. */
static void look_at_loans(const node *n, int64_t lent[WR_MAX_RESOURCES]) {
  const wr_seg *s = &n->seg;
  memset(lent, 0, WR_MAX_RESOURCES * sizeof *lent);
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    uint64_t claim = n->procs[i] && !n->procs[i]->is_actor ? wr_load(&s->procs[i].claim) : 0;
    if (!claim) continue;
    const wr_shape *sh = wr_shape_at(s, WR_CLAIM_SHAPE(claim));
    for (uint32_t k = 0; k < wr_shape_needs(sh) && !sh->group; k++)
      if (WR_CLAIM_MASK(claim) & 1u << k && sh->need[k].res < WR_MAX_RESOURCES)
        lent[sh->need[k].res] += sh->need[k].amount;
  }
}

/* Actors and groups keep what they have, and what they leave may never be enough. */
static int in_reach(const node *n, const wr_shape *sh, const int64_t lent[WR_MAX_RESOURCES]) {
  for (uint32_t k = 0; k < wr_shape_needs(sh); k++) {
    const wr_need *need = &sh->need[k];
    if (sh->group || need->res >= WR_MAX_RESOURCES) return 0;
    int64_t avail = (int32_t)wr_tag_value(wr_load(&n->seg.resources[need->res].avail));
    if (avail + lent[need->res] < (int64_t)need->amount) return 0;
  }
  return 1;
}

static int has_work_in_reach(const node_pool *p) {
  node *n = p->job->n;
  int64_t lent[WR_MAX_RESOURCES];
  look_at_loans(n, lent);
  for (uint32_t i = 0; i < wr_load32(&n->seg.h->nshapes) && i < WR_MAX_SHAPES; i++) {
    wr_shape *sh = &n->seg.shapes[i];
    int waits = wr_load32(&sh->state) == WR_SHAPE_OPEN && sh->pool == p->idx &&
                !wr_ring_empty(&n->seg, &sh->ready);
    if (waits && in_reach(n, sh, lent)) return 1;
  }
  return 0;
}

/* Has nothing of its work run since the last look, while it could? */
static int starves(node_pool *p) {
  int busy, had_work = p->turn.had_work;
  p->turn.had_work = wr_queue_has_work(&p->job->n->seg, p->idx);
  if (!p->turn.had_work) return 0;
  uint64_t done = tasks_done(p, &busy), before = p->turn.done;
  p->turn.done = done;
  if (busy || done != before) {
    p->turn.pause = p->turn.waited = 0;
    return 0;
  }
  return had_work && has_work_in_reach(p);
}

static void on_look(uv_timer_t *timer) {
  node *n = timer->data;
  if (n->ending || !n->seg.h) return;
  wr_a32 *turn = &n->seg.h->turn;
  uint32_t unused = wr_swap32(turn, 0), next = 0;
  for (uint32_t k = 1; k <= WR_MAX_POOLS; k++) {
    uint32_t i = (n->last_turn + k) % WR_MAX_POOLS;
    node_pool *p = n->pools[i];
    if (!p || !starves(p)) continue;
    if (unused == i + 1) {
      p->turn.pause = p->turn.pause < LONGEST_PAUSE ? 2 * p->turn.pause + 1 : LONGEST_PAUSE;
      p->turn.waited = 0;
    }
    if (++p->turn.waited > p->turn.pause && !next) next = i + 1;
  }
  if (next) {
    n->last_turn = next - 1;
    wr_store32(turn, next);
  }
  if (unused || next) wr_pool_kick_all(&n->sweeper.self);
}

void node_turns_init(node *n) {
  uv_timer_init(n->loop, &n->turns);
  n->turns.data = n;
  uv_timer_start(&n->turns, on_look, NODE_LOOK_MS, NODE_LOOK_MS);
}
