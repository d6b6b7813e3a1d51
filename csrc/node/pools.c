#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "node/pool_policy.h"
#include "os/io.h"
#include "os/os.h"
#include "os/spawn.h"
#include "sched/shapes.h"
#include "wire/messages.h"

#define MAX_FAILURES 5u
#define MAX_EARLY_KILLS 200u /* someone may kill workers at random for a while */
#define REVIEW_MS 5000u
#define SPARE 64u     /* with so few numbers of pools left, some are looked for that nobody uses */
#define SPARE_STEP 8u /* ... each time that so many more have been used */
#define RETRY_NS (INT64_C(100000000)) /* after a failure, times the failures in a row */

/* ---- making and freeing ---------------------------------------------------------------------- */

static node_pool *find(node_job *job, const wr_buf *env) {
  for (uint32_t i = 0; i < WR_MAX_POOLS; i++) {
    node_pool *p = job->n->pools[i];
    if (p && p->job == job && p->env.len == env->len &&
        (env->len == 0 || memcmp(p->env.data, env->data, env->len) == 0))
      return p;
  }
  return NULL;
}

static void publish(node *n, const node_pool *p) {
  wr_pool *r = &n->seg.pools[p->idx];
  r->job = p->job->slot;
  r->env = p->env.len ? p->idx : 0;
  wr_store32(&r->want, 0);
  wr_store(&r->spinning, 0);
  wr_store32(&r->state, WR_POOL_OPEN);
  if (wr_load32(&n->seg.h->npools) <= p->idx) wr_store32(&n->seg.h->npools, p->idx + 1);
}

/* ---- numbers --------------------------------------------------------------------------------- */

uint32_t node_pool_name(const node_pool *p) { return p->idx + p->made * WR_MAX_POOLS; }

node_pool *node_pool_named(const node *n, uint32_t name) {
  node_pool *p = n->pools[name % WR_MAX_POOLS];
  return p && node_pool_name(p) == name ? p : NULL;
}

static uint32_t find_unused(const node *n, uint32_t *left) {
  uint32_t first = WR_MAX_POOLS;
  *left = 0;
  for (uint32_t i = WR_MAX_POOLS - 1; i > 0; i--) {
    if (n->pools[i]) continue;
    first = i;
    ++*left;
  }
  return first;
}

static int has_shapes(const node *n, uint32_t pool) {
  for (uint32_t i = 1; i < WR_MAX_SHAPES; i++)
    if (wr_load32(&n->seg.shapes[i].state) != WR_SHAPE_FREE && n->seg.shapes[i].pool == pool)
      return 1;
  return 0;
}

static void dismiss(node_proc *w) {
  wr_proc *r = &w->n->seg.procs[w->slot];
  w->quitting = 1;
  wr_store32(&r->quit, 1);
  wr_wake(&w->n->seg, w->slot);
}

/* Actors end with the process that created them. */
static int owns_actors(const node *n, uint32_t slot) {
  uint32_t high = wr_load32(&n->seg.h->nactors);
  for (uint32_t i = 0; i < high && i < WR_MAX_ACTORS; i++) {
    const wr_actor *a = &n->seg.actors[i];
    uint32_t phase = WR_ACTOR_PHASE(wr_load(&a->state));
    if (phase != WR_ACTOR_FREE && phase != WR_ACTOR_DEAD && phase != WR_ACTOR_MAKING &&
        a->creator == slot &&
        !(wr_load32(&a->flags) & WR_AF_DETACHED))
      return 1;
  }
  return 0;
}

/* Its workers, if it has any, have nothing to do and own nothing. */
static int is_unused(node_pool *p) {
  node *n = p->job->n;
  if (p->eager || p == p->job->pool || node_job_over(p->job) || has_shapes(n, p->idx)) return 0;
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    const node_proc *w = n->procs[i];
    if (!w || w->pool != p) continue;
    uint32_t activity = wr_load32(&n->seg.procs[i].activity);
    int idle = activity == WR_ACT_PARKED || activity == WR_ACT_SPIN;
    if (!w->dead && !w->quitting && (!idle || w->is_actor || owns_actors(n, i))) return 0;
  }
  return 1;
}

