#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "client/conn.h"
#include "client/internal.h"
#include "os/files.h"
#include "os/io.h"
#include "os/os.h"
#include "os/spawn.h"
#include "wire/frame.h"
#include "wire/messages.h"
#include "wire/pack.h"
#include "wire/unpack.h"

#define DAEMON_FD 3
#define DAEMON_PATIENCE_NS (5 * INT64_C(1000000000))
#define HURRY_NS (INT64_C(500000000)) /* when the caller does not want to wait */
#define ASK_NS INT64_C(100000000)

typedef struct {
  char *text;
  size_t cap;
} sink; /* where an explanation goes */

__attribute__((format(printf, 3, 4)))
static int explain(sink err, int rc, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  if (err.cap) vsnprintf(err.text, err.cap, format, ap);
  va_end(ap);
  return rc;
}

static int explain_error(sink err, int rc, const char *what) {
  char why[320];
  wr_os_describe_failure(rc, why, sizeof why);
  return explain(err, rc, "%s: %s", what, why);
}

/* ---- WELCOME -------------------------------------------------------------------------------- */

static int copy_text(char *dst, size_t cap, wr_bytes src) {
  if (src.len >= cap) return WR_PROTO;
  memcpy(dst, src.p, src.len);
  dst[src.len] = 0;
  return WR_OK;
}

static int parse_welcome(wr_conn *conn, const uint8_t *body, size_t len) {
  wr_cursor c = wr_cursor_of(body, len);
  wr_bytes session, dir, ns;
  uint32_t n, pid;
  if (wr_in_array(&c, &n) != WR_OK || n < 9 || wr_in_u32(&c, &conn->slot) != WR_OK ||
      wr_in_u32(&c, &conn->gen) != WR_OK || wr_in_bytes(&c, &session) != WR_OK ||
      session.len != sizeof conn->session || wr_in_bytes(&c, &dir) != WR_OK ||
      copy_text(conn->session_dir, sizeof conn->session_dir, dir) != WR_OK ||
      wr_in_double(&c, &conn->num_cpus) != WR_OK || wr_in_u32(&c, &pid) != WR_OK ||
      wr_in_u32(&c, &conn->pool) != WR_OK || wr_in_u32(&c, &conn->job) != WR_OK ||
      wr_in_bytes(&c, &ns) != WR_OK || copy_text(conn->ns, sizeof conn->ns, ns) != WR_OK)
    return WR_PROTO;
  if (conn->slot == 0 || conn->slot >= WR_MAX_PROCS) return WR_PROTO;
  memcpy(conn->session, session.p, sizeof conn->session);
  conn->daemon_pid = (int)pid;
  return WR_OK;
}

static int refused(const uint8_t *body, size_t len, sink err) {
  wr_cursor c = wr_cursor_of(body, len);
  wr_bytes text;
  uint32_t n;
  int64_t status;
  if (wr_in_array(&c, &n) != WR_OK || n < 2 || wr_in_int(&c, &status) != WR_OK ||
      wr_in_bytes(&c, &text) != WR_OK || status >= 0 || status < -1000)
    return explain(err, WR_PROTO, "whiprayd answered with something that is not a message");
  return explain(err, (int)status, "%.*s", (int)text.len, (const char *)text.p);
}

/* A daemon that has no room for a driver lets him wait. */
static int await_welcome(const wr_conn *conn, const wr_waiting *w) {
  int rc;
  while ((rc = wr_os_wait_readable(conn->sock, w ? ASK_NS : -1)) == WR_TIMEOUT || rc == WR_INTR)
    if (w && w->interrupted(w->ctx)) return WR_INTR;
  return rc;
}

