#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/status.h"
#include "client/conn.h"
#include "client/internal.h"
#include "os/io.h"
#include "os/os.h"
#include "wire/frame.h"
#include "wire/messages.h"
#include "wire/unpack.h"

#define DYING_NS INT64_C(200000000)
#define ASK_NS INT64_C(100000000) /* between questions whether to wait on */

/* ---- life ----------------------------------------------------------------------------------- */

static int open_kick(int kick[2]) {
  if (wr_os_pipe(kick) != WR_OK) return WR_IO;
  if (wr_os_set_nonblocking(kick[0]) == WR_OK && wr_os_set_nonblocking(kick[1]) == WR_OK)
    return WR_OK;
  wr_os_close(kick[0]);
  wr_os_close(kick[1]);
  return WR_IO;
}

int wr_conn_create(wr_conn **out, int sock) {
  wr_conn *conn = wr_alloc(sizeof *conn);
  int rc = conn ? open_kick(conn->kick) : WR_NOMEM;
  if (rc != WR_OK) {
    wr_free(conn);
    wr_os_close(sock);
    return rc;
  }
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&conn->changed, &attr);
  pthread_condattr_destroy(&attr);
  pthread_mutex_init(&conn->lock, NULL);
  pthread_mutex_init(&conn->send_lock, NULL);
  conn->sock = sock;
  conn->events_tail = &conn->events;
  *out = conn;
  return WR_OK;
}

void wr_conn_kick(wr_conn *conn) {
  pthread_mutex_lock(&conn->lock);
  conn->kicks++;
  pthread_cond_broadcast(&conn->changed);
  pthread_mutex_unlock(&conn->lock);
  wr_os_write_byte(conn->kick[1]);
}

void wr_conn_close(wr_conn *conn) {
  pthread_mutex_lock(&conn->lock);
  conn->ended = 1;
  wr_os_shutdown(conn->sock);
  pthread_cond_broadcast(&conn->changed);
  while (conn->users > 0) pthread_cond_wait(&conn->changed, &conn->lock);
  pthread_mutex_unlock(&conn->lock);
  wr_os_close(conn->sock);
  conn->sock = -1;
}

void wr_conn_destroy(wr_conn *conn) {
  for (wr_event *e = conn->events, *next; e; e = next) {
    next = e->next;
    free(e->body);
    free(e);
  }
  wr_os_close(conn->kick[0]);
  wr_os_close(conn->kick[1]);
  pthread_cond_destroy(&conn->changed);
  pthread_mutex_destroy(&conn->lock);
  pthread_mutex_destroy(&conn->send_lock);
  wr_free(conn);
}

void wr_conn_abandon(wr_conn *conn) {
  wr_os_close(conn->sock);
  wr_os_close(conn->kick[0]);
  wr_os_close(conn->kick[1]);
  conn->sock = conn->kick[0] = conn->kick[1] = -1;
  conn->ended = 1;
}

/* ---- reading -------------------------------------------------------------------------------- */

static void deliver_reply(wr_conn *conn, const wr_head *h, uint8_t *body) {
  for (wr_pending **at = &conn->pending; *at; at = &(*at)->next) {
    wr_pending *p = *at;
    if (p->id != h->id) continue;
    *at = p->next;
    p->body = body;
    p->len = h->len;
    p->is_error = h->type == WR_MSG_ERROR;
    p->done = 1;
    return;
  }
  free(body);
}

static int add_event(wr_conn *conn, uint32_t type, uint8_t *body, size_t len) {
  wr_event *e = malloc(sizeof *e);
  if (!e) return WR_NOMEM;
  *e = (wr_event){NULL, type, len, body};
  *conn->events_tail = e;
  conn->events_tail = &e->next;
  conn->event_bytes += len;
  return WR_OK;
}

/* Log lines that nobody fetches are dropped beyond a limit; other events are few and kept. */
static void deliver_event(wr_conn *conn, const wr_head *h, uint8_t *body) {
  int too_many = h->type == WR_MSG_LOG && conn->event_bytes + h->len > WR_MAX_EVENT_BYTES;
  if (too_many || add_event(conn, h->type, body, h->len) != WR_OK) free(body);
}

static void note_end(wr_conn *conn, const uint8_t *body, size_t len) {
  wr_cursor c = wr_cursor_of(body, len);
  wr_bytes why;
  uint32_t n;
  if (conn->ended || wr_in_array(&c, &n) != WR_OK || n < 1) return;
  if (wr_in_bytes(&c, &why) != WR_OK) return;
  size_t keep = why.len < sizeof conn->why ? why.len : sizeof conn->why - 1;
  memcpy(conn->why, why.p, keep);
  conn->why[keep] = 0;
}

