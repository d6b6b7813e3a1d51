/* See interpose.h.
 *
 * A process that was started with WHIPRAY_FAULT="<role>:<calls|memory>:<n>:<way>:<for good: 0|1>"
 * is armed from the start if it has that role: daemon (whiprayd), forker (the fork server), worker
 * (what the fork server forks).  The first process that gets there makes the file named by
 * WHIPRAY_FAULT_REPORT, and only in that one a call fails; with "for good", in all.  Each failure
 * is a line there, and the stack that led to it. */
#include "interpose.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define FRAMES 12

/* libuv reads so much from its signal pipe, and takes what it gets for whole messages, as they are
 * written: less than one, which no kernel gives, makes it call what is no function. */
#define SIGNALS 512u

/* Ways to fail that are not an errno. */
enum { END = 0, SHORT = 10000, SPURIOUS };

/* Shared with a child between vfork and exec: its calls are the parent's. */
typedef struct {
  atomic_int kind; /* 0: off */
  atomic_long left, calls, failures;
  int way, for_good;
  atomic_int error;     /* what is exhausted from now on; 0: nothing yet */
  atomic_uint every;    /* counts what is over by its nature */
  char last[64];
} plan;

static plan quiet, *the = &quiet;
static char report_path[200];
static enum { DRIVER, DAEMON, FORKER, WORKER } role;

/* ---- whose call is it ------------------------------------------------------------------------ */

static const char anybody; /* in place of an address: the call counts whoever makes it */

/* Looking up an address takes a lock of the loader.  The handler of a signal that came meanwhile,
 * as libuv has one for the death of children, makes calls as well, and would wait for its own
 * thread. */
static void hold_signals(sigset_t *kept) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, kept);
}

static void let_signals(const sigset_t *kept) { pthread_sigmask(SIG_SETMASK, kept, NULL); }

static int is_ours(const void *from) {
#ifdef FAULTS_LINKED
  return from != NULL;
#else
  Dl_info found;
  sigset_t kept;
  if (from == &anybody) return 1;
  hold_signals(&kept);
  int known = dladdr(from, &found);
  let_signals(&kept);
  if (!known || !found.dli_fname) return 0;
  const char *slash = strrchr(found.dli_fname, '/'), *name = slash ? slash + 1 : found.dli_fname;
  return strncmp(name, "_core.", 6) == 0 || strcmp(name, "whiprayd") == 0;
#endif
}

/* ---- the decision ---------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  int kind;
  int ways[6]; /* ended by END */
} call;

static int passes(int way) {
  return way == EINTR || way == EAGAIN || way == ECONNABORTED || way == SHORT || way == SPURIOUS;
}

static const char *way_name(int way) {
  if (way == SHORT) return "short";
  if (way == SPURIOUS) return "spurious";
  const char *name = strerrorname_np(way);
  return name ? name : "?";
}

/* 1: the failure may happen here. */
static int note(const plan *p, const call *c, int way) {
  if (!report_path[0]) return 1;
  int excl = p->for_good ? 0 : O_EXCL;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, report_path,
                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | excl, 0600);
  if (fd < 0) return 0;
  char line[128];
  void *frames[FRAMES];
  int n = snprintf(line, sizeof line, "%d %s %s\n", (int)getpid(), c->name, way_name(way));
  syscall(SYS_write, fd, line, (size_t)n);
  backtrace_symbols_fd(frames, backtrace(frames, FRAMES), fd);
  syscall(SYS_close, fd);
  return 1;
}

static int has(const call *c, int way) {
  for (int i = 0; c->ways[i]; i++)
    if (c->ways[i] == way) return 1;
  return 0;
}

static int fails(plan *p, const call *c, int way) {
  int kept = errno;
  sigset_t mask;
  hold_signals(&mask);
  int allowed = note(p, c, way);
  let_signals(&mask);
  errno = kept;
  if (!allowed) {
    p->kind = 0;
    return 0;
  }
  snprintf(p->last, sizeof p->last, "%s %s", c->name, way_name(way));
  p->failures++;
  return way;
}

