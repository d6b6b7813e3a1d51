/* ObjectRef: one reference of this process on an object or an actor.
 *
 * The object that the creating call returned carries the creator's reference; every further one
 * for the same id is a hold.  Both are let go when the Python object dies, unless the session it
 * belongs to is over by then. */
#include "os/os.h"
#include "pyext/module.h"
#include "shm/ident.h"

/* Words of the id bytes after the session's tag; job and return number are the same for all ids, so
 * that the bytes of an id are equal in every process. */
typedef struct {
  uint64_t tag;
  uint32_t node, idx, gen, job, index;
} id_words;

static void put32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void id_write(uint8_t out[WRPY_ID_BYTES], wr_id id, uint64_t tag) {
  put32(out, (uint32_t)tag ^ wr_ident_mask(id.idx, id.gen));
  put32(out + 4, (uint32_t)(tag >> 32));
  put32(out + 8, 0);
  put32(out + 12, id.idx);
  put32(out + 16, id.gen);
  put32(out + 20, 1);
  put32(out + 24, 1);
}

static id_words id_read(const uint8_t *p) {
  uint32_t head = get32(p) ^ wr_ident_mask(get32(p + 12), get32(p + 16));
  return (id_words){.tag = head | (uint64_t)get32(p + 4) << 32,
                    .node = get32(p + 8),
                    .idx = get32(p + 12),
                    .gen = get32(p + 16),
                    .job = get32(p + 20),
                    .index = get32(p + 24)};
}

static PyObject *id_bytes(wr_id id, uint64_t tag, Py_ssize_t n) {
  uint8_t raw[WRPY_ID_BYTES];
  id_write(raw, id, tag);
  return PyBytes_FromStringAndSize((const char *)raw, n);
}

PyObject *wrpy_id_bytes(wr_id id, Py_ssize_t n) { return id_bytes(id, wrpy_sess.tag, n); }

static wrpy_ref *ref_alloc(PyTypeObject *type) {
  wrpy_ref *r = PyObject_New(wrpy_ref, type);
  if (!r) return NULL;
  r->id = (wr_id){0, 0};
  r->raw = NULL;
  r->weakrefs = NULL;
  r->epoch = 0;
  r->holds = WRPY_HOLD;
  return r;
}

/* The id bytes of a ref that names nothing here; borrowed, NULL for any other. */
static PyObject *raw_of(const wrpy_ref *r) { return r->epoch ? NULL : r->raw; }
/* Of any other: the tag of the session that it belongs to, which may have ended. */
static uint64_t tag_of(const wrpy_ref *r) { return wrpy_sess.tags.v[r->epoch]; }

static void let_go(wr_id id, enum wrpy_holds holds) {
  if (holds == WRPY_CREATOR)
    wr_creator_drop(wrpy_sess.client, id);
  else if (holds == WRPY_HOLD)
    wr_unhold(wrpy_sess.client, id);
}

PyObject *wrpy_ref_wrap(wrpy_state *st, wr_id id, enum wrpy_holds holds) {
  wrpy_ref *r = ref_alloc(st->ref_type);
  if (!r) {
    let_go(id, holds);
    return NULL;
  }
  r->id = r->task = id;
  r->epoch = wrpy_sess.epoch;
  r->holds = (uint8_t)holds;
  return (PyObject *)r;
}

PyObject *wrpy_ref_of_task(wrpy_state *st, wr_id id, wr_id task) {
  PyObject *ref = wrpy_ref_wrap(st, id, WRPY_CREATOR);
  if (ref) ((wrpy_ref *)ref)->task = task;
  return ref;
}

PyObject *wrpy_ref_hold(wrpy_state *st, wr_idx idx, uint32_t gen) {
  uint32_t now = gen;
  int rc = wr_hold(wrpy_sess.client, idx, gen, &now);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "taking a reference");
  return wrpy_ref_wrap(st, (wr_id){idx, now}, WRPY_HOLD);
}

