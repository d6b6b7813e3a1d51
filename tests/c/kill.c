#include "kill.h"

#ifdef WR_HOSTILE
#include <errno.h>
#endif
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "sched/actor.h"
#include "sched/actor_end.h"
#include "sched/group_end.h"
#include "sched/remake.h"
#include "store/refs.h"

const char *const kill_places[] = {
    "actor.alive", "actor.bound", "actor.claim", "actor.exit", "actor.failed", "actor.fetched",
    "actor.filled", "actor.placed", "actor.pushed", "actor.queued", "actor.refused",
    "actor.released", "actor.retire", "actor.taken", "bulk.piece", "cancel.claimed",
    "cancel.wanted",
    "deps.drain", "deps.moved", "deps.node", "deps.pushed", "deps.ready", "deps.taken",
    "deps.walk", "export.noted", "export.sealed",
    "finish.after_pins", "finish.answered", "finish.before_pins",
    "finish.finished", "finish.kept", "finish.letting", "finish.sealed", "finish.written",
    "group.answer", "group.answering", "group.bundles", "group.claimed", "group.emptied",
    "group.filled", "group.filling", "group.ready", "group.ready_set", "group.removed",
    "group.removing", "group.returned", "group.taken", "group.waiting",
    "heap.block", "heap.claim", "heap.freed", "heap.given", "heap.run.first", "heap.run.freed",
    "heap.span.empty", "heap.span.raw", "heap.unclaim", "keep.dropped", "keep.kept", "keep.named",
    "ledger.cpu_given", "loose.made", "park.sleep", "postpone.begin", "queue.claimed",
    "queue.gathered", "queue.picked", "queue.push", "queue.resources", "queue.taken",
    "queue.turn", "queue.want", "reap.claimed", "reap.due",
    "reap.dying", "reap.free", "reap.node", "reap.value", "rec.adopt", "rec.claim",
    "rec.release", "region.held", "region.made", "region.private",
    "requeue.begin", "requeue.queued", "ring.put.word", "ring.take.word",
    "seal.after", "seal.before", "shed.claimed", "shed.freed", "shed.settled",
    "stream.closed", "stream.cut", "stream.followed",
    "stream.linked", "stream.made", "stream.moved", "stream.named", "stream.waits",
    "submit.queued", "submit.waiting", "tag.applied", "tag.begin", "tag.done",
    "task.args", "task.building", "task.extra", "task.record", "unlink.finished",
    "value.adopted", "value.dropped", "value.named", "value.room", "view.marked", "wake.cleared",
    "work.idle"};
const uint32_t kill_nplaces = sizeof kill_places / sizeof kill_places[0];

struct kill_shared {
  _Atomic int state; /* 0 empty, 1 offered, 2 the victim is through */
  promise offer;
};

/* ---- promises -------------------------------------------------------------------------------- */

void kill_promise(world *w, wr_id id, size_t len, uint32_t seed, int may_fail) {
  CHECK_LT(w->npromised, 64);
  w->promised[w->npromised++] = (promise){id, len, seed, may_fail};
}

void kill_promise_stream(world *w, order o, wr_task_spec spec, const wr_id *refs, uint32_t nrefs,
                         int may_fail) {
  wr_id out[2];
  CHECK_LT(w->nstreams, 8);
  stream_submit(w->d, o, spec, refs, nrefs, out);
  w->streams[w->nstreams++] = (stream_promise){out[0], out[1], o, may_fail};
}

/* Reads all of it and lets go. */
static void check_stream(world *w, stream_promise *p) {
  uint32_t n = stream_read(w->d, p->task, &p->item, &p->o, UINT32_MAX);
  int phase = wr_object_phase_of(w->d, p->task), last = wr_object_phase_of(w->d, p->item);
  CHECK_MSG(last == WR_OBJ_ERROR, "the end of a stream is in phase %d", last);
  if (!p->may_fail || phase == WR_OBJ_READY) {
    CHECK(pattern_is(w->d, p->task, p->o.len, p->o.seed));
    CHECK_EQ(n, p->o.items);
  }
  wr_stream_leave(w->d, p->task);
  stream_drop(w->d, p->item);
  wr_creator_drop(w->d, p->task);
}

