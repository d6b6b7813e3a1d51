/* client/conn.h - the socket between this process and whiprayd: requests, answers, events.
 *
 * Any thread may call.  Whoever needs something from the socket reads it when nobody else does (the
 * leader) and hands every message to its owner; the others wait on the condition.  `lock` guards
 * all fields below it and is never held over a system call that blocks; `send_lock` keeps frames
 * whole, and is not held over such a call either.  Nobody waits in the kernel for a daemon that has
 * stopped in the middle of a frame, so whoever waits for it can be interrupted. */
#ifndef WR_CLIENT_CONN_H
#define WR_CLIENT_CONN_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "client/client.h"
#include "wire/frame.h"
#include "wire/limits.h"

/* What the system has refused is tried again so often. */
#define WR_RETRY_NS 10000000u
#define WR_RETRIES 100u

typedef struct wr_event {
  struct wr_event *next;
  uint32_t type;
  size_t len;
  uint8_t *body; /* malloc'ed */
} wr_event;

/* The frame that is coming in, of which a part may be there.  The leader's. */
typedef struct {
  uint8_t raw[WR_FRAME_HEADER];
  wr_head head;
  uint8_t *body; /* malloc'ed; NULL although the head is there: no memory, it is passed over */
  size_t got;    /* bytes, the head among them */
} wr_incoming;

/* A request that waits for its answer, on the stack of the thread that sent it. */
typedef struct wr_pending {
  struct wr_pending *next;
  uint32_t id;
  int done, is_error;
  uint8_t *body; /* malloc'ed */
  size_t len;
} wr_pending;

typedef struct wr_conn {
  /* what WELCOME said; constant afterwards */
  uint32_t slot, gen, pool, job;
  double num_cpus;
  uint8_t session[16];
  char session_dir[108];
  char ns[WR_MAX_NAME];
  int daemon_pid;
  int owns_daemon; /* the daemon is a child of this process and ends with this connection */
  int sock;
  int kick[2];  /* pipe: wakes the leader */
  wr_seg *seg;  /* ended when the daemon hangs up; NULL until attached */
  wr_waiting waiting; /* asked by who waits for an answer, who then holds no lock of ours */

  pthread_mutex_t send_lock;
  uint8_t *rest; /* malloc'ed: what the socket had no room for of the last frame.  Goes out first */
  size_t rest_len, rest_sent;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int reading; /* a leader reads the socket */
  uint32_t waits_failed; /* in a row; the leader's */
  wr_incoming in;
  int users;   /* threads inside a call */
  atomic_int ended; /* the daemon hung up, or the connection was closed here */
  char why[512]; /* what the daemon said before that; "": nothing.  Constant once ended */
  uint32_t kicks; /* counts wr_conn_kick */
  uint32_t next_id;
  wr_pending *pending;
  wr_event *events, **events_tail;
  size_t event_bytes;
} wr_conn;

/* Takes over sock, also on failure: WR_NOMEM, or WR_IO with errno. */
int wr_conn_create(wr_conn **out, int sock);
/* Wakes everybody who is inside, waits until they have left, closes the socket. */
void wr_conn_close(wr_conn *conn);
void wr_conn_destroy(wr_conn *conn); /* after close */
void wr_conn_abandon(wr_conn *conn); /* in a forked child: only closes descriptors */
void wr_conn_kick(wr_conn *conn);    /* wr_conn_next_event returns WR_INTR */

/* WR_INTR: `waiting` has ended it; the request may have been sent, its answer will be dropped. */
int wr_conn_call(wr_conn *conn, uint32_t type, const void *body, size_t len, uint8_t **reply,
                 size_t *reply_len);
/* may_wait 0: WR_AGAIN when the daemon takes no more now. */
int wr_conn_notify(wr_conn *conn, uint32_t type, const void *body, size_t len, int may_wait);
int wr_conn_next_event(wr_conn *conn, uint32_t *type, uint8_t **body, size_t *len,
                       int64_t timeout_ns);
/* Puts an event behind those that have come: who fetches it has seen them all. */
int wr_conn_post_event(wr_conn *conn, uint32_t type);

/* As wr_client_join, with a role (enum wr_role) and a configuration of the job (node/config.h). */
int wr_client_join_as(wr_client **out, const char *path, uint32_t role, const void *config,
                      size_t len, const wr_waiting *w, char *err, size_t cap);
/* Before a fork server forks: maps the segment so that the children inherit the mapping. */
int wr_client_premap(int segment_fd);
/* For what the daemon has to know: repeats a message that did not go out, and gives up the
 * connection, and with it all that this process has, if that does not help.  Allocates nothing. */
void wr_rpc_tell(wr_client *c, uint32_t type, const void *body, size_t len);
/* wr_rpc_next_event of whoever is inside returns WR_INTR now; who waits for an answer asks whether
 * to wait on. */
void wr_rpc_interrupt(wr_client *c);

#endif
