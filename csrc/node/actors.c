#include "base/status.h"
#include "node/node.h"
#include "os/os.h"
#include "os/spawn.h"
#include "sched/actor_end.h"

static void answer_bool(node_proc *p, uint32_t id, int v) {
  wr_buf b = {0};
  wr_out_array(&b, 1);
  wr_out_bool(&b, v);
  node_conn_reply(p->conn, id, &b);
}

static void malformed(node_proc *p, uint32_t id) {
  node_conn_error(p->conn, id, WR_PROTO, wr_status_text(WR_PROTO));
}

void node_actor_up(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint32_t actor;
  (void)c;
  if (wr_in_u32(c, &actor) != WR_OK) {
    malformed(p, id);
    return;
  }
  p->is_actor = 1;
  answer_bool(p, id, 1);
  if (p->pool && !n->ending) node_pool_fill(p->pool); /* it no longer counts as a worker */
}

void node_kill_actor(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint32_t actor, gen;
  int no_restart;
  if (wr_in_u32(c, &actor) != WR_OK || wr_in_u32(c, &gen) != WR_OK ||
      wr_in_bool(c, &no_restart) != WR_OK) {
    malformed(p, id);
    return;
  }
  actor &= ~WR_ACTOR_BIT;
  int found = actor < WR_MAX_ACTORS && WR_ACTOR_GEN(wr_load(&n->seg.actors[actor].state)) == gen;
  uint32_t slot = found ? wr_actor_kill(&n->sweeper, actor, gen, no_restart) : 0;
  node_proc *victim = slot ? node_proc_find(n, slot) : NULL;
  if (victim && victim->role == WR_ROLE_WORKER) node_proc_kill(victim, NULL);
  if (found && !victim) node_jobs_review(n);
  if (found && no_restart) node_names_forget(n, actor, gen);
  answer_bool(p, id, found);
}

/* The state of the task tells: an actor may run several calls, and its handler looks for those that
 * carry the flag. */
static int serves(node *n, uint32_t slot, uint32_t task, uint32_t gen) {
  const wr_seg *s = &n->seg;
  if (!wr_rec_is_task(s, task)) return 0;
  uint64_t st = wr_load(&wr_task_at(s, task)->tstate);
  return WR_TASK_PHASE(st) == WR_TASK_RUNNING && WR_TASK_SLOT(st) == slot &&
         WR_TASK_GEN(st) == gen;
}

/* Only while the process still runs that task: the signal must not hit the next one.  Nor does it
 * come twice, when a sweep has been quicker. */
int node_tell_cancelled(node *n, uint32_t slot, uint32_t task, uint32_t gen, int force) {
  node_proc *w = node_proc_find(n, slot);
  if (!task || !w || w->role != WR_ROLE_WORKER || w->pidfd < 0) return 0;
  if (!serves(n, slot, task, gen)) return 0;
  uint32_t before = atomic_fetch_or(&wr_task_at(&n->seg, task)->cancel, WR_CANCEL_TOLD);
  if ((before & WR_CANCEL_TOLD) && !force) return 0;
  wr_store32(&n->seg.procs[slot].cancel, task);
  return (force ? wr_os_kill_with_children(w->pidfd, w->pid)
                : wr_os_pidfd_signal(w->pidfd, wr_os_sigint)) == WR_OK;
}

void node_interrupt(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint32_t slot, gen, task, task_gen;
  int force, sent = 0;
  if (wr_in_u32(c, &slot) != WR_OK || wr_in_u32(c, &gen) != WR_OK ||
      wr_in_u32(c, &task) != WR_OK || wr_in_u32(c, &task_gen) != WR_OK ||
      wr_in_bool(c, &force) != WR_OK) {
    malformed(p, id);
    return;
  }
  const node_proc *w = node_proc_find(n, slot);
  if (w && (gen == 0 || w->gen == gen)) sent = node_tell_cancelled(n, slot, task, task_gen, force);
  answer_bool(p, id, sent);
}

void node_stats(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint64_t workers = 0, drivers = 0, actors = 0, starting = 0, jobs = 0;
  (void)c;
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++) {
    const node_proc *q = n->procs[i];
    if (!q) continue;
    if (q->role == WR_ROLE_DRIVER) drivers++;
    if (q->role != WR_ROLE_WORKER) continue;
    if (!q->pid)
      starting++;
    else if (q->is_actor)
      actors++;
    else
      workers++;
  }
  for (const node_job *j = n->jobs; j; j = j->next) jobs++;
  const struct {
    const char *name;
    uint64_t value;
  } all[] = {{"workers", workers},       {"actors", actors},      {"starting", starting},
             {"drivers", drivers},       {"jobs", jobs},          {"spawned", n->spawned},
             {"deaths", n->deaths},      {"names", n->names.n},   {"kv_entries", n->kv.n},
             {"kv_bytes", n->kv.bytes},  {"requests", n->requests}, {"log_lines", n->log_lines},
             {"fork_servers", n->nservers},
             {"spilled_objects", n->spilled_objects},
             {"spilled_bytes", n->spilled_bytes},
             {"restored_objects", n->restored_objects},
             {"restored_bytes", n->restored_bytes},
             {"memory_kills", n->memory_kills},
             {"spill_files", node_spill_files(n)}};
  wr_buf b = {0};
  wr_out_array(&b, 1);
  wr_out_map(&b, sizeof all / sizeof all[0]);
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    wr_out_text(&b, all[i].name);
    wr_out_uint(&b, all[i].value);
  }
  node_conn_reply(p->conn, id, &b);
}
