/* Processes of a simulation that sleep: workers without work, and who waits for objects.  Nothing
 * but a wake-up of the engine, or somebody who interrupts them, gets them up.  So when all others
 * have come to rest, nobody may sleep on what has come. */
#include "sched/ledger.h"
#include "sched/stream.h"
#include "sched/sweep_memory.h"
#include "sched/task.h"
#include "sim.h"

void sim_sleep(sim_proc *p) {
  p->asleep = 1;
  while (sim_asleep(p)) sim_leave();
  p->asleep = 0;
}

int sim_asleep(const sim_proc *p) { return p->asleep && wr_load32(&p->c->self.p->park); }

/* Inside a task or call: a worker that waits for objects, or for the reader of what it yields. */
static int sleeps_in_task(const sim_proc *p) { return sim_asleep(p) && p->c->running; }

/* A signal, a request to leave, or nothing at all. */
void sim_rouse(sim_proc *p) {
  if (p->nwaits)
    atomic_store(&p->gives_up, 1);
  else if (!p->c->running && sim_pick(2))
    wr_store32(&p->c->self.p->quit, 1);
  wr_wake(&sim_session.seg, p->slot);
}

/* ---- waiting for objects --------------------------------------------------------------------- */

static int wait_is_over(const sim_proc *p) {
  uint32_t sealed = 0, wrong = 0;
  for (uint32_t i = 0; i < p->nwaits; i++) {
    int phase = wr_object_phase_of(p->c, p->waits[i]);
    sealed += phase != WR_OBJ_PENDING;
    wrong += phase != WR_OBJ_PENDING && phase != WR_OBJ_READY;
  }
  return p->stop_on_error && wrong ? 1 : sealed >= p->want;
}

/* All that it holds is back. */
static void check_claim(const sim_proc *p, uint64_t before) {
  uint64_t now = wr_load(&p->c->self.p->claim);
  if (now != before)
    sim_fail("process %u has claimed %#llx before a wait and %#llx after it", p->who,
             (unsigned long long)before, (unsigned long long)now);
}

void sim_await(sim_proc *p, const wr_id *ids, uint32_t n) {
  if (!n) return;
  uint64_t claim = wr_load(&p->c->self.p->claim);
  memcpy(p->waits, ids, n * sizeof *ids);
  p->want = sim_pick(3) ? n : 1 + sim_pick(n);
  p->stop_on_error = p->want == n && sim_pick(2);
  p->nwaits = n;
  int rc = wr_wait_objects(p->c, ids, n, p->want, p->stop_on_error, -1);
  atomic_store(&p->gives_up, 0);
  if (rc == WR_OK && !wait_is_over(p))
    sim_fail("process %u waits no longer for %u of %u objects, which are not there", p->who,
             p->want, n);
  if (rc != WR_OK && rc != WR_CLOSED) sim_fail("a wait ends with status %d", rc);
  check_claim(p, claim);
  p->nwaits = 0;
}

/* ---- at rest --------------------------------------------------------------------------------- */

static void check_cpu(const sim_proc *p) {
  uint64_t claim = wr_load(&p->c->self.p->claim);
  const wr_shape *sh = &sim_session.seg.shapes[WR_CLAIM_SHAPE(claim)];
  for (uint32_t i = 0; claim && i < sh->n; i++)
    if (sh->need[i].res == WR_RES_CPU && (WR_CLAIM_MASK(claim) & 1u << i))
      sim_fail("process %u waits and keeps its CPU", p->who);
}

static void check_actor(const sim_proc *p, uint32_t actor) {
  const wr_actor *a = &sim_session.seg.actors[actor];
  const wr_backlog *b = &p->c->backlog;
  if (WR_ACTOR_GEN(wr_load(&a->state)) != p->c->actor_gen) return; /* it is about to be killed */
  if (wr_tag_value(wr_load(&a->mailbox))) sim_fail("actor %u sleeps and has mail", actor);
  if (b->head == b->v.n) {
    if (wr_load32(&a->flags) & WR_AF_RETIRE) sim_fail("actor %u sleeps and may retire", actor);
    return;
  }
  const wr_task *t = wr_task_at(&sim_session.seg, b->v.v[b->head]);
  if (wr_tasks_pending_dep(&sim_session.seg, t) == t->ndeps)
    sim_fail("actor %u sleeps and its call %u could run", actor, b->v.v[b->head]);
}

static void check_producer(const sim_proc *p) {
  wr_idx i = wr_load32(&p->c->self.p->current);
  const wr_task *t = wr_task_at(&sim_session.seg, i);
  if (wr_stream_has_room(&sim_session.seg, t))
    sim_fail("task %u waits for its reader and has room", i);
}

static int has_no_work(const sim_proc *p) {
  return p->worker && sim_asleep(p) && !p->c->running && !wr_load32(&p->c->self.p->actor);
}

/* A task that could run at once, while somebody who could run it sleeps; ctx NULL: or there is
 * nobody, and whiprayd has not been asked for workers. */
static void check_queued(void *ctx, wr_idx i) {
  const sim_proc *idle = ctx;
  uint64_t st = wr_load(&wr_task_at(&sim_session.seg, i)->tstate);
  uint32_t shape = WR_TASK_SHAPE(st);
  if (WR_TASK_PHASE(st) != WR_TASK_QUEUED || shape >= WR_MAX_SHAPES) return;
  if (!wr_ledger_fits(&sim_session.seg, shape)) return;
  if (idle)
    sim_fail("task %u is queued, its resources are free, and process %u sleeps", i, idle->who);
  if (!wr_load32(&sim_session.seg.pools[SESSION_POOL].want))
    sim_fail("task %u is queued, its resources are free, and no worker is asked for", i);
}

/* Only who is in the middle of an operation has claimed something. */
static void check_claimed(void *ctx, wr_idx i) {
  const sim_proc *p = ctx;
  uint64_t st = wr_load(&wr_task_at(&sim_session.seg, i)->tstate);
  if (WR_TASK_PHASE(st) == WR_TASK_RUNNING && WR_TASK_SLOT(st) == p->slot)
    sim_fail("task %u is process %u's to run, which does something else", i, p->who);
}

void sim_check_rest(int all) {
  sim_proc *idle = NULL;
  int leaving = 0; /* who leaves may have been woken for a task: its sweep kicks again */
  for (uint32_t k = 0; k < SIM_PROCS; k++) {
    sim_proc *p = &sim_procs[k];
    uint32_t actor = wr_load32(&p->c->self.p->actor);
    if (sim_asleep(p) && p->nwaits && wait_is_over(p))
      sim_fail("process %u sleeps and what it waits for is there", p->who);
    if (sleeps_in_task(p)) check_cpu(p);
    if (sleeps_in_task(p) && !p->nwaits) check_producer(p);
    if (sim_asleep(p) && !p->c->running && actor) check_actor(p, actor - 1);
    if (!sleeps_in_task(p)) wr_sweep_each(&sim_session.seg, WR_REC_TASKS, check_claimed, p);
    if (has_no_work(p)) idle = p;
    leaving |= p->leaving;
  }
  if (all && !leaving) wr_sweep_each(&sim_session.seg, WR_REC_TASKS, check_queued, idle);
}