/* Reads the answer to CONFIG or HELLO; *fd is the segment. */
static int read_welcome(wr_conn *conn, int *fd, sink err) {
  uint8_t raw[WR_FRAME_HEADER];
  wr_head h;
  int got = wr_os_recv_fd(conn->sock, raw, sizeof raw, fd);
  if (got < 0) return got;
  int rc = wr_os_recv_all(conn->sock, raw + got, sizeof raw - (size_t)got);
  if (rc != WR_OK) return rc;
  if (wr_head_decode(raw, &h) != WR_OK || h.len > 65536)
    return explain(err, WR_PROTO, "whiprayd answered with something that is not a message");
  uint8_t *body = malloc(h.len + 1u);
  if (!body) return WR_NOMEM;
  rc = wr_os_recv_all(conn->sock, body, h.len);
  if (rc == WR_OK && h.type == WR_MSG_ERROR)
    rc = refused(body, h.len, err);
  else if (rc == WR_OK && (h.type != WR_MSG_WELCOME || *fd < 0))
    rc = WR_PROTO;
  else if (rc == WR_OK)
    rc = parse_welcome(conn, body, h.len);
  if (rc == WR_PROTO && !err.text[0])
    rc = explain(err, WR_PROTO, "whiprayd answered with something that is not a welcome");
  free(body);
  return rc;
}

static int send_first(wr_conn *conn, uint32_t type, const void *body, size_t len) {
  uint8_t raw[WR_FRAME_HEADER];
  if (len > WR_MAX_BODY) return WR_LIMIT;
  wr_head h = {(uint32_t)len, type, 1};
  wr_head_encode(&h, raw);
  int rc = wr_os_send_all(conn->sock, raw, sizeof raw);
  return rc == WR_OK ? wr_os_send_all(conn->sock, body, len) : rc;
}

/* Maps the segment and makes the client; on success conn belongs to the client. */
static int attach(wr_client **out, wr_conn *conn, int fd, sink err) {
  wr_seg seg;
  int rc = wr_seg_attach(&seg, fd);
  if (rc != WR_OK) {
    explain_error(err, rc, "cannot map the session's memory");
    wr_os_close(fd);
    return rc;
  }
  rc = wr_client_new(out, &seg, conn->slot, conn->gen, conn);
  if (rc != WR_OK) {
    wr_seg_detach(&seg);
    return explain(err, rc, "cannot attach to the session: %s", wr_status_text(rc));
  }
  conn->seg = wr_client_seg(*out);
  return WR_OK;
}

/* The exchange that begins every connection of a driver. */
static int introduce(wr_client **out, wr_conn *conn, uint32_t type, const void *body, size_t len,
                     const wr_waiting *w, sink err) {
  int fd = -1;
  int rc = send_first(conn, type, body, len);
  if (rc == WR_OK || rc == WR_CLOSED) rc = await_welcome(conn, w);
  if (rc == WR_OK) rc = read_welcome(conn, &fd, err);
  if (rc == WR_OK) return attach(out, conn, fd, err);
  if (rc != WR_CLOSED && rc != WR_INTR && !err.text[0])
    explain_error(err, rc, "cannot speak with whiprayd");
  wr_os_close(fd);
  return rc;
}

static void drop_conn(wr_conn *conn) {
  wr_conn_close(conn);
  wr_conn_destroy(conn);
}

/* ---- starting and joining -------------------------------------------------------------------- */

static int check_kernel(sink err) {
  if (wr_os_self_pidfd_works() == WR_OK) return WR_OK;
  if (errno != ENOSYS && errno != EPERM && errno != EINVAL)
    return explain_error(err, WR_IO, "cannot open a process descriptor");
  return explain(err, WR_IO,
                 "this kernel has no process descriptors (pidfd_open: %s); Linux 5.4 is needed",
                 strerror(errno));
}

/* Waits until a daemon that has been left has ended and removed what it had made; one that does not
 * is killed.  rc_left: how it was left. */
static void await_daemon(int pid, int rc_left, int *status) {
  int64_t patience = rc_left == WR_INTR ? HURRY_NS : DAEMON_PATIENCE_NS;
  int64_t deadline = (int64_t)wr_os_now_ns() + patience, left;
  int fd = wr_os_pidfd_open(pid), rc;
  while ((rc = wr_os_reap(pid, 0, status)) == WR_AGAIN &&
         (left = deadline - (int64_t)wr_os_now_ns()) > 0)
    if (fd < 0 || wr_os_wait_readable(fd, left) == WR_IO) wr_os_sleep_ns(1000000);
  if (rc == WR_AGAIN) {
    wr_os_kill(pid, wr_os_sigkill);
    wr_os_reap(pid, 1, status);
  }
  wr_os_close(fd);
}

