/* tests/faults/sweep.h - for C tests whose calls fail: each call of an operation, in each way, once
 * and for good.  A program tests/c/test_*_faults.c is linked with it.
 */
#ifndef SWEEP_H
#define SWEEP_H

#include "interpose.h"

#ifdef __SANITIZE_THREAD__ /* stands in front of the C library itself */
enum { FAULTS_HAPPEN = 0 };
#else
enum { FAULTS_HAPPEN = 1 };
#endif

typedef struct {
  int kind; /* FAULT_CALLS or FAULT_MEMORY */
  long n;
  int way, for_good;
} fault;

void fault_begin(const fault *f); /* fault_disarm ends it */

/* Does it while f is armed; a status, and how many calls failed. */
typedef int fault_try(const fault *f, long *failures);
/* Tries the calls 1 + k, 1 + k + step, ... until none fails any more, for each way with another k.
 * What it comes to is WR_OK, or an error if a call has failed; no descriptor and no dead child is
 * left, and no child has crashed.  Returns how many tries met a call that failed. */
long fault_sweep(fault_try *attempt, int kind, long step);
/* FAULTS_STEP of the environment, or what is usual. */
long fault_step(long usual);

#endif
