/* shm/layout.h - every structure that processes share, in the order it lies in the segment.
 *
 * Glossary
 *   segment   one memfd per node, mapped by every process of the session at an address of its own:
 *             shared structures hold offsets and indexes, never pointers
 *   slot      index of a process in the process table (1..4095; 0 means nobody).  A slot is given
 *             to a new process only after the sweep of its last holder has ended, so a slot alone
 *             names a holder exactly; its generation tells apart uses over time
 *   record    memory whose kind never changes: cells of 64 bytes and tasks of 256 bytes, handed
 *             out in chunks of 64 KiB to the process that fills them.  Records are type-stable: a
 *             stale index always meets a word of the right type
 *   idx       index of a record in units of 64 bytes; with the top bit set, index of an actor
 *   cell      a 64-byte record: an object, or a node of a list of waiting tasks
 *   heap      memory for values: 64 KiB chunks, alone or in runs (large values), or cut into
 *             blocks of one size class (spans)
 *   tagged    a 64-bit word: 32 bits of value and a tag (slot, sequence) that names the last
 *             operation, so that a sweep can tell whether a dead process's operation took effect
 *   stream    what a task yields: items, each of which names the next one; see wr_item
 *   hold      one reference of a process on a record it did not create; the hold table is the truth
 *   view      a hold of a process that also looks at the bytes of the value: they must stay there
 *   pin       one reference of a record (a task's argument, a value that contains refs) on another
 *   lineage   how a value came to be: the record of its task, and those of what that was given
 *   shape     resources + pool, perhaps in a group; ready tasks of one shape share a queue
 *   ticket    what a process keeps of a shape: its number, and the round in which it was told so.
 *             When numbers are short whiprayd takes back those that nobody uses, and a new round
 *             begins: tickets of former rounds are worth nothing
 *   pool      the workers of one job and one runtime environment
 *   group     a placement group: resources that were taken from the ledger all at once
 *   bundle    a part of a group's resources, with amounts of its own for claims inside the group
 *
 * Rules
 *   - every transition is one atomic operation on one word; several in a row are listed, with what
 *     the sweep does between any two of them, in docs/internals/failure-model.md
 *   - queues and lists are hints: duplicates, stale entries and losses are all repaired
 */
#ifndef WR_SHM_LAYOUT_H
#define WR_SHM_LAYOUT_H

#include <stddef.h>

#include "shm/atomic.h"

#define WR_SEGMENT_MAGIC UINT64_C(0x3179617270696877) /* "whipray1" */
#define WR_SEGMENT_VERSION 8u

#define WR_CHUNK_SHIFT 16
#define WR_CHUNK ((uint64_t)1 << WR_CHUNK_SHIFT)
#define WR_CELL 64u
#define WR_TASK_CELLS 4u /* a task takes four cells */

#define WR_MAX_PROCS 4096u
#define WR_MAX_ACTORS 16384u
#define WR_MAX_POOLS 1024u
#define WR_MAX_SHAPES 4032u /* below WR_SHAPE_ACTOR, which is none */
#define WR_WIDE_SHAPES 256u /* the first ones have long overflow rings */
#define WR_MAX_RESOURCES 256u
#define WR_SHAPE_RESOURCES 8u
#define WR_REC_CHUNKS 131072u /* 8 GiB of records */
#define WR_MAX_CELLS (WR_REC_CHUNKS * (uint32_t)(WR_CHUNK / WR_CELL))
#ifdef WR_HOSTILE
#define WR_RING_SHORT 64u
#define WR_RING_LONG 16384u
#define WR_POOL_URGENT 4u
#else
#define WR_RING_SHORT 65536u
#define WR_RING_LONG 4194304u
#define WR_POOL_URGENT 256u
#endif
#define WR_SPILL_MIN 1024u  /* bytes: smaller values are never spilled, and need no view */
#define WR_INLINE_VALUE 32u /* bytes of a value inside an object record */
#define WR_INLINE_ARGS 120u /* bytes of encoded arguments inside a task record */
#define WR_TASK_NAME 112u   /* bytes of the longest name that a task record has room for */
#define WR_RES_SCALE 10000  /* resource amounts are fixed point, 1/10000 */
#define WR_MAX_GROUPS 4096u
#define WR_MAX_BUNDLES 16384u
#define WR_MAX_GPUS 64u
#define WR_MAX_EXPORTS 16384u /* a power of two */

#define WR_ACTOR_BIT 0x80000000u
#define WR_GROUP_BIT 0x40000000u /* in the table of names: a group, not an actor */

typedef uint32_t wr_idx;

/* ---- tagged words -------------------------------------------------------------------------- */

#define WR_TAG_SLOT_SHIFT 32
#define WR_TAG_SEQ_SHIFT 44
#define WR_TAG_SEQ_MASK 0xFFFFFu /* 20 bits */
static inline uint32_t wr_tag_value(uint64_t w) { return (uint32_t)w; }
static inline uint32_t wr_tag_slot(uint64_t w) {
  return (uint32_t)(w >> WR_TAG_SLOT_SHIFT) & 0xFFF;
}
static inline uint32_t wr_tag_seq(uint64_t w) { return (uint32_t)(w >> WR_TAG_SEQ_SHIFT); }
static inline uint64_t wr_tag_make(uint32_t value, uint32_t slot, uint32_t seq) {
  return (uint64_t)value | (uint64_t)slot << WR_TAG_SLOT_SHIFT |
         (uint64_t)(seq & WR_TAG_SEQ_MASK) << WR_TAG_SEQ_SHIFT;
}

