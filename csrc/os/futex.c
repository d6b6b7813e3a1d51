#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"

int wr_os_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ns) {
  struct timespec t = {0, 0};
  if (timeout_ns >= 0) {
    t.tv_sec = (time_t)(timeout_ns / 1000000000);
    t.tv_nsec = (long)(timeout_ns % 1000000000);
  }
  long rc = syscall(SYS_futex, (const void *)word, FUTEX_WAIT, expected,
                    timeout_ns < 0 ? NULL : &t, NULL, 0);
  if (rc == 0 || errno == EAGAIN) return WR_OK;
  if (errno == ETIMEDOUT) return WR_TIMEOUT;
  if (errno == EINTR) return WR_INTR;
  return WR_IO;
}

void wr_os_futex_wake(const _Atomic uint32_t *word, int n) {
  syscall(SYS_futex, (const void *)word, FUTEX_WAKE, n < 0 ? INT_MAX : n, NULL, NULL, 0);
}
