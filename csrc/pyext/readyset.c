/* ReadySet: many references, taken out one by one as they become ready.
 *
 * Each is watched once.  What is submitted together ends about in order, so a look goes over the
 * oldest that are left and over those behind the last one found; only when both are pending, after
 * a wake-up, it goes over all.  The work for n references is then about proportional to n. */
#include "pyext/module.h"

#define WINDOW 512u

typedef struct {
  PyObject_HEAD PyObject **refs; /* NULL: taken */
  wr_id *ids;                    /* idx 0: taken */
  size_t n, cap;
  size_t first;   /* all before it are taken */
  size_t left;    /* not taken */
  size_t watched; /* all before it are watched */
  size_t recent;  /* behind the last one found */
  size_t *found;  /* positions found by the last look */
  size_t nfound, limit;
  uint32_t seen; /* wake-ups at the last look */
  int busy;      /* a thread is inside take(): nobody else changes the set */
} ready_set;

/* ---- looking, without the GIL ---------------------------------------------------------------- */

static void scan(ready_set *r, size_t from, size_t to) {
  for (size_t i = from; i < to && i < r->n && r->nfound < r->limit; i++) {
    if (!r->ids[i].idx || wrpy_phase(r->ids[i]) == WR_OBJ_PENDING) continue;
    r->found[r->nfound++] = i;
    r->recent = i + 1;
  }
}

static void watch_new(ready_set *r) {
  for (; r->watched < r->n && !r->nfound; r->watched++) {
    size_t i = r->watched;
    if (r->ids[i].idx && wr_watch(wrpy_sess.client, r->ids[i]) != 0) scan(r, i, i + 1);
  }
}

static int look(void *arg) {
  ready_set *r = arg;
  r->nfound = 0;
  r->seen = wr_wakeups(wrpy_sess.client);
  scan(r, r->first, r->first + WINDOW);
  if (!r->nfound) scan(r, r->recent, r->recent + WINDOW);
  if (!r->nfound) watch_new(r);
  if (!r->nfound) scan(r, r->first, r->n);
  return r->nfound > 0;
}

static int woken(void *arg) {
  ready_set *r = arg;
  return wr_client_ended(wrpy_sess.client) || wr_wakeups(wrpy_sess.client) != r->seen;
}

static int sleep_for_any(void *arg, int64_t until_ns) {
  wr_waiter w = {look, woken, arg};
  return look(arg) ? WR_OK : wr_wait_until(wrpy_sess.client, &w, until_ns);
}

/* ---- the object ------------------------------------------------------------------------------ */

static int grow(ready_set *r, size_t cap) {
  PyObject **refs = PyMem_Resize(r->refs, PyObject *, cap);
  if (refs) r->refs = refs;
  wr_id *ids = refs ? PyMem_Resize(r->ids, wr_id, cap) : NULL;
  if (ids) r->ids = ids;
  size_t *found = ids ? PyMem_Resize(r->found, size_t, cap) : NULL;
  if (found) r->found = found;
  if (!found) {
    PyErr_NoMemory();
    return -1;
  }
  r->cap = cap;
  return 0;
}

static int idle(ready_set *r) {
  if (!r->busy) return 0;
  PyErr_SetString(PyExc_RuntimeError, "another thread waits on this set");
  return -1;
}

static int add(wrpy_state *st, ready_set *r, PyObject *ref) {
  wr_id id;
  if (wrpy_object_id(st, ref, &id)) return -1;
  if (r->n == r->cap && grow(r, r->cap ? 2 * r->cap : 64)) return -1;
  r->refs[r->n] = Py_NewRef(ref);
  r->ids[r->n] = id;
  r->n++;
  r->left++;
  return 0;
}

