#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "client/internal.h"
#include "os/os.h"
#include "sched/actor.h"
#include "sched/task.h"

static void set_call(wr_task_spec2 *to, const wr_task_spec *from) {
  to->fn = from->fn;
  to->shape = from->shape;
  to->nreturns = from->nreturns;
  to->flags = from->flags;
  to->retries = from->retries;
  to->options = from->options;
  to->parent = from->parent.idx;
  to->parent_gen = from->parent.gen;
  to->group = from->group.idx;
  to->group_gen = from->group.gen;
  to->room = from->room;
  to->name = from->name;
  to->name_len = from->name_len;
  to->actor = 0;
  to->actor_gen = 0;
  if (from->flags & (WR_TF_CALL | WR_TF_CREATION)) {
    to->actor = (from->actor.idx & ~WR_ACTOR_BIT) + 1;
    to->actor_gen = from->actor.gen;
  }
}

/* A named actor can be found until its calls are done, though its last handle has gone before.
 * Calls that may be made again have no such pin: what pins an actor is not kept as lineage. */
static int pins_its_actor(const wr_client *c, const wr_task_spec *spec) {
  if (!(spec->flags & WR_TF_CALL) || spec->retries) return 0;
  const wr_actor *a = wr_actor_at(&c->seg, spec->actor.idx & ~WR_ACTOR_BIT);
  return (wr_load32(&a->flags) & (WR_AF_NAMED | WR_AF_DETACHED)) == WR_AF_NAMED;
}

int wr_task_create(wr_client *c, const wr_task_spec *spec, size_t len, const wr_id *refs,
                   uint32_t nrefs, uint32_t ndeps, wr_id *out, uint8_t **dst) {
  if (WR_UNLIKELY(wr_over(c))) return WR_CLOSED;
  uint32_t nout = spec->nreturns > 1 ? spec->nreturns : 1, room = nrefs + 1 + nout;
  wr_idx small[64], *idx = room <= 64 ? small : wr_alloc(4ull * room);
  if (!idx) return WR_NOMEM;
  for (uint32_t i = 0; i < nrefs; i++) idx[i] = refs[i].idx;
  if (WR_UNLIKELY(pins_its_actor(c, spec))) idx[nrefs++] = spec->actor.idx | WR_ACTOR_BIT;
  wr_idx *outs = idx + nrefs;
  wr_task_spec2 s;
  set_call(&s, spec);
  if (s.flags & WR_TF_CALL) wr_expect_write(&wr_actor_at(&c->seg, s.actor - 1)->mailbox);
  wr_lock(c);
  int rc = s.flags & WR_TF_CALL ? wr_limit_admit(c, s.actor - 1) : WR_OK;
  if (rc == WR_OK) rc = wr_tasks_build(&c->self, &s, len, idx, nrefs, ndeps, outs, dst);
  if (rc == WR_OK) {
    for (uint32_t i = 0; i < nout; i++)
      out[i] = (wr_id){outs[i], WR_OBJ_GEN(wr_load_relaxed(&wr_obj(&c->seg, outs[i])->state))};
    if (s.flags & WR_TF_CREATION) wr_actors_set_creation(&c->seg, s.actor - 1, outs[0]);
    if (s.flags & WR_TF_CALL) wr_limit_note(c, s.actor - 1, out[0]);
  }
  wr_unlock(c);
  if (idx != small) wr_free(idx);
  return rc;
}

int wr_task_submit(wr_client *c, wr_idx task) {
  wr_lock(c);
  int rc = wr_tasks_submit(&c->self, task);
  wr_unlock(c);
  return rc;
}

void wr_task_discard(wr_client *c, wr_idx task) {
  wr_lock(c);
  wr_tasks_discard(&c->self, task);
  wr_unlock(c);
}

int wr_actor_create(wr_client *c, const wr_actor_spec *spec, wr_id *out) {
  wr_actor_init init = {.cls = spec->cls,
                        .max_concurrency = spec->max_concurrency,
                        .flags = spec->flags,
                        .max_pending = spec->max_pending,
                        .max_restarts = spec->max_restarts,
                        .pool = spec->pool,
                        .shape = spec->shape,
                        .meta = spec->meta,
                        .name = spec->name,
                        .ns = spec->ns,
                        .cls_name = spec->cls_name};
  wr_lock(c);
  int rc = wr_actors_create(&c->self, &init, &out->idx, &out->gen);
  wr_unlock(c);
  if (rc == WR_OK) out->idx |= WR_ACTOR_BIT;
  return rc;
}
