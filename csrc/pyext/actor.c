/* ActorHandle, the base of the Python class, and ActorMethod, what `handle.name` gives.
 *
 * A handle owns one reference on its actor through its ObjectRef; a method owns its handle. Nothing
 * points back, so the actor's count drops as soon as the last of them goes.
 *
 * The handle that an actor has to itself does not count, and neither do its copies: an actor that
 * keeps one, or puts it somewhere, ends all the same once nobody else has a handle.  It names the
 * actor also when that has ended, and the description of its class, which the session keeps. */
#include "pyext/module.h"

#define WRPY_ACTOR_BYTES 16 /* of an actor's id */

typedef struct {
  PyObject_HEAD PyObject *handle, *name, *info;
  PyObject *call_name; /* what calls are called, or NULL */
} wrpy_method;

/* The parts of a MethodInfo tuple. */
typedef struct {
  long number, nreturns, nmin, nmax, retries, options, retry_exceptions, room;
} method_info;

static int parse_info(PyObject *tuple, method_info *m) {
  long *fields[8] = {&m->number,  &m->nreturns, &m->nmin,             &m->nmax,
                     &m->retries, &m->options,  &m->retry_exceptions, &m->room};
  if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 8) {
    PyErr_SetString(PyExc_TypeError, "method info must be a tuple of eight numbers");
    return -1;
  }
  for (int i = 0; i < 8; i++) {
    *fields[i] = PyLong_AsLong(PyTuple_GET_ITEM(tuple, i));
    if (*fields[i] == -1 && PyErr_Occurred()) return -1;
  }
  if (m->nreturns >= WRPY_DYNAMIC && m->nreturns <= UINT16_MAX) return 0;
  PyErr_Format(PyExc_ValueError, "num_returns must be between 0 and %d", UINT16_MAX);
  return -1;
}

static PyObject *method_make(wrpy_state *st, PyObject *handle, PyObject *name, PyObject *info,
                             PyObject *call_name) {
  wrpy_method *m = PyObject_New(wrpy_method, st->method_type);
  if (!m) return NULL;
  m->handle = Py_NewRef(handle);
  m->name = Py_NewRef(name);
  m->info = Py_NewRef(info);
  m->call_name = Py_XNewRef(call_name);
  return (PyObject *)m;
}

/* ---- ActorHandle ---------------------------------------------------------------------------- */

static PyObject *handle_getattro(PyObject *self, PyObject *name) {
  wrpy_handle *h = (wrpy_handle *)self;
  if (h->methods) {
    PyObject *info = PyDict_GetItemWithError(h->methods, name);
    if (info) return method_make(wrpy_state_of_type(Py_TYPE(self)), self, name, info, NULL);
    if (PyErr_Occurred()) return NULL;
  }
  return PyObject_GenericGetAttr(self, name);
}

static int handle_id(wrpy_state *st, PyObject *v, wr_id *id) {
  if (!PyObject_TypeCheck(v, st->handle_type)) {
    PyErr_Format(PyExc_TypeError, "expected an actor handle, got %s", Py_TYPE(v)->tp_name);
    return -1;
  }
  PyObject *ref = ((wrpy_handle *)v)->ref;
  if (ref) return wrpy_ref_id(st, ref, id);
  PyErr_SetString(PyExc_ValueError, "this actor handle names no actor");
  return -1;
}

static Py_hash_t handle_hash(PyObject *self) {
  PyObject *ref = ((wrpy_handle *)self)->ref;
  return ref ? PyObject_Hash(ref) : 0;
}

static PyObject *handle_compare(PyObject *a, PyObject *b, int op) {
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(a));
  if (!PyObject_TypeCheck(b, st->handle_type) || (op != Py_EQ && op != Py_NE))
    Py_RETURN_NOTIMPLEMENTED;
  PyObject *x = ((wrpy_handle *)a)->ref, *y = ((wrpy_handle *)b)->ref;
  if (!x || !y) return PyBool_FromLong((x == y) == (op == Py_EQ));
  return PyObject_RichCompare(x, y, op);
}

