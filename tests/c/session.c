#include "session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "sched/actor.h"
#include "sched/gpu.h"
#include "sched/ledger.h"
#include "sched/lineage.h"
#include "sched/queue.h"
#include "sched/shapes.h"
#include "store/heap.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void set_resource(session *x, uint32_t i, const char *name, uint32_t amount) {
  wr_resource *r = &x->seg.resources[i];
  snprintf(r->name, sizeof r->name, "%s", name);
  wr_store32(&r->total, amount * WR_RES_SCALE);
  wr_store(&r->avail, wr_tag_make(amount * WR_RES_SCALE, 0, 0));
}

static void set_shape(session *x, uint32_t i, uint32_t cpus, uint32_t gpus) {
  wr_shape *sh = &x->seg.shapes[i];
  sh->pool = SESSION_POOL;
  if (cpus) sh->need[sh->n++] = (wr_need){WR_RES_CPU, cpus * WR_RES_SCALE};
  if (gpus) sh->need[sh->n++] = (wr_need){1, gpus * WR_RES_SCALE};
  sh->gpu = gpus * WR_RES_SCALE;
  wr_shape_open(&x->seg, i);
}

static void on_kill(void *ctx, uint32_t slot, const char *reason) {
  CHECK(reason && reason[0]);
  ((session *)ctx)->to_kill = slot;
}

static void on_actor(void *ctx, uint32_t actor, uint32_t gen, int restarting) {
  session *x = ctx;
  (void)actor, (void)gen;
  x->died += !restarting;
  x->restarted += restarting != 0;
}

void session_open(session *x, uint64_t heap_bytes) {
  memset(x, 0, sizeof *x);
  wr_seg_config cfg = {.heap_bytes = heap_bytes, .cpus = 1, .session = "session"};
  CHECK_EQ(wr_seg_create(&x->seg, &cfg), WR_OK);
  set_resource(x, WR_RES_CPU, "CPU", SESSION_CPUS);
  set_resource(x, 1, "gpu", SESSION_GPUS);
  wr_gpus_init(&x->seg, SESSION_GPUS * WR_RES_SCALE);
  wr_store32(&x->seg.h->nresources, 2);
  wr_store32(&x->seg.pools[SESSION_POOL].state, 1);
  wr_store32(&x->seg.h->npools, SESSION_POOL + 1);
  set_shape(x, SHAPE_CPU, 1, 0);
  set_shape(x, SHAPE_GPU, 1, 2);
  set_shape(x, SHAPE_NONE, 0, 0);
  wr_store32(&x->seg.h->nshapes, SESSION_SHAPES);
  x->next_slot = 1;
  CHECK_EQ(session_slot(x, WR_ROLE_DAEMON), 1);
  CHECK_EQ(wr_sweeper_init(&x->sweeper, &x->seg, 1, on_actor, x), WR_OK);
  x->sweeper.kill_process = on_kill;
}

void session_close(session *x) {
  for (uint32_t i = 0; i < 64; i++) {
    CHECK_EQ(x->pids[i], 0);
    session_drop(x, i);
  }
  wr_sweeper_close(&x->sweeper);
  wr_seg_detach(&x->seg);
}

uint32_t session_slot(session *x, enum wr_role role) {
  for (uint32_t i = 0; i < 63; i++) {
    uint32_t slot = 1 + (x->next_slot - 1 + i) % 63;
    wr_proc *p = &x->seg.procs[slot];
    uint64_t st = wr_load(&p->state);
    if (WR_PROC_PHASE(st) != WR_PROC_FREE) continue;
    p->job = slot;
    uint32_t pool = role == WR_ROLE_DAEMON ? 0 : SESSION_POOL;
    wr_store(&p->state, WR_PROC_STATE(WR_PROC_LIVE, role, pool, WR_PROC_GEN(st) + 1));
    if (wr_load32(&x->seg.h->proc_high) <= slot) wr_store32(&x->seg.h->proc_high, slot + 1);
    x->next_slot = slot + 1;
    return slot;
  }
  CHECK_MSG(0, "no slot is free");
  return 0;
}

