#include "node/errand.h"

#include "base/status.h"

static void on_finished(uv_async_t *async) {
  node_errands *all = async->data;
  uv_mutex_lock(&all->lock);
  node_errand *list = all->finished;
  all->finished = NULL;
  uv_mutex_unlock(&all->lock);
  while (list) {
    node_errand *e = list;
    list = e->next;
    if (e->has_thread) uv_thread_join(&e->thread);
    e->done(e->owner);
  }
}

int node_errands_open(node_errands *all, uv_loop_t *loop) {
  all->finished = NULL;
  if (uv_mutex_init(&all->lock) != 0) return WR_NOMEM;
  if (uv_async_init(loop, &all->finished_some, on_finished) != 0) {
    uv_mutex_destroy(&all->lock);
    return WR_IO;
  }
  all->finished_some.data = all;
  uv_unref((uv_handle_t *)&all->finished_some);
  return WR_OK;
}

void node_errands_close(node_errands *all) {
  uv_close((uv_handle_t *)&all->finished_some, NULL);
  uv_mutex_destroy(&all->lock);
}

static void run(void *arg) {
  node_errand *e = arg;
  node_errands *all = e->all;
  e->work(e->owner);
  uv_mutex_lock(&all->lock);
  e->next = all->finished;
  all->finished = e;
  uv_mutex_unlock(&all->lock);
  uv_async_send(&all->finished_some);
}

void node_errand_run(node_errands *all, node_errand *e) {
  e->all = all;
  e->has_thread = 1; /* before it runs: the thread may be done before uv_thread_create returns */
  if (uv_thread_create(&e->thread, run, e) == 0) return;
  e->has_thread = 0;
  run(e);
}