/* value of a refs word: three idempotent flags and a count of pins and holds */
#define WR_REF_CREATOR 0x80000000u /* the creating process still holds its own reference */
#define WR_REF_TASK 0x40000000u    /* the producing task has not let go */
/* The lineage of another record names this one: with this flag alone the record stays and a large
 * value of it goes.  Set by who holds a pin at that time; cleared by whiprayd alone, once nothing
 * that names the record is needed itself. */
#define WR_REF_LINEAGE 0x20000000u
#define WR_REF_COUNT 0x1FFFFFFFu
static inline int wr_ref_unwanted(uint64_t w) { /* nobody refers to the value any more */
  return (wr_tag_value(w) & ~WR_REF_LINEAGE) == 0;
}

/* ---- objects ------------------------------------------------------------------------------- */

enum wr_object_phase {
  WR_OBJ_FREE = 0,
  WR_OBJ_PENDING = 1, /* a producer will seal it */
  WR_OBJ_READY = 2,
  WR_OBJ_ERROR = 3, /* sealed, and the value is an error */
  WR_OBJ_DYING = 4, /* claimed for freeing by the slot in the w0 field */
  WR_OBJ_NODE = 5   /* not an object: a node of a waiting list */
};
/* state: phase:4 | w0:12 | w1:12 | many:1 | place:3 | gen:32.  w0 and w1 are slots to wake when the
 * object is sealed, or its value is back in memory; `many` says that more wait: wake every process
 * that waits for objects. */
#define WR_OBJ_PHASE(s) ((uint32_t)((s) & 0xF))
#define WR_OBJ_W0(s) ((uint32_t)((s) >> 4) & 0xFFF)
#define WR_OBJ_W1(s) ((uint32_t)((s) >> 16) & 0xFFF)
#define WR_OBJ_MANY ((uint64_t)1 << 28)
#define WR_OBJ_PLACE(s) ((uint32_t)((s) >> 29) & 7)
#define WR_OBJ_IN(place) ((uint64_t)(place) << 29)
#define WR_OBJ_PLACE_MASK WR_OBJ_IN(7)
#define WR_OBJ_GEN(s) ((uint32_t)((s) >> 32))
#define WR_OBJ_STATE(phase, gen) ((uint64_t)(phase) | (uint64_t)(gen) << 32)

/* Where the value of a READY object is; nothing but MEMORY in any other phase.  whiprayd alone
 * moves an object from place to place, and frees the memory of none that a view shows (see
 * WR_HOLD_VIEW).  While the place is LEAVING, COMING or REMAKING, v.b is whiprayd's, and an object
 * that has lost its last reference is left to it; in FILE and LOST block and off are 0, whoever
 * lets go of the last reference frees the record, and whiprayd drops the bytes on disk once it sees
 * that.  Shedding is the only move of clients: whoever lets go of the last reference but that of
 * lineage claims the value (MEMORY to SHEDDING), looks once more whether nobody needs it, and frees
 * it. */
enum wr_object_place {
  WR_IN_MEMORY = 0,
  WR_IN_LEAVING = 1, /* whiprayd looks for views and then frees the memory, or does not */
  WR_IN_FILE = 2,    /* spilled */
  WR_IN_COMING = 3,  /* whiprayd reads it back */
  WR_IN_LOST = 4,    /* what was on disk is not the value any more, or the value has been shed */
  WR_IN_SHEDDING = 5, /* the process in the w0 field frees it: only lineage names the record */
  WR_IN_REMAKING = 6  /* its task runs again, for whiprayd, which puts the result here */
};

/* flags of a value */
#define WR_VAL_BLOCK 0x01u  /* in the heap at v[0], v[1] bytes; else inline */
#define WR_VAL_SYSERR 0x02u /* error made by the engine: text after a code, not a pickle */
#define WR_VAL_EXTRA 0x04u  /* object is an extra return of a task: producer in `producer` */
#define WR_VAL_FUNC 0x08u   /* an exported function or class: kept until the session ends */
#define WR_VAL_FAILED 0x10u /* an error, whatever the other returns of its task are */
#define WR_VAL_REMOVED 0x20u /* stood for a placement group that has gone: becomes an error */

typedef struct {
  _Alignas(64) wr_a64 state;
  wr_a64 refs; /* tagged */
  wr_a64 deps; /* idx of the newest node of the list of tasks that wait; 0: none */
  uint16_t flags;   /* WR_VAL_*; written before the seal */
  uint16_t creator; /* slot that made the record */
  uint32_t len;     /* inline length; when in a block, number of contained refs, but in an extra
                     * return of a task that is KEPT: that task */
  union {
    uint8_t bytes[WR_INLINE_VALUE];
    struct {
      uint64_t off;      /* of the value, 64-byte aligned */
      uint64_t len;      /* of the value */
      uint64_t block;    /* start of the block: the list of contained refs, then the value */
      union {
        uint32_t producer; /* task of a pending extra return */
        wr_a32 touched;    /* of a value: `births` when it was made or last looked at; a hint */
      };
      uint32_t nrefs;
    } b;
  } v;
} wr_object;
_Static_assert(sizeof(wr_object) == 64, "shared layout: bump WR_SEGMENT_VERSION");

