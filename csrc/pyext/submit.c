/* Submitting tasks and calls: the arguments become bytes in a task record.  TaskSubmitter is the
 * object behind `f.remote`. */
#include "pyext/module.h"

#define FEW 8

/* ---- one task ------------------------------------------------------------------------------- */

/* What a refused call means to the caller. */
static int refused(wrpy_state *st, const wr_task_spec *spec, int rc) {
  if (spec->flags & WR_TF_CALL && rc == WR_LIMIT) {
    const wr_actor *a = &wrpy_sess.seg->actors[spec->actor.idx & ~WR_ACTOR_BIT];
    if (a->max_pending)
      return wrpy_raise(st, "PendingCallsLimitExceeded",
                        "The call was not made: %u calls of this process on the actor are not "
                        "finished, and its max_pending_calls allows no more.",
                        (unsigned)a->max_pending);
  }
  return wrpy_fail(st, rc, "submitting a task");
}

static int make_task(wrpy_state *st, const wr_task_spec *spec, wr_enc *enc, uint32_t epoch,
                     wr_id *out) {
  wrpy_room room = {0};
  uint8_t *dst = NULL;
  if (wrpy_left(st, epoch, "submitting a task")) return -1;
  for (;;) {
    int rc = wr_task_create(wrpy_sess.client, spec, enc->total, enc->refs, enc->nrefs, enc->ndeps,
                            out, &dst);
    if (rc == WR_OK) break;
    if (rc != WR_FULL) return refused(st, spec, rc);
    if (wrpy_room_wait(st, &room, enc->total)) return -1;
  }
  if (enc->total && wrpy_copy_out(st, enc, dst, "submitting a task")) return -1;
  int rc = wr_task_submit(wrpy_sess.client, out[0].idx);
  return rc == WR_OK || rc == WR_DEAD ? 0 : refused(st, spec, rc);
}

int wrpy_spec_rare_returns(wr_task_spec *spec, long nreturns, long room) {
  if (nreturns == WRPY_STREAMING) { /* its end, and its first item */
    spec->flags |= WR_TF_STREAM;
    spec->nreturns = 2;
    spec->room = room > 0 ? (uint32_t)room : 0;
  } else if (nreturns == WRPY_DYNAMIC) {
    spec->flags |= WR_TF_DYNAMIC;
    spec->nreturns = 1;
  } else {
    PyErr_Format(PyExc_ValueError, "num_returns must be between 0 and %d", UINT16_MAX);
    return -1;
  }
  return 0;
}

int wrpy_spec_name(wr_task_spec *spec, PyObject *name) {
  Py_ssize_t n;
  if (name == Py_None) return 0;
  const char *utf8 = PyUnicode_AsUTF8AndSize(name, &n);
  if (!utf8) return -1;
  if (n > (Py_ssize_t)WR_TASK_NAME) return 0;
  spec->name = (const uint8_t *)utf8;
  spec->name_len = (uint32_t)n;
  return 1;
}

static PyObject *m_task_name_fits(PyObject *module, PyObject *name) {
  wr_task_spec spec;
  (void)module;
  int fits = wrpy_spec_name(&spec, name);
  return fits < 0 ? NULL : PyBool_FromLong(fits);
}

PyMethodDef wrpy_submit_methods[] = {
    {"task_name_fits", m_task_name_fits, METH_O,
     "task_name_fits(name): whether tasks of their own name can have that one."},
    {NULL, NULL, 0, NULL},
};

static PyObject *wrap_returns(wrpy_state *st, const wr_task_spec *spec, const wr_id *ids,
                              uint32_t epoch) {
  uint32_t n = spec->nreturns;
  if (WR_UNLIKELY(spec->flags & WR_TF_STREAM)) return wrpy_stream_make(st, ids[0], ids[1]);
  if (n == 1) return wrpy_ref_wrap(st, ids[0], WRPY_CREATOR);
  if (n == 0) {
    wr_creator_drop(wrpy_sess.client, ids[0]);
    Py_RETURN_NONE;
  }
  PyObject *list = PyList_New(n); /* or not, and who collects garbage there may leave */
  for (uint32_t i = 0; i < n; i++) {
    if (wrpy_left(st, epoch, "submitting a task")) Py_CLEAR(list);
    PyObject *ref = wrpy_still_in(epoch) ? wrpy_ref_of_task(st, ids[i], ids[0]) : NULL;
    if (list && ref)
      PyList_SET_ITEM(list, i, ref);
    else
      Py_XDECREF(ref);
    if (!ref) Py_CLEAR(list);
  }
  return list;
}

