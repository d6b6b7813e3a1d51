/* The lock between the threads of a process. */
#include "check.h"

#include <pthread.h>

#include "client/mutex.h"
#include "os/os.h"

enum { THREADS = 4, ROUNDS = 20000 };

static wr_mutex lock;
static uint64_t sum; /* under `lock` */
static int inside;   /* under `lock` */

static void *add(void *arg) {
  (void)arg;
  for (int i = 0; i < ROUNDS; i++) {
    wr_mutex_lock(&lock);
    CHECK_EQ(inside++, 0);
    sum++;
    if (i % 1000 == 0) wr_os_sleep_ns(100000); /* the others go to sleep */
    CHECK_EQ(--inside, 0);
    wr_mutex_unlock(&lock);
  }
  return NULL;
}

TEST(one_thread_at_a_time_has_the_lock) {
  pthread_t t[THREADS];
  sum = 0;
  for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_create(&t[i], NULL, add, NULL), 0);
  for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_join(t[i], NULL), 0);
  CHECK_EQ(sum, (uint64_t)THREADS * ROUNDS);
  CHECK_EQ(atomic_load(&lock.word), 0);
}

static void *take_and_leave(void *arg) {
  wr_mutex_lock(&lock);
  (*(int *)arg)++;
  wr_mutex_unlock(&lock);
  return NULL;
}

/* Each unlock wakes one sleeper, and the last to leave finds nobody to wake. */
TEST(all_who_sleep_on_a_lock_get_it) {
  pthread_t t[THREADS];
  int entered = 0;
  wr_mutex_lock(&lock);
  for (int i = 0; i < THREADS; i++)
    CHECK_EQ(pthread_create(&t[i], NULL, take_and_leave, &entered), 0);
  while (atomic_load(&lock.word) != 2) wr_os_sleep_ns(100000);
  wr_os_sleep_ns(2000000);
  CHECK_EQ(entered, 0);
  wr_mutex_unlock(&lock);
  for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_join(t[i], NULL), 0);
  CHECK_EQ(entered, THREADS);
  CHECK_EQ(atomic_load(&lock.word), 0);
}