void kill_offer(world *w, wr_id id, size_t len, uint32_t seed, int may_fail) {
  if (session_aside) session_aside(1);
  w->shared->offer = (promise){id, len, seed, may_fail};
  atomic_store(&w->shared->state, 1);
  while (atomic_load(&w->shared->state) == 1) sched_yield();
  if (session_aside) session_aside(0);
}

void kill_take_offer(world *w) {
  if (atomic_load(&w->shared->state) != 1) return;
  promise *p = &w->shared->offer;
  CHECK_EQ(wr_hold(w->d, p->id.idx, p->id.gen, NULL), WR_OK);
  kill_promise(w, p->id, p->len, p->seed, p->may_fail);
  atomic_store(&w->shared->state, 0);
}

static void check_promise(world *w, const promise *p) {
  int phase = wr_object_phase_of(w->d, p->id);
  if (p->may_fail && phase == WR_OBJ_ERROR) return;
  CHECK_LT(p->may_fail, MUST_FAIL);
  CHECK_MSG(phase == WR_OBJ_READY && pattern_is(w->d, p->id, p->len, p->seed),
            "object %u (%zu bytes of seed %u) is in phase %d%s", p->id.idx, p->len, p->seed, phase,
            phase == WR_OBJ_READY ? " with a wrong value" : "");
}

/* ---- the world ------------------------------------------------------------------------------- */

/* A process that dies and leaves chunks of every kind, for others to adopt. */
static void leave_orphans(world *w) {
  wr_client *c = session_client(&w->x, WR_ROLE_DRIVER);
  uint32_t slot = c->slot;
  wr_id id = pattern_put(c, 700, 9, NULL, 0), task, held = pattern_put(w->d, 8, 3, NULL, 0);
  CHECK_EQ(wr_hold(c, held.idx, held.gen, NULL), WR_OK);
  task_plan p = {.o = {ORDER_ECHO, 9, 8, 0}, .spec = {.retries = -1}};
  plan_build(c, &p, &task);
  CHECK_EQ(wr_hold(w->d, id.idx, id.gen, NULL), WR_OK);
  session_drop(&w->x, slot);
  session_sweep(&w->x, slot);
  wr_creator_drop(w->d, held);
  kill_promise(w, id, 700, 9, 0);
}

void kill_open(world *w, const scenario *sc) {
  memset(w, 0, sizeof *w);
  session_open(&w->x, 24u << 20);
  w->shared = mmap(NULL, sizeof *w->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                   0);
  CHECK(w->shared != MAP_FAILED);
  w->d = session_client(&w->x, WR_ROLE_DRIVER);
  w->small = pattern_put(w->d, 100, 1, NULL, 0);
  w->large = pattern_put(w->d, 200000, 2, NULL, 0);
  kill_promise(w, w->small, 100, 1, 0);
  kill_promise(w, w->large, 200000, 2, 0);
  CHECK_EQ(wr_object_create(w->d, &w->gate), WR_OK);
  leave_orphans(w);
  sc->prepare(w);
  wr_store32(&w->x.seg.pools[SESSION_POOL].want, 0); /* as the daemon does when it has heard */
}

static void open_gate(world *w) {
  uint8_t *dst;
  CHECK_EQ(wr_value_reserve(w->d, w->gate.idx, 5000, NULL, 0, &dst), WR_OK);
  pattern_fill(dst, 5000, 4);
  CHECK_EQ(wr_object_seal(w->d, w->gate.idx, 0, 0), WR_OK);
  kill_promise(w, w->gate, 5000, 4, 0);
  if (!w->remade.idx) return;
  wr_remake_fail(&w->x.sweeper.self, w->remade.idx, w->remade.gen, "LOST", "");
  kill_promise(w, w->remade, 0, 0, MUST_FAIL);
}

