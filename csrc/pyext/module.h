/* pyext/module.h - what the files of the extension module share.
 *
 * Python objects live in the module state, never in globals.  The session is one per process, as
 * the client is: `wrpy_sess` holds it and a number (epoch) that tells sessions apart, so that an
 * ObjectRef that outlives its session lets go of nothing.  Every function here wants the GIL unless
 * it says otherwise; a stretch without the GIL that touches the client is bracketed by WRPY_LEAVE
 * and WRPY_ENTER, so that a detach waits until no thread is inside. */
#ifndef WR_PYEXT_MODULE_H
#define WR_PYEXT_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "base/assert.h"
#include "base/vec.h"
#include "client/client.h"
#include "pyext/codec.h"
#include "wire/limits.h"
#include "wire/pack.h"

#define WRPY_ID_BYTES 28
#define WRPY_TASK_BYTES 24
#define WRPY_SLICE_NS \
  INT64_C(500000000) /* longest sleep before signals and the session are looked at */
#define WRPY_IDLE_NS (8 * WRPY_SLICE_NS) /* of those whom a signal or the session's end wakes */
#define WRPY_BIG_COPY ((size_t)256 << 10) /* copies from here on run without the GIL */
#define WRPY_BIG_ARG ((size_t)64 << 10)   /* arguments from here on become objects of their own */

/* ---- the session of this process ----------------------------------------------------------- */

typedef struct {
  wr_client *client; /* NULL: not attached */
  wr_seg *seg;
  uint32_t epoch;      /* number of the session, 0: not attached */
  uint32_t last_epoch; /* never reused */
  uint32_t stamp;      /* changes with all that prepared submitters depend on; 0: not attached */
  uint32_t plain;      /* its value outside of tasks that hand something on to their children */
  uint32_t last_stamp; /* never reused */
  uint64_t tag;        /* first bytes of the session's id */
  wr_vec64 tags;       /* of all sessions so far, by epoch: a ref's id stays what it was */
  atomic_long users;   /* threads inside the client without the GIL */
  long views;          /* zero-copy values of this session that live */
  long reading;        /* values in the segment that are decoded; sessions come and go meanwhile */
} wrpy_session;
extern wrpy_session wrpy_sess;
int wrpy_guard_forks(void); /* once per process: its children leave the session alone */

#define WRPY_LEAVE                         \
  {                                        \
    atomic_fetch_add(&wrpy_sess.users, 1); \
    PyThreadState *wrpy_save_ = PyEval_SaveThread();
#define WRPY_ENTER                       \
  atomic_fetch_sub(&wrpy_sess.users, 1); \
  PyEval_RestoreThread(wrpy_save_);      \
  }

/* ---- module state -------------------------------------------------------------------------- */

typedef struct {
  wr_codec_state codec;
  PyTypeObject *ref_type, *hold_type, *submitter_type, *handle_type, *method_type, *job_type;
  PyTypeObject *readyset_type, *stream_type;
  PyObject *errors_name, *hooks_name; /* modules, imported when first needed */
  PyObject *errors;                   /* module with the exception classes */
  PyObject *hooks;                    /* module with what is rare and better said in Python */
  PyObject *await_fn;                 /* ObjectRef.__await__ */
  PyObject *ref_at, *handle_of, *weak_handle; /* module functions that pickles name */
  PyObject *handle_class;             /* subclass of ActorHandle that decoding makes */
  PyObject *stream_class;             /* subclass of Stream that submitting makes */
  PyObject *item_stats;               /* class of what running generators are sent, or NULL */
  PyObject *method_mixin;             /* class with the rarer attributes of ActorMethod */
  char unfinished; /* the streams of this process may hold a line without an end */
  PyObject *described;                /* {meta id: (methods, info)} of this session */
  uint32_t described_epoch;
  PyObject *s_prepare, *s_check_args, *s_timeout;
  PyObject *job_context; /* context variable: the Job that a thread or coroutine serves */
  struct wrpy_worker *worker; /* while worker_loop runs */
  int loops;                  /* calls are served on an event loop: warn who sleeps there */
  PyObject *s_job;       /* key in the dict of a thread that runs jobs: the one it runs */
  PyThreadState *in_row; /* which runs one after the other; NULL: others have looked since */
  PyObject *catch_step;  /* stands in for call_soon while a Task is made: coroutines.c */
  int making, collects;  /* Tasks that are being made; whether garbage was collected before */
  PyObject *s_call_soon, *s_context, *s_done, *s_result, *no_args;
} wrpy_state;

