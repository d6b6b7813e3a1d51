/* The calls of an actor with coroutines, on its event loop.
 *
 * Each is stepped once where it is taken, as a Task of its own; one that never waits is answered at
 * once and costs no round through the loop.  Python hears of those that wait and of failures. */
#include "pyext/module.h"

/* What serves the calls of one actor; all borrowed from the arguments. */
typedef struct {
  wrpy_state *st;
  PyObject *methods;   /* list of callables by method number */
  PyObject *task_type; /* asyncio.Task */
  PyObject *loop;      /* attributes of the loop, which runs; call_soon is among them */
  PyObject *options;   /* keywords for each Task; its context is added */
  PyObject *awaiting;  /* makes a coroutine of another awaitable or of items */
  PyObject *waits;     /* waits(job, task): the call waits for something; true: go on */
  PyObject *failed;    /* failed(job, error) */
} server;
enum { SERVER_ARGS = 7 };

/* ---- a Task ---------------------------------------------------------------------------------
 *
 * A Task asks its loop to call its first step soon, and then takes its place among all tasks of
 * asyncio, in a WeakSet, which costs as much as the rest.  So it is stopped before that: one that
 * has to wait gets the place afterwards (see serve_async.py); stepping() stands in until then.
 *
 * Loops may run in several threads, one for each concurrency group. */

static _Thread_local PyObject *first_step; /* of the Task that is being made; owned */
static _Thread_local PyObject *stepping;   /* the Task that takes its first step; borrowed */

/* Stands in for loop.call_soon while a Task is made: keeps its first step, and stops it there. */
static PyObject *m_catch_step(PyObject *module, PyObject *const *args, Py_ssize_t n,
                              PyObject *kwnames) {
  (void)kwnames; /* context=..., which is the current one */
  (void)module;
  if (n == 1) Py_XSETREF(first_step, Py_NewRef(args[0]));
  PyErr_SetNone(PyExc_StopIteration);
  return NULL;
}

static PyObject *m_stepping(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return Py_NewRef(stepping ? stepping : Py_None);
}

/* No garbage is collected while a Task is made, in whichever thread. */
static void hold_garbage(wrpy_state *st) {
  if (st->making++ == 0) st->collects = PyGC_Disable();
}

static void let_garbage(wrpy_state *st) {
  if (--st->making == 0 && st->collects) PyGC_Enable();
}

/* Initialises the task as far as call_soon: 0, its first step is in first_step; -1, an exception.
 * Nothing else may call call_soon of this loop meanwhile: no finalizer may run. */
static int init_task(const server *s, PyObject *task, PyObject *coro, PyObject *call_soon) {
  wrpy_state *st = s->st;
  PyObject *args = PyTuple_Pack(1, coro);
  if (!args || PyDict_SetItem(s->loop, st->s_call_soon, st->catch_step)) {
    Py_XDECREF(args);
    return -1;
  }
  hold_garbage(st);
  (void)Py_TYPE(task)->tp_init(task, args, s->options);
  let_garbage(st);
  Py_DECREF(args);
  PyObject *exc = first_step ? NULL : wrpy_take_exception();
  PyErr_Clear();
  int rc = PyDict_SetItem(s->loop, st->s_call_soon, call_soon);
  if (exc) wrpy_give_exception(exc);
  return exc ? -1 : rc;
}

/* A Task of its own, in the context that is the current one. */
static PyObject *make_task(const server *s, PyObject *context, PyObject *coro) {
  wrpy_state *st = s->st;
  PyTypeObject *type = (PyTypeObject *)s->task_type;
  PyObject *call_soon = PyObject_GetItem(s->loop, st->s_call_soon), *task = NULL;
  if (call_soon && PyDict_SetItem(s->options, st->s_context, context) == 0)
    task = type->tp_new(type, st->no_args, NULL);
  if (task && init_task(s, task, coro, call_soon)) Py_CLEAR(task);
  if (PyDict_SetItem(s->options, st->s_context, Py_None)) Py_CLEAR(task);
  if (!task) Py_CLEAR(first_step);
  Py_XDECREF(call_soon);
  return task;
}

/* What the step raises beyond the loop's care is stored in the task as well. */
static int take_step(PyObject *task) {
  PyObject *step = first_step, *outer = stepping; /* a loop may be run inside of a step */
  first_step = NULL;
  stepping = task;
  PyObject *done = PyObject_CallNoArgs(step);
  stepping = outer;
  Py_DECREF(step);
  if (!done && (PyErr_ExceptionMatches(PyExc_SystemExit) ||
                PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)))
    PyErr_Clear();
  Py_XDECREF(done);
  return PyErr_Occurred() ? -1 : 0;
}

/* ---- a call --------------------------------------------------------------------------------- */

static int is_awaitable(const wrpy_state *st, PyObject *v) {
  const PyAsyncMethods *async = Py_TYPE(v)->tp_as_async;
  return async && async->am_await && !wrpy_is_ref(st, v);
}

/* Calls the job's method.  *waitable: the result has to be awaited; it is a coroutine then. */
static PyObject *call_method(const server *s, wrpy_job *j, int *waitable) {
  wrpy_state *st = s->st;
  PyObject *fn = wrpy_job_check(st, j) ? NULL : wrpy_job_method(j, s->methods);
  PyObject *result = fn ? wrpy_job_call(st, j, fn) : NULL;
  Py_XDECREF(fn);
  if (!result) return NULL;
  *waitable = PyCoro_CheckExact(result);
  if (WR_LIKELY(*waitable)) return result;
  int items = PyAsyncGen_CheckExact(result) && (j->flags & (WR_TF_STREAM | WR_TF_DYNAMIC));
  *waitable = items || is_awaitable(st, result);
  if (*waitable) Py_SETREF(result, PyObject_CallOneArg(s->awaiting, result));
  return result;
}

