#include "os/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"

int wr_os_mkdir(const char *path) {
  if (mkdir(path, 0700) == 0) return WR_OK;
  return errno == EEXIST ? WR_EXISTS : WR_IO;
}

int wr_os_private_dir(const char *path) {
  struct stat st;
  int rc = wr_os_mkdir(path);
  if (rc != WR_EXISTS) return rc;
  if (lstat(path, &st) != 0) return WR_IO;
  if (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 022) != 0) return WR_DENIED;
  return WR_OK;
}

/* Removes what is inside the directory `dirfd`, which it closes. */
static void remove_inside(int dirfd, int depth) {
  DIR *dir = fdopendir(dirfd);
  if (!dir) {
    close(dirfd);
    return;
  }
  for (struct dirent *e; (e = readdir(dir));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (unlinkat(dirfd, e->d_name, 0) == 0 || depth == 0) continue;
    int sub = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0) continue;
    remove_inside(sub, depth - 1);
    unlinkat(dirfd, e->d_name, AT_REMOVEDIR);
  }
  closedir(dir);
}

void wr_os_remove_tree(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0) remove_inside(fd, 16);
  rmdir(path);
}

int wr_os_lock_file(const char *path, int create) {
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
  if (fd < 0) return errno == ENOENT ? WR_NOTFOUND : WR_IO;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  int rc = errno == EWOULDBLOCK ? WR_AGAIN : WR_IO;
  close(fd);
  return rc;
}

int wr_os_open_append(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  return fd >= 0 ? fd : WR_IO;
}

int wr_os_write_some(int fd, const void *buf, size_t len) {
  ssize_t n;
  do n = write(fd, buf, len);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? (int)n : WR_IO;
}

void wr_os_read_tail(const char *path, char *out, size_t cap) {
  if (cap == 0) return;
  out[0] = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  off_t size = lseek(fd, 0, SEEK_END);
  off_t want = (off_t)cap - 1;
  lseek(fd, size > want ? size - want : 0, SEEK_SET);
  ssize_t n = read(fd, out, cap - 1);
  out[n > 0 ? n : 0] = 0;
  close(fd);
}

int64_t wr_os_wall_seconds(void) { return (int64_t)time(NULL); }

int64_t wr_os_dir_age_s(const char *path) {
  struct stat st;
  if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return -1;
  int64_t age = wr_os_wall_seconds() - (int64_t)st.st_mtime;
  return age > 0 ? age : 0;
}

int wr_os_list_dir(const char *path, const char *prefix, void (*visit)(const char *name, void *arg),
                   void *arg) {
  DIR *dir = opendir(path);
  if (!dir) return WR_IO;
  for (struct dirent *e; (e = readdir(dir));)
    if (strncmp(e->d_name, prefix, strlen(prefix)) == 0) visit(e->d_name, arg);
  closedir(dir);
  return WR_OK;
}

void wr_os_redirect_output(int fd) {
  dup2(fd, STDOUT_FILENO);
  dup2(fd, STDERR_FILENO);
}

char **wr_os_environment(void) { return environ; }

int wr_os_random(void *out, size_t n) {
  size_t got = 0;
  while (got < n) {
    ssize_t k = getrandom((char *)out + got, n - got, 0);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return WR_IO;
    got += (size_t)k;
  }
  return WR_OK;
}

/* ---- files of values ------------------------------------------------------------------------- */

#define AT_ONCE ((size_t)1 << 30) /* the kernel takes a little less than 2 GiB in one call */

int wr_os_create_file(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  return fd >= 0 ? fd : WR_IO;
}

int wr_os_open_file(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  return fd >= 0 ? fd : WR_IO;
}

int wr_os_write_at(int fd, const void *buf, size_t len, uint64_t off) {
  const char *p = buf;
  while (len) {
    ssize_t n = pwrite(fd, p, len < AT_ONCE ? len : AT_ONCE, (off_t)off);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return WR_IO;
    p += n;
    len -= (size_t)n;
    off += (uint64_t)n;
  }
  return WR_OK;
}

int wr_os_read_at(int fd, void *buf, size_t len, uint64_t off) {
  char *p = buf;
  while (len) {
    ssize_t n = pread(fd, p, len < AT_ONCE ? len : AT_ONCE, (off_t)off);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return WR_IO;
    if (n == 0) return WR_CLOSED;
    p += n;
    len -= (size_t)n;
    off += (uint64_t)n;
  }
  return WR_OK;
}

void wr_os_remove_file(const char *path) { unlink(path); }

int wr_os_disk_room(const char *path, uint64_t *free, uint64_t *all) {
  struct statvfs v;
  if (statvfs(path, &v) != 0) return WR_IO;
  *free = (uint64_t)v.f_bavail * v.f_frsize;
  *all = (uint64_t)v.f_blocks * v.f_frsize;
  return WR_OK;
}

int wr_os_disk_is_full(int error) { return error == ENOSPC || error == EDQUOT; }

int wr_os_error_passes(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN ||
         error == EINTR;
}

int wr_os_disk_full(void) {
  errno = ENOSPC;
  return WR_IO;
}
