/* The worker's loop: takes jobs, runs them, stores what comes out.
 *
 * `handlers` is Python's side: load, construct, fill, dependency_failed, failed.  They are asked
 * when a function is met for the first time and when something goes wrong; a task that succeeds
 * runs through here alone. */
#include "os/title.h"
#include "pyext/module.h"

#define CACHE 64 /* functions remembered, by their index */

#define TITLE 128 /* bytes of one that `ps` shows */

typedef struct {
  wr_id id;
  PyObject *fn, *name;
  char title[TITLE]; /* `ray::f()`, `ray::Class.__init__` */
} cached_fn;

typedef struct wrpy_worker {
  wrpy_state *st;
  PyObject *load, *construct, *fill, *dependency_failed, *failed;
  PyObject *table;  /* methods of the actor that this process is, by number */
  PyObject *name;   /* display name of the actor */
  wrpy_job *job;    /* the one that runs, or an old one to be used again */
  unsigned long thread;
  int leave;        /* after the current job */
  int retire;       /* as an actor, for good */
  int serving;      /* Python takes the jobs */
  uint32_t jobs;    /* so far: every now and then something rare is looked after */
  wr_idx titled;    /* function whose name listings show, or OWN */
  uint32_t shown;   /* what `ps` shows: NOTHING, RESTING, OWN (a name of a task), or the number of a
                     * method or function */
  char rest[64];    /* what it shows at rest */
  char (*titles)[TITLE]; /* and while a method of the actor runs, by number; NULL: none */
  cached_fn cache[CACHE];
} wrpy_worker;

/* ---- jobs ----------------------------------------------------------------------------------- */

int wrpy_next_job(wr_job *out, int64_t timeout_ns) {
  int rc;
  WRPY_LEAVE
  rc = wr_work_next(wrpy_sess.client, out, timeout_ns);
  WRPY_ENTER
  return wrpy_sess.epoch ? rc : WR_CLOSED;
}

/* The Job object of the last task serves again unless somebody kept it. */
static wrpy_job *job_for(wrpy_worker *w, const wr_job *raw) {
  if (w->job && Py_REFCNT(w->job) == 1) {
    Py_CLEAR(w->job->fn);
    Py_CLEAR(w->job->name);
    wrpy_job_take(w->job, raw);
    return w->job;
  }
  Py_XSETREF(w->job, wrpy_job_new(w->st, raw));
  return w->job;
}

/* ---- titles ---------------------------------------------------------------------------------- */

#define NOTHING UINT32_MAX
#define RESTING (UINT32_MAX - 1)
#define OWN (UINT32_MAX - 2)

static void show(wrpy_worker *w, uint32_t number, const char *title) {
  if (WR_LIKELY(w->shown == number)) return;
  w->shown = number;
  wr_os_set_title(title);
}

static void at_rest(void *ctx) {
  wrpy_worker *w = ctx;
  show(w, RESTING, w->rest);
}

void wrpy_worker_rests_as(wrpy_state *st, const char *title) {
  if (!st->worker) return;
  PyOS_snprintf(st->worker->rest, sizeof st->worker->rest, "%s", title);
  st->worker->shown = NOTHING;
  at_rest(st->worker);
}

/* `ray::Class.method`, of all methods of the actor. */
static void make_titles(wrpy_worker *w) {
  Py_ssize_t n = PyList_GET_SIZE(w->table);
  w->titles = PyMem_Calloc((size_t)n + 1, sizeof *w->titles);
  for (Py_ssize_t i = 0; w->titles && i < n; i++) {
    PyObject *name = PyObject_GetAttrString(PyList_GET_ITEM(w->table, i), "__name__");
    const char *s = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    PyOS_snprintf(w->titles[i], sizeof *w->titles, s ? "%s.%s" : "%s", w->rest, s);
    Py_XDECREF(name);
    PyErr_Clear();
  }
}

/* The name that listings show, and what is said of its death. */
static void show_title(wrpy_worker *w, wr_idx fn, PyObject *name) {
  if (w->titled == fn) return;
  w->titled = fn;
  const char *text = name ? PyUnicode_AsUTF8(name) : "";
  wr_proc *me = &wrpy_sess.seg->procs[wr_client_slot(wrpy_sess.client)];
  if (text)
    PyOS_snprintf(me->title, sizeof me->title, "%s", text);
  else
    PyErr_Clear();
}

/* ---- functions ------------------------------------------------------------------------------ */

