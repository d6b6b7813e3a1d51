#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "os/io.h"
#include "wire/messages.h"

node_job *node_job_new(node *n, node_config *cfg) {
  node_job *job = wr_alloc(sizeof *job);
  if (!job) return NULL;
  job->n = n;
  job->cfg = *cfg;
  memset(cfg, 0, sizeof *cfg);
  job->next = n->jobs;
  n->jobs = job;
  return job;
}

static void free_job(node_job *job) {
  node *n = job->n;
  for (node_job **at = &n->jobs; *at; at = &(*at)->next)
    if (*at == job) {
      *at = job->next;
      break;
    }
  node_server_stop(job->server);
  for (uint32_t i = 0; i < WR_MAX_POOLS; i++)
    if (n->pools[i] && n->pools[i]->job == job) node_pool_free(n->pools[i]);
  node_config_free(&job->cfg);
  wr_free(job);
}

void node_job_drop(node_job *job) { free_job(job); }

void node_job_tell(node_job *job, uint32_t type, const char *text) {
  if (!job->driver || !job->driver->conn) return;
  wr_buf b = {0};
  wr_out_array(&b, 1);
  wr_out_text(&b, text);
  if (!b.failed) node_conn_send(job->driver->conn, type, 0, b.data, b.len, NULL, 0);
  wr_buf_free(&b);
}

static int is_detached(const node_proc *p) {
  const wr_seg *s = &p->n->seg;
  uint32_t actor = wr_load32(&s->procs[p->slot].actor);
  if (actor == 0 || actor > WR_MAX_ACTORS) return 0;
  const wr_actor *a = &s->actors[actor - 1];
  return WR_ACTOR_SLOT(wr_load(&a->state)) == p->slot && (wr_load32(&a->flags) & WR_AF_DETACHED);
}

static int has_detached(const node_job *job) {
  const wr_seg *s = &job->n->seg;
  uint32_t high = wr_load32(&s->h->nactors);
  for (uint32_t i = 0; i < high && i < WR_MAX_ACTORS; i++) {
    const wr_actor *a = &s->actors[i];
    uint32_t phase = WR_ACTOR_PHASE(wr_load(&a->state));
    if (phase == WR_ACTOR_FREE || phase == WR_ACTOR_DEAD || phase == WR_ACTOR_MAKING) continue;
    if (a->job == job->slot && (wr_load32(&a->flags) & WR_AF_DETACHED)) return 1;
  }
  return 0;
}

int node_job_over(const node_job *job) { return job->ended && !job->kept; }

/* What is left of an ended job: its detached actors and what they need, or nothing.  Workers that
 * were killed with the job are waited for. */
static void settle(node_job *job) {
  node *n = job->n;
  uint32_t waiting = 0;
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    const node_proc *p = n->procs[i];
    if (p && p->job == job && p->role == WR_ROLE_WORKER && p->job_over) waiting++;
  }
  if (waiting) return;
  node_proc *driver = job->driver;
  if (driver && job->detach_id && !driver->dead) { /* one that has died is to be swept */
    wr_buf b = {0};
    uint32_t id = job->detach_id;
    job->detach_id = 0;
    wr_out_array(&b, 0);
    wr_death left = {.pid = driver->pid, .in_order = 1, .reason = "the driver left"};
    wr_store(&n->seg.procs[driver->slot].state,
             WR_PROC_STATE(WR_PROC_DEAD, driver->role, 0, driver->gen));
    wr_sweep_slot(&n->sweeper, driver->slot, &left);
    node_conn_reply(driver->conn, id, &b);
    node_conn_drain(driver->conn, INT64_C(100000000));
    job->driver = NULL;
    node_proc_release(driver);
  }
  if (job->procs == 0 && !job->driver && !job->kept) free_job(job);
}

void node_job_worker_gone(node_job *job) {
  job->procs--;
  if (job->ended && !job->n->ending) settle(job);
}

int node_job_spares(node_proc *p) {
  if (!p->job_over || !p->job->kept || !is_detached(p)) return 0;
  uint32_t actor = wr_load32(&p->n->seg.procs[p->slot].actor);
  if (wr_load32(&p->n->seg.actors[actor - 1].flags) & WR_AF_NO_RESTART) return 0; /* kill() */
  p->killed = p->job_over = 0;
  p->reason[0] = 0;
  settle(p->job);
  return 1;
}

/* Ends all but detached actors; pools stay open while one lives. */
static void stop(node_job *job, const char *reason) {
  node *n = job->n;
  for (uint32_t i = 0; i < WR_MAX_POOLS; i++) {
    if (!n->pools[i] || n->pools[i]->job != job) continue;
    n->pools[i]->eager = 0;
    if (!job->kept) wr_store32(&n->seg.pools[i].state, WR_POOL_CLOSED);
  }
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    node_proc *p = n->procs[i];
    if (!p || p->job != job || p->role != WR_ROLE_WORKER || is_detached(p)) continue;
    p->job_over = 1;
    node_proc_kill(p, reason);
  }
  wr_sweep_job(&n->sweeper, job->slot);
  node_groups_of_job(n, job->slot);
  if (job->kept) node_pools_fill(n);
}

void node_jobs_review(node *n) {
  for (node_job *job = n->jobs, *next; job && !n->ending; job = next) {
    next = job->next;
    if (!job->kept || has_detached(job)) continue;
    job->kept = 0;
    stop(job, "its last detached actor has ended");
    settle(job);
  }
}

void node_job_end(node_job *job, const char *reason) {
  node *n = job->n;
  if (job->owner) {
    node_end_session(n, reason);
    return;
  }
  if (!job->ended) {
    job->ended = 1;
    job->kept = has_detached(job);
    stop(job, reason);
  }
  settle(job);
}

void node_job_fail(node_job *job, const char *reason) {
  if (job->ended || job->n->ending) return;
  node_note("job %u fails: %s", job->slot, reason);
  node_job_tell(job, WR_MSG_WORKER_TROUBLE, reason);
  node_job_tell(job, WR_MSG_ENDED, reason);
  node_job_end(job, reason);
  if (job->owner || !job->driver || !job->driver->conn) return;
  /* What its driver submits from now on will never run, and what it submitted just now may have
   * been missed: it is cut off, so that it does not wait. */
  node_conn_drain(job->driver->conn, INT64_C(100000000));
  wr_os_shutdown(job->driver->conn->fd);
}
