/* Stands for whiprayd: a handler of signals that reads and writes, as libuv's does, while the
 * program reads and writes.  usage: whiprayd SIGNALS - ends when so many have come. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static volatile long left;

static void move_a_byte(const int fds[2]) {
  char byte = 0;
  while (write(fds[1], &byte, 1) < 0 && errno == EINTR) {
  }
  while (read(fds[0], &byte, 1) < 0 && errno == EINTR) {
  }
}

static int outer[2], inner[2];

static void on_alarm(int signo) {
  int kept = errno;
  (void)signo;
  move_a_byte(inner);
  left--;
  errno = kept;
}

int main(int argc, char **argv) {
  struct sigaction act;
  struct itimerval often = {{0, 1009}, {0, 1009}};
  left = argc > 1 ? atol(argv[1]) : 0;
  if (pipe(outer) != 0 || pipe(inner) != 0) return 1;
  memset(&act, 0, sizeof act);
  act.sa_handler = on_alarm;
  sigfillset(&act.sa_mask);
  sigaction(SIGALRM, &act, NULL);
  setitimer(ITIMER_REAL, &often, NULL);
  while (left > 0) move_a_byte(outer);
  return 0;
}