/* A node says: task `task` waits for object `obj`.  Nodes are hints: the task's own `wait` word
 * decides, so a node may stand twice or be stale.  But it may be lost only with the object: its
 * record was an object's, whose id somebody may still try to hold. */
typedef struct {
  _Alignas(64) wr_a64 state; /* as an object's; phase NODE while in use */
  wr_a64 refs;               /* as an object's, of which none is left: holds find nothing here */
  uint32_t task, task_gen;
  uint32_t obj, obj_gen;
  uint32_t pos;  /* the argument waited for */
  uint32_t next; /* node idx */
  uint64_t pad[3];
} wr_node;
_Static_assert(sizeof(wr_node) == 64, "shared layout: bump WR_SEGMENT_VERSION");
_Static_assert(offsetof(wr_node, refs) == offsetof(wr_object, refs), "a node is no object to hold");

/* References that a block or a task keeps alive.  `npinned` counts how many of idx[] are pinned
 * now; its only writer is the process that owns the record at that time. */
typedef struct {
  wr_a32 npinned;
  uint32_t n;
  uint32_t idx[];
} wr_pins;

/* ---- tasks --------------------------------------------------------------------------------- */

enum wr_task_phase {
  WR_TASK_FREE = 0,
  WR_TASK_BUILDING = 1, /* private to the submitter */
  WR_TASK_WAITING = 2,  /* an argument is pending */
  WR_TASK_QUEUED = 3,   /* may be claimed: from its shape's queue or its actor's mailbox */
  WR_TASK_RUNNING = 4,  /* claimed by the slot in the word */
  WR_TASK_FINISHED = 5,
  /* A call that was cancelled before its actor came to it.  It stays linked in the mailbox, or in
   * what the actor has fetched from it, and who takes it out of there moves it on: */
  WR_TASK_CANCELLING = 6, /* the slot in the word answers it; taken out: RUNNING under that slot */
  WR_TASK_ANSWERED = 7,   /* its returns are sealed; taken out: FINISHED, and let go */
  /* Finished, and it can be run again should a large return of it be lost: all that its list of
   * pins names, and its extra returns, have the flag of lineage, and the word still has its shape.
   * From here whiprayd alone changes it. */
  WR_TASK_KEPT = 8
};
/* tstate: phase:4 | slot:12 | shape:12 | 0:4 | gen:32 */
#define WR_TASK_PHASE(s) ((uint32_t)((s) & 0xF))
#define WR_TASK_SLOT(s) ((uint32_t)((s) >> 4) & 0xFFF)
#define WR_TASK_SHAPE(s) ((uint32_t)((s) >> 16) & 0xFFF)
#define WR_TASK_GEN(s) ((uint32_t)((s) >> 32))
#define WR_TASK_STATE(phase, slot, shape, gen) \
  ((uint64_t)(phase) | (uint64_t)(slot) << 4 | (uint64_t)(shape) << 16 | (uint64_t)(gen) << 32)
#define WR_SHAPE_ACTOR 0xFFFu /* shape of a call on an actor: only the actor's process claims it \
                               */

/* ticket: shape:12 | round:19 */
#define WR_TICKET(shape, round) ((uint32_t)(shape) | (uint32_t)(round) << 12)
#define WR_TICKET_SHAPE(t) ((uint32_t)(t) & 0xFFF)
#define WR_TICKET_ROUND(t) ((uint32_t)(t) >> 12)
#define WR_TICKET_ROUNDS 0x80000u

/* wait: pos:32 | gen:32.  The position of the argument waited for; advancing it is one swap.
 * For a call on an actor pos is its number among its submitter's calls instead. */
#define WR_WAIT(pos, gen) ((uint64_t)(pos) | (uint64_t)(gen) << 32)

#define WR_TF_RETRY_EXC 0x01u  /* application errors are retried too */
#define WR_TF_CREATION 0x02u   /* creates actor `actor` */
#define WR_TF_CALL 0x04u       /* a call on actor `actor` */
#define WR_TF_ARGS_BLOCK 0x08u /* arguments lie in a heap block, not in the record */
#define WR_TF_CONTROL 0x10u    /* a call that the worker handles itself (terminate) */
#define WR_TF_WRITTEN 0x20u    /* every return's value is complete: whoever follows may seal them */
#define WR_TF_FAILED 0x40u     /* ... as errors */
#define WR_TF_SYSERR 0x80u     /* ... made by the engine */
#define WR_TF_STREAM 0x100u    /* yields: a wr_stream in the place of its extra returns */
#define WR_TF_DYNAMIC 0x200u   /* for the client layer: its value lists what it yields */
#define WR_TF_REMAKE 0x400u    /* whiprayd runs another task again with it; never KEPT itself */
#define WR_TF_EVICTED 0x800u   /* was KEPT, until lineage took too much memory */
#define WR_TF_UNPLACED 0x1000u /* was KEPT, until its placement group was removed */
#define WR_TF_OWNERLESS 0x2000u /* was KEPT, until its job ended, and its pool with it */
#define WR_TF_AGAIN 0x4000u    /* a first try has failed; what that has submitted may still run */
#define WR_TF_NAMED 0x8000u    /* inl starts with its name: a byte that says its length, the text */

