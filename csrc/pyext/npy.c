#define NPY_NO_DEPRECATED_API NPY_1_25_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL wrpy_array_api
#include "pyext/npy.h"

#include <numpy/arrayobject.h>
#include <numpy/arrayscalars.h>

_Static_assert(sizeof(npy_intp) == sizeof(Py_ssize_t), "dimensions are passed through");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements travel as they lie in memory");
_Static_assert(sizeof(long) == 8, "NPY_LONG is the 64-bit integer");

static const struct {
  uint8_t width;
  int type;
} dtypes[] = {
    {0, 0},         {1, NPY_BOOL},  {1, NPY_BYTE},   {2, NPY_SHORT},  {4, NPY_INT},
    {8, NPY_LONG},  {1, NPY_UBYTE}, {2, NPY_USHORT}, {4, NPY_UINT},   {8, NPY_ULONG},
    {2, NPY_HALF},  {4, NPY_FLOAT}, {8, NPY_DOUBLE}, {8, NPY_CFLOAT}, {16, NPY_CDOUBLE},
};
#define CODES (sizeof dtypes / sizeof dtypes[0])

/* PyArray_API, a table of NumPy's functions, is filled once per process. */
int wrpy_np_ready(void) {
  if (PyArray_API) return 0;
  return _import_array() < 0 ? -1 : 0;
}

static unsigned code_of(int type) {
  for (unsigned code = 1; code < CODES; code++)
    if (dtypes[code].type == type) return code;
  return 0;
}

size_t wrpy_np_width(unsigned code) { return code < CODES ? dtypes[code].width : 0; }

/* True where some order of the axes makes the array contiguous: pickle then keeps that order. */
static int contiguous_when_permuted(PyArrayObject *a) {
  int ndim = PyArray_NDIM(a);
  npy_intp expect = PyArray_ITEMSIZE(a);
  uint64_t used = 0;
  for (int done = 0; done < ndim; done++) {
    int axis = 0;
    while (axis < ndim && ((used >> axis & 1) || PyArray_STRIDE(a, axis) != expect)) axis++;
    if (axis == ndim) return 0;
    used |= (uint64_t)1 << axis;
    expect *= PyArray_DIM(a, axis);
  }
  return 1;
}

static int describe_data(PyArrayObject *a, wrpy_array *out) {
  out->own = 0;
  if (PyArray_IS_C_CONTIGUOUS(a)) {
    out->owner = Py_NewRef((PyObject *)a);
  } else if (PyArray_IS_F_CONTIGUOUS(a)) {
    out->owner = Py_NewRef((PyObject *)a);
    out->fortran = 1;
  } else {
    if (contiguous_when_permuted(a)) return 0;
    out->own = 1;
    out->owner = PyArray_NewCopy(a, NPY_CORDER);
    if (!out->owner) return -1;
  }
  out->data = PyArray_DATA((PyArrayObject *)out->owner);
  out->len = (size_t)PyArray_NBYTES((PyArrayObject *)out->owner);
  return 1;
}

int wrpy_np_describe(PyObject *v, wrpy_array *out) {
  if (wrpy_np_ready() < 0) return -1;
  if (!PyArray_CheckExact(v)) return 0;
  PyArrayObject *a = (PyArrayObject *)v;
  PyArray_Descr *descr = PyArray_DESCR(a);
  out->code = (uint8_t)code_of(descr->type_num);
  if (!out->code || !PyArray_ISNOTSWAPPED(a) || PyDataType_METADATA(descr)) return 0;
  out->ndim = PyArray_NDIM(a);
  if (out->ndim > WRPY_NP_MAXDIMS) return 0;
  if (out->ndim) memcpy(out->dims, PyArray_DIMS(a), (size_t)out->ndim * sizeof(Py_ssize_t));
  out->fortran = 0;
  return describe_data(a, out);
}

int wrpy_np_is_data(PyObject *v) {
  if (wrpy_np_ready() < 0) {
    PyErr_Clear();
    return 0;
  }
  if (!PyArray_CheckExact(v)) return 0;
  PyArray_Descr *descr = PyArray_DESCR((PyArrayObject *)v);
  if (PyDataType_METADATA(descr)) return 0;
  return code_of(descr->type_num) || descr->type_num == NPY_STRING ||
         descr->type_num == NPY_UNICODE || descr->type_num == NPY_DATETIME ||
         descr->type_num == NPY_TIMEDELTA;
}

static unsigned scalar_code(PyTypeObject *type) {
  const PyTypeObject *const types[CODES] = {
      NULL,
      &PyBoolArrType_Type,
      &PyByteArrType_Type,
      &PyShortArrType_Type,
      &PyIntArrType_Type,
      &PyLongArrType_Type,
      &PyUByteArrType_Type,
      &PyUShortArrType_Type,
      &PyUIntArrType_Type,
      &PyULongArrType_Type,
      &PyHalfArrType_Type,
      &PyFloatArrType_Type,
      &PyDoubleArrType_Type,
      &PyCFloatArrType_Type,
      &PyCDoubleArrType_Type,
  };
  for (unsigned code = 1; code < CODES; code++)
    if (types[code] == type) return code;
  return 0;
}

int wrpy_np_scalar(PyObject *v, uint8_t *code, uint8_t item[WRPY_NP_MAXITEM], size_t *len) {
  if (wrpy_np_ready() < 0) return -1;
  *code = (uint8_t)scalar_code(Py_TYPE(v));
  if (!*code) return 0;
  PyArray_ScalarAsCtype(v, item);
  *len = dtypes[*code].width;
  return 1;
}

static PyObject *new_array(const wrpy_array *a, void *data) {
  PyArray_Descr *descr = PyArray_DescrFromType(dtypes[a->code].type);
  if (!descr) return NULL;
  npy_intp dims[WRPY_NP_MAXDIMS];
  memcpy(dims, a->dims, (size_t)a->ndim * sizeof *dims);
  int order = a->fortran ? NPY_ARRAY_F_CONTIGUOUS : NPY_ARRAY_C_CONTIGUOUS;
  if (!data) order = a->fortran ? NPY_ARRAY_F_CONTIGUOUS : 0;
  return PyArray_NewFromDescr(&PyArray_Type, descr, a->ndim, dims, NULL, data,
                              data ? order | NPY_ARRAY_ALIGNED : order, NULL);
}

PyObject *wrpy_np_array(const wrpy_array *a) {
  if (wrpy_np_ready() < 0) return NULL;
  int view = a->owner && !a->own;
  PyObject *array = new_array(a, view ? (void *)(uintptr_t)a->data : NULL);
  if (!array) return NULL;
  if (view) {
    if (PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(a->owner)) < 0) Py_CLEAR(array);
  } else {
    if (a->len) memcpy(PyArray_DATA((PyArrayObject *)array), a->data, a->len);
    if (!a->own) PyArray_CLEARFLAGS((PyArrayObject *)array, NPY_ARRAY_WRITEABLE);
  }
  return array;
}

PyObject *wrpy_np_make_scalar(unsigned code, const uint8_t *item) {
  if (wrpy_np_ready() < 0) return NULL;
  PyArray_Descr *descr = PyArray_DescrFromType(dtypes[code].type);
  if (!descr) return NULL;
  uint8_t aligned[WRPY_NP_MAXITEM];
  memcpy(aligned, item, dtypes[code].width);
  PyObject *scalar = PyArray_Scalar(aligned, descr, NULL);
  Py_DECREF(descr);
  return scalar;
}
