#include "step.h"

#if !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int step_possible(void) { return 0; }

void step_through(const scenario *sc, uint32_t every, uint32_t kills, step_count *sum) {
  (void)every, (void)kills;
  CHECK_EQ(kill_play(sc, NULL, 1), 0);
  sum->kills++;
}
#else

#include <errno.h>
#include <execinfo.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "os/os.h"

#define SEED UINT64_C(0x9e3779b97f4a7c15)
#define TRAP_FLAG 0x100
#define LINE 64u
#define PAGE 4096u
#define IMAGES (UINT64_C(1) << 20) /* places in the set of images of a scenario */
#define TRIALS 2u                  /* at a time */
#define SHOWN 3u     /* broken deaths of one scenario, after which no more of it are tried */
#define PATIENCE 60u /* seconds that survivors may take over what is left */

int step_possible(void) { return 1; }

/* What victim and test share. */
typedef struct {
  step_count n;
  uint64_t hash;  /* of the image that is offered, or that a kill leaves */
  uint64_t pc;    /* of the last store to it */
  int missed;     /* the segment changed without a fault */
  int asks[2], answers[2]; /* pipes: the victim offers an image; it has been copied */
} common;

/* The process that steps through its own act. */
typedef struct {
  common *c;
  uint8_t *base;
  uint64_t size, until, store_at;
  uint32_t every;
  int fd, stepping, storing;
  int repeats;     /* the storing instruction, which has begun another round */
  uint8_t *mirror; /* what the segment holds, kept up store by store */
  uint64_t *seen;  /* hashes of images, open addressing */
} stepper;

static world stage; /* victims, and those who try their images, are forked */
static stepper me;  /* in the victim; its signal handlers need it */

/* ---- images ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t v) {
  v = (v ^ v >> 32) * SEED;
  return v ^ v >> 29;
}

/* Of one line; those of all lines are added up, so that one can be exchanged. */
static uint64_t line_hash(const uint8_t *p, uint64_t at) {
  uint64_t h = at, any = 0, w[LINE / 8];
  memcpy(w, p, LINE);
  for (uint32_t i = 0; i < LINE / 8; i++) {
    h = mix(h + w[i]);
    any |= w[i];
  }
  return any ? h : 0; /* as memory that was never touched */
}

static void take_line(uint64_t at) {
  const uint8_t *now = me.base + at;
  uint8_t *then = me.mirror + at;
  if (at >= me.size || memcmp(now, then, LINE) == 0) return;
  me.c->hash -= line_hash(then, at);
  memcpy(then, now, LINE);
  me.c->hash += line_hash(then, at);
}

/* Calls f for each page that the segment has. */
static void each_page(int fd, uint64_t size, void (*f)(void *ctx, uint64_t at), void *ctx) {
  uint64_t at = 0;
  for (; at < size && wr_os_next_data(fd, at, &at) == WR_OK && at < size; at += PAGE) f(ctx, at);
}

static void take_page(void *ctx, uint64_t at) {
  (void)ctx;
  for (uint64_t end = at + PAGE; at < end; at += LINE) take_line(at);
}

/* Whatever has changed, by whom ever; 0: nothing. */
static int take_all(void) {
  uint64_t before = me.c->hash;
  each_page(me.fd, me.size, take_page, NULL);
  return me.c->hash != before;
}

static int is_new(uint64_t hash) {
  uint64_t k = mix(hash) & (IMAGES - 1);
  for (; me.seen[k]; k = (k + 1) & (IMAGES - 1))
    if (me.seen[k] == hash) return 0;
  me.seen[k] = hash;
  return 1;
}

/* Waits until the test has copied the image. */
static void offer_image(void) {
  char byte = 'i';
  if (write(me.c->asks[1], &byte, 1) != 1 || read(me.c->answers[0], &byte, 1) != 1) _exit(3);
}

static void look(void) {
  common *c = me.c;
  if (c->n.images >= IMAGES / 2 || !is_new(c->hash)) return;
  if (me.every && c->n.images % me.every == 0 && c->n.broken < SHOWN) offer_image();
  c->n.images++;
}

/* ---- stepping -------------------------------------------------------------------------------- */

static void protect(int prot) {
  if (mprotect(me.base, me.size, prot) != 0) _exit(4);
}

static void die_here(void) {
  int changed = take_all();
  if (!me.repeats) me.c->missed |= changed;
  kill(getpid(), SIGKILL);
}