extern PyModuleDef wrpy_module_def;
static inline wrpy_state *wrpy_state_of(PyObject *module) { return PyModule_GetState(module); }
wrpy_state *wrpy_state_of_type(PyTypeObject *type); /* of one of the types above or a subclass */

#define WRPY_FASTCALL(f) ((PyCFunction)(void (*)(void))(f))

/* ---- errors.c ------------------------------------------------------------------------------ */

/* Each sets an exception and returns -1 or NULL. */
int wrpy_fail(wrpy_state *st, int code, const char *doing);
PyObject *wrpy_fail_null(wrpy_state *st, int code, const char *doing);
int wrpy_raise(wrpy_state *st, const char *cls, const char *fmt, ...); /* Python's formats */
/* Takes the exception that is set, as one object; gives it back. */
PyObject *wrpy_take_exception(void);
void wrpy_give_exception(PyObject *exc);
/* A Python text as C has it; ValueError if that is cut short by a null character in `what`. */
const char *wrpy_text(PyObject *v, const char *what);
const char *wrpy_name_text(PyObject *v, const char *what); /* not longer than WR_MAX_NAME, too */
/* Text from shared memory: at most n bytes, up to a zero, whatever they are. */
PyObject *wrpy_shared_text(const char *p, size_t n);
/* The module with the exception classes, borrowed. */
PyObject *wrpy_errors(wrpy_state *st);
/* Calls a function of the hooks module. */
PyObject *wrpy_hook(wrpy_state *st, const char *name, const char *format, ...);
int wrpy_attached(wrpy_state *st);      /* 0, or -1 with an exception */
int wrpy_attached_auto(wrpy_state *st); /* the same, after starting a session if there is none */
/* The same for what is about `ref`, unless NULL: it is of no session that would be started. */
int wrpy_attached_for(wrpy_state *st, PyObject *ref);
/* While code of the program's own pickles or unpickles, and while the GIL is let go, other threads
 * may leave the session.  What was begun in session `epoch` must not go on then: there is no client
 * any more, or it is that of another session, where ids name other things. */
static inline int wrpy_still_in(uint32_t epoch) { return epoch && epoch == wrpy_sess.epoch; }
static inline int wrpy_left(wrpy_state *st, uint32_t epoch, const char *doing) { /* 0, or -1 */
  return WR_LIKELY(wrpy_still_in(epoch)) ? 0 : wrpy_fail(st, WR_CLOSED, doing);
}
/* So may finalizers, while garbage is collected: making a list, tuple or dict may begin that.  Who
 * fills one with what the segment says asks again after each. */
typedef struct {
  wrpy_state *st;
  uint32_t epoch;
} wrpy_look;
static inline int wrpy_look_open(PyObject *module, wrpy_look *l) { /* 0, or -1: not attached */
  *l = (wrpy_look){wrpy_state_of(module), wrpy_sess.epoch};
  return wrpy_attached(l->st);
}
/* v, which has just been made; or NULL, with an exception, if the session was left meanwhile. */
static inline PyObject *wrpy_made(const wrpy_look *l, PyObject *v) {
  if (v && wrpy_left(l->st, l->epoch, "looking at the session")) Py_CLEAR(v);
  return v;
}

/* ---- objectref.c --------------------------------------------------------------------------- */

typedef struct {
  PyObject_HEAD wr_id id;
  union {
    wr_id task;    /* the task that makes it, as far as known; else as id */
    PyObject *raw; /* epoch 0: id bytes, or NULL */
  };
  PyObject *weakrefs;
  uint32_t epoch;  /* 0: names nothing in a session of this process */
  uint8_t holds;   /* enum wrpy_holds */
} wrpy_ref; /* 48 bytes: there may be millions */

