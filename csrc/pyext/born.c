/* Values born in the store: in a worker NumPy takes the memory of large arrays from there, so that
 * an array that a task returns, and that nobody else has, becomes the result without a copy. */
#include "os/os.h"
#include "pyext/module.h"
#include "pyext/npy.h"

#define BORN_MIN ((size_t)256 << 10) /* bytes; copying less costs less than a run of the heap */

/* The memory outlives the session in arrays that live on, and the process in its forks. */
static struct {
  const uint8_t *from, *to; /* where blocks of the session lie */
  uint32_t epoch;
  wr_client *client; /* in a forked child as well, where nothing is ours: to read sizes */
} born;

static int is_ours(void) { return born.epoch && born.epoch == wrpy_sess.epoch; }

/* Arrays of zeros may never be touched: they stay with the system, whose fresh pages are zero. */
static void *born_alloc(size_t size, int zeroed) {
  return is_ours() && !zeroed ? wr_loose_alloc(wrpy_sess.client, size) : NULL;
}

static size_t born_size(const void *p) {
  int covered = (const uint8_t *)p >= born.from && (const uint8_t *)p < born.to;
  return covered ? wr_loose_size(born.client, p) : 0;
}

static void born_release(void *p) {
  if (is_ours()) wr_loose_free(wrpy_sess.client, p);
}

static void before_fork(void) {
  if (is_ours()) wr_loose_before_fork(wrpy_sess.client);
}

/* Once NumPy is there, and not before: a worker does not import it by itself. */
int wrpy_born_install(void) {
  if (born.epoch == wrpy_sess.epoch) return 0;
  PyObject *name = PyUnicode_FromString("numpy");
  PyObject *numpy = name ? PyImport_GetModule(name) : NULL;
  Py_XDECREF(name);
  if (!numpy) return PyErr_Occurred() ? -1 : 0;
  Py_DECREF(numpy);
  static const wrpy_np_memory memory = {BORN_MIN, born_alloc, born_size, born_release};
  const wr_seg *s = wrpy_sess.seg;
  born.from = s->heap;
  born.to = s->heap + s->heap_chunks * WR_CHUNK;
  if (!born.epoch && wr_os_at_fork(before_fork, NULL) != WR_OK) return 0;
  born.client = wrpy_sess.client;
  born.epoch = wrpy_sess.epoch;
  PyObject *before = wrpy_np_set_memory(&memory);
  Py_XDECREF(before);
  return before ? 0 : -1;
}

void *wrpy_born_memory(PyObject *v) {
  return wrpy_np_has_memory && wrpy_np_maybe(v) ? wrpy_np_sole_memory(v) : NULL;
}

static int give(wr_idx idx, void *memory, const wr_enc *enc) {
  size_t head = wrpy_enc_head_of(enc, memory);
  if (!head || head > WR_LOOSE_HEAD / 2 || !is_ours()) return 0;
  wrpy_enc_write_around(enc, 0, (uint8_t *)memory - head);
  return wr_loose_give(wrpy_sess.client, memory, idx, head, enc->total) == WR_OK;
}

/* The frame of the value, with the array's type and shape, goes right before its elements. */
int wrpy_born_store(wr_idx idx, PyObject *v, void *memory, const wr_enc *enc) {
  if (!(born_size(memory) ? give(idx, memory, enc) : wrpy_shared_give(idx, memory, enc))) return 0;
  wrpy_np_disown(v);
  return 1;
}
