#include "base/assert.h"
#include "base/failpoint.h"
#include "client/internal.h"
#include "client/spin.h"
#include "os/os.h"
#include "sched/actor.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "sched/task.h"
#include "store/heap.h"
#include "wire/messages.h"

#define GATHER_NS 1500u
#define GATHER_PAYS 3u /* calls that make up for it */
#define GATHER_TRY 256u /* looks without it, until it is tried again */

static void describe(wr_client *c, wr_idx i, wr_job *job) {
  wr_task *t = wr_task_at(&c->seg, i);
  wr_pins *pins = wr_tasks_pins(&c->seg, t);
  job->idx = i;
  job->gen = WR_TASK_GEN(wr_load_relaxed(&t->tstate));
  job->t = t;
  job->args = wr_at(&c->seg, t->args + t->args_pos);
  job->args_len = t->args_len;
  job->refs = pins->idx;
  job->nrefs = pins->n;
  job->ndeps = t->ndeps;
  job->extra = wr_tasks_extra(&c->seg, t, wr_tasks_nextra(t));
}

static void began(wr_client *c, wr_idx i, wr_job *job) {
  c->running++;
  wr_store32(&c->self.p->current, i);
  wr_store32(&c->self.p->activity,
             wr_load32(&c->self.p->actor) ? WR_ACT_ACTOR : WR_ACT_RUN);
  describe(c, i, job);
}

static int leaving(wr_client *c) {
  return wr_client_ended(c) || wr_load32(&c->self.p->quit);
}

/* ---- plain workers -------------------------------------------------------------------------- */

/* This process is to be the actor, unless the actor has been killed meanwhile: then the creation
 * is answered here, since the daemon leaves alone what a living process has claimed. */
static int stand_in(wr_client *c, wr_idx i) {
  wr_task *t = wr_task_at(&c->seg, i);
  uint32_t actor = t->actor - 1;
  uint32_t phase = WR_ACTOR_PHASE(wr_load(&c->seg.actors[actor].state));
  wr_store32(&c->self.p->actor, actor + 1);
  c->actor_gen = t->actor_gen;
  WR_FAILPOINT("actor.bound");
  if (phase == WR_ACTOR_RESTARTING || phase == WR_ACTOR_PENDING) {
    int mine = wr_actor_move(&c->seg, actor, t->actor_gen, phase, phase, phase, c->slot);
    WR_FAILPOINT("actor.placed");
    if (mine) return 1;
  }
  wr_store32(&c->self.p->actor, 0);
  t->flags &= (uint16_t)~WR_TF_CREATION;
  wr_actor_fail_call(&c->self, i);
  return 0;
}

static int take_task(wr_client *c, wr_job *job) {
  wr_idx i = 0;
  wr_lock(c);
  int rc;
  do rc = wr_queue_take(&c->self, c->pool, &i);
  while (rc == WR_OK && (wr_task_at(&c->seg, i)->flags & WR_TF_CREATION) && !stand_in(c, i));
  if (rc == WR_OK) began(c, i, job);
  wr_unlock(c);
  return rc;
}

static int work_in_sight(void *arg) {
  wr_client *c = arg;
  return leaving(c) || wr_queue_has_work(&c->seg, c->pool);
}

/* One worker of a pool watches the queues; the others sleep. */
static int watch_queues(wr_client *c, uint64_t *began) {
  wr_a64 *spinning = &c->seg.pools[c->pool].spinning;
  uint64_t none = 0;
  if (c->seg.h->cpus < 2 || !wr_cas(spinning, &none, c->slot + 1)) return 0;
  wr_store32(&c->self.p->activity, WR_ACT_SPIN);
  int found = wr_spin(&c->spin_idle, work_in_sight, c, began);
  uint64_t me = c->slot + 1;
  (void)wr_cas(spinning, &me, 0);
  wr_fence(); /* those who relied on us see us gone, or we see their work */
  return found || work_in_sight(c);
}

