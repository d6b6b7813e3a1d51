/* Actors with a limit of pending calls: which calls of this process on them are unfinished.  It is
 * private memory, since the limit is one for each process that has a handle. */
#include "base/assert.h"
#include "base/mem.h"
#include "client/internal.h"

struct wr_call_limit {
  wr_call_limit *next;
  uint32_t actor, gen;
  uint32_t n, cap;
  wr_id *ids; /* calls that had not finished when last looked at, oldest first */
};

static wr_call_limit *find(wr_client *c, uint32_t actor, uint32_t gen) {
  for (wr_call_limit *p = c->limits; p; p = p->next)
    if (p->actor == actor && p->gen == gen) return p;
  return NULL;
}

static void forget_finished(wr_client *c, wr_call_limit *p) {
  uint32_t left = 0;
  for (uint32_t i = 0; i < p->n; i++)
    if (wr_object_phase_of(c, p->ids[i]) == WR_OBJ_PENDING) p->ids[left++] = p->ids[i];
  p->n = left;
}

static wr_call_limit *add(wr_client *c, uint32_t actor, uint32_t gen) {
  wr_call_limit *p = wr_alloc(sizeof *p);
  if (!p) return NULL;
  *p = (wr_call_limit){.next = c->limits, .actor = actor, .gen = gen};
  return c->limits = p;
}

static int make_room(wr_call_limit *p) {
  uint32_t cap = p->cap ? 2 * p->cap : 16;
  wr_id *ids = wr_realloc(p->ids, cap * sizeof *ids);
  if (!ids) return WR_NOMEM;
  p->ids = ids;
  p->cap = cap;
  return WR_OK;
}

/* Actors that are gone take their lists with them. */
static void drop_stale(wr_client *c) {
  for (wr_call_limit **at = &c->limits; *at;) {
    wr_call_limit *p = *at;
    if (WR_ACTOR_GEN(wr_load(&c->seg.actors[p->actor].state)) == p->gen) {
      at = &p->next;
      continue;
    }
    *at = p->next;
    wr_free(p->ids);
    wr_free(p);
  }
}

int wr_limit_admit(wr_client *c, uint32_t actor) {
  const wr_actor *a = &c->seg.actors[actor];
  if (WR_LIKELY(!a->max_pending)) return WR_OK;
  uint32_t gen = WR_ACTOR_GEN(wr_load(&c->seg.actors[actor].state));
  wr_call_limit *p = find(c, actor, gen);
  if (!p) {
    drop_stale(c);
    if (!(p = add(c, actor, gen))) return WR_NOMEM;
  }
  if (p->n >= a->max_pending || p->n == p->cap) forget_finished(c, p);
  if (p->n >= a->max_pending) return WR_LIMIT;
  return p->n < p->cap ? WR_OK : make_room(p);
}

void wr_limit_note(wr_client *c, uint32_t actor, wr_id call) {
  if (WR_LIKELY(!c->limits)) return;
  wr_call_limit *p = find(c, actor, WR_ACTOR_GEN(wr_load(&c->seg.actors[actor].state)));
  if (p && p->n < p->cap) p->ids[p->n++] = call;
}

void wr_limit_free(wr_client *c) {
  while (c->limits) {
    wr_call_limit *p = c->limits;
    c->limits = p->next;
    wr_free(p->ids);
    wr_free(p);
  }
}