extern PyType_Spec wrpy_ref_spec;
static inline int wrpy_is_ref(const wrpy_state *st, PyObject *v) {
  return Py_IS_TYPE(v, st->ref_type);
}
/* What a ref gives back when it goes. */
enum wrpy_holds {
  WRPY_HOLD,    /* a hold of this process */
  WRPY_CREATOR, /* the reference of the process that created the object */
  WRPY_NOTHING  /* of an export, which the session keeps, or in handles that do not count */
};
/* Takes over what `holds` says and the caller has; gives it back on failure. */
PyObject *wrpy_ref_wrap(wrpy_state *st, wr_id id, enum wrpy_holds holds);
/* The same for the refs[i] that a task returns. */
PyObject *wrpy_ref_of_task(wrpy_state *st, wr_id id, wr_id task);
/* A new hold.  gen 0: of whatever is there. */
PyObject *wrpy_ref_hold(wrpy_state *st, wr_idx idx, uint32_t gen);
/* A ref of 28 bytes that holds nothing, also of what has gone. */
PyObject *wrpy_ref_weak(wrpy_state *st, PyObject *bytes);
/* Checks that v is a ref of the current session and gives its id: 0, or -1 with an exception. */
int wrpy_ref_id(wrpy_state *st, PyObject *v, wr_id *out);
int wrpy_object_id_slow(wrpy_state *st, PyObject *v, wr_id *out);
static inline int wrpy_object_id(wrpy_state *st, PyObject *v, wr_id *out) { /* not an actor's */
  const wrpy_ref *r = (const wrpy_ref *)v;
  if (WR_UNLIKELY(!wrpy_is_ref(st, v) || r->epoch != wrpy_sess.epoch || !r->epoch ||
                  (r->id.idx & WR_ACTOR_BIT)))
    return wrpy_object_id_slow(st, v, out);
  *out = r->id;
  return 0;
}
PyObject *wrpy_id_bytes(wr_id id, Py_ssize_t n); /* the first n bytes */
int wrpy_ref_id_of(PyObject *v, wr_id *out);     /* for the codec: without the module state */
extern PyMethodDef wrpy_ref_methods[];

/* ---- values.c ------------------------------------------------------------------------------ */

extern PyType_Spec wrpy_hold_spec;
int wrpy_keep_views(void); /* gives views that live a copy of what they show; WR_OK or WR_NOMEM */
/* Waits for room in the store: 0 means try again. */
typedef struct {
  uint64_t since;  /* when there was no room first; 0: not yet */
  uint64_t asked;  /* when whiprayd was asked last; 0: not yet */
  uint64_t waited; /* ns for which it has looked and nothing has moved */
  uint32_t steps, looks; /* `spill_steps`, `spill_looks` at that time */
  uint64_t seen;   /* wake-ups */
} wrpy_room;
int wrpy_room_wait(wrpy_state *st, wrpy_room *room, size_t len);
/* Copies an encoded value to dst, without the GIL when it is large: -1 with an exception when the
 * session has been left meanwhile. */
int wrpy_copy_large(wrpy_state *st, const wr_enc *enc, uint8_t *dst, const char *doing);
static inline int wrpy_copy_out(wrpy_state *st, const wr_enc *enc, uint8_t *dst,
                                const char *doing) {
  if (WR_UNLIKELY(enc->total >= WRPY_BIG_COPY)) return wrpy_copy_large(st, enc, dst, doing);
  wrpy_enc_write(enc, dst);
  return 0;
}
/* Reserves room for the value of idx and writes it there. */
int wrpy_store(wrpy_state *st, wr_idx idx, wr_enc *enc);
/* Encodes v and makes an object of it; *out gets the creator's reference. */
int wrpy_put_value(wrpy_state *st, PyObject *v, wr_id *out);
/* The same of what has been encoded in session `epoch`. */
int wrpy_put_encoded(wrpy_state *st, wr_enc *enc, uint32_t epoch, wr_id *out);
int wrpy_put_error(wrpy_state *st, PyObject *exc, wr_id *out); /* the value is an error */
/* The value of a sealed object; one on disk has until `deadline` (see wrpy_deadline) to come.
 * *is_error: it is an exception object that the caller raises. */