/* What the call has to do: 0: go on; an errno; SHORT; SPURIOUS. */
static int due(const call *c, const void *from) {
  plan *p = the;
  if (p->kind != c->kind || !c->ways[0] || !is_ours(from)) return 0;
  p->calls++;
  int error = p->error;
  if (error) {
    if (!has(c, error) || (passes(error) && p->every++ % 2)) return 0;
    return fails(p, c, error);
  }
  if (--p->left != 0) return 0;
  int n = 0;
  while (c->ways[n]) n++;
  int way = c->ways[p->way % n];
  if (!fails(p, c, way)) return 0;
  if (p->for_good) p->error = way;
  return way;
}

/* ---- arming ---------------------------------------------------------------------------------- */

EXPORT void fault_arm(int kind, long n, int way, int for_good) {
  plan *p = the;
  p->kind = 0;
  p->left = n;
  p->calls = p->failures = 0;
  p->way = way;
  p->for_good = for_good;
  p->error = 0;
  p->every = 0;
  p->last[0] = 0;
  p->kind = kind;
}

EXPORT long fault_disarm(void) {
  the->kind = 0;
  return the->failures;
}

EXPORT long fault_calls(void) { return the->calls; }
EXPORT const char *fault_last(void) { return the->last; }

static void arm_by_environment(const char *mine) {
  char who[16], what[16];
  long n;
  int way, for_good;
  const char *spec = getenv("WHIPRAY_FAULT"), *report = getenv("WHIPRAY_FAULT_REPORT");
  if (!spec || !report ||
      sscanf(spec, "%15[^:]:%15[^:]:%ld:%d:%d", who, what, &n, &way, &for_good) != 5 ||
      strcmp(who, mine) != 0)
    return;
  snprintf(report_path, sizeof report_path, "%s", report);
  fault_arm(strcmp(what, "memory") == 0 ? FAULT_MEMORY : FAULT_CALLS, n, way, for_good);
}

