#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/status.h"
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
  char text[32];
  uint64_t most = wr_os_pids_limit_in("");
  if (most == UINT64_MAX) return;
  snprintf(text, sizeof text, "%llu", (unsigned long long)most);
  append(out, cap, "cgroup pids.max", text);
}

static void append_limit(char *out, size_t cap, const char *name, unsigned which) {
  struct rlimit limit;
  char text[32] = "unlimited";
  if (getrlimit(which, &limit) != 0) return;
  if (limit.rlim_cur != RLIM_INFINITY)
    snprintf(text, sizeof text, "%llu", (unsigned long long)limit.rlim_cur);
  append(out, cap, name, text);
}

static void describe_limits(int error, char *out, size_t cap) {
  out[0] = 0;
  if (error == EAGAIN) {
    append_limit(out, cap, "RLIMIT_NPROC (ulimit -u)", RLIMIT_NPROC);
    append_cgroup(out, cap);
    append_file(out, cap, "kernel.pid_max", "/proc/sys/kernel/pid_max");
    append_file(out, cap, "kernel.threads-max", "/proc/sys/kernel/threads-max");
  } else if (error == EMFILE) {
    append_limit(out, cap, "RLIMIT_NOFILE (ulimit -n)", RLIMIT_NOFILE);
  } else if (error == ENFILE) {
    append_file(out, cap, "fs.file-max", "/proc/sys/fs/file-max");
  } else if (error == EFBIG) {
    append_limit(out, cap, "RLIMIT_FSIZE (ulimit -f, in bytes)", RLIMIT_FSIZE);
  } else if (error == ENOMEM) {
    append_limit(out, cap, "RLIMIT_AS (ulimit -v, in bytes)", RLIMIT_AS);
    append_file(out, cap, "vm.overcommit_memory", "/proc/sys/vm/overcommit_memory");
  }
}

int wr_os_limits_cpu_time(void) {
  struct rlimit limit;
  return getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

void wr_os_describe_error(int error, char *out, size_t cap) {
  char limits[256];
  describe_limits(error, limits, sizeof limits);
  snprintf(out, cap, "%s%s%s", strerror(error), limits[0] ? "; limits: " : "", limits);
}

void wr_os_describe_failure(int rc, char *out, size_t cap) {
  if (rc == WR_IO || rc == WR_NOMEM)
    wr_os_describe_error(errno, out, cap);
  else
    snprintf(out, cap, "%s", wr_status_text(rc));
}
