/* The memory of workers, looked at now and then while they work: a process that has died cannot be
 * asked any more, and how large it was is the first question after an unexpected death. */
#include "node/node.h"
#include "os/os.h"

#define LOOK_MS 500u
#define MOST 64u /* processes in one look; the others come next */

static int works(const node_proc *p) {
  uint32_t activity = wr_load32(&p->n->seg.procs[p->slot].activity);
  return p->role == WR_ROLE_WORKER && p->pid && !p->dead &&
         (activity == WR_ACT_RUN || activity == WR_ACT_BLOCKED || activity == WR_ACT_ACTOR);
}

static void on_look(uv_timer_t *timer) {
  node *n = timer->data;
  for (uint32_t k = 0, done = 0; k < WR_MAX_PROCS && done < MOST; k++) {
    n->memory_next = (n->memory_next + 1) % WR_MAX_PROCS;
    node_proc *p = n->procs[n->memory_next];
    if (!p || !works(p)) continue;
    uint64_t rss = wr_os_rss_bytes(p->pid);
    if (rss) p->rss = rss;
    done++;
  }
}

void node_memory_init(node *n) {
  uv_timer_init(n->loop, &n->memory);
  n->memory.data = n;
  uv_timer_start(&n->memory, on_look, LOOK_MS, LOOK_MS);
}
