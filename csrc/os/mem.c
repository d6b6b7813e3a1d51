#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define LARGE ((uintptr_t)2 << 20) /* bytes of a large page, where there are such */
#define AT_ONCE (16 * LARGE)
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static int open_memfd(const char *name) {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  /* Kernels before 6.3 do not know MFD_NOEXEC_SEAL; newer ones may demand it. */
  int fd = (int)syscall(SYS_memfd_create, name, flags | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = (int)syscall(SYS_memfd_create, name, flags);
  return fd;
}

int wr_os_memfd_create(const char *name, uint64_t size) {
  int fd = open_memfd(name);
  if (fd < 0) return WR_IO;
  if (ftruncate(fd, (off_t)size) == 0 &&
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
    return fd;
  int kept = errno;
  close(fd);
  errno = kept;
  return WR_IO;
}

int wr_os_memfd_size(int fd, uint64_t *size) {
  struct stat st;
  if (fstat(fd, &st) != 0) return WR_IO;
  *size = (uint64_t)st.st_size;
  return WR_OK;
}

int wr_os_map(int fd, uint64_t off, uint64_t len, int writable, void **addr) {
  void *p = mmap(NULL, len, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED | MAP_NORESERVE,
                 fd, (off_t)off);
  if (p == MAP_FAILED) return errno == ENOMEM ? WR_NOMEM : WR_IO;
  *addr = p;
  return WR_OK;
}

/* Addresses for a mapping that lies as the file does with regard to large pages; NULL. */
static uint8_t *addresses(uint64_t off, uint64_t len) {
  uint8_t *p = mmap(NULL, len + LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                    0);
  if (p == MAP_FAILED) return NULL;
  uint64_t before = (off - (uintptr_t)p) % LARGE;
  if (before) munmap(p, before);
  munmap(p + before + len, LARGE - before);
  return p + before;
}

int wr_os_map_large(int fd, uint64_t off, uint64_t len, void **addr) {
  void *p = len < LARGE ? NULL : addresses(off, len);
  if (!p) return wr_os_map(fd, off, len, 1, addr);
  *addr = p;
  int rc = wr_os_map_over(fd, off, len, p);
  if (rc != WR_OK) munmap(p, len);
  return rc;
}

/* A page that is there is made a large one with those around it that are not. */
void wr_os_make_large(void *addr, uint64_t len) {
  uintptr_t from = ((uintptr_t)addr + LARGE - 1) & ~(LARGE - 1);
  uintptr_t to = ((uintptr_t)addr + len) & ~(LARGE - 1);
  for (; from < to; from += AT_ONCE) {
    uintptr_t end = to - from < AT_ONCE ? to : from + AT_ONCE;
    for (uintptr_t at = from; at < end; at += LARGE) (void)*(volatile uint8_t *)at;
    if (madvise((void *)from, end - from, MADV_COLLAPSE) != 0) return;
  }
}

int wr_os_map_over(int fd, uint64_t off, uint64_t len, void *addr) {
  void *p = mmap(addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd,
                 (off_t)off);
  return p == MAP_FAILED ? WR_NOMEM : WR_OK;
}

uint64_t wr_os_page(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

int wr_os_privatize(void *addr, uint64_t len) {
  const uintptr_t page = wr_os_page();
  uintptr_t first = (uintptr_t)addr & ~(page - 1);
  uintptr_t last = ((uintptr_t)addr + len + page - 1) & ~(page - 1);
  size_t n = last - first;
  void *copy = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) return WR_NOMEM;
  memcpy(copy, (void *)first, n);
  if (mremap(copy, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)first) != MAP_FAILED) return WR_OK;
  munmap(copy, n);
  return WR_NOMEM;
}

/* A mapping that fails in place could leave nothing there: it is made elsewhere, then moved. */
int wr_os_map_snapshot(int fd, uint64_t off, uint64_t len, void *addr) {
  void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, (off_t)off);
  if (p == MAP_FAILED) return WR_NOMEM;
  if (mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, addr) != MAP_FAILED) return WR_OK;
  munmap(p, len);
  return WR_NOMEM;
}

/* Writes to each page what stands there, unless another thread writes: that has the same effect. */
static void touch_pages(uint8_t *from, uint64_t len) {
  const uint64_t page = wr_os_page();
  for (uint64_t at = 0; at < len; at += page) {
    uint8_t seen = __atomic_load_n(from + at, __ATOMIC_RELAXED);
    (void)__atomic_compare_exchange_n(from + at, &seen, seen, 0, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED);
  }
}

int wr_os_own_pages(void *addr, uint64_t len) {
  if (madvise(addr, len, MADV_POPULATE_WRITE) == 0) return WR_OK;
  if (errno == ENOMEM || errno == EFAULT) return WR_NOMEM;
  touch_pages(addr, len); /* kernels before 5.14 */
  return WR_OK;
}

void wr_os_unmap(void *addr, uint64_t len) {
  if (addr && len) munmap(addr, len);
}

static void advise_pages(const void *addr, uint64_t len, int advice) {
  const uintptr_t page = wr_os_page();
  uintptr_t first = (uintptr_t)addr & ~(page - 1);
  uintptr_t last = ((uintptr_t)addr + len + page - 1) & ~(page - 1);
  int kept = errno;
  madvise((void *)first, last - first, advice);
  errno = kept;
}

void wr_os_populate(void *addr, uint64_t len) { advise_pages(addr, len, MADV_POPULATE_WRITE); }

/* A fault for reading maps what lies around it as well, and a shared mapping of a memfd lets it be
 * written from then on. */
void wr_os_map_used(const void *addr, uint64_t len) {
  advise_pages(addr, len, MADV_POPULATE_READ);
}

uint64_t wr_os_allocated(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static int next(int fd, uint64_t from, int what, uint64_t *off) {
  off_t at = lseek(fd, (off_t)from, what);
  if (at < 0) return errno == ENXIO ? WR_NOTFOUND : WR_IO;
  *off = (uint64_t)at;
  return WR_OK;
}

int wr_os_next_data(int fd, uint64_t from, uint64_t *off) {
  return next(fd, from, SEEK_DATA, off);
}

int wr_os_next_hole(int fd, uint64_t from, uint64_t *off) {
  return next(fd, from, SEEK_HOLE, off);
}

int wr_os_punch(int fd, uint64_t off, uint64_t len) {
  int rc;
  do rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
  while (rc != 0 && errno == EINTR);
  return rc == 0 ? WR_OK : WR_IO;
}