#define WR_CANCEL_WANTED 1u
#define WR_CANCEL_FORCE 2u
#define WR_CANCEL_FAMILY 4u /* and what it has submitted */
#define WR_CANCEL_TOLD 8u   /* whiprayd has interrupted the process that runs it */
#define WR_CANCEL_ANEW 16u  /* only asked for: interrupt it also when that has been done before */

typedef struct {
  wr_object ret; /* the first return; its idx is the task's */
  wr_a64 tstate;
  wr_a64 wait;
  uint32_t fn;    /* exported function, class or, for a call, the method's number */
  uint32_t actor; /* actor idx without WR_ACTOR_BIT, plus one; 0: none */
  uint32_t actor_gen;
  wr_a32 qnext;       /* link in a mailbox; of a KEPT task whose object is REMAKING: its copy */
  uint16_t submitter; /* slot */
  uint16_t nreturns;  /* 0, 1 or more; extra ones stand after the pins */
  uint16_t ndeps;     /* the first refs of the pins are arguments to be resolved */
  uint16_t flags;     /* WR_TF_* */
  int16_t retries;    /* left; -1 endless */
  uint16_t options;   /* free for the client layer (concurrency group, ...) */
  wr_a32 cancel;      /* WR_CANCEL_* */
  uint32_t args_len;  /* bytes of the encoded arguments */
  uint32_t args_pos;  /* where they start, from the start of the argument area */
  uint64_t args;      /* offset of the argument area in the segment */
  uint32_t parent, parent_gen; /* task that submitted it, 0: none; a hint for recursive cancels */
  /* argument area: wr_pins, extra returns (uint32_t each), padding, encoded arguments; here, behind
   * a name that the task may have, or in a block */
  uint8_t inl[WR_INLINE_ARGS];
} wr_task;
_Static_assert(sizeof(wr_task) == 256, "shared layout: bump WR_SEGMENT_VERSION");
_Static_assert(offsetof(wr_task, tstate) == 64, "task words start a cache line");

/* ---- streams ------------------------------------------------------------------------------- */

/* One thing that a task yields: an object, and behind it a list of at most one pin, on the item
 * that comes next.
 *
 * Invariants:
 *   - a task that streams names one item, the one that it will seal next.  That item alone is
 *     pending, and it alone has the task's flag (but between the steps of wr_stream_publish);
 *   - an item is linked to its successor before it is sealed.  A sealed item that never had a
 *     successor is the end: n is 0;
 *   - the task writes the link until the seal; after it whoever reads the stream, who cuts it once
 *     the next item is held.  So what nobody read goes with the first item that nobody read, and
 *     what was read keeps nothing alive;
 *   - number counts the items of the stream: that of the item that the task names is how many have
 *     been yielded, also by an attempt that died. */
typedef struct {
  wr_object obj;
  _Alignas(64) wr_a32 npinned; /* with n and next: a wr_pins of one */
  uint32_t n;
  uint32_t next;
  uint32_t number;
  uint32_t task, task_gen; /* that yields it */
  uint32_t prev, prev_gen; /* the item before; 0: none */
  uint64_t pad[4];
} wr_item;
_Static_assert(sizeof(wr_item) == 128, "shared layout: bump WR_SEGMENT_VERSION");
_Static_assert(offsetof(wr_item, n) == offsetof(wr_item, npinned) + offsetof(wr_pins, n) &&
                   offsetof(wr_item, next) == offsetof(wr_item, npinned) + offsetof(wr_pins, idx),
               "a link is a list of pins");
#define WR_ITEM_CELLS 2u

/* In the argument area of a task that streams, in the place of its extra returns.  Whoever reads
 * the stream, one process, writes `consumed` and `closed`; `waiter` is a hint, since each sweep
 * wakes every sleeper. */
typedef struct {
  wr_a32 item;     /* that the task will seal next; 0: it has ended */
  wr_a32 consumed; /* items read */
  wr_a32 closed;   /* 1: nobody will read on */
  wr_a32 waiter;   /* slot of a producer that waits until more is read; 0: none */
  uint32_t room;   /* items that may be yielded and not read; 0: any number */
} wr_stream;
_Static_assert(sizeof(wr_stream) == 20, "shared layout: bump WR_SEGMENT_VERSION");

/* ---- actors -------------------------------------------------------------------------------- */

enum wr_actor_phase {
  WR_ACTOR_FREE = 0,
  WR_ACTOR_MAKING = 5,  /* the process in the slot makes it: nothing else of it means anything */
  WR_ACTOR_PENDING = 1, /* its creation task has not finished */
  WR_ACTOR_ALIVE = 2,
  WR_ACTOR_RESTARTING = 3,
  WR_ACTOR_DEAD = 4
};
/* state: phase:4 | slot:12 | 0:16 | gen:32; slot is the process that runs it */
#define WR_ACTOR_PHASE(s) ((uint32_t)((s) & 0xF))
#define WR_ACTOR_SLOT(s) ((uint32_t)((s) >> 4) & 0xFFF)
#define WR_ACTOR_GEN(s) ((uint32_t)((s) >> 32))
#define WR_ACTOR_STATE(phase, slot, gen) \
  ((uint64_t)(phase) | (uint64_t)(slot) << 4 | (uint64_t)(gen) << 32)