/* Ends a daemon that did not start well, and says how it went. */
static int bury_daemon(int pid, int rc, sink err) {
  char how[96];
  int status = 0;
  await_daemon(pid, rc, &status);
  if (rc != WR_CLOSED) return rc;
  wr_os_describe_status(status, how, sizeof how);
  return explain(err, rc, "whiprayd ended while it started (%s)", how);
}

static int launch(const char *path, int sock, int *pid, sink err) {
  char *argv[] = {(char *)(uintptr_t)"whiprayd", NULL};
  int keep_output = getenv("WHIPRAY_DAEMON_OUTPUT") != NULL;
  const int fds[] = {-1, keep_output ? 1 : -1, keep_output ? 2 : -1, sock};
  wr_os_spawn_spec spec = {.path = path, .argv = argv, .env = wr_os_environment(), .fds = fds,
                           .nfds = DAEMON_FD + 1, .new_session = 1};
  if (wr_os_spawn(&spec, pid) == WR_OK) return WR_OK;
  if (errno == ENOENT)
    return explain(err, WR_IO, "there is no %s (is the package installed completely?)", path);
  return explain_error(err, WR_IO, "cannot run whiprayd, the daemon");
}

int wr_client_start(wr_client **out, const char *daemon_path, const void *config, size_t len,
                    const wr_waiting *w, char *err_text, size_t cap) {
  sink err = {err_text, cap};
  int fds[2], pid = 0;
  explain(err, 0, "%s", "");
  int rc = check_kernel(err);
  if (rc != WR_OK) return rc;
  if (wr_os_socketpair(fds) != WR_OK)
    return explain_error(err, WR_IO, "cannot make a socket");
  rc = launch(daemon_path, fds[1], &pid, err);
  wr_os_close(fds[1]);
  if (rc != WR_OK) {
    wr_os_close(fds[0]);
    return rc;
  }
  wr_conn *conn;
  rc = wr_conn_create(&conn, fds[0]);
  if (rc != WR_OK)
    return bury_daemon(pid, explain_error(err, rc, "cannot make a connection"), err);
  conn->owns_daemon = 1;
  rc = introduce(out, conn, WR_MSG_CONFIG, config, len, w, err);
  if (rc == WR_OK) return rc;
  drop_conn(conn);
  return bury_daemon(pid, rc, err);
}

/* [version, role, {}] */
static int hello_body(wr_buf *b, uint32_t role, const void *config, size_t len) {
  wr_out_array(b, 3);
  wr_out_uint(b, WR_PROTOCOL_VERSION);
  wr_out_uint(b, role);
  if (config && len)
    wr_buf_append(b, config, len);
  else
    wr_out_map(b, 0);
  return b->failed ? WR_NOMEM : WR_OK;
}

int wr_client_join_as(wr_client **out, const char *path, uint32_t role, const void *config,
                      size_t len, const wr_waiting *w, char *err_text, size_t cap) {
  sink err = {err_text, cap};
  unsigned uid = 0;
  explain(err, 0, "%s", "");
  int sock = wr_os_connect(path);
  if (sock < 0) return explain(err, WR_IO, "cannot connect to %s: %s", path, strerror(errno));
  if (wr_os_peer_uid(sock, &uid, NULL) != WR_OK || uid != wr_os_uid()) {
    wr_os_close(sock);
    return explain(err, WR_DENIED, "the session at %s belongs to another user", path);
  }
  wr_conn *conn;
  int rc = wr_conn_create(&conn, sock);
  if (rc != WR_OK) return explain_error(err, rc, "cannot make a connection");
  wr_buf hello = {0};
  rc = hello_body(&hello, role, config, len);
  if (rc == WR_OK) rc = introduce(out, conn, WR_MSG_HELLO, hello.data, hello.len, w, err);
  wr_buf_free(&hello);
  if (rc == WR_CLOSED) explain(err, rc, "the session at %s has ended", path);
  if (rc != WR_OK) drop_conn(conn);
  return rc;
}

