/* Placement groups.  An id has 18 bytes: number and generation, six of the session, the job. */
#include <string.h>

#include "pyext/module.h"
#include "sched/ledger.h"
#include "wire/messages.h"
#include "wire/pack.h"

enum { ID_BYTES = 18, SESSION_BYTES = 6 };
static const char GROUP_NAME[] = "the name of a placement group";

static PyObject *id_bytes(uint32_t idx, uint32_t gen, uint32_t job) {
  uint8_t raw[ID_BYTES];
  memcpy(raw, &idx, 4);
  memcpy(raw + 4, &gen, 4);
  memcpy(raw + 8, wrpy_sess.seg->h->session, SESSION_BYTES);
  memcpy(raw + 8 + SESSION_BYTES, &job, 4);
  return PyBytes_FromStringAndSize((const char *)raw, sizeof raw);
}

PyObject *wrpy_group_id(uint32_t group, uint32_t gen) {
  if (!group || group > WR_MAX_GROUPS) Py_RETURN_NONE;
  return id_bytes(group - 1, gen, wrpy_sess.seg->groups[group - 1].job);
}

/* 0, or -1 with an exception.  The id of a group of another session names none: generation 0. */
static int read_id(wrpy_state *st, PyObject *obj, wr_id *out) {
  char *raw;
  Py_ssize_t n;
  if (wrpy_attached(st) || PyBytes_AsStringAndSize(obj, &raw, &n)) return -1;
  if (n != ID_BYTES) {
    PyErr_SetString(PyExc_ValueError, "this is not the id of a placement group");
    return -1;
  }
  memcpy(&out->idx, raw, 4);
  memcpy(&out->gen, raw + 4, 4);
  if (out->idx >= WR_MAX_GROUPS || memcmp(raw + 8, wrpy_sess.seg->h->session, SESSION_BYTES) != 0)
    *out = (wr_id){0, 0};
  return 0;
}

/* ---- making --------------------------------------------------------------------------------- */

static int find_resource(const char *name, uint32_t *out) {
  const wr_seg *s = wrpy_sess.seg;
  uint32_t n = wr_load32(&s->h->nresources);
  for (*out = 0; *out < n && *out < WR_MAX_RESOURCES; ++*out)
    if (strncmp(s->resources[*out].name, name, sizeof s->resources[0].name) == 0) return 1;
  return 0;
}

/* A name that nobody has used yet. */
static int add_resource(wrpy_state *st, const char *name, uint32_t *out) {
  wr_buf body = {0};
  wr_out_array(&body, 1);
  wr_out_array(&body, 1);
  wr_out_text(&body, name);
  PyObject *answer = wrpy_ask(st, WR_MSG_RESOURCES, &body, "cannot name a resource");
  PyObject *v = answer ? PySequence_GetItem(answer, 0) : NULL;
  long n = v ? PyLong_AsLong(v) : -1;
  Py_XDECREF(v);
  Py_XDECREF(answer);
  *out = (uint32_t)n;
  return n < 0 ? -1 : 0;
}

static int read_bundle(wrpy_state *st, PyObject *dict, wr_bundle_spec *b) {
  PyObject *key, *value;
  Py_ssize_t pos = 0;
  b->n = 0;
  while (PyDict_Next(dict, &pos, &key, &value)) {
    uint32_t res;
    double amount = PyFloat_AsDouble(value);
    const char *name = wrpy_text(key, "the name of a resource");
    if (!name || (amount == -1 && PyErr_Occurred())) return -1;
    if (amount <= 0) continue;
    if (b->n == WR_SHAPE_RESOURCES) {
      PyErr_Format(PyExc_ValueError, "a bundle has at most %u kinds of resources",
                   WR_SHAPE_RESOURCES);
      return -1;
    }
    if (!find_resource(name, &res) && add_resource(st, name, &res)) return -1;
    uint32_t fixed = wr_ledger_fixed(amount, wrpy_sess.seg->resources[res].unit_shift);
    b->need[b->n++] = (wr_need){res, fixed ? fixed : 1};
  }
  return 0;
}