/* Lies down until a wake-up.  Work is looked for once more after the bed is made. */
static int lie_down(wr_client *c, wr_job *job, int64_t deadline_ns, uint64_t began) {
  wr_proc *p = c->self.p;
  uint32_t seen = wr_events(c);
  wr_lock(c);
  wr_heap_make_room(&c->self);
  wr_ledger_release(&c->self);
  wr_store32(&p->activity, WR_ACT_PARKED);
  wr_pool_set_idle(&c->seg, c->pool, c->slot);
  WR_FAILPOINT("work.idle");
  wr_pool_kick_all(&c->self); /* what we gave back may be what others lack */
  wr_unlock(c);
  int rc = take_task(c, job);
  if (rc == WR_OK) {
    wr_pool_clear_idle(&c->seg, c->pool, c->slot);
    return WR_OK;
  }
  if (c->rest) c->rest(c->rest_ctx);
  rc = leaving(c) ? WR_OK : wr_park(c, seen, deadline_ns);
  wr_pool_clear_idle(&c->seg, c->pool, c->slot);
  if (rc == WR_OK) wr_spin_slept(c, &c->spin_idle, began);
  return rc == WR_OK ? WR_AGAIN : rc;
}

/* Others may have been told nothing of what is left. */
static void pass_on(wr_client *c) {
  if (!wr_queue_has_work(&c->seg, c->pool)) return;
  wr_lock(c);
  wr_pool_kick(&c->self, c->pool);
  wr_unlock(c);
}

static int next_task(wr_client *c, wr_job *job, int64_t deadline_ns) {
  for (;;) {
    int rc = take_task(c, job);
    if (rc == WR_AGAIN && leaving(c)) return wr_client_ended(c) ? WR_CLOSED : WR_DEAD;
    uint64_t began = 0;
    if (rc == WR_AGAIN && watch_queues(c, &began)) rc = take_task(c, job);
    if (rc == WR_AGAIN) rc = lie_down(c, job, deadline_ns, began);
    if (rc == WR_AGAIN) continue;
    if (rc == WR_OK) pass_on(c);
    return rc;
  }
}

/* ---- actors --------------------------------------------------------------------------------- */

/* A caller that does not wait for its calls takes about as long for each as we do, and then every
 * call that is taken by itself costs both of us the lines of the mailbox.  Where waiting for a
 * moment lets several come, that is done before each look; whether it would is tried now and then.
 * Who waits for its call loses little: GATHER_NS in GATHER_TRY calls. */
static void gather(wr_client *c) {
  uint32_t skip = wr_load32(&c->gather_skip);
  wr_store32(&c->gather_skip, skip ? skip - 1 : 0);
  if (skip) return;
  uint64_t from = wr_os_now_ns();
  do wr_cpu_relax();
  while (wr_os_now_ns() - from < GATHER_NS);
  wr_store32(&c->gathers, 1);
}

/* So many calls came together. */
static void gathered(wr_client *c, uint32_t calls) {
  if (!wr_load32(&c->gathers)) return;
  wr_store32(&c->gathers, 0);
  if (calls < GATHER_PAYS) wr_store32(&c->gather_skip, GATHER_TRY);
}

static void fetch_calls(wr_client *c, uint32_t actor) {
  wr_backlog *b = &c->backlog;
  wr_idx i = WR_UNLIKELY(b->rest) ? b->rest : wr_actor_take_all(&c->self, actor);
  if (i && b->head == b->v.n) b->head = b->v.n = 0;
  uint32_t before = b->v.n;
  while (i) {
    wr_idx next = wr_load32(&wr_task_at(&c->seg, i)->qnext);
    if (wr_vec32_push(&b->v, i) < 0) break;
    i = next;
  }
  b->rest = i;
  gathered(c, b->v.n - before);
}

/* Is an earlier call of the same caller waiting for an argument?  Callers of ordered actors. */
static int caller_waits(const uint16_t *blocked, uint32_t n, uint16_t caller) {
  for (uint32_t k = 0; k < n; k++)
    if (blocked[k] == caller) return 1;
  return 0;
}