/* Through the ref, which an encode under way counts and a plain pickle pins. */
static PyObject *handle_reduce(PyObject *self, PyObject *unused) {
  (void)unused;
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(self));
  const wrpy_handle *h = (const wrpy_handle *)self;
  if (!h->ref) {
    PyErr_SetString(PyExc_ValueError, "this actor handle names no actor");
    return NULL;
  }
  wr_id id;
  if (wrpy_ref_id(st, h->ref, &id)) return NULL;
  if (!h->meta) return Py_BuildValue("(O(O))", st->handle_of, h->ref);
  PyObject *bytes = wrpy_id_bytes(id, WRPY_ID_BYTES);
  return bytes ? Py_BuildValue("(O(NK))", st->weak_handle, bytes, (unsigned long long)h->meta)
               : NULL;
}

/* session[:4] | job | idx | gen, of an id as objects have them, which it takes over. */
static PyObject *actor_bytes(PyObject *id) {
  if (!id) return NULL;
  char raw[WRPY_ACTOR_BYTES];
  const char *p = PyBytes_AS_STRING(id);
  memcpy(raw, p, 4);
  memcpy(raw + 4, p + 20, 4);
  memcpy(raw + 8, p + 12, 8);
  Py_DECREF(id);
  return PyBytes_FromStringAndSize(raw, sizeof raw);
}

static PyObject *handle_bytes(PyObject *self, PyObject *unused) {
  (void)unused;
  PyObject *ref = ((wrpy_handle *)self)->ref;
  if (ref) return actor_bytes(PyObject_CallMethod(ref, "binary", NULL));
  PyErr_SetString(PyExc_ValueError, "this actor handle names no actor");
  return NULL;
}

static int handle_traverse(PyObject *self, visitproc visit, void *arg) {
  wrpy_handle *h = (wrpy_handle *)self;
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(h->ref);
  Py_VISIT(h->methods);
  Py_VISIT(h->info);
  Py_VISIT(h->creation);
  return 0;
}

static int handle_clear(PyObject *self) {
  wrpy_handle *h = (wrpy_handle *)self;
  Py_CLEAR(h->ref);
  Py_CLEAR(h->methods);
  Py_CLEAR(h->info);
  Py_CLEAR(h->creation);
  return 0;
}

static void handle_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (((wrpy_handle *)self)->weakrefs) PyObject_ClearWeakRefs(self);
  handle_clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

static PyMemberDef handle_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(wrpy_handle, weakrefs), READONLY, NULL},
    {"_ref", T_OBJECT, offsetof(wrpy_handle, ref), 0, "ObjectRef that names the actor"},
    {"_methods", T_OBJECT, offsetof(wrpy_handle, methods), 0, "{name: MethodInfo}"},
    {"_info", T_OBJECT, offsetof(wrpy_handle, info), 0, "facts about the class"},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef handle_methods[] = {
    {"_actor_bytes", handle_bytes, METH_NOARGS, "The actor's id as 16 bytes."},
    {"__reduce__", handle_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, "A handle to an actor; keeps it alive."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_getattro, handle_getattro},
    {Py_tp_hash, handle_hash},
    {Py_tp_richcompare, handle_compare},
    {Py_tp_members, handle_members},
    {Py_tp_methods, handle_methods},
    {0, NULL},
};

