/* sched/actor.h - actors: their records, their mailboxes, and the calls made on them.
 *
 *   PENDING -> ALIVE -> (RESTARTING -> ALIVE)* -> DEAD -> record freed with its last handle
 *
 * A mailbox is a list that callers push to and the actor's process takes whole, so calls of one
 * caller keep their order.  The creation task stays as it was built, arguments included, until the
 * actor is gone: a restart runs it again. */
#ifndef WR_SCHED_ACTOR_H
#define WR_SCHED_ACTOR_H

#include "store/objects.h"

typedef struct {
  uint32_t cls, max_concurrency, flags, max_pending;
  int32_t max_restarts;
  uint16_t pool, shape, group;
  uint64_t meta;
  const char *name, *ns, *cls_name; /* may be NULL */
} wr_actor_init;

/* A pending actor with the creator's reference; *idx is its number, without WR_ACTOR_BIT. */
int wr_actors_create(wr_self *me, const wr_actor_init *spec, uint32_t *idx, uint32_t *gen);
/* Its creation task has been built (before it is submitted). */
void wr_actors_set_creation(wr_seg *s, uint32_t idx, wr_idx task);

/* The call is built, or is to be run again (this process has claimed it): makes it QUEUED and puts
 * it into the mailbox, or fails it when the actor is dead. */
void wr_actor_call(wr_self *me, wr_idx task);
/* For the sweep: the call is QUEUED, or was and has been cancelled since, and its dead submitter
 * did not get it into the mailbox. */
void wr_actor_call_again(wr_self *me, wr_idx task);
/* For the sweep: the dead submitter had put the call into the mailbox, or found the actor dead, and
 * may not have got further: wakes the actor, or fails the call. */
void wr_actor_call_settle(wr_self *me, wr_idx task);
/* Fails a call that this process has claimed, for the reason its actor died of. */
void wr_actor_fail_call(wr_self *me, wr_idx task);
/* Takes the whole mailbox: the oldest call, linked by qnext; 0: it is empty. */
wr_idx wr_actor_take_all(wr_self *me, uint32_t idx);
/* Puts a list (oldest first) back below whatever has come since. */
void wr_actor_put_back(wr_self *me, uint32_t idx, wr_idx oldest);

/* Why it ends; the first cause stays. */
static inline void wr_actor_note_cause(wr_actor *a, uint32_t cause) {
  if (wr_load32(&a->cause) == WR_CAUSE_NONE) wr_store32(&a->cause, cause);
}

/* Writes a line with the id as Python prints it, for errors: "\n\tactor_id: ..."; its length. */
int wr_actor_put_id(char *to, size_t cap, const wr_seg *s, uint32_t idx, uint32_t gen);

/* One swap of its phase and slot; 0 when the actor is in neither of the two phases. */
int wr_actor_move(wr_seg *s, uint32_t idx, uint32_t gen, uint32_t from_a, uint32_t from_b,
                  uint32_t to, uint32_t slot);

#endif
