/* The contract with the operating system. */
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "os/files.h"
#include "os/io.h"
#include "os/os.h"
#include "os/spawn.h"

TEST(memfd_is_shared_and_sealed) {
  void *a, *b;
  uint64_t size = 0;
  int fd = wr_os_memfd_create("test", 1 << 20);
  CHECK_GE(fd, 0);
  CHECK_EQ(wr_os_memfd_size(fd, &size), WR_OK);
  CHECK_EQ(size, 1 << 20);
  CHECK_EQ(ftruncate(fd, 1), -1);
  CHECK_EQ(wr_os_map(fd, 0, size, 1, &a), WR_OK);
  CHECK_EQ(wr_os_map(fd, 4096, 4096, 0, &b), WR_OK);
  memset((char *)a + 4096, 7, 4096);
  CHECK_EQ(((char *)b)[4095], 7);
  wr_os_populate(a, size);
  CHECK_EQ(wr_os_punch(fd, 4096, 4096), WR_OK);
  CHECK_EQ(((char *)b)[0], 0);
  wr_os_unmap(a, size);
  wr_os_unmap(b, 4096);
  wr_os_close(fd);
}

static void wake_when_told(void *arg) {
  _Atomic uint32_t *word = arg;
  *word = 1;
  wr_os_futex_wake(word, 1);
}

TEST(futex_waits_across_processes) {
  const int flags = MAP_SHARED | MAP_ANONYMOUS;
  _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
  CHECK(word != MAP_FAILED);
  CHECK_EQ(wr_os_futex_wait(word, 1, -1), WR_OK); /* another value: no wait */
  CHECK_EQ(wr_os_futex_wait(word, 0, 1000000), WR_TIMEOUT);
  int pid = check_fork(wake_when_told, (void *)word);
  while (*word == 0) wr_os_futex_wait(word, 0, -1);
  check_join(pid);
}

static int is_zombie(void *arg) {
  int code;
  return wr_os_exit_code(*(int *)arg, &code) == WR_OK;
}

static void exit_with_5(void *arg) {
  (void)arg;
  _exit(5);
}

static void wait_for_end(void *arg) {
  (void)arg;
  for (;;) pause();
}

TEST(exit_status_is_read_before_the_reaping) {
  int code = 0, status, pid = check_fork(exit_with_5, NULL);
  check_until(is_zombie, &pid);
  CHECK_EQ(wr_os_exit_code(pid, &code), WR_OK);
  CHECK(WIFEXITED(code) && WEXITSTATUS(code) == 5);
  CHECK_EQ(wr_os_reap(pid, 1, &status), WR_OK);
  CHECK_EQ(status, code);
  CHECK_EQ(wr_os_exit_code(pid, &code), WR_DEAD);
}

TEST(pidfd_tells_of_a_death) {
  int status, code, pid = check_fork(wait_for_end, NULL), fd = wr_os_pidfd_open(pid);
  CHECK_GE(fd, 0);
  CHECK_EQ(wr_os_wait_readable(fd, 0), WR_TIMEOUT);
  CHECK_EQ(wr_os_exit_code(pid, &code), WR_STATE);
  CHECK_EQ(wr_os_pidfd_signal(fd, SIGKILL), WR_OK);
  CHECK_EQ(wr_os_wait_readable(fd, -1), WR_OK);
  CHECK_EQ(wr_os_exit_code(pid, &code), WR_OK);
  CHECK(WIFSIGNALED(code) && WTERMSIG(code) == SIGKILL);
  CHECK_EQ(wr_os_reap(pid, 1, &status), WR_OK);
  CHECK_EQ(wr_os_pidfd_signal(fd, SIGKILL), WR_DEAD);
  wr_os_close(fd);
}