/* A pool that no task, no actor and no other process refers to: tickets of its shapes are worth
 * nothing, and who asks for it by its environment gets it again, or another one. */
static void let_unused_go(node *n) {
  (void)wr_shapes_reclaim(&n->sweeper.self, wr_os_barrier);
  for (uint32_t i = 1; i < WR_MAX_POOLS; i++) {
    node_pool *p = n->pools[i];
    if (!p || p->leaving || !is_unused(p)) continue;
    p->leaving = 1;
    for (uint32_t k = 0; k < WR_MAX_PROCS; k++) {
      node_proc *w = n->procs[k];
      if (w && w->pool == p && !w->dead && !w->quitting) dismiss(w);
    }
    node_pool_left(p);
  }
}

void node_pool_left(node_pool *p) {
  if (p->leaving && p->procs == 0) node_pool_free(p);
}

node_pool *node_pool_get(node_job *job, wr_buf *env, int *rc) {
  node *n = job->n;
  node_pool *p = find(job, env);
  *rc = WR_OK;
  if (p) {
    p->leaving = 0;
    wr_buf_free(env);
    return p;
  }
  uint32_t left, idx = find_unused(n, &left);
  if (left < SPARE && left % SPARE_STEP == 0) {
    let_unused_go(n);
    idx = find_unused(n, &left);
  }
  p = idx < WR_MAX_POOLS ? wr_alloc(sizeof *p) : NULL;
  if (!p) {
    *rc = idx < WR_MAX_POOLS ? WR_NOMEM : WR_LIMIT;
    wr_buf_free(env);
    return NULL;
  }
  p->job = job;
  p->idx = idx;
  p->made = n->pools_made++;
  p->env = *env;
  memset(env, 0, sizeof *env);
  n->pools[idx] = p;
  publish(n, p);
  return p;
}

void node_pool_free(node_pool *p) {
  node *n = p->job->n;
  wr_store32(&n->seg.pools[p->idx].state, WR_POOL_CLOSED);
  node_remake_end_pool(n, p->idx);
  node_shapes_free(n, p->idx);
  wr_store32(&n->seg.pools[p->idx].state, WR_POOL_FREE);
  n->pools[p->idx] = NULL;
  wr_buf_free(&p->env);
  wr_free(p);
}

/* ---- counting -------------------------------------------------------------------------------- */

static uint32_t runnable(const node_pool *p) {
  node *n = p->job->n;
  uint32_t sum = 0;
  for (uint32_t i = 0; i < wr_load32(&n->seg.h->nshapes) && i < WR_MAX_SHAPES; i++)
    if (wr_load32(&n->seg.shapes[i].state) == WR_SHAPE_OPEN && n->seg.shapes[i].pool == p->idx)
      sum += node_shape_runnable(n, i);
  return sum;
}

static void count_worker(node_pool_counts *c, node_proc *w) {
  const wr_proc *r = &w->n->seg.procs[w->slot];
  uint32_t activity = wr_load32(&r->activity);
  if (w->dead || w->killed || w->quitting) return;
  if (w->is_actor || activity == WR_ACT_ACTOR || wr_load32(&r->actor) != 0) {
    w->is_actor = 1;
  } else if (!w->pid || activity == WR_ACT_NONE) {
    c->starting++;
  } else if (activity == WR_ACT_BLOCKED) {
    c->blocked++;
  } else if (activity == WR_ACT_RUN) {
    c->busy++;
  } else {
    c->idle++;
  }
}

static node_pool_counts count(node_pool *p, int with_tasks) {
  node *n = p->job->n;
  node_pool_counts c = {.keep = p->eager ? n->keep_workers : 0, .cpus = n->seg.h->cpus};
  uint32_t seen = 0;
  for (uint32_t i = 0; i < WR_MAX_PROCS && seen < p->procs; i++) {
    if (!n->procs[i] || n->procs[i]->pool != p) continue;
    count_worker(&c, n->procs[i]);
    seen++;
  }
  if (with_tasks) c.runnable = runnable(p);
  wr_store32(&n->seg.pools[p->idx].starting, c.starting);
  wr_store32(&n->seg.pools[p->idx].workers, c.idle + c.busy + c.blocked);
  return c;
}

