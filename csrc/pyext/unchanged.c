/* Whether things are where they were: the look that `_private/watch.py` takes each time a class
 * travels that goes by value.
 *
 * A part is a tuple of something and what was found in it:
 *   (dict, keys, values)         what stands under the keys; there may be others
 *   (dict, None, keys, values)   all that there is
 *   (class, bases, keys, values) its own attributes, all of them
 *   (function, code, defaults, kwdefaults, name, qualified name, text, number of its attributes)
 *   (cell, content)
 * where `missing` stands for what was not there.  Everything is compared by identity, and the parts
 * hold what they name: nothing else can have come to lie there. */
#include "pyext/module.h"

static int same(PyObject *now, PyObject *then, PyObject *absent) {
  return (now ? now : absent) == then;
}

static int same_items(PyObject *dict, PyObject *keys, PyObject *values, PyObject *missing) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); i++) {
    PyObject *now = PyDict_GetItemWithError(dict, PyTuple_GET_ITEM(keys, i));
    if (!same(now, PyTuple_GET_ITEM(values, i), missing)) return 0;
  }
  return 1;
}

static int same_class(PyTypeObject *cls, PyObject *part, PyObject *missing) {
  PyObject *keys = PyTuple_GET_ITEM(part, 2);
  return cls->tp_bases == PyTuple_GET_ITEM(part, 1) &&
         PyDict_GET_SIZE(cls->tp_dict) == PyTuple_GET_SIZE(keys) &&
         same_items(cls->tp_dict, keys, PyTuple_GET_ITEM(part, 3), missing);
}

static int same_function(const PyFunctionObject *f, PyObject *part) {
  return f->func_code == PyTuple_GET_ITEM(part, 1) &&
         same(f->func_defaults, PyTuple_GET_ITEM(part, 2), Py_None) &&
         same(f->func_kwdefaults, PyTuple_GET_ITEM(part, 3), Py_None) &&
         f->func_name == PyTuple_GET_ITEM(part, 4) &&
         f->func_qualname == PyTuple_GET_ITEM(part, 5) &&
         same(f->func_doc, PyTuple_GET_ITEM(part, 6), Py_None) &&
         (f->func_dict ? PyDict_GET_SIZE(f->func_dict) : 0) ==
             PyLong_AsSsize_t(PyTuple_GET_ITEM(part, 7));
}

static int are_pairs(PyObject *keys, PyObject *values) {
  return PyTuple_CheckExact(keys) && PyTuple_CheckExact(values) &&
         PyTuple_GET_SIZE(keys) == PyTuple_GET_SIZE(values);
}

/* 1: it is as it was, 0: it is not; -1: this is no part. */
static int is_same(PyObject *part, PyObject *missing) {
  Py_ssize_t n = PyTuple_CheckExact(part) ? PyTuple_GET_SIZE(part) : 0;
  PyObject *of = n ? PyTuple_GET_ITEM(part, 0) : NULL;
  int pairs = n > 2 && are_pairs(PyTuple_GET_ITEM(part, n - 2), PyTuple_GET_ITEM(part, n - 1));
  if (n == 3 && PyDict_Check(of) && pairs)
    return same_items(of, PyTuple_GET_ITEM(part, 1), PyTuple_GET_ITEM(part, 2), missing);
  if (n == 4 && PyDict_Check(of) && pairs)
    return PyDict_GET_SIZE(of) == PyTuple_GET_SIZE(PyTuple_GET_ITEM(part, 2)) &&
           same_items(of, PyTuple_GET_ITEM(part, 2), PyTuple_GET_ITEM(part, 3), missing);
  if (n == 4 && PyType_Check(of) && pairs) return same_class((PyTypeObject *)of, part, missing);
  if (n == 8 && PyFunction_Check(of)) return same_function((PyFunctionObject *)of, part);
  if (n == 2 && PyCell_Check(of))
    return same(PyCell_GET(of), PyTuple_GET_ITEM(part, 1), missing);
  PyErr_SetString(PyExc_TypeError, "nothing that can be looked at");
  return -1;
}

static PyObject *m_unchanged(PyObject *module, PyObject *args) {
  PyObject *parts, *missing;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!O", &PyTuple_Type, &parts, &missing)) return NULL;
  int rc = 1;
  for (Py_ssize_t i = 0; rc == 1 && i < PyTuple_GET_SIZE(parts); i++)
    rc = is_same(PyTuple_GET_ITEM(parts, i), missing);
  return rc < 0 || PyErr_Occurred() ? NULL : PyBool_FromLong(rc);
}

PyMethodDef wrpy_unchanged_methods[] = {
    {"unchanged", m_unchanged, METH_VARARGS,
     "unchanged(parts, missing): whether all is where it was; see watch.Watch."},
    {NULL, NULL, 0, NULL},
};