PyType_Spec wrpy_handle_spec = {
    .name = "whipray._core.ActorHandle",
    .basicsize = sizeof(wrpy_handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = handle_slots,
};

/* ---- making handles ------------------------------------------------------------------------- */

static PyTypeObject *handle_class(wrpy_state *st) {
  if (!st->handle_class) {
    PyObject *module = PyImport_ImportModule("whipray.actor"); /* sets it */
    if (!module) return NULL;
    Py_DECREF(module);
  }
  return st->handle_class ? (PyTypeObject *)st->handle_class : st->handle_type;
}

PyObject *wrpy_handle_make(wrpy_state *st, PyObject *ref, PyObject *methods, PyObject *info) {
  PyTypeObject *type = handle_class(st);
  wrpy_handle *h = type ? (wrpy_handle *)type->tp_alloc(type, 0) : NULL;
  if (!h) {
    Py_DECREF(ref);
    return NULL;
  }
  h->ref = ref;
  h->methods = Py_NewRef(methods);
  h->info = Py_NewRef(info);
  return (PyObject *)h;
}

static const char DESCRIBING[] = "reading the description of an actor class";

/* Asks Python for (methods, info); what it runs may leave the session. */
static PyObject *describe(wrpy_state *st, uint64_t meta) {
  wr_id id = {(wr_idx)meta, (uint32_t)(meta >> 32)};
  wr_view view;
  if (!id.gen) id.gen = wrpy_gen_of(id.idx);
  int rc = wr_value_view(wrpy_sess.client, id, &view);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, DESCRIBING);
  PyObject *bytes = PyBytes_FromStringAndSize((const char *)view.data, (Py_ssize_t)view.len);
  PyObject *pair = bytes ? wrpy_hook(st, "describe", "(N)", bytes) : NULL;
  if (pair && (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2)) {
    PyErr_SetString(PyExc_TypeError, "describe() must return a pair");
    Py_CLEAR(pair);
  }
  return pair;
}

/* The descriptions read so far in this session; borrowed. */
static PyObject *descriptions(wrpy_state *st, uint32_t epoch) {
  if (WR_LIKELY(st->described && st->described_epoch == epoch)) return st->described;
  PyObject *none = PyDict_New();
  if (!none || wrpy_left(st, epoch, DESCRIBING)) {
    Py_XDECREF(none);
    return NULL;
  }
  st->described_epoch = epoch;
  Py_XSETREF(st->described, none);
  return wrpy_left(st, epoch, DESCRIBING) ? NULL : none;
}

/* (methods, info) of the class whose description is object `meta`. */
static PyObject *described(wrpy_state *st, uint64_t meta) {
  uint32_t epoch = wrpy_sess.epoch;
  PyObject *known = descriptions(st, epoch);
  PyObject *key = known ? PyLong_FromUnsignedLongLong(meta) : NULL;
  PyObject *pair = key ? Py_XNewRef(PyDict_GetItemWithError(known, key)) : NULL;
  if (key && !pair && !PyErr_Occurred()) {
    pair = describe(st, meta);
    if (pair && (wrpy_left(st, epoch, DESCRIBING) || PyDict_SetItem(st->described, key, pair)))
      Py_CLEAR(pair);
  }
  Py_XDECREF(key);
  return pair;
}

PyObject *wrpy_handle_of_ref(wrpy_state *st, PyObject *ref) {
  wr_id id;
  if (wrpy_ref_id(st, ref, &id)) return NULL;
  if (!(id.idx & WR_ACTOR_BIT)) {
    PyErr_SetString(PyExc_ValueError, "this ref names an object, not an actor");
    return NULL;
  }
  PyObject *pair = described(st, wrpy_sess.seg->actors[id.idx & ~WR_ACTOR_BIT].meta);
  if (!pair) return NULL;
  PyObject *handle = wrpy_handle_make(st, Py_NewRef(ref), PyTuple_GET_ITEM(pair, 0),
                                      PyTuple_GET_ITEM(pair, 1));
  Py_DECREF(pair);
  return handle;
}

