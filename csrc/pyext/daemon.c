/* pyext/daemon.c - what Python asks the daemon for: shapes, actors and their names. */
#include <stdlib.h>
#include <string.h>

#include "client/conn.h"
#include "base/vec.h"
#include "pyext/module.h"
#include "wire/messages.h"
#include "wire/pack.h"

_Static_assert(WR_MAX_SHAPES == 4032 && WR_MAX_POOLS == 1024 && WR_MAX_RESOURCES == 256 &&
               WR_SHAPE_RESOURCES == 8, "the errors name them");

/* full: for `doing`, when a table of the session is full. */
static PyObject *ask(wrpy_state *st, uint32_t type, wr_buf *body, const char *doing,
                     const char *full) {
  uint8_t *reply = NULL;
  size_t len = 0;
  uint32_t epoch = wrpy_sess.epoch;
  int rc = body->failed ? WR_NOMEM : epoch ? WR_OK : WR_CLOSED;
  if (rc == WR_OK) {
    WRPY_LEAVE
    rc = wr_rpc_call(wrpy_sess.client, type, body->data, body->len, &reply, &len);
    WRPY_ENTER
  }
  wr_buf_free(body);
  PyObject *answer = rc == WR_OK ? wrpy_unpack(reply, len)
                                 : wrpy_fail_null(st, rc, rc == WR_LIMIT ? full : doing);
  free(reply);
  if (answer && wrpy_left(st, epoch, doing)) Py_CLEAR(answer);
  return answer;
}

PyObject *wrpy_ask(wrpy_state *st, uint32_t type, wr_buf *body, const char *doing) {
  return ask(st, type, body, doing, doing);
}

static int put_text(wr_buf *b, PyObject *v, const char *what) {
  const char *s = wrpy_text(v, what);
  if (!s) return -1;
  wr_out_text(b, s);
  return 0;
}

/* An answer's k-th field as a number; -1 with an exception. */
static long long field(PyObject *answer, Py_ssize_t k) {
  PyObject *v = PySequence_GetItem(answer, k);
  long long n = v ? PyLong_AsLongLong(v) : -1;
  Py_XDECREF(v);
  return n;
}

/* ---- shapes --------------------------------------------------------------------------------- */

static int put_map(wr_buf *b, PyObject *map, int numbers) {
  PyObject *key, *value;
  Py_ssize_t pos = 0;
  wr_out_map(b, (size_t)PyDict_GET_SIZE(map));
  while (PyDict_Next(map, &pos, &key, &value)) {
    if (put_text(b, key, numbers ? "the name of a resource" : "the name of a variable")) return -1;
    if (numbers) {
      double d = PyFloat_AsDouble(value);
      if (d == -1 && PyErr_Occurred()) return -1;
      wr_out_double(b, d);
    } else if (put_text(b, value, "the value of a variable")) {
      return -1;
    }
  }
  return 0;
}

static long long pool_of(wrpy_state *st, PyObject *env) {
  wr_buf body = {0};
  wr_out_array(&body, 1);
  if (put_map(&body, env, 0)) {
    wr_buf_free(&body);
    return -1;
  }
  PyObject *answer = ask(st, WR_MSG_POOL_REG, &body, "cannot register a runtime environment",
                         "cannot register another runtime environment: a session has 1,023 in use "
                         "at once, each job's own among them");
  long long pool = answer ? field(answer, 0) : -1;
  Py_XDECREF(answer);
  return pool;
}

/* -1 with an exception; 0: the pool has gone meanwhile. */
static long long ticket_in(wrpy_state *st, long long pool, PyObject *resources,
                           const uint32_t place[3]) {
  wr_buf body = {0};
  wr_out_array(&body, 5);
  wr_out_uint(&body, (uint64_t)pool);
  if (put_map(&body, resources, 1)) {
    wr_buf_free(&body);
    return -1;
  }
  for (int i = 0; i < 3; i++) wr_out_uint(&body, place[i]);
  PyObject *answer = ask(st, WR_MSG_SHAPE_REG, &body, "cannot register a resource demand",
                         "cannot register another resource demand: a session has 4,031 in use at "
                         "once, those of all jobs together, of up to 8 of 256 resources");
  long long ticket = answer ? field(answer, 0) : -1;
  Py_XDECREF(answer);
  return ticket;
}