static PyObject *submit_encoded(wrpy_state *st, const wr_task_spec *spec, wr_enc *enc,
                                uint32_t epoch) {
  wr_id few[FEW], *out = few;
  uint32_t n = spec->nreturns;
  if (n > FEW && !(out = PyMem_New(wr_id, n))) return PyErr_NoMemory();
  PyObject *refs = make_task(st, spec, enc, epoch, out) ? NULL : wrap_returns(st, spec, out, epoch);
  if (out != few) PyMem_Free(out);
  return refs;
}

/* ---- large arguments ------------------------------------------------------------------------ */

/* Makes an object of what was encoded. */
static PyObject *put_large(wrpy_state *st, wr_enc *enc, uint32_t epoch) {
  wr_id id;
  return wrpy_put_encoded(st, enc, epoch, &id) ? NULL : wrpy_ref_wrap(st, id, WRPY_CREATOR);
}

/* An ObjectRef to a copy of v when v is large, else v itself; a new reference. */
static PyObject *put_if_large(wrpy_state *st, PyObject *v, uint32_t epoch) {
  wr_enc enc;
  if (wrpy_is_ref(st, v)) return Py_NewRef(v);
  if (wrpy_enc_value(&st->codec, v, &enc)) return NULL;
  PyObject *out = enc.total < WRPY_BIG_ARG ? Py_NewRef(v) : put_large(st, &enc, epoch);
  wrpy_enc_clear(&enc);
  return out;
}

static void drop_all(PyObject **values, Py_ssize_t n) {
  for (Py_ssize_t i = 0; i < n; i++) Py_DECREF(values[i]);
  PyMem_Free(values);
}

/* Arguments that are large by themselves become objects: retries need no second copy of them, and
 * the task sees them in place.  Those of a call with several are encoded once more, each alone. */
static PyObject *submit_large(wrpy_state *st, const wr_task_spec *spec, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames, wr_enc *enc, uint32_t epoch) {
  Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0), done = 0;
  PyObject **small = PyMem_New(PyObject *, (size_t)n);
  if (!small) return PyErr_NoMemory();
  if (n == 1 && wrpy_enc_sole(enc)) {
    if ((small[0] = put_large(st, enc, epoch))) done = 1;
  } else {
    while (done < n && (small[done] = put_if_large(st, args[done], epoch))) done++;
  }
  PyObject *refs = NULL;
  wrpy_enc_clear(enc);
  if (done == n && wrpy_enc_call(&st->codec, small, nargs, kwnames, enc) == 0)
    refs = submit_encoded(st, spec, enc, epoch);
  drop_all(small, done);
  return refs;
}

PyObject *wrpy_submit(wrpy_state *st, const wr_task_spec *spec, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames) {
  wr_enc enc;
  uint32_t epoch = wrpy_sess.epoch;
  if (wrpy_enc_call(&st->codec, args, nargs, kwnames, &enc)) return NULL;
  PyObject *refs = WR_LIKELY(enc.total < WRPY_BIG_ARG)
                       ? submit_encoded(st, spec, &enc, epoch)
                       : submit_large(st, spec, args, nargs, kwnames, &enc, epoch);
  wrpy_enc_clear(&enc);
  return refs;
}

/* ---- TaskSubmitter -------------------------------------------------------------------------- */

typedef struct {
  PyObject_HEAD
  vectorcallfunc call;
  PyObject *owner, *fn;
  PyObject *function; /* what is submitted: for whoever looks at the submitter */
  PyObject *name;     /* of the tasks themselves, or NULL */
  PyObject *shapes;   /* of calls that fit, see call_shape.c */
  int nmin, nmax;
  int shape, nreturns, room, retries, options;
  char retry_exceptions;
  unsigned int epoch, group, group_gen;
} wrpy_submitter;

/* The owner makes the submitter ready for the open session, or names in *other who takes the call
 * instead: programs that were handed over to a real Ray run there. */
