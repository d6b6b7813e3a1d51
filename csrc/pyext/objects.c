/* get and put, and what belongs to them: the phase of an object, watching for its completion,
 * exported functions. */
#include "pyext/module.h"

/* ---- get ------------------------------------------------------------------------------------ */

static PyObject *timed_out(wrpy_state *st) {
  wrpy_timed_out(st);
  return NULL;
}

static inline int is_sealed(int phase) { return phase == WR_OBJ_READY || phase == WR_OBJ_ERROR; }

static PyObject *get_one(wrpy_state *st, PyObject *ref, int64_t deadline) {
  wr_id id;
  if (wrpy_object_id(st, ref, &id)) return NULL;
  if (!is_sealed(wrpy_phase(id))) {
    Py_INCREF(ref); /* another thread may drop the caller's reference meanwhile */
    int rc = wrpy_wait_sealed(st, &id, 1, 1, 1, deadline);
    PyObject *value = NULL;
    if (rc == 0) value = wrpy_load_or_raise(st, id, deadline);
    if (rc > 0) timed_out(st);
    Py_DECREF(ref);
    return value;
  }
  return wrpy_load_or_raise(st, id, deadline);
}

static int count_sealed(const wr_id *ids, Py_ssize_t n, int *failed) {
  Py_ssize_t done = 0;
  for (Py_ssize_t i = 0; i < n; i++) {
    int phase = wrpy_phase(ids[i]);
    done += is_sealed(phase);
    if (phase == WR_OBJ_ERROR) *failed = 1;
  }
  return done == n;
}

/* Raises the first error in the order of the list, if any of the objects has failed. */
static int raise_first(wrpy_state *st, const wr_id *ids, Py_ssize_t n, uint32_t epoch) {
  for (Py_ssize_t i = 0; i < n; i++) {
    if (wrpy_left(st, epoch, "reading an object")) return -1;
    if (wrpy_phase(ids[i]) != WR_OBJ_ERROR) continue;
    PyObject *value = wrpy_load_or_raise(st, ids[i], -1);
    Py_XDECREF(value);
    if (!value) return -1;
  }
  return 0;
}

static PyObject *load_all(wrpy_state *st, const wr_id *ids, Py_ssize_t n, uint32_t epoch,
                          int64_t deadline) {
  PyObject *values = PyList_New(n);
  for (Py_ssize_t i = 0; values && i < n; i++) {
    int left = wrpy_left(st, epoch, "reading an object");
    PyObject *value = left ? NULL : wrpy_load_or_raise(st, ids[i], deadline);
    if (value)
      PyList_SET_ITEM(values, i, value);
    else
      Py_CLEAR(values);
  }
  return values;
}

static PyObject *get_ids(wrpy_state *st, const wr_id *ids, Py_ssize_t n, int64_t deadline) {
  int failed = 0;
  uint32_t epoch = wrpy_sess.epoch;
  if (!count_sealed(ids, n, &failed) && !failed) {
    int rc = wrpy_wait_sealed(st, ids, (size_t)n, (size_t)n, 1, deadline);
    if (rc) return rc > 0 ? timed_out(st) : NULL;
    failed = 1; /* perhaps */
  }
  if (failed && raise_first(st, ids, n, epoch)) return NULL;
  return load_all(st, ids, n, epoch, deadline);
}

/* A copy of the list keeps the refs while other threads may change the caller's. */
static PyObject *get_many(wrpy_state *st, PyObject *refs, int64_t deadline) {
  Py_ssize_t n = PyList_GET_SIZE(refs);
  PyObject *kept = PyList_GetSlice(refs, 0, n);
  wr_id few[32], *ids = kept && n > 32 ? PyMem_New(wr_id, (size_t)n) : few;
  PyObject *values = NULL;
  if (!ids) PyErr_NoMemory();
  if (kept && ids) {
    Py_ssize_t i = 0;
    while (i < n && wrpy_object_id(st, PyList_GET_ITEM(kept, i), &ids[i]) == 0) i++;
    if (i == n) values = get_ids(st, ids, n, deadline);
  }
  if (ids != few) PyMem_Free(ids);
  Py_XDECREF(kept);
  return values;
}

static int all_refs(wrpy_state *st, PyObject *list) {
  Py_ssize_t n = PyList_GET_SIZE(list);
  for (Py_ssize_t i = 0; i < n; i++)
    if (!wrpy_is_ref(st, PyList_GET_ITEM(list, i))) return 0;
  return 1;
}

static int plain_timeout(PyObject *t) {
  if (t == Py_None) return 1;
  if (PyFloat_Check(t)) return PyFloat_AS_DOUBLE(t) >= 0;
  if (!PyLong_Check(t) || PyBool_Check(t)) return 0;
  int overflow; /* the number itself: a subclass may compare as it likes */
  long long seconds = PyLong_AsLongLongAndOverflow(t, &overflow);
  return overflow > 0 || (!overflow && seconds >= 0);
}

