/* Watching memory: before the kernel's OOM killer picks a process, which may be the driver, one
 * task or actor ends that can be run again, and the error of one that can not says who used what.
 * The policy is in memory_policy.c; this looks, and does what it says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/memory_policy.h"
#include "node/node.h"
#include "os/os.h"

#define MOST_MS 2000u
#define LISTED 8u /* processes in the error's text */

struct node_memory {
  uv_timer_t timer;
  double threshold;
  uint32_t refresh_ms; /* 0: off */
  int retries;         /* of one task after such deaths; -1: endless */
  const char *cgroup;  /* look at this directory alone, for tests; NULL */
  node_proc *ending;   /* killed here and not swept yet */
  wr_map32 again;      /* task idx + 1 -> low bits of its generation << 16 | how often */
  uint64_t work[WR_MAX_PROCS], since[WR_MAX_PROCS]; /* what each slot ran at the last look */
};

/* ---- configuration --------------------------------------------------------------------------- */

static double setting(const char *ours, const char *rays, double otherwise) {
  const char *text = getenv(ours);
  if (!text) text = getenv(rays);
  char *end;
  double value = text ? strtod(text, &end) : otherwise;
  return text && (end == text || value < -1) ? otherwise : value;
}

static void configure(struct node_memory *m) {
  m->threshold = setting("WHIPRAY_MEMORY_USAGE_THRESHOLD", "RAY_memory_usage_threshold", 0.95);
  double ms = setting("WHIPRAY_MEMORY_MONITOR_REFRESH_MS", "RAY_memory_monitor_refresh_ms", 250);
  m->refresh_ms = ms > 0 && ms < 1e6 ? (uint32_t)ms : 0;
  m->retries = (int)setting("WHIPRAY_TASK_OOM_RETRIES", "RAY_task_oom_retries", -1);
  m->cgroup = getenv("WHIPRAY_MEMORY_CGROUP");
}

/* ---- who runs what --------------------------------------------------------------------------- */

/* The task that the process runs now; NULL: none. */
static const wr_task *task_of(const node_proc *p, wr_idx *idx) {
  const wr_seg *s = &p->n->seg;
  wr_idx i = wr_load32(&s->procs[p->slot].current);
  *idx = i;
  if (!wr_rec_is_task(s, i)) return NULL;
  const wr_task *t = wr_task_at(s, i);
  uint64_t st = wr_load(&t->tstate);
  return WR_TASK_PHASE(st) == WR_TASK_RUNNING && WR_TASK_SLOT(st) == p->slot ? t : NULL;
}

static const wr_actor *actor_of(const node_proc *p) {
  uint32_t a = wr_load32(&p->n->seg.procs[p->slot].actor);
  return a && a <= WR_MAX_ACTORS ? &p->n->seg.actors[a - 1] : NULL;
}

static int can_restart(const wr_actor *a) {
  if (wr_load32(&a->flags) & WR_AF_NO_RESTART) return 0;
  return a->max_restarts < 0 || wr_load32(&a->restarts) < (uint32_t)a->max_restarts;
}

/* 1: *u says what the process does; 0: it does nothing. */
static int look_at(node_proc *p, uint64_t now, node_memory_user *u) {
  struct node_memory *m = p->n->memory;
  wr_idx idx;
  const wr_actor *a = actor_of(p);
  const wr_task *t = task_of(p, &idx);
  if (!a && !t) {
    m->work[p->slot] = 0;
    return 0;
  }
  uint64_t done = wr_load_relaxed(&p->n->seg.procs[p->slot].tasks_done);
  uint64_t work = (uint64_t)p->gen << 32 | (a ? 1u : (uint32_t)done + 2u);
  if (m->work[p->slot] != work) {
    m->work[p->slot] = work;
    m->since[p->slot] = now;
  }
  *u = (node_memory_user){.slot = p->slot, .pid = p->pid, .since_ns = m->since[p->slot]};
  u->retriable = a ? can_restart(a) : t->retries != 0;
  return 1;
}

static size_t look_at_all(node *n, node_memory_user *u) {
  uint64_t now = wr_os_now_ns();
  size_t count = 0;
  for (uint32_t k = 0; k < WR_MAX_PROCS; k++) {
    node_proc *p = n->procs[k];
    if (p && p->role == WR_ROLE_WORKER && p->pid && !p->dead && !p->killed)
      count += (size_t)look_at(p, now, &u[count]);
  }
  return count;
}