wr_client *session_attach(session *x, uint32_t slot) {
  wr_seg seg = x->seg;
  wr_client *c = NULL;
  if (!x->one_mapping) CHECK_EQ(wr_seg_attach(&seg, dup(x->seg.fd)), WR_OK);
  uint32_t gen = WR_PROC_GEN(wr_load(&x->seg.procs[slot].state));
  CHECK_EQ(wr_client_new(&c, &seg, slot, gen, NULL), WR_OK);
  x->clients[slot] = c;
  return c;
}

wr_client *session_client(session *x, enum wr_role role) {
  return session_attach(x, session_slot(x, role));
}

uint32_t session_fork(session *x, enum wr_role role, session_peer *fn, void *arg) {
  uint32_t slot = session_slot(x, role);
  fflush(NULL);
  int pid = fork();
  CHECK_MSG(pid >= 0, "fork: %s", strerror(errno));
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(x->clients, 0, sizeof x->clients);
    fn(x, session_attach(x, slot), arg);
    kill(getpid(), SIGKILL);
  }
  x->pids[slot] = pid;
  wr_store32(&x->seg.procs[slot].pid, (uint32_t)pid);
  return slot;
}

int session_reap(session *x, uint32_t slot) {
  int status = 0;
  CHECK_EQ(waitpid(x->pids[slot], &status, 0), x->pids[slot]);
  x->pids[slot] = 0;
  return status;
}

void session_drop(session *x, uint32_t slot) {
  wr_client *c = x->clients[slot];
  if (c && x->one_mapping) { /* it stays */
    c->seg.base = NULL;
    c->seg.fd = -1;
  }
  if (c) wr_client_free(c);
  x->clients[slot] = NULL;
}

/* ---- death ----------------------------------------------------------------------------------- */

static void on_interrupt(void *ctx, uint32_t slot, wr_idx task, uint32_t gen, int force) {
  session *x = ctx;
  wr_task *t = wr_task_at(&x->seg, task);
  CHECK(!force && gen == WR_TASK_GEN(wr_load(&t->tstate)));
  atomic_fetch_or(&t->cancel, WR_CANCEL_TOLD); /* as the daemon does */
  x->told_slot = slot;
  x->told_task = task;
  x->told++;
}

void session_note_interrupts(session *x) {
  x->told = 0;
  x->sweeper.interrupt = on_interrupt;
}

static void set_phase(session *x, uint32_t slot, uint32_t phase) {
  uint64_t st = wr_load(&x->seg.procs[slot].state);
  wr_store(&x->seg.procs[slot].state,
           WR_PROC_STATE(phase, WR_PROC_ROLE(st), WR_PROC_POOL(st), WR_PROC_GEN(st)));
}

void session_mark_dead(session *x, uint32_t slot) { set_phase(x, slot, WR_PROC_DEAD); }
void session_free_slot(session *x, uint32_t slot) { set_phase(x, slot, WR_PROC_FREE); }

static void end_process(session *x, uint32_t slot) {
  if (x->pids[slot]) {
    kill(x->pids[slot], SIGKILL);
    session_reap(x, slot);
  }
  session_drop(x, slot);
}

void session_sweep(session *x, uint32_t slot) {
  while (slot) {
    wr_death why = {.wait_status = SIGKILL, .pid = 4711};
    x->to_kill = 0;
    session_mark_dead(x, slot);
    CHECK_EQ(wr_sweep_slot(&x->sweeper, slot, &why), WR_OK);
    session_free_slot(x, slot);
    slot = x->to_kill;
    if (slot) end_process(x, slot);
  }
}

