/* What a driver does, with one more of its system calls or allocations failing at each try, once
 * and for good: it works, or there is an error; nothing hangs, and when the driver has let go of
 * everything the session is as it was.  This program is the daemon, the fork server and the workers
 * as well; theirs do not fail.  FAULTS_STEP=1 tries each call; by default a sample.
 *
 * An operation is what OPERATION(name) is followed by, OPERATION_APART where it leaves the session:
 * it returns the first status that is not WR_OK, and checks what it gets.  What it has to let go of
 * it gives to mine(). */
#include "../faults/sweep.h"
#include "client/internal.h"
#include "engine.h"
#include "node/node.h"
#include "os/os.h"
#include "sched/audit.h"
#include "sched/ledger.h"
#include "server.h"
#include "session.h"
#include "wire/messages.h"

#include <stdlib.h>
#include <unistd.h>

#define STORE (4u << 20)
#define BIG (300u << 10)
#define NAP_NS INT64_C(50000000)
enum { CPUS = 4, MANY = 100, PATIENCE = 8 };

__attribute__((constructor)) static void choose_part(int argc, char **argv) {
  if (argc > 0 && strcmp(argv[0], "whiprayd") == 0) _exit(node_run(3));
  if (argc > 1 && strcmp(argv[1], "-c") == 0) server_run(work_run);
}

/* ---- drivers --------------------------------------------------------------------------------- */

typedef struct {
  wr_client *c; /* NULL: it has left */
  pthread_t ears;
  atomic_int leaving;
  uint16_t shape;
  wr_id held[2 * MANY];
  uint32_t nheld;
} driver;

static char top[64], path[160];
static wr_client *keeper; /* the session's first driver; it does nothing */
static wr_audit before;
static const fault *armed;

static int join(wr_client **out) {
  char err[512] = "";
  wr_buf b = {0};
  server_config(&b, 0, 0, top);
  int rc = b.failed ? WR_NOMEM : wr_client_join(out, path, b.data, b.len, NULL, err, sizeof err);
  CHECK_MSG(rc == WR_OK || err[0] || rc == WR_NOMEM, "%s: no reason", wr_status_name(rc));
  wr_buf_free(&b);
  return rc;
}

/* The thread of a driver that hears what the daemon says, and that it is gone. */
static void *hear(void *arg) {
  driver *d = arg;
  uint32_t type;
  uint8_t *body;
  size_t len;
  int rc = WR_OK;
  while (rc != WR_CLOSED && !d->leaving)
    if ((rc = wr_rpc_next_event(d->c, &type, &body, &len, NAP_NS)) == WR_OK) free(body);
  return NULL;
}

static void leave(driver *d) {
  d->leaving = 1;
  wr_rpc_interrupt(d->c);
  CHECK_EQ(pthread_join(d->ears, NULL), 0);
  wr_client_detach(d->c);
  d->c = NULL;
}

/* To be let go of at the end. */
static wr_id mine(driver *d, wr_id id) {
  CHECK_LT(d->nheld, sizeof d->held / sizeof d->held[0]);
  return d->held[d->nheld++] = id;
}

static void let_go(driver *d) {
  while (d->c && d->nheld) wr_creator_drop(d->c, d->held[--d->nheld]);
}

/* ---- what must be left ----------------------------------------------------------------------- */

static int is_whole(void *text) {
  const wr_seg *s = wr_client_seg(keeper);
  wr_audit a;
  uint64_t unfinished = 0;
  int rc = wr_audit_session(wr_client_seg(keeper), &a, text, 2048);
  for (uint32_t k = WR_TASK_BUILDING; k < WR_AUDIT_PHASES; k++)
    unfinished += k == WR_TASK_FINISHED ? 0 : a.tasks[k];
  return rc == 0 && !unfinished && a.objects == before.objects && a.actors == before.actors &&
         a.holds == before.holds && a.value_bytes == before.value_bytes &&
         wr_tag_value(wr_load(&s->resources[WR_RES_CPU].avail)) == CPUS * WR_RES_SCALE;
}

