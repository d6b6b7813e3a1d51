#include <string.h>

#include "base/assert.h"
#include "client/internal.h"
#include "client/spin.h"
#include "os/os.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "store/objects.h"

int wr_object_phase_of(wr_client *c, wr_id id) {
  uint64_t st = wr_load(&wr_obj(&c->seg, id.idx)->state);
  uint32_t phase = WR_OBJ_PHASE(st);
  if (WR_OBJ_GEN(st) != id.gen || phase == WR_OBJ_FREE || phase >= WR_OBJ_DYING) return WR_STALE;
  return (int)phase;
}

int wr_watch(wr_client *c, wr_id id) { return wr_objects_watch(&c->seg, id.idx, id.gen, c->slot); }

/* ---- what a waiting thread looks at --------------------------------------------------------- */

typedef struct {
  wr_client *c;
  const wr_id *ids;
  size_t n, want;
  int stop_on_error;
  size_t pending; /* found by the last look: how many are pending */
  size_t last;    /* and the last of them */
} wait_set;

/* 1: the condition holds. */
static int look(wait_set *w) {
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

/* Cheap test while spinning: only what the last look found pending last. */
static int last_is_sealed(void *arg) {
  wait_set *w = arg;
  if (wr_client_ended(w->c)) return 1;
  return wr_object_phase_of(w->c, w->ids[w->last]) != WR_OBJ_PENDING;
}

static int any_is_sealed(void *arg) {
  wait_set *w = arg;
  return wr_client_ended(w->c) || look(w);
}

/* Asks to be woken.  Waiting for all needs only the last one: tasks end about in order, and an
 * error wakes everybody who waits.  1: something has been sealed meanwhile. */
static int watch(wait_set *w) {
  if (w->want == w->n) return wr_watch(w->c, w->ids[w->last]) != 0;
  for (size_t i = 0; i < w->n; i++) {
    if (wr_object_phase_of(w->c, w->ids[i]) != WR_OBJ_PENDING) continue;
    if (wr_watch(w->c, w->ids[i]) != 0) return 1;
  }
  return 0;
}

/* ---- giving the CPU back while a task waits -------------------------------------------------- */

void wr_mark_waiting(wr_client *c) {
  wr_store32(&c->self.p->waiting, c->sleepers || c->held_up);
}

static void enter(wr_client *c) {
  wr_lock(c);
  c->sleepers++;
  wr_mark_waiting(c);
  if (c->is_worker && c->running && c->blocked++ == 0 && wr_load(&c->self.p->claim)) {
    wr_store32(&c->self.p->activity, WR_ACT_BLOCKED);
    wr_ledger_release_cpu(&c->self);
    wr_pool_kick_all(&c->self);
  }
  wr_unlock(c);
}

static void leave(wr_client *c, int was_blocked) {
  wr_lock(c);
  c->sleepers--;
  wr_mark_waiting(c);
  if (was_blocked && --c->blocked == 0 && wr_load(&c->self.p->claim)) {
    wr_ledger_retake_cpu(&c->self);
    wr_store32(&c->self.p->activity, WR_ACT_RUN);
  }
  wr_unlock(c);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int sleep_once(wait_set *w, int64_t deadline_ns) {
  wr_client *c = w->c;
  uint32_t seen = wr_events(c);
  if (look(w)) return WR_OK;
  if (watch(w)) return WR_OK;
  int rc = wr_park(c, seen, deadline_ns);
  return rc == WR_TIMEOUT && look(w) ? WR_OK : rc;
}

int wr_wait_objects(wr_client *c, const wr_id *ids, size_t n, size_t want, int stop_on_error,
                    int64_t deadline_ns) {
  wait_set w = {c, ids, n, want, stop_on_error, 0, 0};
  if (look(&w)) return WR_OK;
  if (deadline_ns == 0) return WR_TIMEOUT;
  if (wr_client_ended(c)) return WR_CLOSED;
  int few = want == n ? 0 : n <= 16;
  uint64_t began = 0;
  if (c->seg.h->cpus > 1 &&
      wr_spin(&c->spin_wait, few ? any_is_sealed : last_is_sealed, &w, &began) && look(&w))
    return WR_OK;
  enter(c);
  int blocked = c->is_worker && c->running, rc;
  do rc = sleep_once(&w, deadline_ns);
  while (rc == WR_OK && !look(&w) && !wr_client_ended(c));
  leave(c, blocked);
  if (rc == WR_OK) wr_spin_slept(c, &c->spin_wait, began);
  if (rc == WR_OK && !look(&w)) return WR_CLOSED;
  return rc;
}

int wr_wait_change(wr_client *c, uint64_t *seen, int64_t timeout_ns) {
  int64_t deadline = timeout_ns < 0 ? -1 : (int64_t)wr_os_now_ns() + timeout_ns;
  uint32_t last = (uint32_t)*seen;
  int rc = WR_OK;
  wr_lock(c);
  c->sleepers++;
  wr_mark_waiting(c);
  wr_unlock(c);
  while (wr_events(c) == last && rc == WR_OK && !wr_client_ended(c))
    rc = wr_park(c, last, deadline);
  wr_lock(c);
  c->sleepers--;
  wr_mark_waiting(c);
  wr_unlock(c);
  *seen = wr_events(c);
  return wr_client_ended(c) ? WR_CLOSED : rc;
}
