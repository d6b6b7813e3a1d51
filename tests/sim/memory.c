/* One segment serves all seeds.  To take a new one from the kernel and give it back, page by page,
 * cost more than the schedule that runs in it.  What session_open makes is the segment of the seed
 * before, with zeros wherever that has written. */
#include <fcntl.h>
#include <unistd.h>

#include "os/os.h"
#include "sim.h"

/* What the linker gives wr_seg_create and wr_seg_detach instead (tools/native.mk). */
int __real_wr_os_memfd_create(const char *name, uint64_t size);
int __real_wr_os_map(int fd, uint64_t off, uint64_t len, int writable, void **addr);
void __real_wr_os_unmap(void *addr, uint64_t len);
void __real_wr_os_close(int fd);
int __wrap_wr_os_memfd_create(const char *name, uint64_t size);
int __wrap_wr_os_map(int fd, uint64_t off, uint64_t len, int writable, void **addr);
void __wrap_wr_os_unmap(void *addr, uint64_t len);
void __wrap_wr_os_close(int fd);

static struct {
  int fd;
  uint64_t size;
  uint8_t *base; /* NULL: there is none yet */
} kept;

static void clear(void) {
  off_t at = 0, end;
  while ((at = lseek(kept.fd, at, SEEK_DATA)) >= 0) {
    end = lseek(kept.fd, at, SEEK_HOLE);
    CHECK(end > at);
    memset(kept.base + at, 0, (size_t)(end - at));
    at = end;
  }
}

int __wrap_wr_os_memfd_create(const char *name, uint64_t size) {
  if (!kept.base) {
    kept.fd = __real_wr_os_memfd_create(name, size);
    kept.size = size;
    return kept.fd;
  }
  CHECK_EQ(size, kept.size);
  clear();
  return kept.fd;
}

int __wrap_wr_os_map(int fd, uint64_t off, uint64_t len, int writable, void **addr) {
  void *made = kept.base;
  int rc = made ? WR_OK : __real_wr_os_map(fd, off, len, writable, &made);
  CHECK(fd == kept.fd && off == 0 && len == kept.size);
  *addr = kept.base = made;
  return rc;
}

void __wrap_wr_os_unmap(void *addr, uint64_t len) {
  if (addr != kept.base) __real_wr_os_unmap(addr, len);
}

void __wrap_wr_os_close(int fd) {
  if (!kept.base || fd != kept.fd) __real_wr_os_close(fd);
}
