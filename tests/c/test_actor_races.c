/* The daemon and another process do something to one actor at the same time: at random times, and
 * with the other process stopped at a failpoint while the daemon acts. */
#include "session.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/status.h"
#include "sched/actor.h"
#include "sched/actor_end.h"

static session x;
static wr_client *d;

static void open_session(void) {
  session_open(&x, 16u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
}

/* ---- at random times ------------------------------------------------------------------------- */

static void work_for_ever(session *s, wr_client *c, void *arg) {
  (void)s, (void)arg;
  for (;;) {
    work_all(c);
    sched_yield();
  }
}

static uint32_t replace(uint32_t slot) {
  kill(x.pids[slot], SIGKILL);
  session_reap(&x, slot);
  session_sweep(&x, slot);
  return session_fork(&x, WR_ROLE_WORKER, work_for_ever, NULL);
}

TEST_LIMIT(actors_are_killed_while_a_worker_takes_them, 120) {
  open_session();
  uint32_t slot = session_fork(&x, WR_ROLE_WORKER, work_for_ever, NULL), hits = 0;
  for (int i = 0; i < 300; i++) {
    wr_id creation, actor = actor_make(d, -1, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
    for (int k = 0; k < i % 40; k++) sched_yield();
    if (wr_actor_kill(&x.sweeper, actor.idx & ~WR_ACTOR_BIT, actor.gen, 1)) {
      slot = replace(slot);
      hits++;
    }
    wr_creator_drop(d, creation);
    wr_creator_drop(d, actor);
  }
  kill(x.pids[slot], SIGKILL);
  session_reap(&x, slot);
  session_sweep(&x, slot);
  CHECK_GT(hits, 0);
  session_check_empty(&x);
  session_close(&x);
}

/* ---- a number is given away while its last holder is buried ---------------------------------- */

static wr_id old_actor, old_creation, new_actor, new_creation;

/* The daemon asks for the end of the process; the actor is dead by then, so that its record goes
 * with its last handle. */
static void take_its_number(void *ctx, uint32_t slot, const char *reason) {
  (void)ctx, (void)slot, (void)reason;
  wr_creator_drop(d, old_actor);
  new_actor = actor_make(d, 0, WR_AF_DETACHED, (order){ORDER_CREATE, 1, 8, 0}, &new_creation);
  CHECK_EQ(new_actor.idx, old_actor.idx);
}

TEST(the_burial_of_an_actor_leaves_alone_the_next_one_of_its_number) {
  open_session();
  x.sweeper.kill_process = take_its_number;
  old_actor = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &old_creation);
  uint32_t number = old_actor.idx & ~WR_ACTOR_BIT;
  wr_client *w = session_client(&x, WR_ROLE_WORKER);
  CHECK(wr_actor_move(&x.seg, number, old_actor.gen, WR_ACTOR_PENDING, WR_ACTOR_PENDING,
                      WR_ACTOR_PENDING, w->slot));
  wr_actor_fail(&x.sweeper, number, WR_CAUSE_KILLED, 0);
  CHECK_EQ(wr_object_phase_of(d, old_creation), WR_OBJ_ERROR);
  CHECK_EQ(wr_object_phase_of(d, new_creation), WR_OBJ_PENDING);
  const wr_actor *a = wr_actor_at(&x.seg, number);
  CHECK_EQ(WR_ACTOR_PHASE(wr_load(&a->state)), WR_ACTOR_PENDING);
  CHECK_EQ(wr_tag_value(wr_load(&a->refs)), WR_REF_CREATOR | 1);
  wr_actor_fail(&x.sweeper, number, WR_CAUSE_KILLED, 0);
  wr_creator_drop(d, old_creation);
  wr_creator_drop(d, new_creation);
  wr_creator_drop(d, new_actor);
  session_check_empty(&x);
  session_close(&x);
}

#ifdef WR_HOSTILE
static uint32_t phase(wr_id actor) {
  return WR_ACTOR_PHASE(wr_load(&wr_actor_at(&x.seg, actor.idx & ~WR_ACTOR_BIT)->state));
}

static void wait_until_stopped(uint32_t slot) {
  int status;
  CHECK_EQ(waitpid(x.pids[slot], &status, WUNTRACED), x.pids[slot]);
  CHECK_MSG(WIFSTOPPED(status), "the peer ended with %#x", status);
}

static void go_on_and_end(uint32_t slot) {
  kill(x.pids[slot], SIGCONT);
  session_reap(&x, slot);
  session_sweep(&x, slot);
}

/* ---- killed between the claim of its creation and its place --------------------------------- */

static void stand_in(session *s, wr_client *c, void *point) {
  wr_job job;
  (void)s;
  wr_failpoint_arm(point);
  int rc = wr_work_next(c, &job, 1);
  CHECK_MSG(rc == WR_TIMEOUT || rc == WR_AGAIN, "the creation of a dead actor was run: %d", rc);
  CHECK_EQ(wr_load32(&c->self.p->actor), 0);
}

static void kill_while_claimed(const char *point) {
  wr_id creation, actor;
  open_session();
  actor = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  uint32_t slot = session_fork(&x, WR_ROLE_WORKER, stand_in, (void *)(uintptr_t)point);
  wait_until_stopped(slot);
  wr_actor_fail(&x.sweeper, actor.idx & ~WR_ACTOR_BIT, WR_CAUSE_KILLED, 0);
  CHECK_EQ(phase(actor), WR_ACTOR_DEAD);
  CHECK_EQ(wr_object_phase_of(d, creation), WR_OBJ_PENDING); /* left to who has claimed it */
  go_on_and_end(slot);
  CHECK_EQ(wr_object_phase_of(d, creation), WR_OBJ_ERROR);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_worker_answers_for_an_actor_that_died_before_it_stood_in) {
  kill_while_claimed("queue.claimed@1=stop");
  kill_while_claimed("actor.bound@1=stop");
}

TEST(a_worker_dies_with_the_creation_of_a_dead_actor) {
  wr_id creation, actor;
  open_session();
  actor = actor_make(d, -1, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  static const char stop[] = "queue.claimed@1=stop";
  uint32_t slot = session_fork(&x, WR_ROLE_WORKER, stand_in, (void *)(uintptr_t)stop);
  wait_until_stopped(slot);
  wr_actor_fail(&x.sweeper, actor.idx & ~WR_ACTOR_BIT, WR_CAUSE_KILLED, 0);
  kill(x.pids[slot], SIGKILL);
  session_reap(&x, slot);
  session_sweep(&x, slot);
  CHECK_EQ(wr_object_phase_of(d, creation), WR_OBJ_ERROR);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  session_check_empty(&x);
  session_close(&x);
}

/* ---- others die while it is made ------------------------------------------------------------- */

static void make(session *s, wr_client *c, void *point) {
  wr_id creation, actor;
  (void)s;
  wr_failpoint_arm(point);
  actor = actor_make(c, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  const wr_actor *a = wr_actor_at(&c->seg, actor.idx & ~WR_ACTOR_BIT);
  CHECK_EQ(WR_ACTOR_PHASE(wr_load(&a->state)), WR_ACTOR_PENDING);
  CHECK_EQ(wr_load32(&a->flags), 0);
  CHECK_EQ(wr_load32(&a->cause), WR_CAUSE_NONE);
  CHECK_EQ(wr_tag_value(wr_load(&a->refs)), WR_REF_CREATOR);
}

static void die_meanwhile(const char *point) {
  open_session();
  uint32_t slot = session_fork(&x, WR_ROLE_DRIVER, make, (void *)(uintptr_t)point);
  wait_until_stopped(slot);
  uint32_t other = session_client(&x, WR_ROLE_WORKER)->slot;
  session_drop(&x, other);
  session_sweep(&x, other);
  CHECK_EQ(wr_sweep_job(&x.sweeper, d->slot), WR_OK);
  go_on_and_end(slot);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_death_elsewhere_leaves_alone_an_actor_that_is_being_made) {
  die_meanwhile("actor.claim@1=stop");
  die_meanwhile("actor.filled@1=stop");
}
#endif
