/* tests/c/kill.h - a process dies at a named place, and what is left must be whole.
 *
 * A scenario has a part that the test plays before (as driver `d`), and a part that a forked victim
 * plays until it dies: by the armed failpoint, or at its end without a goodbye.  Then the victim is
 * swept, twice; survivors do the work that is left; and the driver looks at everything it was
 * promised.  Builds without failpoints run each scenario once, to its end. */
#ifndef KILL_H
#define KILL_H

#include "session.h"
#include "store/away.h"

typedef struct {
  wr_id id;
  size_t len;
  uint32_t seed;
  int may_fail; /* an error is as good as the value */
} promise;
#define MUST_FAIL 2 /* as may_fail: nothing but an error will do */

typedef struct {
  wr_id task, item;
  order o;
  int may_fail;
} stream_promise;

typedef struct kill_shared kill_shared;

typedef struct {
  session x;
  wr_client *d;  /* the driver that survives */
  kill_shared *shared; /* mapped by test and victim */
  promise promised[64];
  uint32_t npromised;
  stream_promise streams[8];
  uint32_t nstreams;
  wr_id remade;        /* its task runs again, and has failed after the victim's death; or 0 */
  wr_idx copy, copied; /* one that runs again, and the task that it copies; or 0 */
  wr_id moving;        /* a value that whiprayd is moving at the victim's death; or 0 */
  wr_away_refs *carried; /* what it refers to, while it is not in memory */
  wr_id gate;          /* pending; the driver seals it after the victim's death */
  wr_id small, large;  /* values of the driver: 100 bytes of seed 1, 200000 of seed 2 */
  wr_id alive, gone;   /* an actor that runs, and one that is dead */
  wr_id task, call;    /* queued by the driver, for the victim to cancel */
  uint32_t dead;       /* slot for the victim to sweep */
} world;

typedef struct {
  const char *name;
  enum wr_role role;
  void (*prepare)(world *w);
  void (*act)(world *w, wr_client *v);
  void (*ready)(world *w, wr_client *v); /* what the victim does before; NULL: nothing */
} scenario;

/* A driver, a worker, kinds of actors and others: together they pass every failpoint (scenes.c). */
#define KILL_SCENES 11u
extern const scenario *const kill_scenes[KILL_SCENES];
/* What scenes are made of: an actor of the driver's that has been created (op ORDER_BROKEN: that
 * has failed); a task; the description of a call; a task of the driver's with a promise of its
 * results, whose ids are written to out[] unless it is NULL. */
wr_id scene_actor(world *w, uint32_t op);
wr_id scene_submit(wr_client *c, order o, wr_task_spec spec, const wr_id *refs, uint32_t nrefs,
                   uint32_t ndeps);
wr_task_spec scene_call(wr_id actor);
/* Two tasks of the driver's: the first has an argument that, now that it is QUEUED, is remade. */
void scene_remade(world *w);
/* Writes the bytes of the seed to a value that is being put in region p, all of it. */
void scene_region_fill(uint8_t *dst, uint8_t *p, const wr_region_value *v, uint32_t seed);
/* Seals an export with bytes of the seed, and finds the one that has them. */
wr_id scene_export(wr_client *c, uint32_t seed, wr_id *found);
void scene_promise(world *w, order o, wr_task_spec spec, const wr_id *refs, uint32_t nrefs,
                   uint32_t ndeps, wr_id *out);

/* The driver wants this object: it must have the value in the end. */
void kill_promise(world *w, wr_id id, size_t len, uint32_t seed, int may_fail);
/* The driver submits a task with ORDER_STREAM and wants all its items, in the end. */
void kill_promise_stream(world *w, order o, wr_task_spec spec, const wr_id *refs, uint32_t nrefs,
                         int may_fail);
/* The victim hands an object to the driver; returns when the driver holds it. */
void kill_offer(world *w, wr_id id, size_t len, uint32_t seed, int may_fail);

/* The parts of a play, for those who kill in other ways (step.h): the world as the victim meets it;
 * the handshake of an offer, if there is one; and, once the victim is dead, all that must hold (a
 * victim in the role of the daemon: it was the one that sweeps, and the session ends). */
void kill_open(world *w, const scenario *sc);
void kill_take_offer(world *w);
void kill_settle(world *w, uint32_t slot);

/* Plays a scenario with a failpoint armed (NULL: none).  1: the victim died there; 0: it came to
 * the end of its part. */
int kill_play(const scenario *sc, const char *name, long nth);
/* Every passing of every place of the list, first at 1, 2 and 3, then ever further apart; sets
 * seen[i] for places that were passed.  Returns how many deaths left something broken. */
uint32_t kill_matrix(const scenario *sc, const char *const *names, uint32_t n, uint8_t *seen);

/* Every failpoint in csrc/, as tests/lint/test_failpoints.py makes sure. */
extern const char *const kill_places[];
extern const uint32_t kill_nplaces;

#endif