static int load_fn(wrpy_worker *w, wr_id id, int kind, cached_fn *c) {
  wr_view view;
  int rc = wr_value_view(wrpy_sess.client, id, &view);
  if (rc != WR_OK) return wrpy_fail(w->st, rc, "reading a function");
  show_title(w, 0, NULL); /* should loading end the process, another name would mislead */
  PyObject *pair = PyObject_CallFunction(w->load, "y#i", view.data, (Py_ssize_t)view.len, kind);
  if (!pair) return -1;
  if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2 ||
      !PyUnicode_Check(PyTuple_GET_ITEM(pair, 1))) {
    PyErr_SetString(PyExc_TypeError, "load() must return (object, name)");
    Py_DECREF(pair);
    return -1;
  }
  c->id = id;
  Py_XSETREF(c->fn, Py_NewRef(PyTuple_GET_ITEM(pair, 0)));
  Py_XSETREF(c->name, Py_NewRef(PyTuple_GET_ITEM(pair, 1)));
  const char *name = PyUnicode_AsUTF8(c->name);
  PyErr_Clear(); /* with lone surrogates it has none */
  PyOS_snprintf(c->title, sizeof c->title, "ray::%s%s", name ? name : "",
                kind == WRPY_TASK ? "()" : ".__init__");
  w->jobs = 0; /* it may have brought NumPy */
  Py_DECREF(pair);
  return 0;
}

/* A task that has a name of its own; the next one shows another. */
static void show_own(wrpy_worker *w, const wrpy_job *j) {
  char title[TITLE];
  const char *name = PyUnicode_AsUTF8(j->name);
  PyErr_Clear();
  w->titled = NOTHING;
  show_title(w, OWN, j->name);
  PyOS_snprintf(title, sizeof title, "ray::%s()", name ? name : "");
  w->shown = NOTHING;
  show(w, OWN, title);
}

/* Sets the job's fn and name. */
static int find_fn(wrpy_worker *w, wrpy_job *j) {
  wr_id id = {j->number, wrpy_gen_of(j->number)};
  cached_fn *c = &w->cache[(id.idx ^ id.idx >> 6) % CACHE];
  if ((c->id.idx != id.idx || c->id.gen != id.gen || !c->fn) && load_fn(w, id, j->kind, c))
    return -1;
  Py_XSETREF(j->fn, Py_NewRef(c->fn));
  if (WR_UNLIKELY(j->named)) {
    show_own(w, j);
    return 0;
  }
  Py_XSETREF(j->name, Py_NewRef(c->name));
  show_title(w, id.idx, c->name);
  show(w, id.idx, c->title);
  return 0;
}

/* ---- failures ------------------------------------------------------------------------------- */

/* Leaves the job to the sweep, which treats this process as crashed. */
static int abandon(wrpy_job *j) {
  j->open = 0;
  return -1;
}

static int store_error(wrpy_worker *w, wrpy_job *j, PyObject *err) {
  if (!err) return abandon(j);
  int rc = 0;
  if (err != Py_None) rc = wrpy_job_finish(w->st, j, err, 1);
  Py_DECREF(err);
  return rc ? abandon(j) : 0;
}

/* Python decides about the exception that is set: an error value, a retry, or the end. */
static int failed(wrpy_worker *w, wrpy_job *j) {
  PyObject *exc = wrpy_take_exception();
  PyObject *err = PyObject_CallFunctionObjArgs(w->failed, (PyObject *)j, exc, NULL);
  Py_XDECREF(exc);
  return store_error(w, j, err);
}

/* 1: an argument is an error, or has been lost and is being made again; the job is done with. */
static int bad_argument(wrpy_worker *w, wrpy_job *j) {
  int away;
  if (!j->job.ndeps) return 0;
  PyObject *bad = wrpy_job_bad_argument(w->st, j, &away);
  if (WR_UNLIKELY(away && !bad && j->kind == WRPY_TASK)) {
    int rc = wrpy_job_bring_arguments(w->st, j);
    if (rc) return rc < 0 && failed(w, j) ? -1 : 1;
    bad = wrpy_job_bad_argument(w->st, j, &away);
  }
  if (!bad) return PyErr_Occurred() ? (failed(w, j) ? -1 : 1) : 0;
  PyObject *err = PyObject_CallFunctionObjArgs(w->dependency_failed, (PyObject *)j, bad, NULL);
  Py_DECREF(bad);
  return (err ? store_error(w, j, err) : failed(w, j)) ? -1 : 1;
}

/* ---- running -------------------------------------------------------------------------------- */