static void after_store(uint64_t pc) {
  uint64_t line = me.store_at & ~(uint64_t)(LINE - 1);
  int repeats = me.repeats;
  me.repeats = pc == me.c->pc; /* and stores without faults, all over the segment */
  if (!me.repeats) {
    protect(PROT_READ);
    me.storing = 0;
    if (repeats) (void)take_all();
  }
  for (uint64_t at = line ? line - LINE : 0; at <= line + LINE; at += LINE) take_line(at);
  me.c->n.stores++;
  look();
}

/* After each instruction; also where stepping begins. */
static void on_step(int signo, siginfo_t *info, void *context) {
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  (void)signo, (void)info;
  if (!me.stepping) {
    r[REG_EFL] &= ~TRAP_FLAG;
    return;
  }
  r[REG_EFL] |= TRAP_FLAG;
  if (me.storing) after_store((uint64_t)r[REG_RIP]);
  if (++me.c->n.instructions == me.until) die_here();
}

/* Before a store: lets it through. */
static void on_store(int signo, siginfo_t *info, void *context) {
  const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  uint64_t at = (uint64_t)((uint8_t *)info->si_addr - me.base);
  if (!me.stepping || me.storing || at >= me.size) { /* a crash */
    signal(signo, SIG_DFL);
    return;
  }
  protect(PROT_READ | PROT_WRITE);
  me.storing = 1;
  me.store_at = at;
  me.c->pc = (uint64_t)r[REG_RIP];
}

static void step_on(void) {
  protect(PROT_READ);
  me.stepping = 1;
  raise(SIGTRAP);
}

static void step_no_more(void) {
  me.stepping = 0;
  protect(PROT_READ | PROT_WRITE);
}

static void on_aside(int begins) {
  if (begins) {
    step_no_more();
    return;
  }
  (void)take_all();
  look();
  step_on();
}

static void *reserve(uint64_t size, int flags) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(p != MAP_FAILED);
  return p;
}

static void set_handlers(void) {
  struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
  struct sigaction store = {.sa_sigaction = on_store, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGTRAP, &step, NULL), 0);
  CHECK_EQ(sigaction(SIGSEGV, &store, NULL), 0);
}

static void play_victim(session *x, wr_client *v, void *arg) {
  const scenario *sc = arg;
  (void)x;
  if (sc->ready) sc->ready(&stage, v);
  me.base = v->seg.base;
  me.size = v->seg.h->size;
  me.fd = v->seg.fd;
  me.mirror = reserve(me.size, MAP_PRIVATE);
  me.seen = reserve(IMAGES * sizeof *me.seen, MAP_PRIVATE);
  set_handlers();
  while (wr_load32(&v->self.p->pid) != (uint32_t)getpid()) sched_yield(); /* the test's last word */
  (void)take_all();
  look();
  session_aside = on_aside;
  step_on();
  sc->act(&stage, v);
  step_no_more();
  die_here();
}

/* ---- trying an image ------------------------------------------------------------------------- */

typedef struct {
  const scenario *sc;
  common *c;
  uint32_t slot;
  int image;
  struct {
    int pid;
    uint64_t at, pc;
  } trials[TRIALS];
} director;

typedef struct {
  int from, to;
} copying;

static void copy_page(void *ctx, uint64_t at) {
  const copying *c = ctx;
  CHECK_EQ(pwrite(c->to, stage.x.seg.base + at, PAGE, (off_t)at), PAGE);
}

static int copy_image(void) {
  copying c = {stage.x.seg.fd, wr_os_memfd_create("image", stage.x.seg.h->size)};
  CHECK_GE(c.to, 0);
  each_page(c.from, stage.x.seg.h->size, copy_page, &c);
  return c.to;
}

static void use_copy(const wr_seg *s, int fd) {
  CHECK(mmap(s->base, s->h->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) !=
        MAP_FAILED);
  CHECK_EQ(dup2(fd, s->fd), s->fd);
}

/* In a process of its own: this is a world where the victim died now. */
static void play_on(void *arg) {
  const director *d = arg;
  session *x = &stage.x;
  alarm(PATIENCE);
  use_copy(&x->seg, d->image);
  for (uint32_t i = 0; i < 64; i++)
    if (x->clients[i]) use_copy(&x->clients[i]->seg, d->image);
  x->pids[d->slot] = 0;
  kill_settle(&stage, d->slot);
  _exit(0);
}

static void tell_place(const director *d, uint64_t at, uint64_t pc, int status) {
  void *frame = (void *)(uintptr_t)pc;
  int hang = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
  fprintf(stderr, "  in: %s, killed after instruction %" PRIu64 ": %s (%#x); the last store:\n",
          d->sc->name, at, hang ? "survivors hang" : "broken", (unsigned)status);
  fflush(stderr);
  backtrace_symbols_fd(&frame, 1, STDERR_FILENO);
}

