/* Attaching this process to a session and leaving it; requests to the daemon. */
#include <stdlib.h>

#include "client/conn.h"
#include "os/os.h"
#include "os/spawn.h"
#include "pyext/module.h"

wrpy_session wrpy_sess;

/* ---- attach and detach ---------------------------------------------------------------------- */

/* Runs the handlers of signals while a thread without the GIL waits for an answer of the daemon,
 * and ends the wait when one of them raises or when the session is being left.  An exception that
 * is there already is kept: somebody cleans up after it. */
static int should_stop(void *ctx) {
  PyObject *kind, *value, *trace;
  (void)ctx;
  PyGILState_STATE gil = PyGILState_Ensure();
  PyErr_Fetch(&kind, &value, &trace);
  int raised = PyErr_CheckSignals() < 0;
  if (!raised) {
    PyErr_Restore(kind, value, trace);
  } else {
    Py_XDECREF(kind);
    Py_XDECREF(value);
    Py_XDECREF(trace);
  }
  int stop = raised || (wrpy_sess.client && !wrpy_sess.epoch);
  PyGILState_Release(gil);
  return stop;
}

static void attached_as(wr_client *c) {
  wr_rpc_on_wait(c, (wr_waiting){should_stop, NULL});
  wrpy_sess.client = c;
  wrpy_sess.seg = wr_client_seg(c);
  memcpy(&wrpy_sess.tag, wrpy_sess.seg->h->session, sizeof wrpy_sess.tag);
  wrpy_sess.views = 0;
  wrpy_sess.epoch = ++wrpy_sess.last_epoch;
  wrpy_sess.tags.v[wrpy_sess.epoch] = wrpy_sess.tag;
  wrpy_sess.stamp = wrpy_sess.plain = ++wrpy_sess.last_stamp;
}

/* A thread is in detach() and waits, without the GIL, until the client is its alone. */
static int leaving;

static void wait_for_leaver(void) {
  while (leaving) {
    Py_BEGIN_ALLOW_THREADS
    wr_os_sleep_ns(1000000);
    Py_END_ALLOW_THREADS
  }
}

/* Before this process attaches: 0, or -1 with an exception. */
static int check_free(void) {
  wait_for_leaver();
  if (wrpy_sess.client) {
    PyErr_SetString(PyExc_RuntimeError, "this process is attached to a session already");
    return -1;
  }
  if (wr_vec64_grow(&wrpy_sess.tags, wrpy_sess.last_epoch + 2) == WR_OK) return 0;
  PyErr_NoMemory();
  return -1;
}

static int set_item(PyObject *dict, const char *key, PyObject *value) {
  int rc = value ? PyDict_SetItemString(dict, key, value) : -1;
  Py_XDECREF(value);
  return rc;
}

static PyObject *session_hex(void) {
  PyObject *raw = PyBytes_FromStringAndSize((const char *)wrpy_sess.seg->h->session, 16);
  PyObject *hex = raw ? PyObject_CallMethod(raw, "hex", NULL) : NULL;
  Py_XDECREF(raw);
  return hex;
}

static PyObject *m_info(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_look l;
  PyObject *d = wrpy_look_open(module, &l) ? NULL : wrpy_made(&l, PyDict_New());
  if (!d) return NULL;
  wr_client *c = wrpy_sess.client;
  uint32_t slot = wr_client_slot(c);
  const wr_proc *me = &wrpy_sess.seg->procs[slot];
  uint64_t state = wr_load(&me->state);
  const wr_header *h = wrpy_sess.seg->h;
  if (set_item(d, "slot", PyLong_FromUnsignedLong(slot)) ||
      set_item(d, "gen", PyLong_FromUnsignedLong(WR_PROC_GEN(state))) ||
      set_item(d, "session", session_hex()) ||
      set_item(d, "session_dir", PyUnicode_DecodeFSDefault(wr_client_session_dir(c))) ||
      set_item(d, "socket", PyLong_FromLong(wr_client_socket(c))) ||
      set_item(d, "cpus", PyLong_FromUnsignedLong(h->cpus)) ||
      set_item(d, "daemon_pid", PyLong_FromUnsignedLong(h->daemon_pid)) ||
      set_item(d, "start_ns", PyLong_FromUnsignedLongLong(h->start_ns)) ||
      set_item(d, "role", PyLong_FromUnsignedLong(WR_PROC_ROLE(state))) ||
      set_item(d, "pool", PyLong_FromUnsignedLong(WR_PROC_POOL(state))) ||
      set_item(d, "job", PyLong_FromUnsignedLong(me->job)) ||
      set_item(d, "epoch", PyLong_FromUnsignedLong(wrpy_sess.epoch)))
    Py_CLEAR(d);
  return d;
}

