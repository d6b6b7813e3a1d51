#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "os/os.h"
#include "os/spawn.h"

#define ANSWER_MS 100 /* for a fork server to say how much memory the dead had */

static void on_no_answer(uv_timer_t *timer);

/* ---- slots ----------------------------------------------------------------------------------- */

node_proc *node_proc_find(node *n, uint32_t slot) {
  return slot < WR_MAX_PROCS ? n->procs[slot] : NULL;
}

/* Slots are given in turn, so that a number comes back as late as possible. */
static int names_job(const node *n, uint32_t slot) {
  for (const node_job *job = n->jobs; job; job = job->next)
    if (job->slot == slot) return 1;
  return 0;
}

static uint32_t free_slot(node *n) {
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    uint32_t slot = n->next_slot + i;
    if (slot >= WR_MAX_PROCS) slot -= WR_MAX_PROCS;
    if (slot <= NODE_SLOT || n->procs[slot]) continue;
    if (WR_PROC_PHASE(wr_load(&n->seg.procs[slot].state)) != WR_PROC_FREE) continue;
    if (names_job(n, slot)) continue; /* of a driver that has gone and left detached actors */
    return slot;
  }
  return 0;
}

static void clear_record(wr_proc *r) {
  wr_a32 *const words[] = {&r->park, &r->waiting, &r->pid, &r->activity, &r->current, &r->actor,
                           &r->cancel, &r->quit};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) wr_store32(words[i], 0);
  wr_store(&r->awaits, 0);
  wr_store(&r->tasks_done, 0);
  wr_store(&r->tasks_failed, 0);
  memset(r->title, 0, sizeof r->title);
  r->started_ns = wr_os_now_ns();
}

static void publish(node_proc *p, uint32_t phase) {
  wr_store(&p->n->seg.procs[p->slot].state,
           WR_PROC_STATE(phase, p->role, p->pool ? p->pool->idx : 0, p->gen));
}

int node_proc_new(node *n, uint32_t role, node_job *job, node_pool *pool, node_proc **out) {
  uint32_t slot = free_slot(n);
  node_proc *p = *out = slot ? wr_alloc(sizeof *p) : NULL;
  if (!p) return slot ? WR_NOMEM : WR_LIMIT;
  wr_proc *r = &n->seg.procs[slot];
  *p = (node_proc){.n = n, .slot = slot, .role = role, .job = job, .pool = pool, .pidfd = -1,
                   .log_fd = -1, .wait_status = -1};
  p->gen = WR_PROC_GEN(wr_load(&r->state)) + 1;
  if (p->gen == 0) p->gen = 1;
  n->procs[slot] = p;
  n->next_slot = slot + 1;
  if (job && role == WR_ROLE_WORKER) job->procs++;
  if (pool) pool->procs++;
  clear_record(r);
  r->job = job && job->slot ? job->slot : slot;
  publish(p, WR_PROC_STARTING);
  if (wr_load32(&n->seg.h->proc_high) <= slot) wr_store32(&n->seg.h->proc_high, slot + 1);
  return WR_OK;
}

/* ---- life and death -------------------------------------------------------------------------- */

/* The kernel tells how much memory a process had to its parent alone, the fork server, when that
 * reaps it.  It is asked where a death has to be explained. */
static int status_of_process(node_proc *p) {
  int status = -1;
  wr_os_kill_group(p->pid); /* what it has started ends with it */
  if (wr_os_exit_code(p->pid, &status) != WR_OK) status = -1;
  if (p->server && p->server->conn) {
    node_server_reap(p->server, p->pid);
    p->asked = !p->killed && !p->exiting && !p->n->ending;
  } else {
    wr_os_reap(p->pid, 0, &status);
  }
  return status;
}

static void on_pidfd(void *owner) {
  node_proc *p = owner;
  node_proc_died(p, p->role == WR_ROLE_WORKER ? status_of_process(p) : -1);
}

int node_proc_watch(node_proc *p, int pid) {
  p->pid = pid;
  wr_store32(&p->n->seg.procs[p->slot].pid, (uint32_t)pid);
  int fd = wr_os_pidfd_open(pid);
  if (fd >= 0) p->watch = node_watch_open(p->n->loop, fd, p, on_pidfd);
  if (!p->watch) return fd < 0 ? fd : WR_NOMEM;
  p->pidfd = fd;
  if (!p->dead) publish(p, WR_PROC_LIVE);
  return WR_OK;
}

void node_proc_kill(node_proc *p, const char *reason) {
  if (p->dead) return;
  if (!p->killed && reason) snprintf(p->reason, sizeof p->reason, "%s", reason);
  p->killed = 1;
  if (p->pidfd < 0) return;
  if (p->role == WR_ROLE_WORKER)
    wr_os_kill_with_children(p->pidfd, p->pid);
  else
    wr_os_pidfd_signal(p->pidfd, wr_os_sigkill);
}

static void sweep_soon(node_proc *p) {
  p->next_dead = p->n->dead;
  p->n->dead = p;
  uv_idle_start(&p->n->sweep, node_sweep_dead);
}

