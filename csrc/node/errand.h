/* node/errand.h - work that may block, done on a thread and finished in the loop.
 *
 * A thread per errand: there are few at once, and each reads or writes megabytes.  libuv's pool is
 * not used, since it aborts the process when the system refuses a thread; here the loop then does
 * the work itself, and whoever else wants something of it waits that long.
 * An errand is part of its owner's structure, which lives until `done` has been called. */
#ifndef WR_NODE_ERRAND_H
#define WR_NODE_ERRAND_H

#include <uv.h>

typedef struct node_errand node_errand;
struct node_errand {
  void *owner;
  void (*work)(void *owner); /* on the thread */
  void (*done)(void *owner); /* in the loop */
  struct node_errands *all;  /* from here on private */
  node_errand *next;
  uv_thread_t thread;
  int has_thread;
};

typedef struct node_errands {
  uv_async_t finished_some;
  uv_mutex_t lock;
  node_errand *finished; /* under the lock */
} node_errands;

int node_errands_open(node_errands *all, uv_loop_t *loop);
void node_errands_close(node_errands *all); /* when none is left */
void node_errand_run(node_errands *all, node_errand *e);

#endif
