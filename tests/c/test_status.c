/* Result codes, and the checks that end a process. */
#include "check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/status.h"

TEST(every_code_has_a_name_and_a_text_of_its_own) {
  for (int a = 0; a >= WR_LOST; a--) {
    CHECK(strcmp(wr_status_name(a), "UNKNOWN") != 0);
    CHECK(wr_status_text(a)[0] != 0);
    for (int b = 0; b > a; b--) {
      CHECK(strcmp(wr_status_name(a), wr_status_name(b)) != 0);
      CHECK(strcmp(wr_status_text(a), wr_status_text(b)) != 0);
    }
  }
  CHECK_STR(wr_status_name(WR_STALE), "STALE");
  CHECK_STR(wr_status_name(WR_LOST - 1), "UNKNOWN");
  CHECK_STR(wr_status_name(1), "UNKNOWN");
  CHECK_STR(wr_status_text(1), "unknown status code");
}

static void break_a_check(void *arg) {
  dup2(*(int *)arg, STDERR_FILENO);
  WR_CHECK(1 + 1 == 2);
  WR_CHECK(1 + 1 == 3);
}

TEST(a_failed_check_names_its_place_and_aborts) {
  int fds[2], status = 0;
  char text[256] = "";
  CHECK_EQ(pipe(fds), 0);
  int pid = check_fork(break_a_check, &fds[1]);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  close(fds[1]);
  CHECK_GT(read(fds[0], text, sizeof text - 1), 0);
  CHECK(strstr(text, "1 + 1 == 3") && strstr(text, "test_status.c:"));
  close(fds[0]);
}