/* The bundles are the caller's own: nobody else changes them while a resource gets its name. */
static wr_bundle_spec *read_bundles(wrpy_state *st, PyObject *list, uint32_t *n) {
  Py_ssize_t count = PyList_GET_SIZE(list);
  wr_bundle_spec *all = PyMem_Calloc((size_t)count + 1, sizeof *all);
  if (!all) return (wr_bundle_spec *)PyErr_NoMemory();
  *n = (uint32_t)count;
  for (Py_ssize_t i = 0; i < count; i++) {
    PyObject *dict = PyList_GET_ITEM(list, i);
    if (PyDict_Check(dict) && read_bundle(st, dict, &all[i]) == 0) continue;
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "bundles are dicts");
    PyMem_Free(all);
    return NULL;
  }
  return all;
}

static PyObject *m_group_create(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *list, *name;
  unsigned int flags, strategy;
  wr_group_spec spec = {0};
  wr_id id;
  uint32_t epoch = wrpy_sess.epoch;
  if (!PyArg_ParseTuple(args, "O!IIU", &PyList_Type, &list, &flags, &strategy, &name) ||
      wrpy_attached(st) || !(spec.name = wrpy_name_text(name, GROUP_NAME)))
    return NULL;
  wr_bundle_spec *bundles = read_bundles(st, list, &spec.n);
  if (!bundles) return NULL;
  if (wrpy_left(st, epoch, "creating a placement group")) {
    PyMem_Free(bundles);
    return NULL;
  }
  spec.bundles = bundles;
  spec.flags = flags;
  spec.strategy = (uint16_t)strategy;
  int rc = wr_group_create(wrpy_sess.client, &spec, &id);
  PyMem_Free(bundles);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "cannot create a placement group");
  PyObject *raw = wrpy_group_id(id.idx + 1, id.gen);
  if (!raw) (void)wr_group_remove(wrpy_sess.client, id); /* nobody is in it */
  return raw;
}

static PyObject *m_group_remove(PyObject *module, PyObject *obj) {
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  int rc;
  if (read_id(st, obj, &id)) return NULL;
  if (!id.gen) Py_RETURN_NONE;
  WRPY_LEAVE
  rc = wr_group_remove(wrpy_sess.client, id);
  WRPY_ENTER
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "cannot remove the placement group");
  Py_RETURN_NONE;
}

/* ---- names ---------------------------------------------------------------------------------- */

static PyObject *m_group_claim_name(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *obj, *name, *ns;
  wr_id id;
  if (!PyArg_ParseTuple(args, "O!UU", &PyBytes_Type, &obj, &name, &ns) || read_id(st, obj, &id))
    return NULL;
  const char *text = wrpy_text(name, GROUP_NAME);
  const char *space = text ? wrpy_text(ns, "a namespace") : NULL;
  if (!space) return NULL;
  int mine = wrpy_name_claim(st, space, text, (wr_id){id.idx | WR_GROUP_BIT, id.gen});
  return mine < 0 ? NULL : PyBool_FromLong(mine);
}

static PyObject *m_group_of_name(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *name, *ns;
  if (!PyArg_ParseTuple(args, "UU", &name, &ns) || wrpy_attached(st)) return NULL;
  wr_id id;
  int found = wrpy_name_get(st, ns, name, GROUP_NAME, &id);
  if (found < 0) return NULL;
  return found && (id.idx & WR_GROUP_BIT) ? wrpy_group_id((id.idx & ~WR_GROUP_BIT) + 1, id.gen)
                                          : Py_NewRef(Py_None);
}

/* ---- waiting -------------------------------------------------------------------------------- */

typedef struct {
  wr_id id;
  int phase; /* enum wr_group_phase */
} group_wait;

static int sleep_for_group(void *arg, int64_t until_ns) {
  group_wait *w = arg;
  int rc = wr_group_wait(wrpy_sess.client, w->id, until_ns);
  if (rc <= 0) return rc;
  w->phase = rc;
  return WR_OK;
}