/* There is no memory for a message: it is lost, those behind it are not. */
static int skip(wr_conn *conn, size_t len) {
  uint8_t bytes[512];
  int rc = WR_OK;
  for (size_t n; len && rc == WR_OK; len -= n) {
    n = len < sizeof bytes ? len : sizeof bytes;
    rc = wr_os_recv_all(conn->sock, bytes, n);
  }
  return rc == WR_OK ? WR_NOMEM : rc;
}

static int read_frame(wr_conn *conn, wr_head *h, uint8_t **body) {
  uint8_t raw[WR_FRAME_HEADER];
  *body = NULL;
  int rc = wr_os_recv_all(conn->sock, raw, sizeof raw);
  if (rc != WR_OK) return rc;
  rc = wr_head_decode(raw, h);
  if (rc != WR_OK) return rc;
  *body = malloc(h->len + 1u);
  if (!*body) return skip(conn, h->len);
  rc = wr_os_recv_all(conn->sock, *body, h->len);
  if (rc != WR_OK) {
    free(*body);
    *body = NULL;
  }
  return rc;
}

static void drain_kicks(wr_conn *conn) {
  char bytes[64];
  while (wr_os_read_some(conn->kick[0], bytes, sizeof bytes) > 0) {
  }
}

/* A process whose socket has just been closed by its end is dead within moments.  Where that can
 * not be watched, as without a free descriptor, nobody else's session is called ended. */
static int daemon_is_dead(const wr_conn *conn) {
  int fd = wr_os_pidfd_open(conn->daemon_pid);
  if (fd < 0) return fd == WR_DEAD || conn->owns_daemon;
  int rc = conn->owns_daemon ? WR_OK : wr_os_wait_readable(fd, DYING_NS);
  wr_os_close(fd);
  return rc == WR_OK;
}

/* rc: what reading has come to.  When the daemon is dead nothing in this session will move any
 * more.  One that lives has only cut off this process. */
static void hung_up(wr_conn *conn, int rc) {
  atomic_store(&conn->ended, 1);
  wr_os_shutdown(conn->sock); /* after an error: the daemon learns of it too */
  if (conn->seg && rc == WR_CLOSED && daemon_is_dead(conn))
    wr_seg_end(conn->seg, NULL);
  else if (conn->seg)
    wr_wake(conn->seg, conn->slot); /* threads of this process that sleep in the engine */
}

/* The system has no memory for a wait: soon it may have some.  Without an end of that nothing from
 * the daemon would ever be heard. */
static int cannot_wait(wr_conn *conn) {
  wr_os_sleep_ns(WR_RETRY_NS);
  return ++conn->waits_failed < WR_RETRIES ? WR_AGAIN : WR_IO;
}

/* Called and left with the lock held, as the leader; reads one message, or nothing when the time is
 * up, a signal has come or someone kicked.  1: nothing. */
static int lead(wr_conn *conn, int64_t timeout_ns) {
  wr_head h;
  uint8_t *body = NULL;
  conn->reading = 1;
  pthread_mutex_unlock(&conn->lock);
  int which = wr_os_wait_either(conn->sock, conn->kick[0], timeout_ns);
  int rc = which < 0 ? cannot_wait(conn) : WR_AGAIN;
  if (which >= 0) conn->waits_failed = 0;
  if (which >= 0 && (which & 2)) drain_kicks(conn);
  if (which >= 0 && (which & 1)) rc = read_frame(conn, &h, &body);
  pthread_mutex_lock(&conn->lock);
  conn->reading = 0;
  int whole = rc == WR_OK || rc == WR_NOMEM;
  if (rc == WR_OK && h.type == WR_MSG_ENDED) note_end(conn, body, h.len);
  if (whole && (h.type == WR_MSG_REPLY || h.type == WR_MSG_ERROR || h.type == WR_MSG_WELCOME))
    deliver_reply(conn, &h, body);
  else if (rc == WR_OK)
    deliver_event(conn, &h, body);
  else if (rc != WR_AGAIN && rc != WR_NOMEM && !conn->ended)
    hung_up(conn, rc);
  pthread_cond_broadcast(&conn->changed);
  return rc == WR_AGAIN;
}

static void follow(wr_conn *conn, int64_t deadline_ns) {
  if (deadline_ns < 0) {
    pthread_cond_wait(&conn->changed, &conn->lock);
    return;
  }
  struct timespec t = {(time_t)(deadline_ns / 1000000000), (long)(deadline_ns % 1000000000)};
  pthread_cond_timedwait(&conn->changed, &conn->lock, &t);
}

