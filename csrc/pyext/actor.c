/* ActorHandle, the base of the Python class, and ActorMethod, what `handle.name` gives.
 *
 * A handle owns one reference on its actor through its ObjectRef; a method owns its handle. Nothing
 * points back, so the actor's count drops as soon as the last of them goes.
 *
 * The handle that an actor has to itself does not count, and neither do its copies: an actor that
 * keeps one, or puts it somewhere, ends all the same once nobody else has a handle.  It names the
 * actor also when that has ended, and the description of its class, which the session keeps. */
#include "pyext/module.h"

typedef struct {
  PyObject_HEAD PyObject *handle, *name, *info;
  PyObject *said; /* about calls, or NULL: their name; or that, or None, and exceptions to retry */
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
                             PyObject *said) {
  wrpy_method *m = PyObject_New(wrpy_method, st->method_type);
  if (!m) return NULL;
  m->handle = Py_NewRef(handle);
  m->name = Py_NewRef(name);
  m->info = Py_NewRef(info);
  m->said = Py_XNewRef(said);
  return (PyObject *)m;
}

/* ---- ActorHandle ---------------------------------------------------------------------------- */

/* The class of handles says what is missing.  It is called from here, since a `__getattr__` would
 * make CPython look up every attribute by way of Python. */
static PyObject *tell_absent(PyObject *self, PyObject *name) {
  if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return NULL;
  PyObject *type, *error, *trace;
  PyErr_Fetch(&type, &error, &trace);
  PyObject *absent = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "_absent");
  if (!absent) {
    PyErr_Restore(type, error, trace);
    return NULL;
  }
  Py_XDECREF(type);
  Py_XDECREF(error);
  Py_XDECREF(trace);
  PyObject *found = PyObject_CallFunctionObjArgs(absent, self, name, NULL);
  Py_DECREF(absent);
  return found;
}

static PyObject *handle_getattro(PyObject *self, PyObject *name) {
  wrpy_handle *h = (wrpy_handle *)self;
  if (h->methods) {
    PyObject *info = PyDict_GetItemWithError(h->methods, name);
    if (info) return method_make(wrpy_state_of_type(Py_TYPE(self)), self, name, info, NULL);
    if (PyErr_Occurred()) return NULL;
  }
  PyObject *found = PyObject_GenericGetAttr(self, name);
  return found ? found : tell_absent(self, name);
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

static PyObject *handle_bytes(PyObject *self, PyObject *unused) {
  (void)unused;
  PyObject *ref = ((wrpy_handle *)self)->ref;
  if (ref) return wrpy_actor_bytes(PyObject_CallMethod(ref, "binary", NULL));
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
  Py_VISIT(h->shapes);
  return 0;
}

static int handle_clear(PyObject *self) {
  wrpy_handle *h = (wrpy_handle *)self;
  Py_CLEAR(h->ref);
  Py_CLEAR(h->methods);
  Py_CLEAR(h->info);
  Py_CLEAR(h->creation);
  Py_CLEAR(h->shapes);
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

/* What is said about the call, other than a name that its record has room for, travels behind its
 * positional arguments. */
static PyObject *submit_told(wrpy_state *st, wrpy_method *m, wr_task_spec *spec,
                              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  size_t npos = (size_t)nargs, nkw = kwnames ? (size_t)PyTuple_GET_SIZE(kwnames) : 0;
  PyObject **all = PyMem_New(PyObject *, npos + 1 + nkw);
  if (!all) return PyErr_NoMemory();
  if (npos) memcpy(all, args, npos * sizeof *all);
  all[npos] = m->said;
  if (nkw) memcpy(all + npos + 1, args + npos, nkw * sizeof *all);
  spec->options |= WRPY_TOLD;
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
  if (handle_id(st, m->handle, &actor)) return NULL;
  PyObject **known = &((wrpy_handle *)m->handle)->shapes;
  if (WR_UNLIKELY(!plain) && wrpy_check_args(st, m->handle, m->name, known, args, nargs, kwnames))
    return NULL;
  wr_task_spec spec = {.fn = (uint32_t)info.number,
                       .flags = WR_TF_CALL,
                       .retries = wrpy_retries(info.retries),
                       .options = (uint16_t)info.options,
                       .actor = actor,
                       .parent = wrpy_parent(st)};
  (void)wrpy_spec_returns(&spec, info.nreturns, info.room);
  if (info.retry_exceptions) spec.flags |= WR_TF_RETRY_EXC;
  if (WR_LIKELY(!m->said)) return wrpy_submit(st, &spec, args, nargs, kwnames);
  PyObject *name = PyTuple_Check(m->said) ? PyTuple_GET_ITEM(m->said, 0) : m->said;
  int fits = wrpy_spec_name(&spec, name);
  if (fits < 0) return NULL;
  return fits && name == m->said ? wrpy_submit(st, &spec, args, nargs, kwnames)
                                 : submit_told(st, m, &spec, args, nargs, kwnames);
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
  static char *names[] = {"handle", "name", "info", "said", NULL};
  PyObject *handle, *name, *info, *said = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OUO|O", names, &handle, &name, &info, &said))
    return NULL;
  if (said == Py_None) said = NULL;
  if (said && !PyUnicode_Check(said) && !(PyTuple_Check(said) && PyTuple_GET_SIZE(said) == 2)) {
    PyErr_SetString(PyExc_TypeError, "calls are told their name, or it and exceptions to retry");
    return NULL;
  }
  wrpy_state *st = wrpy_state_of_type(type);
  wr_id id;
  method_info m;
  if (parse_info(info, &m) || handle_id(st, handle, &id)) return NULL;
  return method_make(st, handle, name, info, said);
}

static PyObject *method_reduce(PyObject *self, PyObject *unused) {
  const wrpy_method *m = (const wrpy_method *)self;
  (void)unused;
  return Py_BuildValue("O(OOOO)", Py_TYPE(self), m->handle, m->name, m->info,
                       m->said ? m->said : Py_None);
}

static void method_dealloc(PyObject *self) {
  wrpy_method *m = (wrpy_method *)self;
  PyTypeObject *type = Py_TYPE(self);
  Py_XDECREF(m->handle);
  Py_XDECREF(m->name);
  Py_XDECREF(m->info);
  Py_XDECREF(m->said);
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
    {"_said", T_OBJECT, offsetof(wrpy_method, said), READONLY, NULL},
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
    {"actor_state", m_actor_state, METH_O,
     "actor_state(handle) -> (phase, restarts, pid); None: of the actor that this process is."},
    {NULL, NULL, 0, NULL},
};
