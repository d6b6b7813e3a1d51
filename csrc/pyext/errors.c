/* Status codes of the engine as Python exceptions; texts that go between C and Python. */
#include <errno.h>
#include <stdarg.h>

#include "pyext/module.h"

static PyObject *module_named(PyObject **slot, PyObject *name, const char *fallback) {
  if (!*slot) *slot = name ? PyImport_Import(name) : PyImport_ImportModule(fallback);
  return *slot;
}

PyObject *wrpy_errors(wrpy_state *st) {
  return module_named(&st->errors, st->errors_name, "whipray.exceptions");
}

PyObject *wrpy_hook(wrpy_state *st, const char *name, const char *format, ...) {
  PyObject *hooks = module_named(&st->hooks, st->hooks_name, "whipray._private.hooks");
  PyObject *fn = hooks ? PyObject_GetAttrString(hooks, name) : NULL;
  if (!fn) return NULL;
  va_list ap;
  va_start(ap, format);
  PyObject *args = Py_VaBuildValue(format, ap);
  va_end(ap);
  PyObject *result = args ? PyObject_CallObject(fn, args) : NULL;
  Py_XDECREF(args);
  Py_DECREF(fn);
  return result;
}

static PyObject *builtin_of(int code) {
  switch (code) {
    case WR_NOMEM: return PyExc_MemoryError;
    case WR_INVAL: return PyExc_ValueError;
    case WR_VERSION:
    case WR_PROTO: return PyExc_ConnectionError;
    case WR_DENIED: return PyExc_PermissionError;
    case WR_TIMEOUT: return PyExc_TimeoutError;
    case WR_NOTFOUND:
    case WR_EXISTS: return PyExc_ValueError;
    default: return NULL;
  }
}

static const char *class_of(int code) {
  switch (code) {
    case WR_FULL: return "ObjectStoreFullError";
    case WR_DEAD: return "ActorDiedError";
    default: return "RaySystemError";
  }
}

int wrpy_raise(wrpy_state *st, const char *cls, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  PyObject *text = PyUnicode_FromFormatV(fmt, ap);
  va_end(ap);
  if (!text) return -1;
  PyObject *module = wrpy_errors(st);
  PyObject *type = module ? PyObject_GetAttrString(module, cls) : NULL;
  PyObject *exc = type ? PyObject_CallOneArg(type, text) : NULL;
  if (exc) PyErr_SetObject(type, exc);
  Py_XDECREF(exc);
  Py_XDECREF(type);
  Py_DECREF(text);
  return -1;
}

/* Before the error of a call that has no session: 0, or -1 when the thread is to end instead. */
static int thread_goes_on(wrpy_state *st) {
  PyObject *ok = wrpy_hook(st, "end_of_session", "()");
  Py_XDECREF(ok);
  return ok ? 0 : -1;
}

static int fail_closed(wrpy_state *st, const char *doing) {
  if (thread_goes_on(st)) return -1;
  if (wrpy_sess.epoch && wr_client_ended(wrpy_sess.client))
    return wrpy_raise(st, "RaySystemError", "%s: the session has ended: %s", doing,
                      wr_client_end_reason(wrpy_sess.client));
  return wrpy_raise(st, "RaySystemError", "%s: %s", doing, wr_status_text(WR_CLOSED));
}

int wrpy_fail(wrpy_state *st, int code, const char *doing) {
  if (PyErr_Occurred()) return -1;
  if (code == WR_IO) {
    PyErr_Format(PyExc_OSError, "%s: %s", doing, strerror(errno));
    return -1;
  }
  if (code == WR_INTR) code = WR_CLOSED; /* no handler of a signal has raised: it is being left */
  if (code == WR_CLOSED) return fail_closed(st, doing);
  PyObject *builtin = builtin_of(code);
  if (!builtin) return wrpy_raise(st, class_of(code), "%s: %s", doing, wr_status_text(code));
  PyErr_Format(builtin, "%s: %s", doing, wr_status_text(code));
  return -1;
}

PyObject *wrpy_fail_null(wrpy_state *st, int code, const char *doing) {
  wrpy_fail(st, code, doing);
  return NULL;
}

const char *wrpy_text(PyObject *v, const char *what) {
  Py_ssize_t n;
  const char *s = PyUnicode_AsUTF8AndSize(v, &n);
  if (!s || strlen(s) == (size_t)n) return s;
  PyErr_Format(PyExc_ValueError, "%s must not contain null characters, as %R", what, v);
  return NULL;
}

const char *wrpy_name_text(PyObject *v, const char *what) {
  const char *s = wrpy_text(v, what);
  if (!s || strlen(s) <= WR_MAX_NAME) return s;
  PyErr_Format(PyExc_ValueError, "%s may have %u bytes at most", what, WR_MAX_NAME);
  return NULL;
}

PyObject *wrpy_shared_text(const char *p, size_t n) {
  char copy[sizeof((const wr_actor *)0)->text]; /* the longest there is */
  size_t len = 0;
  if (n > sizeof copy) n = sizeof copy;
  while (len < n && p[len]) {
    copy[len] = p[len];
    len++;
  }
  return PyUnicode_DecodeUTF8(copy, (Py_ssize_t)len, "replace");
}

PyObject *wrpy_take_exception(void) {
  PyObject *type, *exc, *tb;
  PyErr_Fetch(&type, &exc, &tb);
  PyErr_NormalizeException(&type, &exc, &tb);
  if (tb && exc) PyException_SetTraceback(exc, tb);
  Py_XDECREF(type);
  Py_XDECREF(tb);
  return exc;
}

void wrpy_give_exception(PyObject *exc) {
  PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc, PyException_GetTraceback(exc));
}

int wrpy_attached(wrpy_state *st) {
  if (WR_LIKELY(wrpy_sess.epoch)) return 0;
  if (thread_goes_on(st)) return -1;
  return wrpy_raise(st, "RaySystemError",
                    "Ray has not been started yet. You can start Ray with 'ray.init()'.");
}

int wrpy_attached_auto(wrpy_state *st) {
  if (WR_LIKELY(wrpy_sess.epoch)) return 0;
  PyObject *ok = wrpy_hook(st, "auto_init", "()");
  if (!ok) return -1;
  Py_DECREF(ok);
  return wrpy_attached(st);
}
