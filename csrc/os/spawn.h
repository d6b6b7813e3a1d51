/* os/spawn.h - starting, ending and counting processes; used by those who start some.
 * Same rules as os/os.h. */
#ifndef WR_OS_SPAWN_H
#define WR_OS_SPAWN_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *path;         /* of the program; searched in PATH when it has no slash */
  char *const *argv, *const *env;
  const char *cwd;          /* NULL: the caller's */
  const int *fds;           /* descriptors that become 0, 1, 2, ...; the program gets no others */
  int nfds;                 /* at most WR_OS_SPAWN_FDS; an entry < 0 is /dev/null */
  int new_session;          /* a session of its own: no terminal, no signals from it */
  int die_with_parent;      /* SIGKILL when the calling thread ends */
} wr_os_spawn_spec;
#define WR_OS_SPAWN_FDS 8

/* The caller's memory is not copied, however large it is.  WR_IO with errno of what failed. */
int wr_os_spawn(const wr_os_spawn_spec *spec, int *pid);

/* Wait status of an own child: WR_OK and the child is gone; WR_AGAIN: it runs (with block, waits);
 * WR_NOTFOUND: no child of ours. */
int wr_os_reap(int pid, int block, int *status);
int wr_os_peek_child(int *pid); /* a child that has ended and was not reaped; WR_AGAIN: none */
int wr_os_adopt_orphans(void);  /* descendants whose parent dies become children of the caller */
int wr_os_parent_pid(void);
int wr_os_self_pidfd_works(void); /* WR_OK when the kernel has pidfds */
/* Of pipes without a reader, and of files at their limit: errno says that as well. */
void wr_os_ignore_write_signals(void);

extern const int wr_os_sigkill, wr_os_sigint, wr_os_sigterm, wr_os_sigchld;

/* SIGKILL to a process, and SIGTERM to those of its children that have left its process group. */
int wr_os_kill_with_children(int pidfd, int pid);
/* SIGKILL to the process group that a process has opened which nobody has reaped yet. */
void wr_os_kill_group(int pid);

int wr_os_was_killed(int status); /* by SIGKILL, which no program sends itself */
/* Describes an exit for people: "exit code 3", "killed by signal 9 (SIGKILL)". */
void wr_os_describe_status(int status, char *out, size_t cap);
int wr_os_limits_cpu_time(void); /* of this process: past the hard limit it is SIGKILL */
const char *wr_os_signal_name(int signo); /* "KILL"; "?" for a number without a name */
/* An error of the system for people: in words and, where a limit may be behind it, with the limits
 * that hold and their values: "Too many open files; limits: RLIMIT_NOFILE (ulimit -n) 256". */
void wr_os_describe_error(int error, char *out, size_t cap);
/* The same for a status: WR_IO and WR_NOMEM leave the reason in errno. */
void wr_os_describe_failure(int rc, char *out, size_t cap);

#endif