/* ---- starting -------------------------------------------------------------------------------- */

static void on_worker_hangup(node_conn *c) {
  node_proc *p = c->owner;
  node_conn_close(c);
  p->conn = NULL;
  if (p->pidfd >= 0)
    wr_os_pidfd_signal(p->pidfd, wr_os_sigkill); /* of no use now; mostly it exits by itself */
  else if (!p->pid && !p->server)
    node_proc_died(p, -1);
}

/* fds[0..2]: the worker's socket, output and error output; ours[]: the other ends. */
static int make_channels(int fds[3], int ours[3]) {
  int pair[2];
  for (int i = 0; i < 3; i++) {
    if ((i == 0 ? wr_os_socketpair(pair) : wr_os_pipe(pair)) != WR_OK) {
      while (i-- > 0) {
        wr_os_close(fds[i]);
        wr_os_close(ours[i]);
      }
      return WR_IO;
    }
    ours[i] = pair[0];
    fds[i] = pair[1];
  }
  return WR_OK;
}

void node_pool_worker_refused(node_pool *pool, const char *what, int error) {
  char why[320], text[512];
  wr_os_describe_error(error, why, sizeof why);
  snprintf(text, sizeof text, "%s: %s", what, why);
  node_pool_worker_failed(pool, text);
}

/* That is no failure: the end of another process frees a slot and fills the pools again. */
static void no_slot(node_pool *pool) {
  char text[160];
  pool->wanted = 1;
  if (pool->job->no_slot_told++) return;
  snprintf(text, sizeof text, "another worker could not be started: the session has %u processes, "
           "which is its limit; what needs one waits until another ends", WR_MAX_PROCS - 1);
  node_note("%s", text);
  node_job_tell(pool->job, WR_MSG_WORKER_TROUBLE, text);
}

static int start_worker(node_pool *pool) {
  node_job *job = pool->job;
  int fds[3], ours[3];
  if (make_channels(fds, ours) != WR_OK) {
    node_pool_worker_refused(pool, "another worker could not be connected", errno);
    return WR_IO;
  }
  node_proc *p;
  int rc = node_proc_new(job->n, WR_ROLE_WORKER, job, pool, &p);
  if (rc != WR_OK) {
    for (int i = 0; i < 3; i++) {
      wr_os_close(fds[i]);
      wr_os_close(ours[i]);
    }
    if (rc == WR_LIMIT)
      no_slot(pool);
    else
      node_pool_worker_refused(pool, "another worker could not be started", ENOMEM);
    return rc;
  }
  p->conn = node_conn_open(job->n->loop, ours[0], p, node_on_message, on_worker_hangup);
  rc = node_output_open(p, ours[1], ours[2]);
  int sent = node_server_spawn(job, p, fds), error = errno;
  if (p->conn && rc == WR_OK && sent == WR_OK) return WR_OK;
  if (sent != WR_OK) { /* no process will ever have this slot */
    node_proc_release(p);
    node_pool_worker_refused(pool, "the process that starts workers could not be started", error);
  } else {
    p->killed = 1; /* as soon as it is known */
    node_pool_worker_refused(pool, "another worker could not be connected", ENOMEM);
  }
  return WR_IO;
}

void node_pool_fill(node_pool *p) {
  node *n = p->job->n;
  if (node_job_over(p->job) || n->ending) return;
  /* Cleared before the count: whoever adds work after it asks again. */
  int asked = wr_swap32(&n->seg.pools[p->idx].want, 0) != 0;
  node_pool_counts c = count(p, p->wanted || asked);
  uint32_t start = node_pool_to_start(&c);
  if (start && p->not_before_ns > wr_os_now_ns()) {
    p->wanted |= asked;
    node_pools_review_soon(n);
    return;
  }
  p->wanted = c.runnable > c.idle + c.starting + start;
  for (uint32_t i = 0; i < start && !node_job_over(p->job) && !n->ending; i++)
    if (start_worker(p) != WR_OK) break;
  if (c.idle + c.busy > c.keep) node_pools_review_soon(n);
}