static int check_id_bytes(PyObject *bytes) {
  if (!PyBytes_Check(bytes)) {
    PyErr_Format(PyExc_TypeError, "an id is made from bytes, not from %s", Py_TYPE(bytes)->tp_name);
    return -1;
  }
  if (PyBytes_GET_SIZE(bytes) == WRPY_ID_BYTES) return 0;
  PyErr_Format(PyExc_ValueError, "ID string needs to have length %d, got %zd", WRPY_ID_BYTES,
               PyBytes_GET_SIZE(bytes));
  return -1;
}

PyObject *wrpy_ref_weak(wrpy_state *st, PyObject *bytes) {
  if (check_id_bytes(bytes)) return NULL;
  id_words w = id_read((const uint8_t *)PyBytes_AS_STRING(bytes));
  if (wrpy_sess.epoch && w.tag == wrpy_sess.tag && w.node == 0 && w.gen)
    return wrpy_ref_wrap(st, (wr_id){w.idx, w.gen}, WRPY_NOTHING);
  wrpy_ref *r = ref_alloc(st->ref_type);
  if (r) r->raw = Py_NewRef(bytes);
  return (PyObject *)r;
}

int wrpy_ref_id(wrpy_state *st, PyObject *v, wr_id *out) {
  if (!wrpy_is_ref(st, v)) {
    PyErr_Format(PyExc_TypeError, "expected an ObjectRef, got %s", Py_TYPE(v)->tp_name);
    return -1;
  }
  wrpy_ref *r = (wrpy_ref *)v;
  if (WR_LIKELY(r->epoch == wrpy_sess.epoch && r->epoch)) {
    *out = r->id;
    return 0;
  }
  int is_actor = (r->id.idx & WR_ACTOR_BIT) != 0;
  Py_XDECREF(wrpy_hook(st, "lost_ref", "(Oii)", v, is_actor, r->epoch != 0));
  if (!PyErr_Occurred()) PyErr_SetString(PyExc_SystemError, "lost_ref() must raise");
  return -1;
}

int wrpy_object_id_slow(wrpy_state *st, PyObject *v, wr_id *id) {
  if (wrpy_ref_id(st, v, id)) return -1;
  if (WR_LIKELY(!(id->idx & WR_ACTOR_BIT))) return 0;
  PyErr_SetString(PyExc_ValueError, "this ref names an actor, not an object");
  return -1;
}

int wrpy_attached_for(wrpy_state *st, PyObject *ref) {
  wr_id id;
  if (WR_LIKELY(wrpy_sess.epoch)) return 0;
  return ref && wrpy_ref_id(st, ref, &id) ? -1 : wrpy_attached_auto(st);
}

int wrpy_ref_id_of(PyObject *v, wr_id *out) {
  return wrpy_ref_id(wrpy_state_of_type(Py_TYPE(v)), v, out);
}

/* A ref for 28 bytes: of this session when they name a record that lives, else one of nothing. */
static PyObject *ref_from_bytes(PyTypeObject *type, PyObject *bytes) {
  wrpy_ref *r = ref_alloc(type);
  if (!r) return NULL;
  id_words w = id_read((const uint8_t *)PyBytes_AS_STRING(bytes));
  if (wrpy_sess.epoch && w.tag == wrpy_sess.tag && w.node == 0 && w.gen) {
    uint32_t gen = w.gen;
    if (wr_hold(wrpy_sess.client, w.idx, w.gen, &gen) == WR_OK) {
      r->id = r->task = (wr_id){w.idx, w.gen};
      r->epoch = wrpy_sess.epoch;
      return (PyObject *)r;
    }
  }
  r->raw = Py_NewRef(bytes);
  return (PyObject *)r;
}

static PyObject *ref_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  static char *names[] = {"id", "call_site_data", "skip_adding_local_ref", NULL};
  PyObject *bytes, *site = NULL, *skip = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO", names, &bytes, &site, &skip)) return NULL;
  if (check_id_bytes(bytes)) return NULL;
  return ref_from_bytes(type, bytes);
}

