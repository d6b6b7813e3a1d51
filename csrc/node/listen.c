/* The socket at which drivers join.  Who cannot be accepted for want of descriptors or of memory
 * waits in the kernel's queue; the loop would find the socket readable again and again, so it looks
 * away and tries again when something may have been freed: after each event that it has handled,
 * since only those close descriptors, and every second, since others use up memory as well. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "node/node.h"
#include "os/io.h"
#include "os/os.h"

#define AGAIN_MS 1000
#define SPARE 24 /* descriptors: a driver, his fork server and first worker take fewer at a time */

static void let_wait(node *n, const char *why);

static int has_room(const node *n) {
  int fds[SPARE], some = 0, error = 0;
  while (some < SPARE && (fds[some] = wr_os_dup(n->listener)) >= 0) some++;
  if (some < SPARE) error = errno;
  for (int i = 0; i < some; i++) wr_os_close(fds[i]);
  errno = error;
  return some == SPARE;
}

/* Takes one of those who wait, and then looks at the socket as always. */
static void take_one(node *n) {
  unsigned uid;
  int fd = has_room(n) ? wr_os_accept(n->listener) : WR_IO;
  if (fd < 0 && fd != WR_AGAIN) {
    let_wait(n, strerror(errno));
    return;
  }
  if (n->crowded) {
    n->crowded = 0;
    uv_check_stop(&n->after_events);
    uv_timer_stop(&n->accept_again);
    node_watch_resume(n->listen_watch);
  }
  if (fd < 0) return;
  if (wr_os_peer_uid(fd, &uid, NULL) != WR_OK || uid != wr_os_uid())
    wr_os_close(fd);
  else
    node_stranger_arrived(n, fd);
}

static void after_events(uv_check_t *check) { take_one(check->data); }

static void accept_again(uv_timer_t *timer) { take_one(timer->data); }

static void let_wait(node *n, const char *why) {
  if (n->crowded) return;
  n->crowded = 1;
  node_note("a driver has to wait: %s", why);
  node_watch_pause(n->listen_watch);
  uv_check_start(&n->after_events, after_events);
  uv_timer_start(&n->accept_again, accept_again, AGAIN_MS, AGAIN_MS);
}

static void on_readable(void *owner) { take_one(owner); }

void node_listen_init(node *n) {
  uv_check_init(n->loop, &n->after_events);
  uv_timer_init(n->loop, &n->accept_again);
  n->after_events.data = n->accept_again.data = n;
}

void node_listen(node *n) {
  char path[sizeof n->dir + 8];
  snprintf(path, sizeof path, "%s/sock", n->dir);
  n->listener = wr_os_listen(path, 64);
  if (n->listener >= 0 && wr_os_set_nonblocking(n->listener) == WR_OK)
    n->listen_watch = node_watch_open(n->loop, n->listener, n, on_readable);
  if (!n->listen_watch) node_note("cannot listen at %s: %s", path, strerror(errno));
}

void node_listen_close(node *n) {
  uv_check_stop(&n->after_events);
  uv_timer_stop(&n->accept_again);
  node_watch_close(n->listen_watch);
  n->listen_watch = NULL;
}
