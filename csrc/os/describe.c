#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "os/os.h"
#include "os/spawn.h"

int wr_os_was_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

const char *wr_os_signal_name(int signo) {
  const char *name = sigabbrev_np(signo);
  return name ? name : "?";
}

void wr_os_describe_status(int status, char *out, size_t cap) {
  if (WIFSIGNALED(status)) {
    int signo = WTERMSIG(status);
    snprintf(out, cap, "killed by signal %d (SIG%s)", signo, wr_os_signal_name(signo));
  } else {
    snprintf(out, cap, "exit code %d", WEXITSTATUS(status));
  }
}

static void append(char *out, size_t cap, const char *name, const char *value) {
  size_t n = strlen(out);
  snprintf(out + n, cap - n, "%s%s %s", n ? ", " : "", name, value);
}

static void append_file(char *out, size_t cap, const char *name, const char *path) {
  char line[64];
  FILE *f = fopen(path, "re");
  if (!f) return;
  if (fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    append(out, cap, name, line);
  }
  fclose(f);
}

static void append_cgroup(char *out, size_t cap) {
  char line[512], path[640];
  FILE *f = fopen("/proc/self/cgroup", "re");
  if (!f) return;
  while (fgets(line, sizeof line, f)) {
    if (strncmp(line, "0::", 3) != 0) continue;
    line[strcspn(line, "\n")] = 0;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/pids.max", line + 3);
    append_file(out, cap, "cgroup pids.max", path);
  }
  fclose(f);
}

void wr_os_describe_process_limits(char *out, size_t cap) {
  struct rlimit limit;
  char text[32];
  if (cap == 0) return;
  out[0] = 0;
  if (getrlimit(RLIMIT_NPROC, &limit) == 0) {
    if (limit.rlim_cur == RLIM_INFINITY)
      snprintf(text, sizeof text, "unlimited");
    else
      snprintf(text, sizeof text, "%llu", (unsigned long long)limit.rlim_cur);
    append(out, cap, "RLIMIT_NPROC (ulimit -u)", text);
  }
  append_cgroup(out, cap);
  append_file(out, cap, "kernel.pid_max", "/proc/sys/kernel/pid_max");
  append_file(out, cap, "kernel.threads-max", "/proc/sys/kernel/threads-max");
}
