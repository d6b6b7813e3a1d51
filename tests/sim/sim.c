/* Many processes of one session in one C process, as a seed says: which of them goes on at each
 * failpoint, what it does, and who dies where.  The same seed gives the same run.
 *
 * usage: sim [--seeds N] [--from SEED] [--state FILE] | sim --replay SEED
 * --state: goes on behind the last seed that FILE says is done, up to N, and keeps it up to date.
 *
 * Every process is a coroutine that gives way at failpoints, in the middle of operations.  Some
 * never come back: they are dead, and the daemon sweeps while the others stand where they are.
 * Some sleep until they are woken.  When all others have been let finish, the session is audited,
 * and nobody may sleep on what has come; in the end nothing may be left. */
#include "sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "sched/ledger.h"

#ifndef WR_HOSTILE
#error "the simulation needs a hostile build: its processes give way at failpoints"
#endif

enum {
  STACK = 256 << 10,
  STEPS = 16 * SIM_PROCS,
  AUDIT_EVERY = 40,
  NOTE_EVERY = 100,
  RESTLESS = 200000 /* steps until all are at rest: far more than it takes */
};

session sim_session;
sim_proc sim_procs[SIM_PROCS];
int sim_calm;
static sim_proc *current;
static ucontext_t home;
static uint64_t state, seed;
static uint32_t born, cpus;

static uint64_t next(void) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * UINT64_C(0x2545F4914F6CDD1D);
}
uint32_t sim_pick(uint32_t n) { return (uint32_t)(next() >> 33) % n; }

void sim_leave(void) { (void)swapcontext(&current->ctx, &home); }