/* ---- ending one ------------------------------------------------------------------------------ */

static char *explain(node *n, const node_proc *p, wr_os_memory m, node_memory_user *u,
                     size_t count, int retriable) {
  enum { CAP = 960 }; /* as much as an error made by the engine can say */
  const double mib = 1024 * 1024;
  char *text = wr_alloc(CAP);
  if (!text) return NULL;
  int at = snprintf(text, CAP,
                    "Task was killed due to the node running low on memory.\n"
                    "%.0f MiB of %.0f MiB are in use (%.3f), more than the threshold of %.3f. The "
                    "process %d (%.40s) was ended, as the newest %s.\n"
                    "The object store has %.0f MiB in use, shared by all. Memory of their own:",
                    (double)m.used / mib, (double)m.limit / mib, (double)m.used / (double)m.limit,
                    n->memory->threshold, p->pid, n->seg.procs[p->slot].title,
                    retriable ? "of those that can be run again" : "(none can be run again)",
                    (double)(wr_heap_chunks_used(&n->seg) * WR_CHUNK) / mib);
  node_memory_sort(u, count);
  for (size_t i = 0; i < count && i < LISTED && at < CAP - 80; i++)
    at += snprintf(text + at, CAP - (size_t)at, "\n%6.0f MiB  pid %d  %.40s",
                   (double)u[i].bytes / mib, u[i].pid, n->seg.procs[u[i].slot].title);
  return text;
}

/* May the task be run once more for this reason?  Counted apart from its other retries. */
static int count_retry(struct node_memory *m, wr_idx idx, uint32_t gen) {
  if (m->retries < 0) return 1;
  uint32_t tag = gen << 16, *known = wr_map32_get(&m->again, idx + 1);
  uint32_t before = known && (*known & 0xFFFF0000u) == tag ? *known & 0xFFFF : 0;
  if (before >= (uint32_t)m->retries || before == 0xFFFF) return 0;
  return wr_map32_put(&m->again, idx + 1, tag | (before + 1)) == WR_OK;
}

static void end_one(node *n, wr_os_memory use, node_memory_user *u, size_t count) {
  for (size_t i = 0; i < count; i++) u[i].bytes = wr_os_private_memory(u[i].pid);
  int k = node_memory_victim(u, count);
  if (k < 0) return;
  int retriable = u[k].retriable;
  node_proc *p = n->procs[u[k].slot];
  wr_idx idx;
  const wr_task *t = task_of(p, &idx);
  p->low_memory = explain(n, p, use, u, count, retriable);
  p->run_again = t && retriable && count_retry(n->memory, idx, WR_TASK_GEN(wr_load(&t->tstate)));
  n->memory->ending = p;
  n->memory_kills++;
  node_note("low on memory: ends process %d\n%s", p->pid, p->low_memory ? p->low_memory : "");
  node_proc_kill(p, "the node ran low on memory");
}

static void on_look(uv_timer_t *timer) {
  node *n = timer->data;
  struct node_memory *m = n->memory;
  static node_memory_user users[WR_MAX_PROCS]; /* one thread */
  wr_os_memory use;
  uint32_t next = MOST_MS;
  if (n->ending) return;
  size_t count = look_at_all(n, users);
  if (wr_os_memory_use(m->cgroup, &use) == WR_OK) {
    if (!m->ending && node_memory_short(use.used, use.limit, m->threshold))
      end_one(n, use, users, count);
    next = node_memory_next_look(use.used, use.limit, m->threshold, n->seg.h->cpus, m->refresh_ms,
                                 m->cgroup ? m->refresh_ms : MOST_MS);
  }
  uv_timer_start(timer, on_look, next, 0);
}

int node_memory_has(node *n, uint64_t bytes) {
  const struct node_memory *m = n->memory;
  wr_os_memory use;
  return wr_os_memory_use(m->cgroup, &use) != WR_OK ||
         !node_memory_short(use.used + bytes, use.limit, m->threshold);
}

void node_memory_forget(node *n, const node_proc *p) {
  if (n->memory && n->memory->ending == p) n->memory->ending = NULL;
}

int node_memory_open(node *n) {
  struct node_memory *m = wr_alloc(sizeof *m);
  if (!m) return WR_NOMEM;
  configure(m);
  n->memory = m;
  uv_timer_init(n->loop, &m->timer);
  m->timer.data = n;
  if (m->refresh_ms) uv_timer_start(&m->timer, on_look, m->refresh_ms, 0);
  return WR_OK;
}
