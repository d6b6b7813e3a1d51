#include "base/status.h"
#include "node/node.h"
#include "sched/group.h"
#include "sched/group_end.h"
#include "sched/queue.h"

#define LOOK_MS 1u /* between two looks at a group whose users are ending */

/* 1: users are still ending. */
static int clear(node *n, uint32_t idx, uint32_t gen) {
  int rc = wr_group_clear(&n->sweeper, idx, gen);
  if (rc != WR_OK) return rc == WR_AGAIN;
  node_shapes_free_group(n, idx, gen);
  node_names_forget(n, idx | WR_GROUP_BIT, gen);
  wr_groups_finish(&n->sweeper.self, idx);
  wr_pool_kick_all(&n->sweeper.self);
  node_jobs_review(n);
  return 0;
}

static void look_again(uv_timer_t *timer) {
  node *n = timer->data;
  uint32_t high = wr_load32(&n->seg.h->ngroups);
  int more = 0;
  for (uint32_t i = 0; i < high && i < WR_MAX_GROUPS && !n->ending; i++) {
    uint64_t st = wr_load(&wr_group_at(&n->seg, i)->state);
    uint32_t phase = WR_GROUP_PHASE(st);
    if (!(WR_GROUP_FLAGS(st) & WR_GF_DOOMED)) continue;
    if (phase != WR_GROUP_FREE && phase != WR_GROUP_REMOVED) more |= clear(n, i, WR_GROUP_GEN(st));
  }
  if (more) uv_timer_start(timer, look_again, LOOK_MS, 0);
}

/* From the middle of a sweep: the rest is done when that is over. */
static void doom_soon(node *n, uint32_t idx, uint32_t gen) {
  if (wr_group_doom(&n->seg, idx, gen)) uv_timer_start(&n->groups, look_again, 0, 0);
}

static int doom(node *n, uint32_t idx, uint32_t gen) {
  if (!wr_group_doom(&n->seg, idx, gen)) return 0;
  if (clear(n, idx, gen)) uv_timer_start(&n->groups, look_again, LOOK_MS, 0);
  return 1;
}

void node_group_remove(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint32_t idx, gen;
  if (wr_in_u32(c, &idx) != WR_OK || wr_in_u32(c, &gen) != WR_OK) {
    node_conn_error(p->conn, id, WR_PROTO, wr_status_text(WR_PROTO));
    return;
  }
  wr_buf b = {0};
  wr_out_array(&b, 1);
  wr_out_bool(&b, doom(n, idx, gen));
  node_conn_reply(p->conn, id, &b);
}

void node_groups_of_job(node *n, uint32_t job) {
  uint32_t high = wr_load32(&n->seg.h->ngroups);
  for (uint32_t i = 0; i < high && i < WR_MAX_GROUPS; i++) {
    const wr_group *g = wr_group_at(&n->seg, i);
    uint64_t st = wr_load(&g->state);
    if (g->job == job && !g->actor && !(WR_GROUP_FLAGS(st) & WR_GF_DETACHED))
      doom_soon(n, i, WR_GROUP_GEN(st));
  }
}

void node_groups_of_actor(node *n, uint32_t actor, uint32_t gen) {
  uint32_t high = wr_load32(&n->seg.h->ngroups);
  for (uint32_t i = 0; i < high && i < WR_MAX_GROUPS; i++) {
    const wr_group *g = wr_group_at(&n->seg, i);
    uint64_t st = wr_load(&g->state);
    if (g->actor == actor + 1 && g->actor_gen == gen && !(WR_GROUP_FLAGS(st) & WR_GF_DETACHED))
      doom_soon(n, i, WR_GROUP_GEN(st));
  }
}

void node_groups_init(node *n) {
  uv_timer_init(n->loop, &n->groups);
  n->groups.data = n;
}