static void ref_dealloc(PyObject *self) {
  wrpy_ref *r = (wrpy_ref *)self;
  PyTypeObject *type = Py_TYPE(self);
  if (r->weakrefs) PyObject_ClearWeakRefs(self);
  if (r->epoch && r->epoch == wrpy_sess.epoch) let_go(r->id, r->holds);
  Py_XDECREF(raw_of(r));
  PyObject_Free(self);
  Py_DECREF(type);
}

static PyObject *ref_binary(PyObject *self, PyObject *unused) {
  (void)unused;
  wrpy_ref *r = (wrpy_ref *)self;
  if (raw_of(r)) return Py_NewRef(raw_of(r));
  return id_bytes(r->id, tag_of(r), WRPY_ID_BYTES);
}

static PyObject *ref_hex(PyObject *self, PyObject *unused) {
  PyObject *bytes = ref_binary(self, unused);
  PyObject *text = bytes ? PyObject_CallMethod(bytes, "hex", NULL) : NULL;
  Py_XDECREF(bytes);
  return text;
}

static PyObject *ref_repr(PyObject *self) {
  PyObject *hex = ref_hex(self, NULL);
  PyObject *text = hex ? PyUnicode_FromFormat("ObjectRef(%U)", hex) : NULL;
  Py_XDECREF(hex);
  return text;
}

static Py_hash_t ref_hash(PyObject *self) {
  wrpy_ref *r = (wrpy_ref *)self;
  if (raw_of(r)) return PyObject_Hash(raw_of(r));
  uint64_t h = (uint64_t)r->id.idx << 32 | r->id.gen;
  h = (h ^ r->epoch) * UINT64_C(0x9E3779B97F4A7C15);
  Py_hash_t out = (Py_hash_t)(h ^ h >> 29);
  return out == -1 ? -2 : out;
}

static int ref_equal(wrpy_ref *a, wrpy_ref *b) {
  PyObject *x = raw_of(a), *y = raw_of(b);
  if (x || y) return x && y ? PyObject_RichCompareBool(x, y, Py_EQ) : 0;
  return a->epoch == b->epoch && a->id.idx == b->id.idx && a->id.gen == b->id.gen;
}

