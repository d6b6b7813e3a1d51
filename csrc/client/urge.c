/* A task that waits keeps its process.  What it waits for goes first, then, before tasks that would
 * only come to wait as well: else a thousand tasks that call others need thousands of processes. */
#include "client/internal.h"
#include "sched/queue.h"
#include "sched/task.h"

#define MOST WR_POOL_URGENT /* tasks that one wait looks at */
#define DEEPEST 8u          /* arguments of arguments */

typedef struct {
  wr_client *c;
  uint32_t left, depth;
} urging;

static void urge(urging *u, wr_id id);

/* May the index be an object that a task makes? */
static int is_return(const wr_seg *s, wr_idx i) {
  uint32_t chunk = wr_rec_chunk(i);
  if (i == 0 || (i & WR_ACTOR_BIT) || chunk >= wr_load32(&s->h->rec_high)) return 0;
  return wr_rec_is_task(s, i) || wr_rec_kind_of(s, i) == WR_REC_CELLS;
}

/* The record may end and be another's while we read: what comes out are hints, and looked at again
 * before they are used. */
static void urge_arguments(urging *u, const wr_task *t) {
  wr_seg *s = &u->c->seg;
  uint64_t off = t->args, room = s->h->size;
  if (!t->ndeps || off == 0 || off > room - sizeof(wr_pins) || u->depth == DEEPEST) return;
  const wr_pins *p = wr_pins_at(s, off);
  u->depth++;
  for (uint32_t k = t->ndeps; k-- > 0 && u->left;) {
    if ((uint64_t)k * 4 + 4 > room - off - sizeof(wr_pins)) continue;
    wr_idx i = p->idx[k];
    if (is_return(s, i)) urge(u, (wr_id){i, WR_OBJ_GEN(wr_load(&wr_obj(s, i)->state))});
  }
  u->depth--;
}

static void urge_creation(urging *u, const wr_task *t) {
  uint32_t actor = t->actor - 1;
  if (actor >= WR_MAX_ACTORS) return;
  const wr_actor *a = &u->c->seg.actors[actor];
  if (WR_ACTOR_PHASE(wr_load(&a->state)) == WR_ACTOR_ALIVE) return;
  wr_idx i = a->creation;
  if (wr_rec_is_task(&u->c->seg, i)) wr_queue_urge(&u->c->seg, i);
}

static void urge(urging *u, wr_id id) {
  wr_seg *s = &u->c->seg;
  u->left--;
  if (wr_object_phase_of(u->c, id) != WR_OBJ_PENDING || !wr_task_of(u->c, &id)) return;
  if (!wr_rec_is_task(s, id.idx)) return;
  const wr_task *t = wr_task_at(s, id.idx);
  uint32_t phase = WR_TASK_PHASE(wr_load(&t->tstate));
  if (phase != WR_TASK_QUEUED && phase != WR_TASK_WAITING) return;
  if (t->flags & WR_TF_CALL) urge_creation(u, t);
  else wr_queue_urge(s, id.idx);
  if (phase == WR_TASK_WAITING || t->flags & WR_TF_CALL) urge_arguments(u, t);
}

void wr_urge(wr_client *c, const wr_id *ids, size_t n) {
  urging u = {c, MOST, 0};
  size_t k = n < MOST ? n : MOST;
  while (k-- > 0 && u.left) urge(&u, ids[k]); /* the last urged is the first taken */
}
