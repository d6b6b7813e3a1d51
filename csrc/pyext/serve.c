/* Jobs that Python takes and runs itself: in the threads of an actor, or as coroutines on its loop.
 *
 * Each runs through one call from here, run_job() or step_job(), as long as nothing goes wrong. */
#include "pyext/module.h"

static PyObject *no_job(wrpy_state *st, int rc) {
  if (rc == WR_DEAD)
    PyErr_SetString(PyExc_EOFError, "this actor has retired");
  else if (rc == WR_CLOSED)
    PyErr_SetString(PyExc_ConnectionError, "the session has ended");
  else if (rc != WR_TIMEOUT && rc != WR_INTR && rc != WR_AGAIN)
    wrpy_fail(st, rc, "waiting for work");
  else if (!PyErr_CheckSignals())
    Py_RETURN_NONE;
  return NULL;
}

static PyObject *m_next_job(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *timeout = Py_None;
  int64_t deadline;
  if (!PyArg_ParseTuple(args, "|O", &timeout) || wrpy_deadline(timeout, &deadline)) return NULL;
  wr_job raw;
  int rc;
  if (deadline == 0) { /* keeps the GIL: a thread that wants it would cost a switch each time */
    rc = wrpy_sess.epoch ? wr_work_try(wrpy_sess.client, &raw) : WR_CLOSED;
    return rc == WR_OK ? (PyObject *)wrpy_job_new(st, &raw) : no_job(st, rc);
  }
  do {
    rc = wrpy_sess.epoch ? wrpy_next_job(&raw, wrpy_slice(deadline)) : WR_CLOSED;
  } while (rc == WR_TIMEOUT && wrpy_slice(deadline) > 0 && !PyErr_CheckSignals());
  if (PyErr_Occurred()) return NULL;
  return rc == WR_OK ? (PyObject *)wrpy_job_new(st, &raw) : no_job(st, rc);
}

static PyObject *m_finish_job(PyObject *module, PyObject *args, PyObject *kwargs) {
  static char *names[] = {"job", "value", "is_error", NULL};
  wrpy_state *st = wrpy_state_of(module);
  PyObject *job, *value;
  int is_error = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O|p", names, st->job_type, &job, &value,
                                   &is_error))
    return NULL;
  if (wrpy_job_finish(st, (wrpy_job *)job, value, is_error)) return NULL;
  Py_RETURN_NONE;
}

static PyObject *m_answer_job(PyObject *module, PyObject *const *args, Py_ssize_t n) {
  wrpy_state *st = wrpy_state_of(module);
  if (n != 2 || !Py_IS_TYPE(args[0], st->job_type)) {
    PyErr_SetString(PyExc_TypeError, "expected a Job and what its function returned");
    return NULL;
  }
  if (wrpy_job_answer(st, (wrpy_job *)args[0], Py_NewRef(args[1]))) return NULL;
  Py_RETURN_NONE;
}

/* ---- running -------------------------------------------------------------------------------- */

static wrpy_job *job_arg(wrpy_state *st, PyObject *v, PyObject *table) {
  if (Py_IS_TYPE(v, st->job_type) && PyList_Check(table)) return (wrpy_job *)v;
  PyErr_SetString(PyExc_TypeError, "expected a Job and the list of the actor's methods");
  return NULL;
}

/* Takes the context variable back, and over the token; an exception that is set stays. */
static int reset(wrpy_state *st, PyObject *token) {
  PyObject *type, *exc, *tb;
  PyErr_Fetch(&type, &exc, &tb);
  int rc = PyContextVar_Reset(st->job_context, token);
  Py_DECREF(token);
  if (type) PyErr_Restore(type, exc, tb);
  return rc;
}

/* run_job(job, methods): in the calling thread, to its end. */
static PyObject *m_run_job(PyObject *module, PyObject *const *args, Py_ssize_t n) {
  wrpy_state *st = wrpy_state_of(module);
  wrpy_job *j = n == 2 ? job_arg(st, args[0], args[1]) : NULL;
  PyObject *token = j ? PyContextVar_Set(st->job_context, args[0]) : NULL;
  if (!token) return NULL;
  PyObject *result = wrpy_job_check(st, j) ? NULL : wrpy_job_call_method(st, j, args[1]);
  int rc = result ? wrpy_job_answer(st, j, result) : -1;
  if (reset(st, token)) rc = -1;
  if (rc) return NULL;
  Py_RETURN_NONE;
}

/* ---- coroutines ----------------------------------------------------------------------------- */

/* Stands in for loop.call_soon while a Task is made, whose first step it keeps. */
static PyObject *m_catch_step(PyObject *module, PyObject *const *args, Py_ssize_t n,
                              PyObject *kwnames) {
  wrpy_state *st = wrpy_state_of(module);
  if (n != 1 || !kwnames || PyTuple_GET_SIZE(kwnames) != 1) {
    PyErr_SetString(PyExc_TypeError, "expected call_soon(step, context=...)");
    return NULL;
  }
  Py_XSETREF(st->step, Py_NewRef(args[0]));
  Py_XSETREF(st->step_context, Py_NewRef(args[1]));
  Py_RETURN_NONE;
}