static PyObject *ref_compare(PyObject *a, PyObject *b, int op) {
  if (!Py_IS_TYPE(b, Py_TYPE(a)) || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  int equal = ref_equal((wrpy_ref *)a, (wrpy_ref *)b);
  if (equal < 0) return NULL;
  return PyBool_FromLong(equal == (op == Py_EQ));
}

static PyObject *ref_is_nil(PyObject *self, PyObject *unused) {
  (void)unused;
  PyObject *raw = raw_of((wrpy_ref *)self);
  if (!raw) Py_RETURN_FALSE;
  const char *p = PyBytes_AS_STRING(raw);
  for (int i = 0; i < WRPY_ID_BYTES; i++)
    if (p[i] != (char)0xFF) Py_RETURN_FALSE;
  Py_RETURN_TRUE;
}

static PyObject *ref_size(PyObject *cls, PyObject *unused) {
  (void)cls;
  (void)unused;
  return PyLong_FromLong(WRPY_ID_BYTES);
}

static PyObject *ref_nil(PyObject *cls, PyObject *unused) {
  (void)unused;
  char raw[WRPY_ID_BYTES];
  memset(raw, 0xFF, sizeof raw);
  PyObject *bytes = PyBytes_FromStringAndSize(raw, sizeof raw);
  PyObject *ref = bytes ? ref_from_bytes((PyTypeObject *)cls, bytes) : NULL;
  Py_XDECREF(bytes);
  return ref;
}

static PyObject *ref_from_hex(PyObject *cls, PyObject *hex) {
  PyObject *bytes = PyObject_CallMethod((PyObject *)&PyBytes_Type, "fromhex", "O", hex);
  PyObject *ref = NULL;
  if (bytes && !check_id_bytes(bytes)) ref = ref_from_bytes((PyTypeObject *)cls, bytes);
  Py_XDECREF(bytes);
  return ref;
}

static PyObject *ref_from_random(PyObject *cls, PyObject *unused) {
  (void)unused;
  PyObject *os = PyImport_ImportModule("os");
  PyObject *bytes = os ? PyObject_CallMethod(os, "urandom", "i", WRPY_ID_BYTES) : NULL;
  PyObject *ref = bytes ? ref_from_bytes((PyTypeObject *)cls, bytes) : NULL;
  Py_XDECREF(bytes);
  Py_XDECREF(os);
  return ref;
}

/* Outside an encode nobody counts the copy that the bytes will become: the record is pinned until
 * this process leaves the session. */
static PyObject *reduce_out_of_band(wrpy_state *st, PyObject *self) {
  wrpy_ref *r = (wrpy_ref *)self;
  if (!(r->id.idx & WR_ACTOR_BIT)) {
    PyObject *ok = wrpy_hook(st, "out_of_band", "(O)", self);
    if (!ok) return NULL;
    Py_DECREF(ok);
  }
  if (r->epoch && r->epoch == wrpy_sess.epoch) {
    uint32_t gen;
    int rc = wr_hold(wrpy_sess.client, r->id.idx, r->id.gen, &gen);
    if (rc != WR_OK) return wrpy_fail_null(st, rc, "pinning an object");
  }
  PyObject *bytes = ref_binary(self, NULL);
  return bytes ? Py_BuildValue("O(N)", Py_TYPE(self), bytes) : NULL;
}

/* Inside an encode the value names its refs by number, and keeps their records alive. */
static PyObject *reduce_inside(wrpy_state *st, PyObject *self, wr_enc *enc) {
  int64_t k = wrpy_enc_register_ref(enc, self);
  if (k < 0) return NULL;
  if (!st->ref_at) {
    PyObject *module = PyType_GetModuleByDef(Py_TYPE(self), &wrpy_module_def);
    st->ref_at = module ? PyObject_GetAttrString(module, "_ref_at") : NULL;
  }
  return st->ref_at ? Py_BuildValue("(O(L))", st->ref_at, (long long)k) : NULL;
}

static PyObject *ref_reduce(PyObject *self, PyObject *unused) {
  (void)unused;
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(self));
  wrpy_ref *r = (wrpy_ref *)self;
  wr_enc *enc = wrpy_enc_active();
  if (enc && r->epoch && r->epoch == wrpy_sess.epoch) return reduce_inside(st, self, enc);
  return reduce_out_of_band(st, self);
}

/* The first 24 bytes of the id of the first return of the task that makes this object. */
static PyObject *ref_task(PyObject *self, PyObject *unused) {
  (void)unused;
  wrpy_ref *r = (wrpy_ref *)self;
  PyObject *raw = raw_of(r);
  if (raw) return PyBytes_FromStringAndSize(PyBytes_AS_STRING(raw), WRPY_TASK_BYTES);
  return id_bytes(r->task, tag_of(r), WRPY_TASK_BYTES);
}

static PyObject *ref_copy(PyObject *self, PyObject *unused) {
  (void)unused;
  return Py_NewRef(self);
}

static PyObject *ref_await(PyObject *self) {
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(self));
  if (!st->await_fn) {
    PyErr_SetString(PyExc_TypeError, "this ObjectRef cannot be awaited: no event loop support");
    return NULL;
  }
  return PyObject_CallOneArg(st->await_fn, self);
}

