/* client/client.h - what a driver or worker can do with the session.  No Python here.
 *
 * One wr_client per process.  Every call may come from any thread; a private lock inside orders
 * them, and no call holds it while it waits.  Ids are (idx, gen); an idx with WR_ACTOR_BIT names an
 * actor.  A caller that passes an id must hold the record (creator's reference or wr_hold). */
#ifndef WR_CLIENT_CLIENT_H
#define WR_CLIENT_CLIENT_H

#include <stddef.h>

#include "base/status.h"
#include "sched/group.h"
#include "shm/segment.h"

typedef struct wr_client wr_client;
typedef struct {
  wr_idx idx;
  uint32_t gen;
} wr_id;

/* ---- attaching (session.c) ------------------------------------------------------------------ */

/* Asked at signals and a few times a second while the daemon lets this process wait for its
 * welcome, or for an answer: not 0 ends that, with WR_INTR. */
typedef struct {
  int (*interrupted)(void *ctx);
  void *ctx;
} wr_waiting;
/* Starts a daemon of this process's own and attaches as its driver.  `config` is a msgpack map that
 * whiprayd understands (see node/config.h).  `w` may be NULL.  On failure `err` (cap bytes) says
 * why. */
int wr_client_start(wr_client **out, const char *daemon_path, const void *config, size_t len,
                    const wr_waiting *w, char *err, size_t cap);
/* The daemon that this client has started goes on after it. */
void wr_client_disown(wr_client *c);
/* Joins the session whose socket is at `path`, as a driver of a job of its own; of `config` counts
 * what is about the job (how its workers run), not what is about the session.  May be empty. */
int wr_client_join(wr_client **out, const char *path, const void *config, size_t len,
                   const wr_waiting *w, char *err, size_t cap);
/* A worker just forked by the fork server: the segment is mapped already, the slot was given. */
int wr_client_adopt(wr_client **out, int segment_fd, int sock, uint32_t slot, uint32_t gen);
/* Says goodbye, waits until the daemon has ended what must end, unmaps.  One that is interrupted
 * hangs up instead. */
void wr_client_detach(wr_client *c);
void wr_client_hang_up(wr_client *c); /* the same without a goodbye, and hardly any wait */
void wr_client_forget(
    wr_client *c); /* in a forked child: close descriptors, touch nothing shared */

wr_seg *wr_client_seg(wr_client *c);
uint32_t wr_client_slot(const wr_client *c);
int wr_client_actor(const wr_client *c, wr_id *id); /* 1: this process is, or becomes, an actor */
int wr_client_ended(const wr_client *c); /* 1: the session is over */
const char *wr_client_end_reason(const wr_client *c); /* of one that is over */
int wr_client_socket(const wr_client *c);
const char *wr_client_session_dir(const wr_client *c);

/* ---- requests to the daemon (rpc.c) --------------------------------------------------------- */

/* Sends a msgpack request body of type `type` and waits for the answer; *reply is malloc'ed.
 * WR_INTR: it was not waited for, and whether the daemon has done it is not known. */
int wr_rpc_call(wr_client *c, uint32_t type, const void *body, size_t len, uint8_t **reply,
                size_t *reply_len);
/* What is asked while any thread waits for an answer, which that of wr_client_detach is as well. */
void wr_rpc_on_wait(wr_client *c, wr_waiting w);
/* Sends without an answer. */
int wr_rpc_notify(wr_client *c, uint32_t type, const void *body, size_t len);
/* The same for what is repeated anyhow: dropped (WR_AGAIN) rather than waited for, while the daemon
 * is stopped and its socket full. */
int wr_rpc_hint(wr_client *c, uint32_t type, const void *body, size_t len);
/* Waits for the next event pushed by the daemon (log lines, end of session): WR_OK, WR_CLOSED,
 * WR_TIMEOUT.  One thread of a driver stays in here; it also hands replies to wr_rpc_call. */
int wr_rpc_next_event(wr_client *c, uint32_t *type, uint8_t **body, size_t *len,
                      int64_t timeout_ns);
