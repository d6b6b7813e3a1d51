#include "os/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"

int wr_os_pipe(int fds[2]) { return pipe2(fds, O_CLOEXEC) == 0 ? WR_OK : WR_IO; }

int wr_os_dup(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return copy >= 0 ? copy : WR_IO;
}

int wr_os_set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? WR_OK : WR_IO;
}

static int status_of(int error) {
  if (error == EAGAIN || error == EWOULDBLOCK) return WR_AGAIN;
  return error == EPIPE || error == ECONNRESET ? WR_CLOSED : WR_IO;
}

int wr_os_read_some(int fd, void *buf, size_t len) {
  ssize_t n;
  do n = read(fd, buf, len > INT_MAX ? INT_MAX : len);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? (int)n : status_of(errno);
}

int wr_os_recv_some(int sock, void *buf, size_t len) {
  ssize_t n;
  do n = recv(sock, buf, len > INT_MAX ? INT_MAX : len, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? (int)n : status_of(errno);
}

int wr_os_send_some(int sock, const void *buf, size_t len, const int *fds, int nfds) {
  union {
    char bytes[CMSG_SPACE(WR_OS_MAX_FDS * sizeof(int))];
    struct cmsghdr align;
  } control;
  if (nfds < 0 || nfds > WR_OS_MAX_FDS) return WR_INVAL;
  struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len > INT_MAX ? INT_MAX : len};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  if (nfds > 0) {
    size_t size = (size_t)nfds * sizeof(int);
    memset(&control, 0, sizeof control);
    m.msg_control = &control;
    m.msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), fds, size);
  }
  ssize_t n;
  do n = sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? (int)n : status_of(errno);
}

int wr_os_accept(int listener) {
  int fd;
  do fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd >= 0) return fd;
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == ECONNABORTED ? WR_AGAIN : WR_IO;
}

void wr_os_shutdown(int sock) { shutdown(sock, SHUT_RDWR); }

int wr_os_wait_either(int a, int b, int64_t timeout_ns) {
  struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
  struct timespec t = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
  int rc = ppoll(p, 2, timeout_ns < 0 ? NULL : &t, NULL);
  if (rc < 0) return errno == EINTR ? 0 : WR_IO;
  return (p[0].revents ? 1 : 0) | (p[1].revents ? 2 : 0);
}

void wr_os_write_byte(int fd) {
  ssize_t n;
  do n = write(fd, "", 1);
  while (n < 0 && errno == EINTR);
}
