/* pyext/npy.h - the one door to the C interface of NumPy.
 *
 * NumPy need not be installed: it is imported when a value of its types is met, or an encoded one
 * is read.  All calls need the GIL.  Dtype codes are part of the encoding (wire/value.h): they name
 * a kind and a width, whatever number NumPy gives the type on this machine. */
#ifndef WR_PYEXT_NPY_H
#define WR_PYEXT_NPY_H

#include <Python.h>
#include <stdint.h>

#define WRPY_NP_MAXDIMS 64
#define WRPY_NP_MAXITEM 16 /* bytes of the widest element */

typedef struct {
  uint8_t code;
  uint8_t fortran; /* the elements lie in Fortran's order */
  uint8_t own;     /* whoever reads the array gets elements of its own, and may write them */
  int ndim;
  Py_ssize_t dims[WRPY_NP_MAXDIMS];
  const uint8_t *data;
  size_t len;
  PyObject *owner; /* of data: a new reference */
} wrpy_array;

int wrpy_np_ready(void); /* for the files behind this header: 0, or -1 with an exception */

/* Could be one of NumPy's own objects; cheap, and false for nearly everything else. */
static inline int wrpy_np_maybe(PyObject *v) {
  return strncmp(Py_TYPE(v)->tp_name, "numpy.", 6) == 0;
}

/* For objects of which wrpy_np_maybe is true: 1 done, 0 not of that sort, -1 error.
 * An array is described when it is exactly an ndarray of plain numbers in native byte order; what
 * is not contiguous is copied, and copied again by whoever reads it, as pickle would, unless pickle
 * would keep an order of axes of its own. */
int wrpy_np_describe(PyObject *v, wrpy_array *a);
/* An ndarray of any size and order that holds numbers, characters or dates, nothing of Python. */
int wrpy_np_is_data(PyObject *v);
int wrpy_np_scalar(PyObject *v, uint8_t *code, uint8_t item[WRPY_NP_MAXITEM], size_t *len);

/* Width of an element, 0: no such code. */
size_t wrpy_np_width(unsigned code);
/* A read-only array: a view of a->data that keeps a->owner alive, or a copy where owner is NULL.
 * With a->own a copy that may be written. */
PyObject *wrpy_np_array(const wrpy_array *a);
PyObject *wrpy_np_make_scalar(unsigned code, const uint8_t *item);

/* ---- npy_memory.c ---------------------------------------------------------------------------- */

/* Where NumPy takes the memory of arrays from, in the calling thread's context and those copied
 * from it.  alloc() may refuse with NULL, always where it is to be zero; what size() knows goes to
 * release(), everything else, 0, to the allocator that was there before.  Sizes below `min` are not
 * asked for.  The handler that was there, for reset; or NULL with an exception. */
typedef struct {
  size_t min;
  void *(*alloc)(size_t size, int zeroed);
  size_t (*size)(const void *p);
  void (*release)(void *p);
} wrpy_np_memory;
extern char wrpy_np_has_memory; /* it has been told so, at some time */
PyObject *wrpy_np_set_memory(const wrpy_np_memory *m);
int wrpy_np_reset_memory(PyObject *before); /* 0, or -1 */
/* The elements of an array that has them from alloc() and that nobody but the caller has; or NULL.
 * After wrpy_np_disown they are the caller's to keep: the array does not release them. */
void *wrpy_np_sole_memory(PyObject *v);
void wrpy_np_disown(PyObject *v);

#endif