static void remove_at(wr_backlog *b, uint32_t k) {
  if (k == b->head) {
    b->head++;
    return;
  }
  for (; k > b->head; k--) b->v.v[k] = b->v.v[k - 1];
  b->head++;
}

static int claim_call(wr_client *c, uint32_t k, wr_job *job) {
  wr_idx i = c->backlog.v.v[k];
  wr_task *t = wr_task_at(&c->seg, i);
  uint64_t st = wr_load(&t->tstate);
  remove_at(&c->backlog, k);
  WR_FAILPOINT("actor.fetched");
  if (WR_TASK_PHASE(st) != WR_TASK_QUEUED || !wr_tasks_claim(&c->self, i, WR_TASK_GEN(st))) {
    wr_tasks_unlinked(&c->self, i);
    return WR_AGAIN;
  }
  if (wr_load32(&t->cancel) & WR_CANCEL_WANTED) {
    wr_tasks_fail_cancelled(&c->self, i, "It had not begun.");
    return WR_AGAIN;
  }
  began(c, i, job);
  return WR_OK;
}

/* 0: it is still to come, and we will be woken. */
static int watch_argument(wr_client *c, wr_idx i) {
  uint32_t gen = wr_gen_of(&c->seg, i);
  int rc = wr_objects_watch(&c->seg, i, gen, c->slot);
  int remade = rc == 1 && wr_value_remade(c, (wr_id){i, gen});
  return remade ? wr_objects_watch_value(&c->seg, i, gen, c->slot) : rc;
}

/* The first call that may run: its arguments are there and no earlier one of its caller waits.
 * *held_up: a call waits for an argument, and a wake-up has been asked for. */
static int look_for_call(wr_client *c, const wr_actor *a, wr_job *job, int *held_up) {
  enum { REMEMBERED = 64 };
  uint16_t blocked[REMEMBERED];
  uint32_t nblocked = 0;
  int ordered = a->max_concurrency <= 1 && !(wr_load32(&a->flags) & WR_AF_ANY_ORDER);
  int rc = WR_AGAIN;
  *held_up = 0;
  for (uint32_t k = c->backlog.head; rc == WR_AGAIN && k < c->backlog.v.n; k++) {
    wr_idx i = c->backlog.v.v[k];
    wr_task *t = wr_task_at(&c->seg, i);
    if (WR_TASK_PHASE(wr_load(&t->tstate)) != WR_TASK_QUEUED) { /* cancelled */
      rc = claim_call(c, k, job);
      continue;
    }
    if (ordered && caller_waits(blocked, nblocked, t->submitter)) continue;
    uint32_t dep = t->ndeps ? wr_tasks_pending_dep(&c->seg, t) : 0;
    wr_idx d = dep < t->ndeps ? wr_tasks_pins(&c->seg, t)->idx[dep] : 0;
    if (d && watch_argument(c, d) == 0) {
      *held_up = 1;
      if (ordered && nblocked == REMEMBERED) break;
      if (ordered) blocked[nblocked++] = t->submitter;
      continue;
    }
    rc = d ? WR_AGAIN : claim_call(c, k, job);
    if (d) k--; /* sealed just now: look at its next argument */
  }
  return rc;
}

/* There was no memory for calls that have come: perhaps there is now. */
static int look_for_rest(wr_client *c, uint32_t actor, wr_job *job, int *held_up) {
  fetch_calls(c, actor);
  int rc = look_for_call(c, wr_actor_at(&c->seg, actor), job, held_up);
  return rc == WR_AGAIN && c->backlog.rest ? WR_NOMEM : rc;
}