#define WR_AF_DETACHED 0x01u
#define WR_AF_ASYNC 0x02u
#define WR_AF_NAMED 0x04u
#define WR_AF_NO_RESTART 0x08u /* killed for good, or left by itself */
#define WR_AF_RETIRE 0x10u     /* the last handle has gone: end after the queued calls */
#define WR_AF_ANY_ORDER 0x20u  /* a call whose arguments are there may overtake one that waits */

/* why an actor is dead */
enum wr_actor_cause {
  WR_CAUSE_NONE = 0,
  WR_CAUSE_KILLED = 1,      /* kill() */
  WR_CAUSE_EXITED = 2,      /* exit_actor(), or out of scope */
  WR_CAUSE_CONSTRUCTOR = 3, /* the constructor failed: the creation task's object has the error */
  WR_CAUSE_CRASHED = 4,     /* its process died */
  WR_CAUSE_OWNER = 5,       /* its job or its owner ended */
  WR_CAUSE_GROUP = 6,       /* its placement group was removed */
  WR_CAUSE_UNSCHEDULABLE = 7, /* no node is as it asked */
  WR_CAUSE_MEMORY = 8         /* its process was ended because memory was short */
};

typedef struct {
  _Alignas(64) wr_a64 state;
  wr_a64 refs;                     /* tagged; handles */
  wr_a64 mailbox;                  /* tagged; head of the list of calls, newest first */
  uint32_t creation, creation_gen; /* task */
  uint32_t cls;                    /* exported class */
  uint16_t creator;                /* slot */
  uint16_t job;                    /* driver's slot */
  uint16_t pool, shape;            /* where it runs; what it holds for life */
  int32_t max_restarts;            /* -1 endless */
  wr_a32 restarts;                 /* done so far */
  uint32_t max_concurrency;
  _Alignas(64) wr_a32 flags; /* WR_AF_* */
  wr_a32 cause;              /* enum wr_actor_cause */
  wr_a32 exit_code;          /* wait status of its last process */
  wr_a32 last_pid;
  uint32_t max_pending; /* unfinished calls that one process may have on it; 0: no limit */
  uint16_t name_len, ns_len, cls_len, group;
  uint64_t meta; /* object idx of the class's public description, for get_actor */
  wr_a64 peak_rss;  /* bytes that its last process had resident at most; 0: not known */
  wr_a32 last_call; /* number of the method in which its last process died, plus one; 0: none */
  uint8_t pad2[4];
  char text[384]; /* class name, name, namespace, cut to fit; not terminated */
} wr_actor;
_Static_assert(sizeof(wr_actor) == 512, "shared layout: bump WR_SEGMENT_VERSION");

/* ---- processes ----------------------------------------------------------------------------- */

enum wr_proc_phase {
  WR_PROC_FREE = 0,
  WR_PROC_STARTING = 1, /* slot given, process not running yet */
  WR_PROC_LIVE = 2,
  WR_PROC_DEAD = 3 /* death seen, sweep not done */
};
enum wr_role { WR_ROLE_DAEMON = 1, WR_ROLE_DRIVER = 2, WR_ROLE_WORKER = 3 };

/* state: phase:8 | role:8 | pool:16 | gen:32 */
#define WR_PROC_PHASE(s) ((uint32_t)((s) & 0xFF))
#define WR_PROC_ROLE(s) ((uint32_t)((s) >> 8) & 0xFF)
#define WR_PROC_POOL(s) ((uint32_t)((s) >> 16) & 0xFFFF)
#define WR_PROC_GEN(s) ((uint32_t)((s) >> 32))
#define WR_PROC_STATE(phase, role, pool, gen) \
  ((uint64_t)(phase) | (uint64_t)(role) << 8 | (uint64_t)(pool) << 16 | (uint64_t)(gen) << 32)

/* What a worker does now: a hint for wake-ups, spinning and observers. */
enum wr_activity {
  WR_ACT_NONE = 0,
  WR_ACT_SPIN = 1,    /* idle, watching the queues */
  WR_ACT_PARKED = 2,  /* idle, asleep */
  WR_ACT_RUN = 3,     /* runs a task */
  WR_ACT_BLOCKED = 4, /* waits for objects inside a task; its CPU is given back */
  WR_ACT_ACTOR = 5    /* is an actor, idle or not */
};

/* intent: what a multi-step operation is about to do, written before its first step */
enum wr_op_kind {
  WR_OP_NONE = 0,
  WR_OP_HOLD = 1,   /* pin idx for the process, then note it in the hold table at op_arg */
  WR_OP_UNHOLD = 2, /* unpin idx, then clear the hold table at op_arg */
  WR_OP_PIN = 3,    /* pin idx for the list at offset op_arg, then count it */
  WR_OP_UNPIN = 4,  /* unpin idx for the list at offset op_arg, then count down */
  WR_OP_PUSH = 5,   /* push task idx on its actor's mailbox */
  WR_OP_TAKE = 6,   /* take resource idx from the ledger, then set bit op_arg in the claim */
  WR_OP_GIVE = 7,   /* give resource idx back, then clear bit op_arg in the claim */
  WR_OP_RESERVE = 8, /* take resource idx for a group, then set the bit in its `held` */
  WR_OP_RETURN = 9,  /* give resource idx of a group back, then clear the bit in its `held` */
  WR_OP_TAKE_GPU = 10, /* take op_arg of GPU idx, then set its bit in `gpus` */
  WR_OP_GIVE_GPU = 11  /* give op_arg of GPU idx back, then clear its bit in `gpus` */
};
/* op: kind:8 | 0:4 | seq:20 | idx:32 */
#define WR_OP(kind, seq, idx) \
  ((uint64_t)(kind) | (uint64_t)((seq) & WR_TAG_SEQ_MASK) << 12 | (uint64_t)(idx) << 32)