/* A handle that does not count. */
static PyObject *weak_handle(wrpy_state *st, PyObject *bytes, uint64_t meta) {
  wr_id id;
  PyObject *ref = wrpy_ref_weak(st, bytes), *pair = NULL;
  if (ref && !wrpy_ref_id(st, ref, &id)) pair = described(st, meta);
  if (!pair) {
    Py_XDECREF(ref);
    return NULL;
  }
  PyObject *h = wrpy_handle_make(st, ref, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
  Py_DECREF(pair);
  if (h) ((wrpy_handle *)h)->meta = meta;
  return h;
}

static PyObject *m_weak_handle(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *bytes;
  unsigned long long meta;
  if (!PyArg_ParseTuple(args, "SK", &bytes, &meta) || wrpy_attached(st)) return NULL;
  return weak_handle(st, bytes, meta);
}

static PyObject *m_handle_of(PyObject *module, PyObject *ref) {
  return wrpy_handle_of_ref(wrpy_state_of(module), ref);
}

static PyObject *m_handle_from_id(PyObject *module, PyObject *bytes) {
  wrpy_state *st = wrpy_state_of(module);
  if (wrpy_attached(st)) return NULL;
  if (!PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) != WRPY_ACTOR_BYTES) {
    PyErr_Format(PyExc_ValueError, "the id of an actor has %d bytes", WRPY_ACTOR_BYTES);
    return NULL;
  }
  wr_id id;
  memcpy(&id.idx, PyBytes_AS_STRING(bytes) + 8, sizeof id.idx);
  memcpy(&id.gen, PyBytes_AS_STRING(bytes) + 12, sizeof id.gen);
  PyObject *ref = wrpy_ref_hold(st, id.idx, id.gen);
  PyObject *handle = ref ? wrpy_handle_of_ref(st, ref) : NULL;
  Py_XDECREF(ref);
  return handle;
}

static PyObject *m_current_actor(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  if (wrpy_attached(st)) return NULL;
  if (!wr_client_actor(wrpy_sess.client, &id)) Py_RETURN_NONE;
  PyObject *bytes = wrpy_id_bytes(id, WRPY_ID_BYTES);
  PyObject *handle =
      bytes ? weak_handle(st, bytes, wrpy_sess.seg->actors[id.idx & ~WR_ACTOR_BIT].meta) : NULL;
  Py_XDECREF(bytes);
  return handle;
}

/* Also once the last handle has gone and the queued calls still run. */
static PyObject *m_current_actor_bytes(PyObject *module, PyObject *unused) {
  (void)unused;
  wr_id id;
  if (wrpy_attached(wrpy_state_of(module))) return NULL;
  if (!wr_client_actor(wrpy_sess.client, &id)) Py_RETURN_NONE;
  return actor_bytes(wrpy_id_bytes(id, WRPY_ID_BYTES));
}

static PyObject *m_actor_state(PyObject *module, PyObject *handle) {
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  if (wrpy_attached(st)) return NULL;
  if (handle == Py_None ? !wr_client_actor(wrpy_sess.client, &id) : handle_id(st, handle, &id)) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, "this process is no actor");
    return NULL;
  }
  const wr_actor *a = &wrpy_sess.seg->actors[id.idx & ~WR_ACTOR_BIT];
  uint64_t state = wr_load(&a->state);
  if (WR_ACTOR_GEN(state) != id.gen) return Py_BuildValue("(III)", WR_ACTOR_DEAD, 0, 0);
  return Py_BuildValue("(III)", WR_ACTOR_PHASE(state), wr_load32(&a->restarts),
                       wr_load32(&a->last_pid));
}

/* ---- ActorMethod ---------------------------------------------------------------------------- */

/* The call's name travels behind its positional arguments. */
static PyObject *submit_named(wrpy_state *st, wrpy_method *m, wr_task_spec *spec,
                              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  size_t npos = (size_t)nargs, nkw = kwnames ? (size_t)PyTuple_GET_SIZE(kwnames) : 0;
  PyObject **all = PyMem_New(PyObject *, npos + 1 + nkw);
  if (!all) return PyErr_NoMemory();
  if (npos) memcpy(all, args, npos * sizeof *all);
  all[npos] = m->call_name;
  if (nkw) memcpy(all + npos + 1, args + npos, nkw * sizeof *all);
  spec->options |= WRPY_NAMED;
  PyObject *refs = wrpy_submit(st, spec, all, nargs + 1, kwnames);
  PyMem_Free(all);
  return refs;
}

