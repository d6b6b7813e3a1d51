#include "base/mem.h"
#include "node/node.h"
#include "os/os.h"

static void on_ready(uv_poll_t *poll, int status, int events) {
  node_watch *w = poll->data;
  (void)status;
  (void)events;
  if (w->ready) w->ready(w->owner);
}

node_watch *node_watch_open(uv_loop_t *loop, int fd, void *owner, void (*ready)(void *owner)) {
  node_watch *w = wr_alloc(sizeof *w);
  if (!w || uv_poll_init(loop, &w->poll, fd) != 0) {
    wr_free(w);
    wr_os_close(fd);
    return NULL;
  }
  w->poll.data = w;
  w->fd = fd;
  w->owner = owner;
  w->ready = ready;
  uv_poll_start(&w->poll, UV_READABLE, on_ready);
  return w;
}

void node_watch_pause(node_watch *w) { uv_poll_stop(&w->poll); }

void node_watch_resume(node_watch *w) { uv_poll_start(&w->poll, UV_READABLE, on_ready); }

static void on_closed(uv_handle_t *handle) { wr_free(handle->data); }

void node_watch_close(node_watch *w) {
  if (!w) return;
  w->ready = NULL;
  uv_poll_stop(&w->poll);
  wr_os_close(w->fd);
  uv_close((uv_handle_t *)&w->poll, on_closed);
}
