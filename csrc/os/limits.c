#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/status.h"
#include "os/cgroup.h"
#include "os/os.h"

/* Reads the first line of a small file; 0 when it is not there. */
static int read_line(const char *dir, const char *name, char *buf, size_t cap) {
  char path[2048];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "re");
  if (!f) return 0;
  char *got = fgets(buf, (int)cap, f);
  fclose(f);
  return got != NULL;
}

/* ---- cores ----------------------------------------------------------------------------------- */

static int cpus_of(const char *quota_text, const char *period_text, int limit) {
  long long quota = strtoll(quota_text, NULL, 10), period = strtoll(period_text, NULL, 10);
  if (quota <= 0 || period <= 0) return limit; /* "max", or -1 */
  long long cpus = (quota + period - 1) / period;
  return cpus < limit ? (int)cpus : limit;
}

static void visit_cpu(const char *dir, void *arg) {
  int *cpus = arg;
  char line[128];
  if (!read_line(dir, "cpu.max", line, sizeof line)) return;
  *cpus = cpus_of(line, line + strcspn(line, " "), *cpus);
}

static void visit_old_cpu(const char *dir, void *arg) {
  int *cpus = arg;
  char quota[64], period[64];
  if (read_line(dir, "cpu.cfs_quota_us", quota, sizeof quota) &&
      read_line(dir, "cpu.cfs_period_us", period, sizeof period))
    *cpus = cpus_of(quota, period, *cpus);
}

int wr_os_cpu_count_in(const char *top) {
  cpu_set_t set;
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                        : (int)sysconf(_SC_NPROCESSORS_ONLN);
  wr_os_cgroup_walk(top, NULL, visit_cpu, &cpus);
  wr_os_cgroup_walk(top, "cpu", visit_old_cpu, &cpus);
  return cpus > 0 ? cpus : 1;
}

int wr_os_cpu_count(void) { return wr_os_cpu_count_in(""); }

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

/* ---- memory ---------------------------------------------------------------------------------- */

static void take_limit(const char *dir, const char *name, uint64_t *bytes) {
  char line[128], *end;
  if (!read_line(dir, name, line, sizeof line)) return;
  unsigned long long limit = strtoull(line, &end, 10); /* "max" has no digits */
  if (end != line && limit > 0 && limit < *bytes) *bytes = limit;
}

static void visit_memory(const char *dir, void *bytes) { take_limit(dir, "memory.max", bytes); }

static void visit_old_memory(const char *dir, void *bytes) {
  take_limit(dir, "memory.limit_in_bytes", bytes);
}

int wr_os_memory_limit_in(const char *top, uint64_t *bytes) {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return WR_IO;
  *bytes = (uint64_t)info.totalram * info.mem_unit;
  wr_os_cgroup_walk(top, NULL, visit_memory, bytes);
  wr_os_cgroup_walk(top, "memory", visit_old_memory, bytes);
  return WR_OK;
}

int wr_os_memory_limit(uint64_t *bytes) { return wr_os_memory_limit_in("", bytes); }

/* ---- processes ------------------------------------------------------------------------------- */

static void visit_pids(const char *dir, void *most) { take_limit(dir, "pids.max", most); }

uint64_t wr_os_pids_limit_in(const char *top) {
  uint64_t most = UINT64_MAX;
  wr_os_cgroup_walk(top, NULL, visit_pids, &most);
  wr_os_cgroup_walk(top, "pids", visit_pids, &most);
  return most;
}