static void say_why(void *text) {
  wr_audit a;
  int rc = wr_audit_session(wr_client_seg(keeper), &a, text, 2048);
  fprintf(stderr, "call %ld: %s: %d violations %s; objects %llu, actors %llu, holds %llu\n",
          armed->n, fault_last(), rc, (const char *)text, (unsigned long long)a.objects,
          (unsigned long long)a.actors, (unsigned long long)a.holds);
}

/* ---- the sweep ------------------------------------------------------------------------------- */

static int (*operation)(driver *d);

/* The whole life of a driver; look: nothing of it may be left before it leaves. */
static int drive(const fault *f, int look, long *failures) {
  driver d = {.c = NULL};
  char text[2048] = "";
  CHECK_EQ(join(&d.c), WR_OK);
  CHECK_EQ(pthread_create(&d.ears, NULL, hear, &d), 0);
  d.shape = server_shape(d.c);
  armed = f;
  fault_begin(f);
  int rc = operation(&d);
  let_go(&d);
  *failures = fault_disarm();
  if (look && d.c && !wr_client_ended(d.c)) check_until(is_whole, text);
  if (d.c) leave(&d);
  return rc;
}

static int attempt(const fault *f, long *failures) {
  char text[2048] = "";
  int rc = drive(f, 1, failures);
  check_until(is_whole, text);
  CHECK(!wr_client_ended(keeper));
  return rc;
}

/* In a process of its own: what it has is taken back at the latest when that ends. */
typedef struct {
  const fault *f;
  long failures;
  int rc;
} apart;

static void drive_apart(void *arg) {
  apart *a = arg;
  a->rc = drive(a->f, 0, &a->failures);
}

static int attempt_apart(const fault *f, long *failures) {
  char text[2048] = "";
  apart *a = engine_shared(sizeof *a);
  a->f = armed = f;
  check_join(check_fork(drive_apart, a));
  check_until(is_whole, text);
  *failures = a->failures;
  return a->rc;
}

static void each_call_fails(int (*op)(driver *d), fault_try *by) {
  char err[512], text[2048] = "";
  wr_buf b = {0};
  snprintf(top, sizeof top, "/tmp/wr-test-%d", (int)getpid());
  server_config(&b, CPUS, STORE, top);
  int rc = wr_client_start(&keeper, "/proc/self/exe", b.data, b.len, NULL, err, sizeof err);
  CHECK_MSG(rc == WR_OK, "%s", err);
  wr_buf_free(&b);
  snprintf(path, sizeof path, "%s/sock", wr_client_session_dir(keeper));
  CHECK_EQ(wr_audit_session(wr_client_seg(keeper), &before, text, sizeof text), 0);
  check_on_hang(say_why, text);
  operation = op;
  long met = fault_sweep(by, FAULT_MEMORY, fault_step(1));
  met += fault_sweep(by, FAULT_CALLS, fault_step(3));
  CHECK_GE(met, 2 * FAULTS_HAPPEN);
  wr_client_detach(keeper);
  char command[96];
  snprintf(command, sizeof command, "rm -rf %s", top);
  CHECK_EQ(system(command), 0);
}

#define OPERATION_BY(name, by)                         \
  static int name(driver *d);                          \
  TEST_LIMIT(name, 600) { each_call_fails(name, by); } \
  static int name(driver *d)
#define OPERATION(name) OPERATION_BY(name, attempt)
#define OPERATION_APART(name) OPERATION_BY(name, attempt_apart)

#define TRY(call)                     \
  do {                                \
    int tried = (call);               \
    if (tried != WR_OK) return tried; \
  } while (0)

/* ---- values ---------------------------------------------------------------------------------- */

/* A request of which the daemon never hears is repeated, but not for ever. */
static int still_patient(uint32_t *naps) { return !armed->for_good || ++*naps < PATIENCE; }

