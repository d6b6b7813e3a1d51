/* Turns: resources for pools whose tasks get none.
 *
 * A worker keeps what its task had for the next one, so the workers of one driver that never runs
 * out of tasks would keep all that there is from the others.  A pool that has work, and of which
 * nothing has run from one look to the next, gets a turn: workers of other pools give back what
 * they hold after their task and leave it to that pool, until one of its workers has found what it
 * needs (sched/queue.c).  What somebody holds for longer comes back in no turn, so one that nobody could
 * use ends with the next look, and its pool waits twice as long for another. */
#include "node/node.h"
#include "sched/queue.h"

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

/* Has nothing of its work run since the last look? */
static int starves(node_pool *p) {
  int busy, had_work = p->turn.had_work;
  p->turn.had_work = wr_queue_has_work(&p->job->n->seg, p->idx);
  if (!p->turn.had_work) return 0;
  uint64_t done = tasks_done(p, &busy), before = p->turn.done;
  p->turn.done = done;
  if (busy || done != before) p->turn.pause = p->turn.waited = 0;
  return had_work && !busy && done == before;
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