PyObject *wrpy_load(wrpy_state *st, wr_id id, int64_t deadline, int *is_error);
/* Waits until the value is in memory, or lost for good; 1: it is being made again. */
int wrpy_bring(wrpy_state *st, wr_id id);
PyObject *wrpy_load_or_raise(wrpy_state *st, wr_id id, int64_t deadline);
int wrpy_timed_out(wrpy_state *st); /* -1, with GetTimeoutError set */
/* Wraps the error in the thread, which unpickling a value has raised. */
void wrpy_tell_unreadable(wrpy_state *st);
static inline int wrpy_phase(wr_id id) {
  uint64_t w = wr_load(&wr_obj(wrpy_sess.seg, id.idx)->state);
  return WR_OBJ_GEN(w) == id.gen ? (int)WR_OBJ_PHASE(w) : WR_STALE;
}
static inline uint32_t wrpy_gen_of(wr_idx idx) {
  return WR_OBJ_GEN(wr_load_relaxed(&wr_obj(wrpy_sess.seg, idx)->state));
}

/* ---- wait.c, readyset.c ---------------------------------------------------------------------- */

/* A timeout argument (None or seconds) as a deadline: absolute, 0 for now, -1 for none. */
int wrpy_deadline(PyObject *timeout, int64_t *deadline);
/* The part of the time until `deadline` that may be slept in one go. */
int64_t wrpy_slice(int64_t deadline);
/* The same of those who sleep for WRPY_IDLE_NS at most. */
int64_t wrpy_idle(int64_t deadline);
/* Each waits without the GIL and runs signal handlers now and then: 0 done, 1 the deadline has
 * passed, -1 with an exception.  sleep() returns as wr_wait_objects does, at `until_ns` at last. */
int wrpy_wait_in_slices(wrpy_state *st, int (*sleep)(void *arg, int64_t until_ns), void *arg,
                        int64_t deadline);
int wrpy_wait_sealed(wrpy_state *st, const wr_id *ids, size_t n, size_t want, int stop_on_error,
                     int64_t deadline);
extern PyMethodDef wrpy_wait_methods[];
extern PyType_Spec wrpy_readyset_spec;

/* ---- stream.c ------------------------------------------------------------------------------- */

extern PyType_Spec wrpy_stream_spec;
extern PyMethodDef wrpy_stream_methods[];
/* Takes over the creator's references of a task with WR_TF_STREAM and of its first item. */
PyObject *wrpy_stream_make(wrpy_state *st, wr_id task, wr_id item);
/* The next item of v, if v is a Stream: 1; 0 if not; -1 with an exception. */
int wrpy_stream_item(wrpy_state *st, PyObject *v, wr_id *out);

/* ---- born.c --------------------------------------------------------------------------------- */

int wrpy_born_install(void); /* if NumPy has been imported since; 0, or -1 with an exception */
/* The memory of an array that was born in the store and that only the caller has, before it is
 * encoded; or NULL. */
void *wrpy_born_memory(PyObject *v);
/* Makes that array, encoded in enc, the value of idx without a copy: 1 done, 0 it cannot be. */
int wrpy_born_store(wr_idx idx, PyObject *v, void *memory, const wr_enc *enc);

/* ---- shared.c ------------------------------------------------------------------------------- */

#define WRPY_SHARED_MIN ((size_t)1 << 20) /* bytes of an array that is put without a copy */
/* Makes a value the greatest part of which lies in such an array that of a pending object, without
 * copying that part: 1 done, 0 it has to be copied, -1 the session was left meanwhile.  Give: the
 * array is `data`, and nobody's any more. */
int wrpy_shared_put(wrpy_state *st, wr_id id, const wr_enc *enc);
int wrpy_shared_give(wr_idx idx, void *data, const wr_enc *enc);
extern PyMethodDef wrpy_shared_methods[];

/* ---- objects.c ----------------------------------------------------------------------------- */

extern PyMethodDef wrpy_object_methods[];

/* ---- submit.c, call_shape.c, actor.c, handles.c ---------------------------------------------- */