/* As put() does: whoever finds no room asks for it and waits. */
static int reserve(driver *d, wr_idx idx, size_t len, const wr_id *refs, uint32_t nrefs,
                   uint8_t **dst) {
  uint64_t seen = wr_wakeups(d->c);
  uint32_t naps = 0;
  int rc;
  while ((rc = wr_value_reserve(d->c, idx, len, refs, nrefs, dst)) == WR_FULL &&
         still_patient(&naps)) {
    wr_room_ask(d->c, len, 0);
    if (wr_wait_change(d->c, &seen, NAP_NS) == WR_CLOSED) return WR_CLOSED;
  }
  return rc;
}

static int put(driver *d, size_t len, uint32_t seed, const wr_id *refs, uint32_t nrefs,
               wr_id *out) {
  uint8_t *dst;
  TRY(wr_object_create(d->c, out));
  mine(d, *out);
  TRY(reserve(d, out->idx, len, refs, nrefs, &dst));
  uint8_t *value = wr_value_is_fresh(d->c, dst, len) ? malloc(len) : NULL;
  pattern_fill(value ? value : dst, len, seed);
  if (value) wr_value_write(d->c, dst, value, len);
  free(value);
  return wr_object_seal(d->c, out->idx, 0, 0);
}

static int await(driver *d, const wr_id *ids, size_t n) {
  int rc;
  do rc = wr_wait_objects(d->c, ids, n, n, 0, -1);
  while (rc == WR_INTR);
  return rc;
}

/* In memory, as long as the view is held. */
static int bring(driver *d, wr_id id, wr_view *v) {
  uint32_t naps = 0;
  int rc;
  while ((rc = wr_value_view(d->c, id, v)) == WR_AWAY && still_patient(&naps)) {
    rc = wr_value_fetch(d->c, id, (int64_t)wr_os_now_ns() + NAP_NS);
    if (rc != WR_OK && rc != WR_TIMEOUT && rc != WR_INTR) return rc;
  }
  return rc == WR_OK && v->is_error ? WR_LOST : rc;
}

static int expect(driver *d, wr_id id, size_t len, uint32_t seed) {
  wr_view v;
  TRY(await(d, &id, 1));
  TRY(wr_view_hold(d->c, id));
  int rc = bring(d, id, &v);
  if (rc == WR_OK) {
    CHECK_EQ(v.len, len);
    for (size_t i = 0; i < len; i++) CHECK_EQ(v.data[i], (uint8_t)(seed * 31 + i));
  }
  wr_view_unhold(d->c, id);
  return rc;
}

OPERATION(put_and_get) {
  static const size_t lengths[] = {5, 3000, BIG};
  wr_id id;
  for (uint32_t k = 0; k < 3; k++) {
    TRY(put(d, lengths[k], k, NULL, 0, &id));
    TRY(expect(d, id, lengths[k], k));
  }
  return WR_OK;
}

OPERATION(put_what_contains_many) {
  wr_id all[MANY], outer;
  for (uint32_t k = 0; k < MANY; k++) TRY(put(d, 8, k, NULL, 0, &all[k]));
  TRY(put(d, 3000, 7, all, MANY, &outer));
  return expect(d, outer, 3000, 7);
}

OPERATION(hold_and_release) {
  wr_id all[MANY];
  uint32_t held = 0;
  int rc = WR_OK;
  for (uint32_t k = 0; k < MANY; k++) TRY(put(d, 8, k, NULL, 0, &all[k]));
  for (; held < MANY && rc == WR_OK; held += rc == WR_OK)
    rc = wr_hold(d->c, all[held].idx, all[held].gen, NULL);
  let_go(d);
  for (uint32_t k = 0; k < held; k++) {
    CHECK_EQ(wr_object_phase_of(d->c, all[k]), WR_OBJ_READY);
    wr_unhold(d->c, all[k]);
  }
  return rc;
}

/* More than there is room for: values leave memory, and come back. */
OPERATION(spill_and_restore) {
  enum { N = 5, LEN = STORE / 4 };
  wr_id ids[N];
  for (uint32_t k = 0; k < N; k++) TRY(put(d, LEN, k, NULL, 0, &ids[k]));
  for (uint32_t k = 0; k < N; k++) TRY(expect(d, ids[k], LEN, k));
  return WR_OK;
}