static plan *new_plan(void) {
  void *p = (void *)syscall(SYS_mmap, NULL, sizeof(plan), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? &quiet : p;
}

static void in_child(void) {
  the = new_plan();
  if (role == FORKER) {
    role = WORKER;
    arm_by_environment("worker");
  }
}

static void on_crash(int signo) {
  void *frames[32];
  backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
  signal(signo, SIG_DFL);
  raise(signo);
}

/* Before any other constructor of a C test. */
__attribute__((constructor(200))) static void begin(void) {
  void *frame[1];
  (void)backtrace(frame, 1); /* loads what it needs, once */
  the = new_plan();
  pthread_atfork(NULL, NULL, in_child);
  if (strcmp(program_invocation_short_name, "whiprayd") == 0) role = DAEMON;
  else if (getenv("WHIPRAY_SESSION_DIR")) role = FORKER;
  if (role == DAEMON) signal(SIGSEGV, on_crash);
  if (role == DAEMON) signal(SIGABRT, on_crash);
  if (role == DAEMON) arm_by_environment("daemon");
  if (role == FORKER) arm_by_environment("forker");
}

/* ---- the calls ------------------------------------------------------------------------------- */

#define FROM __builtin_return_address(0)
#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define WAYS(name, ...) \
  static const call c = {#name, FAULT_CALLS, {__VA_ARGS__}}; \
  int way = due(&c, FROM)

/* A call that fails with an errno and `bad`. */
#define CALL(type, bad, name, params, args, ...) \
  EXPORT type name params { \
    REAL(name); \
    WAYS(name, __VA_ARGS__); \
    if (!way) return real args; \
    errno = way; \
    return bad; \
  }

/* Who hears that the other end has gone finds it gone from then on. */
static int hears(int fd, int way) {
  if (way == EPIPE || way == ECONNRESET) shutdown(fd, SHUT_RDWR);
  errno = way;
  return -1;
}

/* A call that moves bytes: SHORT moves one. */
#define MOVE(name, params, args, one, ...) \
  EXPORT ssize_t name params { \
    REAL(name); \
    WAYS(name, __VA_ARGS__); \
    if (way == SHORT) return real one; \
    return way ? hears(fd, way) : real args; \
  }

#define NO_FD EMFILE, ENFILE, ENOMEM

CALL(int, -1, mkdir, (const char *path, mode_t mode), (path, mode), ENOSPC, EACCES, EIO)
CALL(FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode), NO_FD)
CALL(DIR *, NULL, opendir, (const char *path), (path), NO_FD)
CALL(DIR *, NULL, fdopendir, (int fd), (fd), ENOMEM)
CALL(int, -1, statvfs, (const char *path, struct statvfs *v), (path, v), EIO, ENOMEM)
CALL(int, -1, flock, (int fd, int how), (fd, how), ENOLCK)
CALL(int, -1, ftruncate, (int fd, off_t size), (fd, size), ENOSPC, EIO)
CALL(int, -1, fallocate, (int fd, int mode, off_t off, off_t n), (fd, mode, off, n), ENOSPC, EINTR,
     EIO)
CALL(off_t, -1, lseek, (int fd, off_t off, int how), (fd, off, how), EIO)
CALL(int, -1, socket, (int a, int b, int p), (a, b, p), NO_FD)
CALL(int, -1, socketpair, (int a, int b, int p, int fds[2]), (a, b, p, fds), NO_FD)
CALL(int, -1, bind, (int fd, __CONST_SOCKADDR_ARG a, socklen_t n), (fd, a, n), ENOSPC, ENOMEM)
CALL(int, -1, listen, (int fd, int n), (fd, n), ENOMEM)
CALL(int, -1, connect, (int fd, __CONST_SOCKADDR_ARG a, socklen_t n), (fd, a, n), EINTR,
     ECONNREFUSED, ENOMEM)
CALL(int, -1, accept4, (int fd, __SOCKADDR_ARG a, socklen_t *n, int flags), (fd, a, n, flags),
     EMFILE, ECONNABORTED, EINTR, ENOMEM)
CALL(int, -1, getsockopt, (int fd, int l, int o, void *v, socklen_t *n), (fd, l, o, v, n), ENOMEM)
CALL(int, -1, epoll_create1, (int flags), (flags), NO_FD)
CALL(int, -1, epoll_pwait, (int fd, struct epoll_event *e, int n, int ms, const sigset_t *s),
     (fd, e, n, ms, s), EINTR)
CALL(int, -1, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms), EINTR)
CALL(int, -1, eventfd, (unsigned n, int flags), (n, flags), NO_FD)
CALL(int, -1, ppoll, (struct pollfd *p, nfds_t n, const struct timespec *t, const sigset_t *s),
     (p, n, t, s), EINTR, ENOMEM)
CALL(int, -1, madvise, (void *p, size_t n, int advice), (p, n, advice), ENOMEM, EIO)
CALL(void *, MAP_FAILED, mmap, (void *p, size_t n, int prot, int flags, int fd, off_t off),
     (p, n, prot, flags, fd, off), ENOMEM, EAGAIN)
CALL(int, -1, chdir, (const char *path), (path), EIO, ENOMEM)
CALL(int, -1, execvpe, (const char *path, char *const *argv, char *const *env), (path, argv, env),
     ENOMEM, EIO, EAGAIN)
CALL(int, -1, waitid, (idtype_t t, id_t id, siginfo_t *i, int how), (t, id, i, how), EINTR)

MOVE(pread, (int fd, void *p, size_t n, off_t off), (fd, p, n, off), (fd, p, n ? 1 : 0, off), EIO,
     EINTR, SHORT)
MOVE(pwrite, (int fd, const void *p, size_t n, off_t off), (fd, p, n, off),
     (fd, p, n ? 1 : 0, off), ENOSPC, EINTR, EIO, SHORT)
MOVE(send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags),
     (fd, p, n ? 1 : 0, flags), EINTR, ENOMEM, EPIPE, SHORT)
MOVE(recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags), (fd, p, n ? 1 : 0, flags),
     EINTR, ENOMEM, ECONNRESET, SHORT)

