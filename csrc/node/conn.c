#include "node/conn.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "os/io.h"
#include "os/os.h"
#include "wire/messages.h"

struct node_outgoing {
  node_outgoing *next;
  size_t len, sent;
  int fds[WR_OS_MAX_FDS];
  int nfds;
  uint8_t data[];
};

#define READ_SIZE ((size_t)65536)

/* ---- life ------------------------------------------------------------------------------------ */

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(node_conn *c) {
  int events = UV_READABLE | (c->out ? UV_WRITABLE : 0);
  if (c->closed || events == c->polled) return;
  c->polled = events;
  uv_poll_start(&c->poll, events, on_poll);
}

node_conn *node_conn_open(uv_loop_t *loop, int fd, void *owner,
                          void (*on_message)(node_conn *, const wr_head *, const uint8_t *),
                          void (*on_hangup)(node_conn *)) {
  node_conn *c = wr_alloc(sizeof *c);
  if (!c || wr_os_set_nonblocking(fd) != WR_OK || uv_poll_init(loop, &c->poll, fd) != 0) {
    wr_free(c);
    wr_os_close(fd);
    return NULL;
  }
  c->poll.data = c;
  c->fd = fd;
  c->owner = owner;
  c->on_message = on_message;
  c->on_hangup = on_hangup;
  c->out_tail = &c->out;
  watch(c);
  return c;
}

static void drop_first(node_conn *c) {
  node_outgoing *o = c->out;
  c->out = o->next;
  if (!c->out) c->out_tail = &c->out;
  c->out_bytes -= o->len;
  for (int i = 0; i < o->nfds; i++) wr_os_close(o->fds[i]);
  wr_free(o);
}

static void on_closed(uv_handle_t *handle) {
  node_conn *c = handle->data;
  wr_buf_free(&c->in);
  wr_free(c);
}

void node_conn_close(node_conn *c) {
  if (!c || c->closed) return;
  c->closed = 1;
  while (c->out) drop_first(c);
  uv_poll_stop(&c->poll);
  wr_os_close(c->fd);
  uv_close((uv_handle_t *)&c->poll, on_closed);
}

/* The owner's callback closes the connection. */
static void hang_up(node_conn *c) {
  void (*callback)(node_conn *) = c->on_hangup;
  c->on_hangup = NULL;
  uv_poll_stop(&c->poll);
  c->polled = 0;
  if (callback) callback(c);
}

/* ---- out ------------------------------------------------------------------------------------- */

/* Sends what fits; WR_OK when all is out or the socket is full. */
static int flush(node_conn *c) {
  while (c->out) {
    node_outgoing *o = c->out;
    int n = wr_os_send_some(c->fd, o->data + o->sent, o->len - o->sent, o->fds,
                            o->sent == 0 ? o->nfds : 0);
    if (n == WR_AGAIN) return WR_OK;
    if (n < 0) return WR_CLOSED;
    o->sent += (size_t)n;
    if (o->sent == o->len) drop_first(c);
  }
  return WR_OK;
}

static node_outgoing *make_outgoing(uint32_t type, uint32_t id, const void *body, size_t len) {
  if (len > WR_MAX_BODY) return NULL;
  node_outgoing *o = wr_alloc(sizeof *o + WR_FRAME_HEADER + len);
  if (!o) return NULL;
  wr_head h = {(uint32_t)len, type, id};
  o->len = WR_FRAME_HEADER + len;
  wr_head_encode(&h, o->data);
  if (len) memcpy(o->data + WR_FRAME_HEADER, body, len);
  return o;
}

static int refuse(const int *fds, int nfds, int rc) {
  for (int i = 0; i < nfds; i++) wr_os_close(fds[i]);
  return rc;
}