OPERATION(give_a_loose_block) {
  wr_id id;
  uint8_t *p = wr_loose_alloc(d->c, BIG), *other = wr_loose_alloc(d->c, BIG);
  if (other) wr_loose_free(d->c, other);
  if (!p) return WR_FULL;
  int rc = wr_object_create(d->c, &id);
  if (rc == WR_OK) mine(d, id);
  pattern_fill(p - 64, BIG, 3);
  if (rc == WR_OK) rc = wr_loose_give(d->c, p, id.idx, 64, BIG);
  if (rc != WR_OK) {
    wr_loose_free(d->c, p);
    return rc;
  }
  TRY(wr_object_seal(d->c, id.idx, 0, 0));
  return expect(d, id, BIG, 3);
}

static int put_region(driver *d, uint8_t *p, wr_id *id) {
  wr_region_value v = {64, BIG, BIG + 64, NULL, 0};
  TRY(wr_object_create(d->c, id));
  mine(d, *id);
  uint8_t *dst = wr_region_begin(d->c, p, &v);
  CHECK(dst != NULL);
  pattern_fill(dst, BIG + 64, 3);
  TRY(wr_region_put(d->c, p, *id, &v));
  return wr_object_seal(d->c, id->idx, 0, 0);
}

OPERATION(put_a_region_and_write_on) {
  wr_id id;
  uint8_t *p = wr_region_alloc(d->c, BIG), *other = wr_region_alloc(d->c, BIG);
  if (other) wr_region_free(other);
  if (!p) return WR_FULL;
  wr_region_prepare(d->c, p, 1);
  int rc = put_region(d, p, &id);
  memset(p, 5, BIG); /* its memory is there, whatever has failed */
  if (rc == WR_OK) rc = expect(d, id, BIG + 64, 3);
  CHECK_EQ(p[BIG - 1], 5);
  wr_region_free(p);
  return rc;
}

