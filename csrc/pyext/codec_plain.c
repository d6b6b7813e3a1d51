/* Which values pickle alone writes as cloudpickle would: those made of exact types that neither
 * treats in a way of its own, and handles of actors, in any arrangement, also with cycles.
 * Classes, functions and instances of what a program defines are never among them. */
#include "pyext/codec_parts.h"
#include "pyext/npy.h"

#define PLAIN_DEPTH 500

typedef struct {
  wr_codec_state *cs;
  wr_seen *seen;
  int depth;
  uint32_t nodes;
} check;

static int plain(check *c, PyObject *v);

static int is_static(PyTypeObject *type, const char *name) {
  return !(type->tp_flags & Py_TPFLAGS_HEAPTYPE) && strcmp(type->tp_name, name) == 0;
}

/* None, or the one object for UTC; other time zones may be of classes from anywhere. */
static int plain_zone(PyObject *v) {
  PyObject *zone = PyObject_GetAttrString(v, "tzinfo");
  if (!zone) return -1;
  int ok = zone == Py_None;
  if (!ok && is_static(Py_TYPE(zone), "datetime.timezone")) {
    PyObject *utc = PyObject_GetAttrString((PyObject *)Py_TYPE(zone), "utc");
    if (!utc) {
      Py_DECREF(zone);
      return -1;
    }
    ok = utc == zone;
    Py_DECREF(utc);
  }
  Py_DECREF(zone);
  return ok;
}

static int plain_library(PyObject *v) {
  PyTypeObject *type = Py_TYPE(v);
  if (is_static(type, "datetime.datetime") || is_static(type, "datetime.time"))
    return plain_zone(v);
  return is_static(type, "datetime.date") || is_static(type, "datetime.timedelta") ||
         is_static(type, "decimal.Decimal");
}

static int plain_slice(check *c, PyObject *v) {
  PySliceObject *s = (PySliceObject *)v;
  int rc = plain(c, s->start);
  if (rc == 1) rc = plain(c, s->stop);
  return rc == 1 ? plain(c, s->step) : rc;
}

/* Looking at a value may collect garbage, and finalizers may take things out of its containers. */
static int plain_held(check *c, PyObject *v) {
  Py_INCREF(v);
  int rc = plain(c, v);
  Py_DECREF(v);
  return rc;
}

static int plain_dict(check *c, PyObject *v) {
  PyObject *key, *value;
  Py_ssize_t pos = 0;
  int rc = 1;
  while (rc == 1 && PyDict_Next(v, &pos, &key, &value)) {
    Py_INCREF(value);
    rc = plain_held(c, key);
    if (rc == 1) rc = plain(c, value);
    Py_DECREF(value);
  }
  return rc;
}

static int plain_set(check *c, PyObject *v) {
  PyObject *it = PyObject_GetIter(v), *item;
  if (!it) return -1;
  int rc = 1;
  while (rc == 1 && (item = PyIter_Next(it))) {
    rc = plain(c, item);
    Py_DECREF(item);
  }
  Py_DECREF(it);
  return PyErr_Occurred() ? -1 : rc;
}

static int plain_sequence(check *c, PyObject *v) {
  int rc = 1;
  for (Py_ssize_t i = 0; rc == 1 && i < PySequence_Fast_GET_SIZE(v); i++)
    rc = plain_held(c, PySequence_Fast_GET_ITEM(v, i));
  return rc;
}

static int plain_container(check *c, PyObject *v) {
  PyTypeObject *type = Py_TYPE(v);
  uint32_t none = 0;
  int rc = wrpy_seen_add(c->seen, v, &none);
  if (rc) return rc; /* looked at already: decided by its own place */
  if (c->depth >= PLAIN_DEPTH) return 0;
  c->depth++;
  WRPY_LOCKED_BEGIN(v);
  if (type == &PyDict_Type)
    rc = plain_dict(c, v);
  else if (type == &PyList_Type || type == &PyTuple_Type)
    rc = plain_sequence(c, v);
  else if (type == &PySlice_Type)
    rc = plain_slice(c, v);
  else
    rc = plain_set(c, v);
  WRPY_LOCKED_END();
  c->depth--;
  return rc;
}

static int plain(check *c, PyObject *v) {
  PyTypeObject *type = Py_TYPE(v);
  if (++c->nodes > 10 * WRPY_MAX_NODES) return 0;
  if (type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type || v == Py_None ||
      type == &PyBool_Type || type == &PyBytes_Type || type == &PyComplex_Type ||
      type == &PyByteArray_Type || type == &PyRange_Type || v == Py_Ellipsis)
    return 1;
  if (type == &PyList_Type || type == &PyDict_Type || type == &PyTuple_Type ||
      type == &PySet_Type || type == &PyFrozenSet_Type || type == &PySlice_Type)
    return plain_container(c, v);
  if (wrpy_np_maybe(v)) return wrpy_np_is_data(v);
  if (c->cs->handle_type && PyType_IsSubtype(type, c->cs->handle_type)) return 1;
  return plain_library(v);
}

int wrpy_plain(wr_codec_state *cs, wr_seen *seen, PyObject *v) {
  check c = {.cs = cs, .seen = seen};
  return cs->custom ? 0 : plain(&c, v);
}
