/* Processes that wait for each other, so that none of them will ever go on: each sleeps for a value
 * that another one is to make.  Every process notes what it sleeps for; a look follows these notes
 * from process to process.  A cycle that stands in two looks is told to the driver, once.
 *
 * Only looks: nothing is decided about the tasks, which a time-out of get() or a kill may free. */
#include <stdio.h>
#include <string.h>

#include "node/node.h"
#include "sched/task.h"
#include "wire/messages.h"

#define MAX_HOPS 32u
#define TEXT 900u

/* ---- from an object to the process that is to make it ---------------------------------------- */

static const wr_task *task_of(const wr_seg *s, wr_idx i) {
  return wr_rec_is_task(s, i) ? wr_task_at(s, i) : NULL;
}

static const wr_object *object_of(const wr_seg *s, wr_idx i) {
  uint32_t chunk = wr_rec_chunk(i);
  if (i == 0 || (i & WR_ACTOR_BIT) || chunk >= WR_REC_CHUNKS) return NULL;
  uint32_t kind = wr_rec_kind_of(s, i);
  return kind == WR_REC_TASKS || kind == WR_REC_CELLS ? wr_obj(s, i) : NULL;
}

/* The task that seals the object; NULL: none, or it is sealed. */
static const wr_task *producer(const wr_seg *s, wr_idx i) {
  const wr_object *o = object_of(s, i);
  if (!o || WR_OBJ_PHASE(wr_load(&o->state)) != WR_OBJ_PENDING) return NULL;
  return o->flags & WR_VAL_EXTRA ? task_of(s, o->v.b.producer) : task_of(s, i);
}

/* The first argument that is still to be made; 0: none. */
static wr_idx missing_argument(const wr_seg *s, const wr_task *t) {
  if (!t->ndeps) return 0;
  const wr_pins *p = wr_tasks_pins(s, t);
  uint32_t n = wr_pins_count(s, p, t->ndeps);
  for (uint32_t k = 0; k < n; k++) {
    wr_idx i = p->idx[k];
    const wr_object *o = object_of(s, i);
    if (o && WR_OBJ_PHASE(wr_load(&o->state)) == WR_OBJ_PENDING) return i;
  }
  return 0;
}

/* The process of an actor that runs its calls one by one; 0: there is none. */
static uint32_t actor_process(const wr_seg *s, const wr_task *t) {
  const wr_actor *a = wr_actor_at(s, t->actor - 1);
  uint64_t st = wr_load(&a->state);
  int serial = a->max_concurrency <= 1 && !(wr_load32(&a->flags) & WR_AF_ASYNC);
  return serial && WR_ACTOR_GEN(st) == t->actor_gen ? WR_ACTOR_SLOT(st) : 0;
}

/* The process that has to go on before the object can be made; 0: not known. */
static uint32_t holder_of(const wr_seg *s, wr_idx i) {
  for (uint32_t hop = 0; i && hop < MAX_HOPS; hop++) {
    const wr_task *t = producer(s, i);
    if (!t) return 0;
    uint64_t st = wr_load(&t->tstate);
    if (WR_TASK_PHASE(st) == WR_TASK_RUNNING) return WR_TASK_SLOT(st);
    if (WR_TASK_PHASE(st) != WR_TASK_QUEUED && WR_TASK_PHASE(st) != WR_TASK_WAITING) return 0;
    i = missing_argument(s, t);
    if (!i) return t->flags & WR_TF_CALL ? actor_process(s, t) : 0;
  }
  return 0;
}

/* ---- cycles ---------------------------------------------------------------------------------- */

/* What the process sleeps for, and has slept for since the last look. */
static uint64_t stands_for(const node *n, uint32_t slot) {
  const node_proc *p = slot < WR_MAX_PROCS ? n->procs[slot] : NULL;
  if (!p || p->dead || p->role != WR_ROLE_WORKER) return 0;
  uint64_t awaits = wr_load(&n->seg.procs[slot].awaits);
  return awaits && awaits == p->awaited ? awaits : 0;
}

static uint32_t next_of(const node *n, uint32_t slot) {
  uint64_t awaits = stands_for(n, slot);
  return awaits ? holder_of(&n->seg, (wr_idx)awaits) : 0;
}

/* How many processes the cycle through this one has; 0: it is in none. */
static uint32_t cycle_length(const node *n, uint32_t slot) {
  uint32_t at = slot;
  for (uint32_t hops = 1; hops <= MAX_HOPS; hops++) {
    at = next_of(n, at);
    if (!at) return 0;
    if (at == slot) return hops;
  }
  return 0;
}

static size_t name_of(const node *n, uint32_t slot, char *out, size_t cap) {
  const char *title = n->seg.procs[slot].title;
  size_t len = strnlen(title, sizeof n->seg.procs[slot].title);
  if (len > 5 && memcmp(title, "ray::", 5) == 0) {
    title += 5;
    len -= 5;
  }
  int k = snprintf(out, cap, "%.*s (pid %d)", (int)len, title, n->procs[slot]->pid);
  return k < 0 ? 0 : (size_t)k < cap ? (size_t)k : cap - 1;
}

static void report(node *n, uint32_t slot, uint32_t length) {
  char text[TEXT];
  size_t k = 0;
  uint32_t at = slot;
  for (uint32_t i = 0; i < length && stands_for(n, at); i++, at = next_of(n, at)) {
    k += name_of(n, at, text + k, TEXT - k);
    k += (size_t)snprintf(text + k, TEXT - k, "%s waits for ", i ? " which" : "");
    if (k >= TEXT - 200) break;
    n->procs[at]->told = n->procs[at]->awaited;
  }
  if (length == 1)
    snprintf(text + k, TEXT - k, "a call on itself");
  else
    name_of(n, slot, text + k, TEXT - k);
  char line[TEXT + 200];
  snprintf(line, sizeof line,
           "Tasks or actors wait for each other and can not go on: %s. A get() inside of them "
           "waits for what can only be made after it; let them return the reference, or use "
           "await.",
           text);
  node_note("%s", line);
  node_job *job = n->procs[slot]->job;
  if (job) node_job_tell(job, WR_MSG_WORKER_TROUBLE, line);
}

static void on_look(uv_timer_t *timer) {
  node *n = timer->data;
  if (n->ending || !n->seg.h) return;
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    uint64_t awaits = stands_for(n, i);
    if (!awaits || n->procs[i]->told == awaits) continue;
    uint32_t length = cycle_length(n, i);
    if (length) report(n, i, length);
  }
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++)
    if (n->procs[i]) n->procs[i]->awaited = wr_load(&n->seg.procs[i].awaits);
}

void node_cycles_init(node *n) {
  uv_timer_init(n->loop, &n->cycles);
  n->cycles.data = n;
  uv_timer_start(&n->cycles, on_look, NODE_LOOK_MS, NODE_LOOK_MS);
}
