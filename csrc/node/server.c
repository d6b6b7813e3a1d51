#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "os/files.h"
#include "os/os.h"
#include "os/spawn.h"
#include "wire/messages.h"

#define MAX_FAILURES 3u
#define MAX_ARGS 256u

static const char *const program =
    "import os, sys\n"
    "path = os.fsdecode(bytes.fromhex(sys.argv.pop(1)))\n"
    "sys.path[:] = path.split('\\0')[:-1] or sys.path\n"
    "del path, os\n"
    "from whipray._private.fork_server import main\n"
    "main()\n";

/* ---- command line and environment ------------------------------------------------------------ */

static void append_hex(wr_buf *out, const wr_buf *in) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < in->len; i++) {
    char two[2] = {digits[in->data[i] >> 4], digits[in->data[i] & 15]};
    wr_buf_append(out, two, 2);
  }
  wr_buf_append(out, "", 1);
}

/* Pointers to the entries of a list of NUL-terminated texts. */
static size_t point_at(const wr_buf *list, char **argv, size_t n, size_t cap) {
  for (size_t at = 0; at < list->len && n < cap; at += strlen((char *)list->data + at) + 1)
    argv[n++] = (char *)list->data + at;
  return n;
}

static int same_name(const char *a, const char *b) {
  size_t n = strcspn(a, "=");
  return strncmp(a, b, n + 1) == 0;
}

/* The daemon's own environment (the driver's), the job's over it, and what workers need. */
static char **make_env(const node_job *job, wr_buf *own) {
  char **inherited = wr_os_environment();
  char text[160];
  size_t n = 0, count = 16;
  while (inherited[n]) n++;
  for (size_t i = 0; i < job->cfg.env.len; i++) count += job->cfg.env.data[i] == 0;
  snprintf(text, sizeof text, "WHIPRAY_SESSION_DIR=%s", job->n->dir);
  wr_buf_append(own, text, strlen(text) + 1);
  char **env = own->failed ? NULL : wr_alloc((n + count) * sizeof *env);
  if (!env) return NULL;
  size_t k = point_at(&job->cfg.env, env, 0, count - 1);
  k = point_at(own, env, k, count);
  size_t given = k;
  for (size_t i = 0; i < n; i++) {
    int hidden = 0;
    for (size_t j = 0; j < given; j++) hidden |= same_name(env[j], inherited[i]);
    if (!hidden) env[k++] = inherited[i];
  }
  int threads = 0;
  for (size_t i = 0; i < k; i++) threads |= strncmp(env[i], "OMP_NUM_THREADS=", 16) == 0;
  static char one_thread[] = "OMP_NUM_THREADS=1"; /* libraries start their threads when loaded */
  if (!threads) env[k++] = one_thread;
  return env;
}

static int open_log(const node *n) {
  char path[160];
  snprintf(path, sizeof path, "%s/logs/fork_server.log", n->dir);
  return wr_os_open_append(path);
}

static int run_python(node_job *job, int control, int *pid) {
  node *n = job->n;
  wr_buf hex = {0}, own = {0};
  char *argv[MAX_ARGS];
  static char option[] = "-c", later[] = "--";
  int rc = WR_NOMEM, error = ENOMEM, log = open_log(n);
  append_hex(&hex, &job->cfg.sys_path);
  char **env = make_env(job, &own);
  if (!hex.failed && env) {
    size_t k = 0;
    const char *python = job->cfg.python.len > 1 ? node_text(&job->cfg.python) : "python3";
    argv[k++] = (char *)(uintptr_t)python;
    argv[k++] = option;
    argv[k++] = (char *)(uintptr_t)program;
    argv[k++] = (char *)hex.data;
    k = point_at(&job->cfg.preload, argv, k, MAX_ARGS - 2);
    argv[k++] = later;
    k = point_at(&job->cfg.imports, argv, k, MAX_ARGS - 1);
    argv[k] = NULL;
    const int fds[] = {-1, log, log, control, n->seg.fd};
    wr_os_spawn_spec spec = {.path = python, .argv = argv, .env = env, .fds = fds, .nfds = 5,
                             .cwd = job->cfg.cwd.len > 1 ? node_text(&job->cfg.cwd) : NULL,
                             .die_with_parent = 1};
    rc = wr_os_spawn(&spec, pid);
    error = rc == WR_OK ? 0 : errno;
    if (rc != WR_OK) node_note("cannot run %s: %s", python, strerror(error));
  }
  wr_free(env);
  wr_buf_free(&hex);
  wr_buf_free(&own);
  wr_os_close(log);
  errno = error;
  return rc;
}