static int ends_well(int pid, int *status) {
  while (waitpid(pid, status, 0) < 0 && errno == EINTR) continue;
  return *status == 0;
}

static void end_trial(director *d, uint32_t k) {
  int status = 0, pid = d->trials[k].pid;
  d->trials[k].pid = 0;
  if (!pid || ends_well(pid, &status)) return;
  d->c->n.broken++;
  tell_place(d, d->trials[k].at, d->trials[k].pc, status);
}

static void try_image(director *d) {
  char byte = 'i';
  uint32_t k = (uint32_t)(d->c->n.tried++ % TRIALS);
  uint64_t at = d->c->n.instructions, pc = d->c->pc;
  d->image = copy_image();
  CHECK_EQ(write(d->c->answers[1], &byte, 1), 1);
  end_trial(d, k);
  d->trials[k].at = at;
  d->trials[k].pc = pc;
  d->trials[k].pid = check_fork(play_on, d);
  close(d->image);
}

/* ---- one way through ------------------------------------------------------------------------- */

static void hash_page(void *ctx, uint64_t at) {
  for (uint64_t end = at + PAGE; at < end; at += LINE)
    *(uint64_t *)ctx += line_hash(stage.x.seg.base + at, at);
}

/* The bytes that the kill has left are those of the image that would have been tried. */
static void compare(const director *d) {
  uint64_t hash = 0;
  each_page(stage.x.seg.fd, stage.x.seg.h->size, hash_page, &hash);
  CHECK_MSG(!d->c->missed, "%s: the segment has changed without a fault", d->sc->name);
  CHECK_MSG(hash == d->c->hash, "%s: a kill after instruction %" PRIu64 " left something else",
            d->sc->name, d->c->n.instructions);
}

static void attend(director *d) {
  struct pollfd p = {.fd = d->c->asks[0], .events = POLLIN};
  close(d->c->asks[1]); /* the victim has it: its end is the end of the pipe */
  for (;;) {
    char byte;
    int n = poll(&p, 1, 1);
    kill_take_offer(&stage);
    if (n <= 0) continue;
    if (read(p.fd, &byte, 1) != 1) break;
    try_image(d);
  }
  for (uint32_t k = 0; k < TRIALS; k++) end_trial(d, k);
}

typedef struct {
  const scenario *sc;
  common *c;
  uint64_t until;
  uint32_t every;
} way;

static void go(void *arg) {
  const way *g = arg;
  director d = {.sc = g->sc, .c = g->c};
  me = (stepper){.c = g->c, .until = g->until, .every = g->every};
  g->c->hash = 0;
  CHECK_EQ(pipe(g->c->asks), 0);
  CHECK_EQ(pipe(g->c->answers), 0);
  kill_open(&stage, g->sc);
  d.slot = session_fork(&stage.x, g->sc->role, play_victim, (void *)(uintptr_t)g->sc);
  attend(&d);
  int status = session_reap(&stage.x, d.slot);
  CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: the victim ended with %#x",
            g->sc->name, (unsigned)status);
  compare(&d);
  kill_settle(&stage, d.slot);
  g->c->n.kills++;
  _exit(0);
}

/* In a process of its own, so that a broken death does not end the others. */
static int go_apart(way *g) {
  int status = 0;
  return ends_well(check_fork(go, g), &status);
}

void step_through(const scenario *sc, uint32_t every, uint32_t kills, step_count *sum) {
  common *c = reserve(2 * sizeof *c, MAP_SHARED);
  way all = {sc, &c[0], 0, every};
  c[0].n.broken += !go_apart(&all);
  uint64_t n = c[0].n.instructions, seed = n;
  for (uint32_t k = 0; k < kills && n; k++) {
    seed = mix(seed + SEED);
    way one = {sc, &c[1], 1 + seed % n, 0};
    c[1].n.instructions = c[1].n.images = 0;
    c[1].missed = 0;
    if (go_apart(&one)) continue;
    fprintf(stderr, "  in: %s, really killed after instruction %" PRIu64 "\n", sc->name,
            one.until);
    c[0].n.broken++;
  }
  sum->instructions += n;
  sum->stores += c[0].n.stores;
  sum->images += c[0].n.images;
  sum->tried += c[0].n.tried;
  sum->kills += c[0].n.kills + c[1].n.kills;
  sum->broken += c[0].n.broken;
  munmap(c, 2 * sizeof *c);
}

#endif