OPERATION(leave_regions_behind) {
  wr_id id;
  uint8_t *open = wr_region_alloc(d->c, BIG), *put = wr_region_alloc(d->c, BIG);
  int rc = open && put ? put_region(d, put, &id) : WR_FULL;
  if (rc == WR_OK) rc = wr_regions_leave(d->c);
  if (open) open[0] = 1;
  if (put) put[0] = 1;
  if (rc == WR_OK) rc = expect(d, id, BIG + 64, 3);
  wr_region_free(open);
  wr_region_free(put);
  return rc;
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static int submit(driver *d, task_plan p, wr_id *out) {
  uint8_t *dst;
  uint32_t n = p.spec.nreturns ? p.spec.nreturns : p.spec.nreturns++ + 1u;
  if (!(p.spec.flags & WR_TF_CALL)) p.spec.shape = d->shape;
  TRY(wr_task_create(d->c, &p.spec, sizeof p.o + p.padding, p.refs, p.nrefs, p.ndeps, out, &dst));
  for (uint32_t k = 0; k < n; k++) mine(d, out[k]);
  memcpy(dst, &p.o, sizeof p.o);
  pattern_fill(dst + sizeof p.o, p.padding, p.o.seed);
  return wr_task_submit(d->c, out[0].idx);
}

OPERATION(submit_and_get) {
  wr_id id;
  TRY(submit(d, (task_plan){.o = {ORDER_ECHO, 5, 3000, 0}, .padding = 500}, &id));
  return expect(d, id, 3000, 5);
}

OPERATION(submit_with_many_arguments) {
  wr_id all[MANY], out[3];
  for (uint32_t k = 0; k < MANY; k++) TRY(put(d, 8, k, NULL, 0, &all[k]));
  TRY(submit(d, (task_plan){.o = {ORDER_ECHO, 6, BIG, 0}, .padding = BIG, .refs = all,
                            .nrefs = MANY, .ndeps = MANY, .spec = {.nreturns = 3}}, out));
  for (uint32_t k = 0; k < 3; k++) TRY(expect(d, out[k], BIG, 6 + k));
  return WR_OK;
}

OPERATION(wait_for_some_and_for_all) {
  wr_id ids[6];
  for (uint32_t k = 0; k < 6; k++)
    TRY(submit(d, (task_plan){.o = {ORDER_ECHO, k, 8, 0}, .refs = ids + k - (k > 0),
                              .nrefs = k > 0, .ndeps = k > 0}, &ids[k]));
  int rc;
  do rc = wr_wait_objects(d->c, ids, 6, 2, 0, -1);
  while (rc == WR_INTR);
  TRY(rc);
  TRY(await(d, ids, 6));
  for (uint32_t k = 0; k < 6; k++) TRY(expect(d, ids[k], 8, k));
  return WR_OK;
}

OPERATION(cancel) {
  wr_id ids[CPUS + 1];
  uint32_t slot;
  for (uint32_t k = 0; k <= CPUS; k++)
    TRY(submit(d, (task_plan){.o = {ORDER_ECHO, k, 8, 0}}, &ids[k]));
  for (uint32_t k = 0; k <= CPUS; k++) (void)wr_task_cancel(d->c, &ids[k], 0, &slot, NULL);
  return await(d, ids, CPUS + 1);
}

OPERATION(read_a_stream) {
  order o = {ORDER_STREAM, 4, 900, 5};
  wr_id out[2], next;
  TRY(submit(d, (task_plan){.o = o, .spec = {.flags = WR_TF_STREAM, .nreturns = 2}}, out));
  wr_id item = out[1];
  int rc = WR_OK;
  for (uint32_t k = 0; rc == WR_OK && k < o.items; k++) {
    rc = expect(d, item, o.len, o.seed + 1 + k);
    if (rc == WR_OK) rc = wr_stream_next(d->c, item, &next);
    if (rc != WR_OK) break;
    wr_stream_advance(d->c, out[0], item);
    if (k) wr_unhold(d->c, item);
    item = next;
  }
  if (item.idx != out[1].idx) wr_unhold(d->c, item);
  wr_stream_leave(d->c, out[0]);
  return rc;
}

/* ---- actors ---------------------------------------------------------------------------------- */

static int request(driver *d, uint32_t type, const uint64_t *fields, uint32_t n, int flag) {
  wr_buf b = {0};
  uint8_t *reply = NULL;
  size_t len;
  wr_out_array(&b, n + (flag >= 0));
  for (uint32_t i = 0; i < n; i++) wr_out_uint(&b, fields[i]);
  if (flag >= 0) wr_out_bool(&b, flag);
  int rc = b.failed ? WR_NOMEM : wr_rpc_call(d->c, type, b.data, b.len, &reply, &len);
  wr_buf_free(&b);
  free(reply);
  return rc;
}

/* An actor whose creation has failed half way: nobody else would ever end it. */
static void abandon(driver *d, wr_id actor) {
  uint8_t body[12] = {0x93, 0xce, 0, 0, 0, 0, 0xce, 0, 0, 0, 0, 0xc3}; /* needs no memory */
  uint32_t idx = __builtin_bswap32(actor.idx & ~WR_ACTOR_BIT), gen = __builtin_bswap32(actor.gen);
  memcpy(body + 2, &idx, sizeof idx);
  memcpy(body + 7, &gen, sizeof gen);
  wr_rpc_tell(d->c, WR_MSG_KILL_ACTOR, body, sizeof body);
}

static int make_actor(driver *d, wr_id *actor) {
  wr_actor_spec spec = {.max_concurrency = 1, .max_pending = 3, .shape = d->shape,
                        .pool = (uint16_t)wr_client_conn(d->c)->pool, .cls_name = "Actor"};
  wr_id creation;
  TRY(wr_actor_create(d->c, &spec, actor));
  mine(d, *actor);
  int rc = submit(d, (task_plan){.o = {ORDER_CREATE, 1, 8, 0},
                                 .spec = {.flags = WR_TF_CREATION, .actor = *actor}}, &creation);
  if (rc != WR_OK) abandon(d, *actor);
  return rc;
}

OPERATION(call_an_actor) {
  wr_id actor, calls[3];
  TRY(make_actor(d, &actor));
  for (uint32_t k = 0; k < 3; k++)
    TRY(submit(d, (task_plan){.o = {ORDER_ECHO, k, 700, 0}, .padding = 200,
                              .spec = {.flags = WR_TF_CALL, .actor = actor}}, &calls[k]));
  for (uint32_t k = 0; k < 3; k++) TRY(expect(d, calls[k], 700, k));
  return WR_OK;
}

OPERATION(kill_an_actor) {
  wr_id actor, call;
  TRY(make_actor(d, &actor));
  const uint64_t fields[] = {actor.idx & ~WR_ACTOR_BIT, actor.gen};
  TRY(request(d, WR_MSG_KILL_ACTOR, fields, 2, 1));
  TRY(submit(d, (task_plan){.o = {ORDER_ECHO, 1, 8, 0},
                            .spec = {.flags = WR_TF_CALL, .actor = actor}}, &call));
  TRY(await(d, &call, 1));
  CHECK_EQ(wr_object_phase_of(d->c, call), WR_OBJ_ERROR);
  return WR_OK;
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* Work may begin in it, so that only the daemon can remove it. */
static int begin_in(driver *d, wr_id group) {
  wr_buf b = {0};
  uint8_t *reply = NULL;
  size_t len;
  wr_out_array(&b, 5);
  wr_out_uint(&b, wr_client_conn(d->c)->pool);
  wr_out_map(&b, 1);
  wr_out_text(&b, "CPU");
  wr_out_double(&b, 1);
  wr_out_uint(&b, group.idx + 1);
  wr_out_uint(&b, group.gen);
  wr_out_uint(&b, 0);
  int rc = b.failed ? WR_NOMEM : wr_rpc_call(d->c, WR_MSG_SHAPE_REG, b.data, b.len, &reply, &len);
  wr_buf_free(&b);
  free(reply);
  return rc;
}

OPERATION(make_and_remove_a_group) {
  wr_bundle_spec bundle = {.n = 1, .need = {{WR_RES_CPU, WR_RES_SCALE}}};
  wr_group_spec spec = {.bundles = &bundle, .n = 1, .name = ""};
  wr_id group;
  TRY(wr_group_create(d->c, &spec, &group));
  int rc;
  do rc = wr_group_wait(d->c, group, -1);
  while (rc == WR_INTR);
  if (rc >= 0) rc = begin_in(d, group);
  int removed = wr_group_remove(d->c, group);
  if (removed != WR_OK && fault_disarm()) (void)wr_group_remove(d->c, group);
  return rc < 0 ? rc : removed;
}

/* ---- the connection -------------------------------------------------------------------------- */

OPERATION(ask_the_daemon) {
  TRY(request(d, WR_MSG_STATS, NULL, 0, -1));
  return request(d, WR_MSG_NAME_LIST, NULL, 0, -1) == WR_CLOSED ? WR_CLOSED : WR_OK;
}

OPERATION_APART(join_and_leave) {
  driver other = {.c = NULL};
  wr_id id;
  (void)d;
  TRY(join(&other.c));
  int rc = put(&other, BIG, 9, NULL, 0, &id);
  if (rc == WR_OK) rc = expect(&other, id, BIG, 9);
  wr_client_detach(other.c);
  return rc;
}

OPERATION_APART(leave_with_everything_in_hand) {
  wr_id ids[3];
  int rc = put(d, BIG, 1, NULL, 0, &ids[0]);
  if (rc == WR_OK) rc = submit(d, (task_plan){.o = {ORDER_ECHO, 1, 8, 0}}, &ids[1]);
  if (rc == WR_OK) rc = make_actor(d, &ids[2]);
  leave(d);
  return rc;
}
