#include "base/failpoint.h"

#ifdef WR_HOSTILE
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct {
  char name[64];
  int action; /* a signal number, or 0 for _Exit */
  atomic_long left;
  atomic_int armed; /* -1: the environment has not been read yet */
} point = {.armed = -1};

void wr_failpoint_arm(const char *spec) {
  atomic_store(&point.armed, 0);
  if (!spec) return;
  const char *eq = strchr(spec, '=');
  if (!eq) return;
  const char *at = memchr(spec, '@', (size_t)(eq - spec));
  size_t n = (size_t)((at ? at : eq) - spec);
  if (n == 0 || n >= sizeof point.name) return;
  memcpy(point.name, spec, n);
  point.name[n] = 0;
  long left = at ? strtol(at + 1, NULL, 10) : 1;
  if (strcmp(eq + 1, "kill") == 0)
    point.action = SIGKILL;
  else if (strcmp(eq + 1, "segv") == 0)
    point.action = SIGSEGV;
  else if (strcmp(eq + 1, "stop") == 0)
    point.action = SIGSTOP;
  else if (strcmp(eq + 1, "exit") == 0)
    point.action = 0;
  else
    return;
  atomic_store(&point.left, left > 0 ? left : 1);
  atomic_store(&point.armed, 1);
}

void (*wr_failpoint_hook)(const char *name);

void wr_failpoint(const char *name) {
  if (wr_failpoint_hook) wr_failpoint_hook(name);
  int armed = atomic_load(&point.armed);
  if (armed < 0) {
    wr_failpoint_arm(getenv("WHIPRAY_FAILPOINT"));
    armed = atomic_load(&point.armed);
  }
  if (armed != 1 || strcmp(name, point.name) != 0) return;
  if (atomic_fetch_sub(&point.left, 1) != 1) return;
  if (point.action == 0) _Exit(41);
  raise(point.action);
}
#else
typedef int wr_failpoint_unused; /* a translation unit may not be empty */
#endif