static void attach_failed(wrpy_state *st, int rc, const char *doing, const char *why) {
  if (PyErr_Occurred()) return; /* the handler of a signal has raised */
  if (!why[0])
    wrpy_fail(st, rc, doing);
  else
    PyErr_Format(rc == WR_NOMEM ? PyExc_MemoryError : PyExc_ConnectionError, "%s: %s", doing, why);
}

static PyObject *m_detach(PyObject *module, PyObject *unused);

/* The answer of those that attach: what fails leaves no session behind. */
static PyObject *attached_info(PyObject *module, wr_client *c) {
  PyObject *kind, *value, *trace;
  attached_as(c);
  PyObject *info = m_info(module, NULL);
  if (info) return info;
  PyErr_Fetch(&kind, &value, &trace);
  Py_XDECREF(m_detach(module, NULL));
  PyErr_Restore(kind, value, trace);
  return NULL;
}

/* Runs the handlers of signals while the daemon lets us wait. */
static int interrupted(void *ctx) {
  PyThreadState **thread = ctx;
  PyEval_RestoreThread(*thread);
  int raised = PyErr_CheckSignals() < 0;
  *thread = PyEval_SaveThread();
  return raised;
}

typedef int attach_fn(wr_client **out, const char *path, const void *config, size_t len,
                      const wr_waiting *w, char *err, size_t cap);

/* A client of the session that `how` makes or finds; NULL with an exception. */
static wr_client *reach(wrpy_state *st, attach_fn *how, const char *path, const Py_buffer *config,
                        const char *doing) {
  wr_client *c = NULL;
  char err[512] = "";
  if (check_free()) return NULL;
  PyThreadState *thread = PyEval_SaveThread();
  const wr_waiting w = {interrupted, &thread};
  int rc = how(&c, path, config->buf, (size_t)config->len, &w, err, sizeof err);
  PyEval_RestoreThread(thread);
  if (rc == WR_OK) return c;
  attach_failed(st, rc, doing, err);
  return NULL;
}

static PyObject *m_start(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  const char *path;
  Py_buffer config;
  int standing = 0;
  if (!PyArg_ParseTuple(args, "sy*|p", &path, &config, &standing)) return NULL;
  wr_client *c = reach(st, wr_client_start, path, &config, "cannot start a session");
  PyBuffer_Release(&config);
  if (c && standing) wr_client_disown(c);
  return c ? attached_info(module, c) : NULL;
}

static PyObject *m_join(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  const char *path;
  Py_buffer config;
  if (!PyArg_ParseTuple(args, "sy*", &path, &config)) return NULL;
  wr_client *c = reach(st, wr_client_join, path, &config, "cannot join the session");
  PyBuffer_Release(&config);
  return c ? attached_info(module, c) : NULL;
}

static PyObject *m_adopt(PyObject *module, PyObject *args) {
  int segment, sock;
  unsigned int slot, gen;
  if (!PyArg_ParseTuple(args, "iiII", &segment, &sock, &slot, &gen) || check_free()) return NULL;
  wr_client *c = NULL;
  int rc = wr_client_adopt(&c, segment, sock, slot, gen);
  if (rc == WR_DEAD) Py_RETURN_NONE;
  if (rc != WR_OK) return wrpy_fail_null(wrpy_state_of(module), rc, "cannot attach the worker");
  return attached_info(module, c);
}

/* Threads that wait inside the client come out at their next look at the session. */
static void wait_for_users(void) {
  while (atomic_load(&wrpy_sess.users) > 0) {
    wr_rpc_interrupt(wrpy_sess.client);
    wr_wake(wrpy_sess.seg, wr_client_slot(wrpy_sess.client));
    wr_os_sleep_ns(1000000);
  }
}

static PyObject *leave_by(PyObject *module, void (*how)(wr_client *c)) {
  wait_for_leaver();
  wr_client *c = wrpy_sess.client;
  if (!c) Py_RETURN_NONE;
  if (wrpy_sess.views > 0 && wrpy_sess.epoch && wrpy_keep_views() != WR_OK)
    return wrpy_fail_null(wrpy_state_of(module), WR_NOMEM, "keeping arrays of the session");
  if (wrpy_sess.epoch && wr_regions_leave(c) != WR_OK)
    return wrpy_fail_null(wrpy_state_of(module), WR_NOMEM, "keeping arrays in the store");
  wrpy_sess.epoch = wrpy_sess.stamp = 0;
  leaving = 1;
  Py_BEGIN_ALLOW_THREADS
  wait_for_users();
  Py_END_ALLOW_THREADS
  leaving = 0;
  wrpy_sess.client = NULL;
  /* Arrays that still show bytes of the segment, and values that are read just now, keep the
   * mapping for the life of the process. */
  if (wrpy_sess.views > 0 || wrpy_sess.reading > 0) wrpy_sess.seg->base = NULL;
  Py_BEGIN_ALLOW_THREADS
  how(c);
  Py_END_ALLOW_THREADS
  if (!wrpy_sess.client) wrpy_sess.seg = NULL;
  if (PyErr_Occurred()) return NULL; /* the handler of a signal has raised */
  Py_RETURN_NONE;
}