/* The result of the coroutine, which it takes over, if its first step is its last.  NULL without an
 * exception: it waits for something, as *task. */
static PyObject *step_coroutine(const server *s, PyObject *context, PyObject *coro,
                                PyObject **task) {
  wrpy_state *st = s->st;
  PyObject *made = make_task(s, context, coro);
  Py_DECREF(coro);
  if (!made || take_step(made)) {
    Py_XDECREF(made);
    return NULL;
  }
  PyObject *done = PyObject_CallMethodNoArgs(made, st->s_done);
  Py_XDECREF(done); /* one of the two bools */
  if (done == Py_False) {
    *task = made;
    return NULL;
  }
  PyObject *result = done ? PyObject_CallMethodNoArgs(made, st->s_result) : NULL;
  Py_DECREF(made);
  return result;
}

/* As far as the call comes at once: 0, it is answered, or waits as *task; -1 with an exception. */
static int start_in(const server *s, PyObject *context, wrpy_job *j, PyObject **task) {
  PyObject *token = PyContextVar_Set(s->st->job_context, (PyObject *)j);
  if (!token) return -1;
  Py_DECREF(token);
  int waitable = 0;
  PyObject *result = call_method(s, j, &waitable);
  if (result && waitable) result = step_coroutine(s, context, result, task);
  if (result) return wrpy_job_answer(s->st, j, result);
  return *task ? 0 : -1;
}

static int start(const server *s, wrpy_job *j, PyObject **task) {
  PyObject *context = PyContext_CopyCurrent();
  if (!context || PyContext_Enter(context)) {
    Py_XDECREF(context);
    return -1;
  }
  int rc = start_in(s, context, j, task);
  PyObject *exc = rc ? wrpy_take_exception() : NULL;
  if (PyContext_Exit(context)) rc = -1;
  if (exc) wrpy_give_exception(exc);
  Py_DECREF(context);
  return rc;
}

/* 1: go on with the next call; 0: look around before, since one has failed, perhaps to leave, or
 * there is no room for more that wait; -1 with an exception. */
static int serve(const server *s, wrpy_job *j) {
  PyObject *task = NULL;
  if (start(s, j, &task)) return wrpy_job_failed(s->failed, j) ? -1 : 0;
  if (WR_LIKELY(!task)) return 1;
  PyObject *heard = PyObject_CallFunctionObjArgs(s->waits, (PyObject *)j, task, NULL);
  int go_on = heard ? PyObject_IsTrue(heard) : -1;
  Py_DECREF(task);
  Py_XDECREF(heard);
  return go_on;
}

/* ---- asked by Python ------------------------------------------------------------------------- */

static int server_of(server *s, wrpy_state *st, PyObject *const *args, Py_ssize_t n) {
  if (n != SERVER_ARGS || !PyList_Check(args[0]) || !PyType_Check(args[1]) ||
      !PyDict_Check(args[2]) || !PyDict_Check(args[3])) {
    PyErr_SetString(PyExc_TypeError, "expected what serves an actor's calls");
    return -1;
  }
  *s = (server){st, args[0], args[1], args[2], args[3], args[4], args[5], args[6]};
  return 0;
}

/* Takes a call: WR_OK, why none came, or -1 with an exception; *room as serve() returns it. */
static int serve_next(const server *s, int *room) {
  wr_job raw;
  int rc = wrpy_sess.epoch ? wr_work_try(wrpy_sess.client, &raw) : WR_CLOSED;
  if (rc != WR_OK) return rc;
  wrpy_job *j = wrpy_job_new(s->st, &raw);
  *room = j ? serve(s, j) : -1;
  Py_XDECREF((PyObject *)j);
  return WR_OK;
}

static PyObject *m_step_jobs(PyObject *module, PyObject *const *args, Py_ssize_t n) {
  wrpy_state *st = wrpy_state_of(module);
  server s;
  long most = n ? PyLong_AsLong(args[0]) : 0, taken = 0;
  if ((most == -1 && PyErr_Occurred()) || server_of(&s, st, args + 1, n - 1)) return NULL;
  int room = 1;
  while (room > 0 && taken < most) {
    int rc = serve_next(&s, &room);
    if (rc == WR_AGAIN) break;
    if (rc != WR_OK) return wrpy_no_job(st, rc);
    taken++;
  }
  return room < 0 ? NULL : PyLong_FromLong(taken);
}

static PyObject *m_step_job(PyObject *module, PyObject *const *args, Py_ssize_t n) {
  wrpy_state *st = wrpy_state_of(module);
  server s;
  if (!n || !Py_IS_TYPE(args[0], st->job_type)) {
    PyErr_SetString(PyExc_TypeError, "expected a Job");
    return NULL;
  }
  if (server_of(&s, st, args + 1, n - 1) || serve(&s, (wrpy_job *)args[0]) < 0) return NULL;
  Py_RETURN_NONE;
}

PyMethodDef wrpy_coroutine_methods[] = {
    {"step_jobs", WRPY_FASTCALL(m_step_jobs), METH_FASTCALL,
     "step_jobs(most, methods, Task, loop's attributes, options, awaiting, waits, failed): "
     "takes as many calls at most; how many there were."},
    {"step_job", WRPY_FASTCALL(m_step_job), METH_FASTCALL,
     "step_job(job, ...as step_jobs): one call."},
    {"stepping", m_stepping, METH_NOARGS,
     "The Task that takes its first step in this thread, or None."},
    {"_catch_step", WRPY_FASTCALL(m_catch_step), METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};