static PyMethodDef methods[] = {
    {"binary", ref_binary, METH_NOARGS, "The id as 28 bytes."},
    {"hex", ref_hex, METH_NOARGS, "The id in hexadecimal digits."},
    {"is_nil", ref_is_nil, METH_NOARGS, "Whether this is the id that names nothing."},
    {"size", ref_size, METH_NOARGS | METH_CLASS, "Number of bytes of an id."},
    {"nil", ref_nil, METH_NOARGS | METH_CLASS, "The id that names nothing."},
    {"from_hex", ref_from_hex, METH_O | METH_CLASS, "The ref whose hex() this is."},
    {"from_random", ref_from_random, METH_NOARGS | METH_CLASS, "A random id; names no object."},
    {"_task", ref_task, METH_NOARGS, "The id of the task behind it, as 24 bytes."},
    {"__reduce__", ref_reduce, METH_NOARGS, NULL},
    {"__copy__", ref_copy, METH_NOARGS, NULL},
    {"__deepcopy__", ref_copy, METH_O, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "ObjectRef[T] in annotations."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(wrpy_ref, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A reference to an object that exists or will exist in the object store."},
    {Py_tp_new, ref_new},
    {Py_tp_dealloc, ref_dealloc},
    {Py_tp_repr, ref_repr},
    {Py_tp_hash, ref_hash},
    {Py_tp_richcompare, ref_compare},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_am_await, ref_await},
    {0, NULL},
};

PyType_Spec wrpy_ref_spec = {
    .name = "whipray.ObjectRef",
    .basicsize = sizeof(wrpy_ref),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

/* ---- module functions about refs ------------------------------------------------------------ */

static PyObject *m_ref_at(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  unsigned int idx, gen = 0;
  if (!PyArg_ParseTuple(args, "I|I", &idx, &gen) || wrpy_attached(st)) return NULL;
  return wrpy_ref_hold(st, idx, gen);
}

static PyObject *m_ref_parts(PyObject *module, PyObject *ref) {
  wr_id id;
  if (wrpy_ref_id(wrpy_state_of(module), ref, &id)) return NULL;
  return Py_BuildValue("(II)", id.idx, id.gen);
}

static PyObject *m_pin(PyObject *module, PyObject *ref) {
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  uint32_t gen;
  if (wrpy_ref_id(st, ref, &id)) return NULL;
  int rc = wr_hold(wrpy_sess.client, id.idx, id.gen, &gen);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "pinning an object");
  Py_RETURN_NONE;
}

static PyObject *m_set_await(PyObject *module, PyObject *fn) {
  wrpy_state *st = wrpy_state_of(module);
  Py_XSETREF(st->await_fn, Py_NewRef(fn));
  Py_RETURN_NONE;
}

/* A module by its name, imported when it is needed, or the module itself. */
static PyObject *set_module(PyObject **module, PyObject **name, PyObject *v) {
  Py_CLEAR(*module);
  PyObject **slot = PyUnicode_Check(v) ? name : module;
  Py_XSETREF(*slot, Py_NewRef(v));
  Py_RETURN_NONE;
}

static PyObject *m_set_errors(PyObject *module, PyObject *v) {
  wrpy_state *st = wrpy_state_of(module);
  return set_module(&st->errors, &st->errors_name, v);
}

static PyObject *m_set_hooks(PyObject *module, PyObject *v) {
  wrpy_state *st = wrpy_state_of(module);
  return set_module(&st->hooks, &st->hooks_name, v);
}

static PyObject *m_ident_mask(PyObject *module, PyObject *args) {
  unsigned int idx, gen;
  (void)module;
  if (!PyArg_ParseTuple(args, "II", &idx, &gen)) return NULL;
  return PyLong_FromUnsignedLong(wr_ident_mask(idx, gen));
}

PyMethodDef wrpy_ref_methods[] = {
    {"ref_at", m_ref_at, METH_VARARGS, "ref_at(idx, gen=0): a new reference on a record."},
    {"ref_parts", m_ref_parts, METH_O, "ref_parts(ref) -> (idx, gen)."},
    {"ident_mask", m_ident_mask, METH_VARARGS,
     "ident_mask(idx, gen): what the first four bytes of an id are under; see shm/ident.h."},
    {"pin", m_pin, METH_O, "pin(ref): keeps the object until this process leaves the session."},
    {"set_await", m_set_await, METH_O, "Sets what `await ref` calls."},
    {"set_errors", m_set_errors, METH_O, "Names the module with the exception classes."},
    {"set_hooks", m_set_hooks, METH_O, "Names the module with the rarely needed functions."},
    {NULL, NULL, 0, NULL},
};