int wr_rpc_post_event(wr_client *c, uint32_t type); /* one of this process's own, at the end */

/* ---- values (values.c) ---------------------------------------------------------------------- */

/* Where to write the value of object idx: `len` bytes at *dst (64-byte aligned unless inline), and
 * the ids of nrefs contained records at refs[] (pinned by this call, in order).
 * WR_FULL: no room.  Until the seal, wr_value_discard undoes it. */
int wr_value_reserve(wr_client *c, wr_idx idx, size_t len, const wr_id *refs, uint32_t nrefs,
                     uint8_t **dst);
void wr_value_discard(wr_client *c, wr_idx idx);
void wr_value_mark_failed(wr_client *c, wr_idx idx); /* it will be sealed as an error */

/* Before a large value is written to `len` reserved bytes at dst (bulk.c).  1: they have never been
 * used, and wr_value_write is the fastest way to write there.  0: they are mapped here. */
int wr_value_is_fresh(wr_client *c, const uint8_t *dst, size_t len);
void wr_value_write(wr_client *c, uint8_t *dst, const uint8_t *src, size_t n);

/* Memory of the store that this process has for itself, until it becomes the value of an object
 * without a copy (loose.c).  Blocks begin at a page border, WR_LOOSE_HEAD bytes behind their run.
 * Alloc gives NULL when there is no room or this process has its share; the caller then takes other
 * memory.  Free and before_fork are for blocks that have not been given away. */
#define WR_LOOSE_HEAD 4096u
void *wr_loose_alloc(wr_client *c, size_t size);
size_t wr_loose_size(wr_client *c, const void *p);
void wr_loose_free(wr_client *c, void *p);
/* Gives block p to object idx: the value begins `head` bytes before p and has `len` in all.
 * WR_STATE: the block has been copied on a fork and is not shared any more. */
int wr_loose_give(wr_client *c, void *p, wr_idx idx, size_t head, size_t len);
/* What a child process writes must not show here, nor the other way round. */
void wr_loose_before_fork(wr_client *c);

/* Memory of the store for arrays that are put without a copy and written on (region.c).  Begins at
 * a page border.  Alloc gives NULL when there is no room or this process has its share.  Prepare
 * comes after it, once: it maps pages, which may take long, and zeroes them if asked for.  Size: 0,
 * p does not begin a region.  That and free work in any session, or none. */
void *wr_region_alloc(wr_client *c, size_t size);
void wr_region_prepare(wr_client *c, void *p, int zeroed);
size_t wr_region_size(const void *p);
void wr_region_free(void *p);
/* A value of `total` bytes of which those from `head` to `head + len` lie at the start of a region,
 * and that refers to nrefs records. */
typedef struct {
  size_t head, len, total;
  const wr_id *refs;
  uint32_t nrefs;
} wr_region_value;
/* Where to write the value but for what lies in the region; NULL: it was put before, or does not
 * fit, and has to be copied.  Then one of the others: the region becomes the value of a pending
 * object, which the caller seals.  Put: its owner may go on writing there, and the value stays as
 * it was.  Give: it is not a region any more.  When they fail the value has to be copied. */
uint8_t *wr_region_begin(wr_client *c, void *p, const wr_region_value *v);
int wr_region_put(wr_client *c, void *p, wr_id id, const wr_region_value *v);
int wr_region_give(wr_client *c, void *p, wr_idx idx, const wr_region_value *v);
/* Regions have nothing to do with the session any more, and keep what is in them.  WR_NOMEM: some
 * still have. */
int wr_regions_leave(wr_client *c);
/* The same for all, since the child would write where its parent reads; in the child itself. */
void wr_regions_before_fork(void);
void wr_regions_in_child(void);
void wr_regions_count(uint32_t *open, uint32_t *put); /* of sessions; not put yet, put */

/* A new pending object with the creator's reference; seal makes it READY (or ERROR) for all. */
int wr_object_create(wr_client *c, wr_id *out);
int wr_object_seal(wr_client *c, wr_idx idx, int is_error, uint16_t flags);
/* Exported functions, see store/exports.h: 1 and the id of the one with these bytes, or 0; seals an
 * object whose value they are as a new one, of which the creator's reference is given away. */
