#include <string.h>

#include "base/assert.h"
#include "client/internal.h"
#include "client/spin.h"
#include "os/os.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "store/heap.h"
#include "store/objects.h"

int wr_object_phase_of(wr_client *c, wr_id id) {
  uint64_t st = wr_load(&wr_obj(&c->seg, id.idx)->state);
  uint32_t phase = WR_OBJ_PHASE(st);
  if (WR_OBJ_GEN(st) != id.gen || phase == WR_OBJ_FREE || phase >= WR_OBJ_DYING) return WR_STALE;
  return (int)phase;
}

int wr_watch(wr_client *c, wr_id id) { return wr_objects_watch(&c->seg, id.idx, id.gen, c->slot); }

/* ---- what wr_wait_objects looks at ----------------------------------------------------------- */

typedef struct {
  wr_client *c;
  const wr_id *ids;
  size_t n, want;
  int stop_on_error;
  size_t pending; /* found by the last look: how many are pending */
  size_t last;    /* and the last of them */
} wait_set;

/* 1: the condition holds. */
static int enough(wait_set *w) {
  w->pending = 0;
  for (size_t i = 0; i < w->n; i++) {
    int phase = wr_object_phase_of(w->c, w->ids[i]);
    if (phase == WR_OBJ_PENDING) {
      w->pending++;
      w->last = i;
    } else if (w->stop_on_error && phase != WR_OBJ_READY) {
      return 1;
    }
    if (!w->stop_on_error && i + 1 - w->pending >= w->want) return 1;
  }
  return w->n - w->pending >= w->want;
}

/* Asks to be woken.  Waiting for all needs only the last one: tasks end about in order, and an
 * error wakes everybody who waits.  1: something has been sealed meanwhile. */
static int watch(wait_set *w) {
  if (w->want == w->n) {
    wr_id id = w->ids[w->last];
    wr_store(&w->c->self.p->awaits, (uint64_t)id.gen << 32 | id.idx);
    return wr_watch(w->c, id) != 0;
  }
  for (size_t i = 0; i < w->n; i++) {
    if (wr_object_phase_of(w->c, w->ids[i]) != WR_OBJ_PENDING) continue;
    if (wr_watch(w->c, w->ids[i]) != 0) return 1;
  }
  return 0;
}

static int look(void *arg) {
  wait_set *w = arg;
  if (enough(w)) return 1;
  return watch(w) ? -1 : 0;
}

/* Cheap tests while spinning: only what the last look found pending last, or each of a few. */
static int last_is_sealed(void *arg) {
  wait_set *w = arg;
  return wr_client_ended(w->c) || wr_object_phase_of(w->c, w->ids[w->last]) != WR_OBJ_PENDING;
}

static int any_is_sealed(void *arg) {
  wait_set *w = arg;
  return wr_client_ended(w->c) || enough(w);
}

/* ---- giving the CPU back while a task waits -------------------------------------------------- */

void wr_mark_waiting(wr_client *c) {
  wr_store32(&c->self.p->waiting, c->sleepers || c->held_up);
}

/* 1: this wait counts as one inside a task, which leave() has to know.  Also a task that holds no
 * CPU makes room: its children may need a worker of their own. */
static int enter(wr_client *c, int keep_cpu) {
  wr_lock(c);
  c->sleepers++;
  wr_mark_waiting(c);
  int in_task = c->is_worker && c->running && !keep_cpu;
  if (in_task && c->blocked++ == 0) {
    c->active = wr_load32(&c->self.p->activity);
    wr_store32(&c->self.p->activity, WR_ACT_BLOCKED);
    wr_ledger_release_cpu(&c->self);
    wr_pool_kick_all(&c->self);
  }
  wr_unlock(c);
  return in_task;
}

static void leave(wr_client *c, int in_task) {
  wr_lock(c);
  c->sleepers--;
  wr_mark_waiting(c);
  if (in_task && --c->blocked == 0) {
    wr_ledger_retake_cpu(&c->self);
    wr_store32(&c->self.p->activity, c->active);
  }
  wr_unlock(c);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Others may lack the memory that this process has cut into blocks and does not use. */
static void give_room(wr_client *c) {
  if (WR_LIKELY(wr_load32(&c->seg.h->room_wanted) == c->self.room_seen)) return;
  wr_lock(c);
  wr_heap_make_room(&c->self);
  wr_unlock(c);
}

/* What is registered with wr_watch is looked at again after `waiting` is set: an object that more
 * processes watch than it has room for wakes only those that are marked so. */
static int sleep_until(wr_client *c, const wr_waiter *w, int64_t deadline_ns) {
  for (;;) {
    uint32_t seen = wr_events(c);
    int found = w->look(w->arg);
    if (found > 0) return WR_OK;
    if (wr_client_ended(c)) return WR_CLOSED;
    if (found < 0) continue;
    give_room(c);
    int rc = wr_park(c, seen, deadline_ns);
    if (rc == WR_TIMEOUT) return w->look(w->arg) > 0 ? WR_OK : WR_TIMEOUT;
    if (rc != WR_OK) return rc;
  }
}

static int wait_until(wr_client *c, const wr_waiter *w, int64_t deadline_ns, int keep_cpu) {
  uint64_t began = 0;
  if (deadline_ns == 0) return WR_TIMEOUT;
  if (wr_client_ended(c)) return WR_CLOSED;
  if (c->seg.h->cpus > 1 && wr_spin(&c->spin_wait, w->sign, w->arg, &began) &&
      w->look(w->arg) > 0)
    return WR_OK;
  int in_task = enter(c, keep_cpu);
  int rc = sleep_until(c, w, deadline_ns);
  leave(c, in_task);
  if (rc == WR_OK) wr_spin_slept(c, &c->spin_wait, began);
  return rc;
}

int wr_wait_until(wr_client *c, const wr_waiter *w, int64_t deadline_ns) {
  return wait_until(c, w, deadline_ns, 0);
}

int wr_wait_busy(wr_client *c, const wr_waiter *w, int64_t deadline_ns) {
  return wait_until(c, w, deadline_ns, 1);
}

int wr_wait_objects(wr_client *c, const wr_id *ids, size_t n, size_t want, int stop_on_error,
                    int64_t deadline_ns) {
  wait_set set = {c, ids, n, want, stop_on_error, 0, 0};
  int few = want != n && n <= 16;
  wr_waiter w = {look, few ? any_is_sealed : last_is_sealed, &set};
  if (enough(&set)) return WR_OK;
  if (c->is_worker && c->running) wr_urge(c, ids, n);
  int rc = wr_wait_until(c, &w, deadline_ns);
  if (want == n) wr_store(&c->self.p->awaits, 0);
  return rc;
}

uint32_t wr_wakeups(const wr_client *c) { return wr_events(c); }

int wr_wait_change(wr_client *c, uint64_t *seen, int64_t timeout_ns) {
  int64_t deadline = timeout_ns < 0 ? -1 : (int64_t)wr_os_now_ns() + timeout_ns;
  uint32_t last = (uint32_t)*seen;
  int rc = WR_OK;
  wr_lock(c);
  c->sleepers++;
  wr_mark_waiting(c);
  wr_unlock(c);
  give_room(c);
  while (wr_events(c) == last && rc == WR_OK && !wr_client_ended(c))
    rc = wr_park(c, last, deadline);
  wr_lock(c);
  c->sleepers--;
  wr_mark_waiting(c);
  wr_unlock(c);
  *seen = wr_events(c);
  return wr_client_ended(c) ? WR_CLOSED : rc;
}
