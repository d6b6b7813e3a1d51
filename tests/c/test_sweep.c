/* Sweeps of states that one dying process alone does not make: others go on, or die too. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/status.h"
#include "sched/actor_end.h"
#include "session.h"

static session x;
static wr_client *d;

static void open_session(void) {
  session_open(&x, 8u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
}

TEST(sweeping_what_is_no_other_process_is_refused) {
  open_session();
  CHECK_EQ(wr_sweep_slot(&x.sweeper, 0, NULL), WR_INVAL);
  CHECK_EQ(wr_sweep_slot(&x.sweeper, 1, NULL), WR_INVAL);
  CHECK_EQ(wr_sweep_slot(&x.sweeper, WR_MAX_PROCS, NULL), WR_INVAL);
  session_check_empty(&x);
  session_close(&x);
}

TEST(what_a_survivor_holds_outlives_its_creator) {
  open_session();
  wr_client *v = session_client(&x, WR_ROLE_DRIVER);
  wr_id inner = pattern_put(v, 20000, 1, NULL, 0), outer = pattern_put(v, 300000, 2, &inner, 1);
  CHECK_EQ(wr_hold(d, outer.idx, outer.gen, NULL), WR_OK);
  uint32_t slot = v->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
  CHECK(pattern_is(d, inner, 20000, 1));
  CHECK(pattern_is(d, outer, 300000, 2));
  wr_audit a;
  session_audit(&x, &a);
  CHECK_EQ(a.objects, 2);
  CHECK_EQ(a.value_bytes, 320000);
  wr_unhold(d, outer);
  CHECK_EQ(wr_object_phase_of(d, inner), WR_STALE);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_task_of_a_dead_worker_fails_with_the_reason_or_runs_again) {
  open_session();
  wr_client *w = session_client(&x, WR_ROLE_WORKER);
  wr_id once, again;
  wr_job job;
  task_plan p = {.o = {ORDER_ECHO, 3, 8, 0}};
  plan_submit(d, &p, &once);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  uint32_t slot = w->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
  CHECK_EQ(wr_object_phase_of(d, once), WR_OBJ_ERROR);
  wr_view view;
  CHECK_EQ(wr_value_view(d, once, &view), WR_OK);
  CHECK(memmem(view.data, view.len, "WORKER_DIED", 11) != NULL);
  CHECK(memmem(view.data, view.len, "4711", 4) != NULL);
  p.spec.retries = 1;
  plan_submit(d, &p, &again);
  w = session_client(&x, WR_ROLE_WORKER);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  CHECK_EQ(session_free_amount(&x, 0), (int32_t)SESSION_CPUS - 1);
  slot = w->slot;
  session_drop(&x, slot);
  session_sweep(&x, slot);
  CHECK_EQ(session_free_amount(&x, 0), (int32_t)SESSION_CPUS);
  CHECK_EQ(wr_task_at(&x.seg, again.idx)->retries, 0);
  session_client(&x, WR_ROLE_WORKER);
  session_work(&x);
  CHECK(pattern_is(d, again, 8, 3));
  wr_creator_drop(d, once);
  wr_creator_drop(d, again);
  session_check_empty(&x);
  session_close(&x);
}

TEST(an_ended_job_takes_its_queued_tasks_and_actors_with_it) {
  open_session();
  wr_client *v = session_client(&x, WR_ROLE_DRIVER);
  x.seg.pools[SESSION_POOL].job = v->slot;
  wr_id creation, task;
  wr_id actor = actor_make(v, -1, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  task_plan p = {.o = {ORDER_ECHO, 3, 8, 0}, .spec = {.retries = -1}};
  plan_submit(v, &p, &task);
  CHECK_EQ(wr_hold(d, task.idx, task.gen, NULL), WR_OK);
  CHECK_EQ(wr_hold(d, actor.idx, actor.gen, NULL), WR_OK);
  uint32_t slot = v->slot;
  session_drop(&x, slot);
  session_mark_dead(&x, slot);
  CHECK_EQ(wr_sweep_job(&x.sweeper, slot), WR_OK);
  session_sweep(&x, slot);
  CHECK_EQ(wr_object_phase_of(d, task), WR_OBJ_ERROR);
  CHECK_EQ(WR_ACTOR_PHASE(wr_load(&x.seg.actors[actor.idx & ~WR_ACTOR_BIT].state)), WR_ACTOR_DEAD);
  wr_unhold(d, task);
  wr_unhold(d, actor);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_call_that_an_ended_job_has_sent_runs) {
  open_session();
  wr_client *v = session_client(&x, WR_ROLE_DRIVER), *host = session_client(&x, WR_ROLE_WORKER);
  wr_id creation, out;
  wr_id actor = actor_make(d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  task_plan p = {.o = {ORDER_ECHO, 3, 8, 0}, .spec = {.flags = WR_TF_CALL, .actor = actor}};
  plan_submit(v, &p, &out);
  CHECK_EQ(wr_hold(d, out.idx, out.gen, NULL), WR_OK);
  uint32_t slot = v->slot;
  session_drop(&x, slot);
  session_mark_dead(&x, slot);
  CHECK_EQ(wr_sweep_job(&x.sweeper, slot), WR_OK);
  session_sweep(&x, slot);
  CHECK_EQ(work_all(host), 2);
  CHECK(pattern_is(d, out, 8, 3));
  wr_unhold(d, out);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  session_work(&x);
  session_check_empty(&x);
  session_close(&x);
}

/* The daemon kills the workers of the job but for detached actors; one became such an actor after
 * it had been looked at.  Its calls are answered by the next process, and no restart is counted. */