static void await_answer(node_proc *p) {
  p->next_dead = p->n->asked;
  p->n->asked = p;
  if (!p->next_dead) uv_timer_start(&p->n->answers, on_no_answer, ANSWER_MS, 0);
}

void node_proc_unanswered(node_proc *p) {
  if (!p->asked) return;
  p->asked = 0;
  node_proc **at = &p->n->asked;
  while (*at && *at != p) at = &(*at)->next_dead;
  if (!*at) return;
  *at = p->next_dead;
  sweep_soon(p);
}

/* A fork server that is busy or stopped must not hold up anybody: the errors say a little less. */
static void on_no_answer(uv_timer_t *timer) {
  node *n = timer->data;
  while (n->asked) node_proc_unanswered(n->asked);
}

void node_proc_reaped(node *n, int pid, uint64_t peak_rss) {
  node_proc *p = n->asked;
  while (p && p->pid != pid) p = p->next_dead;
  if (!p) return;
  p->peak_rss = peak_rss;
  node_proc_unanswered(p);
}

void node_procs_init(node *n) {
  uv_idle_init(n->loop, &n->sweep);
  uv_timer_init(n->loop, &n->answers);
  n->sweep.data = n->answers.data = n;
}

void node_proc_died(node_proc *p, int wait_status) {
  if (p->dead) return;
  p->dead = 1;
  p->wait_status = wait_status;
  publish(p, WR_PROC_DEAD);
  node_watch_close(p->watch);
  p->watch = NULL;
  p->pidfd = -1;
  if (p->asked)
    await_answer(p);
  else
    sweep_soon(p);
}

static void let_go(node_proc *p) {
  node *n = p->n;
  if (p->conn) node_conn_close(p->conn);
  node_watch_close(p->watch);
  node_output_close(p);
  if (p->pool) p->pool->procs--;
  node_memory_forget(n, p);
  wr_free(p->low_memory);
  n->procs[p->slot] = NULL;
}

void node_proc_release(node_proc *p) {
  node_job *job = p->job;
  let_go(p);
  publish(p, WR_PROC_FREE);
  int worker = p->role == WR_ROLE_WORKER;
  if (p->pool) node_pool_left(p->pool);
  wr_free(p);
  if (worker) node_job_worker_gone(job);
}

/* ---- the sweep of the dead ------------------------------------------------------------------- */

static int died_early(const node_proc *p) {
  const wr_proc *r = &p->n->seg.procs[p->slot];
  return p->role == WR_ROLE_WORKER && !p->killed && !p->exiting &&
         wr_load32(&r->activity) == WR_ACT_NONE && wr_load_relaxed(&r->tasks_done) == 0;
}

/* Who dies because its fork server has died says nothing about the next one; and the server's own
 * death is counted. */
static int died_with_server(const node_proc *p) { return !p->server || !p->server->conn; }

static void judge(node_proc *p) {
  char text[700], how[96] = "it ended for an unknown reason";
  if (!p->pool) return;
  if (!died_early(p)) {
    p->pool->early_deaths = p->pool->early_kills = p->job->servers_failed = 0;
    return;
  }
  if (died_with_server(p)) return;
  if (p->wait_status >= 0) wr_os_describe_status(p->wait_status, how, sizeof how);
  snprintf(text, sizeof text, "a worker process ended while it started (%s)%s%s", how,
           p->tail[0] ? ": " : "", p->tail);
  if (p->wait_status >= 0 && wr_os_was_killed(p->wait_status)) {
    node_pool_worker_shot(p->pool, text);
  } else {
    p->pool->early_deaths++;
    node_pool_worker_failed(p->pool, text);
  }
}

static void lose_driver(node_proc *p) {
  node_job *job = p->job;
  p->job = NULL;
  job->driver = NULL;
  node_job_end(job, "the driver has exited");
}

static void sweep_one(node_proc *p) {
  node *n = p->n;
  node_output_close(p); /* its last words, before anyone learns that it died */
  if (p->role == WR_ROLE_DRIVER) lose_driver(p);
  wr_death why = {.wait_status = p->wait_status, .pid = p->pid, .peak_rss = p->peak_rss,
                  .low_memory = p->low_memory, .run_again = p->run_again,
                  .reason = p->reason[0] ? p->reason : NULL, .job_over = p->job_over,
                  .in_order = p->exiting && !p->killed};
  if (!n->ending) {
    judge(p);
    int rc = wr_sweep_slot(&n->sweeper, p->slot, &why);
    if (rc != WR_OK) node_note("the sweep of slot %u failed: %s", p->slot, wr_status_text(rc));
  }
  n->deaths++;
  node_proc_release(p);
}

/* Runs once after all events of a loop iteration, when every death among them is marked. */
void node_sweep_dead(uv_idle_t *idle) {
  node *n = idle->data;
  uv_idle_stop(idle);
  node_proc *list = n->dead;
  n->dead = NULL;
  while (list) {
    node_proc *p = list;
    list = p->next_dead;
    sweep_one(p);
  }
  if (n->ending) {
    node_maybe_finish(n);
  } else {
    node_jobs_review(n);
    node_pools_fill(n);
  }
}
