/* Waiting: time-outs, sleeping without the GIL, and wait(). */
#include "os/os.h"
#include "pyext/module.h"

/* ---- time ----------------------------------------------------------------------------------- */

int wrpy_deadline(PyObject *timeout, int64_t *deadline) {
  *deadline = -1;
  if (!timeout || timeout == Py_None) return 0;
  double s = PyFloat_AsDouble(timeout);
  if (s == -1.0 && PyErr_Occurred()) return -1;
  if (!(s >= 0)) {
    PyErr_SetString(PyExc_ValueError, "timeout must be >= 0");
    return -1;
  }
  if (s > 9e8) return 0;
  *deadline = s == 0 ? 0 : (int64_t)wr_os_now_ns() + (int64_t)(s * 1e9);
  return 0;
}

static int64_t until(int64_t deadline, int64_t longest) {
  if (deadline < 0) return longest;
  int64_t left = deadline ? deadline - (int64_t)wr_os_now_ns() : 0;
  if (left <= 0) return 0;
  return left < longest ? left : longest;
}

int64_t wrpy_slice(int64_t deadline) { return until(deadline, WRPY_SLICE_NS); }

int64_t wrpy_idle(int64_t deadline) { return until(deadline, WRPY_IDLE_NS); }

/* ---- sleeping ------------------------------------------------------------------------------- */

/* Sleeps in slices and runs signal handlers in between. */
int wrpy_wait_in_slices(wrpy_state *st, int (*sleep)(void *arg, int64_t until_ns), void *arg,
                        int64_t deadline) {
  uint32_t epoch = wrpy_sess.epoch;
  for (;;) {
    if (wrpy_left(st, epoch, "waiting for objects")) return -1;
    int64_t slice = wrpy_slice(deadline);
    int64_t until = slice ? (int64_t)wr_os_now_ns() + slice : 0;
    int rc;
    WRPY_LEAVE
    rc = sleep(arg, until);
    WRPY_ENTER
    if (rc == WR_OK) return wrpy_left(st, epoch, "waiting for objects");
    if (rc != WR_TIMEOUT && rc != WR_INTR) return wrpy_fail(st, rc, "waiting for objects");
    if (PyErr_CheckSignals()) return -1;
    if (rc == WR_TIMEOUT && wrpy_slice(deadline) == 0)
      return wrpy_left(st, epoch, "waiting for objects") ? -1 : 1;
  }
}

typedef struct {
  const wr_id *ids;
  size_t n, want;
  int stop_on_error;
} object_wait;

static int sleep_for_objects(void *arg, int64_t until_ns) {
  const object_wait *w = arg;
  return wr_wait_objects(wrpy_sess.client, w->ids, w->n, w->want, w->stop_on_error, until_ns);
}

int wrpy_wait_sealed(wrpy_state *st, const wr_id *ids, size_t n, size_t want, int stop_on_error,
                     int64_t deadline) {
  object_wait w = {ids, n, want, stop_on_error};
  if (WR_UNLIKELY(st->loops) && deadline != 0) {
    PyObject *warned = wrpy_hook(st, "sleeps_in_actor", "()");
    if (!warned) return -1;
    Py_DECREF(warned);
  }
  return wrpy_wait_in_slices(st, sleep_for_objects, &w, deadline);
}

/* ---- wait() --------------------------------------------------------------------------------- */

/* Are the record numbers ascending, or were they before the first ones were moved to the end?
 * What is submitted together mostly is. */
static int in_order(const wr_id *ids, Py_ssize_t n) {
  int breaks = 0;
  for (Py_ssize_t i = 1; i < n; i++) breaks += ids[i - 1].idx >= ids[i].idx;
  return breaks == 0 || (breaks == 1 && ids[n - 1].idx < ids[0].idx);
}

/* 1: no id stands twice.  A table of record numbers; nobody has two generations of one. */
static int all_differ(const wr_id *ids, Py_ssize_t n) {
  if (in_order(ids, n)) return 1;
  wr_idx few[256], *table = few;
  size_t cap = 256;
  while (cap < 2 * (size_t)n) cap *= 2;
  if (cap > 256 && !(table = PyMem_New(wr_idx, cap))) {
    PyErr_NoMemory();
    return -1;
  }
  memset(table, 0, cap * sizeof *table);
  int differ = 1;
  for (Py_ssize_t i = 0; differ && i < n; i++) {
    size_t at = (ids[i].idx * 0x9E3779B1u >> 7) & (cap - 1);
    while (table[at] && table[at] != ids[i].idx) at = (at + 1) & (cap - 1);
    differ = !table[at];
    table[at] = ids[i].idx;
  }
  if (table != few) PyMem_Free(table);
  return differ;
}

/* A list for n of the entries of refs.  Making it may collect garbage, and finalizers may take
 * entries out of what is still the caller's list. */
