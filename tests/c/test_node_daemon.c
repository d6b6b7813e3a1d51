/* The whole daemon, against drivers and workers written in C.  This program plays every part: run
 * as "whiprayd" it is the daemon, run with -c (as the daemon runs Python) it is the fork server. */
#include "server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "client/client.h"
#include "client/internal.h"
#include "node/node.h"
#include "os/files.h"
#include "os/os.h"
#include "os/spawn.h"
#include "wire/messages.h"

/* ---- worker and fork server ------------------------------------------------------------------ */

/* Does what the argument bytes say: "exit", "crash", "print <text>", else returns them. */
static void obey(wr_client *c, const wr_job *job) {
  char order[128] = "";
  size_t n = job->args_len < sizeof order - 1 ? job->args_len : sizeof order - 1;
  memcpy(order, job->args, n);
  if (strcmp(order, "crash") == 0) raise(SIGKILL);
  if (strncmp(order, "print ", 6) == 0) {
    printf("\x01wr:name=speaker\n%s\n", order + 6);
    fflush(stdout);
  }
  uint8_t *dst = NULL;
  CHECK_EQ(wr_value_reserve(c, job->idx, n, NULL, 0, &dst), WR_OK);
  memcpy(dst, order, n);
  CHECK_EQ(wr_work_finish(c, job, 0, 0), WR_OK);
}