EXPORT ssize_t getrandom(void *p, size_t n, unsigned flags) {
  REAL(getrandom);
  WAYS(getrandom, EINTR, SHORT);
  if (way == SHORT) return real(p, n ? 1 : 0, flags);
  return way ? hears(-1, way) : real(p, n, flags);
}

/* ---- calls with more to them ----------------------------------------------------------------- */

/* One byte of a message; its descriptors go with that. */
static struct msghdr first_byte(const struct msghdr *m, struct iovec *part) {
  struct msghdr one = *m;
  *part = m->msg_iov[0];
  part->iov_len = 1;
  one.msg_iov = part;
  one.msg_iovlen = 1;
  return one;
}

static int can_be_short(const struct msghdr *m) { return m->msg_iovlen && m->msg_iov[0].iov_len; }

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags) {
  REAL(sendmsg);
  WAYS(sendmsg, EINTR, ENOMEM, EPIPE, SHORT);
  struct iovec part;
  if (!way || (way == SHORT && !can_be_short(m))) return real(fd, m, flags);
  if (way == SHORT) {
    struct msghdr one = first_byte(m, &part);
    return real(fd, &one, flags);
  }
  return hears(fd, way);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags) {
  REAL(recvmsg);
  WAYS(recvmsg, EINTR, ENOMEM, ECONNRESET, SHORT);
  struct iovec part;
  if (!way || (way == SHORT && !can_be_short(m))) return real(fd, m, flags);
  if (way == SHORT) {
    struct msghdr one = first_byte(m, &part);
    ssize_t n = real(fd, &one, flags);
    m->msg_controllen = one.msg_controllen;
    m->msg_flags = one.msg_flags;
    return n;
  }
  return hears(fd, way);
}

/* A file, a stream, or something else such as an eventfd: they fail in ways of their own. */
static int kind_of(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return 2;
  return S_ISREG(st.st_mode) ? 0 : S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ? 1 : 2;
}

EXPORT ssize_t read(int fd, void *p, size_t n) {
  REAL(read);
  static const call c[] = {{"read", FAULT_CALLS, {EIO, EINTR, SHORT}},
                           {"read", FAULT_CALLS, {EINTR, SHORT}},
                           {"read", FAULT_CALLS, {EINTR}}};
  int kind = the->kind ? kind_of(fd) : 0;
  if (kind == 1 && role == DAEMON && n == SIGNALS) kind = 2;
  int way = due(&c[kind], FROM);
  if (way == SHORT) return real(fd, p, n ? 1 : 0);
  if (!way) return real(fd, p, n);
  errno = way;
  return -1;
}

EXPORT ssize_t write(int fd, const void *p, size_t n) {
  REAL(write);
  static const call c[] = {{"write", FAULT_CALLS, {ENOSPC, EINTR, EIO, SHORT}},
                           {"write", FAULT_CALLS, {EINTR, EAGAIN, SHORT}},
                           {"write", FAULT_CALLS, {EINTR}}};
  int kind = the->kind ? kind_of(fd) : 0;
  if (kind == 1 && n <= PIPE_BUF) kind = 2; /* all or nothing */
  int way = due(&c[kind], FROM);
  if (way == SHORT) return real(fd, p, n ? 1 : 0);
  if (!way) return real(fd, p, n);
  errno = way;
  return -1;
}

static int mode_of(int flags, va_list ap) { return flags & O_CREAT ? va_arg(ap, int) : 0; }

EXPORT int open(const char *path, int flags, ...) {
  REAL(open);
  va_list ap;
  va_start(ap, flags);
  int mode = mode_of(flags, ap);
  va_end(ap);
  static const call making = {"open", FAULT_CALLS, {NO_FD, ENOSPC, EACCES}},
                    reading = {"open", FAULT_CALLS, {NO_FD, EACCES}};
  int way = due(flags & O_CREAT ? &making : &reading, FROM);
  if (!way) return real(path, flags, mode);
  errno = way;
  return -1;
}