/* ---- messages -------------------------------------------------------------------------------- */

static node_proc *proc_of(node_server *s, const uint8_t *body) {
  node_proc *p = node_proc_find(s->n, wr_get_u32(body));
  return p && p->server == s && p->gen == wr_get_u32(body + 4) ? p : NULL;
}

/* Its end could not be noticed, so it has it now. */
static void end_unwatched(node_proc *p, int rc) {
  char why[320];
  wr_os_describe_failure(rc, why, sizeof why);
  node_note("worker %d can not be watched: %s", p->pid, why);
  snprintf(p->tail, sizeof p->tail, "it could not be watched: %s", why);
  wr_os_kill(p->pid, wr_os_sigkill);
  wr_os_kill_group(p->pid);
  node_server_reap(p->server, p->pid);
  node_proc_died(p, -1);
}

static void on_spawned(node_server *s, const uint8_t *body) {
  node_proc *p = proc_of(s, body);
  int pid = (int)wr_get_u32(body + 8);
  if (!p || p->pid || pid <= 1) return;
  s->n->spawned++;
  if (!p->killed) p->pool->failures = 0;
  int rc = node_proc_watch(p, pid);
  node_output_begin(p);
  if (rc != WR_OK) {
    end_unwatched(p, rc);
  } else if (s->n->ending || ((p->killed || p->job_over) && !node_job_spares(p))) {
    p->killed = 0;
    node_proc_kill(p, "its job has ended");
  }
  if (!s->n->ending) node_pool_fill(p->pool);
}

static void on_spawn_failed(node_server *s, const uint8_t *body) {
  node_proc *p = proc_of(s, body);
  if (!p || p->pid) return;
  node_pool *pool = p->pool;
  node_proc_release(p);
  if (!s->n->ending)
    node_pool_worker_refused(pool, "a worker process could not be started: fork",
                             (int)wr_get_u32(body + 8));
}

static void on_message(node_conn *c, const wr_head *h, const uint8_t *body) {
  node_server *s = c->owner;
  if (!s->job) return; /* being stopped: its workers die with it */
  if (h->type == WR_MSG_READY) {
    s->ready = 1;
  } else if (h->type == WR_MSG_SPAWNED && h->len >= 12) {
    on_spawned(s, body);
  } else if (h->type == WR_MSG_SPAWN_FAILED && h->len >= 12) {
    on_spawn_failed(s, body);
  } else if (h->type == WR_MSG_REAPED && h->len >= 8) {
    node_proc_reaped(s->n, (int)wr_get_u32(body), (uint64_t)wr_get_u32(body + 4) << 10);
  }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Its workers die with it.  Those whose process is not known are gone when their socket hangs
 * up. */
static void orphan_workers(node_server *s) {
  node *n = s->n;
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    node_proc *p = n->procs[i];
    if (!p || p->server != s) continue;
    p->server = NULL;
    node_proc_unanswered(p);
    if (!p->pid && !p->conn) node_proc_died(p, -1);
  }
}

static void free_server(node_server *s) {
  if (s->job && s->job->server == s) s->job->server = NULL;
  orphan_workers(s);
  node_conn_close(s->conn);
  node_watch_close(s->watch);
  s->n->nservers--;
  wr_free(s);
}

/* Whether a worker of its has begun: then its death says nothing about the next one. */
static int has_served(const node_server *s) {
  const node *n = s->n;
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++)
    if (n->procs[i] && n->procs[i]->server == s &&
        wr_load32(&n->seg.procs[i].activity) != WR_ACT_NONE)
      return 1;
  return 0;
}

