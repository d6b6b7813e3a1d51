/* Job: a task, creation or call that this process has taken, from its arguments to its result. */
#include "os/os.h"
#include "pyext/module.h"
#include "sched/task.h"
#include "store/objects.h"

wrpy_job *wrpy_job_new(wrpy_state *st, const wr_job *job) {
  wrpy_job *j = PyObject_New(wrpy_job, st->job_type);
  if (!j) return NULL;
  j->fn = j->name = j->wanted = NULL;
  wrpy_job_take(j, job);
  return j;
}

static void take_name(wrpy_job *j, const wr_task *t) {
  uint32_t n;
  const uint8_t *name = wr_tasks_name(t, &n);
  j->named = name != NULL;
  if (WR_LIKELY(!name)) return;
  Py_XSETREF(j->name, PyUnicode_DecodeUTF8((const char *)name, n, "replace"));
  PyErr_Clear(); /* no memory: it goes by what it runs */
  j->named = j->name != NULL;
}

void wrpy_job_take(wrpy_job *j, const wr_job *job) {
  const wr_task *t = job->t;
  j->job = *job;
  j->epoch = wrpy_sess.epoch;
  j->open = 1;
  j->kind = t->flags & WR_TF_CREATION ? WRPY_CREATION
            : t->flags & WR_TF_CALL   ? WRPY_CALL
                                      : WRPY_TASK;
  j->number = t->fn;
  j->nreturns = t->flags & WR_TF_STREAM ? 1 : t->nreturns; /* its items apart */
  j->options = t->options & (uint16_t)~WRPY_TOLD;
  j->told = (t->options & WRPY_TOLD) != 0;
  take_name(j, t);
  Py_CLEAR(j->wanted);
  j->flags = t->flags;
  j->retries = t->retries;
  j->cancelled = 0;
  j->stored = 0;
  j->returned = 0;
  j->leaves = 0;
  j->began = 0;
  j->ends = j->hides = 0;
  j->skip = wrpy_job_streams(j) ? wr_work_yielded(wrpy_sess.client, job) : 0;
}

static int still_open(const wrpy_job *j) {
  if (j->open && j->epoch == wrpy_sess.epoch) return 1;
  PyErr_SetString(PyExc_RuntimeError, "this job is finished");
  return 0;
}

static void close_job(wrpy_job *j) {
  j->cancelled = (wr_load32(&j->job.t->cancel) & WR_CANCEL_WANTED) != 0;
  j->open = 0;
}

static wr_idx return_idx(const wrpy_job *j, uint32_t k) {
  return k ? j->job.extra[k - 1] : j->job.idx;
}

/* ---- arguments ------------------------------------------------------------------------------ */

typedef struct {
  wrpy_state *st;
  wrpy_job *j;
} arg_ctx;

static int raise_dependency_failed(wrpy_state *st, PyObject *bad) {
  PyObject *errors = wrpy_errors(st);
  PyObject *type = errors ? PyObject_GetAttrString(errors, "DependencyFailed") : NULL;
  PyObject *exc = type ? PyObject_CallOneArg(type, bad) : NULL;
  if (exc) PyErr_SetObject(type, exc);
  Py_XDECREF(exc);
  Py_XDECREF(type);
  Py_DECREF(bad);
  return -1;
}

static PyObject *arg_ref(const wr_dec_ctx *cx, wr_idx idx) {
  return wrpy_ref_hold(((arg_ctx *)cx->ctx)->st, idx, 0);
}

static PyObject *arg_value(const wr_dec_ctx *cx, uint32_t k) {
  arg_ctx *a = cx->ctx;
  if (k >= a->j->job.ndeps) {
    PyErr_SetString(PyExc_ValueError, "malformed arguments");
    return NULL;
  }
  wr_idx idx = a->j->job.refs[k];
  int is_error = 0;
  PyObject *value = wrpy_load(a->st, (wr_id){idx, wrpy_gen_of(idx)}, -1, &is_error);
  if (WR_LIKELY(!is_error)) return value;
  raise_dependency_failed(a->st, value); /* it was lost, and making it again has failed */
  return NULL;
}

