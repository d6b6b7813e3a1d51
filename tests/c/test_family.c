/* What a process has started ends with it. */
#include "check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"
#include "os/spawn.h"

static int inner[2], outer[2];

static void wait_for_end(void *arg) {
  (void)arg;
  for (;;) pause();
}

/* A child of the caller, in the caller's group or in one of its own, that holds the outer pipe. */
static void leave_child(int apart) {
  if (fork() != 0) return;
  if (apart) setpgid(0, 0);
  if (write(inner[1], "x", 1) != 1) _exit(1);
  wait_for_end(NULL);
}

static void parent_of_two(void *arg) {
  const int *apart = arg;
  char byte;
  setpgid(0, 0);
  leave_child(apart[0]);
  leave_child(apart[1]);
  for (int i = 0; i < 2; i++)
    if (read(inner[0], &byte, 1) != 1) _exit(1);
  if (write(outer[1], "y", 1) != 1) _exit(1);
  wait_for_end(NULL);
}

static int begin(int first_apart, int second_apart) {
  int apart[] = {first_apart, second_apart};
  char byte;
  CHECK_EQ(pipe(inner), 0);
  CHECK_EQ(pipe(outer), 0);
  int pid = check_fork(parent_of_two, apart);
  close(outer[1]);
  CHECK_EQ(read(outer[0], &byte, 1), 1);
  close(inner[0]);
  close(inner[1]);
  return pid;
}

/* The process has been killed, and nobody holds the other end of the pipe any more. */
static void all_end(int pid) {
  char byte;
  int status;
  CHECK_EQ(wr_os_reap(pid, 1, &status), WR_OK);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  CHECK_EQ(read(outer[0], &byte, 1), 0);
  close(outer[0]);
}

TEST(a_group_ends_with_the_process_that_opened_it) {
  int pid = begin(0, 0), fd = wr_os_pidfd_open(pid);
  CHECK_EQ(wr_os_pidfd_signal(fd, SIGKILL), WR_OK);
  CHECK_EQ(wr_os_wait_readable(fd, -1), WR_OK);
  wr_os_kill_group(pid); /* of a zombie */
  wr_os_close(fd);
  all_end(pid);
}

TEST(children_in_groups_of_their_own_end_as_well) {
  int pid = begin(1, 1), fd = wr_os_pidfd_open(pid);
  CHECK_EQ(wr_os_kill_with_children(fd, pid), WR_OK);
  wr_os_close(fd);
  all_end(pid);
}

TEST(a_child_in_the_group_and_one_apart_end) {
  int pid = begin(0, 1), fd = wr_os_pidfd_open(pid);
  CHECK_EQ(wr_os_kill_with_children(fd, pid), WR_OK);
  wr_os_kill_group(pid);
  wr_os_close(fd);
  all_end(pid);
}

TEST(a_process_without_children_is_killed) {
  int pid = check_fork(wait_for_end, NULL), fd = wr_os_pidfd_open(pid);
  CHECK_EQ(wr_os_kill_with_children(fd, pid), WR_OK);
  int status;
  CHECK_EQ(wr_os_reap(pid, 1, &status), WR_OK);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  CHECK_EQ(wr_os_kill_with_children(fd, pid), WR_DEAD);
  wr_os_close(fd);
}