static PyObject *m_shape(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *resources, *env;
  uint32_t place[3] = {0}; /* group, its generation, bundle */
  long long ticket = 0;
  if (!PyArg_ParseTuple(args, "O!O!|III", &PyDict_Type, &resources, &PyDict_Type, &env, &place[0],
                        &place[1], &place[2]) ||
      wrpy_attached(st))
    return NULL;
  while (ticket == 0) {
    long long pool = pool_of(st, env);
    ticket = pool < 0 ? -1 : ticket_in(st, pool, resources, place);
  }
  return ticket < 0 ? NULL : PyLong_FromLongLong(ticket);
}

int wrpy_ticket_is_new(uint32_t ticket) {
  return WR_TICKET_ROUND(ticket) == wr_load32(&wrpy_sess.seg->h->shape_round);
}

static PyObject *m_is_current(PyObject *module, PyObject *ticket) {
  (void)module;
  long t = PyLong_AsLong(ticket);
  if (t == -1 && PyErr_Occurred()) return NULL;
  return PyBool_FromLong(wrpy_sess.epoch && wrpy_ticket_is_new((uint32_t)t));
}

/* ---- making actors -------------------------------------------------------------------------- */

typedef struct {
  PyObject *methods, *info;
  wr_id cls, meta;
  long shape, place, concurrency, max_pending, restarts;
  long group, group_gen, cause; /* cause: why it is dead from the start; 0: it is not */
  int is_async, detached, any_order;
  const char *name, *ns, *cls_name;
} order;

static PyObject *need(PyObject *spec, const char *key) {
  PyObject *name = PyUnicode_FromString(key);
  PyObject *v = name ? PyDict_GetItemWithError(spec, name) : NULL;
  Py_XDECREF(name);
  if (!v && !PyErr_Occurred())
    PyErr_Format(PyExc_KeyError, "actor_create: the spec has no '%s'", key);
  return v;
}

static int need_long(PyObject *spec, const char *key, long *out) {
  PyObject *v = need(spec, key);
  *out = v ? PyLong_AsLong(v) : -1;
  return v && !(*out == -1 && PyErr_Occurred()) ? 0 : -1;
}

static const char ACTOR_NAME[] = "the name of an actor", NAMESPACE[] = "a namespace";

static int need_text(PyObject *spec, const char *key, const char *what, const char **out) {
  PyObject *v = need(spec, key);
  *out = !v ? NULL : v == Py_None ? "" : wrpy_name_text(v, what);
  return *out ? 0 : -1;
}

static int need_ref(wrpy_state *st, PyObject *spec, const char *key, wr_id *out) {
  PyObject *v = need(spec, key);
  return v ? wrpy_ref_id(st, v, out) : -1;
}

static int need_flag(PyObject *spec, const char *key, int *out) {
  PyObject *v = need(spec, key);
  *out = v ? PyObject_IsTrue(v) : -1;
  return *out < 0 ? -1 : 0;
}

static int read_order(wrpy_state *st, PyObject *spec, order *o) {
  o->methods = need(spec, "methods");
  o->info = o->methods ? need(spec, "info") : NULL;
  return o->info && !need_ref(st, spec, "cls", &o->cls) && !need_ref(st, spec, "meta", &o->meta) &&
                 !need_long(spec, "shape", &o->shape) &&
                 !need_long(spec, "place_shape", &o->place) &&
                 !need_long(spec, "max_concurrency", &o->concurrency) &&
                 !need_long(spec, "max_pending", &o->max_pending) &&
                 !need_long(spec, "max_restarts", &o->restarts) &&
                 !need_long(spec, "group", &o->group) &&
                 !need_long(spec, "group_gen", &o->group_gen) &&
                 !need_long(spec, "cause", &o->cause) &&
                 !need_flag(spec, "is_async", &o->is_async) &&
                 !need_flag(spec, "detached", &o->detached) &&
                 !need_flag(spec, "any_order", &o->any_order) &&
                 !need_text(spec, "name", ACTOR_NAME, &o->name) &&
                 !need_text(spec, "namespace", NAMESPACE, &o->ns) &&
                 !need_text(spec, "cls_name", "the name of a class", &o->cls_name)
             ? 0
             : -1;
}