static PyObject *m_group_wait(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *obj, *timeout;
  int64_t deadline;
  wr_id id;
  if (!PyArg_ParseTuple(args, "OO", &obj, &timeout) || wrpy_deadline(timeout, &deadline) ||
      read_id(st, obj, &id))
    return NULL;
  if (!id.gen) return PyLong_FromLong(WR_GROUP_REMOVED);
  group_wait w = {id, WR_GROUP_PENDING};
  int rc = wrpy_wait_in_slices(st, sleep_for_group, &w, deadline);
  return rc < 0 ? NULL : PyLong_FromLong(w.phase);
}

/* An object with a value that somebody else will seal, or, if that is over, sealed here. */
static PyObject *stand_for(wrpy_state *st, wr_id group, wr_id obj) {
  wr_id other;
  for (;;) {
    int rc = wr_group_ready(wrpy_sess.client, group, obj, &other);
    if (rc == WR_OK) return wrpy_ref_wrap(st, obj, WRPY_CREATOR);
    if (rc == WR_STATE) {
      wr_creator_drop(wrpy_sess.client, obj);
      return wrpy_ref_wrap(st, other, WRPY_HOLD);
    }
    if (rc != WR_STALE) return wrpy_fail_null(st, rc, "waiting for a placement group");
  }
}

static PyObject *m_group_ready(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *obj, *value;
  wr_id group, id;
  wr_enc enc;
  uint32_t epoch = wrpy_sess.epoch;
  if (!PyArg_ParseTuple(args, "OO", &obj, &value) || read_id(st, obj, &group)) return NULL;
  int created = wr_group_open(wrpy_sess.seg, group.idx, group.gen);
  if (created) return wrpy_put_value(st, value, &id) ? NULL : wrpy_ref_wrap(st, id, WRPY_CREATOR);
  if (wrpy_enc_value(&st->codec, value, &enc)) return NULL;
  int rc = wrpy_still_in(epoch) ? wr_object_create(wrpy_sess.client, &id) : WR_CLOSED;
  if (rc == WR_OK && wrpy_store(st, id.idx, &enc)) {
    if (wrpy_still_in(epoch)) wr_creator_drop(wrpy_sess.client, id);
    wrpy_enc_clear(&enc);
    return NULL;
  }
  wrpy_enc_clear(&enc);
  return rc == WR_OK ? stand_for(st, group, id) : wrpy_fail_null(st, rc, "creating an object");
}

/* ---- looking -------------------------------------------------------------------------------- */

static double amount_of(int64_t fixed, uint32_t res) {
  uint32_t shift = wrpy_sess.seg->resources[res % WR_MAX_RESOURCES].unit_shift;
  return wr_ledger_amount(fixed, shift);
}

/* {name: (has, free)} */
static PyObject *bundle_row(const wrpy_look *l, const wr_bundle *b) {
  PyObject *d = wrpy_made(l, PyDict_New());
  for (uint32_t i = 0; d && i < b->n && i < WR_SHAPE_RESOURCES; i++) {
    uint32_t res = b->need[i].res % WR_MAX_RESOURCES;
    int32_t avail = (int32_t)wr_tag_value(wr_load(&b->avail[i]));
    double has = amount_of(b->need[i].amount, res), left = amount_of(avail, res);
    PyObject *v = wrpy_made(l, Py_BuildValue("(dd)", has, left));
    if (!v || PyDict_SetItemString(d, wrpy_sess.seg->resources[res].name, v)) Py_CLEAR(d);
    Py_XDECREF(v);
  }
  return d;
}

/* Those that still say what they were are shown, also after the group has gone. */
static PyObject *bundle_rows(const wrpy_look *l, const wr_group *g, uint64_t owner) {
  PyObject *list = wrpy_made(l, PyList_New(0));
  for (uint32_t k = g->first; list && k < g->first + g->n && k < WR_MAX_BUNDLES; k++) {
    const wr_bundle *b = &wrpy_sess.seg->bundles[k];
    PyObject *row = b->last == owner ? bundle_row(l, b) : wrpy_made(l, PyDict_New());
    if (!row || PyList_Append(list, row)) Py_CLEAR(list);
    Py_XDECREF(row);
  }
  return list;
}

