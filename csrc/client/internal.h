/* client/internal.h - the inside of wr_client, for the files of this folder only. */
#ifndef WR_CLIENT_INTERNAL_H
#define WR_CLIENT_INTERNAL_H

#include <stdatomic.h>

#include "client/client.h"
#include "client/conn.h"
#include "client/mutex.h"
#include "store/self.h"

/* Calls that an actor has received and not started, oldest first.  Those for which `v` had no room
 * follow: linked by their records as they were in the mailbox, from which nothing is taken before
 * they are in `v`. */
typedef struct {
  wr_vec32 v;
  uint32_t head;
  wr_idx rest; /* 0: none */
} wr_backlog;

typedef struct wr_call_limit wr_call_limit;

struct wr_client {
  wr_self self;  /* under `lock` */
  wr_seg seg;
  wr_conn *conn;
  uint32_t slot, gen, pool;
  int is_worker;
  wr_mutex lock;
  wr_backlog backlog; /* of the actor this process is */
  uint32_t running;   /* tasks this process has claimed and not finished */
  uint32_t sleepers;  /* threads inside wr_wait_objects */
  uint32_t blocked;   /* of those, threads that wait inside a task */
  uint32_t active;    /* what the process did before the first of them waited: enum wr_activity */
  uint32_t actor_gen; /* of the actor that this process is */
  int held_up;        /* calls on this actor wait for arguments: see take_call */
  wr_call_limit *limits; /* unfinished calls on actors that limit them */
  uint32_t streams_room; /* unread items that all streams of this actor may have; 0: any number */
  wr_vec64 streams;      /* index | generation of their tasks; see pace.c */
  wr_vec32 yielded;      /* items of each */
  wr_a32 spin_idle, spin_wait; /* how long spinning pays now, in nanoseconds: see spin.h */
  wr_a32 gather_skip, gathers; /* looks into the mailbox before it is waited for more: see work.c */
  uint32_t clumped;            /* wake-ups in a row that came from this process's own core */
  uint64_t move_at, move_wait; /* when it may look for another core, and how long after that */
  uint64_t loose;       /* offset of the newest loose run, 0: none; see loose.c */
  uint64_t loose_bytes; /* in all of them */
  uint64_t loose_used, loose_looked; /* chunks of the heap in use, as counted at that time */
  uint64_t region_bytes; /* of regions that are not put; see region.c */
  uint64_t *mapped; /* a bit for each chunk of the heap that this process has mapped; hints */
  const atomic_int *cut_off; /* of the connection: it has ended; constant */
  void (*rest)(void *ctx); /* see wr_work_at_rest */
  void *rest_ctx;
};

/* Takes over seg and conn. */
int wr_client_new(wr_client **out, const wr_seg *seg, uint32_t slot, uint32_t gen, wr_conn *conn);
void wr_client_free(wr_client *c); /* private memory only; unmaps, closes the connection */
wr_conn *wr_client_conn(wr_client *c);

static inline void wr_lock(wr_client *c) { wr_mutex_lock(&c->lock); }
static inline void wr_unlock(wr_client *c) { wr_mutex_unlock(&c->lock); }

/* Nothing is made any more in a session that is over, or has lost this process: a loop that only
 * makes would never end.  Two loads; who waits asks wr_client_ended. */
static inline int wr_over(const wr_client *c) {
  return wr_load32(&c->seg.h->ended) != 0 ||
         atomic_load_explicit(c->cut_off, memory_order_relaxed) != 0;
}

/* Would `more` bytes make more than `most` chunks of the store be in use?  Counts them if not. */
int wr_loose_crowded(wr_client *c, uint64_t more, uint64_t most);
/* The indexes of refs in `small`, or, above 64, in memory that the caller frees. */
int wr_ref_list(const wr_id *refs, uint32_t n, wr_idx small[64], wr_idx **list);
/* Regions of a client that ends have none. */
void wr_regions_forget(const wr_client *c);

/* May this process make one more call on the actor: WR_OK, WR_LIMIT or WR_NOMEM.  The call is noted
 * once it has been built. */
int wr_limit_admit(wr_client *c, uint32_t actor);
void wr_limit_note(wr_client *c, uint32_t actor, wr_id call);
void wr_limit_free(wr_client *c);
/* The limit for all streams of this actor: asked and noted only where there is one. */
int wr_pace_reserve(wr_client *c); /* with the lock held, as note: for one more note */
void wr_pace_note(wr_client *c, const wr_job *job);
int wr_pace_has_room(wr_client *c, const wr_job *job);
int wr_pace_await_room(wr_client *c, const wr_job *job); /* if not, this process will be woken */
void wr_pace_free(wr_client *c);
/* The task that makes the object, in place of its id; 0: none does any more. */
int wr_task_of(wr_client *c, wr_id *id);
/* This process waits for these inside a task: see urge.c. */
void wr_urge(wr_client *c, const wr_id *ids, size_t n);
/* The sweep wakes those who wait for objects; `waiting` says so. */
void wr_mark_waiting(wr_client *c);

/* Sleeps until a wake-up after `seen` events, or the deadline; see wr_wake. */
int wr_park(wr_client *c, uint32_t seen, int64_t deadline_ns);
uint32_t wr_events(const wr_client *c);

#endif