/* Several returns, or a generator that stands for one: Python stores them one by one. */
static int finish_several(wrpy_worker *w, wrpy_job *j, PyObject *result) {
  PyObject *done = PyObject_CallFunctionObjArgs(w->fill, (PyObject *)j, result, NULL);
  Py_XDECREF(done);
  return done ? wrpy_job_finish(w->st, j, Py_None, 0) : -1;
}

/* The items come out of a generator, or of what its loop has left of one. */
static int finish_stream(wrpy_state *st, wrpy_job *j, PyObject *result) {
  int rc = -1;
  if (PyIter_Check(result))
    rc = wrpy_job_yield_all(st, j, result);
  else
    PyErr_SetString(PyExc_ValueError,
                    "Functions with num_returns=\"streaming\" must return a generator");
  Py_DECREF(result);
  return rc ? -1 : wrpy_job_finish(st, j, Py_None, 0);
}

int wrpy_job_answer(wrpy_state *st, wrpy_job *j, PyObject *result) {
  if (WR_UNLIKELY(j->leaves)) { /* its body has caught what exit_actor() raises */
    Py_DECREF(result);
    PyErr_SetNone(PyExc_SystemExit);
    return -1;
  }
  if (WR_UNLIKELY(wrpy_job_streams(j))) return finish_stream(st, j, result);
  int yields = wrpy_is_generator(result) || j->flags & WR_TF_DYNAMIC;
  int several = j->nreturns > 1 || (WR_UNLIKELY(yields) && j->nreturns);
  int rc = several ? finish_several(st->worker, j, result) : wrpy_job_finish(st, j, result, 0);
  Py_DECREF(result);
  if (WR_UNLIKELY(rc)) j->returned = 1;
  return rc;
}

static int finish(wrpy_worker *w, wrpy_job *j, PyObject *result) {
  if (WR_LIKELY(!wrpy_job_answer(w->st, j, result))) return 0;
  return j->open ? failed(w, j) : abandon(j);
}

static int run_task(wrpy_worker *w, wrpy_job *j) {
  PyObject *result = wrpy_job_call(w->st, j, j->fn);
  return result ? finish(w, j, result) : failed(w, j);
}

static int run_call(wrpy_worker *w, wrpy_job *j) {
  if (WR_LIKELY(!j->named)) Py_XSETREF(j->name, Py_XNewRef(w->name));
  if (w->titles && j->number < (size_t)PyList_GET_SIZE(w->table))
    show(w, j->number, w->titles[j->number]);
  PyObject *result = wrpy_job_call_method(w->st, j, w->table);
  return result ? finish(w, j, result) : failed(w, j);
}

/* The instance exists: this process is the actor from now on. */
static int come_up(wrpy_worker *w, wrpy_job *j) {
  Py_XSETREF(w->name, Py_NewRef(j->name));
  int rc = wr_work_actor_up(wrpy_sess.client, &j->job, 1);
  if (rc != WR_OK) {
    wrpy_fail(w->st, rc, "starting an actor");
    return abandon(j);
  }
  return wrpy_job_finish(w->st, j, Py_None, 0) ? abandon(j) : 0;
}

/* Serves what `construct` has made; an actor whose loop runs on has come up by itself. */
static int become(wrpy_worker *w, wrpy_job *j, PyObject *table) {
  if (!w->serving && come_up(w, j)) return -1;
  if (PyList_Check(table)) {
    Py_XSETREF(w->table, Py_NewRef(table));
    make_titles(w);
    return 0;
  }
  w->serving = w->leave = 1;
  wr_work_at_rest(wrpy_sess.client, NULL, NULL); /* its threads or its loop wait for calls */
  PyObject *done = PyObject_CallNoArgs(table);
  Py_XDECREF(done);
  return done ? 0 : -1;
}

static int run_creation(wrpy_worker *w, wrpy_job *j) {
  PyObject *args, *kwargs, *table = NULL;
  if (wrpy_job_args_objects(w->st, j, &args, &kwargs) == 0) {
    table = PyObject_CallFunctionObjArgs(w->construct, (PyObject *)j, j->fn, args, kwargs, NULL);
    Py_DECREF(args);
    Py_DECREF(kwargs);
  }
  if (!table) return w->serving ? -1 : failed(w, j);
  int rc = become(w, j, table);
  Py_DECREF(table);
  return rc;
}

/* An actor that did not come up: the error is stored first, so that its callers find it.  The
 * process ends, and with it the actor. */