/* The next step of whiprayd. */
static void end_move(world *w) {
  wr_self *daemon = &w->x.sweeper.self;
  wr_id id = w->moving;
  if (!id.idx) return;
  if (WR_OBJ_PLACE(wr_load(&wr_obj(&w->x.seg, id.idx)->state)) == WR_IN_LEAVING)
    wr_away_stay(daemon, id.idx, id.gen);
  else
    wr_away_arrive(daemon, id.idx, id.gen, WR_IN_MEMORY, &w->carried);
}

/* What the copy of a task has made is the value of the task, as whiprayd finds when it looks. */
static void hand_copy_over(world *w) {
  wr_self *daemon = &w->x.sweeper.self;
  if (!w->copy) return;
  CHECK_EQ(wr_remake_put(daemon, w->copy, w->copied), WR_OK);
  wr_refs_clear(daemon, w->copy, wr_gen_of(&w->x.seg, w->copy), WR_REF_CREATOR);
}

/* Detached actors end only when they are killed. */
static void end_detached(world *w) {
  wr_seg *s = &w->x.seg;
  for (uint32_t i = 0; i < wr_load32(&s->h->nactors); i++) {
    if (!(wr_load32(&s->actors[i].flags) & WR_AF_DETACHED)) continue;
    uint32_t slot = wr_actor_kill(&w->x.sweeper, i, WR_ACTOR_GEN(wr_load(&s->actors[i].state)), 1);
    if (!slot) continue;
    session_drop(&w->x, slot);
    session_sweep(&w->x, slot);
  }
}

/* As the daemon does when their job has ended. */
static void end_groups(world *w) {
  wr_seg *s = &w->x.seg;
  wr_audit a;
  session_audit(&w->x, &a);
  for (uint32_t i = 0; i < wr_load32(&s->h->ngroups); i++) {
    uint32_t gen = WR_GROUP_GEN(wr_load(&s->groups[i].state));
    if (!wr_group_doom(s, i, gen)) continue;
    CHECK_EQ(wr_group_clear(&w->x.sweeper, i, gen), WR_OK);
    wr_groups_finish(&w->x.sweeper.self, i);
  }
}

static void drop_promise(wr_client *d, const promise *p) {
  if (wr_obj(&d->seg, p->id.idx)->creator == d->slot)
    wr_creator_drop(d, p->id);
  else
    wr_unhold(d, p->id);
}

static void close_world(world *w) {
  open_gate(w);
  session_work(&w->x);
  hand_copy_over(w);
  session_work(&w->x);
  if (wr_load32(&w->x.seg.h->ngroups)) end_groups(w);
  for (uint32_t i = 0; i < w->npromised; i++) check_promise(w, &w->promised[i]);
  wr_audit a;
  session_audit(&w->x, &a);
  for (uint32_t i = 0; i < w->nstreams; i++) check_stream(w, &w->streams[i]);
  for (uint32_t i = 0; i < w->npromised; i++) drop_promise(w->d, &w->promised[i]);
  if (w->alive.idx) wr_creator_drop(w->d, w->alive);
  if (w->gone.idx) wr_creator_drop(w->d, w->gone);
  session_work(&w->x);
  end_detached(w);
  session_check_empty(&w->x);
  munmap(w->shared, sizeof *w->shared);
  session_close(&w->x);
}

/* ---- the victim ------------------------------------------------------------------------------ */

typedef struct {
  world *w;
  const scenario *sc;
  const char *spec;
} part;

static void play_part(session *x, wr_client *v, void *arg) {
  part *p = arg;
  (void)x;
  if (p->sc->ready) p->sc->ready(p->w, v);
#ifdef WR_HOSTILE
  wr_failpoint_arm(p->spec);
#endif
  p->sc->act(p->w, v);
  atomic_store(&p->w->shared->state, 2);
}

/* Holds what the victim offers, until it is dead. */
static void attend(world *w, uint32_t slot) {
  siginfo_t info;
  for (;;) {
    info.si_pid = 0;
    CHECK_EQ(waitid(P_PID, (id_t)w->x.pids[slot], &info, WEXITED | WNOHANG | WNOWAIT), 0);
    if (info.si_pid) break;
    kill_take_offer(w);
    sched_yield();
  }
  kill_take_offer(w);
  int status = session_reap(&w->x, slot);
  CHECK_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the victim ended with %#x",
            status);
}