static PyObject *get(wrpy_state *st, PyObject *refs, PyObject *timeout) {
  int64_t deadline;
  int one = wrpy_is_ref(st, refs);
  if (WR_UNLIKELY(!plain_timeout(timeout) ||
                  (!one && !(PyList_CheckExact(refs) && all_refs(st, refs)))))
    return wrpy_hook(st, "get_slow", "(OO)", refs, timeout);
  PyObject *ref = one ? refs : PyList_GET_SIZE(refs) ? PyList_GET_ITEM(refs, 0) : NULL;
  if (wrpy_attached_for(st, ref) || wrpy_deadline(timeout, &deadline)) return NULL;
  return one ? get_one(st, refs, deadline) : get_many(st, refs, deadline);
}

static PyObject *get_usage(void) {
  PyErr_SetString(PyExc_TypeError,
                  "get() takes one ObjectRef or one list of them, and the keyword timeout");
  return NULL;
}

static PyObject *m_get(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *refs = nargs ? args[0] : NULL, *timeout = Py_None;
  Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < nkw; i++) {
    PyObject *name = PyTuple_GET_ITEM(kwnames, i);
    if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0)
      timeout = args[nargs + i];
    else if (!refs && PyUnicode_CompareWithASCIIString(name, "object_refs") == 0)
      refs = args[nargs + i];
    else if (PyUnicode_CompareWithASCIIString(name, "_use_object_store") != 0)
      return get_usage(); /* Ray's choice of a transport for tensors: there is one */
  }
  if (!refs || nargs > 1) return get_usage();
  return get(st, refs, timeout);
}

/* ---- put ------------------------------------------------------------------------------------ */

/* The value, given by its name or beside keywords of Ray that change nothing as long as they are
 * None; borrowed. */
static WR_RARE PyObject *named_value(wrpy_state *st, PyObject *const *args, Py_ssize_t nargs,
                                     PyObject *kwnames) {
  PyObject *value = nargs ? args[0] : NULL;
  Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  int known = nargs <= 1;
  for (Py_ssize_t i = 0; i < nkw && known; i++) {
    PyObject *name = PyTuple_GET_ITEM(kwnames, i), *given = args[nargs + i];
    if (!value && PyUnicode_CompareWithASCIIString(name, "value") == 0)
      value = given;
    else if (PyUnicode_CompareWithASCIIString(name, "_owner") != 0 &&
             PyUnicode_CompareWithASCIIString(name, "_tensor_transport") != 0)
      known = 0;
    else if (given != Py_None)
      return wrpy_hook(st, "put_option_refused", "(O)", name);
  }
  if (value && known) return value;
  PyErr_SetString(PyExc_TypeError, "put() takes one argument, the value");
  return NULL;
}

static PyObject *m_put(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames) {
  wrpy_state *st = wrpy_state_of(module);
  int plain = nargs == 1 && !kwnames;
  PyObject *value = WR_LIKELY(plain) ? args[0] : named_value(st, args, nargs, kwnames);
  wr_id id;
  if (WR_UNLIKELY(!value)) return NULL;
  if (WR_UNLIKELY(wrpy_is_ref(st, value))) return wrpy_hook(st, "put_refused", "(O)", value);
  if (wrpy_attached_auto(st) || wrpy_put_value(st, value, &id)) return NULL;
  return wrpy_ref_wrap(st, id, WRPY_CREATOR);
}

/* An object that failed: get raises the exception. */
static PyObject *m_put_error(PyObject *module, PyObject *exc) {
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  if (!PyExceptionInstance_Check(exc)) {
    PyErr_SetString(PyExc_TypeError, "put_error() takes an exception");
    return NULL;
  }
  if (wrpy_attached(st) || wrpy_put_error(st, exc, &id)) return NULL;
  return wrpy_ref_wrap(st, id, WRPY_CREATOR);
}

/* ---- completion ----------------------------------------------------------------------------- */

/* A job that streams is pending while it has to wait for its reader. */
static wrpy_job *waits_for_reader(wrpy_state *st, PyObject *v) {
  wrpy_job *j = Py_IS_TYPE(v, st->job_type) ? (wrpy_job *)v : NULL;
  return j && wrpy_job_streams(j) ? j : NULL;
}

static PyObject *m_phase(PyObject *module, PyObject *ref) {
  wr_id id;
  const wrpy_job *j = waits_for_reader(wrpy_state_of(module), ref);
  if (j && (!j->open || j->epoch != wrpy_sess.epoch)) return PyLong_FromLong(WR_OBJ_READY);
  if (j)
    return PyLong_FromLong(wr_work_has_room(wrpy_sess.client, &j->job) ? WR_OBJ_READY
                                                                      : WR_OBJ_PENDING);
  if (wrpy_object_id(wrpy_state_of(module), ref, &id)) return NULL;
  return PyLong_FromLong(wrpy_phase(id));
}

