/* tests/c/check.c - runs the registered tests of one program; see check.h.
 * usage: test_<topic> [--list] [name...]
 * Environment: CHECK_SECONDS, the watchdog of a test that names no limit (default 60); a test's own
 * limit grows by the same factor. */
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_SECONDS 60u
#define DUMP_SIGNAL (SIGRTMIN + 7) /* one that neither sanitizers nor the code under test use */

/* Mapped by the runner and by everything a test forks. */
static struct {
  _Atomic unsigned failures; /* checks that failed, in whatever process */
  _Atomic unsigned dumps;    /* threads that finished their dump */
} *shared;

static check_test *first_test;
static check_test **last_link = &first_test;
static const char *current_test = "?";
static void (*hang_dump)(void *);
static void *hang_arg;
static atomic_flag hang_dumped = ATOMIC_FLAG_INIT;
static _Thread_local const char *here_file = "?";
static _Thread_local int here_line;

void check_register(check_test *test) {
  *last_link = test;
  last_link = &test->next;
}

/* ---- checks -------------------------------------------------------------------------------- */

void check_here(const char *file, int line) {
  here_file = file;
  here_line = line;
}

static _Noreturn void end_failed(void) {
  atomic_fetch_add(&shared->failures, 1);
  fflush(stderr);
  _exit(1);
}

void check_fail(const char *file, int line, const char *expr) {
  fprintf(stderr, "%s:%d: %s: failed: %s\n", file, line, current_test, expr);
  end_failed();
}

void check_fail_msg(const char *file, int line, const char *expr, const char *format, ...) {
  char text[512];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  fprintf(stderr, "%s:%d: %s: failed: %s: %s\n", file, line, current_test, expr, text);
  end_failed();
}

int check_order(intmax_t a, int a_negative, intmax_t b, int b_negative) {
  if (a_negative != b_negative) return a_negative ? -1 : 1;
  if (a_negative) return (a > b) - (a < b);
  return ((uintmax_t)a > (uintmax_t)b) - ((uintmax_t)a < (uintmax_t)b);
}

void check_mem(const char *file, int line, const char *expr, const void *a, const void *b,
               size_t n) {
  const unsigned char *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i])
      check_fail_msg(file, line, expr, "byte %zu of %zu: %#x and %#x", i, n, x[i], y[i]);
}

void check_until(int (*cond)(void *arg), void *arg) {
  const struct timespec nap = {0, 1000000};
  for (int looks = 0; !cond(arg); looks++) {
    if (looks < 100)
      sched_yield();
    else
      nanosleep(&nap, NULL);
  }
}

int check_fork(void (*fn)(void *arg), void *arg) {
  fflush(NULL);
  pid_t pid = fork();
  CHECK_MSG(pid >= 0, "fork: %s", strerror(errno));
  if (pid == 0) {
    fn(arg);
    exit(0);
  }
  return pid;
}