static void sweep_twice(world *w, uint32_t slot) {
  wr_death why = {.wait_status = SIGKILL, .pid = 4711};
  session_mark_dead(&w->x, slot);
  CHECK_EQ(wr_sweep_slot(&w->x.sweeper, slot, &why), WR_OK);
  uint64_t first = session_hash(&w->x);
  CHECK_EQ(wr_sweep_slot(&w->x.sweeper, slot, &why), WR_OK);
  CHECK_MSG(session_hash(&w->x) == first, "the second sweep has changed something");
  session_free_slot(&w->x, slot);
}

/* The session ends with its daemon, whatever that was doing: who waits is told, and what a driver
 * had it can read. */
static void end_with_daemon(world *w) {
  wr_seg_end(&w->d->seg, NULL);
  CHECK_EQ(wr_wait_objects(w->d, &w->gate, 1, 1, 0, -1), WR_CLOSED);
  for (uint32_t i = 0; i < w->npromised; i++)
    if (wr_object_phase_of(w->d, w->promised[i].id) == WR_OBJ_READY)
      check_promise(w, &w->promised[i]);
  session_close(&w->x);
}

void kill_settle(world *w, uint32_t slot) {
  if (WR_PROC_ROLE(wr_load(&w->x.seg.procs[slot].state)) == WR_ROLE_DAEMON) {
    end_with_daemon(w);
    return;
  }
  sweep_twice(w, slot);
  end_move(w);
  close_world(w);
}

static void tell(void *arg) { fprintf(stderr, "  playing %s\n", (const char *)arg); }

int kill_play(const scenario *sc, const char *name, long nth) {
  static world w;
  char spec[96], what[160];
  snprintf(spec, sizeof spec, "%s@%ld=kill", name ? name : "", nth);
  snprintf(what, sizeof what, "%s, %s", sc->name, spec);
  check_on_hang(tell, what);
  kill_open(&w, sc);
  part p = {&w, sc, name ? spec : NULL};
  uint32_t slot = session_fork(&w.x, sc->role, play_part, &p);
  attend(&w, slot);
  int died = atomic_load(&w.shared->state) != 2;
  if (died && !name) CHECK_MSG(0, "the victim died where nothing was armed");
  kill_settle(&w, slot);
  check_on_hang(NULL, NULL);
  return died;
}

/* ---- the matrix ------------------------------------------------------------------------------ */

#ifdef WR_HOSTILE
typedef struct {
  const scenario *sc;
  const char *name;
  long nth;
} cell;

static void play_cell(void *arg) {
  cell *c = arg;
  _exit(kill_play(c->sc, c->name, c->nth) ? 10 : 0);
}

/* In a process of its own, so that all failures are seen and not the first one alone. */
static int try_cell(cell *c, uint32_t *failed) {
  int status, pid = check_fork(play_cell, c);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 10 || WEXITSTATUS(status) == 0))
    return WEXITSTATUS(status) == 10;
  fprintf(stderr, "  in: %s, %s@%ld\n", c->sc->name, c->name, c->nth);
  ++*failed;
  return 1;
}

uint32_t kill_matrix(const scenario *sc, const char *const *names, uint32_t n, uint8_t *seen) {
  uint32_t failed = 0, cells = 0;
  CHECK_EQ(kill_play(sc, NULL, 1), 0);
  for (uint32_t i = 0; i < n; i++) {
    for (long nth = 1, step = 1;; cells++) {
      cell c = {sc, names[i], nth};
      if (!try_cell(&c, &failed)) break;
      seen[i] = 1;
      if (nth >= 3) step += step / 2 + 1;
      nth += step;
    }
  }
  printf("%s: %u deaths\n", sc->name, cells);
  return failed;
}
#else
uint32_t kill_matrix(const scenario *sc, const char *const *names, uint32_t n, uint8_t *seen) {
  (void)names, (void)n, (void)seen;
  CHECK_EQ(kill_play(sc, NULL, 1), 0);
  return 0;
}
#endif
