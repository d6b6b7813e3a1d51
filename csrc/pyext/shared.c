/* Arrays that are put without a copy: while the scope of whipray.util.shared_arrays() is open,
 * NumPy takes the memory of large arrays from the store; see client/region.c. */
#include "os/os.h"
#include "pyext/module.h"
#include "pyext/npy.h"

#define PATIENT ((size_t)16 << 20) /* bytes whose pages are mapped without the GIL */

/* Other threads may leave the session meanwhile: the array is ordinary then. */
static void *prepare_apart(void *p, int zeroed) {
  uint32_t epoch = wrpy_sess.epoch;
  WRPY_LEAVE
  wr_region_prepare(wrpy_sess.client, p, zeroed);
  WRPY_ENTER
  if (wrpy_still_in(epoch)) return p;
  wr_region_free(p);
  return NULL;
}

static void *shared_alloc(size_t size, int zeroed) {
  void *p = wrpy_sess.epoch ? wr_region_alloc(wrpy_sess.client, size) : NULL;
  if (p && size >= PATIENT && PyGILState_Check()) return prepare_apart(p, zeroed);
  if (p) wr_region_prepare(wrpy_sess.client, p, zeroed);
  return p;
}

static const wrpy_np_memory memory = {WRPY_SHARED_MIN, shared_alloc, wr_region_size,
                                      wr_region_free};

static int guard_forks(void) {
  static int guarded;
  if (!guarded && wr_os_at_fork(wr_regions_before_fork, wr_regions_in_child) != WR_OK) {
    PyErr_NoMemory();
    return -1;
  }
  guarded = 1;
  return 0;
}

/* ---- putting -------------------------------------------------------------------------------- */

/* Writes all of the value but its main part, if that lies in a region and may be put there. */
static int begin(const wr_enc *enc, wrpy_part *part, wr_region_value *v) {
  if (!wr_region_size(part->data)) return 0;
  *v = (wr_region_value){part->head, part->len, enc->total, enc->refs, enc->nrefs};
  uint8_t *dst = wr_region_begin(wrpy_sess.client, (void *)(uintptr_t)part->data, v);
  if (dst) wrpy_enc_write_around(enc, part->number, dst);
  return dst != NULL;
}

int wrpy_shared_give(wr_idx idx, void *data, const wr_enc *enc) {
  wrpy_part part;
  wr_region_value v;
  return wrpy_enc_main_part(enc, &part) && part.data == data && begin(enc, &part, &v) &&
         wr_region_give(wrpy_sess.client, data, idx, &v) == WR_OK;
}

int wrpy_shared_put(wrpy_state *st, wr_id id, const wr_enc *enc) {
  wrpy_part part;
  wr_region_value v;
  uint32_t epoch = wrpy_sess.epoch;
  if (!wrpy_enc_main_part(enc, &part) || !begin(enc, &part, &v)) return 0;
  void *data = (void *)(uintptr_t)part.data;
  int rc;
  if (part.len < PATIENT) return wr_region_put(wrpy_sess.client, data, id, &v) == WR_OK;
  WRPY_LEAVE
  rc = wr_region_put(wrpy_sess.client, data, id, &v);
  WRPY_ENTER
  return wrpy_left(st, epoch, "storing a value") ? -1 : rc == WR_OK;
}

/* ---- functions ------------------------------------------------------------------------------ */

static PyObject *m_shared_begin(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return guard_forks() ? NULL : wrpy_np_set_memory(&memory);
}

static PyObject *m_shared_end(PyObject *module, PyObject *before) {
  (void)module;
  if (wrpy_np_reset_memory(before)) return NULL;
  Py_RETURN_NONE;
}

static PyObject *m_shared_count(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  uint32_t open, put;
  wr_regions_count(&open, &put);
  return Py_BuildValue("(II)", open, put);
}

PyMethodDef wrpy_shared_methods[] = {
    {"shared_begin", m_shared_begin, METH_NOARGS,
     "shared_begin(): NumPy takes the memory of large arrays from the store, in this context; what "
     "shared_end() wants."},
    {"shared_end", m_shared_end, METH_O, "shared_end(before): as it was before."},
    {"shared_count", m_shared_count, METH_NOARGS,
     "shared_count() -> (arrays in the store that are not put yet, arrays that are)."},
    {NULL, NULL, 0, NULL},
};