EXPORT int openat(int dir, const char *path, int flags, ...) {
  REAL(openat);
  va_list ap;
  va_start(ap, flags);
  int mode = mode_of(flags, ap);
  va_end(ap);
  WAYS(openat, NO_FD, EACCES);
  if (!way) return real(dir, path, flags, mode);
  errno = way;
  return -1;
}

EXPORT int fcntl(int fd, int command, ...) {
  REAL(fcntl);
  va_list ap;
  va_start(ap, command);
  long argument = va_arg(ap, long);
  va_end(ap);
  static const call dup = {"fcntl", FAULT_CALLS, {EMFILE}},
                    other = {"fcntl", FAULT_CALLS, {ENOMEM}};
  int copies = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
  int way = due(copies ? &dup : &other, FROM);
  if (!way) return real(fd, command, argument);
  errno = way;
  return -1;
}

EXPORT void *mremap(void *p, size_t old, size_t n, int flags, ...) {
  REAL(mremap);
  va_list ap;
  va_start(ap, flags);
  void *to = va_arg(ap, void *);
  va_end(ap);
  WAYS(mremap, ENOMEM);
  if (!way) return real(p, old, n, flags, to);
  errno = way;
  return MAP_FAILED;
}

/* libuv aborts when its first pipe cannot be had: a daemon that has just been started. */
EXPORT int pipe2(int fds[2], int flags) {
  REAL(pipe2);
  static atomic_int before;
  if (role == DAEMON && !before++) return real(fds, flags);
  WAYS(pipe2, NO_FD);
  if (!way) return real(fds, flags);
  errno = way;
  return -1;
}

EXPORT int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg) {
  REAL(pthread_create);
  WAYS(pthread_create, EAGAIN);
  return way ? way : real(t, a, run, arg);
}

/* The child of a real vfork would return into this function's frame. */
EXPORT pid_t vfork(void) {
  WAYS(vfork, EAGAIN, ENOMEM);
  if (!way) return _Fork();
  errno = way;
  return -1;
}

/* os.fork of the fork server is the interpreter's call. */
EXPORT pid_t fork(void) {
  REAL(fork);
  static const call c = {"fork", FAULT_CALLS, {EAGAIN, ENOMEM}};
  int way = role == FORKER ? due(&c, &anybody) : due(&c, FROM);
  if (!way) return real();
  errno = way;
  return -1;
}

static atomic_int crash; /* the signal by which a child crashed */

EXPORT int fault_crash(void) { return atomic_exchange(&crash, 0); }

EXPORT pid_t waitpid(pid_t pid, int *status, int how) {
  REAL(waitpid);
  WAYS(waitpid, EINTR);
  if (way) {
    errno = way;
    return -1;
  }
  pid_t got = real(pid, status, how);
  if (got > 0 && status && WIFSIGNALED(*status) && WTERMSIG(*status) != SIGKILL)
    crash = WTERMSIG(*status);
  return got;
}

static const call by_number[] = {
    [SYS_memfd_create] = {"memfd_create", FAULT_CALLS, {NO_FD, EINVAL}},
    [SYS_pidfd_open] = {"pidfd_open", FAULT_CALLS, {NO_FD}},
    [SYS_close_range] = {"close_range", FAULT_CALLS, {ENOSYS}},
    [SYS_futex] = {"futex", FAULT_CALLS, {EINTR, SPURIOUS}},
};