extern PyType_Spec wrpy_submitter_spec, wrpy_handle_spec, wrpy_method_spec;
typedef struct {
  PyObject_HEAD PyObject *ref; /* ObjectRef with WR_ACTOR_BIT */
  PyObject *methods;           /* {name: MethodInfo} */
  PyObject *info;              /* facts about the class */
  PyObject *creation; /* ref of the creation task, where the actor was created: keeps its error */
  PyObject *shapes; /* of calls that fit, by method; see call_shape.c */
  PyObject *weakrefs;
  uint64_t meta; /* of a handle that does not count: the object that describes the class; else 0 */
} wrpy_handle;
/* Encodes the call, makes the task, submits it.  None, an ObjectRef or a list of them. */
int wrpy_ticket_is_new(uint32_t ticket); /* of a shape; a session is open */
PyObject *wrpy_submit(wrpy_state *st, const wr_task_spec *spec, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames);
/* A number of returns as Python gives it: also WRPY_STREAMING and WRPY_DYNAMIC.  0, or -1 with a
 * ValueError. */
#define WRPY_STREAMING (-1)
#define WRPY_DYNAMIC (-2)
int wrpy_spec_rare_returns(wr_task_spec *spec, long nreturns, long room);
/* Gives the task that name, whose text it borrows.  0: it is None, or a record has no room for it;
 * -1 with an exception: it is not text, or has lone surrogates. */
int wrpy_spec_name(wr_task_spec *spec, PyObject *name);
static inline int wrpy_spec_returns(wr_task_spec *spec, long nreturns, long room) {
  if (WR_UNLIKELY(nreturns < 0 || nreturns > UINT16_MAX))
    return wrpy_spec_rare_returns(spec, nreturns, room);
  spec->nreturns = (uint16_t)nreturns;
  return 0;
}
static inline int16_t wrpy_retries(long n) {
  return n < 0 ? -1 : n > INT16_MAX ? INT16_MAX : (int16_t)n;
}
/* Vectorcall's arguments as a tuple and a dict. */
PyObject *wrpy_args_tuple(PyObject *const *args, Py_ssize_t n);
PyObject *wrpy_kwargs_dict(PyObject *const *values, PyObject *kwnames);
/* Asks owner._check_args([name,] args, kwargs): 0, or -1 with its TypeError.  *known remembers for
 * the owner which calls fit; NULL at first. */
