/* How much memory is in use, of a cgroup and of the machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "os/cgroup.h"
#include "os/os.h"

/* The number behind `name` in a file of lines "name number"; or, without a name, the first number.
 * 0: there is none. */
static uint64_t number_in(const char *dir, const char *file, const char *name) {
  char path[2048], line[256];
  uint64_t found = 0;
  size_t n = name ? strlen(name) : 0;
  snprintf(path, sizeof path, "%s/%s", dir, file);
  FILE *f = fopen(path, "re");
  if (!f) return 0;
  while (!found && fgets(line, sizeof line, f))
    if (!name || (strncmp(line, name, n) == 0 && strchr(" :", line[n])))
      found = strtoull(line + n + (name != NULL), NULL, 10);
  fclose(f);
  return found;
}

/* Takes a pair if it leaves less room, in proportion, than what was found before. */
static void tightest(wr_os_memory *m, uint64_t used, uint64_t limit) {
  if (!limit || !used) return;
  if (!m->limit || (double)used / (double)limit > (double)m->used / (double)m->limit)
    *m = (wr_os_memory){used, limit};
}

/* What the kernel would drop before it runs short does not count. */
static uint64_t without(uint64_t used, uint64_t droppable) {
  return used > droppable ? used - droppable : 0;
}

static void look_at_group(wr_os_memory *m, const char *dir, uint64_t machine) {
  uint64_t limit = number_in(dir, "memory.max", NULL);
  if (limit) {
    tightest(m, without(number_in(dir, "memory.current", NULL),
                        number_in(dir, "memory.stat", "inactive_file")), limit);
    return;
  }
  limit = number_in(dir, "memory.limit_in_bytes", NULL);
  if (limit && limit < machine)
    tightest(m, without(number_in(dir, "memory.usage_in_bytes", NULL),
                        number_in(dir, "memory.stat", "total_inactive_file")), limit);
}

typedef struct {
  wr_os_memory *m;
  uint64_t machine;
} look;

static void look_at(const char *dir, void *arg) {
  const look *l = arg;
  look_at_group(l->m, dir, l->machine);
}

int wr_os_memory_use(const char *cgroups, wr_os_memory *m) {
  uint64_t total = number_in("/proc", "meminfo", "MemTotal") << 10;
  uint64_t free = number_in("/proc", "meminfo", "MemAvailable") << 10;
  look l = {m, total};
  *m = (wr_os_memory){0, 0};
  if (!cgroups) {
    tightest(m, without(total, free), total);
    wr_os_cgroup_walk("", NULL, look_at, &l);
    wr_os_cgroup_walk("", "memory", look_at, &l);
  } else {
    look_at_group(m, cgroups, UINT64_MAX);
  }
  return m->limit ? WR_OK : WR_IO;
}

uint64_t wr_os_private_memory(int pid) {
  char path[64];
  unsigned long long size, resident, shared;
  snprintf(path, sizeof path, "/proc/%d/statm", pid);
  FILE *f = fopen(path, "re");
  if (!f) return 0;
  int n = fscanf(f, "%llu %llu %llu", &size, &resident, &shared);
  fclose(f);
  return n == 3 && resident > shared ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