static PyObject *list_for(Py_ssize_t n, PyObject *refs, Py_ssize_t size) {
  PyObject *list = PyList_New(n);
  if (WR_LIKELY(!list || PyList_GET_SIZE(refs) >= size)) return list;
  Py_DECREF(list);
  PyErr_SetString(PyExc_RuntimeError, "the list changed size during wait()");
  return NULL;
}

/* A new list of what stands at the `found` positions of n. */
static PyObject *pick(PyObject *refs, Py_ssize_t n, const Py_ssize_t *at, Py_ssize_t found) {
  PyObject *list = list_for(found, refs, n);
  for (Py_ssize_t i = 0; list && i < found; i++)
    PyList_SET_ITEM(list, i, Py_NewRef(PyList_GET_ITEM(refs, at[i])));
  return list;
}

static PyObject *all_but(PyObject *refs, Py_ssize_t n, const Py_ssize_t *skip, Py_ssize_t nskip) {
  PyObject *list = list_for(n - nskip, refs, n);
  Py_ssize_t to = 0;
  for (Py_ssize_t i = 0, k = 0; list && i < n; i++) {
    if (k < nskip && skip[k] == i)
      k++;
    else
      PyList_SET_ITEM(list, to++, Py_NewRef(PyList_GET_ITEM(refs, i)));
  }
  return list;
}

/* Positions of the first `want` ready ones; returns how many there are. */
static Py_ssize_t find_ready(const wr_id *ids, Py_ssize_t n, Py_ssize_t want, Py_ssize_t *at) {
  Py_ssize_t found = 0;
  for (Py_ssize_t i = 0; i < n && found < want; i++)
    if (wrpy_phase(ids[i]) != WR_OBJ_PENDING) at[found++] = i;
  return found;
}

/* (ready, others): at most `want` ready refs, and all the others, each in the order given. */
static PyObject *split(PyObject *refs, const wr_id *ids, Py_ssize_t n, Py_ssize_t want,
                       int64_t deadline, wrpy_state *st) {
  Py_ssize_t few[16], *at = want <= 16 ? few : PyMem_New(Py_ssize_t, (size_t)want);
  if (!at) return PyErr_NoMemory();
  PyObject *pair = NULL;
  Py_ssize_t found = find_ready(ids, n, want, at);
  int rc = 0;
  PyObject *kept = Py_NewRef(refs);
  if (found < want && deadline != 0) { /* other threads may change the caller's list meanwhile */
    Py_SETREF(kept, PyList_GetSlice(refs, 0, n));
    rc = kept ? wrpy_wait_sealed(st, ids, (size_t)n, (size_t)want, 0, deadline) : -1;
    if (rc >= 0) found = find_ready(ids, n, want, at);
  }
  if (rc >= 0) {
    PyObject *ready = pick(kept, n, at, found);
    PyObject *others = ready ? all_but(kept, n, at, found) : NULL;
    pair = ready && others ? PyTuple_Pack(2, ready, others) : NULL;
    Py_XDECREF(ready);
    Py_XDECREF(others);
  }
  if (at != few) PyMem_Free(at);
  Py_XDECREF(kept);
  return pair;
}

static int ids_of(wrpy_state *st, PyObject *refs, wr_id *ids, Py_ssize_t n) {
  for (Py_ssize_t i = 0; i < n; i++) {
    PyObject *v = PyList_GET_ITEM(refs, i);
    int stream = WR_UNLIKELY(!wrpy_is_ref(st, v)) ? wrpy_stream_item(st, v, &ids[i]) : 0;
    if (stream < 0 || (!stream && wrpy_object_id(st, v, &ids[i]))) return -1;
  }
  int differ = all_differ(ids, n);
  if (differ == 0)
    PyErr_SetString(PyExc_ValueError, "Wait requires a list of unique ray_waitables.");
  return differ == 1 ? 0 : -1;
}

static PyObject *m_wait(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *list, *timeout = Py_None;
  Py_ssize_t want = 1;
  int64_t deadline;
  if (!PyArg_ParseTuple(args, "O!|nO", &PyList_Type, &list, &want, &timeout)) return NULL;
  if (wrpy_attached_auto(st) || wrpy_deadline(timeout, &deadline)) return NULL;
  Py_ssize_t n = PyList_GET_SIZE(list);
  if (want < 0 || want > n) want = n;
  wr_id few[64], *ids = n > 64 ? PyMem_New(wr_id, (size_t)n) : few;
  if (!ids) return PyErr_NoMemory();
  PyObject *pair = NULL;
  if (ids_of(st, list, ids, n) == 0) pair = split(list, ids, n, want, deadline, st);
  if (ids != few) PyMem_Free(ids);
  return pair;
}

static PyObject *m_set_loops(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_state_of(module)->loops = 1;
  Py_RETURN_NONE;
}

PyMethodDef wrpy_wait_methods[] = {
    {"set_loops", m_set_loops, METH_NOARGS, "This process is an actor with an event loop."},
    {"wait", m_wait, METH_VARARGS,
     "wait(refs, num_returns=1, timeout=None, /) -> (ready, others); ValueError for a ref that "
     "stands twice."},
    {NULL, NULL, 0, NULL},
};
