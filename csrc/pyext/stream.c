/* Stream: what a caller has of a task that yields, the base of ObjectRefGenerator.
 *
 * It owns two references: on the end of the task, and on the item that comes next, which is pending
 * until the task yields it.  Reading an item hands that reference out and takes one on the item
 * behind it.  A Stream that goes says so to the task, and what nobody has read goes with it. */
#include "pyext/module.h"

typedef struct {
  PyObject_HEAD PyObject *task; /* ObjectRef of its end */
  PyObject *item;               /* ObjectRef of the next item, or of what stands for the end */
  PyObject *weakrefs;
  wr_id task_id;
  uint32_t epoch;
  char failed; /* the error of the task has been handed out */
} stream;

static PyTypeObject *stream_class(wrpy_state *st) {
  if (!st->stream_class) {
    PyObject *module = PyImport_ImportModule("whipray._private.generators"); /* sets it */
    if (!module) return NULL;
    Py_DECREF(module);
  }
  return (PyTypeObject *)st->stream_class;
}

PyObject *wrpy_stream_make(wrpy_state *st, wr_id task, wr_id item) {
  PyObject *end = wrpy_ref_wrap(st, task, WRPY_CREATOR);
  PyObject *first = wrpy_ref_of_task(st, item, task);
  PyTypeObject *type = end && first ? stream_class(st) : NULL;
  stream *s = type ? (stream *)type->tp_alloc(type, 0) : NULL;
  if (!s) {
    Py_XDECREF(end);
    Py_XDECREF(first);
    return NULL;
  }
  s->task = end;
  s->item = first;
  s->task_id = task;
  s->epoch = ((const wrpy_ref *)end)->epoch; /* not what it is by now */
  return (PyObject *)s;
}

static int attached_still(wrpy_state *st, const stream *s) {
  if (WR_LIKELY(s->item && s->epoch && s->epoch == wrpy_sess.epoch)) return 0;
  wr_id id;
  if (s->task && wrpy_ref_id(st, s->task, &id)) return -1;
  return wrpy_fail(st, WR_CLOSED, "reading a stream");
}

int wrpy_stream_item(wrpy_state *st, PyObject *v, wr_id *out) {
  if (!PyObject_TypeCheck(v, st->stream_type)) return 0;
  const stream *s = (const stream *)v;
  return attached_still(st, s) || wrpy_object_id(st, s->item, out) ? -1 : 1;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* The next item has been sealed: hands it out.  NULL without an exception: it is the end. */
static PyObject *take(wrpy_state *st, stream *s) {
  wr_id id, next;
  if (attached_still(st, s) || wrpy_object_id(st, s->item, &id)) return NULL;
  int rc = wr_stream_next(wrpy_sess.client, id, &next);
  if (rc == WR_DEAD) return NULL;
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "reading a stream");
  PyObject *ref = wrpy_ref_wrap(st, next, WRPY_HOLD);
  if (!ref) return NULL;
  ((wrpy_ref *)ref)->task = s->task_id;
  wr_stream_advance(wrpy_sess.client, s->task_id, id);
  PyObject *out = s->item;
  s->item = ref;
  return out;
}

/* 0 sealed, 1 not before the deadline, -1 with an exception. */
static int wait_for(wrpy_state *st, PyObject *ref, int64_t deadline) {
  wr_id id;
  if (wrpy_object_id(st, ref, &id)) return -1;
  if (wrpy_phase(id) != WR_OBJ_PENDING) return 0;
  Py_INCREF(ref); /* another thread may read on meanwhile */
  int rc = wrpy_wait_sealed(st, &id, 1, 1, 0, deadline);
  Py_DECREF(ref);
  return rc;
}

/* The items are at their end: the error of the task, if it has one, once.  NULL without an
 * exception: nothing comes any more. */
static PyObject *take_failure(stream *s) {
  if (s->failed || wrpy_phase(s->task_id) != WR_OBJ_ERROR) return NULL;
  s->failed = 1;
  return Py_NewRef(s->task);
}

static PyObject *nil_ref(const wrpy_state *st) {
  return PyObject_CallMethod((PyObject *)st->ref_type, "nil", NULL);
}

/* The next reference, nil after the deadline, or NULL: without an exception at the end. */
static PyObject *next_until(wrpy_state *st, stream *s, int64_t deadline) {
  if (attached_still(st, s)) return NULL;
  int rc = wait_for(st, s->item, deadline);
  PyObject *ref = rc == 0 ? take(st, s) : NULL;
  if (rc == 0 && !ref && !PyErr_Occurred() && (rc = wait_for(st, s->task, deadline)) == 0)
    ref = take_failure(s);
  return rc > 0 ? nil_ref(st) : ref;
}

static PyObject *stream_iternext(PyObject *self) {
  return next_until(wrpy_state_of_type(Py_TYPE(self)), (stream *)self, -1);
}

static PyObject *or_stop(PyObject *ref) {
  if (!ref && !PyErr_Occurred()) PyErr_SetNone(PyExc_StopIteration);
  return ref;
}

static PyObject *stream_next_sync(PyObject *self, PyObject *args, PyObject *kwargs) {
  static char *names[] = {"timeout_s", NULL};
  PyObject *timeout = Py_None;
  int64_t deadline = -1;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &timeout)) return NULL;
  double seconds = timeout == Py_None ? -1 : PyFloat_AsDouble(timeout);
  if (PyErr_Occurred() || (seconds >= 0 && wrpy_deadline(timeout, &deadline))) return NULL;
  return or_stop(next_until(wrpy_state_of_type(Py_TYPE(self)), (stream *)self, deadline));
}

