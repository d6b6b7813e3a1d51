#include "client/spin.h"

#include "os/os.h"

/* A sleep so long in all, its wake-up included, would have been met by a watch of the maximum. */
#define WORTH_NS (WR_SPIN_MAX_NS + 60000u)
#define CLUMPED 16u /* wake-ups in a row from the own core after which a worker looks for another */
#define MOVE_NS UINT64_C(5000000)
#define MOVE_MAX_NS UINT64_C(5000000000)

static uint32_t limit_of(const wr_a32 *limit) {
  return atomic_load_explicit(limit, memory_order_relaxed);
}

static void set_limit(wr_a32 *limit, uint64_t ns) {
  if (ns > WR_SPIN_MAX_NS) ns = WR_SPIN_MAX_NS;
  if (ns < WR_SPIN_MIN_NS) ns = WR_SPIN_MIN_NS;
  atomic_store_explicit(limit, (uint32_t)ns, memory_order_relaxed);
}

int wr_spin(wr_a32 *limit_ns, int (*ready)(void *), void *arg, uint64_t *began) {
  *began = 0;
  if (ready(arg)) return 1;
  uint32_t limit = limit_of(limit_ns);
  uint64_t start = wr_os_now_ns();
  do {
    for (int i = 0; i < 64; i++) {
      wr_cpu_relax();
      if (!ready(arg)) continue;
      set_limit(limit_ns, (uint64_t)limit * 2);
      return 1;
    }
  } while (wr_os_now_ns() - start < limit);
  *began = start;
  return 0;
}

/* The kernel leaves two processes that wake each other in turn on one core, even beside an idle
 * one: only one of them is ever ready to run.  The worker then steps aside; where that does not
 * help, because the other cores are busy, it tries more and more rarely. */
static void step_aside(wr_client *c, uint64_t now) {
  if (!c->is_worker || ++c->clumped < CLUMPED || now < c->move_at) return;
  c->clumped = 0;
  c->move_wait = c->move_wait ? c->move_wait * 2 : MOVE_NS;
  if (c->move_wait > MOVE_MAX_NS) c->move_wait = MOVE_MAX_NS;
  c->move_at = now + c->move_wait;
  wr_os_leave_cpu();
}

void wr_spin_slept(wr_client *c, wr_a32 *limit_ns, uint64_t began) {
  if (!began) return;
  uint32_t limit = limit_of(limit_ns);
  uint64_t now = wr_os_now_ns();
  if ((int)wr_load32(&c->self.p->waker_cpu) == wr_os_cpu()) {
    set_limit(limit_ns, limit / 2);
    step_aside(c, now);
    return;
  }
  c->clumped = 0;
  if (now - began > WORTH_NS) {
    set_limit(limit_ns, limit / 2);
  } else {
    c->move_wait = 0;
    set_limit(limit_ns, (uint64_t)limit * 8);
  }
}