static int take_call(wr_client *c, uint32_t actor, wr_job *job) {
  const wr_actor *a = wr_actor_at(&c->seg, actor);
  int held_up, rc = WR_AGAIN;
  wr_lock(c);
  int next_is_here = c->backlog.head != c->backlog.v.n && !c->held_up;
  if (next_is_here) rc = look_for_call(c, a, job, &held_up);
  if (rc == WR_AGAIN) {
    fetch_calls(c, actor);
    rc = look_for_call(c, a, job, &held_up);
  }
  if (rc == WR_AGAIN && WR_UNLIKELY(c->backlog.rest)) rc = look_for_rest(c, actor, job, &held_up);
  if (WR_UNLIKELY(held_up != c->held_up)) {
    c->held_up = held_up;
    wr_mark_waiting(c);
    /* An object with many watchers wakes those marked so: one may have been sealed before. */
    if (held_up && rc == WR_AGAIN) rc = look_for_call(c, a, job, &held_up);
  }
  wr_unlock(c);
  return rc;
}

typedef struct {
  wr_client *c;
  uint32_t actor, seen;
} mail;

static int mail_in_sight(void *arg) {
  mail *m = arg;
  return leaving(m->c) || wr_events(m->c) != m->seen ||
         wr_tag_value(wr_load(&m->c->seg.actors[m->actor].mailbox)) != 0;
}

/* Nobody has a handle any more, and all calls are done.  An actor whose process dies before that is
 * restarted as any other: there are calls left. */
static int retires(wr_client *c, uint32_t actor) {
  wr_actor *a = &c->seg.actors[actor];
  if (!(wr_load32(&a->flags) & WR_AF_RETIRE) || c->backlog.head != c->backlog.v.n ||
      c->backlog.rest || c->running ||
      wr_tag_value(wr_load(&a->mailbox)) != 0)
    return 0;
  wr_work_actor_exit(c);
  return 1;
}

/* The record may be another actor's already, when this one was killed and we are about to be. */
static int is_still(wr_client *c, uint32_t actor) {
  uint64_t st = wr_load(&c->seg.actors[actor].state);
  return WR_ACTOR_GEN(st) == c->actor_gen && WR_ACTOR_PHASE(st) != WR_ACTOR_DEAD;
}

static int next_call(wr_client *c, uint32_t actor, wr_job *job, int64_t deadline_ns) {
  for (;;) {
    if (!is_still(c, actor)) return WR_DEAD;
    mail m = {c, actor, wr_events(c)};
    int rc = take_call(c, actor, job);
    if (rc != WR_AGAIN) return rc;
    if (leaving(c)) return wr_client_ended(c) ? WR_CLOSED : WR_DEAD;
    if (retires(c, actor)) return WR_DEAD;
    uint64_t began = 0;
    if (c->seg.h->cpus > 1 && wr_spin(&c->spin_idle, mail_in_sight, &m, &began)) {
      gather(c);
      continue;
    }
    if (wr_tag_value(wr_load(&c->seg.actors[actor].mailbox))) continue;
    wr_lock(c);
    wr_heap_make_room(&c->self);
    wr_unlock(c);
    if (c->rest) c->rest(c->rest_ctx);
    rc = wr_park(c, m.seen, deadline_ns);
    if (rc != WR_OK) return rc;
    wr_spin_slept(c, &c->spin_idle, began);
  }
}

/* ---- both ----------------------------------------------------------------------------------- */

void wr_work_at_rest(wr_client *c, void (*rest)(void *ctx), void *ctx) {
  c->rest = rest;
  c->rest_ctx = ctx;
}

int wr_work_next(wr_client *c, wr_job *job, int64_t timeout_ns) {
  int64_t deadline = timeout_ns < 0 ? -1 : (int64_t)wr_os_now_ns() + timeout_ns;
  uint32_t actor = wr_load32(&c->self.p->actor);
  return actor ? next_call(c, actor - 1, job, deadline) : next_task(c, job, deadline);
}

int wr_work_try(wr_client *c, wr_job *job) {
  uint32_t actor = wr_load32(&c->self.p->actor);
  if (actor) return is_still(c, actor - 1) ? take_call(c, actor - 1, job) : WR_AGAIN;
  int rc = take_task(c, job);
  if (rc == WR_OK) pass_on(c);
  return rc;
}

