/* tests/fuzz/scribble.h - a session full of everything, and a client that writes over it.
 *
 * The session is built once, in a memfd.  Every input works on a private mapping of it, whose
 * changes are dropped afterwards, with room around it that nobody may touch. */
#ifndef SCRIBBLE_H
#define SCRIBBLE_H

#include "fuzz.h"
#include "shm/segment.h"

#define SCRIBBLE_SLOTS 10u  /* processes 2..9 have done something */
#define SCRIBBLE_ACTORS 6u

wr_seg *scribble_session(void); /* as it was built; one at a time */
void scribble_restore(void);
/* Writes one word somewhere, as the input says. */
void scribble(wr_seg *s, fuzz_input *in);
/* While racing is on, the client also writes in the middle of the daemon's operations, at places
 * (base/failpoint.h) that the input picks. */
void scribble_race(wr_seg *s, fuzz_input *in); /* NULL input: off */

#endif
