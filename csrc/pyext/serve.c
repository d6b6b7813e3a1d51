/* Jobs that Python takes and runs itself: in the threads of an actor; see coroutines.c as well. */
#include "pyext/module.h"

PyObject *wrpy_no_job(wrpy_state *st, int rc) {
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
    return rc == WR_OK ? (PyObject *)wrpy_job_new(st, &raw) : wrpy_no_job(st, rc);
  }
  do {
    rc = wrpy_sess.epoch ? wrpy_next_job(&raw, wrpy_slice(deadline)) : WR_CLOSED;
  } while (rc == WR_TIMEOUT && wrpy_slice(deadline) > 0 && !PyErr_CheckSignals());
  if (PyErr_Occurred()) return NULL;
  return rc == WR_OK ? (PyObject *)wrpy_job_new(st, &raw) : wrpy_no_job(st, rc);
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

PyMethodDef wrpy_serve_methods[] = {
    {"next_job", m_next_job, METH_VARARGS, "next_job(timeout=None) -> Job | None."},
    {"run_job", WRPY_FASTCALL(m_run_job), METH_FASTCALL,
     "run_job(job, methods): calls, and stores the result; what it raises leaves the job open."},
    {"answer_job", WRPY_FASTCALL(m_answer_job), METH_FASTCALL,
     "answer_job(job, result): stores what its function returned; raising leaves the job open."},
    {"finish_job", WRPY_FASTCALL(m_finish_job), METH_VARARGS | METH_KEYWORDS,
     "finish_job(job, value, is_error=False): stores the result."},
    {NULL, NULL, 0, NULL},
};
