/* os/os.h - the whole contract with the operating system.
 * Every call returns 0 (or a descriptor or count >= 0) or a negative WR_ code with errno kept.
 * No call allocates; none keeps a reference to its arguments. */
#ifndef WR_OS_OS_H
#define WR_OS_OS_H

#include <stddef.h>
#include <stdint.h>

/* time: monotonic nanoseconds */
uint64_t wr_os_now_ns(void);
void wr_os_sleep_ns(uint64_t ns);

/* futex on a shared 32-bit word.  Wait returns WR_OK when woken or when *word != expected,
 * WR_TIMEOUT, or WR_INTR.  timeout_ns < 0 waits without end. */
int wr_os_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ns);
void wr_os_futex_wake(const _Atomic uint32_t *word, int n);

/* memory: a memfd of `size` bytes that can be neither shrunk nor grown, and its mapping */
int wr_os_memfd_create(const char *name, uint64_t size);
int wr_os_memfd_size(int fd, uint64_t *size);
int wr_os_map(int fd, uint64_t off, uint64_t len, int writable, void **addr);
/* One that can be written, in which large pages can be mapped as such; makes them, where none of
 * their bytes have been used and the system has some: those are zero. */
int wr_os_map_large(int fd, uint64_t off, uint64_t len, void **addr);
void wr_os_make_large(void *addr, uint64_t len);
int wr_os_map_over(int fd, uint64_t off, uint64_t len, void *addr); /* in place */
/* Replaces the pages of a mapping by private copies of what they hold. */
int wr_os_privatize(void *addr, uint64_t len);
/* Replaces a mapping of these bytes of the file by a private one, copy on write, or leaves it as it
 * was: what other threads write meanwhile is in the file or in the pages that are private. */
int wr_os_map_snapshot(int fd, uint64_t off, uint64_t len, void *addr);
/* Makes the copies of all pages of a private mapping; nothing written meanwhile is lost. */
int wr_os_own_pages(void *addr, uint64_t len);
void wr_os_unmap(void *addr, uint64_t len);
uint64_t wr_os_page(void); /* bytes */
/* Both best effort, on whole pages: the range is widened to their borders. */
void wr_os_populate(void *addr, uint64_t len); /* makes and maps pages */
void wr_os_map_used(const void *addr, uint64_t len); /* maps those that are there */
uint64_t wr_os_allocated(int fd); /* bytes of pages that are there */
int wr_os_next_data(int fd, uint64_t from, uint64_t *off); /* first page that is there */
int wr_os_next_hole(int fd, uint64_t from, uint64_t *off); /* first that is not */
int wr_os_punch(int fd, uint64_t off, uint64_t len); /* give pages back to the system */

/* processes */
int wr_os_pidfd_open(int pid);
int wr_os_pidfd_signal(int pidfd, int signo);
int wr_os_kill(int pid, int signo);
int wr_os_pid(void);
/* Calls before() in a process that is about to fork, and in_child() in the new one: once for all,
 * whoever forks. */
int wr_os_at_fork(void (*before)(void), void (*in_child)(void));
unsigned wr_os_uid(void);
int wr_os_die_with_parent(
    int expected_ppid);                  /* SIGKILL when the parent goes; WR_DEAD: it has gone */
int wr_os_exit_code(int pid, int *code); /* wait status of a zombie that nobody reaped yet */
int wr_os_cpu_count(void);               /* affinity and cgroup quota, at least 1 */
int wr_os_cpu_count_in(const char *top); /* ... where all paths begin with `top`, for tests */
int wr_os_cpu(void);                     /* the core that the calling thread runs on now */
/* All other threads of the machine pass a full memory barrier while this runs. */
void wr_os_barrier(void);
void wr_os_leave_cpu(void);              /* moves the thread to another core that it may use */
/* Allows this process as many descriptors as it may have without privileges; those it spawns get
 * the limit it had before. */
void wr_os_raise_fd_limit(void);
/* Memory in use and its limit, of the cgroup of this process or of the machine, whichever is closer
 * to its limit; `cgroups`, if not NULL, is a directory to look at instead.  Page cache that the
 * kernel can drop does not count. */
typedef struct {
  uint64_t used, limit;
} wr_os_memory;
int wr_os_memory_use(const char *cgroups, wr_os_memory *m);
uint64_t wr_os_private_memory(int pid); /* resident and not shared; 0: not known */
int wr_os_memory_limit(uint64_t *bytes); /* RAM or cgroup limit, the smaller */
int wr_os_memory_limit_in(const char *top, uint64_t *bytes); /* see wr_os_cpu_count_in */
uint64_t wr_os_pids_limit_in(const char *top); /* tasks of the cgroup; UINT64_MAX: any number */

/* unix sockets: blocking stream pairs, listening paths, peer credentials, one descriptor passed */
int wr_os_socketpair(int fds[2]);
int wr_os_listen(const char *path, int backlog);
int wr_os_connect(const char *path);
int wr_os_peer_uid(int fd, unsigned *uid, int *pid);
int wr_os_recv_fd(int sock, void *buf, size_t len, int *fd);      /* bytes read; *fd = -1: none */
int wr_os_send_all(int sock, const void *buf, size_t len);
/* Both, one behind the other, without waiting; *sent says how many bytes went out, also after an
 * error.  WR_AGAIN: there was no room for more. */
int wr_os_send_two(int sock, const void *a, size_t a_len, const void *b, size_t b_len,
                   size_t *sent);
int wr_os_recv_all(int sock, void *buf, size_t len); /* WR_CLOSED on end of stream */
int wr_os_wait_readable(int fd, int64_t timeout_ns); /* WR_OK, WR_TIMEOUT, WR_INTR */
int wr_os_wait_writable(int fd, int64_t timeout_ns);
void wr_os_close(int fd);

/* Calls run(arg) in a thread that nobody waits for and no signal reaches.  WR_NOMEM: not called. */
int wr_os_run_beside(void (*run)(void *arg), void *arg);
/* the calling thread's name as ps shows it; cut to 15 bytes */
void wr_os_set_name(const char *name);

#endif
