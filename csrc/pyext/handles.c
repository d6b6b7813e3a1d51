/* Handles around actors that are known by a reference, by their id, or as the actor that this
 * process is.  What a handle shows of the class is read from its description in the session, once
 * for each class. */
#include "pyext/module.h"

#define WRPY_ACTOR_BYTES 16 /* of an actor's id */

/* The actor's id out of one as objects have them, which it takes over: see shm/ident.h. */
PyObject *wrpy_actor_bytes(PyObject *id) {
  if (!id) return NULL;
  char raw[WRPY_ACTOR_BYTES];
  const char *p = PyBytes_AS_STRING(id);
  memcpy(raw, p, 4);
  memcpy(raw + 4, p + 20, 4);
  memcpy(raw + 8, p + 12, 8);
  Py_DECREF(id);
  return PyBytes_FromStringAndSize(raw, sizeof raw);
}

static PyTypeObject *handle_class(wrpy_state *st) {
  if (!st->handle_class) {
    PyObject *module = PyImport_ImportModule("whipray.actor"); /* sets it */
    if (!module) return NULL;
    Py_DECREF(module);
  }
  return st->handle_class ? (PyTypeObject *)st->handle_class : st->handle_type;
}

PyObject *wrpy_handle_make(wrpy_state *st, PyObject *ref, PyObject *methods, PyObject *info) {
  PyTypeObject *type = handle_class(st);
  wrpy_handle *h = type ? (wrpy_handle *)type->tp_alloc(type, 0) : NULL;
  if (!h) {
    Py_DECREF(ref);
    return NULL;
  }
  h->ref = ref;
  h->methods = Py_NewRef(methods);
  h->info = Py_NewRef(info);
  return (PyObject *)h;
}

static const char DESCRIBING[] = "reading the description of an actor class";

/* Asks Python for (methods, info); what it runs may leave the session. */
static PyObject *describe(wrpy_state *st, uint64_t meta) {
  wr_id id = {(wr_idx)meta, (uint32_t)(meta >> 32)};
  wr_view view;
  if (!id.gen) id.gen = wrpy_gen_of(id.idx);
  int rc = wr_value_view(wrpy_sess.client, id, &view);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, DESCRIBING);
  PyObject *bytes = PyBytes_FromStringAndSize((const char *)view.data, (Py_ssize_t)view.len);
  PyObject *pair = bytes ? wrpy_hook(st, "describe", "(N)", bytes) : NULL;
  if (pair && (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2)) {
    PyErr_SetString(PyExc_TypeError, "describe() must return a pair");
    Py_CLEAR(pair);
  }
  return pair;
}

/* The descriptions read so far in this session; borrowed. */
static PyObject *descriptions(wrpy_state *st, uint32_t epoch) {
  if (WR_LIKELY(st->described && st->described_epoch == epoch)) return st->described;
  PyObject *none = PyDict_New();
  if (!none || wrpy_left(st, epoch, DESCRIBING)) {
    Py_XDECREF(none);
    return NULL;
  }
  st->described_epoch = epoch;
  Py_XSETREF(st->described, none);
  return wrpy_left(st, epoch, DESCRIBING) ? NULL : none;
}

/* (methods, info) of the class whose description is object `meta`. */
static PyObject *described(wrpy_state *st, uint64_t meta) {
  uint32_t epoch = wrpy_sess.epoch;
  PyObject *known = descriptions(st, epoch);
  PyObject *key = known ? PyLong_FromUnsignedLongLong(meta) : NULL;
  PyObject *pair = key ? Py_XNewRef(PyDict_GetItemWithError(known, key)) : NULL;
  if (key && !pair && !PyErr_Occurred()) {
    pair = describe(st, meta);
    if (pair && (wrpy_left(st, epoch, DESCRIBING) || PyDict_SetItem(st->described, key, pair)))
      Py_CLEAR(pair);
  }
  Py_XDECREF(key);
  return pair;
}