int wr_export_find(wr_client *c, const uint8_t *bytes, size_t len, wr_id *out);
int wr_export_seal(wr_client *c, wr_id id, const uint8_t *bytes, size_t len);

typedef struct {
  const uint8_t *data;
  size_t len;
  const wr_idx *refs; /* contained records */
  uint32_t nrefs;
  uint16_t flags; /* WR_VAL_* */
  int is_error;
  int is_block; /* data lies in the heap: a view of it may be kept while the object is held */
} wr_view;
/* WR_OK, WR_AGAIN (pending), WR_AWAY (on disk), WR_LOST (no longer there) or WR_STALE.  What a view
 * shows of a block of WR_SPILL_MIN bytes and more stays there only for who has taken a view before
 * (wr_view_hold): take it, then look (again). */
int wr_value_view(wr_client *c, wr_id id, wr_view *out);

/* ---- values on disk (away.c) ----------------------------------------------------------------- */

/* A hold under which the value stays in memory, once it is there. */
int wr_view_hold(wr_client *c, wr_id id);
void wr_view_unhold(wr_client *c, wr_id id);
/* Asks whiprayd for the value of an object that is WR_AWAY and waits until it is in memory, or is
 * lost, or its task begins or ends making it again: as wr_wait_objects. */
int wr_value_fetch(wr_client *c, wr_id id, int64_t deadline_ns);
int wr_value_remade(wr_client *c, wr_id id); /* 1: its task runs again to make it */
/* Tells whiprayd that `bytes` have found no room for so long; it wakes this process after it has
 * made some. */
void wr_room_ask(wr_client *c, uint64_t bytes, uint64_t waited_ns);

/* Before this process leaves a session that goes on: the value's bytes stay where they are mapped,
 * as a private copy, whatever becomes of the object.  WR_NOMEM. */
int wr_value_keep(wr_client *c, wr_id id);

/* ---- references (holds.c) ------------------------------------------------------------------- */

/* The creator's own reference: dropped once, by the creating process. */
void wr_creator_drop(wr_client *c, wr_id id);
/* Holds of this process: counted privately, one entry in its hold table. wr_hold fails with
 * WR_STALE when gen no longer fits (gen 0: take whatever is there and report it in *gen). */
int wr_hold(wr_client *c, wr_idx idx, uint32_t gen, uint32_t *gen_out);
void wr_unhold(wr_client *c, wr_id id);

/* ---- waiting (wait.c) ----------------------------------------------------------------------- */

/* Phase of an object: WR_OBJ_PENDING, READY or ERROR; WR_STALE when the id is stale. */
int wr_object_phase_of(wr_client *c, wr_id id);
/* Waits until at least `want` of the n objects are sealed, or any of them is an error and
 * `stop_on_error`.  deadline_ns: absolute, monotonic; < 0: none; 0: do not wait.
 * WR_OK, WR_TIMEOUT, WR_INTR (a signal: run handlers, call again), WR_CLOSED.
 * A worker that runs a task gives its CPU back while it sleeps here. */
int wr_wait_objects(wr_client *c, const wr_id *ids, size_t n, size_t want, int stop_on_error,
                    int64_t deadline_ns);
/* The general form.  look(arg): 1 what is waited for is there; 0 it is not, and a wake-up will come
 * when it may be (wr_watch); -1 look again at once.  sign(arg): a cheap test that may be repeated
 * for a while; 1: worth a look.  Both run without any lock, in this thread. */
typedef struct {
  int (*look)(void *arg), (*sign)(void *arg);
  void *arg;
} wr_waiter;
int wr_wait_until(wr_client *c, const wr_waiter *w, int64_t deadline_ns);
/* The same for waits that no task of others ends: a worker keeps its CPU. */
int wr_wait_busy(wr_client *c, const wr_waiter *w, int64_t deadline_ns);
uint32_t wr_wakeups(const wr_client *c); /* wake-ups of this process so far */
/* Waits until something may have changed for this process (any wake-up), for completion threads:
 * `seen` is a counter returned by the last call, 0 at first. */