static PyObject *method_remote(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
  wrpy_method *m = (wrpy_method *)self;
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(self));
  method_info info;
  wr_id actor;
  if (parse_info(m->info, &info)) return NULL;
  int plain = !kwnames && nargs >= info.nmin && (info.nmax < 0 || nargs <= info.nmax);
  if (WR_UNLIKELY(!plain) && wrpy_check_args(st, m->handle, m->name, args, nargs, kwnames))
    return NULL;
  if (handle_id(st, m->handle, &actor)) return NULL;
  wr_task_spec spec = {.fn = (uint32_t)info.number,
                       .flags = WR_TF_CALL,
                       .retries = wrpy_retries(info.retries),
                       .options = (uint16_t)info.options,
                       .actor = actor,
                       .parent = wrpy_parent(st)};
  (void)wrpy_spec_returns(&spec, info.nreturns, info.room);
  if (info.retry_exceptions) spec.flags |= WR_TF_RETRY_EXC;
  return m->call_name ? submit_named(st, m, &spec, args, nargs, kwnames)
                      : wrpy_submit(st, &spec, args, nargs, kwnames);
}

static PyObject *method_call(PyObject *self, PyObject *args, PyObject *kwargs) {
  (void)args;
  (void)kwargs;
  PyErr_Format(PyExc_TypeError,
               "Actor methods cannot be called directly. Instead of running "
               "'object.%U()', try 'object.%U.remote()'.",
               ((wrpy_method *)self)->name, ((wrpy_method *)self)->name);
  return NULL;
}

static PyObject *method_repr(PyObject *self) {
  const wrpy_method *m = (const wrpy_method *)self;
  PyObject *info = ((wrpy_handle *)m->handle)->info;
  PyObject *cls = info && PyDict_Check(info) ? PyDict_GetItemString(info, "class") : NULL;
  return cls ? PyUnicode_FromFormat("ActorMethod(%S.%U)", cls, m->name)
             : PyUnicode_FromFormat("ActorMethod(%U)", m->name);
}

/* The rarer attributes are those that a Python class defines, bound to this object. */
static PyObject *method_getattro(PyObject *self, PyObject *name) {
  PyObject *v = PyObject_GenericGetAttr(self, name);
  if (v || !PyErr_ExceptionMatches(PyExc_AttributeError)) return v;
  wrpy_state *st = wrpy_state_of_type(Py_TYPE(self));
  if (!st->method_mixin) return NULL;
  PyErr_Clear();
  v = PyDict_GetItemWithError(((PyTypeObject *)st->method_mixin)->tp_dict, name);
  if (!v) {
    if (!PyErr_Occurred())
      PyErr_Format(PyExc_AttributeError, "'ActorMethod' object has no attribute '%U'", name);
    return NULL;
  }
  descrgetfunc bind = Py_TYPE(v)->tp_descr_get;
  return bind ? bind(v, self, (PyObject *)Py_TYPE(self)) : Py_NewRef(v);
}

static PyObject *method_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  static char *names[] = {"handle", "name", "info", "call_name", NULL};
  PyObject *handle, *name, *info, *call_name = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OUO|O", names, &handle, &name, &info, &call_name))
    return NULL;
  if (call_name == Py_None) call_name = NULL;
  if (call_name && !PyUnicode_Check(call_name)) {
    PyErr_SetString(PyExc_TypeError, "the name of a call must be a string");
    return NULL;
  }
  wrpy_state *st = wrpy_state_of_type(type);
  wr_id id;
  method_info m;
  if (parse_info(info, &m) || handle_id(st, handle, &id)) return NULL;
  return method_make(st, handle, name, info, call_name);
}

static PyObject *method_reduce(PyObject *self, PyObject *unused) {
  const wrpy_method *m = (const wrpy_method *)self;
  (void)unused;
  return Py_BuildValue("O(OOOO)", Py_TYPE(self), m->handle, m->name, m->info,
                       m->call_name ? m->call_name : Py_None);
}

