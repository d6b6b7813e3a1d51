#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"

enum { PATH_CAP = 512 };

/* Reads the first line of a small file; 0 when it is not there. */
static int read_line(const char *path, char *buf, size_t cap) {
  FILE *f = fopen(path, "re");
  if (!f) return 0;
  char *got = fgets(buf, (int)cap, f);
  fclose(f);
  return got != NULL;
}

/* The process's cgroup in the unified hierarchy, such as "/user.slice"; "" for the root. */
static void cgroup_path(char *out, size_t cap) {
  char line[PATH_CAP];
  out[0] = 0;
  FILE *f = fopen("/proc/self/cgroup", "re");
  if (!f) return;
  while (fgets(line, sizeof line, f)) {
    if (strncmp(line, "0::", 3) != 0) continue;
    line[strcspn(line, "\n")] = 0;
    if (strcmp(line + 3, "/") != 0) snprintf(out, cap, "%s", line + 3);
  }
  fclose(f);
}

static int cpus_of_line(const char *line, int limit) {
  long long quota, period;
  if (sscanf(line, "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0) return limit;
  long long cpus = (quota + period - 1) / period;
  return cpus < limit ? (int)cpus : limit;
}

/* Calls `visit` with the named control file's first line in this cgroup and every one above it. */
static void walk_cgroups(const char *file, void (*visit)(const char *line, void *arg), void *arg) {
  char group[PATH_CAP], path[2 * PATH_CAP], line[128];
  cgroup_path(group, sizeof group);
  for (;;) {
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", group, file);
    if (read_line(path, line, sizeof line)) visit(line, arg);
    char *slash = strrchr(group, '/');
    if (!slash) return;
    *slash = 0;
  }
}

static void visit_cpu(const char *line, void *arg) {
  int *cpus = arg;
  *cpus = cpus_of_line(line, *cpus);
}

static void visit_memory(const char *line, void *arg) {
  uint64_t *bytes = arg;
  char *end;
  unsigned long long limit = strtoull(line, &end, 10); /* "max" has no digits */
  if (end != line && limit > 0 && limit < *bytes) *bytes = limit;
}

int wr_os_cpu_count(void) {
  cpu_set_t set;
  char quota[64], period[64], both[140];
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                        : (int)sysconf(_SC_NPROCESSORS_ONLN);
  walk_cgroups("cpu.max", visit_cpu, &cpus);
  if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof quota) &&
      read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period)) {
    snprintf(both, sizeof both, "%s %s", quota, period);
    cpus = cpus_of_line(both, cpus);
  }
  return cpus > 0 ? cpus : 1;
}

int wr_os_cpu(void) { return sched_getcpu(); }

void wr_os_leave_cpu(void) {
  cpu_set_t all, others;
  int here = sched_getcpu();
  if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof all, &all) != 0) return;
  others = all;
  CPU_CLR((size_t)here, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof all, &all);
}

int wr_os_memory_limit(uint64_t *bytes) {
  struct sysinfo info;
  char line[64];
  if (sysinfo(&info) != 0) return WR_IO;
  *bytes = (uint64_t)info.totalram * info.mem_unit;
  walk_cgroups("memory.max", visit_memory, bytes);
  if (read_line("/sys/fs/cgroup/memory/memory.limit_in_bytes", line, sizeof line))
    visit_memory(line, bytes);
  return WR_OK;
}