static int prepare(wrpy_state *st, wrpy_submitter *s, PyObject **other) {
  PyObject *found = PyObject_CallMethodOneArg(s->owner, st->s_prepare, (PyObject *)s);
  if (!found) return -1;
  *other = found == Py_None ? NULL : found;
  if (*other) return 0;
  Py_DECREF(found);
  if (s->epoch && s->epoch == wrpy_sess.stamp) return 0;
  if (!wrpy_attached(st)) PyErr_SetString(PyExc_RuntimeError, "_prepare() left no valid epoch");
  return -1;
}

static int group_gone(const wrpy_submitter *s) {
  return s->group && !wr_group_lives(wrpy_sess.seg, s->group - 1, s->group_gen);
}

static int is_stale(const wrpy_submitter *s) {
  return !wrpy_ticket_is_new((uint32_t)s->shape) || group_gone(s);
}

PyObject *wrpy_kwargs_dict(PyObject *const *values, PyObject *kwnames) {
  PyObject *dict = PyDict_New();
  Py_ssize_t n = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; dict && i < n; i++)
    if (PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, i), values[i])) Py_CLEAR(dict);
  return dict;
}

PyObject *wrpy_args_tuple(PyObject *const *args, Py_ssize_t n) {
  PyObject *tuple = PyTuple_New(n);
  for (Py_ssize_t i = 0; tuple && i < n; i++) PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
  return tuple;
}

static int submitter_spec(wrpy_state *st, wrpy_submitter *s, wr_task_spec *spec) {
  wr_id fn;
  if (!s->fn || s->fn == Py_None) {
    PyErr_SetString(PyExc_RuntimeError, "_prepare() set no function");
    return -1;
  }
  if (wrpy_ref_id(st, s->fn, &fn)) return -1;
  *spec = (wr_task_spec){.fn = fn.idx,
                         .shape = (uint32_t)s->shape,
                         .flags = s->retry_exceptions ? WR_TF_RETRY_EXC : 0,
                         .retries = wrpy_retries(s->retries),
                         .options = (uint16_t)s->options,
                         .parent = wrpy_parent(st),
                         .group = {s->group, s->group_gen}};
  if (WR_UNLIKELY(s->name != NULL) && wrpy_spec_name(spec, s->name) < 0) return -1;
  return wrpy_spec_returns(spec, s->nreturns, s->room);
}

static PyObject *call_other(PyObject *other, PyObject *const *args, size_t nargsf,
                            PyObject *kwnames) {
  PyObject *result = PyObject_Vectorcall(other, args, nargsf, kwnames);
  Py_DECREF(other);
  return result;
}

static PyObject *submitter_call(PyObject *self, PyObject *const *args, size_t nargsf,
                                PyObject *kwnames) {
  wrpy_submitter *s = (wrpy_submitter *)self;
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(self));
  Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
  if (WR_UNLIKELY(!s->epoch || s->epoch != wrpy_sess.stamp || group_gone(s))) {
    PyObject *other;
    if (prepare(st, s, &other)) return NULL;
    if (other) return call_other(other, args, nargsf, kwnames);
  }
  int plain = !kwnames && nargs >= s->nmin && (nargs <= s->nmax || s->nmax < 0);
  if (WR_UNLIKELY(!plain) &&
      wrpy_check_args(st, s->owner, NULL, &s->shapes, args, nargs, kwnames))
    return NULL;
  wr_task_spec spec;
  if (submitter_spec(st, s, &spec)) return NULL;
  PyObject *refs = wrpy_submit(st, &spec, args, nargs, kwnames);
  if (WR_UNLIKELY(!refs) && wrpy_sess.epoch && is_stale(s)) { /* since it was prepared */
    PyErr_Clear();
    s->epoch = 0;
    return submitter_call(self, args, nargsf, kwnames);
  }
  return refs;
}

static int submitter_init(PyObject *self, PyObject *args, PyObject *kwargs) {
  static char *names[] = {"owner", "nmin", "nmax", "function", NULL};
  wrpy_submitter *s = (wrpy_submitter *)self;
  PyObject *owner, *function = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oii|O", names, &owner, &s->nmin, &s->nmax,
                                   &function))
    return -1;
  s->call = submitter_call;
  s->nreturns = 1;
  Py_XSETREF(s->owner, Py_NewRef(owner));
  Py_XSETREF(s->function, Py_NewRef(function));
  return 0;
}