static PyObject *m_detach(PyObject *module, PyObject *unused) {
  (void)unused;
  return leave_by(module, wr_client_detach);
}

static PyObject *m_hang_up(PyObject *module, PyObject *unused) {
  (void)unused;
  return leave_by(module, wr_client_hang_up);
}

/* A forked child has the session of its parent in its memory and must not touch it.  It begins with
 * code of others, which lets go of references or collects garbage: this has to come before it. */
static int forked;

static void in_child(void) {
  wr_client *c = wrpy_sess.client;
  if (!c) return;
  forked = 1;
  leaving = 0;
  wrpy_sess.client = NULL;
  wrpy_sess.seg = NULL;
  wrpy_sess.epoch = wrpy_sess.stamp = 0;
  atomic_store(&wrpy_sess.users, 0);
  wr_client_forget(c);
}

int wrpy_guard_forks(void) {
  static int guarded;
  if (!guarded && wr_os_at_fork(NULL, in_child) != WR_OK) {
    PyErr_NoMemory();
    return -1;
  }
  guarded = 1;
  return 0;
}

static PyObject *m_forked(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return PyBool_FromLong(forked);
}

static PyObject *m_attached(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return PyBool_FromLong(wrpy_sess.epoch != 0 && !wr_client_ended(wrpy_sess.client));
}

static PyObject *m_epoch(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return PyLong_FromUnsignedLong(wrpy_sess.epoch);
}

static PyObject *m_stamp(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return PyLong_FromUnsignedLong(wrpy_sess.stamp);
}

/* Submitters are prepared again: what they hand on to their tasks has changed. */
static PyObject *m_set_context(PyObject *module, PyObject *special) {
  (void)module;
  int is_special = PyObject_IsTrue(special);
  if (is_special < 0) return NULL;
  if (wrpy_sess.epoch) wrpy_sess.stamp = is_special ? ++wrpy_sess.last_stamp : wrpy_sess.plain;
  Py_RETURN_NONE;
}

/* Why the session that this process is attached to has ended; None while it has not. */
static PyObject *m_end_reason(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  if (!wrpy_sess.epoch || !wr_client_ended(wrpy_sess.client)) Py_RETURN_NONE;
  const char *reason = wr_client_end_reason(wrpy_sess.client);
  return PyUnicode_DecodeUTF8(reason, (Py_ssize_t)strlen(reason), "replace");
}

/* ---- requests ------------------------------------------------------------------------------- */

static PyObject *take_reply(uint8_t *data, size_t len) {
  PyObject *bytes = PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)len);
  free(data);
  return bytes;
}

static PyObject *m_rpc(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  unsigned int type;
  Py_buffer body;
  if (wrpy_attached(st) || !PyArg_ParseTuple(args, "Iy*", &type, &body)) return NULL;
  uint8_t *reply = NULL;
  size_t len = 0;
  int rc;
  WRPY_LEAVE
  rc = wr_rpc_call(wrpy_sess.client, type, body.buf, (size_t)body.len, &reply, &len);
  WRPY_ENTER
  PyBuffer_Release(&body);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "a request to the daemon failed");
  return take_reply(reply, len);
}

static PyObject *m_notify(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  unsigned int type;
  Py_buffer body;
  if (wrpy_attached(st) || !PyArg_ParseTuple(args, "Iy*", &type, &body)) return NULL;
  int rc = wr_rpc_notify(wrpy_sess.client, type, body.buf, (size_t)body.len);
  PyBuffer_Release(&body);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "a message to the daemon failed");
  Py_RETURN_NONE;
}

static PyObject *event_of(uint32_t type, uint8_t *body, size_t len) {
  PyObject *bytes = take_reply(body, len);
  return bytes ? Py_BuildValue("(IN)", type, bytes) : NULL;
}

static PyObject *no_events(void) {
  PyErr_SetString(PyExc_ConnectionError, "the session has ended");
  return NULL;
}