void node_pool_wanted(node *n, uint32_t pool) {
  if (pool >= WR_MAX_POOLS || !n->pools[pool]) return;
  n->pools[pool]->wanted = 1;
  node_pool_fill(n->pools[pool]);
}

void node_pools_fill(node *n) {
  for (uint32_t i = 0; i < WR_MAX_POOLS; i++)
    if (n->pools[i]) node_pool_fill(n->pools[i]);
}

static int has_actors(const node_pool *p) {
  const node *n = p->job->n;
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    const node_proc *w = n->procs[i];
    if (w && w->pool == p && w->is_actor && !w->dead && !w->killed) return 1;
  }
  return 0;
}

/* After several failures in a row, with no worker and no actor at all, nothing would ever run: say
 * so, end. */
static void failed(node_pool *p, const char *what, uint32_t failures, uint32_t limit,
                   uint64_t delay_ns) {
  node_job *job = p->job;
  if (node_job_over(job) || job->n->ending) return;
  node_note("%s", what);
  p->not_before_ns = wr_os_now_ns() + delay_ns;
  node_pool_counts c = count(p, 0);
  if (failures >= limit && c.idle + c.busy + c.blocked == 0 && !has_actors(p)) {
    node_job_fail(job, what);
    return;
  }
  if (failures == 2) node_job_tell(job, WR_MSG_WORKER_TROUBLE, what);
  p->wanted = 1;
  node_pools_review_soon(job->n);
}

void node_pool_worker_failed(node_pool *p, const char *what) {
  uint32_t failures = ++p->failures > p->early_deaths ? p->failures : p->early_deaths;
  failed(p, what, failures, MAX_FAILURES, (uint64_t)RETRY_NS * failures);
}

/* Killed from outside before its first task, or with its fork server: that says little about the
 * next one. */
void node_pool_worker_shot(node_pool *p, const char *what) {
  failed(p, what, ++p->early_kills, MAX_EARLY_KILLS, RETRY_NS);
}

/* ---- review: retiring idle workers, trying again --------------------------------------------- */

/* Idle in two reviews without work in between. */
static int long_idle(node_proc *w) {
  const wr_proc *r = &w->n->seg.procs[w->slot];
  uint64_t done = wr_load_relaxed(&r->tasks_done);
  if (wr_load32(&r->activity) != WR_ACT_PARKED || done != w->idle_done) w->idle_checks = 0;
  w->idle_done = done;
  return ++w->idle_checks > 2;
}

static uint32_t retire(node_pool *p) {
  node *n = p->job->n;
  node_pool_counts c = count(p, 1);
  uint32_t surplus = node_pool_to_retire(&c), left = surplus;
  for (uint32_t i = WR_MAX_PROCS; i-- > 0 && left;) {
    node_proc *w = n->procs[i];
    if (!w || w->pool != p || w->is_actor || w->dead || w->killed || w->quitting) continue;
    if (!long_idle(w) || owns_actors(n, i)) continue;
    dismiss(w);
    left--;
  }
  return c.idle + c.busy > c.keep;
}

static void on_review(uv_timer_t *timer) {
  node *n = timer->data;
  uint32_t again = 0;
  n->reviewing = 0;
  node_pools_fill(n);
  for (uint32_t i = 0; i < WR_MAX_POOLS; i++)
    if (n->pools[i] && !node_job_over(n->pools[i]->job)) again |= retire(n->pools[i]);
  if (again) node_pools_review_soon(n);
}

void node_pools_review_soon(node *n) {
  uint64_t wait = REVIEW_MS, now = wr_os_now_ns();
  if (n->ending) return;
  for (uint32_t i = 0; i < WR_MAX_POOLS; i++) {
    const node_pool *p = n->pools[i];
    if (!p || p->not_before_ns <= now) continue;
    uint64_t ms = (p->not_before_ns - now) / 1000000 + 1;
    if (ms < wait) wait = ms;
  }
  if (n->reviewing && uv_timer_get_due_in(&n->review) <= wait) return;
  n->reviewing = 1;
  uv_timer_start(&n->review, on_review, wait, 0);
}

void node_pools_init(node *n) {
  uv_timer_init(n->loop, &n->review);
  n->review.data = n;
}