PyObject *wrpy_job_bad_argument(wrpy_state *st, wrpy_job *j, int *away) {
  *away = 0;
  for (uint32_t k = 0; k < j->job.ndeps; k++) {
    wr_idx idx = j->job.refs[k];
    uint64_t w = wr_load(&wr_obj(wrpy_sess.seg, idx)->state);
    int is_error;
    if (WR_OBJ_PHASE(w) == WR_OBJ_ERROR)
      return wrpy_load(st, (wr_id){idx, WR_OBJ_GEN(w)}, -1, &is_error);
    if (WR_UNLIKELY(WR_OBJ_PLACE(w) != WR_IN_MEMORY)) *away = 1;
  }
  return NULL;
}

int wrpy_job_bring_arguments(wrpy_state *st, wrpy_job *j) {
  for (uint32_t k = 0; k < j->job.ndeps; k++) {
    int rc = wrpy_bring(st, (wr_id){j->job.refs[k], wrpy_gen_of(j->job.refs[k])});
    if (rc < 0) return -1;
    if (!still_open(j)) return -1;
    if (rc == 0) continue;
    close_job(j);
    rc = wr_work_postpone(wrpy_sess.client, &j->job);
    return rc == WR_OK ? 1 : wrpy_fail(st, rc, "postponing a task");
  }
  return 0;
}

int wrpy_job_check(wrpy_state *st, wrpy_job *j) {
  if (!still_open(j)) return -1;
  if (WR_LIKELY(!j->job.ndeps)) return 0;
  int away;
  PyObject *bad = wrpy_job_bad_argument(st, j, &away);
  if (bad) return raise_dependency_failed(st, bad);
  return PyErr_Occurred() ? -1 : 0;
}

/* Arguments in the form of vectorcall; see wrpy_dec_call. */
static int call_args(wrpy_state *st, wrpy_job *j, PyObject ***args, Py_ssize_t *nargs,
                     PyObject **kwnames) {
  arg_ctx a = {st, j};
  wr_dec_ctx cx = {.refs = j->job.refs,
                   .nrefs = j->job.nrefs,
                   .make_ref = arg_ref,
                   .resolve = arg_value,
                   .ctx = &a};
  if (!wrpy_dec_call(&st->codec, j->job.args, j->job.args_len, &cx, args, nargs, kwnames))
    return 0;
  wrpy_tell_unreadable(st);
  return -1;
}

int wrpy_job_args_objects(wrpy_state *st, wrpy_job *j, PyObject **tuple, PyObject **dict) {
  PyObject **args, *kwnames;
  Py_ssize_t n;
  if (call_args(st, j, &args, &n, &kwnames)) return -1;
  *tuple = wrpy_args_tuple(args, n);
  *dict = wrpy_kwargs_dict(args + n, kwnames);
  wrpy_dec_call_free(args, n, kwnames);
  if (*tuple && *dict) return 0;
  Py_CLEAR(*tuple);
  Py_CLEAR(*dict);
  return -1;
}

/* ---- the call ------------------------------------------------------------------------------- */

/* What the caller says about the call: its name, or a pair of that, or None, and of exceptions. */
static void hear(wrpy_job *j, PyObject *said) {
  PyObject *name = said;
  if (PyTuple_Check(said) && PyTuple_GET_SIZE(said) == 2) {
    name = PyTuple_GET_ITEM(said, 0);
    Py_XSETREF(j->wanted, Py_NewRef(PyTuple_GET_ITEM(said, 1)));
  }
  if (name == Py_None) return;
  j->named = 1;
  Py_XSETREF(j->name, Py_NewRef(name));
}

/* Moves what it says behind all arguments; the positional ones that are left. */
static Py_ssize_t take_said(wrpy_job *j, PyObject **args, Py_ssize_t n, PyObject *kwnames) {
  Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  PyObject *said = args[n - 1];
  memmove(args + n - 1, args + n, (size_t)nkw * sizeof *args);
  args[n - 1 + nkw] = said;
  hear(j, said);
  return n - 1;
}