static PyObject *group_row(const wrpy_look *l, uint32_t i, uint64_t st) {
  const wr_group *g = &wrpy_sess.seg->groups[i];
  uint32_t gen = WR_GROUP_GEN(st), phase = WR_GROUP_PHASE(st);
  if (WR_GROUP_FLAGS(st) & WR_GF_DOOMED) phase = WR_GROUP_REMOVED;
  PyObject *bundles = bundle_rows(l, g, ((uint64_t)i + 1) | (uint64_t)gen << 32);
  if (!bundles) return NULL;
  return wrpy_made(l, Py_BuildValue("(NIIIINN)", wrpy_group_id(i + 1, gen), phase,
                                    WR_GROUP_FLAGS(st), (unsigned)g->strategy, (unsigned)g->job,
                                    wrpy_shared_text(g->name, sizeof g->name), bundles));
}

static int is_shown(uint64_t st) {
  return WR_GROUP_PHASE(st) != WR_GROUP_FREE && WR_GROUP_PHASE(st) != WR_GROUP_MAKING;
}

static PyObject *m_group(PyObject *module, PyObject *obj) {
  wr_id id;
  wrpy_look l;
  if (wrpy_look_open(module, &l) || read_id(l.st, obj, &id)) return NULL;
  uint64_t st = wr_load(&wrpy_sess.seg->groups[id.idx].state);
  if (!id.gen || WR_GROUP_GEN(st) != id.gen || !is_shown(st)) Py_RETURN_NONE;
  return group_row(&l, id.idx, st);
}

/* Removed groups stay in the table for long: who wants those that stand makes no rows of them. */
static PyObject *m_groups(PyObject *module, PyObject *args) {
  wrpy_look l;
  int standing = 0;
  if (!PyArg_ParseTuple(args, "|p", &standing) || wrpy_look_open(module, &l)) return NULL;
  PyObject *list = wrpy_made(&l, PyList_New(0));
  uint32_t n = list ? wr_load32(&wrpy_sess.seg->h->ngroups) : 0;
  for (uint32_t i = 0; list && i < n && i < WR_MAX_GROUPS; i++) {
    uint64_t st = wr_load(&wrpy_sess.seg->groups[i].state);
    int wanted = standing ? WR_GROUP_PHASE(st) == WR_GROUP_CREATED : is_shown(st);
    PyObject *row = wanted ? group_row(&l, i, st) : NULL;
    if (row ? PyList_Append(list, row) : PyErr_Occurred() != NULL) Py_CLEAR(list);
    Py_XDECREF(row);
  }
  return list;
}

PyMethodDef wrpy_group_methods[] = {
    {"group_create", m_group_create, METH_VARARGS,
     "group_create(bundles, flags, strategy, name) -> id."},
    {"group_remove", m_group_remove, METH_O, "group_remove(id): begins the removal."},
    {"group_claim_name", m_group_claim_name, METH_VARARGS,
     "group_claim_name(id, name, namespace) -> False: it is taken."},
    {"group_of_name", m_group_of_name, METH_VARARGS,
     "group_of_name(name, namespace) -> id | None."},
    {"group_wait", m_group_wait, METH_VARARGS, "group_wait(id, timeout) -> its phase then."},
    {"group_ready", m_group_ready, METH_VARARGS,
     "group_ready(id, value) -> ObjectRef that gets the value once the group is created."},
    {"group", m_group, METH_O,
     "group(id) -> (id, phase, flags, strategy, job, name, [{resource: (has, free)}]) | None."},
    {"groups", m_groups, METH_VARARGS,
     "groups(standing=False) -> rows as of group(), of all or of those that have been created."},
    {NULL, NULL, 0, NULL},
};
