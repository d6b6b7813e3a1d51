/* Whether a call fits what it calls.  Calls with positional arguments alone are judged by their
 * number; the others by Python, once for each shape: how many positional arguments, which names.
 * Whether a call fits depends on nothing else, so a shape that did is remembered. */
#include "pyext/module.h"

#define MOST_SHAPES 64 /* names that may come in any combination are not remembered without end */
#define MOST_ARGS 62   /* positional arguments of a shape that is remembered: bits of a number */

static PyObject *key_of(PyObject *kwnames) {
  return kwnames ? kwnames : Py_None;
}

static int knows(PyObject *shapes, PyObject *kwnames, Py_ssize_t nargs) {
  if (!shapes || nargs > MOST_ARGS) return 0;
  PyObject *counts = PyDict_GetItemWithError(shapes, key_of(kwnames));
  if (counts) return (int)(PyLong_AsUnsignedLongLong(counts) >> nargs & 1);
  PyErr_Clear();
  return 0;
}

/* That it is remembered saves time and nothing else: without memory, it is not. */
static void note(PyObject *shapes, PyObject *kwnames, Py_ssize_t nargs) {
  if (!shapes || nargs > MOST_ARGS) return;
  if (PyDict_GET_SIZE(shapes) >= MOST_SHAPES) PyDict_Clear(shapes);
  PyObject *before = PyDict_GetItemWithError(shapes, key_of(kwnames));
  uint64_t bits = before ? PyLong_AsUnsignedLongLong(before) : 0;
  PyObject *counts = PyLong_FromUnsignedLongLong(bits | UINT64_C(1) << nargs);
  if (!counts || PyDict_SetItem(shapes, key_of(kwnames), counts)) PyErr_Clear();
  Py_XDECREF(counts);
}

/* The shapes of `name`, or all there are; a borrowed reference, NULL: there is no memory for it. */
static PyObject *shapes_of(PyObject **known, PyObject *name) {
  if (!*known && !(*known = PyDict_New())) PyErr_Clear();
  if (!name || !*known) return *known;
  PyObject *shapes = PyDict_GetItemWithError(*known, name);
  if (shapes) return shapes;
  shapes = PyErr_Occurred() ? NULL : PyDict_New();
  if (shapes && PyDict_SetItem(*known, name, shapes)) Py_CLEAR(shapes);
  PyErr_Clear();
  Py_XDECREF(shapes); /* the dict of dicts has it */
  return shapes;
}

static int ask(wrpy_state *st, PyObject *owner, PyObject *name, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames) {
  PyObject *tuple = wrpy_args_tuple(args, nargs);
  PyObject *dict = wrpy_kwargs_dict(args + nargs, kwnames);
  PyObject *ok = NULL;
  if (tuple && dict)
    ok = name ? PyObject_CallMethodObjArgs(owner, st->s_check_args, name, tuple, dict, NULL)
              : PyObject_CallMethodObjArgs(owner, st->s_check_args, tuple, dict, NULL);
  Py_XDECREF(tuple);
  Py_XDECREF(dict);
  Py_XDECREF(ok);
  return ok ? 0 : -1;
}

int wrpy_check_args(wrpy_state *st, PyObject *owner, PyObject *name, PyObject **known,
                    PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  PyObject *shapes = shapes_of(known, name);
  if (WR_LIKELY(knows(shapes, kwnames, nargs))) return 0;
  if (ask(st, owner, name, args, nargs, kwnames)) return -1;
  note(shapes_of(known, name), kwnames, nargs);
  return 0;
}