int wrpy_name_claim(wrpy_state *st, const char *ns, const char *name, wr_id id) {
  wr_buf body = {0};
  wr_out_array(&body, 4);
  wr_out_text(&body, ns);
  wr_out_text(&body, name);
  wr_out_uint(&body, id.idx);
  wr_out_uint(&body, id.gen);
  PyObject *answer = wrpy_ask(st, WR_MSG_NAME_CLAIM, &body, "cannot register a name");
  long long taken = answer ? field(answer, 0) : -1;
  Py_XDECREF(answer);
  return taken < 0 ? -1 : taken == 0;
}

int wrpy_name_get(wrpy_state *st, PyObject *ns, PyObject *name, const char *what, wr_id *out) {
  const char *text = wrpy_name_text(name, what),
             *space = text ? wrpy_name_text(ns, NAMESPACE) : NULL;
  wr_buf body = {0};
  if (!space) return -1;
  wr_out_array(&body, 2);
  wr_out_text(&body, space);
  wr_out_text(&body, text);
  PyObject *answer = wrpy_ask(st, WR_MSG_NAME_GET, &body, "cannot look up a name");
  if (!answer) return -1;
  int found = PySequence_Size(answer) == 2;
  if (found) *out = (wr_id){(wr_idx)field(answer, 0), (uint32_t)field(answer, 1)};
  Py_DECREF(answer);
  return PyErr_Occurred() ? -1 : found;
}

static int claim_name(wrpy_state *st, const order *o, wr_id actor) {
  int mine = wrpy_name_claim(st, o->ns, o->name, (wr_id){actor.idx & ~WR_ACTOR_BIT, actor.gen});
  if (mine > 0) return 0;
  if (mine == 0)
    wrpy_raise(st, "ActorAlreadyExistsError",
               "The name %s (namespace=%s) is already taken. Please use a different name or get "
               "the existing actor using whipray.get_actor('%s', namespace='%s')",
               o->name, o->ns, o->name, o->ns);
  return -1;
}

static PyObject *kill_actor(wrpy_state *st, wr_id actor, int no_restart) {
  wr_buf body = {0};
  wr_out_array(&body, 3);
  wr_out_uint(&body, actor.idx & ~WR_ACTOR_BIT);
  wr_out_uint(&body, actor.gen);
  wr_out_bool(&body, no_restart);
  return wrpy_ask(st, WR_MSG_KILL_ACTOR, &body, "cannot kill the actor");
}

/* Undoes what is registered of an actor whose creation failed half way, perhaps for want of memory,
 * so with none: nobody else would ever end it. */
static void abandon(wr_id actor, uint32_t epoch) {
  if (!wrpy_still_in(epoch)) return;
  /* msgpack: [uint 32, uint 32, true] */
  uint8_t body[12] = {0x93, 0xce, 0, 0, 0, 0, 0xce, 0, 0, 0, 0, 0xc3};
  uint32_t idx = __builtin_bswap32(actor.idx & ~WR_ACTOR_BIT), gen = __builtin_bswap32(actor.gen);
  memcpy(body + 2, &idx, sizeof idx);
  memcpy(body + 7, &gen, sizeof gen);
  WRPY_LEAVE
  wr_rpc_tell(wrpy_sess.client, WR_MSG_KILL_ACTOR, body, sizeof body);
  WRPY_ENTER
}

