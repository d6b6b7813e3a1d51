/* client/spin.h - watching for a change before sleeping, for as long as that has paid lately.
 *
 * A wake-up through a halted core costs tens of microseconds, so who expects an answer soon does
 * better to watch for it.  Each kind of wait keeps a limit of its own: what was met while watching
 * raises it; a sleep tells, once it is over, whether a longer watch would have met the wake-up.  It
 * would not where the waker had to wait for this very core. */
#ifndef WR_CLIENT_SPIN_H
#define WR_CLIENT_SPIN_H

#include "client/internal.h"

#define WR_SPIN_MAX_NS 100000u
#define WR_SPIN_MIN_NS 1500u

/* 1: ready(arg) became true within the limit.  *began: when watching began, for wr_spin_slept. */
int wr_spin(wr_a32 *limit_ns, int (*ready)(void *), void *arg, uint64_t *began);
/* A sleep that followed a watch in vain has ended with a wake-up: adapts the limit. */
void wr_spin_slept(wr_client *c, wr_a32 *limit_ns, uint64_t began);

#endif