/* For who has waited for `_item`, and for the task if this gives None. */
static PyObject *stream_take(PyObject *self, PyObject *unused) {
  (void)unused;
  PyObject *ref = take(wrpy_state_of_type(Py_TYPE(self)), (stream *)self);
  return ref || PyErr_Occurred() ? ref : Py_NewRef(Py_None);
}

static PyObject *stream_take_failure(PyObject *self, PyObject *unused) {
  (void)unused;
  stream *s = (stream *)self;
  if (attached_still(wrpy_state_of_type(Py_TYPE(self)), s)) return NULL;
  PyObject *ref = take_failure(s);
  return ref ? ref : Py_NewRef(Py_None);
}

/* ---- questions ------------------------------------------------------------------------------ */

/* 1: all items have been read. */
static int at_end(const stream *s) {
  wr_id id = ((const wrpy_ref *)s->item)->id;
  int phase = wrpy_phase(id);
  return phase != WR_OBJ_PENDING && phase >= 0 && wr_item_at(wrpy_sess.seg, id.idx)->n == 0;
}

static int is_finished(wrpy_state *st, stream *s) {
  if (attached_still(st, s)) return -1;
  if (!at_end(s)) return 0;
  if (s->failed) return 1;
  int rc = wait_for(st, s->task, -1); /* sealed right behind its items */
  return rc < 0 ? -1 : wrpy_phase(s->task_id) != WR_OBJ_ERROR;
}

static PyObject *stream_is_finished(PyObject *self, PyObject *unused) {
  (void)unused;
  int rc = is_finished(wrpy_state_of_type(Py_TYPE(self)), (stream *)self);
  return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject *stream_next_ready(PyObject *self, PyObject *unused) {
  (void)unused;
  stream *s = (stream *)self;
  int rc = is_finished(wrpy_state_of_type(Py_TYPE(self)), s);
  if (rc < 0) return NULL;
  return PyBool_FromLong(!rc && wrpy_phase(((wrpy_ref *)s->item)->id) != WR_OBJ_PENDING);
}

static PyObject *stream_exhausted(PyObject *self, PyObject *unused) {
  (void)unused;
  stream *s = (stream *)self;
  if (attached_still(wrpy_state_of_type(Py_TYPE(self)), s)) return NULL;
  return PyBool_FromLong(at_end(s));
}

static PyObject *stream_completed(PyObject *self, PyObject *unused) {
  (void)unused;
  PyObject *task = ((stream *)self)->task;
  return Py_NewRef(task ? task : Py_None);
}

/* ---- type ----------------------------------------------------------------------------------- */

static int stream_traverse(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(((stream *)self)->task);
  Py_VISIT(((stream *)self)->item);
  return 0;
}

static int stream_clear(PyObject *self) {
  stream *s = (stream *)self;
  if (s->task && s->epoch && s->epoch == wrpy_sess.epoch)
    wr_stream_leave(wrpy_sess.client, s->task_id);
  s->epoch = 0;
  Py_CLEAR(s->item);
  Py_CLEAR(s->task);
  return 0;
}

static void stream_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (((stream *)self)->weakrefs) PyObject_ClearWeakRefs(self);
  stream_clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(stream, weakrefs), READONLY, NULL},
    {"_generator_ref", T_OBJECT, offsetof(stream, task), READONLY, "ObjectRef of the task's end"},
    {"_item", T_OBJECT, offsetof(stream, item), READONLY, "ObjectRef of the item that comes next"},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef methods[] = {
    {"_next_sync", (PyCFunction)(void (*)(void))stream_next_sync, METH_VARARGS | METH_KEYWORDS,
     "_next_sync($self, timeout_s=None)\n--\n\n"
     "The next reference; the nil reference if there is none after `timeout_s` seconds."},
    {"_take", stream_take, METH_NOARGS, "The item, which is complete; None: there are no more."},
    {"_take_failure", stream_take_failure, METH_NOARGS,
     "The reference of the task, which has ended, if it has failed; the next time None."},
    {"completed", stream_completed, METH_NOARGS,
     "completed()\n--\n\nA reference that is complete when the task has ended; its value is None."},
    {"next_ready", stream_next_ready, METH_NOARGS,
     "next_ready()\n--\n\nWhether next() gives a reference that is complete without waiting."},
    {"is_finished", stream_is_finished, METH_NOARGS,
     "is_finished()\n--\n\nWhether everything has been read: next() would raise StopIteration."},
    {"_stream_exhausted", stream_exhausted, METH_NOARGS, "Whether all items have been read."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "In annotations."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "References to what a task yields."},
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_traverse, stream_traverse},
    {Py_tp_clear, stream_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, stream_iternext},
    {Py_tp_members, members},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec wrpy_stream_spec = {
    .name = "whipray._core.Stream",
    .basicsize = sizeof(stream),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

static PyObject *m_set_stream_class(PyObject *module, PyObject *cls) {
  wrpy_state *st = wrpy_state_of(module);
  if (!PyType_Check(cls) || !PyType_IsSubtype((PyTypeObject *)cls, st->stream_type)) {
    PyErr_SetString(PyExc_TypeError, "the class of generators must be a subclass of Stream");
    return NULL;
  }
  Py_XSETREF(st->stream_class, Py_NewRef(cls));
  Py_RETURN_NONE;
}

static PyObject *m_set_item_stats(PyObject *module, PyObject *cls) {
  Py_XSETREF(wrpy_state_of(module)->item_stats, Py_NewRef(cls));
  Py_RETURN_NONE;
}

PyMethodDef wrpy_stream_methods[] = {
    {"set_item_stats", m_set_item_stats, METH_O,
     "set_item_stats(cls): running generators are sent cls(seconds that storing an item took)."},
    {"set_stream_class", m_set_stream_class, METH_O, "Sets what tasks that yield return."},
    {NULL, NULL, 0, NULL},
};