static int submitter_traverse(PyObject *self, visitproc visit, void *arg) {
  wrpy_submitter *s = (wrpy_submitter *)self;
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(s->owner);
  Py_VISIT(s->shapes);
  Py_VISIT(s->fn);
  Py_VISIT(s->function);
  Py_VISIT(s->name);
  return 0;
}

static int submitter_clear(PyObject *self) {
  wrpy_submitter *s = (wrpy_submitter *)self;
  Py_CLEAR(s->owner);
  Py_CLEAR(s->shapes);
  Py_CLEAR(s->fn);
  Py_CLEAR(s->function);
  Py_CLEAR(s->name);
  return 0;
}

static void submitter_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  submitter_clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

static PyMemberDef submitter_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(wrpy_submitter, call), READONLY, NULL},
    {"owner", T_OBJECT, offsetof(wrpy_submitter, owner), READONLY, NULL},
    {"nmin", T_INT, offsetof(wrpy_submitter, nmin), 0, "fewest positional arguments"},
    {"nmax", T_INT, offsetof(wrpy_submitter, nmax), 0, "most of them; -1: no bound"},
    {"__wrapped__", T_OBJECT, offsetof(wrpy_submitter, function), READONLY, NULL},
    {"fn", T_OBJECT, offsetof(wrpy_submitter, fn), 0, "ObjectRef of the exported function"},
    {"name", T_OBJECT, offsetof(wrpy_submitter, name), 0, "of the tasks themselves, or None"},
    {"shape", T_INT, offsetof(wrpy_submitter, shape), 0, "ticket of the resources and the pool"},
    {"nreturns", T_INT, offsetof(wrpy_submitter, nreturns), 0, "-1: streaming, -2: dynamic"},
    {"room", T_INT, offsetof(wrpy_submitter, room), 0, "items not read; 0: no bound"},
    {"retries", T_INT, offsetof(wrpy_submitter, retries), 0, "-1: endless"},
    {"retry_exceptions", T_BOOL, offsetof(wrpy_submitter, retry_exceptions), 0, NULL},
    {"options", T_INT, offsetof(wrpy_submitter, options), 0, NULL},
    {"epoch", T_UINT, offsetof(wrpy_submitter, epoch), 0, "stamp() when they were filled in"},
    {"group", T_UINT, offsetof(wrpy_submitter, group), 0, "placement group plus one; 0: none"},
    {"group_gen", T_UINT, offsetof(wrpy_submitter, group_gen), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *submitter_repr(PyObject *self) {
  PyObject *owner = ((wrpy_submitter *)self)->owner;
  return PyUnicode_FromFormat("%R.remote", owner ? owner : Py_None);
}

/* Goes with its owner, which brings one of its own. */
static PyObject *submitter_reduce(PyObject *self, PyObject *unused) {
  (void)unused;
  PyObject *getattr = PyDict_GetItemString(PyEval_GetBuiltins(), "getattr");
  PyObject *owner = ((wrpy_submitter *)self)->owner;
  return getattr ? Py_BuildValue("O(Os)", getattr, owner, "remote") : NULL;
}

static PyMethodDef submitter_methods[] = {
    {"__reduce__", submitter_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* help() and editors show `f.remote` with the name and the text of f; inspect.signature() finds its
 * parameters by __wrapped__. */
static PyObject *submitter_shown(PyObject *self, void *name) {
  return PyObject_GetAttrString(((wrpy_submitter *)self)->function, name);
}

static PyGetSetDef submitter_getset[] = {
    {"__doc__", submitter_shown, NULL, NULL, "__doc__"},
    {"__name__", submitter_shown, NULL, NULL, "__name__"},
    {"__qualname__", submitter_shown, NULL, NULL, "__qualname__"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot submitter_slots[] = {
    {Py_tp_methods, submitter_methods},
    {Py_tp_getset, submitter_getset},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, submitter_init},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_repr, submitter_repr},
    {Py_tp_traverse, submitter_traverse},
    {Py_tp_clear, submitter_clear},
    {Py_tp_dealloc, submitter_dealloc},
    {Py_tp_members, submitter_members},
    {0, NULL},
};

PyType_Spec wrpy_submitter_spec = {
    .name = "whipray._core.TaskSubmitter",
    .basicsize = sizeof(wrpy_submitter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = submitter_slots,
};
