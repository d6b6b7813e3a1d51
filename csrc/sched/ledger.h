/* sched/ledger.h - resources: how much of each is free, and who holds what.
 *
 * Invariant: free + the sum of all claims and of what groups have reserved = total.  A claim (a
 * shape and the bits of its resources that are taken) stands in the process record of its holder;
 * each take and give is one tagged operation, so a sweep returns exactly what a dead process held.
 * The claims of a shape in a group come from one of the group's bundles, whose own amounts obey the
 * same rule; the claim says which. */
#ifndef WR_SCHED_LEDGER_H
#define WR_SCHED_LEDGER_H

#include "store/refs.h"

#define WR_RES_CPU 0u /* the first resource of every session */

/* Claims all that the shape needs, or nothing (WR_AGAIN).  The process holds no other claim. */
int wr_ledger_claim(wr_self *me, uint32_t shape);
/* Gives back all, or only the CPU part while its holder is blocked. */
void wr_ledger_release(wr_self *me);
void wr_ledger_release_cpu(wr_self *me);
/* Takes the CPU part again without waiting for it: the ledger may go below zero for a while. */
void wr_ledger_retake_cpu(wr_self *me);
/* Does the process hold the whole claim for `shape`? */
int wr_ledger_holds(const wr_self *me, uint32_t shape);
/* Has more been taken of the CPUs that the shape needs than there are?  Then those who were blocked
 * and went on are still to be made up for: nobody starts another task on a CPU he has kept. */
int wr_ledger_overdrawn(const wr_self *me, uint32_t shape);
/* How often could the shape be claimed now, at most `most` times?  A hint. */
uint32_t wr_ledger_times(const wr_seg *s, uint32_t shape, uint32_t most);
int wr_ledger_fits(const wr_seg *s, uint32_t shape); /* at least once */
/* For the audit: what all claims together have taken from a resource's or a bundle's word. */
int64_t wr_ledger_claimed(const wr_seg *s, const wr_a64 *word);

/* The claim word and what stands in it; the bundle counts in groups alone. */
#define WR_CLAIM(shape, mask) (((uint64_t)(shape) + 1) | (uint64_t)(mask) << 16)
#define WR_CLAIM_IN(shape, bundle, mask) (WR_CLAIM(shape, mask) | (uint64_t)(bundle) << 32)
#define WR_CLAIM_BUNDLE(c) ((uint32_t)((c) >> 32))
#define WR_CLAIM_SHAPE(c) ((uint32_t)((c) & 0xFFFF) - 1)
#define WR_CLAIM_MASK(c) ((uint32_t)((c) >> 16) & 0xFFFF)

/* The shape that the process is taking or giving something for at this moment; UINT32_MAX: none. */
uint32_t wr_ledger_intent(const wr_seg *s, uint32_t slot);
/* Fixed point, rounded to the nearest, in units of 2^shift; INT32_MAX stands for more. */
uint32_t wr_ledger_fixed(double amount, uint32_t shift);
/* And back. */
double wr_ledger_amount(int64_t fixed, uint32_t shift);

/* For the sweep: returns what process record `slot` holds, in-flight operation included. */
void wr_ledger_return_dead(wr_self *me, uint32_t slot);

#endif