void sim_give_way(const char *name) {
  if (!current) return;
  if (!sim_pick(3)) sim_leave();
  if (strcmp(name, "park.sleep") == 0) sim_sleep(current);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void say_seed(void) {
  fprintf(stderr, "to see it again: sim --replay %llu\n", (unsigned long long)seed);
}

void sim_fail(const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  fprintf(stderr, "seed %llu: ", (unsigned long long)seed);
  vfprintf(stderr, format, ap);
  fputc('\n', stderr);
  va_end(ap);
  say_seed();
  exit(1);
}

static void on_crash(int sig) {
  fprintf(stderr, "seed %llu: signal %d\n", (unsigned long long)seed, sig);
  say_seed();
  _exit(1);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void live(void) {
  for (;;) {
    sim_proc *p = current;
    p->busy = 1;
    sim_act(p);
    p->busy = 0;
    (void)swapcontext(&p->ctx, &home);
  }
}

static void be_born(sim_proc *p, int worker) {
  p->worker = worker;
  p->c = session_client(&sim_session, worker ? WR_ROLE_WORKER : WR_ROLE_DRIVER);
  p->c->cut_off = &p->gives_up;
  atomic_init(&p->gives_up, 0);
  p->slot = p->c->slot;
  if (worker) wr_store32(&sim_session.seg.pools[SESSION_POOL].want, 0); /* it looks for itself */
  p->who = ++born;
  p->busy = p->asleep = p->leaving = 0;
  p->nown = p->nstreams = p->ngroups = p->nwaits = 0;
  (void)getcontext(&p->ctx);
  p->ctx.uc_stack.ss_sp = p->stack;
  p->ctx.uc_stack.ss_size = STACK;
  p->ctx.uc_link = &home;
  makecontext(&p->ctx, live, 0);
}

static void go_on(sim_proc *p) {
  current = p;
  (void)swapcontext(&home, &p->ctx);
  current = NULL;
}

static void replace_dead(void) {
  for (int i = 0; i < SIM_PROCS; i++)
    if (!sim_procs[i].c) be_born(&sim_procs[i], sim_procs[i].worker);
}

static int comes_to_rest(const sim_proc *p, int all) {
  if (p->busy) return sim_asleep(p);
  return !all || !p->worker || p->leaving;
}

/* All operations end, or sleep; all: and workers do what they can. */
static void rest(int all) {
  uint32_t steps = 0, before;
  sim_calm = all;
  do {
    before = steps;
    for (int i = 0; i < SIM_PROCS; i++)
      for (; !comes_to_rest(&sim_procs[i], all); go_on(&sim_procs[i]))
        if (++steps == RESTLESS) sim_fail("the processes do not come to rest");
  } while (steps != before);
  sim_calm = 0;
  sim_check_rest(all);
}

static void audit(int is_end) {
  wr_audit out;
  char text[2048];
  int wrong = wr_audit_session(&sim_session.seg, &out, text, sizeof text);
  if (wrong) sim_fail("the audit says\n%s", text);
  if (!is_end) return;
  if (out.objects || out.holds || out.value_bytes || out.actors || out.lineage)
    sim_fail("%llu objects, %llu bytes, %llu holds, %llu actors and %llu of lineage are left",
             (unsigned long long)out.objects, (unsigned long long)out.value_bytes,
             (unsigned long long)out.holds, (unsigned long long)out.actors,
             (unsigned long long)out.lineage);
  if (session_free_amount(&sim_session, WR_RES_CPU) != (int32_t)cpus ||
      session_free_amount(&sim_session, 1) != (int32_t)SESSION_GPUS)
    sim_fail("%d CPUs and %d GPUs are free", session_free_amount(&sim_session, WR_RES_CPU),
             session_free_amount(&sim_session, 1));
}

static void step(sim_proc *p) {
  if (sim_pick(40) == 0 || p->leaving)
    sim_die(p); /* wherever it is */
  else if (sim_pick(8) == 0)
    sim_daemon_act();
  else if (sim_asleep(p))
    sim_rouse(p);
  else
    go_on(p);
  replace_dead();
}

static sim_proc *somebody(void) {
  sim_proc *p = &sim_procs[sim_pick(SIM_PROCS)];
  for (int n = 0; n < 4 && sim_asleep(p); n++) p = &sim_procs[sim_pick(SIM_PROCS)];
  return p;
}

/* Fewer than there are workers, as a rule. */
static void set_cpus(void) {
  wr_resource *r = &sim_session.seg.resources[WR_RES_CPU];
  cpus = 1 + sim_pick(SESSION_CPUS);
  wr_store32(&r->total, cpus * WR_RES_SCALE);
  wr_store(&r->avail, wr_tag_make(cpus * WR_RES_SCALE, 0, 0));
}

static void run(uint64_t s) {
  seed = s;
  state = s * UINT64_C(0x9E3779B97F4A7C15) + 1;
  born = 0;
  sim_acts_reset();
  session_open(&sim_session, 16u << 20);
  sim_session.one_mapping = 1;
  set_cpus();
  sim_daemon_begin();
  for (int i = 0; i < SIM_PROCS; i++) be_born(&sim_procs[i], i < SIM_WORKERS);
  wr_failpoint_hook = sim_give_way;
  for (int k = 1; k <= STEPS; k++) {
    step(somebody());
    if (k % AUDIT_EVERY) continue;
    rest((int)sim_pick(2));
    audit(0);
  }
  /* What is queued goes, too. */
  wr_store32(&sim_session.seg.pools[SESSION_POOL].state, WR_POOL_CLOSED);
  for (int i = 0; i < SIM_PROCS; i++)
    if (sim_procs[i].c) sim_die(&sim_procs[i]);
  sim_daemon_end();
  wr_failpoint_hook = NULL;
  audit(1);
  session_close(&sim_session);
}

/* ---- many ------------------------------------------------------------------------------------ */

static uint64_t done_before(const char *path) {
  unsigned long long n = 0;
  FILE *f = fopen(path, "r");
  if (f && fscanf(f, "%llu", &n) != 1) n = 0;
  if (f) fclose(f);
  return n;
}

static void note_done(const char *path, uint64_t n) {
  char other[512];
  snprintf(other, sizeof other, "%s.new", path);
  FILE *f = fopen(other, "w");
  if (!f || fprintf(f, "%llu\n", (unsigned long long)n) < 0 || fclose(f) || rename(other, path)) {
    perror(path);
    exit(2);
  }
}

int main(int argc, char **argv) {
  uint64_t seeds = 1000, from = 1;
  const char *path = NULL;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--seeds") == 0) seeds = strtoull(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--from") == 0) from = strtoull(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--replay") == 0) from = strtoull(argv[i + 1], NULL, 10), seeds = 1;
    if (strcmp(argv[i], "--state") == 0) path = argv[i + 1];
  }
  for (int i = 0; i < SIM_PROCS; i++) {
    uint8_t *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) return 2;
    sim_procs[i].stack = stack;
  }
  session_patience = -1;
  signal(SIGABRT, on_crash);
  signal(SIGSEGV, on_crash);
  uint64_t first = path ? from + done_before(path) : from;
  for (uint64_t s = first; s < from + seeds; s++) {
    run(s);
    uint64_t n = s - from + 1;
    if (path && (n % NOTE_EVERY == 0 || n == seeds)) note_done(path, n);
  }
  printf("sim: %llu seeds from %llu\n", (unsigned long long)seeds, (unsigned long long)from);
  return 0;
}
