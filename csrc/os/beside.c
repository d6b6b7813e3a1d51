#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "base/mem.h"
#include "base/status.h"
#include "os/os.h"

#define STACK ((size_t)256 << 10) /* a sanitizer's own share included */

typedef struct {
  void (*run)(void *arg);
  void *arg;
  cpu_set_t cores; /* those of who starts it */
} start;

static void *begin(void *arg) {
  start s = *(start *)arg;
  wr_free(arg);
  sched_setaffinity(0, sizeof s.cores, &s.cores);
  s.run(s.arg);
  return NULL;
}

/* The kernel often lets a thread begin on the core of who starts it, though others idle, and there
 * it waits for a tick. */
static int begin_elsewhere(pthread_attr_t *attr, start *s) {
  cpu_set_t others;
  int here = sched_getcpu();
  if (sched_getaffinity(0, sizeof s->cores, &s->cores) != 0) CPU_ZERO(&s->cores);
  others = s->cores;
  if (here >= 0 && here < CPU_SETSIZE) CPU_CLR((size_t)here, &others);
  return CPU_COUNT(&others) ? pthread_attr_setaffinity_np(attr, sizeof others, &others) : 0;
}

static int start_thread(start *s) {
  pthread_attr_t attr;
  pthread_t thread;
  if (pthread_attr_init(&attr) != 0) return WR_NOMEM;
  int rc = pthread_attr_setstacksize(&attr, STACK);
  if (rc == 0) rc = begin_elsewhere(&attr, s);
  if (rc == 0) rc = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  if (rc == 0) rc = pthread_create(&thread, &attr, begin, s);
  pthread_attr_destroy(&attr);
  return rc == 0 ? WR_OK : WR_NOMEM;
}

/* Signals are for the threads that the user has: the new one blocks them all. */
int wr_os_run_beside(void (*run)(void *arg), void *arg) {
  start *s = wr_alloc(sizeof *s);
  if (!s) return WR_NOMEM;
  s->run = run, s->arg = arg;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = start_thread(s);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (rc != WR_OK) wr_free(s);
  return rc;
}
