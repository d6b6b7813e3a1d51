/* Places where a hostile build dies on demand, and no other build does. */
#include "check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"

/* Passes `here` five times and `there` once; the exit code says how often `here` was passed. */
static void pass(void *arg) {
  const char *spec = arg;
  if (spec) setenv("WHIPRAY_FAILPOINT", spec, 1);
  for (int i = 0; i < 5; i++) {
    WR_FAILPOINT("here");
    if (i == 0) WR_FAILPOINT("there");
  }
  _exit(5);
}

static int status_with(const char *spec) {
  int status = 0, pid = check_fork(pass, (void *)(uintptr_t)spec);
  CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
  return status;
}

static int passes_all(const char *spec) {
  int status = status_with(spec);
  return WIFEXITED(status) && WEXITSTATUS(status) == 5;
}

#ifdef WR_HOSTILE
TEST(actions) {
  int status = status_with("here=kill");
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  status = status_with("there=exit");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 41);
  int pid = check_fork(pass, (void *)(uintptr_t)"here=stop");
  CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
  CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  CHECK_EQ(kill(pid, SIGCONT), 0);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5); /* once, not at each passing */
}

TEST(passings_are_counted) {
  CHECK(!passes_all("here@1=kill"));
  CHECK(!passes_all("here@5=kill"));
  CHECK(passes_all("here@6=kill"));
  CHECK(passes_all("there@2=kill"));
  CHECK(!passes_all("here@0=kill")); /* no such passing: the first */
}

TEST(malformed_specs_are_ignored) {
  char name[100];
  memset(name, 'x', sizeof name);
  memcpy(name + 90, "=kill", 6);
  const char *const specs[] = {NULL, "", "here", "=kill", "@3=kill", "here=", "here=murder",
                               "her=kill", "here2=kill", name};
  for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) CHECK(passes_all(specs[i]));
}

static void arm_over_the_environment(void *arg) {
  (void)arg;
  setenv("WHIPRAY_FAILPOINT", "here=kill", 1);
  wr_failpoint_arm("there=kill");
  wr_failpoint_arm(NULL);
  pass(NULL);
}

TEST(arming_replaces_the_environment) {
  int status = 0, pid = check_fork(arm_over_the_environment, NULL);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}
#else
TEST(other_builds_pass_them_all) {
  CHECK(passes_all(NULL));
  CHECK(passes_all("here=kill"));
  CHECK(passes_all("there=exit"));
}
#endif