static PyObject *set_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  PyObject *refs;
  if (kwargs && PyDict_GET_SIZE(kwargs)) {
    PyErr_SetString(PyExc_TypeError, "ReadySet() takes no keywords");
    return NULL;
  }
  if (!PyArg_ParseTuple(args, "O:ReadySet", &refs)) return NULL;
  wrpy_state *st = wrpy_state_of_type(type);
  PyObject *all = PySequence_Fast(refs, "ReadySet() takes a sequence of ObjectRefs");
  ready_set *r = all && st ? (ready_set *)type->tp_alloc(type, 0) : NULL;
  Py_ssize_t n = r ? PySequence_Fast_GET_SIZE(all) : 0, i = 0;
  if (n && grow(r, (size_t)n)) Py_CLEAR(r);
  while (r && i < n && add(st, r, PySequence_Fast_GET_ITEM(all, i)) == 0) i++;
  if (r && i < n) Py_CLEAR(r);
  Py_XDECREF(all);
  return (PyObject *)r;
}

static void set_dealloc(PyObject *self) {
  ready_set *r = (ready_set *)self;
  PyTypeObject *type = Py_TYPE(self);
  for (size_t i = r->first; i < r->n; i++) Py_XDECREF(r->refs[i]);
  PyMem_Free(r->refs);
  PyMem_Free(r->ids);
  PyMem_Free(r->found);
  type->tp_free(self);
  Py_DECREF(type);
}

/* Moves what the last look found into a list.  A set that is empty starts anew. */
static PyObject *hand_out(ready_set *r) {
  PyObject *list = PyList_New((Py_ssize_t)r->nfound);
  for (size_t k = 0; list && k < r->nfound; k++) {
    size_t i = r->found[k];
    PyList_SET_ITEM(list, (Py_ssize_t)k, r->refs[i]);
    r->refs[i] = NULL;
    r->ids[i].idx = 0;
    r->left--;
  }
  while (r->first < r->n && !r->ids[r->first].idx) r->first++;
  if (r->first == r->n) r->first = r->n = r->watched = r->recent = 0;
  return list;
}

static PyObject *set_take(PyObject *self, PyObject *args) {
  ready_set *r = (ready_set *)self;
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(self));
  Py_ssize_t limit = 1;
  PyObject *timeout = Py_None;
  int64_t deadline;
  if (!PyArg_ParseTuple(args, "|nO:take", &limit, &timeout) || idle(r)) return NULL;
  if (wrpy_attached(st) || wrpy_deadline(timeout, &deadline)) return NULL;
  r->limit = limit > 0 ? (size_t)limit : 1;
  if (!r->left) return PyList_New(0);
  r->busy = 1;
  int rc = wrpy_wait_in_slices(st, sleep_for_any, r, deadline);
  if (rc) r->nfound = 0;
  PyObject *list = rc < 0 ? NULL : hand_out(r);
  r->busy = 0;
  return list;
}

static PyObject *set_add(PyObject *self, PyObject *ref) {
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(self));
  if (idle((ready_set *)self) || add(st, (ready_set *)self, ref)) return NULL;
  Py_RETURN_NONE;
}

static Py_ssize_t set_length(PyObject *self) { return (Py_ssize_t)((ready_set *)self)->left; }

static PyMethodDef methods[] = {
    {"take", set_take, METH_VARARGS,
     "take(limit=1, timeout=None, /)\n--\n\n"
     "Takes out up to `limit` references that are ready, once there is one; an empty list after\n"
     "`timeout` seconds, or when none are left."},
    {"add", set_add, METH_O, "add(ref, /)\n--\n\nOne more reference to wait for."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "ReadySet(refs, /)\n--\n\nReferences, taken out as they become ready."},
    {Py_tp_new, set_new},
    {Py_tp_dealloc, set_dealloc},
    {Py_tp_methods, methods},
    {Py_sq_length, set_length},
    {0, NULL},
};

PyType_Spec wrpy_readyset_spec = {
    .name = "whipray._core.ReadySet",
    .basicsize = sizeof(ready_set),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