#define WR_OP_KIND(op) ((uint32_t)((op) & 0xFF))
#define WR_OP_SEQ(op) ((uint32_t)((op) >> 12) & WR_TAG_SEQ_MASK)
#define WR_OP_IDX(op) ((uint32_t)((op) >> 32))

typedef struct {
  _Alignas(64) wr_a64 state;
  wr_a32 park;    /* 1: a thread sleeps on this word, or is about to; a wake-up clears it */
  wr_a32 waiting; /* 1: waits for objects; broadcast wake-ups reach it */
  wr_a32 pid;
  wr_a32 activity; /* enum wr_activity */
  wr_a32 current;  /* task it runs, 0: none */
  wr_a32 actor;    /* actor idx + 1 that it is, 0: none */
  wr_a32 cancel;   /* task idx whose interruption was asked for; the signal handler checks it */
  wr_a32 quit;     /* 1: leave the worker loop when idle */
  uint64_t started_ns;
  uint32_t job;           /* driver's slot */
  wr_a32 events;          /* wake-ups so far: a sleeper compares before it lies down */
  wr_a32 waker_cpu;       /* hint: the core that the last wake-up from sleep came from */
  _Alignas(64) wr_a64 op; /* intent, with its argument; one at a time, under the private lock */
  wr_a64 op_arg;
  wr_a32 hand;    /* task taken from or about to be put on a queue */
  wr_a32 drain;   /* object whose waiting list is being walked */
  wr_a64 claim;   /* shape + 1:16 | mask of its resources held:16 | bundle:32; 0: nothing */
  wr_a64 letting; /* idx | gen << 32: extra return whose task flag is about to be cleared, or item
                   * that is being added to a stream */
  wr_a64 tasks_done, tasks_failed; /* counters for observers */
  wr_a64 gpus; /* bit i: a share of GPU i is part of the claim */
  _Alignas(64) wr_a32 acked; /* highest seq of this slot whose tag another process overwrote */
  uint32_t pad2[15];
  _Alignas(64) char title[64]; /* name of the function or actor, for logs and listings */
  /* Object (idx | gen << 32) without which a thread of this process can not go on, while it sleeps;
   * 0: none.  Its own note for those who look for processes that wait for each other; of several
   * threads the last to lie down is in it. */
  wr_a64 awaits;
  uint8_t pad3[248];
} wr_proc;
_Static_assert(sizeof(wr_proc) >= 512, "shared layout: bump WR_SEGMENT_VERSION");

/* ---- queues, shapes, pools, resources ------------------------------------------------------ */

/* A ring of 64-bit words: value:32 | full:1 | lap:31.  The word is the truth; head and tail are
 * hints that anyone moves on. */
typedef struct {
  _Alignas(64) wr_a64 tail;
  _Alignas(64) wr_a64 head;
  _Alignas(64) uint64_t off; /* of the words */
  uint64_t cap;              /* a power of two */
  uint8_t pad[48];
} wr_ring;
_Static_assert(sizeof(wr_ring) == 192, "shared layout: bump WR_SEGMENT_VERSION");

typedef struct {
  uint32_t res;    /* index in the resource table */
  uint32_t amount; /* fixed point */
} wr_need;

enum wr_shape_state {
  WR_SHAPE_FREE = 0,
  WR_SHAPE_OPEN = 1,
  WR_SHAPE_CLOSING = 2 /* nothing begins in it; whiprayd looks whether it is in use */
};

typedef struct {
  _Alignas(64) wr_a32 state; /* enum wr_shape_state */
  uint32_t pool;
  uint32_t n;
  wr_a32 spilled; /* not 0: QUEUED tasks for which the rings had no room; the records tell which */
  wr_need need[WR_SHAPE_RESOURCES];
  uint32_t group;     /* index of the group whose bundles the claims come from, plus one; 0: none */
  uint32_t group_gen;
  uint32_t bundle;    /* index of the only bundle that will do, plus one; 0: any of the group */
  uint32_t gpu;       /* how much of GPUs is among the needs: which ones is noted as well */
  wr_a32 uses;        /* how often the number has been given to a shape */
  wr_ring ready;    /* first choice */
  wr_ring overflow; /* used while `ready` is full, and until it is empty again */
} wr_shape;

_Static_assert(sizeof(wr_shape) == 512, "shared layout: bump WR_SEGMENT_VERSION");
_Static_assert(WR_MAX_SHAPES < WR_SHAPE_ACTOR && WR_MAX_SHAPES % 64 == 0,
               "a call is in no shape; a pool has a bit for each 64 of them");

enum wr_pool_state { WR_POOL_FREE = 0, WR_POOL_OPEN = 1, WR_POOL_CLOSED = 2 /* job ended */ };

