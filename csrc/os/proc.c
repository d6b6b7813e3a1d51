#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"

int wr_os_pidfd_open(int pid) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (fd >= 0) return fd;
  return errno == ESRCH ? WR_DEAD : WR_IO;
}

int wr_os_pidfd_signal(int pidfd, int signo) {
  if (syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) == 0) return WR_OK;
  return errno == ESRCH ? WR_DEAD : WR_IO;
}

int wr_os_kill(int pid, int signo) {
  if (pid <= 0) return WR_INVAL; /* never a group, never everybody */
  if (kill(pid, signo) == 0) return WR_OK;
  return errno == ESRCH ? WR_DEAD : WR_IO;
}

int wr_os_at_fork(void (*before)(void), void (*in_child)(void)) {
  return pthread_atfork(before, NULL, in_child) == 0 ? WR_OK : WR_NOMEM;
}

int wr_os_pid(void) { return (int)getpid(); }

unsigned wr_os_uid(void) { return (unsigned)getuid(); }

int wr_os_die_with_parent(int expected_ppid) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return WR_IO;
  return getppid() == expected_ppid ? WR_OK : WR_DEAD;
}

/* Reads a small file of /proc; bytes read (NUL terminated) or -1. */
static ssize_t read_proc(const char *path, char *buf, size_t cap) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n;
  do n = read(fd, buf, cap - 1);
  while (n < 0 && errno == EINTR);
  int kept = errno;
  close(fd);
  errno = kept;
  if (n >= 0) buf[n] = 0;
  return n;
}

/* The wait status of a zombie is the last field of its stat line; no other process can wait for it
 * than its parent. */
int wr_os_exit_code(int pid, int *code) {
  char path[64], buf[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  if (read_proc(path, buf, sizeof buf) < 0)
    return errno == ENOENT || errno == ESRCH ? WR_DEAD : WR_IO;
  const char *name_end = strrchr(buf, ')'); /* the name may hold anything */
  if (!name_end || name_end[1] != ' ') return WR_IO;
  if (name_end[2] != 'Z' && name_end[2] != 'X') return WR_STATE;
  const char *last = strrchr(buf, ' ');
  *code = (int)strtol(last + 1, NULL, 10);
  return WR_OK;
}

void wr_os_set_name(const char *name) { (void)prctl(PR_SET_NAME, name, 0, 0, 0); }

void wr_os_barrier(void) {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return;
  wr_os_sleep_ns(1000000); /* what a core has stored is seen by others long before */
}
