#include "sched/death.h"

#include <stdio.h>

#include "os/spawn.h"

static const char *hint(int signo) {
  switch (signo) {
    case 6: return ": abort() in native code";
    case 7: return ": a bus error, such as memory that ran out under a mapping";
    case 9:
      return wr_os_limits_cpu_time()
                 ? ": killed by a user, by the out-of-memory killer or at RLIMIT_CPU (ulimit -t)"
                 : ": killed by a user or by the out-of-memory killer";
    case 11: return ": a crash in native code";
    case 24: return ": its CPU time has come to RLIMIT_CPU (ulimit -t)";
    case 25: return ": a file has come to RLIMIT_FSIZE (ulimit -f)";
    default: return "";
  }
}

int wr_death_text(char *buf, size_t cap, int wait_status, uint64_t peak_rss) {
  int n, signo = wait_status & 0x7f;
  if (wait_status < 0)
    n = snprintf(buf, cap, "ended, how is not known");
  else if (signo)
    n = snprintf(buf, cap, "was ended by signal %d (SIG%s%s)", signo, wr_os_signal_name(signo),
                 hint(signo));
  else
    n = snprintf(buf, cap, "exited with code %d", (wait_status >> 8) & 0xff);
  if (peak_rss && n > 0 && (size_t)n < cap)
    n += snprintf(buf + n, cap - (size_t)n, "; its resident memory peaked at %llu MiB",
                  (unsigned long long)(peak_rss >> 20));
  return n < 0 ? 0 : (size_t)n < cap ? n : (int)cap - 1;
}

int wr_death_of_task(char *buf, size_t cap, const wr_death *why, const char *name) {
  int n = snprintf(buf, cap, "The worker process died while it ran this task%s%.63s: ",
                   name[0] ? ", " : "", name);
  if (!why) return n + wr_death_text(buf + n, cap - (size_t)n, -1, 0);
  n += snprintf(buf + n, cap - (size_t)n, "(pid %d) ", why->pid);
  if (why->reason) return n + snprintf(buf + n, cap - (size_t)n, "%s", why->reason);
  n += snprintf(buf + n, cap - (size_t)n, "it ");
  return n + wr_death_text(buf + n, cap - (size_t)n, why->wait_status, why->peak_rss);
}
