/* Ending a process together with what it has started. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/status.h"
#include "os/files.h"
#include "os/os.h"
#include "os/spawn.h"

#define MOST_CHILDREN 64u

typedef struct {
  int parent;
  uint32_t n;
  int pidfds[MOST_CHILDREN];
} family;

/* A child of `parent` in another process group. */
static int is_apart(int pid, int parent) {
  char path[64];
  int ppid = 0, group = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *f = fopen(path, "re");
  if (!f) return 0;
  int ch, found = 0; /* the name in parentheses may hold anything, but the numbers hold none */
  while ((ch = getc(f)) != EOF)
    if (ch == ')') found = fscanf(f, " %*c %d %d", &ppid, &group) == 2;
  fclose(f);
  return found && ppid == parent && group != parent;
}

static void add(family *f, int pid) {
  int fd = pid > 1 && f->n < MOST_CHILDREN ? wr_os_pidfd_open(pid) : -1;
  if (fd < 0) return;
  if (is_apart(pid, f->parent))
    f->pidfds[f->n++] = fd;
  else
    close(fd);
}

/* The children of one thread. */
static void add_all(const char *thread, void *arg) {
  family *f = arg;
  char path[96];
  int pid;
  if (thread[0] == '.') return;
  snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", f->parent, thread);
  FILE *list = fopen(path, "re");
  if (!list) return;
  while (fscanf(list, "%d", &pid) == 1) add(f, pid);
  fclose(list);
}

int wr_os_kill_with_children(int pidfd, int pid) {
  family f = {.parent = pid};
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  (void)wr_os_list_dir(path, "", add_all, &f); /* without /proc, they stay */
  int rc = wr_os_pidfd_signal(pidfd, SIGKILL);
  for (uint32_t i = 0; i < f.n; i++) {
    (void)wr_os_pidfd_signal(f.pidfds[i], SIGTERM);
    close(f.pidfds[i]);
  }
  return rc;
}

void wr_os_kill_group(int pid) {
  if (pid > 1) (void)kill(-pid, SIGKILL);
}