int node_conn_send(node_conn *c, uint32_t type, uint32_t id, const void *body, size_t len,
                   const int *fds, int nfds) {
  if (!c || c->closed || !c->on_hangup) return refuse(fds, nfds, WR_CLOSED);
  if (c->out_bytes + len > NODE_OUT_LIMIT) return refuse(fds, nfds, WR_CLOSED);
  node_outgoing *o = make_outgoing(type, id, body, len);
  if (!o) return refuse(fds, nfds, WR_NOMEM);
  for (int i = 0; i < nfds; i++) o->fds[i] = fds[i];
  o->nfds = nfds;
  int idle = !c->out;
  *c->out_tail = o;
  c->out_tail = &o->next;
  c->out_bytes += o->len;
  if (idle) flush(c); /* an error shows again in the loop, where it is handled */
  watch(c);
  return WR_OK;
}

void node_conn_reply(node_conn *c, uint32_t id, wr_buf *body) {
  if (c && id) {
    int rc = body->failed ? WR_NOMEM
                          : node_conn_send(c, WR_MSG_REPLY, id, body->data, body->len, NULL, 0);
    if (rc == WR_NOMEM) node_conn_error(c, id, rc, wr_status_text(rc));
  }
  wr_buf_free(body);
}

void node_conn_error(node_conn *c, uint32_t id, int status, const char *text) {
  if (!c || !id) return;
  wr_buf b = {0};
  wr_out_array(&b, 2);
  wr_out_int(&b, status);
  wr_out_text(&b, text);
  int rc = b.failed ? WR_NOMEM : node_conn_send(c, WR_MSG_ERROR, id, b.data, b.len, NULL, 0);
  wr_buf_free(&b);
  if (rc == WR_NOMEM && !c->closed) wr_os_shutdown(c->fd); /* or it would wait for ever */
}

void node_conn_answer(node_conn *c, uint32_t id, int rc, wr_buf *body) {
  if (rc == WR_OK) {
    node_conn_reply(c, id, body);
    return;
  }
  node_conn_error(c, id, rc, wr_status_text(rc));
  wr_buf_free(body);
}

void node_conn_drain(node_conn *c, int64_t timeout_ns) {
  int64_t deadline = (int64_t)wr_os_now_ns() + timeout_ns;
  while (!c->closed && c->out && (int64_t)wr_os_now_ns() < deadline) {
    if (flush(c) != WR_OK) return;
    if (c->out) wr_os_sleep_ns(1000000);
  }
}

/* ---- in -------------------------------------------------------------------------------------- */

/* Hands on the whole messages at the start of the buffer. */
static int dispatch(node_conn *c) {
  size_t at = 0;
  int rc = WR_OK;
  while (!c->closed && c->in.len - at >= WR_FRAME_HEADER) {
    wr_head h;
    rc = wr_head_decode(c->in.data + at, &h);
    if (rc != WR_OK || c->in.len - at < WR_FRAME_HEADER + h.len) break;
    c->on_message(c, &h, c->in.data + at + WR_FRAME_HEADER);
    at += WR_FRAME_HEADER + h.len;
  }
  if (c->closed) return WR_OK; /* the buffer is freed with the connection */
  memmove(c->in.data, c->in.data + at, c->in.len - at);
  c->in.len -= at;
  if (c->in.len == 0 && c->in.cap > 4 * READ_SIZE) wr_buf_free(&c->in);
  return rc;
}

static int read_some(node_conn *c) {
  size_t before = c->in.len;
  uint8_t *room = wr_buf_extend(&c->in, READ_SIZE);
  if (!room) return WR_CLOSED;
  int n = wr_os_read_some(c->fd, room, READ_SIZE);
  c->in.len = before + (n > 0 ? (size_t)n : 0);
  return n == 0 ? WR_CLOSED : n;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
  node_conn *c = poll->data;
  int rc = status < 0 ? WR_CLOSED : WR_OK;
  if (rc == WR_OK && (events & UV_WRITABLE)) rc = flush(c);
  if (rc == WR_OK && (events & (UV_READABLE | UV_DISCONNECT))) {
    rc = read_some(c);
    if (rc > 0) rc = dispatch(c);
    if (rc == WR_AGAIN) rc = WR_OK;
  }
  if (c->closed) return;
  if (rc != WR_OK || c->out_bytes > NODE_OUT_LIMIT)
    hang_up(c);
  else
    watch(c);
}
