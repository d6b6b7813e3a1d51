/* Where NumPy takes the memory of arrays from: allocators of ours in front of the one that was
 * there.  Arrays keep the allocator that they have their memory from, so none ever goes. */
#define NPY_NO_DEPRECATED_API NPY_1_25_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL wrpy_array_api
#define NO_IMPORT_ARRAY
#include <numpy/arrayobject.h>

#include "pyext/npy.h"

typedef struct layer {
  PyDataMem_Handler handler;
  PyDataMem_Handler *before; /* what was there */
  const wrpy_np_memory *memory;
  struct layer *next;
} layer;

static layer *newest;
char wrpy_np_has_memory;

static layer *layer_of(const void *handler) {
  layer *l = newest;
  while (l && &l->handler != handler) l = l->next;
  return l;
}

static void *plain_malloc(const layer *l, size_t size) {
  return l->before->allocator.malloc(l->before->allocator.ctx, size);
}

static void *mem_malloc(void *ctx, size_t size) {
  const layer *l = ctx;
  void *p = size >= l->memory->min ? l->memory->alloc(size, 0) : NULL;
  return p ? p : plain_malloc(l, size);
}

/* Fresh pages of the system are zero without being written: who has no such memory refuses. */
static void *mem_calloc(void *ctx, size_t n, size_t width) {
  const layer *l = ctx;
  size_t size;
  void *p = NULL;
  if (!__builtin_mul_overflow(n, width, &size) && size >= l->memory->min)
    p = l->memory->alloc(size, 1);
  return p ? p : l->before->allocator.calloc(l->before->allocator.ctx, n, width);
}

static void mem_free(void *ctx, void *p, size_t size) {
  const layer *l = ctx;
  if (l->memory->size(p))
    l->memory->release(p);
  else
    l->before->allocator.free(l->before->allocator.ctx, p, size);
}

static void *mem_realloc(void *ctx, void *p, size_t size) {
  const layer *l = ctx;
  size_t old = l->memory->size(p);
  if (!old) return l->before->allocator.realloc(l->before->allocator.ctx, p, size);
  void *q = mem_malloc(ctx, size);
  if (!q) return NULL;
  memcpy(q, p, old < size ? old : size);
  l->memory->release(p);
  return q;
}

static PyDataMem_Handler *handler_in(PyObject *capsule) {
  return capsule ? PyCapsule_GetPointer(capsule, "mem_handler") : NULL;
}

/* The layer of m on top of `was`, which its capsule then keeps alive. */
static layer *layer_over(const wrpy_np_memory *m, PyDataMem_Handler *was, PyObject *capsule) {
  for (layer *l = newest; l; l = l->next)
    if (l->memory == m && (l->before == was || &l->handler == was)) return l;
  layer *l = PyMem_RawCalloc(1, sizeof *l);
  if (!l) {
    PyErr_NoMemory();
    return NULL;
  }
  l->handler = (PyDataMem_Handler){
      "whipray", 1, {l, mem_malloc, mem_calloc, mem_realloc, mem_free}};
  l->before = was;
  l->memory = m;
  l->next = newest;
  Py_INCREF(capsule);
  wrpy_np_has_memory = 1;
  return newest = l;
}

PyObject *wrpy_np_set_memory(const wrpy_np_memory *m) {
  if (wrpy_np_ready() < 0) return NULL;
  PyObject *old = PyDataMem_GetHandler();
  PyDataMem_Handler *was = handler_in(old);
  layer *l = was ? layer_over(m, was, old) : NULL;
  PyObject *capsule = l ? PyCapsule_New(&l->handler, "mem_handler", NULL) : NULL;
  PyObject *replaced = capsule ? PyDataMem_SetHandler(capsule) : NULL;
  Py_XDECREF(capsule);
  Py_XDECREF(old);
  return replaced;
}

int wrpy_np_reset_memory(PyObject *before) {
  if (wrpy_np_ready() < 0 || !handler_in(before)) return -1;
  PyObject *replaced = PyDataMem_SetHandler(before);
  Py_XDECREF(replaced);
  return replaced ? 0 : -1;
}

void *wrpy_np_sole_memory(PyObject *v) {
  if (Py_REFCNT(v) != 1 || !PyArray_CheckExact(v)) return NULL;
  PyArrayObject *a = (PyArrayObject *)v;
  if (PyArray_BASE(a) || !PyArray_CHKFLAGS(a, NPY_ARRAY_OWNDATA)) return NULL;
  PyObject *capsule = PyArray_HANDLER(a);
  const layer *l = capsule ? layer_of(handler_in(capsule)) : NULL;
  for (; l; l = layer_of(l->before)) /* each may have asked the one below it */
    if (l->memory->size(PyArray_DATA(a))) return PyArray_DATA(a);
  return NULL;
}

void wrpy_np_disown(PyObject *v) {
  PyArray_CLEARFLAGS((PyArrayObject *)v, NPY_ARRAY_OWNDATA);
}
