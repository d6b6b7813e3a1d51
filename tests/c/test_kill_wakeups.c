/* A process dies while it wakes another.  The sleeper is a process that really sleeps; nothing but
 * the sweep can get it up again. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "session.h"

typedef struct {
  session x;
  wr_client *d;
  const char *spec; /* failpoint of the victim */
  wr_id actor, object;
  uint32_t sleeper;
} scene;

static int parked(void *arg) {
  scene *c = arg;
  return wr_load32(&c->x.seg.procs[c->sleeper].park) == 1;
}

static int nothing_to_do(void *arg) {
  scene *c = arg;
  char text[256];
  wr_audit a;
  wr_audit_session(&c->x.seg, &a, text, sizeof text);
  return a.tasks[WR_TASK_QUEUED] + a.tasks[WR_TASK_RUNNING] + a.tasks[WR_TASK_WAITING] == 0;
}

/* ---- peers ----------------------------------------------------------------------------------- */

static void work_for_ever(session *x, wr_client *c, void *arg) {
  wr_job job;
  (void)x, (void)arg;
  for (;;)
    if (wr_work_next(c, &job, -1) == WR_OK) work_run(c, &job);
}

static void wait_for_object(session *x, wr_client *c, void *arg) {
  scene *s = arg;
  (void)x;
  CHECK_EQ(wr_hold(c, s->object.idx, s->object.gen, NULL), WR_OK);
  while (wr_wait_objects(c, &s->object, 1, 1, 0, -1) == WR_INTR) {
  }
  CHECK_EQ(wr_object_phase_of(c, s->object), WR_OBJ_READY);
  exit(0);
}

static void arm(const scene *s) {
#ifdef WR_HOSTILE
  wr_failpoint_arm(s->spec);
#else
  (void)s;
#endif
}

static void submit_and_die(session *x, wr_client *v, void *arg) {
  scene *s = arg;
  wr_id out;
  task_plan p = {.o = {ORDER_ECHO, 5, 8, 0}, .spec = {.retries = -1}};
  (void)x;
  if (s->actor.idx) p.spec = (wr_task_spec){.flags = WR_TF_CALL, .actor = s->actor, .retries = -1};
  arm(s);
  plan_submit(v, &p, &out);
}

static void work_and_die(session *x, wr_client *v, void *arg) {
  (void)x;
  arm(arg);
  work_all(v);
}

/* ---- scenes ---------------------------------------------------------------------------------- */

static void open_scene(scene *s, const char *spec) {
  memset(s, 0, sizeof *s);
  session_open(&s->x, 8u << 20);
  s->spec = spec;
  s->d = session_client(&s->x, WR_ROLE_DRIVER);
}

static void end_sleeper(scene *s) {
  kill(s->x.pids[s->sleeper], SIGKILL);
  session_reap(&s->x, s->sleeper);
  session_sweep(&s->x, s->sleeper);
}

static void play_victim(scene *s, enum wr_role role, session_peer *fn) {
  uint32_t victim = session_fork(&s->x, role, fn, s);
  session_reap(&s->x, victim);
  session_sweep(&s->x, victim);
}

static void task_for_a_sleeper(const char *spec) {
  static scene s;
  open_scene(&s, spec);
  s.sleeper = session_fork(&s.x, WR_ROLE_WORKER, work_for_ever, NULL);
  check_until(parked, &s);
  play_victim(&s, WR_ROLE_DRIVER, submit_and_die);
  check_until(nothing_to_do, &s);
  end_sleeper(&s);
  session_check_empty(&s.x);
  session_close(&s.x);
}

static void call_for_a_sleeper(const char *spec) {
  static scene s;
  wr_id creation;
  open_scene(&s, spec);
  s.actor = actor_make(s.d, 0, 0, (order){ORDER_CREATE, 1, 8, 0}, &creation);
  s.sleeper = session_fork(&s.x, WR_ROLE_WORKER, work_for_ever, NULL);
  CHECK_EQ(wr_wait_objects(s.d, &creation, 1, 1, 0, -1), WR_OK);
  wr_creator_drop(s.d, creation);
  check_until(parked, &s);
  play_victim(&s, WR_ROLE_DRIVER, submit_and_die);
  check_until(nothing_to_do, &s);
  end_sleeper(&s);
  wr_creator_drop(s.d, s.actor);
  session_check_empty(&s.x);
  session_close(&s.x);
}

static void value_for_a_sleeper(const char *spec) {
  static scene s;
  open_scene(&s, spec);
  task_plan p = {.o = {ORDER_ECHO, 5, 8, 0}, .spec = {.retries = -1}};
  plan_submit(s.d, &p, &s.object);
  s.sleeper = session_fork(&s.x, WR_ROLE_DRIVER, wait_for_object, &s);
  check_until(parked, &s);
  play_victim(&s, WR_ROLE_WORKER, work_and_die);
  session_client(&s.x, WR_ROLE_WORKER);
  session_work(&s.x);
  CHECK_EQ(session_reap(&s.x, s.sleeper), 0);
  session_sweep(&s.x, s.sleeper);
  wr_creator_drop(s.d, s.object);
  session_check_empty(&s.x);
  session_close(&s.x);
}

TEST(a_task_wakes_a_worker_though_its_submitter_dies) {
  static const char *const places[] = {"submit.queued", "ring.put.word", "queue.push",
                                       "queue.picked", "wake.cleared"};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    char spec[64];
    snprintf(spec, sizeof spec, "%s=kill", places[i]);
    task_for_a_sleeper(spec);
  }
}

TEST(a_call_wakes_its_actor_though_its_submitter_dies) {
  static const char *const places[] = {"actor.queued", "tag.applied", "actor.pushed",
                                       "wake.cleared"};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    char spec[64];
    snprintf(spec, sizeof spec, "%s=kill", places[i]);
    call_for_a_sleeper(spec);
  }
}

TEST(a_value_wakes_who_waits_though_its_maker_dies) {
  static const char *const places[] = {"seal.before", "seal.after", "wake.cleared",
                                       "finish.sealed", "finish.finished"};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    char spec[64];
    snprintf(spec, sizeof spec, "%s=kill", places[i]);
    value_for_a_sleeper(spec);
  }
}
