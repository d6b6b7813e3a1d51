/* client/mutex.h - a lock between the threads of one process.
 *
 * What a pthread mutex costs beyond the two atomic operations is a tenth of a task's instructions;
 * nothing of what it offers besides is used here.  Zeroed memory is an unlocked mutex; nothing has
 * to be freed.  The word says who has to be woken:
 *   0 unlocked, 1 locked, 2 locked and threads may sleep on it. */
#ifndef WR_CLIENT_MUTEX_H
#define WR_CLIENT_MUTEX_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct {
  _Atomic uint32_t word;
} wr_mutex;

void wr_mutex_wait(wr_mutex *m); /* the rest of a lock that was not free */
void wr_mutex_wake(wr_mutex *m);

static inline void wr_mutex_lock(wr_mutex *m) {
  uint32_t unlocked = 0;
  if (!atomic_compare_exchange_strong_explicit(&m->word, &unlocked, 1, memory_order_acquire,
                                               memory_order_relaxed))
    wr_mutex_wait(m);
}

static inline void wr_mutex_unlock(wr_mutex *m) {
  if (atomic_exchange_explicit(&m->word, 0, memory_order_release) == 2) wr_mutex_wake(m);
}

#endif
