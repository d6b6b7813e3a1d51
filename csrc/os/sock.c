#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"

int wr_os_socketpair(int fds[2]) {
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ? WR_OK : WR_IO;
}

static int unix_address(const char *path, struct sockaddr_un *a) {
  size_t len = strlen(path);
  if (len == 0 || len >= sizeof a->sun_path) {
    errno = ENAMETOOLONG;
    return WR_IO;
  }
  memset(a, 0, sizeof *a);
  a->sun_family = AF_UNIX;
  memcpy(a->sun_path, path, len);
  return WR_OK;
}

static int close_failed(int fd) {
  int kept = errno;
  close(fd);
  errno = kept;
  return WR_IO;
}

int wr_os_listen(const char *path, int backlog) {
  struct sockaddr_un a;
  if (unix_address(path, &a) != WR_OK) return WR_IO;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return WR_IO;
  if (bind(fd, (const struct sockaddr *)&a, sizeof a) != 0 || listen(fd, backlog) != 0)
    return close_failed(fd);
  return fd;
}

int wr_os_connect(const char *path) {
  struct sockaddr_un a;
  if (unix_address(path, &a) != WR_OK) return WR_IO;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return WR_IO;
  int rc;
  do rc = connect(fd, (const struct sockaddr *)&a, sizeof a);
  while (rc != 0 && errno == EINTR);
  return rc == 0 ? fd : close_failed(fd);
}

int wr_os_peer_uid(int fd, unsigned *uid, int *pid) {
  struct ucred c;
  socklen_t len = sizeof c;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) != 0) return WR_IO;
  *uid = (unsigned)c.uid;
  if (pid) *pid = (int)c.pid;
  return WR_OK;
}

static int broken(int error) { return error == EPIPE || error == ECONNRESET; }

int wr_os_send_all(int sock, const void *buf, size_t len) {
  const char *p = buf;
  while (len > 0) {
    ssize_t n = send(sock, p, len, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return broken(errno) ? WR_CLOSED : WR_IO;
    p += n;
    len -= (size_t)n;
  }
  return WR_OK;
}

int wr_os_send_two(int sock, const void *a, size_t a_len, const void *b, size_t b_len,
                   size_t *sent) {
  for (*sent = 0; *sent < a_len + b_len;) {
    size_t from_b = *sent > a_len ? *sent - a_len : 0;
    struct iovec iov[2] = {
        {.iov_base = (char *)(uintptr_t)a + (*sent < a_len ? *sent : a_len),
         .iov_len = *sent < a_len ? a_len - *sent : 0},
        {.iov_base = (char *)(uintptr_t)b + from_b, .iov_len = b_len - from_b}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t n = sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return WR_AGAIN;
    if (n < 0) return broken(errno) ? WR_CLOSED : WR_IO;
    *sent += (size_t)n;
  }
  return WR_OK;
}

/* Keeps the first descriptor of a message and closes any that were not asked for. */
static int take_fds(struct msghdr *m) {
  int kept = -1;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < n; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      if (kept < 0)
        kept = fd;
      else
        close(fd);
    }
  }
  return kept;
}

int wr_os_recv_fd(int sock, void *buf, size_t len, int *fd) {
  union {
    char bytes[CMSG_SPACE(4 * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec iov = {.iov_base = buf, .iov_len = len};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                     .msg_controllen = sizeof control};
  *fd = -1;
  ssize_t n;
  do n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return WR_AGAIN;
  if (n < 0) return broken(errno) ? WR_CLOSED : WR_IO;
  *fd = take_fds(&m);
  return n == 0 && len > 0 ? WR_CLOSED : (int)n;
}

int wr_os_recv_all(int sock, void *buf, size_t len) {
  char *p = buf;
  while (len > 0) {
    ssize_t n = recv(sock, p, len, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return broken(errno) ? WR_CLOSED : WR_IO;
    if (n == 0) return WR_CLOSED;
    p += n;
    len -= (size_t)n;
  }
  return WR_OK;
}

static int wait_for(int fd, short events, int64_t timeout_ns) {
  struct pollfd p = {.fd = fd, .events = events};
  struct timespec t = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
  int rc = ppoll(&p, 1, timeout_ns < 0 ? NULL : &t, NULL);
  if (rc > 0) return WR_OK;
  if (rc == 0) return WR_TIMEOUT;
  return errno == EINTR ? WR_INTR : WR_IO;
}

int wr_os_wait_readable(int fd, int64_t timeout_ns) { return wait_for(fd, POLLIN, timeout_ns); }

int wr_os_wait_writable(int fd, int64_t timeout_ns) { return wait_for(fd, POLLOUT, timeout_ns); }

void wr_os_close(int fd) {
  if (fd >= 0) close(fd);
}
