/* node/conn.h - one socket of the daemon: whole messages in, whole messages out, never blocking.
 * The peer is not trusted: lengths are checked, and one that does not read is cut off. */
#ifndef WR_NODE_CONN_H
#define WR_NODE_CONN_H

#include <uv.h>

#include "os/io.h"
#include "wire/frame.h"
#include "wire/pack.h"

typedef struct node_conn node_conn;
typedef struct node_outgoing node_outgoing;

struct node_conn {
  void *owner; /* of whoever opened it */
  void (*on_message)(node_conn *c, const wr_head *h, const uint8_t *body);
  void (*on_hangup)(node_conn *c); /* the peer has gone or broke the rules; called at most once */
  int fd;
  uv_poll_t poll;
  int polled; /* events asked for */
  int closed;
  wr_buf in;
  node_outgoing *out, **out_tail;
  size_t out_bytes;
};

#define NODE_OUT_LIMIT (80u << 20)      /* bytes to a peer that does not read */
#define NODE_OUT_LOG_LIMIT (4u << 20)   /* beyond this, log lines are dropped */

/* Takes over fd.  NULL: no memory or a bad descriptor; fd is closed. */
node_conn *node_conn_open(uv_loop_t *loop, int fd, void *owner,
                          void (*on_message)(node_conn *, const wr_head *, const uint8_t *),
                          void (*on_hangup)(node_conn *));
/* The connection is freed later by the loop; no callback comes any more. */
void node_conn_close(node_conn *c);
/* Sends or queues; takes over the descriptors in any case.  WR_OK, WR_NOMEM, WR_CLOSED. */
int node_conn_send(node_conn *c, uint32_t type, uint32_t id, const void *body, size_t len,
                   const int *fds, int nfds);
/* Answers a request: frees the body; nothing when id is 0 or c is NULL. */
void node_conn_reply(node_conn *c, uint32_t id, wr_buf *body);
void node_conn_error(node_conn *c, uint32_t id, int status, const char *text);
/* The reply when rc is WR_OK, else the error of that code; frees the body in both cases. */
void node_conn_answer(node_conn *c, uint32_t id, int rc, wr_buf *body);
void node_conn_drain(node_conn *c, int64_t timeout_ns); /* blocks until all is sent; at the end */

#endif