void check_join(int pid) {
  int status = 0;
  pid_t got;
  do got = waitpid(pid, &status, 0);
  while (got < 0 && errno == EINTR);
  CHECK_MSG(got == pid, "waitpid: %s", strerror(errno));
  CHECK_MSG(status == 0, "child %d: %s %d", pid, WIFSIGNALED(status) ? "signal" : "exit code",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

void check_on_hang(void (*dump)(void *arg), void *arg) {
  hang_arg = arg;
  hang_dump = dump;
}

/* ---- the watchdog's dump ------------------------------------------------------------------- */

/* Runs in the hung thread.  Nothing here is safe in a signal handler by the letter; the process is
 * about to be killed, and a dump that may be cut short is worth more than none. */
static void dump_thread(int signo) {
  void *frames[48];
  char line[256];
  (void)signo;
  int n = snprintf(line, sizeof line, "  process %d thread %ld, at or after the check at %s:%d\n",
                   (int)getpid(), (long)syscall(SYS_gettid), here_file, here_line);
  if (write(STDERR_FILENO, line, (size_t)n) < 0) return;
  backtrace_symbols_fd(frames, backtrace(frames, 48), STDERR_FILENO);
  if (hang_dump && !atomic_flag_test_and_set(&hang_dumped)) {
    hang_dump(hang_arg);
    fflush(stderr);
  }
  atomic_fetch_add(&shared->dumps, 1);
}

/* One thread at a time, so that stacks stay apart.  A thread that cannot answer is passed over. */
static void dump_one(int pid, int tid) {
  const struct timespec nap = {0, 1000000};
  unsigned before = atomic_load(&shared->dumps);
  if (syscall(SYS_tgkill, pid, tid, DUMP_SIGNAL) != 0) return;
  for (int looks = 0; looks < 2000 && atomic_load(&shared->dumps) == before; looks++)
    nanosleep(&nap, NULL);
}

typedef void on_process(int pid, int parent, int group, int wanted);

static void each_process(on_process *visit, int wanted) {
  DIR *dir = opendir("/proc");
  if (!dir) return;
  for (struct dirent *e; (e = readdir(dir));) {
    char path[64];
    int parent, group, pid = atoi(e->d_name);
    if (pid <= 0) continue;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    if (fscanf(f, "%*d (%*[^)]) %*c %d %d", &parent, &group) == 2)
      visit(pid, parent, group, wanted);
    fclose(f);
  }
  closedir(dir);
}

static void dump_member(int pid, int parent, int group, int wanted) {
  char path[64];
  (void)parent;
  if (group != wanted) return;
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *dir = opendir(path);
  if (!dir) return;
  for (struct dirent *e; (e = readdir(dir));) {
    int tid = atoi(e->d_name);
    if (tid > 0) dump_one(pid, tid);
  }
  closedir(dir);
}

/* ---- the runner ---------------------------------------------------------------------------- */

static unsigned limit_of(const check_test *test) {
  const char *text = getenv("CHECK_SECONDS");
  unsigned seconds = text ? (unsigned)strtoul(text, NULL, 10) : 0;
  if (seconds == 0) seconds = DEFAULT_SECONDS;
  if (test->limit == 0) return seconds;
  return seconds <= DEFAULT_SECONDS ? test->limit : test->limit * seconds / DEFAULT_SECONDS;
}

static _Noreturn void run_child(const check_test *test, int runner) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != runner) _exit(1);
  void *warm_up[1];
  backtrace(warm_up, 1); /* loads its library now, not in the signal handler */
  struct sigaction act = {.sa_handler = dump_thread, .sa_flags = SA_RESTART};
  sigaction(DUMP_SIGNAL, &act, NULL);
  test->run();
  exit(0); /* not _exit: the leak checker reports at exit */
}

/* Waits for the child's end; returns 0 when it did not come within the limit. */
static int wait_for(pid_t pid, unsigned seconds) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) {
    perror("pidfd_open");
    return 0;
  }
  struct pollfd p = {.fd = fd, .events = POLLIN};
  int rc;
  do rc = poll(&p, 1, (int)(seconds * 1000));
  while (rc < 0 && errno == EINTR);
  close(fd);
  return rc > 0;
}

static void kill_child(int pid, int parent, int group, int wanted) {
  (void)group;
  if (parent == wanted) kill(pid, SIGKILL);
}

/* What a test started and left becomes a child of this process; the children of those follow. */
static void end_leftovers(void) {
  do each_process(kill_child, getpid());
  while (waitpid(-1, NULL, 0) > 0);
}

/* Returns 1 when the test passed. */
static int run_test(const check_test *test) {
  int status = 0, runner = (int)getpid();
  current_test = test->name;
  atomic_store(&shared->failures, 0);
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) {
    perror("fork");
    return 0;
  }
  if (pid == 0) run_child(test, runner);
  setpgid(pid, pid);
  int ended = wait_for(pid, limit_of(test));
  if (!ended) {
    fprintf(stderr, "%s: failed: no end within %u s; every thread follows\n", test->name,
            limit_of(test));
    each_process(dump_member, pid);
  }
  if (!ended) kill(-pid, SIGKILL);
  waitpid(pid, &status, 0);
  end_leftovers();
  if (!ended) return 0;
  if (WIFSIGNALED(status))
    fprintf(stderr, "%s: failed: killed by signal %d (%s)\n", test->name, WTERMSIG(status),
            strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status) != 0 && atomic_load(&shared->failures) == 0)
    fprintf(stderr, "%s: failed: exit code %d\n", test->name, WEXITSTATUS(status));
  else if (WEXITSTATUS(status) == 0 && atomic_load(&shared->failures) != 0)
    fprintf(stderr, "%s: failed: a check failed in a process it started\n", test->name);
  return status == 0 && atomic_load(&shared->failures) == 0;
}

static int selected(const check_test *test, int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], test->name) == 0) return 1;
  return argc == 1;
}

static int list_tests(void) {
  for (check_test *t = first_test; t; t = t->next) puts(t->name);
  return 0;
}

int main(int argc, char **argv) {
  unsigned passed = 0, failed = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc == 2 && strcmp(argv[1], "--list") == 0) return list_tests();
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    perror("mmap");
    return 2;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  for (check_test *t = first_test; t; t = t->next) {
    if (!selected(t, argc, argv)) continue;
    if (run_test(t))
      passed++;
    else
      failed++;
  }
  printf("check: %u passed, %u failed\n", passed, failed);
  return failed || !passed;
}
