/* tests/c/step.h - a process dies after any one of its instructions; what is left must be whole.
 *
 * The victim steps through its own instructions (the processor's trap flag) with the segment mapped
 * read-only, so that each store to it shows up as a fault.  A kill leaves exactly the bytes that
 * the segment has at that instant, so the images after each store are all that a kill after any
 * instruction can leave.  Each distinct image is copied into a segment of its own, where the rest
 * of the play of kill.h goes on as if the victim had died: sweep, sweep again, the work that is
 * left, every promise, the audit.  A sample of real kills shows that they leave those bytes.
 *
 * An operation is a scenario: `prepare` and `ready` set the stage, and `act` is stepped from its
 * first instruction to its last.  Bytes of values (session_aside) count as written at once. */
#ifndef STEP_H
#define STEP_H

#include "kill.h"

typedef struct {
  uint64_t instructions; /* stepped: a kill after each of them is covered */
  uint64_t stores;       /* of those, to the segment */
  uint64_t images;       /* distinct ones */
  uint64_t tried;        /* of those: swept and looked at */
  uint64_t kills;        /* real ones */
  uint64_t broken;       /* deaths that left something broken; each has been printed */
} step_count;

/* Steps through the scenario once and tries every `every`-th image (0: none); then kills for real
 * after each of `kills` instructions chosen at random.  Adds to *sum. */
void step_through(const scenario *sc, uint32_t every, uint32_t kills, step_count *sum);

/* 0: this build or machine cannot step (sanitizers; processors but x86-64): a scenario then runs to
 * its end, and the victim dies there. */
int step_possible(void);

#endif