static PyObject *submit_creation(wrpy_state *st, const order *o, wr_id actor, uint32_t epoch,
                                 PyObject *args, PyObject *kwargs) {
  wr_task_spec spec = {.fn = o->cls.idx,
                       .shape = (uint32_t)o->place,
                       .nreturns = 1,
                       .flags = WR_TF_CREATION,
                       .parent = wrpy_parent(st),
                       .retries = 0,
                       .actor = actor,
                       .group = {(wr_idx)o->group, (uint32_t)o->group_gen}};
  Py_ssize_t n = PyTuple_GET_SIZE(args), m = PyDict_GET_SIZE(kwargs), pos = 0, k = n;
  PyObject **stack = PyMem_Calloc((size_t)(n + m) + 1, sizeof *stack);
  PyObject *names = stack && m ? PyTuple_New(m) : NULL, *key, *value, *ref = NULL;
  if (!stack) return PyErr_NoMemory();
  for (Py_ssize_t i = 0; i < n; i++) stack[i] = PyTuple_GET_ITEM(args, i);
  while (names && PyDict_Next(kwargs, &pos, &key, &value)) {
    PyTuple_SET_ITEM(names, k - n, Py_NewRef(key));
    stack[k++] = value;
  }
  if ((names || !m) && wrpy_left(st, epoch, "creating an actor") == 0)
    ref = wrpy_submit(st, &spec, stack, n, names);
  Py_XDECREF(names);
  PyMem_Free(stack);
  return ref;
}

/* An actor that will never run: its calls say why. */
static PyObject *stillborn(wrpy_state *st, const order *o, wr_id actor, PyObject *ref) {
  uint32_t epoch = wrpy_sess.epoch;
  wr_store32(&wrpy_sess.seg->actors[actor.idx & ~WR_ACTOR_BIT].cause, (uint32_t)o->cause);
  PyObject *killed = kill_actor(st, actor, 1);
  Py_XDECREF(killed);
  if (!killed) abandon(actor, epoch);
  return killed ? wrpy_handle_make(st, Py_NewRef(ref), o->methods, o->info) : NULL;
}

static PyObject *m_actor_create(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *spec, *pos, *kw;
  order o;
  if (!PyArg_ParseTuple(args, "O!O!O!", &PyDict_Type, &spec, &PyTuple_Type, &pos, &PyDict_Type,
                        &kw) ||
      wrpy_attached(st) || read_order(st, spec, &o))
    return NULL;
  uint32_t place = WR_TICKET_SHAPE(o.place);
  uint32_t flags = (o.is_async ? WR_AF_ASYNC : 0) | (o.detached ? WR_AF_DETACHED : 0) |
                   (o.name[0] ? WR_AF_NAMED : 0) | (o.any_order ? WR_AF_ANY_ORDER : 0);
  wr_actor_spec as = {.cls = o.cls.idx,
                      .max_concurrency = (uint32_t)o.concurrency,
                      .flags = flags,
                      .max_pending = (uint32_t)o.max_pending,
                      .max_restarts = (int32_t)o.restarts,
                      .pool = (uint16_t)wr_shape_at(wrpy_sess.seg, place)->pool,
                      .shape = (uint16_t)WR_TICKET_SHAPE(o.shape),
                      .meta = (uint64_t)o.meta.idx | (uint64_t)o.meta.gen << 32,
                      .name = o.name,
                      .ns = o.ns,
                      .cls_name = o.cls_name};
  wr_id actor;
  uint32_t epoch = wrpy_sess.epoch;
  int rc = WR_TICKET_ROUND(o.shape) == WR_TICKET_ROUND(o.place)
               ? wr_actor_create(wrpy_sess.client, &as, &actor)
               : WR_STALE; /* its creation would tell if both were old */
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "cannot create an actor");
  PyObject *ref = wrpy_ref_wrap(st, actor, WRPY_CREATOR);
  if (!ref) {
    abandon(actor, epoch);
    return NULL;
  }
  PyObject *creation = NULL, *handle = NULL;
  if (o.cause) {
    handle = stillborn(st, &o, actor, ref);
    Py_DECREF(ref);
    return handle;
  }
  if (!o.name[0] || claim_name(st, &o, actor) == 0)
    creation = submit_creation(st, &o, actor, epoch, pos, kw);
  if (creation) handle = wrpy_handle_make(st, Py_NewRef(ref), o.methods, o.info);
  if (!creation) abandon(actor, epoch);
  if (handle && !((wrpy_handle *)handle)->creation)
    ((wrpy_handle *)handle)->creation = creation; /* its error answers later calls */
  else
    Py_XDECREF(creation);
  Py_DECREF(ref);
  return handle;
}

