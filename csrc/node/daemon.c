#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "os/os.h"
#include "os/spawn.h"
#include "wire/messages.h"

#define PATIENCE_MS 2000 /* for killed processes to be gone */

void node_note(const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  fprintf(stderr, "whiprayd: ");
  vfprintf(stderr, format, ap);
  fputc('\n', stderr);
  va_end(ap);
  fflush(stderr);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void tell_others(node *n, const char *reason) {
  for (node_job *job = n->jobs; job; job = job->next)
    if (!job->owner || !job->detach_id) node_job_tell(job, WR_MSG_ENDED, reason);
}

static void on_impatient(uv_timer_t *timer) {
  node *n = timer->data;
  node_note("processes of the session did not end in time");
  n->finished = 1;
  uv_stop(n->loop);
}

void node_end_session(node *n, const char *reason) {
  if (n->ending) return;
  n->ending = 1;
  snprintf(n->end_reason, sizeof n->end_reason, "%s", reason);
  wr_seg_end(&n->seg, reason);
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++)
    if (n->procs[i] && n->procs[i]->role == WR_ROLE_WORKER) node_proc_kill(n->procs[i], reason);
  for (node_job *job = n->jobs; job; job = job->next) node_server_stop(job->server);
  uv_timer_start(&n->patience, on_impatient, PATIENCE_MS, 0);
  node_maybe_finish(n);
}

static int workers_left(const node *n) {
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++)
    if (n->procs[i] && n->procs[i]->role == WR_ROLE_WORKER) return 1;
  return 0;
}

void node_maybe_finish(node *n) {
  if (!n->ending || n->finished || n->nservers || workers_left(n)) return;
  n->finished = 1;
  uv_stop(n->loop);
}

static void say_goodbye(node *n) {
  tell_others(n, n->end_reason);
  for (node_job *job = n->jobs; job; job = job->next) {
    if (!job->driver || !job->driver->conn) continue;
    if (job->detach_id) {
      wr_buf b = {0};
      wr_out_array(&b, 0);
      node_conn_reply(job->driver->conn, job->detach_id, &b);
    }
    node_conn_drain(job->driver->conn, INT64_C(100000000));
  }
}

/* ---- memory of the loop ---------------------------------------------------------------------- */

/* Nothing but the loop's table of descriptors is ever extended, and libuv aborts when it can not
 * be: it has a place of its own, large enough for the descriptors of every process. */
static _Alignas(64) char table[WR_MAX_PROCS * 5 * sizeof(void *)];
static int table_used;

static void *extend(void *p, size_t len) {
  if (p == table || (!p && !table_used)) {
    table_used = 1;
    if (len <= sizeof table) return table;
    void *more = malloc(len);
    return more ? memcpy(more, table, sizeof table) : NULL;
  }
  return realloc(p, len);
}

static void release(void *p) {
  if (p != table) free(p);
}

/* ---- signals and the loop -------------------------------------------------------------------- */

/* Orphans that became our children: reaped here.  Workers and fork servers are left to those who
 * watch them and need their status. */
static void on_child(uv_signal_t *signal, int signo) {
  node *n = signal->data;
  int pid, status;
  (void)signo;
  while (wr_os_peek_child(&pid) == WR_OK) {
    for (uint32_t i = 0; i < WR_MAX_PROCS; i++)
      if (n->procs[i] && n->procs[i]->pid == pid && !n->procs[i]->dead) return;
    for (node_job *job = n->jobs; job; job = job->next)
      if (job->server && job->server->pid == pid) return;
    if (n->ending) return;
    wr_os_reap(pid, 0, &status);
  }
}

static void on_terminate(uv_signal_t *signal, int signo) {
  (void)signo;
  node_end_session(signal->data, "the session was ended by a signal");
}

static int prepare(node *n) {
  if (uv_timer_init(n->loop, &n->patience) ||
      uv_signal_init(n->loop, &n->children) || uv_signal_init(n->loop, &n->terminate))
    return WR_IO;
  n->patience.data = n->children.data = n->terminate.data = n;
  node_listen_init(n);
  node_procs_init(n);
  node_pools_init(n);
  node_trim_init(n);
  node_cycles_init(n);
  node_turns_init(n);
  node_groups_init(n);
  uv_signal_start(&n->children, on_child, wr_os_sigchld);
  uv_signal_start(&n->terminate, on_terminate, wr_os_sigterm);
  wr_os_adopt_orphans();
  wr_os_raise_fd_limit();
  wr_os_ignore_write_signals();
  return node_remake_init(n);
}

int node_run(int owner_fd) {
  uv_replace_allocator(malloc, extend, calloc, release);
  node *n = wr_alloc(sizeof *n);
  uv_loop_t *loop = uv_default_loop();
  if (!n || !loop) return 1;
  n->loop = loop;
  n->lock_fd = n->listener = n->seg.fd = -1;
  if (prepare(n) != WR_OK || node_owner_arrived(n, owner_fd) != WR_OK) return 2;
  uv_run(loop, UV_RUN_DEFAULT);
  if (!n->ending) return 1; /* the owner left, or was refused, before there was a session */
  node_session_close(n);
  say_goodbye(n);
  return 0;
}
