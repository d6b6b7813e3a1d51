#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "node/node.h"
#include "os/files.h"
#include "os/os.h"
#include "wire/messages.h"

#define READ_SIZE 65536
#define LOG_FILE_LIMIT (UINT64_C(16) << 20) /* bytes kept of one worker */
#define MAX_READS_AT_END 64                 /* a descendant may hold the pipe and go on writing */

static void write_file(node_proc *p, const char *text, size_t len) {
  if (p->log_bytes >= LOG_FILE_LIMIT) return;
  if (p->log_fd < 0) {
    char path[180];
    if (!p->pid) return;
    snprintf(path, sizeof path, "%s/logs/worker-%d.log", p->n->dir, p->pid);
    p->log_fd = wr_os_open_append(path);
    if (p->log_fd < 0) {
      p->log_bytes = LOG_FILE_LIMIT;
      return;
    }
  }
  wr_os_write_some(p->log_fd, text, len);
  p->log_bytes += len;
}

static void send_lines(node_job *job, const node_output *o, const char *name, const char *text,
                       size_t len) {
  const node_proc *p = o->proc;
  wr_buf b = {0};
  wr_out_array(&b, 5);
  wr_out_uint(&b, p ? (uint64_t)p->pid : 0);
  wr_out_uint(&b, p ? p->slot : 0);
  wr_out_text(&b, name);
  wr_out_bool(&b, o->is_err);
  wr_out_bin(&b, text, len);
  if (!b.failed) node_conn_send(job->driver->conn, WR_MSG_LOG, 0, b.data, b.len, NULL, 0);
  wr_buf_free(&b);
}

static uint64_t count_lines(const char *text, size_t len) {
  uint64_t n = 0;
  for (size_t i = 0; i < len; i++) n += text[i] == '\n';
  return n;
}

/* A driver that does not read its events loses lines, and is told how many. */
static void forward(node_job *job, const node_output *o, const char *name, const char *text,
                    size_t len) {
  if (!job->cfg.log_to_driver || !job->driver || !job->driver->conn) return;
  if (job->driver->conn->out_bytes > NODE_OUT_LOG_LIMIT) {
    job->dropped_lines += count_lines(text, len);
    return;
  }
  if (job->dropped_lines) {
    char note[96];
    int n = snprintf(note, sizeof note, "[%llu lines of output were dropped]\n",
                     (unsigned long long)job->dropped_lines);
    const node_output nobody = {.is_err = 1};
    job->dropped_lines = 0;
    send_lines(job, &nobody, "", note, (size_t)n);
  }
  send_lines(job, o, name, text, len);
}

static void keep_tail(node_proc *p, const char *text, size_t len) {
  while (len && text[len - 1] == '\n') len--;
  const char *start = len ? memrchr(text, '\n', len) : NULL;
  if (start) {
    len -= (size_t)(start + 1 - text);
    text = start + 1;
  }
  if (len == 0) return;
  if (len >= sizeof p->tail) len = sizeof p->tail - 1;
  memcpy(p->tail, text, len);
  p->tail[len] = 0;
}

static void on_lines(void *arg, const char *name, const char *text, size_t len) {
  node_output *o = arg;
  node_proc *p = o->proc;
  p->n->log_lines += count_lines(text, len);
  if (o->is_err) keep_tail(p, text, len);
  write_file(p, text, len);
  forward(p->job, o, name, text, len);
}

/* 1: there may be more. */
static int read_once(node_output *o) {
  static char buf[READ_SIZE]; /* one thread */
  int n = wr_os_read_some(o->watch->fd, buf, sizeof buf);
  if (n > 0) node_lines_feed(&o->lines, buf, (size_t)n, on_lines, o);
  if (n == 0 || (n < 0 && n != WR_AGAIN)) { /* end of stream: nothing will come any more */
    node_lines_flush(&o->lines, on_lines, o);
    node_watch_close(o->watch);
    o->watch = NULL;
  }
  return n > 0;
}

static void on_readable(void *owner) { read_once(owner); }

static int open_one(node_proc *p, node_output *o, int fd, int is_err) {
  o->proc = p;
  o->is_err = is_err;
  if (wr_os_set_nonblocking(fd) != WR_OK) {
    wr_os_close(fd);
    return WR_IO;
  }
  o->watch = node_watch_open(p->n->loop, fd, o, on_readable);
  if (o->watch) node_watch_pause(o->watch);
  return o->watch ? WR_OK : WR_NOMEM;
}

int node_output_open(node_proc *p, int out_fd, int err_fd) {
  int rc = open_one(p, &p->out, out_fd, 0);
  int rc2 = open_one(p, &p->err, err_fd, 1);
  return rc != WR_OK ? rc : rc2;
}

void node_output_begin(node_proc *p) {
  if (p->out.watch) node_watch_resume(p->out.watch);
  if (p->err.watch) node_watch_resume(p->err.watch);
}

static void close_one(node_output *o) {
  for (int i = 0; i < MAX_READS_AT_END && o->watch && read_once(o); i++) {
  }
  if (o->proc) node_lines_flush(&o->lines, on_lines, o);
  node_watch_close(o->watch);
  o->watch = NULL;
  node_lines_free(&o->lines);
}

void node_output_close(node_proc *p) {
  close_one(&p->out);
  close_one(&p->err);
  wr_os_close(p->log_fd);
  p->log_fd = -1;
}