typedef struct {
  _Alignas(64) wr_a32 state; /* enum wr_pool_state */
  uint32_t job;              /* driver's slot */
  uint32_t env;              /* 0: the job's own environment */
  wr_a32 want;               /* 1: a request for workers is on its way to the daemon */
  wr_a32 workers;            /* hint: live workers that are not actors */
  wr_a32 starting;           /* hint: workers asked for and not yet live */
  uint32_t pad[10];
  _Alignas(64) wr_a64 idle_any;                /* bit i: word i of idle may be non-zero */
  _Alignas(64) wr_a64 idle[WR_MAX_PROCS / 64]; /* parked workers */
  wr_a64 shape_words; /* bit i: the pool has shapes in word i of shapes; whiprayd's */
  wr_a64 shapes[WR_MAX_SHAPES / 64];           /* shapes of this pool that may have tasks */
  wr_a64 spinning; /* hint: 1 + slot of a worker that watches the queues; 0: none */
  /* Tasks of this pool for which other tasks wait, to be taken before those in the rings, the
   * newest first.  Each of them is, or comes, in a ring as well: an entry may be lost or stale. */
  wr_a32 urgent_any; /* 0: there are none */
  wr_a32 urgent_top; /* entries made so far: the next one goes there, modulo their number */
  wr_a32 urgent[WR_POOL_URGENT]; /* task idx; 0: empty */
} wr_pool;

typedef struct {
  _Alignas(64) wr_a64 avail; /* tagged; signed fixed point */
  wr_a32 total;              /* fixed point */
  uint32_t unit_shift;       /* amounts are in units of 2^shift (memory counts in MiB) */
  char name[112];            /* "" : free; NUL terminated */
} wr_resource;
_Static_assert(sizeof(wr_resource) == 128, "shared layout: bump WR_SEGMENT_VERSION");

/* ---- placement groups ---------------------------------------------------------------------- */

enum wr_group_phase {
  WR_GROUP_FREE = 0,
  WR_GROUP_MAKING = 1,   /* the process in the slot fills it in */
  WR_GROUP_PENDING = 2,  /* waits until its resources are free */
  WR_GROUP_TAKING = 3,   /* the process in the slot takes its resources */
  WR_GROUP_CREATED = 4,
  WR_GROUP_REMOVING = 5, /* the process in the slot gives them back */
  WR_GROUP_REMOVED = 6   /* kept for those who ask; to be used again like a free one */
};
/* state: phase:4 | slot:12 | flags:16 | gen:32 */
#define WR_GROUP_PHASE(s) ((uint32_t)((s) & 0xF))
#define WR_GROUP_SLOT(s) ((uint32_t)((s) >> 4) & 0xFFF)
#define WR_GROUP_FLAGS(s) ((uint32_t)((s) >> 16) & 0xFFFF)
#define WR_GROUP_GEN(s) ((uint32_t)((s) >> 32))
#define WR_GROUP_STATE(phase, slot, flags, gen) \
  ((uint64_t)(phase) | (uint64_t)(slot) << 4 | (uint64_t)(flags) << 16 | (uint64_t)(gen) << 32)

#define WR_GF_KNOWN 0x01u      /* the daemon has shapes in it, or its name: only that removes it */
#define WR_GF_WATCHED 0x02u    /* somebody waits for it: tell all who wait when its phase changes */
#define WR_GF_DOOMED 0x04u     /* the daemon removes it as soon as it can: nothing starts in it */
#define WR_GF_DETACHED 0x08u   /* outlives its job */
#define WR_GF_INFEASIBLE 0x10u /* asks for what the node never has: stays pending */

/* Invariants: only the process in the slot writes `held`.  What `held` names has been taken from
 * the ledger, and is taken by nobody else.  In a bundle of a created group, what is free and what
 * claims name add up to what it has.  Bundles lie one after the other and name their group. */
typedef struct {
  _Alignas(64) wr_a64 state;
  wr_a64 ready;      /* idx | gen << 32 of an object to be sealed once it is created; 0: none */
  wr_a32 held;       /* bit i: sum[i] has been taken from the ledger */
  uint32_t nsum;
  uint32_t first, n; /* bundles */
  uint16_t job;      /* driver's slot */
  uint16_t strategy;
  uint32_t actor, actor_gen; /* the detached actor it ends with, plus one; 0: with its job */
  uint32_t pad[2];
  _Alignas(64) wr_need sum[WR_SHAPE_RESOURCES]; /* of all bundles */
  char name[384]; /* cut to fit, terminated; the daemon has it whole */
} wr_group;
_Static_assert(sizeof(wr_group) == 512, "shared layout: bump WR_SEGMENT_VERSION");

typedef struct {
  _Alignas(64) wr_a64 owner; /* group + 1 | gen << 32; 0: free */
  uint64_t last;             /* the owner that need[] is from, also after it has gone */
  uint32_t n;
  uint8_t pad[44];
  wr_need need[WR_SHAPE_RESOURCES];
  wr_a64 avail[WR_SHAPE_RESOURCES]; /* tagged; signed */
} wr_bundle;
_Static_assert(sizeof(wr_bundle) == 192, "shared layout: bump WR_SEGMENT_VERSION");

/* ---- chunk tables -------------------------------------------------------------------------- */

enum wr_rec_kind {
  WR_REC_NONE = 0,
  WR_REC_CELLS = 1,
  WR_REC_TASKS = 2,
  WR_REC_HOLDS = 3,
  WR_REC_ITEMS = 4
};
/* word of a record chunk: kind:4 | slot:12.  Slot 0: an orphan, free to adopt.  The kind of a
 * chunk never changes once it is set. */