int wr_wait_change(wr_client *c, uint64_t *seen, int64_t timeout_ns);
/* Asks to be woken when the object is sealed: 1 if it is sealed already, 0 if registered. */
int wr_watch(wr_client *c, wr_id id);

/* ---- tasks (submit.c) ----------------------------------------------------------------------- */

typedef struct {
  uint32_t fn;       /* idx of the exported function or class; for calls the method's number */
  uint32_t shape;    /* ticket from the daemon; ignored for calls */
  uint16_t nreturns; /* 0 is stored as one hidden return */
  uint16_t flags;    /* WR_TF_RETRY_EXC, WR_TF_CREATION, WR_TF_CALL, WR_TF_CONTROL */
  int16_t retries;
  uint16_t options;
  wr_id actor;  /* for calls and creations */
  wr_id parent; /* the task that submits this one; idx 0: none */
  wr_id group;  /* placement group of the shape, its number plus one; idx 0: none */
  uint32_t room; /* WR_TF_STREAM: items that may be yielded and not read; 0: any number */
  uint32_t name_len;   /* at most WR_TASK_NAME */
  const uint8_t *name; /* of this task or call alone; NULL: it has none */
} wr_task_spec;

/* Makes a task with room for `len` bytes of arguments at *dst.  refs[0..ndeps) are arguments to be
 * resolved before the task runs, refs[ndeps..nrefs) are contained in arguments.  out[] receives
 * max(1, nreturns) ids, each with the creator's reference.  wr_task_submit makes it visible.
 * WR_FULL, WR_LIMIT (this process has max_pending unfinished calls on the actor), WR_STALE (the
 * ticket is of a former round: ask for another; or the placement group has been removed). */
int wr_task_create(wr_client *c, const wr_task_spec *spec, size_t len, const wr_id *refs,
                   uint32_t nrefs, uint32_t ndeps, wr_id *out, uint8_t **dst);
int wr_task_submit(wr_client *c, wr_idx task);
void wr_task_discard(wr_client *c, wr_idx task); /* instead of submit */

/* ---- streams (stream.c) ---------------------------------------------------------------------- */

/* A task with WR_TF_STREAM has two returns: its end, and its first item, which the caller of
 * wr_task_create reads on from.  Reading is for one process and one thread at a time.
 * Takes a hold of the item behind one that is held: WR_OK; WR_AGAIN: it is pending itself; WR_DEAD:
 * it is the end of the stream. */
int wr_stream_next(wr_client *c, wr_id item, wr_id *next);
/* The item that wr_stream_next has given comes next: the one before counts as read. */
void wr_stream_advance(wr_client *c, wr_id task, wr_id item);
void wr_stream_leave(wr_client *c, wr_id task); /* reads no more of it */

/* Actor record for a creation task, claimed for this process; it also gets the creator's ref. */
typedef struct {
  uint32_t cls, max_concurrency, flags, max_pending;
  int32_t max_restarts;
  uint16_t pool, shape; /* number of the shape held for life */
  uint64_t meta;
  const char *name, *ns, *cls_name;
} wr_actor_spec;
int wr_actor_create(wr_client *c, const wr_actor_spec *spec, wr_id *out);

/* how: WR_CANCEL_FORCE, WR_CANCEL_FAMILY, WR_CANCEL_ANEW.  1: will never run; 0: too late, running
 * or done (a running one gets the mark and *slot tells which process runs it).  *task becomes the
 * task's own id where it was that of an extra return.  *began, if not NULL: a process runs it, or
 * has tried to, so that there may be children. */
int wr_task_cancel(wr_client *c, wr_id *task, uint32_t how, uint32_t *slot, int *began);
/* Calls f for every unfinished task that `parent` has submitted. */
void wr_task_children(wr_client *c, wr_id parent, void (*f)(void *ctx, wr_id child), void *ctx);

