/* Waiting for objects: how many, how long, and who wakes whom. */
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/status.h"
#include "os/os.h"
#include "session.h"

static session x;
static wr_client *d;
enum { N = 5 };
static wr_id ids[N];

static void open_session(void) {
  session_open(&x, 8u << 20);
  d = session_client(&x, WR_ROLE_DRIVER);
  for (int i = 0; i < N; i++) CHECK_EQ(wr_object_create(d, &ids[i]), WR_OK);
}

static void seal(int i, int is_error) {
  uint8_t *dst;
  CHECK_EQ(wr_value_reserve(d, ids[i].idx, 0, NULL, 0, &dst), WR_OK);
  CHECK_EQ(wr_object_seal(d, ids[i].idx, is_error, 0), WR_OK);
}

static void close_session(void) {
  for (int i = 0; i < N; i++) wr_creator_drop(d, ids[i]);
  session_check_empty(&x);
  session_close(&x);
}

TEST(a_wait_for_no_time_says_what_there_is) {
  open_session();
  CHECK_EQ(wr_wait_objects(d, ids, N, 1, 0, 0), WR_TIMEOUT);
  seal(3, 0);
  CHECK_EQ(wr_wait_objects(d, ids, N, 1, 0, 0), WR_OK);
  CHECK_EQ(wr_wait_objects(d, ids, N, 2, 0, 0), WR_TIMEOUT);
  CHECK_EQ(wr_wait_objects(d, &ids[3], 1, 1, 0, 0), WR_OK);
  seal(1, 1);
  CHECK_EQ(wr_wait_objects(d, ids, N, 2, 0, 0), WR_OK); /* an error is there too */
  CHECK_EQ(wr_wait_objects(d, ids, N, N, 1, 0), WR_OK); /* and ends a wait that says so */
  CHECK_EQ(wr_wait_objects(d, ids, N, N, 0, 0), WR_TIMEOUT);
  close_session();
}

TEST(a_deadline_ends_a_wait) {
  open_session();
  int64_t deadline = (int64_t)wr_os_now_ns() + 2000000;
  CHECK_EQ(wr_wait_objects(d, ids, N, 1, 0, deadline), WR_TIMEOUT);
  CHECK_GE((int64_t)wr_os_now_ns(), deadline);
  CHECK_EQ(wr_load32(&d->self.p->waiting), 0);
  close_session();
}

TEST(phases_and_stale_ids) {
  open_session();
  CHECK_EQ(wr_object_phase_of(d, ids[0]), WR_OBJ_PENDING);
  CHECK_EQ(wr_watch(d, ids[0]), 0);
  seal(0, 0);
  CHECK_EQ(wr_watch(d, ids[0]), 1);
  CHECK_EQ(wr_object_phase_of(d, ids[0]), WR_OBJ_READY);
  CHECK_EQ(wr_object_phase_of(d, (wr_id){ids[0].idx, ids[0].gen + 1}), WR_STALE);
  CHECK_EQ(wr_watch(d, (wr_id){ids[0].idx, ids[0].gen + 1}), WR_STALE);
  wr_view v;
  CHECK_EQ(wr_value_view(d, ids[1], &v), WR_AGAIN);
  CHECK_EQ(wr_value_view(d, (wr_id){ids[0].idx, ids[0].gen + 1}, &v), WR_STALE);
  close_session();
}

TEST(an_ended_session_ends_every_wait) {
  open_session();
  wr_seg_end(&x.seg, "over");
  CHECK_EQ(wr_wait_objects(d, ids, N, 1, 0, -1), WR_CLOSED);
  uint64_t seen = wr_events(d);
  CHECK_EQ(wr_wait_change(d, &seen, -1), WR_CLOSED);
  session_close(&x);
}

/* ---- sleepers in processes of their own ------------------------------------------------------ */

typedef struct {
  uint32_t want;
  int stop_on_error;
} wish;

static void wait_as_wished(session *s, wr_client *c, void *arg) {
  const wish *w = arg;
  int rc;
  (void)s;
  do rc = wr_wait_objects(c, ids, N, w->want, w->stop_on_error, -1);
  while (rc == WR_INTR);
  CHECK_EQ(rc, WR_OK);
  exit(0);
}

static int all_asleep(void *arg) {
  const uint32_t *slots = arg;
  for (int i = 0; slots[i]; i++)
    if (!wr_load32(&x.seg.procs[slots[i]].park)) return 0;
  return 1;
}

/* More sleepers than an object has room to name. */
TEST(whoever_waits_is_woken_by_what_it_waits_for) {
  static const wish wishes[6] = {{1, 0}, {1, 0}, {2, 0}, {N, 0}, {N, 1}, {N, 0}};
  uint32_t slots[7] = {0};
  open_session();
  for (int i = 0; i < 6; i++)
    slots[i] = session_fork(&x, WR_ROLE_DRIVER, wait_as_wished, (void *)(uintptr_t)&wishes[i]);
  check_until(all_asleep, slots);
  seal(2, 0);
  CHECK_EQ(session_reap(&x, slots[0]), 0);
  CHECK_EQ(session_reap(&x, slots[1]), 0);
  seal(4, 1);
  CHECK_EQ(session_reap(&x, slots[2]), 0);
  CHECK_EQ(session_reap(&x, slots[4]), 0);
  seal(0, 0);
  seal(1, 0);
  seal(3, 0);
  CHECK_EQ(session_reap(&x, slots[3]), 0);
  CHECK_EQ(session_reap(&x, slots[5]), 0);
  for (int i = 0; i < 6; i++) session_sweep(&x, slots[i]);
  close_session();
}

/* ---- several wakers -------------------------------------------------------------------------- */

enum { WAKERS = 2, LAPS = 3000 };
typedef struct {
  _Atomic uint32_t done[WAKERS], seen[WAKERS];
  uint32_t sleeper;
} laps;

static void sleep_between_laps(session *s, wr_client *c, void *arg) {
  laps *l = arg;
  (void)s;
  for (;;) {
    uint32_t events = wr_events(c), all = 0;
    for (int k = 0; k < WAKERS; k++) {
      uint32_t n = atomic_load(&l->done[k]);
      atomic_store(&l->seen[k], n);
      all += n;
    }
    if (all == WAKERS * LAPS) exit(0);
    CHECK_EQ(wr_park(c, events, -1), WR_OK);
  }
}

static void wake_each_lap(laps *l, int k) {
  for (uint32_t n = 1; n <= LAPS; n++) {
    atomic_store(&l->done[k], n);
    wr_wake(&x.seg, l->sleeper);
    while (atomic_load(&l->seen[k]) < n) sched_yield();
  }
}

static void wake_as_second(void *arg) { wake_each_lap(arg, 1); }

/* A waker that comes late clears the sleeper's word for an event that the sleeper has counted; the
 * other's wake-up must get through all the same. */
TEST(two_wakers_lose_no_wake_up) {
  open_session();
  laps *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(l != MAP_FAILED);
  l->sleeper = session_fork(&x, WR_ROLE_DRIVER, sleep_between_laps, l);
  int second = check_fork(wake_as_second, l);
  wake_each_lap(l, 0);
  check_join(second);
  CHECK_EQ(session_reap(&x, l->sleeper), 0);
  session_sweep(&x, l->sleeper);
  munmap(l, sizeof *l);
  close_session();
}