int wrpy_check_args(wrpy_state *st, PyObject *owner, PyObject *name, PyObject **known,
                    PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
/* An actor's id as its handles have it, from the id of its ref, which it takes over. */
PyObject *wrpy_actor_bytes(PyObject *id);
/* A handle around a ref with WR_ACTOR_BIT, which it takes over. */
PyObject *wrpy_handle_make(wrpy_state *st, PyObject *ref, PyObject *methods, PyObject *info);
PyObject *wrpy_handle_of_ref(wrpy_state *st, PyObject *ref); /* with the class's description */
extern PyMethodDef wrpy_actor_methods[], wrpy_handle_methods[];

/* ---- worker.c, job.c, serve.c, coroutines.c ------------------------------------------------- */

/* One task, creation or call that this process runs. */
typedef struct {
  PyObject_HEAD wr_job job;
  uint32_t epoch;
  int open;        /* neither finished nor queued again */
  int kind;        /* enum wrpy_kind */
  uint32_t number; /* of the method; idx of the function or class */
  uint16_t nreturns, options, flags;
  int16_t retries;
  uint16_t stored; /* how many returns have their value already */
  uint32_t skip;   /* how many of the next items an earlier attempt has yielded */
  char began;      /* to yield */
  char ends;       /* is cancelled, and what it had submitted too */
  char hides;      /* that it is cancelled */
  char told;       /* what its caller says about it stands behind its positional arguments */
  char named;      /* it has a name of its own */
  char returned;   /* what fails from now on is not its own failure: no reason to run it again */
  char leaves;     /* has ended its actor: what it returns nobody gets */
  int cancelled;       /* as it was when the job ended */
  PyObject *fn, *name; /* what load() returned, NULL for calls; but a name of its own goes first */
  PyObject *wanted;    /* the exceptions to retry, where its caller says that; or NULL */
} wrpy_job;
#define WRPY_TOLD 0x8000u /* in the options of a task: see `told` */
enum wrpy_kind { WRPY_TASK = 0, WRPY_CREATION = 1, WRPY_CALL = 2 };

extern PyType_Spec wrpy_job_spec;
wrpy_job *wrpy_job_new(wrpy_state *st, const wr_job *job);
void wrpy_job_take(wrpy_job *j, const wr_job *job); /* a Job object that is done takes another */
/* First argument that is an error, as an exception object; NULL: none, or an exception is set.
 * *away: some are not in memory. */
PyObject *wrpy_job_bad_argument(wrpy_state *st, wrpy_job *j, int *away);
/* Of a task that has not begun: waits until they are.  1: one has been lost and is being made
 * again; the task is queued once it is there, and this job is done with. */
int wrpy_job_bring_arguments(wrpy_state *st, wrpy_job *j);
/* The arguments as a tuple and a dict. */
int wrpy_job_args_objects(wrpy_state *st, wrpy_job *j, PyObject **tuple, PyObject **dict);
int wrpy_job_check(wrpy_state *st, wrpy_job *j); /* 0: open, and no argument is an error */
PyObject *wrpy_job_call(wrpy_state *st, wrpy_job *j, PyObject *fn);
PyObject *wrpy_job_method(wrpy_job *j, PyObject *table); /* out of an actor's list of them */
/* Calls the job's method; KeyboardInterrupt when it was cancelled meanwhile. */
PyObject *wrpy_job_call_method(wrpy_state *st, wrpy_job *j, PyObject *table);
static inline int wrpy_is_generator(PyObject *v) {
  return PyGen_CheckExact(v) || PyAsyncGen_CheckExact(v);
}
/* Stores what its function returned, which it takes over, and lets the task go.  -1 with an
 * exception: the job is still open, unless it was another's already. */
int wrpy_job_answer(wrpy_state *st, wrpy_job *j, PyObject *result);
/* Stores the value as all returns that have none yet, and lets the task go.  -1 with an exception:
 * the job is still open. */
int wrpy_job_finish(wrpy_state *st, wrpy_job *j, PyObject *value, int is_error);
/* Yields what the iterator gives, at the pace of the reader. */
int wrpy_job_yield_all(wrpy_state *st, wrpy_job *j, PyObject *iterator);
static inline int wrpy_job_streams(const wrpy_job *j) { return (j->flags & WR_TF_STREAM) != 0; }
/* What `ps` shows of this worker from now on while it runs nothing. */
void wrpy_worker_rests_as(wrpy_state *st, const char *title);
/* WR_OK, or why no job came; waits without the GIL. */
int wrpy_next_job(wr_job *out, int64_t timeout_ns);
wr_id wrpy_parent(wrpy_state *st); /* the task that this thread or coroutine runs; idx 0: none */
/* Tells failed(job, error) the exception that is set: 0, or -1 with one of its own. */
int wrpy_job_failed(PyObject *failed, wrpy_job *j);
/* Why no job came, as an exception, or None when it may come yet. */
PyObject *wrpy_no_job(wrpy_state *st, int rc);
extern PyMethodDef wrpy_worker_methods[], wrpy_serve_methods[], wrpy_coroutine_methods[];

/* ---- session.c, daemon.c, inspect.c, pack.c
 * ---------------------------------------------------------- */

/* Asks the daemon: takes over the body, unpacks the answer.  NULL: an exception is set. */
PyObject *wrpy_ask(wrpy_state *st, uint32_t type, wr_buf *body, const char *doing);
/* Names of actors and groups; an id is as the daemon has it.  Claim: 1 it is the record's now, 0 it
 * is taken; get: 1 found, 0 there is none; -1 with an exception, in which `what` is the name's. */
int wrpy_name_claim(wrpy_state *st, const char *ns, const char *name, wr_id id);
int wrpy_name_get(wrpy_state *st, PyObject *ns, PyObject *name, const char *what, wr_id *out);
/* The id of a placement group, given by its number plus one; None for 0. */
PyObject *wrpy_group_id(uint32_t group, uint32_t gen);

/* cancel.c: cancels what a task of this process has submitted; 0, or -1 with an exception. */
int wrpy_cancel_children(wrpy_state *st, wr_id parent);

extern PyMethodDef wrpy_group_methods[], wrpy_cancel_methods[];
extern PyMethodDef wrpy_session_methods[], wrpy_daemon_methods[], wrpy_inspect_methods[],
    wrpy_pack_methods[], wrpy_submit_methods[], wrpy_unchanged_methods[];
PyObject *wrpy_unpack(const uint8_t *data, size_t len); /* one msgpack value */

#endif