static PyObject *make_task(wrpy_state *st, PyObject *loop, PyObject *task_type, PyObject *coro) {
  PyObject *args[] = {coro, loop};
  if (PyObject_SetAttr(loop, st->s_call_soon, st->catch_step)) return NULL;
  PyObject *task = PyObject_Vectorcall(task_type, args, 1, st->loop_keyword);
  PyObject *type, *exc, *tb;
  PyErr_Fetch(&type, &exc, &tb);
  if (PyObject_SetAttr(loop, st->s_call_soon, NULL)) Py_CLEAR(task);
  if (exc || type) PyErr_Restore(type, exc, tb);
  return task;
}

/* What the step raises beyond the loop's care is stored in the task as well. */
static int take_step(wrpy_state *st) {
  PyObject *step = st->step, *context = st->step_context;
  st->step = st->step_context = NULL;
  if (!step || !context || PyContext_Enter(context)) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, "the Task has not called call_soon");
    Py_XDECREF(step);
    Py_XDECREF(context);
    return -1;
  }
  PyObject *done = PyObject_CallNoArgs(step);
  if (!done && (PyErr_ExceptionMatches(PyExc_SystemExit) ||
                PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)))
    PyErr_Clear();
  int rc = PyErr_Occurred() ? -1 : 0;
  if (PyContext_Exit(context)) rc = -1;
  Py_XDECREF(done);
  Py_DECREF(step);
  Py_DECREF(context);
  return rc;
}

/* The coroutine, which it takes over, as a Task that has taken its first step; None when that was
 * all and the job is answered. */
static PyObject *step_coroutine(wrpy_state *st, wrpy_job *j, PyObject *loop, PyObject *task_type,
                                PyObject *coro) {
  PyObject *task = make_task(st, loop, task_type, coro);
  Py_DECREF(coro);
  if (!task || take_step(st)) {
    Py_XDECREF(task);
    return NULL;
  }
  PyObject *done = PyObject_CallMethodNoArgs(task, st->s_done);
  Py_XDECREF(done); /* one of the two bools */
  if (done == Py_False) return task;
  PyObject *result = done ? PyObject_CallMethodNoArgs(task, st->s_result) : NULL;
  Py_DECREF(task);
  if (!result || wrpy_job_answer(st, j, result)) return NULL;
  Py_RETURN_NONE;
}

static int is_awaitable(const wrpy_state *st, PyObject *v) {
  const PyAsyncMethods *async = Py_TYPE(v)->tp_as_async;
  return async && async->am_await && !wrpy_is_ref(st, v);
}

static PyObject *step(wrpy_state *st, wrpy_job *j, PyObject *const *args) {
  PyObject *loop = args[2], *task_type = args[3], *awaiting = args[4];
  PyObject *fn = wrpy_job_check(st, j) ? NULL : wrpy_job_method(j, args[1]);
  PyObject *result = fn ? wrpy_job_call(st, j, fn) : NULL;
  Py_XDECREF(fn);
  if (result && !PyCoro_CheckExact(result)) {
    int items = PyAsyncGen_CheckExact(result) && (j->flags & (WR_TF_STREAM | WR_TF_DYNAMIC));
    if (!items && !is_awaitable(st, result)) {
      if (wrpy_job_answer(st, j, result)) return NULL;
      Py_RETURN_NONE;
    }
    Py_SETREF(result, PyObject_CallOneArg(awaiting, result));
  }
  return result ? step_coroutine(st, j, loop, task_type, result) : NULL;
}

/* step_job(job, methods, loop, Task, awaiting): its call; None when it is answered, else the Task
 * that waits for something.  `awaiting` makes a coroutine of another awaitable or of items. */
static PyObject *m_step_job(PyObject *module, PyObject *const *args, Py_ssize_t n) {
  wrpy_state *st = wrpy_state_of(module);
  wrpy_job *j = n == 5 ? job_arg(st, args[0], args[1]) : NULL;
  PyObject *token = j ? PyContextVar_Set(st->job_context, args[0]) : NULL;
  if (!token) return NULL;
  PyObject *task = step(st, j, args);
  if (reset(st, token)) Py_CLEAR(task);
  return task;
}

PyMethodDef wrpy_serve_methods[] = {
    {"next_job", m_next_job, METH_VARARGS, "next_job(timeout=None) -> Job | None."},
    {"run_job", WRPY_FASTCALL(m_run_job), METH_FASTCALL,
     "run_job(job, methods): calls, and stores the result; what it raises leaves the job open."},
    {"step_job", WRPY_FASTCALL(m_step_job), METH_FASTCALL,
     "step_job(job, methods, loop, Task, awaiting) -> Task | None: None: answered."},
    {"answer_job", WRPY_FASTCALL(m_answer_job), METH_FASTCALL,
     "answer_job(job, result): stores what its function returned; raising leaves the job open."},
    {"_catch_step", WRPY_FASTCALL(m_catch_step), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"finish_job", WRPY_FASTCALL(m_finish_job), METH_VARARGS | METH_KEYWORDS,
     "finish_job(job, value, is_error=False): stores the result."},
    {NULL, NULL, 0, NULL},
};