static void enter(wr_conn *conn) {
  pthread_mutex_lock(&conn->lock);
  conn->users++;
}

static void leave(wr_conn *conn) {
  conn->users--;
  pthread_cond_broadcast(&conn->changed);
  pthread_mutex_unlock(&conn->lock);
}

/* ---- requests ------------------------------------------------------------------------------- */

/* WR_IO with errno: nothing was sent, and the connection is as before; WR_AGAIN: so, for want of
 * room.  A frame of which only a part went out ends it: all that follows would be taken for the
 * rest. */
static int send_frame(wr_conn *conn, uint32_t type, uint32_t id, const void *body, size_t len,
                      int may_wait) {
  uint8_t raw[WR_FRAME_HEADER];
  if (len > WR_MAX_BODY) return WR_LIMIT;
  wr_head h = {(uint32_t)len, type, id};
  wr_head_encode(&h, raw);
  pthread_mutex_lock(&conn->send_lock);
  size_t sent;
  int rc = wr_os_send_two(conn->sock, raw, sizeof raw, body, len, may_wait, &sent);
  if (rc == WR_IO && sent) {
    wr_os_shutdown(conn->sock);
    rc = WR_CLOSED;
  }
  pthread_mutex_unlock(&conn->send_lock);
  return rc;
}

static void forget_pending(wr_conn *conn, const wr_pending *p) {
  for (wr_pending **at = &conn->pending; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      return;
    }
}

/* Status of an ERROR body; anything odd is a protocol error. */
static int error_status(const uint8_t *body, size_t len) {
  wr_cursor c = wr_cursor_of(body, len);
  uint32_t n;
  int64_t status;
  if (wr_in_array(&c, &n) != WR_OK || n < 1 || wr_in_int(&c, &status) != WR_OK) return WR_PROTO;
  return status < 0 && status > -1000 ? (int)status : WR_PROTO;
}

/* Called and left with the lock held, but not while it asks: the answer may take another lock. */
static int gives_up(wr_conn *conn) {
  if (!conn->waiting.interrupted) return 0;
  pthread_mutex_unlock(&conn->lock);
  int yes = conn->waiting.interrupted(conn->waiting.ctx);
  pthread_mutex_lock(&conn->lock);
  return yes;
}

/* Left and taken again: the lock.  A daemon that is stopped reads nothing, and the socket gets
 * full. */
static int send_request(wr_conn *conn, uint32_t type, uint32_t id, const void *body, size_t len) {
  for (;;) {
    pthread_mutex_unlock(&conn->lock);
    int rc = send_frame(conn, type, id, body, len, 0);
    if (rc == WR_AGAIN) (void)wr_os_wait_writable(conn->sock, ASK_NS);
    pthread_mutex_lock(&conn->lock);
    if (rc != WR_AGAIN) return rc;
    if (conn->ended) return WR_CLOSED;
    if (gives_up(conn)) return WR_INTR;
  }
}

/* WR_INTR: the caller does not want to wait any longer. */
static int await_answer(wr_conn *conn, const wr_pending *p) {
  int64_t now = (int64_t)wr_os_now_ns(), ask = now + ASK_NS;
  uint32_t kicks = conn->kicks;
  while (!p->done && !conn->ended) {
    int nothing = 0;
    if (conn->reading)
      follow(conn, ask);
    else
      nothing = lead(conn, ask - now);
    now = (int64_t)wr_os_now_ns();
    if (now < ask && !nothing && kicks == conn->kicks) continue;
    if (!p->done && gives_up(conn)) return WR_INTR;
    kicks = conn->kicks;
    now = (int64_t)wr_os_now_ns();
    ask = now + ASK_NS;
  }
  return WR_OK;
}

static int finish_call(wr_pending *p, uint8_t **reply, size_t *reply_len) {
  if (!p->done) return WR_CLOSED;
  if (!p->body) return WR_NOMEM;
  if (p->is_error) {
    int status = error_status(p->body, p->len);
    free(p->body);
    return status;
  }
  *reply = p->body;
  *reply_len = p->len;
  return WR_OK;
}

