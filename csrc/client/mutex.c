#include "client/mutex.h"

#include "os/os.h"
#include "shm/atomic.h"

#define SPINS 100 /* the lock is held for less time than a sleep takes */

void wr_mutex_wait(wr_mutex *m) {
  for (int i = 0; i < SPINS; i++) {
    uint32_t unlocked = 0;
    if (atomic_load_explicit(&m->word, memory_order_relaxed) == 0 &&
        atomic_compare_exchange_strong_explicit(&m->word, &unlocked, 1, memory_order_acquire,
                                                memory_order_relaxed))
      return;
    wr_cpu_relax();
  }
  /* Whoever slept takes the lock as one that others may sleep on. */
  while (atomic_exchange_explicit(&m->word, 2, memory_order_acquire) != 0)
    (void)wr_os_futex_wait(&m->word, 2, -1);
}

void wr_mutex_wake(wr_mutex *m) { wr_os_futex_wake(&m->word, 1); }
