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
  free(conn->in.body);
  free(conn->rest);
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

static int recv_more(wr_conn *conn, void *buf, size_t len) {
  int n = len ? wr_os_recv_some(conn->sock, buf, len) : 0;
  if (n > 0) conn->in.got += (size_t)n;
  return n == 0 && len ? WR_CLOSED : n;
}

static int read_head(wr_conn *conn) {
  wr_incoming *in = &conn->in;
  while (in->got < WR_FRAME_HEADER) {
    int n = recv_more(conn, in->raw + in->got, WR_FRAME_HEADER - in->got);
    if (n < 0) return n;
  }
  if (in->body || in->got > WR_FRAME_HEADER) return WR_OK;
  int rc = wr_head_decode(in->raw, &in->head);
  if (rc == WR_OK) in->body = malloc(in->head.len + 1u);
  return rc;
}

/* WR_AGAIN: the rest has not come yet.  WR_NOMEM: there was no memory for the message, which is
 * lost; those behind it are not. */
static int read_frame(wr_conn *conn, wr_head *h, uint8_t **body) {
  wr_incoming *in = &conn->in;
  uint8_t lost[512];
  int n = read_head(conn);
  *body = NULL;
  while (n >= 0 && in->got < WR_FRAME_HEADER + (size_t)in->head.len) {
    size_t at = in->got - WR_FRAME_HEADER, left = in->head.len - at;
    n = recv_more(conn, in->body ? in->body + at : lost,
                  in->body || left < sizeof lost ? left : sizeof lost);
  }
  if (n < 0) return n;
  *h = in->head;
  *body = in->body;
  memset(in, 0, sizeof *in);
  return *body ? WR_OK : WR_NOMEM;
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

/* Called with the send lock held.  WR_AGAIN: something of an earlier frame has not gone out yet. */
static int send_rest(wr_conn *conn) {
  while (conn->rest) {
    int n = wr_os_send_some(conn->sock, conn->rest + conn->rest_sent,
                            conn->rest_len - conn->rest_sent, NULL, 0);
    if (n < 0) return n;
    conn->rest_sent += (size_t)n;
    if (conn->rest_sent < conn->rest_len) continue;
    free(conn->rest);
    conn->rest = NULL;
  }
  return WR_OK;
}

/* A frame of which only a part went out ends the connection: all that follows would be taken for
 * the rest. */
static int break_off(wr_conn *conn) {
  wr_os_shutdown(conn->sock);
  return WR_CLOSED;
}

/* Of a frame for which the socket has no more room now. */
static int keep_rest(wr_conn *conn, const uint8_t *raw, const uint8_t *body, size_t len,
                     size_t sent) {
  size_t all = WR_FRAME_HEADER + len, head = sent < WR_FRAME_HEADER ? WR_FRAME_HEADER - sent : 0;
  conn->rest = malloc(all - sent);
  if (!conn->rest) return break_off(conn);
  memcpy(conn->rest, raw + WR_FRAME_HEADER - head, head);
  if (all - sent > head)
    memcpy(conn->rest + head, body + (sent + head - WR_FRAME_HEADER), all - sent - head);
  conn->rest_len = all - sent;
  conn->rest_sent = 0;
  return WR_OK;
}

/* WR_IO with errno: nothing was sent, and the connection is as before; WR_AGAIN: so, for want of
 * room.  WR_OK: it is sent, or `rest` has what is left of it. */
static int send_frame(wr_conn *conn, uint32_t type, uint32_t id, const void *body, size_t len) {
  uint8_t raw[WR_FRAME_HEADER];
  if (len > WR_MAX_BODY) return WR_LIMIT;
  wr_head h = {(uint32_t)len, type, id};
  wr_head_encode(&h, raw);
  pthread_mutex_lock(&conn->send_lock);
  size_t sent = 0;
  int rc = send_rest(conn);
  if (rc == WR_OK) rc = wr_os_send_two(conn->sock, raw, sizeof raw, body, len, &sent);
  if (rc == WR_AGAIN && sent) rc = keep_rest(conn, raw, body, len, sent);
  if (rc == WR_IO && sent) rc = break_off(conn);
  pthread_mutex_unlock(&conn->send_lock);
  return rc;
}

/* The rest of a frame that has been taken. */
static int flush(wr_conn *conn) {
  pthread_mutex_lock(&conn->send_lock);
  int rc = send_rest(conn);
  if (rc == WR_IO) rc = break_off(conn);
  pthread_mutex_unlock(&conn->send_lock);
  return rc;
}

/* As much of a frame as there is room for, until WR_OK: it is sent.  *taken, 0 at first: it will go
 * out whole, even if the caller gives up after WR_AGAIN. */
static int send_more(wr_conn *conn, uint32_t type, uint32_t id, const void *body, size_t len,
                     int *taken) {
  int rc = *taken ? WR_OK : send_frame(conn, type, id, body, len);
  *taken = rc == WR_OK;
  return rc == WR_OK ? flush(conn) : rc;
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
 * full.  What is left of a frame when the caller gives up goes out before the next one. */
static int send_request(wr_conn *conn, uint32_t type, uint32_t id, const void *body, size_t len) {
  for (int taken = 0;;) {
    pthread_mutex_unlock(&conn->lock);
    int rc = send_more(conn, type, id, body, len, &taken);
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

static int send_patiently(wr_conn *conn, uint32_t type, const void *body, size_t len) {
  for (int taken = 0;;) {
    int rc = send_more(conn, type, 0, body, len, &taken);
    if (rc != WR_AGAIN) return rc;
    if (conn->ended) return WR_CLOSED;
    (void)wr_os_wait_writable(conn->sock, ASK_NS);
  }
}

int wr_conn_notify(wr_conn *conn, uint32_t type, const void *body, size_t len, int may_wait) {
  enter(conn);
  int rc = conn->ended ? WR_CLOSED : WR_OK;
  pthread_mutex_unlock(&conn->lock);
  if (rc == WR_OK)
    rc = may_wait ? send_patiently(conn, type, body, len) : send_frame(conn, type, 0, body, len);
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
