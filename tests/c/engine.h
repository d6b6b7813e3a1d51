/* tests/c/engine.h - a segment with processes in it, for tests of shm/ and store/.
 *
 * The test's own process has slot ENGINE_ME and plays the daemon: it sweeps.  Peers are forked,
 * share the mapping, and take part under a slot and a wr_self of their own.  The functions that
 * look at everything (engine_audit, engine_sweep) are for moments when no peer runs. */
#ifndef ENGINE_H
#define ENGINE_H

#include "check.h"
#include "store/objects.h"

#define ENGINE_ME 1u
#define ENGINE_PEER 2u /* first slot for peers */

typedef struct {
  wr_seg s;
  wr_self me;
} engine;

void engine_open(engine *e, uint64_t heap_bytes);
void engine_close(engine *e);
/* Zeroed memory that forked processes share with the test; it goes with the test's process. */
void *engine_shared(size_t bytes);
/* Fills in `slot` of the process table and a wr_self for it, in whatever process this is called. */
void engine_join(engine *e, wr_self *me, uint32_t slot);

/* A segment with a second process, played by the test itself. */
typedef struct {
  engine e;
  wr_self other;
} engine_pair;

void engine_pair_open(engine_pair *p, uint64_t heap_bytes);
void engine_pair_close(engine_pair *p); /* after an audit */

/* ---- peers --------------------------------------------------------------------------------- */

typedef void engine_role(wr_self *me, void *arg);
/* A forked process that runs role(me, arg) under `slot`; check_join or engine_kill ends it. */
int engine_peer(engine *e, uint32_t slot, engine_role *role, void *arg);
/* Kills a peer and waits for its end. */
void engine_kill(int pid);
/* Runs role in a forked process that dies at the n-th passing of `point` (hostile builds): 1 if it
 * died there, 0 if it came to the end. */
int engine_crash(engine *e, uint32_t slot, const char *point, int n, engine_role *role, void *arg);
/* What the daemon does with the memory of a dead process, in its order. */
void engine_sweep(engine *e, uint32_t slot);

/* ---- records ------------------------------------------------------------------------------- */

/* A sealed object of `len` bytes, made by `me`, that contains refs[0..nrefs).  Every byte of it
 * follows from its idx, and engine_read checks that it still does. */
wr_idx engine_put(wr_self *me, uint64_t len, const wr_idx *refs, uint32_t nrefs);
void engine_fill(const wr_seg *s, wr_idx idx);
void engine_read(const wr_seg *s, wr_idx idx);
/* Lets the creator's reference go. */
void engine_drop(wr_self *me, wr_idx idx);
uint32_t engine_refs(const wr_seg *s, wr_idx idx); /* value of the refs word */
uint32_t engine_phase(const wr_seg *s, wr_idx idx);
uint32_t engine_living(const wr_seg *s); /* cells that are objects and not freed */

/* Checks that counts are what pins and holds add up to, that nothing is left half freed, that each
 * value owns its memory and that all memory in use has an owner. */
void engine_audit(const wr_seg *s);

#endif