EXPORT long syscall(long number, ...) {
  REAL(syscall);
  va_list ap;
  long a[6];
  va_start(ap, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(ap, long);
  va_end(ap);
  int known = number >= 0 && number < (long)(sizeof by_number / sizeof by_number[0]) &&
              by_number[number].name && (number != SYS_futex || (a[1] & 127) == FUTEX_WAIT);
  int way = known ? due(&by_number[number], FROM) : 0;
  if (way == SPURIOUS) return 0;
  if (!way) return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  errno = way;
  return -1;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int refused(const char *name, const void *from) {
  const call c = {name, FAULT_MEMORY, {ENOMEM}};
  int way = due(&c, from);
  if (way) errno = way;
  return way;
}

#ifdef FAULTS_LINKED /* by the linker's --wrap: a sanitizer has functions of its own */
#define MEMORY(name) __wrap_##name
#define REAL_MEMORY(name) __real_##name
#else
#define MEMORY(name) name
#define REAL_MEMORY(name) __libc_##name
#endif

extern void *REAL_MEMORY(malloc)(size_t n), *REAL_MEMORY(calloc)(size_t n, size_t width),
    *REAL_MEMORY(realloc)(void *p, size_t n);
EXPORT void *MEMORY(malloc)(size_t n);
EXPORT void *MEMORY(calloc)(size_t n, size_t width);
EXPORT void *MEMORY(realloc)(void *p, size_t n);

void *MEMORY(malloc)(size_t n) { return refused("malloc", FROM) ? NULL : REAL_MEMORY(malloc)(n); }

void *MEMORY(calloc)(size_t n, size_t width) {
  return refused("calloc", FROM) ? NULL : REAL_MEMORY(calloc)(n, width);
}

void *MEMORY(realloc)(void *p, size_t n) {
  return refused("realloc", FROM) ? NULL : REAL_MEMORY(realloc)(p, n);
}

/* ---- memory of the interpreter --------------------------------------------------------------- */

#ifndef FAULTS_LINKED
/* PyMemAllocatorEx and enum PyMemAllocatorDomain of the C API. */
typedef struct {
  void *ctx;
  void *(*malloc)(void *ctx, size_t n);
  void *(*calloc)(void *ctx, size_t n, size_t width);
  void *(*realloc)(void *ctx, void *p, size_t n);
  void (*free)(void *ctx, void *p);
} allocator;
enum { DOMAIN_MEM = 1, DOMAIN_OBJ = 2 };

static allocator before[3];

/* Between the allocation and _core.so lies nothing but functions of the interpreter that do not run
 * Python code. */
static int asked_by_core(void) {
  void *frames[24];
  int n = backtrace(frames, 24);
  for (int i = 2; i < n; i++) {
    Dl_info found;
    if (is_ours(frames[i])) return 1;
    if (!dladdr(frames[i], &found)) return 0;
    if (found.dli_sname && strncmp(found.dli_sname, "_PyEval_Eval", 12) == 0) return 0;
  }
  return 0;
}

static int denied(const char *name) {
  const call c = {name, FAULT_PYTHON, {ENOMEM}};
  static _Thread_local int looking;
  if (the->kind != FAULT_PYTHON || looking) return 0;
  sigset_t kept;
  looking = 1;
  hold_signals(&kept);
  int ours = asked_by_core();
  let_signals(&kept);
  int way = ours ? due(&c, &anybody) : 0;
  looking = 0;
  return way;
}

static void *py_malloc(void *ctx, size_t n) {
  allocator *a = ctx;
  return denied("PyMem_Malloc") ? NULL : a->malloc(a->ctx, n);
}
static void *py_calloc(void *ctx, size_t n, size_t width) {
  allocator *a = ctx;
  return denied("PyMem_Calloc") ? NULL : a->calloc(a->ctx, n, width);
}
static void *py_realloc(void *ctx, void *p, size_t n) {
  allocator *a = ctx;
  return denied("PyMem_Realloc") ? NULL : a->realloc(a->ctx, p, n);
}
static void py_free(void *ctx, void *p) {
  allocator *a = ctx;
  a->free(a->ctx, p);
}

EXPORT void fault_watch_python(void) {
  typedef void exchange(int domain, allocator *a);
  exchange *get = (exchange *)dlsym(RTLD_DEFAULT, "PyMem_GetAllocator"),
           *set = (exchange *)dlsym(RTLD_DEFAULT, "PyMem_SetAllocator");
  for (int domain = DOMAIN_MEM; get && set && domain <= DOMAIN_OBJ; domain++) {
    get(domain, &before[domain]);
    allocator ours = {&before[domain], py_malloc, py_calloc, py_realloc, py_free};
    set(domain, &ours);
  }
}
#endif
