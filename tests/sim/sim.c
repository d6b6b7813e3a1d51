/* Many processes of one session in one C process, as a seed says: which of them goes on at each
 * failpoint, what it does, and who dies where.  The same seed gives the same run.
 *
 * usage: sim [--seeds N] [--from SEED] | sim --replay SEED
 * Every process is a coroutine that gives way at failpoints (base/failpoint.h), in the middle of
 * operations.  Some never come back: they are dead, and the daemon sweeps while the others stand
 * where they are.  When all have been let finish, the session is audited; in the end nothing may be
 * left. */
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "../c/session.h"
#include "base/failpoint.h"

#ifndef WR_HOSTILE
#error "the simulation needs a hostile build: its processes give way at failpoints"
#endif

enum { PROCS = 6, STACK = 256 << 10, IDS = 48, OPS = 14 };

typedef struct {
  ucontext_t ctx;
  uint8_t *stack;
  wr_client *c;
  uint32_t slot;
  int busy; /* inside an operation */
  int worker;
  wr_id own[IDS]; /* with the creator's reference */
  uint32_t nown;
} proc;

static session x;
static proc procs[PROCS], *current;
static ucontext_t home;
static uint64_t state;
static uint64_t seed;
static wr_id seen[IDS]; /* ids that anybody may try */

static uint64_t next(void) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * UINT64_C(0x2545F4914F6CDD1D);
}
static uint32_t pick(uint32_t n) { return (uint32_t)(next() >> 33) % n; }

static void give_way(const char *name) {
  (void)name;
  if (!current || pick(3)) return;
  (void)swapcontext(&current->ctx, &home);
}

/* ---- what processes do ----------------------------------------------------------------------- */

static void keep(proc *p, wr_id id) {
  if (p->nown == IDS) {
    wr_creator_drop(p->c, id);
    return;
  }
  p->own[p->nown++] = id;
  seen[pick(IDS)] = id;
}

static void drop_one(proc *p) {
  if (!p->nown) return;
  uint32_t k = pick(p->nown);
  wr_id id = p->own[k];
  p->own[k] = p->own[--p->nown];
  wr_creator_drop(p->c, id);
}

/* References that this process may pass on: its own. */
static uint32_t some_refs(proc *p, wr_id *refs, uint32_t most) {
  uint32_t n = p->nown ? pick(most + 1) : 0;
  for (uint32_t i = 0; i < n; i++) refs[i] = p->own[pick(p->nown)];
  for (uint32_t i = 0; i < n; i++)
    if (refs[i].idx & WR_ACTOR_BIT) return 0;
  return n;
}

static void submit(proc *p) {
  wr_id refs[3], out[3];
  uint32_t n = some_refs(p, refs, 3), returns = 1 + pick(3);
  static const uint32_t ops[] = {ORDER_ECHO, ORDER_NEST, ORDER_FAIL, ORDER_PART};
  task_plan t = {.o = {ops[pick(4)], pick(100), pick(4) ? 20 : 3000, 0}, .padding = pick(200),
                 .refs = refs, .nrefs = n, .ndeps = n ? pick(n + 1) : 0,
                 .spec = {.shape = (uint16_t)pick(SESSION_SHAPES), .nreturns = (uint16_t)returns,
                          .retries = (int16_t)pick(3)}};
  plan_submit(p->c, &t, out);
  for (uint32_t i = 0; i < returns; i++) keep(p, out[i]);
}

static void put(proc *p) {
  wr_id refs[3];
  uint32_t n = some_refs(p, refs, 3);
  keep(p, pattern_put(p->c, pick(5) ? pick(64) : 90000, pick(100), refs, n));
}

static void borrow(proc *p) {
  wr_id id = seen[pick(IDS)];
  if (!id.idx || wr_hold(p->c, id.idx, id.gen, NULL) != WR_OK) return;
  wr_unhold(p->c, id);
}

