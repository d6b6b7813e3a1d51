#include "sched/deps.h"

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "sched/queue.h"
#include "store/objects.h"
#include "store/records.h"

static int sealed(wr_seg *s, wr_idx i) {
  if (i >= WR_MAX_CELLS) return 1; /* a stale task's list: the swap on its wait word will fail */
  return !wr_objects_awaited(wr_load(&wr_obj(s, i)->state));
}

static const wr_pins *pins_of(wr_seg *s, wr_task *t) {
  uint64_t off = t->args;
  if (off == 0 || off > s->size - sizeof(wr_pins)) return NULL;
  return wr_pins_at(s, off);
}

static int add_node(wr_self *me, wr_idx task, uint32_t gen, uint32_t pos, wr_idx obj) {
  wr_idx i;
  int rc = wr_rec_alloc(me, WR_REC_CELLS, &i);
  if (rc < 0) return rc;
  wr_node *n = wr_node_at(me->s, i);
  wr_object *o = wr_obj(me->s, obj);
  n->task = task;
  n->task_gen = gen;
  n->obj = obj;
  n->obj_gen = WR_OBJ_GEN(wr_load(&o->state));
  n->pos = pos;
  uint32_t g = WR_OBJ_GEN(wr_load_relaxed(&n->state));
  wr_store(&n->state, WR_OBJ_STATE(WR_OBJ_NODE, g));
  WR_FAILPOINT("deps.node");
  uint64_t head = wr_load(&o->deps);
  do n->next = (uint32_t)head;
  while (!wr_cas(&o->deps, &head, i));
  WR_FAILPOINT("deps.pushed");
  return WR_OK;
}

static void make_ready(wr_self *me, wr_idx task, uint32_t gen) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load(&t->tstate);
  uint32_t before = wr_load32(&me->p->hand);
  if (WR_TASK_PHASE(st) != WR_TASK_WAITING || WR_TASK_GEN(st) != gen) return;
  wr_store32(&me->p->hand, task);
  if (wr_cas(&t->tstate, &st, WR_TASK_STATE(WR_TASK_QUEUED, 0, WR_TASK_SHAPE(st), gen))) {
    WR_FAILPOINT("deps.ready");
    wr_queue_push(me, WR_TASK_SHAPE(st), task);
  }
  wr_store32(&me->p->hand, before);
}

/* Goes on with a task that stands at `pos`, as far as its arguments are there. */
static int settle(wr_self *me, wr_idx task, uint32_t gen, uint32_t pos) {
  wr_task *t = wr_task_at(me->s, task);
  uint32_t ndeps = t->ndeps;
  const wr_pins *pins = pins_of(me->s, t);
  if (pins) ndeps = wr_pins_count(me->s, pins, ndeps);
  if (WR_GUARDED && pos > ndeps) return WR_OK;
  for (;;) {
    uint32_t to = pos;
    while (to < ndeps && (!pins || sealed(me->s, pins->idx[to]))) to++;
    if (to != pos) {
      uint64_t w = WR_WAIT(pos, gen);
      if (!wr_cas(&t->wait, &w, WR_WAIT(to, gen))) return WR_OK; /* somebody else goes on */
      pos = to;
      WR_FAILPOINT("deps.moved");
    }
    if (pos == ndeps) {
      make_ready(me, task, gen);
      return WR_OK;
    }
    int rc = add_node(me, task, gen, pos, pins->idx[pos]);
    if (rc < 0) return rc;
    if (!sealed(me->s, pins->idx[pos])) return WR_OK;
  }
}

int wr_deps_start(wr_self *me, wr_idx task) {
  return settle(me, task, WR_TASK_GEN(wr_load(&wr_task_at(me->s, task)->tstate)), 0);
}

void wr_deps_resume(wr_self *me, wr_idx task) {
  wr_task *t = wr_task_at(me->s, task);
  uint64_t st = wr_load(&t->tstate), w = wr_load(&t->wait);
  if (WR_TASK_PHASE(st) != WR_TASK_WAITING || (uint32_t)(w >> 32) != WR_TASK_GEN(st)) return;
  (void)settle(me, task, WR_TASK_GEN(st), (uint32_t)w);
}

/* The list comes newest first; tasks shall go in the order they came. */
static wr_idx reverse(wr_seg *s, wr_idx head) {
  wr_idx out = 0;
  for (uint64_t left = wr_guard_steps(s); head && WR_GUARD_STEP(left);) {
    wr_node *n = wr_node_at(s, head);
    wr_idx next = n->next;
    n->next = out;
    out = head;
    head = next;
  }
  return out;
}

void wr_deps_release(wr_self *me, wr_idx obj) {
  wr_seg *s = me->s;
  wr_object *o = wr_obj(s, obj);
  if (wr_load(&o->deps) == 0) return;
  wr_store32(&me->p->drain, obj);
  WR_FAILPOINT("deps.drain");
  wr_idx i = reverse(s, (wr_idx)wr_swap(&o->deps, 0));
  WR_FAILPOINT("deps.taken");
  for (uint64_t left = wr_guard_steps(s); i && WR_GUARD_STEP(left);) {
    wr_node *n = wr_node_at(s, i);
    wr_idx next = n->next, task = n->task;
    uint32_t gen = n->task_gen, pos = n->pos;
    uint64_t st = wr_load(&n->state);
    if (WR_OBJ_PHASE(st) == WR_OBJ_NODE &&
        wr_cas(&n->state, &st, WR_OBJ_STATE(WR_OBJ_FREE, WR_OBJ_GEN(st) + 1)))
      wr_rec_release(me, i);
    WR_FAILPOINT("deps.walk");
    if (wr_load(&wr_task_at(s, task)->wait) == WR_WAIT(pos, gen)) (void)settle(me, task, gen, pos);
    i = next;
  }
  wr_store32(&me->p->drain, 0);
}