int wr_work_in_sight(wr_client *c) {
  uint32_t actor = wr_load32(&c->self.p->actor);
  if (!actor) return 0;
  if (wr_tag_value(wr_load(&c->seg.actors[actor - 1].mailbox))) return 1;
  wr_lock(c);
  int left = (c->backlog.head != c->backlog.v.n && !c->held_up) || c->backlog.rest;
  wr_unlock(c);
  return left;
}

static void ended(wr_client *c, int is_error) {
  wr_proc *p = c->self.p;
  c->running--;
  wr_store32(&p->current, 0);
  wr_store_relaxed(&p->tasks_done, wr_load_relaxed(&p->tasks_done) + 1);
  if (is_error) wr_store_relaxed(&p->tasks_failed, wr_load_relaxed(&p->tasks_failed) + 1);
}

int wr_work_finish(wr_client *c, const wr_job *job, int is_error, uint16_t flags) {
  int remakes = job->t->flags & WR_TF_REMAKE;
  wr_lock(c);
  wr_tasks_finish(&c->self, job->idx, is_error, flags);
  ended(c, is_error);
  wr_unlock(c);
  if (WR_UNLIKELY(remakes)) (void)wr_rpc_notify(c, WR_MSG_REMADE, "\x90", 1);
  return WR_OK;
}

int wr_work_postpone(wr_client *c, const wr_job *job) {
  wr_lock(c);
  int rc = wr_tasks_postpone(&c->self, job->idx);
  c->running--;
  wr_store32(&c->self.p->current, 0);
  wr_unlock(c);
  return rc;
}

int wr_work_retry(wr_client *c, const wr_job *job) {
  wr_lock(c);
  wr_tasks_requeue(&c->self, job->idx);
  ended(c, 1);
  wr_unlock(c);
  return WR_OK;
}

static void keep_for_life(wr_client *c, const wr_actor *a, uint32_t placed) {
  if (a->shape == placed) return;
  wr_ledger_release(&c->self);
  WR_FAILPOINT("actor.released");
  wr_pool_kick_all(&c->self);
}

int wr_work_actor_up(wr_client *c, const wr_job *job, int ok) {
  uint32_t actor = wr_load32(&c->self.p->actor) - 1; /* the task may be another's when it failed */
  if (actor >= WR_MAX_ACTORS || !is_still(c, actor)) return WR_DEAD;
  wr_actor *a = wr_actor_at(&c->seg, actor);
  wr_lock(c);
  wr_store32(&a->last_pid, (uint32_t)wr_os_pid());
  if (ok) {
    keep_for_life(c, a, WR_TASK_SHAPE(wr_load(&job->t->tstate)));
    wr_actor_move(&c->seg, actor, c->actor_gen, WR_ACTOR_PENDING, WR_ACTOR_RESTARTING,
                  WR_ACTOR_ALIVE, c->slot);
    WR_FAILPOINT("actor.alive");
  } else {
    wr_store32(&a->cause, WR_CAUSE_CONSTRUCTOR);
    WR_FAILPOINT("actor.failed");
    atomic_fetch_or(&a->flags, WR_AF_NO_RESTART);
  }
  wr_unlock(c);
  uint8_t body[8] = {0x91, 0xce, (uint8_t)(actor >> 24), (uint8_t)(actor >> 16),
                     (uint8_t)(actor >> 8), (uint8_t)actor};
  if (ok) (void)wr_rpc_notify(c, WR_MSG_ACTOR_UP, body, 6);
  return WR_OK;
}

void wr_work_actor_exit(wr_client *c) {
  uint32_t actor = wr_load32(&c->self.p->actor);
  if (!actor) return;
  wr_actor *a = wr_actor_at(&c->seg, actor - 1);
  wr_actor_note_cause(a, WR_CAUSE_EXITED);
  WR_FAILPOINT("actor.exit");
  atomic_fetch_or(&a->flags, WR_AF_NO_RESTART);
}
