#include "sweep.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../c/check.h"
#include "base/status.h"

#define WAYS 4

#ifdef __SANITIZE_THREAD__
void fault_arm(int kind, long n, int way, int for_good) {
  (void)kind, (void)n, (void)way, (void)for_good;
}
long fault_disarm(void) { return 0; }
const char *fault_last(void) { return ""; }
int fault_crash(void) { return 0; }
#endif

void fault_begin(const fault *f) { fault_arm(f->kind, f->n, f->way, f->for_good); }

long fault_step(long usual) {
  const char *text = getenv("FAULTS_STEP");
  return text ? atol(text) : usual;
}

static int descriptors(void) {
  DIR *d = opendir("/proc/self/fd");
  int n = -3; /* . and .. and its own */
  CHECK(d != NULL);
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

static int try_one(fault_try *attempt, const fault *f) {
  long failures = 0;
  int before = descriptors(), children = waitpid(-1, NULL, WNOHANG);
  int rc = attempt(f, &failures);
  CHECK_MSG(rc == WR_OK || (rc < 0 && failures), "call %ld: %s, %s", f->n, fault_last(),
            wr_status_name(rc));
  CHECK_MSG(descriptors() == before, "call %ld: %s", f->n, fault_last());
  CHECK_EQ(waitpid(-1, NULL, WNOHANG), children);
  CHECK_EQ(fault_crash(), 0);
  return failures != 0;
}

long fault_sweep(fault_try *attempt, int kind, long step) {
  long met = 0;
  int ways = kind == FAULT_MEMORY ? 1 : WAYS;
  for (int k = 0; k < 2 * ways; k++) {
    fault f = {.kind = kind, .n = 1 + k % step, .way = k / 2, .for_good = k % 2};
    for (int failed = 1; failed; f.n += step) met += failed = try_one(attempt, &f);
  }
  return met;
}