TEST(descriptors_travel_over_a_socket) {
  int pair[2], pipe_fds[2], got = -1;
  char buf[16];
  CHECK_EQ(wr_os_socketpair(pair), WR_OK);
  CHECK_EQ(wr_os_pipe(pipe_fds), WR_OK);
  CHECK_EQ(wr_os_send_some(pair[0], "hello", 5, &pipe_fds[1], 1), 5);
  CHECK_EQ(wr_os_recv_fd(pair[1], buf, sizeof buf, &got), 5);
  CHECK_GE(got, 0);
  CHECK_EQ(write(got, "x", 1), 1);
  CHECK_EQ(wr_os_read_some(pipe_fds[0], buf, sizeof buf), 1);
  CHECK_EQ(wr_os_send_some(pair[0], "plain", 5, NULL, 0), 5);
  CHECK_EQ(wr_os_recv_fd(pair[1], buf, sizeof buf, &got), 5);
  CHECK_EQ(got, -1);
  wr_os_close(pair[0]);
  CHECK_EQ(wr_os_recv_all(pair[1], buf, 1), WR_CLOSED);
  CHECK_EQ(wr_os_send_all(pair[1], "x", 1), WR_CLOSED);
}

TEST(a_program_gets_only_its_descriptors) {
  int out[2], pid, status, extra = dup(1);
  char text[256] = "";
  size_t n = 0;
  CHECK_EQ(wr_os_pipe(out), WR_OK);
  CHECK_GE(extra, 0);
  char *argv[] = {(char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c",
                  (char *)(uintptr_t)"for f in 3 4 5 6 7 8 9; do "
                                     "if (: <&$f) 2>/dev/null; then echo $f; fi; done; "
                                     "echo $A; pwd", NULL};
  char *env[] = {(char *)(uintptr_t)"A=b", NULL};
  const int fds[] = {-1, out[1], 2};
  wr_os_spawn_spec spec = {.path = "/bin/sh", .argv = argv, .env = env, .fds = fds, .nfds = 3,
                           .cwd = "/", .new_session = 1, .die_with_parent = 1};
  CHECK_EQ(wr_os_spawn(&spec, &pid), WR_OK);
  wr_os_close(out[1]);
  for (int k; (k = wr_os_read_some(out[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)k;
  CHECK_STR(text, "b\n/\n");
  CHECK_EQ(wr_os_reap(pid, 1, &status), WR_OK);
  CHECK_EQ(status, 0);
#ifndef __SANITIZE_THREAD__ /* which turns vfork into fork: the child's errno does not come back */
  spec.path = "/no/such/program";
  CHECK_EQ(wr_os_spawn(&spec, &pid), WR_IO);
  CHECK_EQ(errno, ENOENT);
  CHECK_EQ(wr_os_peek_child(&pid), WR_AGAIN);
#endif
}

TEST(private_directories_are_checked) {
  char top[] = "/tmp/wr-os-XXXXXX", path[64], link_path[64], lock[80];
  CHECK(mkdtemp(top) != NULL);
  snprintf(path, sizeof path, "%s/d", top);
  snprintf(link_path, sizeof link_path, "%s/l", top);
  snprintf(lock, sizeof lock, "%s/d/pid", top);
  CHECK_EQ(wr_os_private_dir(path), WR_OK);
  CHECK_EQ(wr_os_private_dir(path), WR_OK);
  CHECK_EQ(symlink(path, link_path), 0);
  CHECK_EQ(wr_os_private_dir(link_path), WR_DENIED);
  int fd = wr_os_lock_file(lock, 1);
  CHECK_GE(fd, 0);
  CHECK_EQ(wr_os_lock_file(lock, 0), WR_AGAIN);
  wr_os_close(fd);
  fd = wr_os_lock_file(lock, 0);
  CHECK_GE(fd, 0);
  wr_os_close(fd);
  wr_os_remove_tree(link_path); /* not followed */
  CHECK_GE(wr_os_dir_age_s(path), 0);
  wr_os_remove_tree(top);
  unlink(link_path);
  wr_os_remove_tree(top);
  CHECK_EQ(wr_os_dir_age_s(top), -1);
}

/* ---- limits of control groups ---------------------------------------------------------------- */

static char fake[64]; /* stands in front of /proc and /sys */

static void fake_file(const char *path, const char *text) {
  char command[512];
  snprintf(command, sizeof command, "mkdir -p $(dirname %s%s) && printf -- '%s' > %s%s", fake, path,
           text, fake, path);
  CHECK_EQ(system(command), 0);
}

static void fake_begin(const char *groups) {
  snprintf(fake, sizeof fake, "/tmp/wr-test-XXXXXX");
  CHECK(mkdtemp(fake) != NULL);
  fake_file("/proc/self/cgroup", groups);
}

static void fake_end(int cpus, uint64_t memory) {
  uint64_t bytes = 0;
  CHECK_EQ(wr_os_cpu_count_in(fake), cpus);
  CHECK_EQ(wr_os_memory_limit_in(fake, &bytes), WR_OK);
  CHECK_EQ(bytes, memory);
  wr_os_remove_tree(fake);
}

TEST(limits_of_the_unified_groups_above_count) {
  fake_begin("0::/a/b\n");
  fake_file("/sys/fs/cgroup/a/b/memory.max", "max\n");
  fake_file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  fake_file("/sys/fs/cgroup/a/memory.max", "9000000\n");
  fake_file("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
  fake_file("/sys/fs/cgroup/memory.max", "10000000\n");
  fake_end(1, 9000000);
}

TEST(limits_of_the_groups_of_the_first_version_count) {
  fake_begin("4:memory:/a/b\n3:cpuset:/\n2:cpu,cpuacct:/c/d\n1:name=systemd:/e\n0::/e\n");
  fake_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  fake_file("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9000000\n");
  fake_file("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "10000000\n");
  fake_file("/sys/fs/cgroup/memory/c/d/memory.limit_in_bytes", "5000000\n"); /* not ours */
  fake_file("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "70000\n");
  fake_file("/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
  fake_file("/sys/fs/cgroup/cpu/c/d/cpu.cfs_quota_us", "-1\n");
  fake_file("/sys/fs/cgroup/cpu/c/d/cpu.cfs_period_us", "100000\n");
  fake_end(1, 9000000);
}

/* A container may show its own group as the root, and name it as the machine does. */
TEST(limits_of_a_group_that_is_shown_as_the_root_count) {
  fake_begin("2:memory:/docker/0123\n1:cpuacct,cpu:/docker/0123\n");
  fake_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9000000\n");
  fake_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "1000\n");
  fake_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  fake_end(1, 9000000);
}

TEST(a_machine_without_control_groups_has_the_limits_of_the_machine) {
  uint64_t bytes = 0;
  CHECK_EQ(wr_os_memory_limit_in("/nowhere", &bytes), WR_OK);
  fake_begin("0::/\n");
  fake_end(wr_os_cpu_count_in("/nowhere"), bytes);
}

TEST(the_smallest_number_of_processes_of_a_group_counts) {
  fake_begin("7:pids:/a/b\n0::/c\n");
  CHECK_EQ(wr_os_pids_limit_in(fake), UINT64_MAX);
  fake_file("/sys/fs/cgroup/c/pids.max", "max\n");
  fake_file("/sys/fs/cgroup/pids/a/b/pids.max", "300\n");
  CHECK_EQ(wr_os_pids_limit_in(fake), 300);
  fake_file("/sys/fs/cgroup/pids/a/pids.max", "200\n");
  CHECK_EQ(wr_os_pids_limit_in(fake), 200);
  fake_file("/sys/fs/cgroup/c/pids.max", "100\n");
  CHECK_EQ(wr_os_pids_limit_in(fake), 100);
  wr_os_remove_tree(fake);
}

TEST(limits_are_sane) {
  uint64_t bytes = 0;
  char text[256];
  CHECK_GE(wr_os_cpu_count(), 1);
  CHECK_EQ(wr_os_memory_limit(&bytes), WR_OK);
  CHECK_GT(bytes, 1 << 20);
  wr_os_describe_error(EAGAIN, text, sizeof text);
  CHECK(strstr(text, "RLIMIT_NPROC") != NULL);
  wr_os_describe_error(EFBIG, text, sizeof text);
  CHECK(strstr(text, "RLIMIT_FSIZE") != NULL);
  wr_os_describe_status(SIGKILL, text, sizeof text);
  CHECK_STR(text, "killed by signal 9 (SIGKILL)");
}