PyObject *wrpy_job_call(wrpy_state *st, wrpy_job *j, PyObject *fn) {
  PyObject **args, *kwnames;
  Py_ssize_t n;
  if (call_args(st, j, &args, &n, &kwnames)) return NULL;
  Py_ssize_t own = j->told && n ? take_said(j, args, n, kwnames) : n;
  PyObject *result =
      PyObject_Vectorcall(fn, args, (size_t)own | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
  wrpy_dec_call_free(args, n, kwnames);
  return result;
}

PyObject *wrpy_job_method(wrpy_job *j, PyObject *table) {
  if (table && j->number < (size_t)PyList_GET_SIZE(table))
    return Py_NewRef(PyList_GET_ITEM(table, j->number));
  return PyErr_Format(PyExc_AttributeError, "this actor has no method number %u", j->number);
}

PyObject *wrpy_job_call_method(wrpy_state *st, wrpy_job *j, PyObject *table) {
  PyObject *fn = wrpy_job_method(j, table);
  PyObject *result = fn ? wrpy_job_call(st, j, fn) : NULL;
  Py_XDECREF(fn);
  if (!result || WR_LIKELY(!(wr_load32(&j->job.t->cancel) & WR_CANCEL_WANTED))) return result;
  Py_DECREF(result); /* it saw the flag, or did not care: the caller gave up */
  PyErr_SetNone(PyExc_KeyboardInterrupt);
  return NULL;
}

/* ---- results -------------------------------------------------------------------------------- */

static int store_one(wrpy_state *st, wrpy_job *j, uint32_t k, PyObject *value) {
  wr_enc enc;
  void *memory = wrpy_born_memory(value);
  if (wrpy_enc_value(&st->codec, value, &enc)) return -1;
  int rc = 0;
  if (!memory || !wrpy_born_store(return_idx(j, k), value, memory, &enc))
    rc = wrpy_store(st, return_idx(j, k), &enc);
  wrpy_enc_clear(&enc);
  return rc;
}

/* Stores the value as the next return of several.  -1 with an exception: it has none yet. */
static int store_next(wrpy_state *st, wrpy_job *j, PyObject *value) {
  if (!still_open(j)) return -1;
  if (j->stored == j->nreturns) {
    PyErr_Format(PyExc_ValueError, "all %u returns have their value", (unsigned)j->nreturns);
    return -1;
  }
  if (store_one(st, j, j->stored, value)) return -1;
  j->stored++;
  return 0;
}

/* ---- items ---------------------------------------------------------------------------------- */

/* What it has submitted until now ends with it. */
static int cancel_children(wrpy_state *st, wrpy_job *j) {
  wr_id id = {j->job.idx, j->job.gen};
  if (!(wr_load32(&j->job.t->cancel) & WR_CANCEL_FAMILY)) return 0;
  j->ends = 1;
  return wrpy_cancel_children(st, id);
}

/* It ends here, before the signal for it comes, or without one.  That it is cancelled shows again
 * only afterwards: the handler of the signal is not to break off what is done for its children. */
static int cancelled_here(wrpy_state *st, wrpy_job *j) {
  if (WR_LIKELY(!(wr_load32(&j->job.t->cancel) & WR_CANCEL_WANTED))) return 0;
  j->hides = 1;
  if (!j->ends && cancel_children(st, j)) PyErr_Clear();
  j->hides = 0;
  PyErr_SetNone(PyExc_KeyboardInterrupt);
  return 1;
}

/* Stores the value as the next item of a job that streams; does not wait for room. */
static int yield_item(wrpy_state *st, wrpy_job *j, PyObject *value, int is_error) {
  if (!still_open(j)) return -1;
  j->began = 1;
  if (!is_error && cancelled_here(st, j)) return -1;
  if (WR_UNLIKELY(j->skip)) { /* its reader has it from an attempt that failed */
    j->skip--;
    return 0;
  }
  if (!wr_work_has_reader(wrpy_sess.client, &j->job)) return 0;
  if (store_one(st, j, 1, value)) return -1;
  if (!still_open(j)) return -1;
  int rc = wr_work_yield(wrpy_sess.client, &j->job, is_error);
  return rc == WR_OK ? 0 : wrpy_fail(st, rc, "yielding an item");
}

static int sleep_for_room(void *arg, int64_t until_ns) {
  return wr_work_wait_room(wrpy_sess.client, arg, until_ns);
}

static int yield_at_pace(wrpy_state *st, wrpy_job *j, PyObject *value) {
  if (yield_item(st, j, value, 0)) return -1;
  if (WR_LIKELY(wr_work_has_room(wrpy_sess.client, &j->job))) return 0;
  if (wrpy_wait_in_slices(st, sleep_for_room, &j->job, -1)) return -1;
  return cancelled_here(st, j) ? -1 : 0;
}

/* The next item after one that was stored since `stored_ns`.  Generators are told how long that
 * took where the class for it is set: programs written for Ray read it. */
static PyObject *next_item(wrpy_state *st, PyObject *iterator, uint64_t stored_ns) {
  if (WR_LIKELY(!st->item_stats || !stored_ns || !PyGen_CheckExact(iterator)))
    return PyIter_Next(iterator);
  double seconds = (double)(wr_os_now_ns() - stored_ns) * 1e-9;
  PyObject *stats = PyObject_CallFunction(st->item_stats, "d", seconds), *value = NULL;
  if (!stats) return NULL;
  if (PyIter_Send(iterator, stats, &value) == PYGEN_RETURN) Py_CLEAR(value);
  Py_DECREF(stats);
  return value;
}

int wrpy_job_yield_all(wrpy_state *st, wrpy_job *j, PyObject *iterator) {
  PyObject *value;
  uint64_t stored_ns = 0;
  j->began = 1;
  while ((value = next_item(st, iterator, stored_ns))) {
    if (WR_UNLIKELY(st->item_stats != NULL)) stored_ns = wr_os_now_ns();
    int rc = yield_at_pace(st, j, value);
    Py_DECREF(value);
    if (rc) return -1;
  }
  return PyErr_Occurred() ? -1 : 0;
}

/* ---- the end -------------------------------------------------------------------------------- */

/* As all returns from the first one that has no value; those before it keep theirs. */
static int store_rest(wrpy_state *st, wrpy_job *j, PyObject *value, int is_error) {
  uint32_t n = j->nreturns ? j->nreturns : 1, k;
  for (k = j->stored; k < n; k++) {
    if (store_one(st, j, k, value)) break;
    if (is_error && j->stored) wr_value_mark_failed(wrpy_sess.client, return_idx(j, k));
  }
  if (k == n) return 0;
  if (j->epoch == wrpy_sess.epoch)
    while (k > j->stored) wr_value_discard(wrpy_sess.client, return_idx(j, --k));
  return -1;
}

/* What its body raises is the last item; any other failure is that of the task, which the reader
 * finds behind the last item. */
static int end_items(wrpy_state *st, wrpy_job *j, PyObject **value, int *is_error) {
  if (*is_error && j->began && !(wr_load32(&j->job.t->cancel) & WR_CANCEL_WANTED)) {
    j->skip = 0;
    if (yield_item(st, j, *value, 1)) return -1;
    *value = Py_None;
    *is_error = 0;
  }
  int rc = wr_work_end_stream(wrpy_sess.client, &j->job);
  return rc == WR_OK ? 0 : wrpy_fail(st, rc, "ending a stream");
}

/* What it has printed without an end of the line leaves before its result: whoever has that may end
 * this process. */
static void flush_output(wrpy_state *st) {
  static const char *const names[] = {"stdout", "stderr"};
  PyObject *type, *error, *trace;
  st->unfinished = 0;
  PyErr_Fetch(&type, &error, &trace);
  for (int i = 0; i < 2; i++) {
    PyObject *stream = Py_XNewRef(PySys_GetObject(names[i]));
    PyObject *done = stream ? PyObject_CallMethod(stream, "flush", NULL) : NULL;
    if (!done) PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(stream);
  }
  PyErr_Restore(type, error, trace);
}

int wrpy_job_finish(wrpy_state *st, wrpy_job *j, PyObject *value, int is_error) {
  if (WR_UNLIKELY(st->unfinished)) flush_output(st);
  if (!still_open(j)) return -1;
  if (WR_UNLIKELY(wrpy_job_streams(j)) && end_items(st, j, &value, &is_error)) return -1;
  if (j->nreturns == 0 && !is_error) value = Py_None;
  if (store_rest(st, j, value, is_error)) return -1;
  if (!still_open(j)) return -1;
  close_job(j);
  int rc = wr_work_finish(wrpy_sess.client, &j->job, is_error && !j->stored, 0);
  return rc == WR_OK ? 0 : wrpy_fail(st, rc, "finishing a task");
}

/* 1 queued again, 0 no retries left, -1. */
static int try_again(wrpy_state *st, wrpy_job *j) {
  if (!still_open(j)) return -1;
  if (j->retries == 0) return 0;
  close_job(j);
  int rc = wr_work_retry(wrpy_sess.client, &j->job);
  if (rc == WR_OK) return 1;
  j->open = 1;
  return rc == WR_LIMIT || rc == WR_STATE ? 0 : wrpy_fail(st, rc, "retrying a task");
}

/* Somebody dropped a job without a result: its callers must not wait for ever. */
static void give_up(wrpy_job *j) {
  uint8_t text[128], *dst;
  size_t len = wr_error_value(text, sizeof text, "WORKER_DIED", "the worker lost the task");
  for (uint32_t k = 0; k < (j->nreturns ? j->nreturns : 1u); k++)
    if (wr_value_reserve(wrpy_sess.client, return_idx(j, k), len, NULL, 0, &dst) == WR_OK)
      memcpy(dst, text, len);
  if (wrpy_job_streams(j)) (void)wr_work_end_stream(wrpy_sess.client, &j->job);
  wr_work_finish(wrpy_sess.client, &j->job, 1, WR_VAL_SYSERR);
}

/* ---- type ----------------------------------------------------------------------------------- */

static void job_dealloc(PyObject *self) {
  wrpy_job *j = (wrpy_job *)self;
  PyTypeObject *type = Py_TYPE(self);
  if (j->open && j->epoch == wrpy_sess.epoch) give_up(j);
  Py_XDECREF(j->fn);
  Py_XDECREF(j->name);
  Py_XDECREF(j->wanted);
  PyObject_Free(self);
  Py_DECREF(type);
}

static PyObject *job_store(PyObject *self, PyObject *value) {
  if (store_next(wrpy_state_of_type(Py_TYPE(self)), (wrpy_job *)self, value)) return NULL;
  Py_RETURN_NONE;
}

static PyObject *job_yield(PyObject *self, PyObject *value) {
  wrpy_job *j = (wrpy_job *)self;
  if (!wrpy_job_streams(j)) {
    PyErr_SetString(PyExc_TypeError, "this job yields no items");
    return NULL;
  }
  if (yield_item(wrpy_state_of_type(Py_TYPE(self)), j, value, 0)) return NULL;
  return PyBool_FromLong(wr_work_has_room(wrpy_sess.client, &j->job));
}

static PyObject *job_begin(PyObject *self, PyObject *unused) {
  (void)unused;
  ((wrpy_job *)self)->began = 1;
  Py_RETURN_NONE;
}

static PyObject *job_streams(PyObject *self, void *unused) {
  (void)unused;
  return PyBool_FromLong(wrpy_job_streams((wrpy_job *)self));
}

static PyObject *job_dynamic(PyObject *self, void *unused) {
  (void)unused;
  return PyBool_FromLong(((wrpy_job *)self)->flags & WR_TF_DYNAMIC);
}

static PyObject *job_retry(PyObject *self, PyObject *unused) {
  (void)unused;
  int rc = try_again(wrpy_state_of_type(Py_TYPE(self)), (wrpy_job *)self);
  return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject *job_task_id(PyObject *self, void *unused) {
  (void)unused;
  wrpy_job *j = (wrpy_job *)self;
  return wrpy_id_bytes((wr_id){j->job.idx, j->job.gen}, WRPY_TASK_BYTES);
}

static PyObject *job_cancelled(PyObject *self, void *unused) {
  (void)unused;
  wrpy_job *j = (wrpy_job *)self;
  if (j->hides) Py_RETURN_FALSE;
  if (!j->open || j->epoch != wrpy_sess.epoch) return PyBool_FromLong(j->cancelled);
  return PyBool_FromLong((wr_load32(&j->job.t->cancel) & WR_CANCEL_WANTED) != 0);
}

static PyObject *job_cancel_children(PyObject *self, PyObject *unused) {
  (void)unused;
  wrpy_job *j = (wrpy_job *)self;
  int open = j->open && j->epoch == wrpy_sess.epoch;
  if (open && cancel_children(wrpy_state_of_type(Py_TYPE(self)), j)) return NULL;
  Py_RETURN_NONE;
}

/* The references of everybody but this process have gone. */
static PyObject *job_unheard(PyObject *self, void *unused) {
  (void)unused;
  wrpy_job *j = (wrpy_job *)self;
  if (!j->open || j->epoch != wrpy_sess.epoch || j->nreturns != 1) Py_RETURN_FALSE;
  uint32_t others = wr_tag_value(wr_load(wr_refs(wrpy_sess.seg, j->job.idx))) & ~WR_REF_TASK;
  return PyBool_FromLong((others & ~WR_REF_LINEAGE) == 0);
}

/* The placement group that the task, or the actor of the call, is in. */
static PyObject *job_group(PyObject *self, void *unused) {
  (void)unused;
  wrpy_job *j = (wrpy_job *)self;
  if (!j->open || j->epoch != wrpy_sess.epoch) Py_RETURN_NONE;
  const wr_task *t = j->job.t;
  uint32_t shape = WR_TASK_SHAPE(wr_load(&t->tstate));
  if ((t->flags & WR_TF_CALL) && t->actor && t->actor <= WR_MAX_ACTORS)
    shape = wrpy_sess.seg->actors[t->actor - 1].shape;
  if (shape >= WR_MAX_SHAPES) Py_RETURN_NONE;
  const wr_shape *sh = &wrpy_sess.seg->shapes[shape];
  return wrpy_group_id(sh->group, sh->group_gen);
}

static PyObject *job_retry_exceptions(PyObject *self, void *unused) {
  (void)unused;
  return PyBool_FromLong(((wrpy_job *)self)->flags & WR_TF_RETRY_EXC);
}

static PyMethodDef methods[] = {
    {"store", job_store, METH_O, "store(value): the next return of several."},
    {"begin", job_begin, METH_NOARGS, "What the body raises from now on is the last item."},
    {"emit", job_yield, METH_O,
     "emit(value): the next item; False: the reader has to read before there may be more."},
    {"cancel_children", job_cancel_children, METH_NOARGS,
     "Cancels what it has submitted, if that was asked for when it was cancelled."},
    {"retry", job_retry, METH_NOARGS, "Queues the task again if retries are left; True: done."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"task_id", job_task_id, NULL, "24 bytes", NULL},
    {"cancelled", job_cancelled, NULL, "whether somebody cancelled it", NULL},
    {"unheard", job_unheard, NULL, "whether nobody will see its value", NULL},
    {"retry_exceptions", job_retry_exceptions, NULL, NULL, NULL},
    {"streams", job_streams, NULL, "whether what it yields is read while it runs", NULL},
    {"dynamic", job_dynamic, NULL, "whether its value is the list of what it yields", NULL},
    {"group", job_group, NULL, "id of its placement group, or None", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"kind", T_INT, offsetof(wrpy_job, kind), READONLY, "0 task, 1 creation, 2 call"},
    {"method", T_UINT, offsetof(wrpy_job, number), READONLY, "number of the method"},
    {"nreturns", T_USHORT, offsetof(wrpy_job, nreturns), READONLY, NULL},
    {"options", T_USHORT, offsetof(wrpy_job, options), READONLY, NULL},
    {"retries", T_SHORT, offsetof(wrpy_job, retries), READONLY, "left; -1: endless"},
    {"named", T_BOOL, offsetof(wrpy_job, named), READONLY, "whether `name` is its own"},
    {"returned", T_BOOL, offsetof(wrpy_job, returned), READONLY, "whether only values are left"},
    {"name", T_OBJECT, offsetof(wrpy_job, name), READONLY, "display name"},
    {"fn", T_OBJECT, offsetof(wrpy_job, fn), READONLY, "the function or class"},
    {"wanted", T_OBJECT, offsetof(wrpy_job, wanted), READONLY, "exceptions its caller has retried"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A task, creation or call that this process runs."},
    {Py_tp_dealloc, job_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec wrpy_job_spec = {
    .name = "whipray._core.Job",
    .basicsize = sizeof(wrpy_job),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
