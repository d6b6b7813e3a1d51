/* System calls fail below the entry points of the C code, one after the other, once and for good:
 * an error or success, and no descriptor, process or file is left.  This program is the daemon as
 * well, so that its calls fail too.  FAULTS_STEP=1 tries each call; by default a sample. */
#include "check.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/sweep.h"
#include "base/status.h"
#include "client/client.h"
#include "node/node.h"
#include "node/spill_io.h"
#include "os/io.h"
#include "os/os.h"
#include "os/spawn.h"
#include "shm/segment.h"
#include "wire/pack.h"

__attribute__((constructor)) static void choose_part(int argc, char **argv) {
  if (argc > 0 && strcmp(argv[0], "whiprayd") == 0) _exit(node_run(3));
}

/* ---- what must not be left ------------------------------------------------------------------- */

static int entries(const char *path) {
  DIR *d = opendir(path);
  int n = -2; /* . and .. */
  if (!d) return 0;
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

static char top[64];

static void make_top(void) {
  snprintf(top, sizeof top, "/tmp/wr-test-XXXXXX");
  CHECK(mkdtemp(top) != NULL);
}

static void remove_top(void) {
  char command[96];
  snprintf(command, sizeof command, "rm -rf %s", top);
  CHECK_EQ(system(command), 0);
}

static int sessions(void) {
  char path[96];
  snprintf(path, sizeof path, "%s/whipray-%u", top, wr_os_uid());
  return entries(path);
}

/* ---- the sweep ------------------------------------------------------------------------------- */

static void each_call_fails(fault_try *attempt, long step) {
  CHECK_GE(fault_sweep(attempt, FAULT_CALLS, fault_step(step)), 8 * FAULTS_HAPPEN);
}

/* ---- the segment ----------------------------------------------------------------------------- */

static int make_and_map(void) {
  wr_seg_config cfg = {.heap_bytes = 1 << 20, .cpus = 1, .session = "fifteen letters"};
  wr_seg made, mapped;
  int rc = wr_seg_create(&made, &cfg);
  if (rc != WR_OK) return rc;
  int fd = wr_os_dup(made.fd);
  rc = fd < 0 ? WR_IO : wr_seg_attach(&mapped, fd);
  if (rc == WR_OK)
    wr_seg_detach(&mapped);
  else
    wr_os_close(fd);
  wr_seg_detach(&made);
  return rc;
}

static int segment(const fault *f, long *failures) {
  fault_begin(f);
  int rc = make_and_map();
  *failures = fault_disarm();
  return rc;
}

TEST(making_and_mapping_a_segment) { each_call_fails(segment, 1); }

/* ---- values in files ------------------------------------------------------------------------- */

static int spill(const fault *f, long *failures) {
  static uint8_t data[300000], back[sizeof data];
  static const uint8_t session[16] = "one session of x";
  char path[96];
  int error = 0;
  memset(data, (int)f->n, sizeof data);
  memset(back, 0, sizeof back);
  snprintf(path, sizeof path, "%s/values", top);
  node_spilled v = {.idx = 7, .gen = 1, .data = data, .len = sizeof data};
  const node_spill_ctx cx = {.session = session};
  fault_begin(f);
  int rc = node_spill_write(&cx, path, &v, 1, &error);
  int written = rc == WR_OK;
  if (written) rc = node_spill_read(&cx, path, &v, back);
  *failures = fault_disarm();
  if (rc == WR_OK) CHECK_MEM(data, back, sizeof data);
  CHECK_EQ(access(path, F_OK) == 0, written);
  if (written) CHECK_EQ(unlink(path), 0);
  return rc;
}

TEST(values_go_to_a_file_and_come_back) {
  make_top();
  each_call_fails(spill, 1);
  remove_top();
}

/* ---- children -------------------------------------------------------------------------------- */

static int look_for_child(const fault *f, long *failures) {
  int pid = 0, status;
  int child = fork();
  if (child == 0) _exit(0);
  CHECK_EQ(waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
  fault_begin(f);
  int rc = wr_os_peek_child(&pid);
  *failures = fault_disarm();
  CHECK_EQ(rc, WR_OK); /* it is there, however often the look is interrupted */
  CHECK_EQ(pid, child);
  return wr_os_reap(child, 1, &status);
}

TEST(a_child_that_has_ended_is_found) { each_call_fails(look_for_child, 1); }

/* ---- a session without workers --------------------------------------------------------------- */

static int start_and_leave(void) {
  wr_client *c = NULL;
  wr_buf b = {0};
  char err[512] = "";
  wr_out_map(&b, 3);
  wr_out_text(&b, "object_store_memory");
  wr_out_uint(&b, 16u << 20);
  wr_out_text(&b, "eager");
  wr_out_bool(&b, 0);
  wr_out_text(&b, "temp_dir");
  wr_out_text(&b, top);
  int rc = wr_client_start(&c, "/proc/self/exe", b.data, b.len, NULL, err, sizeof err);
  if (rc == WR_OK)
    wr_client_detach(c);
  else
    CHECK_MSG(err[0] || rc == WR_NOMEM, "%s: no reason is given", wr_status_name(rc));
  wr_buf_free(&b);
  return rc;
}

static int driver(const fault *f, long *failures) {
  fault_begin(f);
  int rc = start_and_leave();
  *failures = fault_disarm();
  CHECK_EQ(sessions(), 0);
  return rc;
}

static int daemon_of(const fault *f, long *failures) {
  char plan[64], report[96];
  snprintf(plan, sizeof plan, "daemon:calls:%ld:%d:%d", f->n, f->way, f->for_good);
  snprintf(report, sizeof report, "%s/report", top);
  setenv("WHIPRAY_FAULT", plan, 1);
  setenv("WHIPRAY_FAULT_REPORT", report, 1);
  int rc = start_and_leave();
  unsetenv("WHIPRAY_FAULT");
  *failures = access(report, F_OK) == 0;
  if (*failures) CHECK_EQ(unlink(report), 0);
  return rc;
}

TEST_LIMIT(a_driver_starts_a_session_and_leaves, 3000) {
  make_top();
  each_call_fails(driver, 11);
  remove_top();
}

TEST_LIMIT(a_daemon_starts_and_ends, 3000) {
  make_top();
  each_call_fails(daemon_of, 23);
  remove_top();
}
