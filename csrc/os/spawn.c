#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"

const int wr_os_sigkill = SIGKILL, wr_os_sigint = SIGINT, wr_os_sigterm = SIGTERM,
          wr_os_sigchld = SIGCHLD;

/* Descriptors wait above every target while they are put in place. */
#define HIGH_FD (WR_OS_SPAWN_FDS + 1)

static struct rlimit fd_limit; /* before it was raised; 0: it was not */

void wr_os_raise_fd_limit(void) {
  struct rlimit now;
  if (getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur == now.rlim_max) return;
  struct rlimit more = {now.rlim_max, now.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &more) == 0) fd_limit = now;
}

static void close_from(int first) {
  if (syscall(SYS_close_range, (unsigned)first, ~0u, 0) == 0) return;
  long max = sysconf(_SC_OPEN_MAX);
  for (int fd = first; fd < (max > 0 && max < 65536 ? max : 65536); fd++) close(fd);
}

/* Runs in the child: puts the descriptors in place and closes all others but *report, which moves
 * behind them and closes when the program is executed. */
static int place_fds(const wr_os_spawn_spec *s, int *report) {
  int high[WR_OS_SPAWN_FDS];
  for (int i = 0; i < s->nfds; i++) {
    int fd = s->fds[i] >= 0 ? s->fds[i] : open("/dev/null", O_RDWR | O_CLOEXEC);
    high[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    if (high[i] < 0) return WR_IO;
  }
  int kept = fcntl(*report, F_DUPFD_CLOEXEC, HIGH_FD);
  if (kept < 0 || dup3(kept, s->nfds, O_CLOEXEC) < 0) return WR_IO;
  *report = s->nfds;
  for (int i = 0; i < s->nfds; i++)
    if (dup2(high[i], i) < 0) return WR_IO;
  close_from(s->nfds + 1);
  return WR_OK;
}

static void default_signals(void) {
  struct sigaction act;
  memset(&act, 0, sizeof act);
  act.sa_handler = SIG_DFL;
  for (int signo = 1; signo < 32; signo++)
    if (signo != SIGKILL && signo != SIGSTOP) sigaction(signo, &act, NULL);
}

/* The kernel takes no path of PATH_MAX bytes at once. */
static int enter_directory(const char *path) {
  char part[PATH_MAX];
  while (strlen(path) >= sizeof part) {
    memcpy(part, path, sizeof part - 1);
    part[sizeof part - 1] = 0;
    char *slash = strrchr(part, '/');
    if (!slash || slash == part) break;
    *slash = 0;
    if (chdir(part) != 0) return WR_IO;
    path += slash - part + 1;
  }
  return chdir(path) == 0 ? WR_OK : WR_IO;
}

/* The child shares the caller's memory until it executes the program: it only makes system calls.
 * Returns when something failed. */
static void run_child(const wr_os_spawn_spec *s, int parent, int *report) {
  sigset_t none;
  sigemptyset(&none);
  default_signals();
  if (fd_limit.rlim_cur) setrlimit(RLIMIT_NOFILE, &fd_limit);
  if (place_fds(s, report) != WR_OK) return;
  if (s->new_session && setsid() < 0) return;
  if (s->cwd && enter_directory(s->cwd) != WR_OK) return;
  if (s->die_with_parent && wr_os_die_with_parent(parent) != WR_OK) return;
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvpe(s->path, s->argv, s->env);
}

/* errno of the child, or 0 when the program runs: the pipe closes then. */
static int read_report(int fd) {
  int error = 0;
  ssize_t n;
  do n = read(fd, &error, sizeof error);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t)sizeof error ? error : 0;
}

int wr_os_spawn(const wr_os_spawn_spec *spec, int *pid) {
  if (spec->nfds < 0 || spec->nfds > WR_OS_SPAWN_FDS) return WR_INVAL;
  sigset_t all, kept;
  int report[2], parent = (int)getpid();
  if (pipe2(report, O_CLOEXEC) != 0) return WR_IO;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &kept);
  pid_t child = vfork();
  if (child == 0) {
    int fd = report[1];
    run_child(spec, parent, &fd);
    int error = errno ? errno : EIO;
    ssize_t sent = write(fd, &error, sizeof error);
    _exit(sent < 0 ? 126 : 127);
  }
  int error = child < 0 ? errno : 0;
  pthread_sigmask(SIG_SETMASK, &kept, NULL);
  close(report[1]);
  if (child > 0) error = read_report(report[0]);
  close(report[0]);
  int status;
  if (child > 0 && error) wr_os_reap((int)child, 1, &status);
  if (error) {
    errno = error;
    return WR_IO;
  }
  *pid = (int)child;
  return WR_OK;
}

int wr_os_reap(int pid, int block, int *status) {
  pid_t got;
  do got = waitpid(pid, status, block ? 0 : WNOHANG);
  while (got < 0 && errno == EINTR);
  if (got == pid) return WR_OK;
  return got == 0 ? WR_AGAIN : WR_NOTFOUND;
}

int wr_os_peek_child(int *pid) {
  siginfo_t info;
  int rc;
  info.si_pid = 0;
  do rc = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
  while (rc != 0 && errno == EINTR);
  if (rc != 0 || info.si_pid == 0) return WR_AGAIN;
  *pid = (int)info.si_pid;
  return WR_OK;
}

int wr_os_adopt_orphans(void) {
  return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? WR_OK : WR_IO;
}

int wr_os_parent_pid(void) { return (int)getppid(); }

int wr_os_self_pidfd_works(void) {
  int fd = wr_os_pidfd_open((int)getpid());
  if (fd < 0) return fd;
  close(fd);
  return WR_OK;
}

void wr_os_ignore_write_signals(void) {
  struct sigaction act;
  memset(&act, 0, sizeof act);
  act.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &act, NULL);
  sigaction(SIGXFSZ, &act, NULL);
}
