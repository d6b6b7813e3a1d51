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
  st->in_row = NULL;
  if (deadline == 0) { /* keeps the GIL: a thread that wants it would cost a switch each time */
    rc = wrpy_sess.epoch ? wr_work_try(wrpy_sess.client, &raw) : WR_CLOSED;
    return rc == WR_OK ? (PyObject *)wrpy_job_new(st, &raw) : wrpy_no_job(st, rc);
  }
  do {
    rc = wrpy_sess.epoch ? wrpy_next_job(&raw, wrpy_slice(deadline)) : WR_CLOSED;
  } while (rc == WR_TIMEOUT && wrpy_slice(deadline) > 0 && !PyErr_CheckSignals());
  st->in_row = NULL;
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

static PyObject *m_jobs_in_sight(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return PyBool_FromLong(wrpy_sess.epoch && wr_work_in_sight(wrpy_sess.client));
}

/* ---- running -------------------------------------------------------------------------------- */

/* Runs the job in the calling thread, which says so: see current_job() in worker.c. */
static int run(wrpy_state *st, wrpy_job *j, PyObject *methods, PyObject *thread) {
  if (!thread || PyDict_SetItem(thread, st->s_job, (PyObject *)j)) return -1;
  PyObject *result = wrpy_job_check(st, j) ? NULL : wrpy_job_call_method(st, j, methods);
  return result ? wrpy_job_answer(st, j, result) : -1;
}

int wrpy_job_failed(PyObject *failed, wrpy_job *j) {
  PyObject *error = wrpy_take_exception();
  PyObject *told = PyObject_CallFunctionObjArgs(failed, (PyObject *)j, error, NULL);
  Py_XDECREF(error);
  Py_XDECREF(told);
  return told ? 0 : -1;
}

/* The call after this one, unless another thread has looked for calls since this one runs them. */
static wrpy_job *next_in_row(wrpy_state *st) {
  wr_job raw;
  if (st->in_row != PyThreadState_Get() || !wrpy_sess.epoch) return NULL;
  return wr_work_try(wrpy_sess.client, &raw) == WR_OK ? wrpy_job_new(st, &raw) : NULL;
}

/* run_jobs(job, methods, most, failed): up to `most` calls in the calling thread; the first is
 * given, the others are there already. */
static PyObject *m_run_jobs(PyObject *module, PyObject *const *args, Py_ssize_t n) {
  wrpy_state *st = wrpy_state_of(module);
  if (n != 4 || !Py_IS_TYPE(args[0], st->job_type) || !PyList_Check(args[1])) {
    PyErr_SetString(PyExc_TypeError, "expected a Job, a list of methods, a number, a function");
    return NULL;
  }
  long left = PyLong_AsLong(args[2]);
  if (left == -1 && PyErr_Occurred()) return NULL;
  PyObject *thread = PyThreadState_GetDict();
  wrpy_job *j = (wrpy_job *)Py_NewRef(args[0]);
  int rc = 0;
  for (st->in_row = PyThreadState_Get(); j && rc == 0;) {
    if (run(st, j, args[1], thread)) {
      rc = wrpy_job_failed(args[3], j);
      left = 0;
    }
    Py_SETREF(j, --left > 0 ? next_in_row(st) : NULL);
  }
  if (thread && PyDict_SetItem(thread, st->s_job, Py_None)) PyErr_Clear();
  if (rc || PyErr_Occurred()) return NULL;
  Py_RETURN_NONE;
}

PyMethodDef wrpy_serve_methods[] = {
    {"next_job", m_next_job, METH_VARARGS, "next_job(timeout=None) -> Job | None."},
    {"jobs_in_sight", m_jobs_in_sight, METH_NOARGS, "Whether a call lies there: a guess."},
    {"run_jobs", WRPY_FASTCALL(m_run_jobs), METH_FASTCALL,
     "run_jobs(job, methods, most, failed): calls them and stores the results, until none is there "
     "or one fails, which failed(job, error) is told."},
    {"answer_job", WRPY_FASTCALL(m_answer_job), METH_FASTCALL,
     "answer_job(job, result): stores what its function returned; raising leaves the job open."},
    {"finish_job", WRPY_FASTCALL(m_finish_job), METH_VARARGS | METH_KEYWORDS,
     "finish_job(job, value, is_error=False): stores the result."},
    {NULL, NULL, 0, NULL},
};