static void cancel(proc *p) {
  if (!p->nown) return;
  wr_id id = p->own[pick(p->nown)];
  uint32_t slot;
  if (!(id.idx & WR_ACTOR_BIT)) (void)wr_task_cancel(p->c, &id, 0, &slot);
}

static void work(proc *p) {
  wr_job job;
  if (wr_work_try(p->c, &job) == WR_OK) work_run(p->c, &job);
}

static void act(proc *p) {
  if (p->worker) {
    work(p);
    return;
  }
  switch (pick(8)) {
    case 0:
    case 1: submit(p); break;
    case 2:
    case 3: put(p); break;
    case 4: borrow(p); break;
    case 5: cancel(p); break;
    default: drop_one(p); break;
  }
}

static void live(void) {
  for (;;) {
    proc *p = current;
    p->busy = 1;
    act(p);
    p->busy = 0;
    (void)swapcontext(&p->ctx, &home);
  }
}

/* ---- life and death -------------------------------------------------------------------------- */

static void be_born(proc *p, int worker) {
  p->worker = worker;
  p->c = session_client(&x, worker ? WR_ROLE_WORKER : WR_ROLE_DRIVER);
  p->slot = p->c->slot;
  p->busy = 0;
  p->nown = 0;
  (void)getcontext(&p->ctx);
  p->ctx.uc_stack.ss_sp = p->stack;
  p->ctx.uc_stack.ss_size = STACK;
  p->ctx.uc_link = &home;
  makecontext(&p->ctx, live, 0);
}

static void go_on(proc *p) {
  current = p;
  (void)swapcontext(&home, &p->ctx);
  current = NULL;
}

static void die(proc *p) {
  uint32_t slot = p->slot;
  session_drop(&x, slot);
  p->c = NULL;
  session_sweep(&x, slot);
}

static void finish_operations(void) {
  for (int i = 0; i < PROCS; i++)
    while (procs[i].busy) go_on(&procs[i]);
}

static void audit(int is_end) {
  wr_audit out;
  char text[2048];
  int wrong = wr_audit_session(&x.seg, &out, text, sizeof text);
  uint64_t left = is_end ? out.objects + out.holds + out.value_bytes : 0;
  if (!wrong && !left) return;
  fprintf(stderr, "seed %llu: %llu objects, bytes and holds are left; the audit says\n%s",
          (unsigned long long)seed, (unsigned long long)left, text);
  fprintf(stderr, "to see it again: sim --replay %llu\n", (unsigned long long)seed);
  exit(1);
}

static void run(uint64_t s) {
  seed = s;
  state = s * UINT64_C(0x9E3779B97F4A7C15) + 1;
  memset(seen, 0, sizeof seen);
  session_open(&x, 16u << 20);
  for (int i = 0; i < PROCS; i++) be_born(&procs[i], i >= PROCS / 2);
  wr_failpoint_hook = give_way;
  for (int step = 0; step < OPS * PROCS; step++) {
    proc *p = &procs[pick(PROCS)];
    if (pick(30) == 0) {
      int worker = p->worker;
      die(p); /* wherever it is */
      be_born(p, worker);
    } else {
      go_on(p);
    }
    if (step % 24 == 23) {
      finish_operations();
      audit(0);
    }
  }
  wr_store32(&x.seg.pools[SESSION_POOL].state, WR_POOL_CLOSED); /* what is queued goes, too */
  for (int i = 0; i < PROCS; i++) die(&procs[i]);
  wr_failpoint_hook = NULL;
  audit(1);
  session_close(&x);
}

int main(int argc, char **argv) {
  uint64_t seeds = 1000, from = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--seeds") == 0) seeds = strtoull(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--from") == 0) from = strtoull(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--replay") == 0) from = strtoull(argv[i + 1], NULL, 10), seeds = 1;
  }
  for (int i = 0; i < PROCS; i++) {
    procs[i].stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (procs[i].stack == MAP_FAILED) return 2;
  }
  for (uint64_t s = from; s < from + seeds; s++) run(s);
  printf("sim: %llu seeds from %llu\n", (unsigned long long)seeds, (unsigned long long)from);
  return 0;
}