TEST(a_detached_actor_that_is_killed_with_its_job_is_made_again) {
  open_session();
  wr_client *host = session_client(&x, WR_ROLE_WORKER);
  wr_id creation, out;
  wr_job job;
  wr_id actor = actor_make(d, 0, WR_AF_DETACHED, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  const wr_actor *a = wr_actor_at(&x.seg, actor.idx & ~WR_ACTOR_BIT);
  task_plan p = {.o = {ORDER_ECHO, 3, 8, 0}, .spec = {.flags = WR_TF_CALL, .actor = actor}};
  plan_submit(d, &p, &out);
  CHECK_EQ(wr_work_next(host, &job, 0), WR_OK);
  CHECK_EQ(WR_ACTOR_SLOT(wr_load(&a->state)), host->slot);
  wr_death why = {.wait_status = 9, .pid = 4711, .job_over = 1};
  uint32_t slot = host->slot;
  session_drop(&x, slot);
  session_mark_dead(&x, slot);
  CHECK_EQ(wr_sweep_slot(&x.sweeper, slot, &why), WR_OK);
  session_free_slot(&x, slot);
  CHECK_EQ(wr_load32(&a->restarts), 0);
  CHECK_EQ(work_all(session_client(&x, WR_ROLE_WORKER)), 2);
  CHECK_EQ(WR_ACTOR_PHASE(wr_load(&a->state)), WR_ACTOR_ALIVE);
  CHECK(pattern_is(d, out, 8, 3));
  wr_creator_drop(d, out);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  wr_actor_fail(&x.sweeper, actor.idx & ~WR_ACTOR_BIT, WR_CAUSE_KILLED, 0);
  session_work(&x);
  session_check_empty(&x);
  session_close(&x);
}

/* Its workers die one after the other after the job has ended; what they ran is not run again. */
TEST(a_task_of_an_ended_job_is_not_queued_again) {
  open_session();
  wr_client *w = session_client(&x, WR_ROLE_WORKER);
  wr_id ran, queued, creation;
  wr_job job;
  task_plan p = {.o = {ORDER_ECHO, 3, 8, 0}, .spec = {.retries = -1}};
  plan_submit(d, &p, &ran);
  CHECK_EQ(wr_work_next(w, &job, 0), WR_OK);
  wr_client *host = session_client(&x, WR_ROLE_WORKER);
  wr_id actor = actor_make(d, -1, WR_AF_DETACHED, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  CHECK_EQ(work_all(host), 1);
  plan_submit(d, &p, &queued);
  wr_store32(&x.seg.pools[SESSION_POOL].state, WR_POOL_CLOSED);
  uint32_t slots[2] = {w->slot, host->slot};
  for (int i = 0; i < 2; i++) {
    session_drop(&x, slots[i]);
    session_sweep(&x, slots[i]);
  }
  CHECK_EQ(wr_object_phase_of(d, ran), WR_OBJ_ERROR);
  CHECK_EQ(wr_object_phase_of(d, queued), WR_OBJ_ERROR);
  CHECK_EQ(x.restarted, 0);
  CHECK_EQ(x.died, 1);
  wr_creator_drop(d, ran);
  wr_creator_drop(d, queued);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, actor);
  session_check_empty(&x);
  session_close(&x);
}

#ifdef WR_HOSTILE
/* ---- with failpoints ------------------------------------------------------------------------- */

typedef struct {
  const char *spec;
  wr_id id;
} order_to_die;

static void arm_and_unhold(session *s, wr_client *v, void *arg) {
  const order_to_die *o = arg;
  (void)s;
  CHECK_EQ(wr_hold(v, o->id.idx, o->id.gen, NULL), WR_OK);
  wr_failpoint_arm(o->spec);
  wr_unhold(v, o->id);
}

/* Its last step on a count took effect; then the record was freed and used again. */
TEST(a_record_is_reused_before_its_last_holder_is_swept) {
  open_session();
  order_to_die o = {"tag.applied=kill", pattern_put(d, 8, 1, NULL, 0)};
  uint32_t victim = session_fork(&x, WR_ROLE_DRIVER, arm_and_unhold, &o);
  session_reap(&x, victim);
  wr_creator_drop(d, o.id);
  wr_id next = pattern_put(d, 8, 2, NULL, 0);
  CHECK_EQ(next.idx, o.id.idx);
  CHECK_EQ(wr_hold(d, next.idx, next.gen, NULL), WR_OK);
  session_sweep(&x, victim);
  wr_audit a;
  session_audit(&x, &a);
  CHECK(pattern_is(d, next, 8, 2));
  wr_unhold(d, next);
  wr_creator_drop(d, next);
  session_check_empty(&x);
  session_close(&x);
}

static void be_actor(session *s, wr_client *c, void *arg) {
  wr_job job;
  (void)s, (void)arg;
  CHECK_EQ(wr_work_next(c, &job, -1), WR_OK);
  work_run(c, &job);
  wr_failpoint_arm("actor.fetched=kill");
  (void)wr_work_next(c, &job, -1);
  CHECK_MSG(0, "no call came");
}

static wr_task_spec call_on(wr_id actor) {
  return (wr_task_spec){.flags = WR_TF_CALL, .actor = actor, .retries = -1};
}

static void arm_and_call(session *s, wr_client *v, void *arg) {
  const order_to_die *o = arg;
  wr_id out;
  (void)s;
  task_plan p = {.o = {ORDER_ECHO, 5, 8, 0}, .spec = call_on(o->id)};
  wr_failpoint_arm(o->spec);
  plan_submit(v, &p, &out);
}

/* The submitter has pushed a call and not yet let go of it when the actor, which has fetched the
 * call, dies.  It is stopped there, or dead as well. */
static void actor_dies_with_a_call_in_hand(const char *spec) {
  wr_id creation;
  open_session();
  order_to_die o = {spec, actor_make(d, -1, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation)};
  uint32_t actor = session_fork(&x, WR_ROLE_WORKER, be_actor, NULL);
  uint32_t caller = session_fork(&x, WR_ROLE_DRIVER, arm_and_call, &o);
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, (id_t)x.pids[caller], &info, WSTOPPED | WEXITED | WNOWAIT), 0);
  wr_wake(&x.seg, actor); /* the caller got no further than the mailbox */
  session_reap(&x, actor);
  session_sweep(&x, actor);
  CHECK_EQ(x.restarted, 1);
  kill(x.pids[caller], SIGCONT);
  session_reap(&x, caller);
  session_client(&x, WR_ROLE_WORKER);
  uint64_t done = 0;
  session_work(&x);
  for (uint32_t i = 2; i < 64; i++)
    if (x.clients[i]) done += wr_load(&x.seg.procs[i].tasks_done);
  CHECK_EQ(done, 2); /* the constructor and the call */
  session_sweep(&x, caller);
  wr_creator_drop(d, creation);
  wr_creator_drop(d, o.id);
  session_work(&x);
  session_check_empty(&x);
  session_close(&x);
}

TEST(an_actor_dies_with_a_call_of_a_stopped_caller) {
  actor_dies_with_a_call_in_hand("actor.pushed=stop");
}
TEST(an_actor_dies_with_a_call_of_a_dead_caller) {
  actor_dies_with_a_call_in_hand("actor.pushed=kill");
}
#endif