static void method_dealloc(PyObject *self) {
  wrpy_method *m = (wrpy_method *)self;
  PyTypeObject *type = Py_TYPE(self);
  Py_XDECREF(m->handle);
  Py_XDECREF(m->name);
  Py_XDECREF(m->info);
  Py_XDECREF(m->call_name);
  PyObject_Free(self);
  Py_DECREF(type);
}

/* What one does with a method; dir() of its type does not know those of the mixin. */
static PyObject *method_dir(PyObject *self, PyObject *unused) {
  (void)self;
  (void)unused;
  return Py_BuildValue("[sss]", "bind", "options", "remote");
}

static PyMemberDef method_members[] = {
    {"_handle", T_OBJECT, offsetof(wrpy_method, handle), READONLY, NULL},
    {"_name", T_OBJECT, offsetof(wrpy_method, name), READONLY, NULL},
    {"_info", T_OBJECT, offsetof(wrpy_method, info), READONLY, NULL},
    {"_call_name", T_OBJECT, offsetof(wrpy_method, call_name), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef method_methods[] = {
    {"remote", WRPY_FASTCALL(method_remote), METH_FASTCALL | METH_KEYWORDS,
     "remote($self, /, *args, **kwargs)\n--\n\n"
     "Calls the method in the actor's process; returns an ObjectRef."},
    {"__reduce__", method_reduce, METH_NOARGS, NULL},
    {"__dir__", method_dir, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_doc, "A method of an actor, to be called with remote()."},
    {Py_tp_new, method_new},
    {Py_tp_dealloc, method_dealloc},
    {Py_tp_call, method_call},
    {Py_tp_repr, method_repr},
    {Py_tp_getattro, method_getattro},
    {Py_tp_members, method_members},
    {Py_tp_methods, method_methods},
    {0, NULL},
};

PyType_Spec wrpy_method_spec = {
    .name = "whipray._core.ActorMethod",
    .basicsize = sizeof(wrpy_method),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = method_slots,
};

static PyObject *m_set_handle_class(PyObject *module, PyObject *cls) {
  wrpy_state *st = wrpy_state_of(module);
  if (!PyType_Check(cls) || !PyType_IsSubtype((PyTypeObject *)cls, st->handle_type)) {
    PyErr_SetString(PyExc_TypeError, "the class of handles must be a subclass of ActorHandle");
    return NULL;
  }
  Py_XSETREF(st->handle_class, Py_NewRef(cls));
  Py_RETURN_NONE;
}

static PyObject *m_set_method_mixin(PyObject *module, PyObject *cls) {
  wrpy_state *st = wrpy_state_of(module);
  if (!PyType_Check(cls)) {
    PyErr_SetString(PyExc_TypeError, "the attributes of methods come from a class");
    return NULL;
  }
  Py_XSETREF(st->method_mixin, Py_NewRef(cls));
  Py_RETURN_NONE;
}

PyMethodDef wrpy_actor_methods[] = {
    {"set_handle_class", m_set_handle_class, METH_O, "Sets the class of decoded actor handles."},
    {"set_method_mixin", m_set_method_mixin, METH_O, "Sets the rarer attributes of ActorMethod."},
    {"handle_from_id", m_handle_from_id, METH_O, "The handle whose _actor_bytes() these are."},
    {"_handle_of", m_handle_of, METH_O, "A handle around an actor's ref."},
    {"_weak_handle", m_weak_handle, METH_VARARGS, "A handle that does not count, once more."},
    {"current_actor", m_current_actor, METH_NOARGS,
     "A handle to the actor this process is; it does not count."},
    {"current_actor_bytes", m_current_actor_bytes, METH_NOARGS, "_actor_bytes() of its handles."},
    {"actor_state", m_actor_state, METH_O,
     "actor_state(handle) -> (phase, restarts, pid); None: of the actor that this process is."},
    {NULL, NULL, 0, NULL},
};