/* ---- placement groups (group.c) ------------------------------------------------------------- */

/* The id of a group is (number, generation). */
int wr_group_create(wr_client *c, const wr_group_spec *spec, wr_id *out);
/* Begins the removal; whoever runs in the group is killed. */
int wr_group_remove(wr_client *c, wr_id group);
/* Waits until it is CREATED or REMOVED (enum wr_group_phase); WR_TIMEOUT, WR_INTR, WR_CLOSED. */
int wr_group_wait(wr_client *c, wr_id group, int64_t deadline_ns);
/* Object obj of this process, pending with its value written, is to be sealed when the group is
 * created: WR_OK; WR_STATE: *other, held for the caller, stands for it already; WR_STALE. */
int wr_group_ready(wr_client *c, wr_id group, wr_id obj, wr_id *other);

/* ---- the worker's side (work.c) ------------------------------------------------------------- */

typedef struct {
  wr_idx idx;
  uint32_t gen;
  wr_task *t;
  const uint8_t *args; /* encoded arguments */
  size_t args_len;
  const wr_idx *refs; /* all refs of the task; the first ndeps are resolved arguments */
  uint32_t nrefs, ndeps;
  const wr_idx *extra; /* nreturns - 1 further returns */
} wr_job;

/* The next task for this process: from its pool's queues, or, for an actor, from its mailbox.
 * Spins, then sleeps.  WR_OK, WR_CLOSED, WR_INTR, WR_TIMEOUT, WR_DEAD (retire: nothing left).
 * Calls of one caller on an actor that runs one at a time come in order, unless it takes any. */
int wr_work_next(wr_client *c, wr_job *job, int64_t timeout_ns);
/* Calls rest(ctx) before it sleeps for want of work, without a lock; NULL: no more. */
void wr_work_at_rest(wr_client *c, void (*rest)(void *ctx), void *ctx);
/* The same without waiting or spinning: WR_OK or WR_AGAIN. */
int wr_work_try(wr_client *c, wr_job *job);
/* Whether calls lie before this actor that may be taken: a guess. */
int wr_work_in_sight(wr_client *c);
/* After every return of the task has its value reserved and written (or none): seals them and lets
 * the task go.  is_error marks the values as errors. */
int wr_work_finish(wr_client *c, const wr_job *job, int is_error, uint16_t flags);
/* A task with WR_TF_STREAM: extra[0] is the item that it yields next; its value is written as those
 * of returns are.  Yield seals it and puts the next one in its place. */
int wr_work_yield(wr_client *c, const wr_job *job, int is_error);
/* May it yield more, or was it cancelled?  Watch: if not, this process will be woken when it may.
 * Wait: until it may, as wr_wait_objects. */
int wr_work_has_room(wr_client *c, const wr_job *job);
int wr_work_watch_room(wr_client *c, const wr_job *job);
int wr_work_wait_room(wr_client *c, const wr_job *job, int64_t deadline_ns);
/* From now on all streams of this actor wait while `room` of their items are unread; 0: none. */
void wr_pace_limit(wr_client *c, uint32_t room);
/* Before finish: there are no more items. */
int wr_work_end_stream(wr_client *c, const wr_job *job);
uint32_t wr_work_yielded(wr_client *c, const wr_job *job); /* so far, by earlier attempts too */
int wr_work_has_reader(wr_client *c, const wr_job *job);
/* Instead of finish, for a task that has not begun and is no call: an argument of it is being made
 * again; it waits for that as if it had just been submitted. */
int wr_work_postpone(wr_client *c, const wr_job *job);
/* Instead of finish: the task failed in a way that its retries cover; it is queued again. */
int wr_work_retry(wr_client *c, const wr_job *job);
/* The creation task of an actor succeeded (1) or failed (0) in this process. */
int wr_work_actor_up(wr_client *c, const wr_job *job, int ok);
/* This process, an actor, leaves for good: no restart; queued calls fail. */
void wr_work_actor_exit(wr_client *c);

#endif