__attribute__((constructor)) static void choose_part(int argc, char **argv) {
  if (argc > 0 && strcmp(argv[0], "whiprayd") == 0) _exit(node_run(3));
  if (argc > 1 && strcmp(argv[1], "-c") == 0) server_run(obey);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static char top[64];

static void remove_top(void) {
  char command[96];
  snprintf(command, sizeof command, "rm -rf %s", top);
  CHECK_EQ(system(command), 0);
}

static wr_client *start(double cpus) {
  wr_client *c = NULL;
  wr_buf b = {0};
  char err[512];
  snprintf(top, sizeof top, "/tmp/wr-test-%d", (int)getpid());
  server_config(&b, cpus, 64u << 20, top);
  int rc = wr_client_start(&c, "/proc/self/exe", b.data, b.len, NULL, err, sizeof err);
  CHECK_MSG(rc == WR_OK, "%s: %s", wr_status_name(rc), err);
  wr_buf_free(&b);
  return c;
}

static uint64_t stat_of(wr_client *c, const char *name) {
  static const uint8_t none[] = {0x90};
  uint8_t *reply;
  size_t len;
  uint32_t n;
  uint64_t value = UINT64_MAX;
  CHECK_EQ(wr_rpc_call(c, WR_MSG_STATS, none, 1, &reply, &len), WR_OK);
  wr_cursor cur = wr_cursor_of(reply, len);
  CHECK_EQ(wr_in_array(&cur, &n), WR_OK);
  CHECK_EQ(wr_in_map(&cur, &n), WR_OK);
  for (uint32_t i = 0; i < n; i++) {
    wr_bytes key;
    uint64_t v;
    CHECK_EQ(wr_in_bytes(&cur, &key), WR_OK);
    CHECK_EQ(wr_in_uint(&cur, &v), WR_OK);
    if (key.len == strlen(name) && memcmp(key.p, name, key.len) == 0) value = v;
  }
  free(reply);
  return value;
}

static int has_two_workers(void *c) { return stat_of(c, "workers") == 2; }

static wr_id submit(wr_client *c, uint16_t shape, const char *order, int16_t retries) {
  wr_task_spec spec = {.shape = shape, .nreturns = 1, .retries = retries};
  wr_id id;
  uint8_t *dst;
  CHECK_EQ(wr_task_create(c, &spec, strlen(order), NULL, 0, 0, &id, &dst), WR_OK);
  memcpy(dst, order, strlen(order));
  CHECK_EQ(wr_task_submit(c, id.idx), WR_OK);
  return id;
}

static void expect(wr_client *c, wr_id id, const char *text) {
  wr_view v;
  CHECK_EQ(wr_wait_objects(c, &id, 1, 1, 0, -1), WR_OK);
  CHECK_EQ(wr_value_view(c, id, &v), WR_OK);
  CHECK_MSG(v.is_error == !text, "%.*s", (int)v.len, (const char *)v.data);
  if (!text) return;
  CHECK_EQ(v.len, strlen(text));
  CHECK_MEM(v.data, text, v.len);
}

TEST(starts_and_ends) {
  char dir[128];
  struct stat st;
  wr_client *c = start(2);
  int daemon = wr_client_conn(c)->daemon_pid;
  snprintf(dir, sizeof dir, "%s", wr_client_session_dir(c));
  CHECK_EQ(stat(dir, &st), 0);
  CHECK_EQ(st.st_mode & 0777, 0700);
  check_until(has_two_workers, c);
  wr_client_detach(c);
  CHECK(stat(dir, &st) != 0);
  CHECK_EQ(kill(daemon, 0), -1);
  remove_top();
}

TEST(runs_tasks) {
  wr_client *c = start(2);
  uint16_t shape = server_shape(c);
  CHECK_EQ(server_shape(c), shape);
  for (int i = 0; i < 200; i++) {
    char text[16];
    snprintf(text, sizeof text, "%d", i);
    wr_id id = submit(c, shape, text, 0);
    expect(c, id, text);
    wr_creator_drop(c, id);
  }
  wr_client_detach(c);
  remove_top();
}

TEST(replaces_dead_workers) {
  wr_client *c = start(2);
  uint16_t shape = server_shape(c);
  for (int i = 0; i < 20; i++) {
    wr_id dead = submit(c, shape, "crash", 0), good = submit(c, shape, "fine", 3);
    expect(c, dead, NULL);
    expect(c, good, "fine");
  }
  check_until(has_two_workers, c);
  CHECK_EQ(stat_of(c, "deaths"), 20);
  wr_client_detach(c);
  remove_top();
}

/* Whether the error of `id` says all of the words. */
static int error_says(wr_client *c, wr_id id, const char *words) {
  wr_view v;
  expect(c, id, NULL);
  CHECK_EQ(wr_value_view(c, id, &v), WR_OK);
  return memmem(v.data, v.len, words, strlen(words)) != NULL;
}

TEST(says_how_a_worker_died) {
  wr_client *c = start(1);
  wr_id dead = submit(c, server_shape(c), "crash", 0);
  CHECK(error_says(c, dead, "signal 9 (SIGKILL"));
  CHECK(error_says(c, dead, "resident memory peaked at"));
  wr_client_detach(c);
  remove_top();
}

TEST(does_not_wait_for_a_fork_server_that_does_not_answer) {
  setenv("TEST_NO_ANSWER", "1", 1);
  wr_client *c = start(1);
  uint16_t shape = server_shape(c);
  wr_id dead = submit(c, shape, "crash", 0);
  CHECK(error_says(c, dead, "signal 9 (SIGKILL"));
  CHECK(!error_says(c, dead, "resident"));
  expect(c, submit(c, shape, "fine", 0), "fine");
  wr_client_detach(c);
  remove_top();
}

TEST(forwards_output) {
  wr_client *c = start(1);
  expect(c, submit(c, server_shape(c), "print hello", 0), "print hello");
  uint32_t type = 0, n, slot, pid;
  uint8_t *body;
  size_t len;
  do CHECK_EQ(wr_rpc_next_event(c, &type, &body, &len, -1), WR_OK);
  while (type != WR_MSG_LOG);
  wr_cursor cur = wr_cursor_of(body, len);
  wr_bytes name, lines;
  int is_err;
  CHECK_EQ(wr_in_array(&cur, &n), WR_OK);
  CHECK_EQ(wr_in_u32(&cur, &pid), WR_OK);
  CHECK_EQ(wr_in_u32(&cur, &slot), WR_OK);
  CHECK_EQ(wr_in_bytes(&cur, &name), WR_OK);
  CHECK_EQ(wr_in_bool(&cur, &is_err), WR_OK);
  CHECK_EQ(wr_in_bytes(&cur, &lines), WR_OK);
  CHECK_EQ(is_err, 0);
  CHECK(name.len == 7 && memcmp(name.p, "speaker", 7) == 0);
  CHECK(lines.len == 6 && memcmp(lines.p, "hello\n", 6) == 0);
  free(body);
  wr_client_detach(c);
  remove_top();
}

static void expect_end(wr_client *c, const char *words) {
  uint32_t type = 0;
  uint8_t *body = NULL;
  size_t len;
  int explained = 0, rc;
  while ((rc = wr_rpc_next_event(c, &type, &body, &len, -1)) == WR_OK) {
    explained |= memmem(body, len, words, strlen(words)) != NULL;
    free(body);
  }
  CHECK_EQ(rc, WR_CLOSED);
  CHECK(explained);
}

TEST(says_when_workers_cannot_start) {
  setenv("TEST_NO_FORK", "1", 1);
  wr_client *c = start(1);
  expect_end(c, "RLIMIT_NPROC");
  CHECK(wr_client_ended(c));
  wr_client_detach(c);
  remove_top();
}

TEST(says_when_workers_die_early) {
  setenv("TEST_DIE_EARLY", "1", 1);
  wr_client *c = start(1);
  expect_end(c, "exit code 7): no such module");
  wr_client_detach(c);
  remove_top();
}

/* ---- without slots for processes ------------------------------------------------------------- */

static void change_slots(wr_client *c, uint64_t from, uint64_t to) {
  for (uint32_t i = 2; i < WR_MAX_PROCS; i++) {
    uint64_t state = WR_PROC_STATE(from, 0, 0, 0);
    wr_cas(&wr_client_seg(c)->procs[i].state, &state, WR_PROC_STATE(to, 0, 0, 0));
  }
}

/* Two workers for an environment of its own. */
static void want_two_more(wr_client *c) {
  wr_buf b = {0};
  uint8_t *reply;
  size_t len;
  wr_out_array(&b, 2);
  wr_out_map(&b, 1);
  wr_out_text(&b, "NAME");
  wr_out_text(&b, "value");
  wr_out_bool(&b, 1);
  CHECK_EQ(wr_rpc_call(c, WR_MSG_POOL_REG, b.data, b.len, &reply, &len), WR_OK);
  wr_buf_free(&b);
  free(reply);
}

static int has_four_workers(void *c) { return stat_of(c, "workers") == 4; }

TEST(says_when_there_are_too_many_processes_and_goes_on_when_there_are_less) {
  wr_client *c = start(2);
  uint32_t type;
  uint8_t *body;
  size_t len;
  uint16_t shape = server_shape(c);
  check_until(has_two_workers, c);
  change_slots(c, WR_PROC_FREE, WR_PROC_STARTING);
  want_two_more(c);
  do CHECK_EQ(wr_rpc_next_event(c, &type, &body, &len, -1), WR_OK);
  while (type != WR_MSG_WORKER_TROUBLE);
  CHECK(memmem(body, len, "4095 processes, which is its limit", 34) != NULL);
  free(body);
  CHECK_EQ(stat_of(c, "workers"), 2);
  expect(c, submit(c, shape, "fine", 0), "fine");
  change_slots(c, WR_PROC_STARTING, WR_PROC_FREE);
  CHECK(error_says(c, submit(c, shape, "crash", 0), "signal 9 (SIGKILL"));
  check_until(has_four_workers, c);
  wr_client_detach(c);
  remove_top();
}

/* ---- pools and shapes ------------------------------------------------------------------------ */

/* The pool whose environment has the number, by the name that clients know. */
static uint32_t pool_of(wr_client *c, uint32_t number) {
  char text[16];
  wr_buf b = {0};
  snprintf(text, sizeof text, "%u", number);
  wr_out_array(&b, 1);
  wr_out_map(&b, 1);
  wr_out_text(&b, "NUMBER");
  wr_out_text(&b, text);
  return server_ask(c, WR_MSG_POOL_REG, &b);
}

static uint32_t ticket_in(wr_client *c, uint32_t pool, double cpus) {
  wr_buf b = {0};
  wr_out_array(&b, 2);
  wr_out_uint(&b, pool);
  wr_out_map(&b, 1);
  wr_out_text(&b, "CPU");
  wr_out_double(&b, cpus);
  return server_ask(c, WR_MSG_SHAPE_REG, &b);
}

static wr_id wait_in(wr_client *c, uint32_t ticket, wr_id gate) {
  wr_task_spec spec = {.shape = ticket, .nreturns = 1};
  wr_id id;
  uint8_t *dst;
  CHECK_EQ(wr_task_create(c, &spec, 0, &gate, 1, 1, &id, &dst), WR_OK);
  CHECK_EQ(wr_task_submit(c, id.idx), WR_OK);
  return id;
}

static int has_one_worker(void *c) { return stat_of(c, "workers") == 1; }

TEST(environments_and_demands_that_nobody_uses_make_room_for_others) {
  wr_client *c = start(1);
  wr_id gate;
  CHECK_EQ(wr_object_create(c, &gate), WR_OK);
  uint32_t kept = pool_of(c, 0), other = pool_of(c, 1), number, slot;
  uint32_t ticket = ticket_in(c, kept, 0.5);
  wr_id waits = wait_in(c, ticket, gate);
  expect(c, submit(c, (uint16_t)ticket_in(c, other, 0.5), "fine", 0), "fine"); /* it has a worker */
  for (uint32_t k = 2; k < 3 * WR_MAX_POOLS; k++) CHECK_GT(ticket_in(c, pool_of(c, k), 0.5), 0);
  CHECK_EQ(pool_of(c, 0), kept);
  CHECK_NE(ticket_in(c, kept, 0.5), ticket);
  CHECK_EQ(WR_TICKET_SHAPE(ticket_in(c, kept, 0.5)), WR_TICKET_SHAPE(ticket));
  check_until(has_one_worker, c);
  CHECK_EQ(ticket_in(c, other, 0.5), 0); /* its pool has gone */
  CHECK_NE(pool_of(c, 1), other);
  number = pool_of(c, 1);
  for (uint32_t k = 1; k < 2 * WR_MAX_SHAPES; k++)
    CHECK_GT(ticket_in(c, number, (double)k / WR_RES_SCALE), 0);
  CHECK_EQ(WR_TICKET_SHAPE(ticket_in(c, kept, 0.5)), WR_TICKET_SHAPE(ticket));
  CHECK_EQ(wr_task_cancel(c, &waits, 0, &slot, NULL), 1);
  wr_client_detach(c);
  remove_top();
}

static int is_gone(void *pid) { return kill(*(int *)pid, 0) != 0; }

static void start_and_die(void *arg) {
  int *pipe_fd = arg;
  wr_client *c = start(2);
  check_until(has_two_workers, c);
  int pids[3] = {wr_client_conn(c)->daemon_pid, 0, 0}, n = 1;
  const wr_seg *s = wr_client_seg(c);
  for (uint32_t i = 2; i < 16; i++)
    if (WR_PROC_ROLE(wr_load(&s->procs[i].state)) == WR_ROLE_WORKER && n < 3)
      pids[n++] = (int)wr_load32(&s->procs[i].pid);
  CHECK_EQ(write(*pipe_fd, pids, sizeof pids), (ssize_t)sizeof pids);
  raise(SIGKILL);
}

TEST(ends_with_its_driver) {
  int fds[2], pids[3], status;
  wr_os_adopt_orphans();
  signal(SIGCHLD, SIG_IGN);
  CHECK_EQ(pipe(fds), 0);
  int driver = check_fork(start_and_die, &fds[1]);
  CHECK_EQ(read(fds[0], pids, sizeof pids), (ssize_t)sizeof pids);
  waitpid(driver, &status, 0);
  for (int i = 0; i < 3; i++) check_until(is_gone, &pids[i]);
  signal(SIGCHLD, SIG_DFL);
  snprintf(top, sizeof top, "/tmp/wr-test-%d", driver);
  remove_top();
}

static wr_client *join(const char *path) {
  wr_client *c = NULL;
  char err[512];
  wr_buf b = {0};
  server_config(&b, 0, 0, top);
  int rc = wr_client_join_as(&c, path, WR_ROLE_DRIVER, b.data, b.len, NULL, err, sizeof err);
  CHECK_MSG(rc == WR_OK, "%s", err);
  wr_buf_free(&b);
  return c;
}

TEST(others_may_join_and_leave) {
  wr_client *c = start(2);
  char path[160];
  uint16_t shape = server_shape(c);
  snprintf(path, sizeof path, "%s/sock", wr_client_session_dir(c));
  wr_client *other = join(path);
  CHECK_EQ(stat_of(c, "drivers"), 2);
  expect(other, submit(other, server_shape(other), "mine", 0), "mine");
  wr_client_detach(other);
  CHECK_EQ(stat_of(c, "drivers"), 1);
  CHECK_EQ(stat_of(c, "jobs"), 1);
  expect(c, submit(c, shape, "still here", 0), "still here");
  wr_client_detach(c);
  remove_top();
}

/* ---- without descriptors --------------------------------------------------------------------- */

static int count_fds(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  DIR *d = opendir(path);
  int n = -2; /* . and .. */
  CHECK(d != NULL);
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

static void limit_fds(int pid, int n) {
  struct rlimit now;
  CHECK_EQ(prlimit(pid, RLIMIT_NOFILE, NULL, &now), 0);
  now.rlim_cur = n ? (rlim_t)n : now.rlim_max;
  CHECK_EQ(prlimit(pid, RLIMIT_NOFILE, &now, NULL), 0);
}

static int somebody_waits(void *c) {
  char path[160], text[4096];
  snprintf(path, sizeof path, "%s/logs/whiprayd.log", wr_client_session_dir(c));
  wr_os_read_tail(path, text, sizeof text);
  return strstr(text, "a driver has to wait: Too many open files") != NULL;
}

static long cpu_ticks(int pid) {
  char path[64], text[512];
  long user, system;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *f = fopen(path, "r");
  CHECK(f && fgets(text, sizeof text, f));
  fclose(f);
  static const char *const fields = ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld";
  CHECK_EQ(sscanf(strrchr(text, ')'), fields, &user, &system), 2);
  return user + system;
}

static void join_and_work(void *path) {
  wr_client *c = join(path);
  expect(c, submit(c, server_shape(c), "mine", 0), "mine");
  wr_client_detach(c);
}

/* Who joins a daemon that has hardly a descriptor left waits, and costs nothing; those who are in
 * go on.  He comes in when some are there again: another driver leaves, or the limit is raised. */
static void joins_when_there_is_room(int by_leaving) {
  wr_client *c = start(1);
  int daemon = wr_client_conn(c)->daemon_pid;
  char path[160];
  uint16_t shape = server_shape(c);
  snprintf(path, sizeof path, "%s/sock", wr_client_session_dir(c));
  expect(c, submit(c, shape, "one", 0), "one");
  wr_client *other = join(path);
  expect(other, submit(other, server_shape(other), "other", 0), "other");
  limit_fds(daemon, count_fds(daemon) + 20);
  int joining = check_fork(join_and_work, path);
  check_until(somebody_waits, c);
  long before = cpu_ticks(daemon);
  wr_os_sleep_ns(1000000000); /* in which an endless loop would use up a large part of a core */
  CHECK_LT(cpu_ticks(daemon) - before, 10);
  expect(c, submit(c, shape, "two", 0), "two");
  expect(other, submit(other, server_shape(other), "three", 0), "three");
  CHECK_EQ(stat_of(c, "drivers"), 2);
  if (!by_leaving) limit_fds(daemon, 0);
  wr_client_detach(other);
  check_join(joining);
  wr_client_detach(c);
  remove_top();
}

TEST(who_joins_waits_for_descriptors) { joins_when_there_is_room(1); }
TEST(who_joins_waits_for_a_higher_limit) { joins_when_there_is_room(0); }

TEST(malformed_requests_are_refused) {
  wr_client *c = start(1);
  uint8_t *reply;
  size_t len;
  for (uint32_t type = 3; type <= 20; type++) {
    static const uint8_t bodies[][6] = {"", "\xc1", "\xdd\xff\xff\xff\xff", "\x92\x01",
                                        "\x9f\x01\x02", "\xdb\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
      CHECK_EQ(wr_rpc_call(c, type, bodies[i], strlen((const char *)bodies[i]), &reply, &len),
               WR_PROTO);
  }
  CHECK_EQ(wr_rpc_call(c, 12345, "\x90", 1, &reply, &len), WR_PROTO);
  CHECK_NE(stat_of(c, "requests"), 0);
  wr_client_detach(c);
  remove_top();
}

TEST(a_wrong_daemon_is_explained) {
  wr_client *c = NULL;
  char err[512];
  CHECK(wr_client_start(&c, "/nowhere/whiprayd", "\x80", 1, NULL, err, sizeof err) < 0);
#ifndef __SANITIZE_THREAD__ /* which turns vfork into fork: the child's errno does not come back */
  CHECK(strstr(err, "/nowhere/whiprayd") != NULL);
#endif
  CHECK(wr_client_start(&c, "/bin/false", "\x80", 1, NULL, err, sizeof err) < 0);
  CHECK_MSG(strstr(err, "exit code 1") != NULL, "%s", err);
  const char *bad = "\x81\xa8num_cpus\xa1x";
  CHECK(wr_client_start(&c, "/proc/self/exe", bad, 12, NULL, err, sizeof err) < 0);
  CHECK_MSG(strstr(err, "num_cpus") != NULL, "%s", err);
}