/* ---- looking --------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, const void *p, size_t n) {
  const uint64_t *w = p;
  for (size_t i = 0; i < n / 8; i++) h = (h ^ w[i]) * UINT64_C(0x100000001b3);
  return h;
}

uint64_t session_hash(const session *x) {
  const wr_seg *s = &x->seg;
  const wr_header *h = s->h;
  uint64_t v = UINT64_C(0xcbf29ce484222325);
  v = mix(v, s->actors, sizeof *s->actors * wr_load32(&h->nactors));
  v = mix(v, s->shapes, sizeof *s->shapes * SESSION_SHAPES);
  v = mix(v, s->resources, sizeof *s->resources * 2);
  v = mix(v, s->groups, sizeof *s->groups * wr_load32(&h->ngroups));
  v = mix(v, s->bundles, sizeof *s->bundles * wr_load32(&h->nbundles));
  v = mix(v, s->rec_table, sizeof *s->rec_table * wr_load32(&h->rec_high));
  v = mix(v, s->heap_table, sizeof *s->heap_table * wr_load(&h->heap_high));
  v = mix(v, s->recs, WR_CHUNK * wr_load32(&h->rec_high));
  v = mix(v, s->heap, WR_CHUNK * wr_load(&h->heap_high));
  for (uint32_t i = 1; i < 64; i++) v = mix(v, (const char *)&s->procs[i] + 64, 192);
  return v;
}

void session_audit(session *x, wr_audit *out) {
  char text[2048];
  int rc = wr_audit_session(&x->seg, out, text, sizeof text);
  if (rc != 0) fputs(text, stderr);
  CHECK_EQ(rc, 0);
}

int32_t session_free_amount(const session *x, uint32_t resource) {
  return (int32_t)wr_tag_value(wr_load(&x->seg.resources[resource].avail)) / WR_RES_SCALE;
}

void session_check_empty(session *x) {
  wr_audit a;
  uint64_t bytes;
  CHECK_EQ(wr_lineage_collect(&x->sweeper.self, &bytes), WR_OK);
  CHECK_EQ(bytes, 0);
  session_audit(x, &a);
  for (uint32_t i = WR_TASK_BUILDING; i < WR_AUDIT_PHASES; i++)
    CHECK_MSG(a.tasks[i] == 0, "%llu tasks are in phase %u", (unsigned long long)a.tasks[i], i);
  CHECK_EQ(a.objects, 0);
  CHECK_EQ(a.lineage, 0);
  CHECK_EQ(a.value_bytes, 0);
  CHECK_EQ(a.actors, 0);
  CHECK_EQ(a.holds, 0);
  CHECK_EQ(session_free_amount(x, WR_RES_CPU), (int32_t)SESSION_CPUS);
  CHECK_EQ(session_free_amount(x, 1), (int32_t)SESSION_GPUS);
}

/* ---- values ---------------------------------------------------------------------------------- */

#define LARGE 100000u /* written as large values are */

void (*session_aside)(int begins);
int64_t session_patience = 1;

void pattern_fill(uint8_t *to, size_t len, uint32_t seed) {
  if (session_aside) session_aside(1);
  for (size_t i = 0; i < len; i++) to[i] = (uint8_t)(seed * 31 + i);
  if (session_aside) session_aside(0);
}

int pattern_is(wr_client *c, wr_id id, size_t len, uint32_t seed) {
  wr_view v;
  if (wr_value_view(c, id, &v) != WR_OK || v.is_error || v.len != len) return 0;
  size_t same = 0;
  if (session_aside) session_aside(1);
  while (same < len && v.data[same] == (uint8_t)(seed * 31 + same)) same++;
  if (session_aside) session_aside(0);
  return same == len;
}

static void write_fresh(wr_client *c, uint8_t *dst, size_t len, uint32_t seed) {
  uint8_t *value = malloc(len);
  CHECK(value != NULL);
  pattern_fill(value, len, seed);
  wr_value_write(c, dst, value, len);
  free(value);
}