static void start_again(node_job *job, int status, const char *what) {
  if (status >= 0 && wr_os_was_killed(status))
    node_pool_worker_shot(job->pool, what);
  else if (++job->servers_failed >= MAX_FAILURES)
    node_job_fail(job, what);
  else
    node_pool_fill(job->pool);
}

static void on_died(void *owner) {
  node_server *s = owner;
  node *n = s->n;
  node_job *job = s->job;
  char how[96] = "it ended", text[700], tail[400], path[160];
  int status = -1, served = has_served(s);
  if (wr_os_reap(s->pid, 0, &status) == WR_OK) wr_os_describe_status(status, how, sizeof how);
  free_server(s);
  if (n->ending) {
    node_maybe_finish(n);
    return;
  }
  if (!job || node_job_over(job)) return;
  snprintf(path, sizeof path, "%s/logs/fork_server.log", n->dir);
  wr_os_read_tail(path, tail, sizeof tail);
  snprintf(text, sizeof text, "the process that starts workers ended (%s); its output: %s", how,
           tail);
  node_note("%s", text);
  if (served) {
    job->servers_failed = 0;
    node_pool_fill(job->pool);
  } else {
    start_again(job, status, text);
  }
}

static void on_hangup(node_conn *c) {
  node_server *s = c->owner;
  node_conn_close(c);
  s->conn = NULL;
  wr_os_kill(s->pid, wr_os_sigkill); /* our own child, not reaped before on_died */
}

int node_server_start(node_job *job) {
  node *n = job->n;
  int fds[2], pid = 0;
  node_server *s = wr_alloc(sizeof *s);
  if (!s || wr_os_socketpair(fds) != WR_OK) {
    wr_free(s);
    return WR_IO;
  }
  s->n = n;
  s->job = job;
  int rc = run_python(job, fds[1], &pid);
  wr_os_close(fds[1]);
  if (rc != WR_OK) {
    wr_os_close(fds[0]);
    wr_free(s);
    return rc;
  }
  s->pid = pid;
  n->nservers++;
  job->server = s;
  s->conn = node_conn_open(n->loop, fds[0], s, on_message, on_hangup);
  int fd = wr_os_pidfd_open(pid);
  if (fd >= 0) s->watch = node_watch_open(n->loop, fd, s, on_died);
  if (s->conn && s->watch) return WR_OK;
  int error = errno;
  wr_os_kill(pid, wr_os_sigkill);
  wr_os_reap(pid, 1, &rc);
  free_server(s);
  errno = error;
  return WR_NOMEM;
}

void node_server_stop(node_server *s) {
  if (!s) return;
  wr_os_kill(s->pid, wr_os_sigkill);
  if (s->job) s->job->server = NULL;
  s->job = NULL;
}

int node_server_spawn(node_job *job, node_proc *p, const int fds[3]) {
  if (!job->server && node_server_start(job) != WR_OK) {
    for (int i = 0; i < 3; i++) wr_os_close(fds[i]);
    return WR_IO;
  }
  wr_buf b = {0};
  uint8_t *words = wr_buf_extend(&b, 12);
  if (words) {
    wr_put_u32(words, p->slot);
    wr_put_u32(words + 4, p->gen);
    wr_put_u32(words + 8, p->pool->idx);
  }
  wr_buf_append(&b, p->pool->env.data, p->pool->env.len);
  p->server = job->server;
  int rc = WR_NOMEM;
  if (b.failed)
    for (int i = 0; i < 3; i++) wr_os_close(fds[i]);
  else
    rc = node_conn_send(job->server->conn, WR_MSG_SPAWN, 0, b.data, b.len, fds, 3);
  wr_buf_free(&b);
  return rc;
}

void node_server_reap(node_server *s, int pid) {
  uint8_t body[4];
  wr_put_u32(body, (uint32_t)pid);
  node_conn_send(s->conn, WR_MSG_REAP, 0, body, sizeof body, NULL, 0);
}