static void creation_failed(wrpy_worker *w, const wr_job *raw) {
  if (w->table || w->serving || !wrpy_sess.epoch) return;
  wr_work_actor_up(wrpy_sess.client, raw, 0);
  w->leave = 1;
}

static int run(wrpy_worker *w, const wr_job *raw) {
  wrpy_job *j = job_for(w, raw);
  if (!j) return -1;
  Py_INCREF(j);
  int rc = j->kind == WRPY_CALL ? 0 : find_fn(w, j);
  if (rc == 0 && (w->jobs++ & 15) == 0) rc = wrpy_born_install();
  if (rc)
    rc = failed(w, j);
  else if ((rc = bad_argument(w, j)) == 0)
    rc = j->kind == WRPY_TASK  ? run_task(w, j)
         : j->kind == WRPY_CALL ? run_call(w, j)
                                : run_creation(w, j);
  if (j->kind == WRPY_CREATION && rc >= 0) creation_failed(w, raw);
  Py_DECREF(j);
  return rc < 0 ? -1 : 0;
}

/* Work that is there is taken without letting go of the interpreter; now and then other threads get
 * it even beside functions that never leave C. */
static int take(wrpy_worker *w, wr_job *raw) {
  int rc = w->jobs % 64 && wrpy_sess.epoch ? wr_work_try(wrpy_sess.client, raw) : WR_AGAIN;
  return rc == WR_AGAIN ? wrpy_next_job(raw, WRPY_IDLE_NS) : rc;
}

static int loop(wrpy_worker *w) {
  while (!w->leave) {
    wr_job raw;
    int rc = take(w, &raw);
    if (rc == WR_OK) {
      if (run(w, &raw)) return -1;
    } else if (rc == WR_DEAD || rc == WR_CLOSED) {
      return 0;
    } else if (rc != WR_TIMEOUT && rc != WR_INTR && rc != WR_AGAIN) {
      return wrpy_fail(w->st, rc, "waiting for work");
    } else if (PyErr_CheckSignals()) {
      return -1;
    }
  }
  return 0;
}

/* ---- the loop's life ------------------------------------------------------------------------ */

static void worker_clear(wrpy_worker *w) {
  Py_CLEAR(w->load);
  Py_CLEAR(w->construct);
  Py_CLEAR(w->fill);
  Py_CLEAR(w->dependency_failed);
  Py_CLEAR(w->failed);
  Py_CLEAR(w->table);
  PyMem_Free(w->titles);
  Py_CLEAR(w->name);
  Py_CLEAR(w->job);
  for (int i = 0; i < CACHE; i++) {
    Py_CLEAR(w->cache[i].fn);
    Py_CLEAR(w->cache[i].name);
  }
}

static int worker_init(wrpy_worker *w, PyObject *handlers) {
  struct {
    PyObject **slot;
    const char *name;
  } wanted[] = {{&w->load, "load"},
                {&w->construct, "construct"},
                {&w->fill, "fill"},
                {&w->dependency_failed, "dependency_failed"},
                {&w->failed, "failed"}};
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
    if (!(*wanted[i].slot = PyObject_GetAttrString(handlers, wanted[i].name))) return -1;
  return 0;
}

static PyObject *m_worker_loop(PyObject *module, PyObject *handlers) {
  wrpy_state *st = wrpy_state_of(module);
  if (wrpy_attached(st)) return NULL;
  if (st->worker) {
    PyErr_SetString(PyExc_RuntimeError, "the worker loop runs already");
    return NULL;
  }
  wrpy_worker *w = PyMem_Calloc(1, sizeof *w);
  if (!w) return PyErr_NoMemory();
  w->st = st;
  w->thread = PyThread_get_thread_ident();
  st->worker = w;
  int rc = worker_init(w, handlers);
  wrpy_worker_rests_as(st, "ray::IDLE");
  wr_work_at_rest(wrpy_sess.client, at_rest, w);
  if (rc == 0) rc = loop(w);
  if (wrpy_sess.client) wr_work_at_rest(wrpy_sess.client, NULL, NULL);
  if (w->retire && wrpy_sess.epoch) wr_work_actor_exit(wrpy_sess.client);
  st->worker = NULL;
  PyObject *type, *exc, *tb;
  PyErr_Fetch(&type, &exc, &tb);
  worker_clear(w);
  PyMem_Free(w);
  PyErr_Restore(type, exc, tb);
  if (rc) return NULL;
  Py_RETURN_NONE;
}

/* ---- asked by Python ------------------------------------------------------------------------- */