wr_id pattern_put(wr_client *c, size_t len, uint32_t seed, const wr_id *refs, uint32_t nrefs) {
  wr_id id;
  uint8_t *dst;
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  CHECK_EQ(wr_value_reserve(c, id.idx, len, refs, nrefs, &dst), WR_OK);
  int by_stores = len < LARGE || session_aside != NULL; /* which step.c sees */
  if (!by_stores && wr_value_is_fresh(c, dst, len))
    write_fresh(c, dst, len, seed);
  else
    pattern_fill(dst, len, seed);
  CHECK_EQ(wr_object_seal(c, id.idx, 0, 0), WR_OK);
  return id;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

void plan_build(wr_client *c, const task_plan *p, wr_id *out) {
  uint8_t *dst;
  wr_task_spec spec = p->spec;
  if (!spec.nreturns) spec.nreturns = 1;
  CHECK_EQ(wr_task_create(c, &spec, sizeof p->o + p->padding, p->refs, p->nrefs, p->ndeps, out,
                          &dst), WR_OK);
  memcpy(dst, &p->o, sizeof p->o);
  pattern_fill(dst + sizeof p->o, p->padding, p->o.seed);
}

void plan_submit(wr_client *c, const task_plan *p, wr_id *out) {
  plan_build(c, p, out);
  CHECK_EQ(wr_task_submit(c, out[0].idx), WR_OK);
}

wr_id actor_make(wr_client *c, int32_t max_restarts, uint32_t flags, order o, wr_id *creation) {
  wr_actor_spec spec = {.max_concurrency = 1, .flags = flags, .max_restarts = max_restarts,
                        .pool = SESSION_POOL, .shape = SHAPE_NONE, .cls_name = "Actor"};
  wr_id actor;
  CHECK_EQ(wr_actor_create(c, &spec, &actor), WR_OK);
  task_plan p = {.o = o, .spec = {.shape = SHAPE_CPU, .flags = WR_TF_CREATION, .actor = actor}};
  plan_submit(c, &p, creation);
  return actor;
}

void stream_submit(wr_client *c, order o, wr_task_spec spec, const wr_id *refs, uint32_t nrefs,
                   wr_id *out) {
  spec.flags |= WR_TF_STREAM;
  spec.nreturns = 2;
  task_plan p = {.o = o, .spec = spec, .refs = refs, .nrefs = nrefs};
  plan_submit(c, &p, out);
}

/* The first item has the submitter's own reference, the others have holds. */
void stream_drop(wr_client *c, wr_id item) {
  if (wr_item_at(&c->seg, item.idx)->number == 0)
    wr_creator_drop(c, item);
  else
    wr_unhold(c, item);
}

uint32_t stream_read(wr_client *c, wr_id task, wr_id *item, const order *o, uint32_t most) {
  uint32_t n = 0;
  wr_id next;
  for (; n < most && wr_stream_next(c, *item, &next) == WR_OK; n++) {
    uint32_t number = wr_item_at(&c->seg, item->idx)->number;
    CHECK_MSG(pattern_is(c, *item, o->len, o->seed + 1 + number), "item %u has a wrong value",
              number);
    wr_stream_advance(c, task, *item);
    stream_drop(c, *item);
    *item = next;
  }
  return n;
}

#define RETRIES_KEPT 2 /* for deaths */

/* ---- doing them ------------------------------------------------------------------------------ */

static wr_id return_of(wr_client *c, const wr_job *job, uint32_t k) {
  wr_idx i = k ? job->extra[k - 1] : job->idx;
  return (wr_id){i, WR_OBJ_GEN(wr_load(&wr_obj(&c->seg, i)->state))};
}

static void check_args(wr_client *c, const wr_job *job, const order *o) {
  if (session_aside) session_aside(1);
  for (size_t i = sizeof *o; i < job->args_len; i++)
    CHECK_EQ(job->args[i], (uint8_t)(o->seed * 31 + i - sizeof *o));
  if (session_aside) session_aside(0);
  for (uint32_t k = 0; k < job->ndeps; k++) {
    wr_id dep = {job->refs[k], WR_OBJ_GEN(wr_load(&wr_obj(&c->seg, job->refs[k])->state))};
    CHECK(wr_object_phase_of(c, dep) == WR_OBJ_READY || wr_object_phase_of(c, dep) == WR_OBJ_ERROR);
  }
}

static void answer(wr_client *c, const wr_job *job, const order *o, int is_error) {
  wr_id refs[16];
  uint32_t nrefs = o->op == ORDER_NEST ? job->nrefs : 0, n = job->t->nreturns;
  for (uint32_t k = 0; k < nrefs; k++) refs[k] = (wr_id){job->refs[k], 0};
  for (uint32_t k = 0; k < n; k++) {
    uint8_t *dst;
    CHECK_EQ(wr_value_reserve(c, return_of(c, job, k).idx, o->len, refs, nrefs, &dst), WR_OK);
    pattern_fill(dst, o->len, o->seed + k);
    if (k && o->op == ORDER_PART) wr_value_mark_failed(c, return_of(c, job, k).idx);
  }
  CHECK_EQ(wr_work_finish(c, job, is_error, 0), WR_OK);
}

static void yield_all(wr_client *c, const wr_job *job, const order *o) {
  wr_id refs[16];
  uint8_t *dst;
  for (uint32_t k = 0; k < job->nrefs; k++) refs[k] = (wr_id){job->refs[k], 0};
  for (uint32_t k = wr_work_yielded(c, job); k < o->items; k++) {
    CHECK_EQ(wr_value_reserve(c, job->extra[0], o->len, refs, job->nrefs, &dst), WR_OK);
    pattern_fill(dst, o->len, o->seed + 1 + k);
    CHECK_EQ(wr_work_yield(c, job, 0), WR_OK);
    if (!wr_work_has_room(c, job)) (void)wr_work_wait_room(c, job, session_patience);
  }
  CHECK_EQ(wr_work_end_stream(c, job), WR_OK);
  CHECK_EQ(wr_value_reserve(c, job->idx, o->len, NULL, 0, &dst), WR_OK);
  pattern_fill(dst, o->len, o->seed);
  CHECK_EQ(wr_work_finish(c, job, 0, 0), WR_OK);
}

static void spawn(wr_client *c, const wr_job *job, const order *o) {
  wr_id child;
  task_plan p = {.o = {ORDER_ECHO, o->seed, 8, 0},
                 .spec = {.retries = -1, .parent = {job->idx, job->gen}}};
  plan_submit(c, &p, &child);
  CHECK_EQ(wr_wait_objects(c, &child, 1, 1, 0, 1), WR_TIMEOUT);
  wr_creator_drop(c, child);
}

void work_run(wr_client *c, const wr_job *job) {
  order o;
  CHECK(job->args_len >= sizeof o);
  memcpy(&o, job->args, sizeof o);
  check_args(c, job, &o);
  if (o.op == ORDER_RETRY && job->t->retries > RETRIES_KEPT) {
    uint8_t *dst;
    CHECK_EQ(wr_value_reserve(c, job->idx, o.len, NULL, 0, &dst), WR_OK);
    CHECK_EQ(wr_work_retry(c, job), WR_OK);
    return;
  }
  if (o.op == ORDER_STREAM) {
    yield_all(c, job, &o);
    return;
  }
  if (o.op == ORDER_SPAWN) spawn(c, job, &o);
  if (o.op == ORDER_CREATE) CHECK_EQ(wr_work_actor_up(c, job, 1), WR_OK);
  answer(c, job, &o, o.op == ORDER_FAIL || o.op == ORDER_BROKEN);
  if (o.op == ORDER_BROKEN) CHECK_EQ(wr_work_actor_up(c, job, 0), WR_OK);
}

static int next_job(wr_client *c, wr_job *job) {
  int rc;
  do rc = wr_work_next(c, job, 0);
  while (rc == WR_INTR);
  return rc;
}

uint32_t work_all(wr_client *c) {
  wr_job job;
  uint32_t n = 0;
  for (; next_job(c, &job) == WR_OK; n++) work_run(c, &job);
  return n;
}

/* 1: it did something.  An actor whose constructor failed, or that has retired, leaves. */
static int work_one(session *x, uint32_t slot) {
  wr_client *c = x->clients[slot];
  wr_job job;
  uint32_t n = 0;
  int rc, broken = 0;
  while (!broken && (rc = next_job(c, &job)) == WR_OK) {
    order o;
    memcpy(&o, job.args, sizeof o);
    broken = o.op == ORDER_BROKEN;
    work_run(c, &job);
    n++;
  }
  if (broken || rc == WR_DEAD) {
    session_drop(x, slot);
    session_sweep(x, slot);
    return 1;
  }
  return n > 0;
}

void session_work(session *x) {
  int again = 1;
  while (again) {
    uint32_t idle = 0;
    again = 0;
    for (uint32_t i = 2; i < 64; i++) {
      if (!x->clients[i] || !x->clients[i]->is_worker) continue;
      again |= work_one(x, i);
      if (x->clients[i]) idle += wr_load32(&x->clients[i]->self.p->actor) == 0;
    }
    if (!idle && wr_queue_has_work(&x->seg, SESSION_POOL)) {
      session_client(x, WR_ROLE_WORKER);
      again = 1;
    }
  }
}