int wr_client_join(wr_client **out, const char *path, const void *config, size_t len,
                   const wr_waiting *w, char *err, size_t cap) {
  return wr_client_join_as(out, path, WR_ROLE_DRIVER, config, len, w, err, cap);
}

/* ---- workers -------------------------------------------------------------------------------- */

static wr_seg premapped = {.fd = -1};

int wr_client_premap(int segment_fd) { return wr_seg_attach(&premapped, segment_fd); }

static int map_for_worker(wr_seg *seg, int fd) {
  if (!premapped.base || premapped.fd != fd) return wr_seg_attach(seg, fd);
  *seg = premapped;
  return WR_OK;
}

/* A worker lives exactly as long as its fork server, which lives no longer than the daemon. */
static int bind_life(const wr_seg *seg) {
  int parent = wr_os_parent_pid();
  if (parent == (int)seg->h->daemon_pid || parent == 1) return WR_DEAD;
  return wr_os_die_with_parent(parent);
}

int wr_client_adopt(wr_client **out, int segment_fd, int sock, uint32_t slot, uint32_t gen) {
  wr_seg seg;
  if (slot == 0 || slot >= WR_MAX_PROCS) return WR_INVAL;
  int rc = map_for_worker(&seg, segment_fd);
  if (rc == WR_OK) rc = bind_life(&seg);
  if (rc != WR_OK) return rc;
  wr_conn *conn;
  rc = wr_conn_create(&conn, sock);
  if (rc != WR_OK) return rc;
  const char *dir = getenv("WHIPRAY_SESSION_DIR");
  if (dir) snprintf(conn->session_dir, sizeof conn->session_dir, "%s", dir);
  conn->slot = slot;
  conn->gen = gen;
  conn->pool = WR_PROC_POOL(wr_load(&seg.procs[slot].state));
  conn->job = seg.procs[slot].job;
  conn->daemon_pid = (int)seg.h->daemon_pid;
  memcpy(conn->session, seg.h->session, sizeof conn->session);
  rc = wr_client_new(out, &seg, slot, gen, conn);
  if (rc != WR_OK) {
    drop_conn(conn);
    return rc;
  }
  conn->seg = wr_client_seg(*out);
  return WR_OK;
}

/* ---- leaving -------------------------------------------------------------------------------- */

/* Without a goodbye the daemon takes back what this process has only when it is dead. */
static int say_goodbye(wr_conn *conn) {
  static const uint8_t no_fields[] = {0x90};
  uint8_t *reply = NULL;
  size_t len;
  int rc = WR_IO;
  for (unsigned tries = 0; tries < WR_RETRIES; tries++) {
    rc = wr_conn_call(conn, WR_MSG_DETACH, no_fields, sizeof no_fields, &reply, &len);
    if (rc != WR_IO) break;
    wr_os_sleep_ns(WR_RETRY_NS);
  }
  free(reply);
  return rc;
}

/* said: what came of the goodbye. */
static void leave(wr_client *c, int said) {
  wr_conn *conn = wr_client_conn(c);
  int status;
  wr_conn_close(conn);
  if (conn->owns_daemon) await_daemon(conn->daemon_pid, said, &status);
  wr_client_free(c);
  wr_conn_destroy(conn);
}

void wr_client_detach(wr_client *c) {
  if (c) leave(c, say_goodbye(wr_client_conn(c)));
}

void wr_client_hang_up(wr_client *c) {
  if (c) leave(c, WR_INTR);
}

void wr_client_disown(wr_client *c) { wr_client_conn(c)->owns_daemon = 0; }

void wr_client_forget(wr_client *c) {
  if (!c) return;
  wr_conn_abandon(wr_client_conn(c));
  wr_os_close(wr_client_seg(c)->fd);
}

int wr_client_socket(const wr_client *c) { return c->conn->sock; }
const char *wr_client_session_dir(const wr_client *c) { return c->conn->session_dir; }