static PyObject *m_watch(PyObject *module, PyObject *ref) {
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  const wrpy_job *j = waits_for_reader(st, ref);
  if (j)
    return PyBool_FromLong(!j->open || j->epoch != wrpy_sess.epoch ||
                           wr_work_watch_room(wrpy_sess.client, &j->job));
  if (wrpy_object_id(st, ref, &id)) return NULL;
  int rc = wr_watch(wrpy_sess.client, id);
  return rc < 0 ? wrpy_fail_null(st, rc, "watching an object") : PyBool_FromLong(rc);
}

static PyObject *m_wait_change(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  unsigned long long seen;
  PyObject *timeout = Py_None;
  int64_t deadline;
  if (!PyArg_ParseTuple(args, "K|O", &seen, &timeout) || wrpy_deadline(timeout, &deadline))
    return NULL;
  if (wrpy_attached(st)) return NULL;
  uint64_t now = seen;
  uint32_t epoch = wrpy_sess.epoch;
  for (;;) {
    int64_t slice = wrpy_slice(deadline);
    int rc;
    WRPY_LEAVE
    rc = wr_wait_change(wrpy_sess.client, &now, slice);
    WRPY_ENTER
    if (PyErr_CheckSignals()) return NULL;
    if (epoch != wrpy_sess.epoch) rc = WR_CLOSED;
    if (rc != WR_OK && rc != WR_TIMEOUT && rc != WR_INTR)
      return wrpy_fail_null(st, rc, "waiting for a change");
    if (now != seen || rc == WR_OK || wrpy_slice(deadline) == 0)
      return PyLong_FromUnsignedLongLong(now);
  }
}

/* ---- exports -------------------------------------------------------------------------------- */

/* Copies bytes into a new object that stays until the session ends. */
static int export_new(wrpy_state *st, const Py_buffer *data, wr_id *id) {
  uint32_t epoch = wrpy_sess.epoch;
  int rc = wr_object_create(wrpy_sess.client, id);
  if (rc != WR_OK) return wrpy_fail(st, rc, "exporting a function");
  wrpy_room room = {0};
  uint8_t *dst = NULL;
  size_t len = (size_t)data->len;
  while ((rc = wr_value_reserve(wrpy_sess.client, id->idx, len, NULL, 0, &dst)) == WR_FULL)
    if (wrpy_room_wait(st, &room, len)) break;
  if (rc == WR_OK) {
    if (len) memcpy(dst, data->buf, len);
    rc = wr_export_seal(wrpy_sess.client, *id, data->buf, len);
  }
  if (rc == WR_OK) return 0;
  if (wrpy_still_in(epoch)) wr_creator_drop(wrpy_sess.client, *id);
  return wrpy_fail(st, rc, "exporting a function");
}

static PyObject *m_export(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  Py_buffer data;
  int kind = 0;
  wr_id id;
  if (wrpy_attached(st) || !PyArg_ParseTuple(args, "y*|i", &data, &kind)) return NULL;
  int found = wr_export_find(wrpy_sess.client, data.buf, (size_t)data.len, &id);
  int rc = found ? 0 : export_new(st, &data, &id);
  PyBuffer_Release(&data);
  return rc ? NULL : wrpy_ref_wrap(st, id, WRPY_NOTHING);
}

static PyObject *m_export_bytes(PyObject *module, PyObject *ref) {
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  wr_view view;
  if (wrpy_object_id(st, ref, &id)) return NULL;
  int rc = wr_value_view(wrpy_sess.client, id, &view);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "reading an export");
  return PyBytes_FromStringAndSize((const char *)view.data, (Py_ssize_t)view.len);
}

PyMethodDef wrpy_object_methods[] = {
    {"get", WRPY_FASTCALL(m_get), METH_FASTCALL | METH_KEYWORDS,
     "get(object_refs, *, timeout=None)\n--\n\n"
     "The value of an ObjectRef, or the list of values of a list of them.\n\n"
     "Waits until they are there, at most `timeout` seconds: GetTimeoutError after that.  Raises\n"
     "the first error among the objects without waiting for the others."},
    {"put", WRPY_FASTCALL(m_put), METH_FASTCALL | METH_KEYWORDS,
     "put(value)\n--\n\nStores a snapshot of the value; returns an ObjectRef to it."},
    {"put_error", m_put_error, METH_O, "put_error(exception) -> ObjectRef; get raises it."},
    {"phase", m_phase, METH_O,
     "phase(ref): 1 pending, 2 ready, 3 failed, negative: gone; also of a job that streams, which\n"
     "is pending while it has to wait for its reader."},
    {"watch", m_watch, METH_O, "watch(ref): True if it is complete; else wakes wait_change later."},
    {"wait_change", m_wait_change, METH_VARARGS, "wait_change(seen, timeout=None) -> seen."},
    {"export", m_export, METH_VARARGS,
     "export(payload, kind=0): keeps bytes for the session, equal ones once."},
    {"export_bytes", m_export_bytes, METH_O, "export_bytes(ref): what was exported."},
    {NULL, NULL, 0, NULL},
};