int wr_conn_call(wr_conn *conn, uint32_t type, const void *body, size_t len, uint8_t **reply,
                 size_t *reply_len) {
  wr_pending p = {0};
  *reply = NULL;
  *reply_len = 0;
  enter(conn);
  if (conn->ended) {
    leave(conn);
    return WR_CLOSED;
  }
  if (++conn->next_id == 0) conn->next_id = 1;
  p.id = conn->next_id;
  p.next = conn->pending;
  conn->pending = &p;
  int rc = send_request(conn, type, p.id, body, len);
  /* A peer that took no more has closed: what it said before is still read, and its hang-up, so
   * that whoever hears of WR_CLOSED finds the session ended. */
  if ((rc == WR_OK || rc == WR_CLOSED) && await_answer(conn, &p) == WR_INTR) rc = WR_INTR;
  if (!p.done) forget_pending(conn, &p); /* an answer that comes later is dropped */
  leave(conn);
  if (rc == WR_INTR) free(p.body);
  if (rc == WR_LIMIT || rc == WR_IO || rc == WR_INTR) return rc;
  return finish_call(&p, reply, reply_len);
}

int wr_conn_notify(wr_conn *conn, uint32_t type, const void *body, size_t len, int may_wait) {
  enter(conn);
  int rc = conn->ended ? WR_CLOSED : WR_OK;
  pthread_mutex_unlock(&conn->lock);
  if (rc == WR_OK) rc = send_frame(conn, type, 0, body, len, may_wait);
  pthread_mutex_lock(&conn->lock);
  leave(conn);
  return rc;
}

/* ---- events --------------------------------------------------------------------------------- */

static int take_event(wr_conn *conn, uint32_t *type, uint8_t **body, size_t *len) {
  wr_event *e = conn->events;
  if (!e) return 0;
  conn->events = e->next;
  if (!conn->events) conn->events_tail = &conn->events;
  conn->event_bytes -= e->len;
  *type = e->type;
  *body = e->body;
  *len = e->len;
  free(e);
  return 1;
}

int wr_conn_next_event(wr_conn *conn, uint32_t *type, uint8_t **body, size_t *len,
                       int64_t timeout_ns) {
  int64_t deadline = timeout_ns < 0 ? -1 : (int64_t)wr_os_now_ns() + timeout_ns;
  int rc;
  enter(conn);
  uint32_t kicks = conn->kicks;
  for (;;) {
    int64_t left = deadline < 0 ? -1 : deadline - (int64_t)wr_os_now_ns();
    rc = WR_OK;
    if (take_event(conn, type, body, len)) break;
    rc = conn->ended ? WR_CLOSED : conn->kicks != kicks ? WR_INTR : WR_TIMEOUT;
    if (rc != WR_TIMEOUT) break;
    if (deadline >= 0 && left < 0) break;
    if (conn->reading)
      follow(conn, deadline);
    else
      lead(conn, left);
  }
  leave(conn);
  return rc;
}

int wr_conn_post_event(wr_conn *conn, uint32_t type) {
  enter(conn);
  int rc = add_event(conn, type, NULL, 0);
  leave(conn);
  wr_conn_kick(conn);
  return rc;
}

/* ---- for users of a client ------------------------------------------------------------------- */

int wr_rpc_call(wr_client *c, uint32_t type, const void *body, size_t len, uint8_t **reply,
                size_t *reply_len) {
  return wr_conn_call(wr_client_conn(c), type, body, len, reply, reply_len);
}

/* A client without a connection, as tests make it, tells nobody. */
int wr_rpc_notify(wr_client *c, uint32_t type, const void *body, size_t len) {
  if (!wr_client_conn(c)) return WR_CLOSED;
  return wr_conn_notify(wr_client_conn(c), type, body, len, 1);
}

int wr_rpc_hint(wr_client *c, uint32_t type, const void *body, size_t len) {
  if (!wr_client_conn(c)) return WR_CLOSED;
  return wr_conn_notify(wr_client_conn(c), type, body, len, 0);
}

int wr_rpc_next_event(wr_client *c, uint32_t *type, uint8_t **body, size_t *len,
                      int64_t timeout_ns) {
  return wr_conn_next_event(wr_client_conn(c), type, body, len, timeout_ns);
}

int wr_rpc_post_event(wr_client *c, uint32_t type) {
  return wr_conn_post_event(wr_client_conn(c), type);
}

void wr_rpc_tell(wr_client *c, uint32_t type, const void *body, size_t len) {
  for (unsigned tries = 0; tries < WR_RETRIES; tries++) {
    if (wr_rpc_notify(c, type, body, len) != WR_IO) return;
    wr_os_sleep_ns(WR_RETRY_NS);
  }
  wr_os_shutdown(wr_client_conn(c)->sock);
}

void wr_rpc_on_wait(wr_client *c, wr_waiting w) { wr_client_conn(c)->waiting = w; }

void wr_rpc_interrupt(wr_client *c) { wr_conn_kick(wr_client_conn(c)); }