PyObject *wrpy_handle_of_ref(wrpy_state *st, PyObject *ref) {
  wr_id id;
  if (wrpy_ref_id(st, ref, &id)) return NULL;
  if (!(id.idx & WR_ACTOR_BIT)) {
    PyErr_SetString(PyExc_ValueError, "this ref names an object, not an actor");
    return NULL;
  }
  PyObject *pair = described(st, wrpy_sess.seg->actors[id.idx & ~WR_ACTOR_BIT].meta);
  if (!pair) return NULL;
  PyObject *handle = wrpy_handle_make(st, Py_NewRef(ref), PyTuple_GET_ITEM(pair, 0),
                                      PyTuple_GET_ITEM(pair, 1));
  Py_DECREF(pair);
  return handle;
}

/* A handle that does not count. */
static PyObject *weak_handle(wrpy_state *st, PyObject *bytes, uint64_t meta) {
  wr_id id;
  PyObject *ref = wrpy_ref_weak(st, bytes), *pair = NULL;
  if (ref && !wrpy_ref_id(st, ref, &id)) pair = described(st, meta);
  if (!pair) {
    Py_XDECREF(ref);
    return NULL;
  }
  PyObject *h = wrpy_handle_make(st, ref, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
  Py_DECREF(pair);
  if (h) ((wrpy_handle *)h)->meta = meta;
  return h;
}

static PyObject *m_weak_handle(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *bytes;
  unsigned long long meta;
  if (!PyArg_ParseTuple(args, "SK", &bytes, &meta) || wrpy_attached(st)) return NULL;
  return weak_handle(st, bytes, meta);
}

static PyObject *m_handle_of(PyObject *module, PyObject *ref) {
  return wrpy_handle_of_ref(wrpy_state_of(module), ref);
}

static PyObject *m_handle_from_id(PyObject *module, PyObject *bytes) {
  wrpy_state *st = wrpy_state_of(module);
  if (wrpy_attached(st)) return NULL;
  if (!PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) != WRPY_ACTOR_BYTES) {
    PyErr_Format(PyExc_ValueError, "the id of an actor has %d bytes", WRPY_ACTOR_BYTES);
    return NULL;
  }
  wr_id id;
  memcpy(&id.idx, PyBytes_AS_STRING(bytes) + 8, sizeof id.idx);
  memcpy(&id.gen, PyBytes_AS_STRING(bytes) + 12, sizeof id.gen);
  PyObject *ref = wrpy_ref_hold(st, id.idx, id.gen);
  PyObject *handle = ref ? wrpy_handle_of_ref(st, ref) : NULL;
  Py_XDECREF(ref);
  return handle;
}

static PyObject *m_current_actor(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  if (wrpy_attached(st)) return NULL;
  if (!wr_client_actor(wrpy_sess.client, &id)) Py_RETURN_NONE;
  PyObject *bytes = wrpy_id_bytes(id, WRPY_ID_BYTES);
  PyObject *handle =
      bytes ? weak_handle(st, bytes, wrpy_sess.seg->actors[id.idx & ~WR_ACTOR_BIT].meta) : NULL;
  Py_XDECREF(bytes);
  return handle;
}

/* Also once the last handle has gone and the queued calls still run. */
static PyObject *m_current_actor_bytes(PyObject *module, PyObject *unused) {
  (void)unused;
  wr_id id;
  if (wrpy_attached(wrpy_state_of(module))) return NULL;
  if (!wr_client_actor(wrpy_sess.client, &id)) Py_RETURN_NONE;
  return wrpy_actor_bytes(wrpy_id_bytes(id, WRPY_ID_BYTES));
}

PyMethodDef wrpy_handle_methods[] = {
    {"handle_from_id", m_handle_from_id, METH_O, "The handle whose _actor_bytes() these are."},
    {"_handle_of", m_handle_of, METH_O, "A handle around an actor's ref."},
    {"_weak_handle", m_weak_handle, METH_VARARGS, "A handle that does not count, once more."},
    {"current_actor", m_current_actor, METH_NOARGS,
     "A handle to the actor this process is; it does not count."},
    {"current_actor_bytes", m_current_actor_bytes, METH_NOARGS, "_actor_bytes() of its handles."},
    {NULL, NULL, 0, NULL},
};