static PyObject *m_next_event(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *timeout = Py_None;
  int64_t deadline;
  if (!PyArg_ParseTuple(args, "|O", &timeout) || wrpy_deadline(timeout, &deadline)) return NULL;
  uint32_t epoch = wrpy_sess.epoch, type = 0;
  for (;;) {
    if (!wrpy_sess.epoch || wrpy_sess.epoch != epoch) return no_events();
    uint8_t *body = NULL;
    size_t len = 0;
    int64_t slice = wrpy_idle(deadline);
    int rc;
    WRPY_LEAVE
    rc = wr_rpc_next_event(wrpy_sess.client, &type, &body, &len, slice);
    WRPY_ENTER
    if (rc == WR_OK) return event_of(type, body, len);
    if (rc == WR_CLOSED) return no_events();
    if (rc != WR_TIMEOUT && rc != WR_INTR && rc != WR_AGAIN)
      return wrpy_fail_null(st, rc, "waiting for events");
    if (PyErr_CheckSignals()) return NULL;
    if (rc == WR_TIMEOUT && deadline >= 0 && wrpy_idle(deadline) == 0) Py_RETURN_NONE;
  }
}

static PyObject *m_post_event(PyObject *module, PyObject *type) {
  wrpy_state *st = wrpy_state_of(module);
  unsigned long n = PyLong_AsUnsignedLong(type);
  if (n == (unsigned long)-1 && PyErr_Occurred()) return NULL;
  if (!wrpy_sess.epoch) return no_events();
  int rc = wr_rpc_post_event(wrpy_sess.client, (uint32_t)n);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "posting an event");
  Py_RETURN_NONE;
}

static PyObject *m_unfinished_output(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_state_of(module)->unfinished = 1;
  Py_RETURN_NONE;
}

/* The name that listings and `ps` show for this process. */
static PyObject *m_set_title(PyObject *module, PyObject *text) {
  const char *s = PyUnicode_AsUTF8(text);
  if (!s) return NULL;
  char comm[16];
  PyOS_snprintf(comm, sizeof comm, "%s", s);
  wr_os_set_name(comm);
  if (!wrpy_sess.epoch) Py_RETURN_NONE;
  wr_proc *me = &wrpy_sess.seg->procs[wr_client_slot(wrpy_sess.client)];
  PyOS_snprintf(me->title, sizeof me->title, "%s", s);
  wrpy_worker_rests_as(wrpy_state_of(module), s);
  Py_RETURN_NONE;
}

/* Before a worker attaches, which binds it as well. */
static PyObject *m_die_with_parent(PyObject *module, PyObject *unused) {
  (void)unused;
  int rc = wr_os_die_with_parent(wr_os_parent_pid());
  if (rc != WR_OK) return wrpy_fail_null(wrpy_state_of(module), rc, "the parent has gone");
  Py_RETURN_NONE;
}

PyMethodDef wrpy_session_methods[] = {
    {"start", m_start, METH_VARARGS,
     "start(daemon_path, config, standing=False): starts a session and attaches to it; a standing "
     "one does not end with this process."},
    {"die_with_parent", m_die_with_parent, METH_NOARGS, "This process ends with its parent."},
    {"join", m_join, METH_VARARGS, "join(path, config): attaches to the session behind a socket."},
    {"adopt", m_adopt, METH_VARARGS,
     "adopt(segment_fd, socket, slot, gen) -> facts, or None: the worker was given up already."},
    {"detach", m_detach, METH_NOARGS, "Leaves the session."},
    {"hang_up", m_hang_up, METH_NOARGS, "Leaves the session without waiting for the daemon."},
    {"forked", m_forked, METH_NOARGS,
     "Whether this process was forked from one that was in a session."},
    {"end_reason", m_end_reason, METH_NOARGS,
     "end_reason() -> why the session has ended, or None."},
    {"attached", m_attached, METH_NOARGS, "Whether this process is in a session that lives."},
    {"epoch", m_epoch, METH_NOARGS, "Number of the session of this process; 0: none."},
    {"stamp", m_stamp, METH_NOARGS, "What `epoch` of a submitter must be for it to be prepared."},
    {"set_context", m_set_context, METH_O,
     "set_context(special): what runs now hands something of its own on to what it submits."},
    {"info", m_info, METH_NOARGS, "Facts about this process in its session."},
    {"rpc", m_rpc, METH_VARARGS, "rpc(type, body) -> bytes: asks the daemon."},
    {"notify", m_notify, METH_VARARGS, "notify(type, body): tells the daemon."},
    {"post_event", m_post_event, METH_O,
     "post_event(type): next_event() gives it after those that have come."},
    {"next_event", m_next_event, METH_VARARGS, "next_event(timeout=None) -> (type, body) | None."},
    {"unfinished_output", m_unfinished_output, METH_NOARGS,
     "A stream of this process holds a line without an end: it leaves with the next result."},
    {"set_title", m_set_title, METH_O, "set_title(text): names this process in listings."},
    {NULL, NULL, 0, NULL},
};