/* From within the loop of an async actor, which goes on to serve the calls. */
static PyObject *m_actor_up(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_state *st = wrpy_state_of(module);
  wrpy_worker *w = st->worker;
  if (wrpy_attached(st)) return NULL;
  if (!w || !w->job || w->job->kind != WRPY_CREATION || w->serving) {
    PyErr_SetString(PyExc_RuntimeError, "no actor is being created here");
    return NULL;
  }
  w->serving = 1;
  return come_up(w, w->job) ? NULL : Py_NewRef(Py_None);
}

static PyObject *m_limit_streams(PyObject *module, PyObject *n) {
  unsigned long room = PyLong_AsUnsignedLong(n);
  if (PyErr_Occurred() || wrpy_attached(wrpy_state_of(module))) return NULL;
  wr_pace_limit(wrpy_sess.client, room > UINT32_MAX ? UINT32_MAX : (uint32_t)room);
  Py_RETURN_NONE;
}

static PyObject *m_quit_soon(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_worker *w = wrpy_state_of(module)->worker;
  if (w) w->leave = 1;
  Py_RETURN_NONE;
}

/* Coroutines say in a context variable which job they run, threads of an actor in their own dict;
 * the loop's thread need not.  A new reference; NULL without an exception: none. */
static PyObject *served_here(wrpy_state *st) {
  PyObject *job = NULL, *thread = PyThreadState_GetDict();
  if (PyContextVar_Get(st->job_context, NULL, &job) == 0 && job) return job;
  if (thread) job = PyDict_GetItemWithError(thread, st->s_job);
  return Py_XNewRef(job);
}

static wrpy_job *current_job(wrpy_state *st) {
  wrpy_worker *w = st->worker;
  if (!w) return NULL;
  PyObject *job = w->serving ? served_here(st) : NULL;
  if (job && Py_IS_TYPE(job, st->job_type)) return (wrpy_job *)job;
  Py_XDECREF(job);
  PyErr_Clear();
  if (w->job && w->job->open && w->thread == PyThread_get_thread_ident())
    return (wrpy_job *)Py_NewRef((PyObject *)w->job);
  return NULL;
}

static PyObject *m_actor_exit(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_state *st = wrpy_state_of(module);
  wrpy_worker *w = st->worker;
  if (wrpy_attached(st)) return NULL;
  wrpy_job *job = current_job(st);
  if (job) job->leaves = 1;
  Py_XDECREF((PyObject *)job);
  if (w) w->leave = 1;
  if (w && !w->serving)
    w->retire = 1; /* the running call still has to be answered */
  else
    wr_work_actor_exit(wrpy_sess.client);
  Py_RETURN_NONE;
}

static PyObject *m_current_job(PyObject *module, PyObject *unused) {
  (void)unused;
  PyObject *job = (PyObject *)current_job(wrpy_state_of(module));
  return job ? job : Py_NewRef(Py_None);
}

static PyObject *m_running_job(PyObject *module, PyObject *unused) {
  (void)unused;
  const wrpy_worker *w = wrpy_state_of(module)->worker;
  int runs = w && !w->serving && w->job && w->job->open;
  return Py_NewRef(runs ? (PyObject *)w->job : Py_None);
}

wr_id wrpy_parent(wrpy_state *st) {
  wr_id id = {0, 0};
  wrpy_job *job = WR_LIKELY(!st->worker) ? NULL : current_job(st);
  if (job && job->open) id = (wr_id){job->job.idx, job->job.gen};
  Py_XDECREF((PyObject *)job);
  return id;
}

PyMethodDef wrpy_worker_methods[] = {
    {"worker_loop", m_worker_loop, METH_O, "worker_loop(handlers): runs jobs until told to leave."},
    {"actor_exit", m_actor_exit, METH_NOARGS, "This actor leaves for good."},
    {"actor_up", m_actor_up, METH_NOARGS,
     "The actor has been constructed: its callers may call, this process takes their calls."},
    {"limit_streams", m_limit_streams, METH_O,
     "limit_streams(n): methods that yield wait while n of their items are unread, all together."},
    {"quit_soon", m_quit_soon, METH_NOARGS, "Leaves worker_loop after the current job."},
    {"running_job", m_running_job, METH_NOARGS,
     "The job that this worker runs, whichever thread asks; None in an actor with threads."},
    {"current_job", m_current_job, METH_NOARGS,
     "The Job that the calling thread or coroutine runs, or None."},
    {NULL, NULL, 0, NULL},
};