/* ---- names and ends of actors --------------------------------------------------------------- */

static PyObject *m_get_actor(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *name, *ns;
  if (!PyArg_ParseTuple(args, "UU", &name, &ns) || wrpy_attached(st)) return NULL;
  wr_id id;
  int found = wrpy_name_get(st, ns, name, ACTOR_NAME, &id);
  if (found < 0) return NULL;
  if (!found) Py_RETURN_NONE;
  PyObject *ref = wrpy_ref_hold(st, id.idx | WR_ACTOR_BIT, id.gen);
  if (!ref && PyErr_ExceptionMatches(PyExc_MemoryError)) return NULL;
  if (!ref) { /* it died between the answer and now */
    PyErr_Clear();
    Py_RETURN_NONE;
  }
  PyObject *handle = wrpy_handle_of_ref(st, ref);
  Py_DECREF(ref);
  return handle;
}

static PyObject *m_named_actors(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_state *st = wrpy_state_of(module);
  if (wrpy_attached(st)) return NULL;
  wr_buf body = {0};
  wr_out_array(&body, 1);
  wr_out_nil(&body);
  PyObject *rows = wrpy_ask(st, WR_MSG_NAME_LIST, &body, "cannot list the actors' names");
  PyObject *list = rows ? PyList_New(0) : NULL;
  for (Py_ssize_t i = 0; list && i < PySequence_Size(rows); i++) {
    PyObject *row = PySequence_GetItem(rows, i);
    PyObject *ns = row ? PySequence_GetItem(row, 0) : NULL;
    PyObject *name = ns ? PySequence_GetItem(row, 1) : NULL;
    PyObject *pair = name ? PyTuple_Pack(2, name, ns) : NULL;
    if (!pair || PyList_Append(list, pair)) Py_CLEAR(list);
    Py_XDECREF(pair);
    Py_XDECREF(name);
    Py_XDECREF(ns);
    Py_XDECREF(row);
  }
  Py_XDECREF(rows);
  return list;
}

static PyObject *m_kill(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *handle;
  int no_restart;
  wr_id id;
  if (!PyArg_ParseTuple(args, "O!p", st->handle_type, &handle, &no_restart) || wrpy_attached(st))
    return NULL;
  wrpy_ref *ref = (wrpy_ref *)((wrpy_handle *)handle)->ref;
  if (!ref || ref->epoch != wrpy_sess.epoch) {
    wrpy_raise(st, "ActorHandleNotFoundError",
               "The actor handle belongs to another session: that session has been shut down.");
    return NULL;
  }
  id = ref->id;
  PyObject *answer = kill_actor(st, id, no_restart);
  if (!answer) return NULL;
  Py_DECREF(answer);
  Py_RETURN_NONE;
}

static PyObject *m_premap(PyObject *module, PyObject *arg) {
  long fd = PyLong_AsLong(arg);
  if (fd == -1 && PyErr_Occurred()) return NULL;
  int rc = wr_client_premap((int)fd);
  if (rc != WR_OK) return wrpy_fail_null(wrpy_state_of(module), rc, "cannot map the segment");
  Py_RETURN_NONE;
}

PyMethodDef wrpy_daemon_methods[] = {
    {"shape", m_shape, METH_VARARGS,
     "shape(resources, env, group=0, gen=0, bundle=0) -> ticket of that demand."},
    {"is_current", m_is_current, METH_O, "is_current(ticket) -> whether it may be used."},
    {"actor_create", m_actor_create, METH_VARARGS, "actor_create(spec, args, kwargs) -> handle."},
    {"get_actor", m_get_actor, METH_VARARGS, "get_actor(name, namespace) -> handle or None."},
    {"named_actors", m_named_actors, METH_NOARGS, "named_actors() -> [(name, namespace)]."},
    {"kill", m_kill, METH_VARARGS, "kill(handle, no_restart)."},
    {"premap", m_premap, METH_O, "premap(segment_fd): maps the segment for workers to inherit."},
    {NULL, NULL, 0, NULL},
};