#define WR_REC_WORD(kind, slot) ((uint64_t)(kind) | (uint64_t)(slot) << 4)
#define WR_REC_KIND(w) ((uint32_t)((w) & 0xF))
#define WR_REC_SLOT(w) ((uint32_t)((w) >> 4) & 0xFFF)
#define WR_HOLDS_PER_CHUNK ((uint32_t)(WR_CHUNK / 4))
/* Entry of a hold table: idx of the record, 0: none.  With this bit the process has views of the
 * value.  It sets the bit first and looks at the place second; whiprayd makes the place LEAVING
 * first and looks for bits second: one of them sees the other. */
#define WR_HOLD_VIEW 0x40000000u

enum wr_heap_kind { WR_HEAP_FREE = 0, WR_HEAP_RUN = 1, WR_HEAP_INNER = 2, WR_HEAP_SPAN = 3 };
/* word of a heap chunk: 0 free, or kind:4 | slot:12 | low:16 | high:32 where
 *   RUN    low: low bits of the owner's generation   high: owner's idx
 *   INNER  high: first chunk of its run or span
 *   SPAN   low: size class                           (slot 0: an orphan) */
#define WR_HEAP_WORD(kind, slot, low, high)                                      \
  ((uint64_t)(kind) | (uint64_t)(slot) << 4 | (uint64_t)((low) & 0xFFFF) << 16 | \
   (uint64_t)(high) << 32)
#define WR_HEAP_KIND(w) ((uint32_t)((w) & 0xF))
#define WR_HEAP_SLOT(w) ((uint32_t)((w) >> 4) & 0xFFF)
#define WR_HEAP_LOW(w) ((uint32_t)((w) >> 16) & 0xFFFF)
#define WR_HEAP_HIGH(w) ((uint32_t)((w) >> 32))

/* owner word of a block in a span: idx:32 | gen:32; 0: free */
#define WR_OWNER(idx, gen) ((uint64_t)(idx) | (uint64_t)(gen) << 32)

/* ---- the segment --------------------------------------------------------------------------- */

typedef struct {
  _Alignas(64) uint64_t magic;
  uint32_t version, header_size;
  uint64_t size;                                           /* of the segment */
  uint8_t session[16];                                     /* random */
  uint64_t procs, actors, pools, shapes, resources, rings; /* offsets */
  uint64_t groups, bundles;                                /* offsets */
  uint64_t rec_table, rec_freed, heap_table, heap_freed;   /* offsets */
  uint64_t exports;                                        /* offset: see store/exports.h */
  uint64_t recs, heap; /* offsets of the two areas, chunk aligned */
  uint64_t heap_chunks, store_chunks; /* all, and of them the store's: the rest it may grow into */
  uint64_t start_ns;
  uint32_t cpus; /* cores of the machine that the session may use */
  uint32_t daemon_pid;
  _Alignas(64) wr_a32 ended; /* 1: the session is over; every wait returns WR_CLOSED */
  wr_a32 sweeps;             /* number of completed sweeps; a change means "look again" */
  wr_a32 shape_round;        /* of tickets */
  _Alignas(64) wr_a32 nshapes, npools, nresources, nactors; /* in use: high-water marks */
  wr_a32 rec_high;                                          /* first record chunk never used */
  wr_a32 rec_orphans;            /* hint: orphans among the record chunks */
  wr_a32 heap_orphans;           /* hint */
  wr_a32 proc_high;              /* first process slot never used */
  _Alignas(64) wr_a64 heap_high; /* hint: first heap chunk never used */
  wr_a64 heap_low;               /* hint: below this no heap chunk is free */
  wr_a32 room_wanted;            /* hint: how often the heap was found full */
  wr_a32 births;        /* values made that could be spilled: the clock of `touched` */
  wr_a32 spill_steps;   /* moves while whiprayd gets on with spilling and restoring */
  wr_a32 spill_trouble; /* errno of the last attempt to spill; 0: it went well */
  wr_a32 files_dropped; /* hint: how often a spilled object has been freed */
  wr_a32 lineage_loose; /* hint: how often lineage may have become useless */
  wr_a64 heap_limit;    /* hint: chunks from this one on are not to be claimed now; whiprayd's */
  wr_a32 spill_looks;   /* moves when whiprayd has looked for room and has nothing under way */
  wr_a32 room_turn;     /* hint: slot that alone claims chunks, until it has; 0: everybody may */
  _Alignas(64) wr_a32 groups_waiting; /* not 0: some groups may be pending; the records tell */
  wr_a32 ngroups, nbundles;           /* in use: high-water marks */
  wr_a32 group_next, bundle_next;     /* hints: where to look for a free one */
  wr_a32 turn; /* pool + 1 that gets what workers of others give back after their task; 0: none */
  _Alignas(64) uint32_t ngpus;
  wr_a64 gpu[WR_MAX_GPUS]; /* tagged: how much of each is free */
  /* Where values go and, after trouble, how much was to go there, is free there, is there. */
  _Alignas(64) char spill_dir[320];
  wr_a64 spill_bytes, spill_free, spill_disk;
  _Alignas(64) char end_reason[320]; /* written by the daemon before it sets `ended`; terminated */
} wr_header;

#endif
