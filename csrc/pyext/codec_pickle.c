/* Values without a form of their own: pickle protocol 5, large buffers out of line. */
#include "pyext/codec_parts.h"

static _Thread_local wr_enc *active_enc;
static _Thread_local const wr_dec_ctx *active_dec;

wr_enc *wrpy_enc_active(void) { return active_enc; }

/* ---- what is imported when first needed ------------------------------------------------------ */

static int import_once(PyObject **slot, const char *module, const char *name) {
  if (*slot) return 0;
  PyObject *m = PyImport_ImportModule(module);
  if (!m) return -1;
  PyObject *found = PyObject_GetAttrString(m, name);
  Py_DECREF(m);
  if (!found) return -1;
  Py_XSETREF(*slot, found);
  return 0;
}

static int names_once(PyObject **slot, PyObject *names) {
  if (!names) return -1;
  Py_XSETREF(*slot, names);
  return 0;
}

static PyObject *plain_dumps(wr_codec_state *cs, PyObject *v, PyObject *buffers) {
  if (import_once(&cs->plain_dumps, "_pickle", "dumps") < 0) return NULL;
  if (!cs->dumps_names &&
      names_once(&cs->dumps_names, Py_BuildValue("(ss)", "protocol", "buffer_callback")) < 0)
    return NULL;
  PyObject *append = PyObject_GetAttrString(buffers, "append");
  PyObject *protocol = PyLong_FromLong(5), *bytes = NULL;
  if (append && protocol) {
    PyObject *args[] = {v, protocol, append};
    bytes = PyObject_Vectorcall(cs->plain_dumps, args, 1, cs->dumps_names);
  }
  Py_XDECREF(append);
  Py_XDECREF(protocol);
  return bytes;
}

static PyObject *full_dumps(wr_codec_state *cs, PyObject *v, PyObject *buffers, wrpy_what what) {
  if (import_once(&cs->dumps, "whipray._private.serialization", "dump") < 0) return NULL;
  PyObject *about = what.name          ? Py_NewRef(what.name)
                    : what.index != -1 ? PyLong_FromSsize_t(what.index)
                                       : Py_NewRef(Py_None);
  if (!about) return NULL;
  PyObject *bytes = PyObject_CallFunctionObjArgs(cs->dumps, v, buffers, about, NULL);
  Py_DECREF(about);
  return bytes;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int put_span(wr_enc *e, const void *p, size_t n, PyObject *owner) {
  size_t off;
  if (wrpy_enc_buffer(e, p, n, owner, &off) < 0) return -1;
  wr_pack_varint(&e->out, off / WR_VALUE_ALIGN);
  wr_pack_varint(&e->out, n);
  return 0;
}

static int put_buffer(wr_enc *e, PyObject *buffer) {
  const Py_buffer *view = PyPickleBuffer_GetBuffer(buffer);
  if (!view) return -1;
  if (!PyBuffer_IsContiguous(view, 'A')) {
    PyErr_SetString(PyExc_BufferError, "cannot pickle a buffer that is not contiguous");
    return -1;
  }
  return put_span(e, view->buf, (size_t)view->len, Py_NewRef(buffer));
}

static int put_pickle(wr_enc *e, PyObject *bytes, PyObject *buffers) {
  size_t n = (size_t)PyBytes_GET_SIZE(bytes);
  size_t outside = n >= WRPY_OUT_OF_LINE;
  size_t mark = wr_pack_ext_open(&e->out);
  wr_pack_varint(&e->out, (size_t)PyList_GET_SIZE(buffers) << 1 | outside);
  if (outside && put_span(e, PyBytes_AS_STRING(bytes), n, Py_NewRef(bytes)) < 0) return -1;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(buffers); i++)
    if (put_buffer(e, PyList_GET_ITEM(buffers, i)) < 0) return -1;
  if (!outside) wr_pack_raw(&e->out, PyBytes_AS_STRING(bytes), n);
  wr_pack_ext_close(&e->out, mark, WR_EXT_PICKLE);
  return wrpy_enc_check(e);
}

static PyObject *dumps(wr_enc *e, PyObject *v, PyObject *buffers, wrpy_what what) {
  int plain = wrpy_plain(e->cs, &e->seen, v);
  wrpy_seen_reset(&e->seen);
  if (plain < 0) return NULL;
  e->outer = active_enc;
  active_enc = e;
  PyObject *bytes = plain ? plain_dumps(e->cs, v, buffers) : full_dumps(e->cs, v, buffers, what);
  active_enc = e->outer;
  if (bytes && !PyBytes_CheckExact(bytes)) {
    PyErr_SetString(PyExc_TypeError, "the pickler returned no bytes");
    Py_CLEAR(bytes);
  }
  return bytes;
}

int wrpy_enc_pickle(wr_enc *e, PyObject *v, wrpy_what what) {
  PyObject *buffers = PyList_New(0);
  if (!buffers) return -1;
  PyObject *bytes = dumps(e, v, buffers, what);
  int rc = bytes ? put_pickle(e, bytes, buffers) : -1;
  wrpy_seen_reset(&e->seen);
  Py_XDECREF(bytes);
  Py_DECREF(buffers);
  return rc;
}

/* ---- reading --------------------------------------------------------------------------------- */

static PyObject *loads(wr_codec_state *cs, PyObject *data, PyObject *buffers) {
  if (import_once(&cs->loads, "_pickle", "loads") < 0) return NULL;
  if (!cs->loads_names && names_once(&cs->loads_names, Py_BuildValue("(s)", "buffers")) < 0)
    return NULL;
  PyObject *args[] = {data, buffers};
  return PyObject_Vectorcall(cs->loads, args, 1, cs->loads_names);
}

/* Of the bytes of an error that can not be unpickled here: an error that tells of it. */
static PyObject *salvage(PyObject *data, PyObject *buffers, PyObject *failed) {
  PyObject *m = PyImport_ImportModule("whipray._private.salvage");
  PyObject *found = m ? PyObject_CallMethod(m, "salvage", "OOO", data, buffers, failed) : NULL;
  Py_XDECREF(m);
  return found;
}

static PyObject *load(wrpy_dec *d, const uint8_t *p, size_t n, PyObject *buffers) {
  const wr_dec_ctx *outer = active_dec;
  PyObject *data = PyMemoryView_FromMemory((char *)(uintptr_t)p, (Py_ssize_t)n, PyBUF_READ);
  if (!data) return NULL;
  active_dec = d->cx;
  PyObject *failed = d->cx->failed;
  PyObject *value = failed ? salvage(data, buffers, failed) : loads(d->cs, data, buffers);
  active_dec = outer;
  Py_DECREF(data);
  return value;
}

static int read_buffers(wrpy_dec *d, wr_rbuf *r, uint64_t count, PyObject *buffers) {
  while (count--) {
    const uint8_t *p;
    size_t n;
    if (wr_frame_span(&d->frame, r, &p, &n)) {
      wrpy_dec_malformed("a buffer lies outside");
      return -1;
    }
    PyObject *view = wrpy_dec_buffer(d, p, n);
    int rc = view ? PyList_Append(buffers, view) : -1;
    Py_XDECREF(view);
    if (rc < 0) return -1;
  }
  return 0;
}

static PyObject *load_payload(wrpy_dec *d, wr_rbuf r, PyObject *buffers) {
  uint64_t head;
  const uint8_t *p = NULL;
  size_t n = 0;
  if (wr_read_varint(&r, &head)) return wrpy_dec_malformed("a pickle without a head");
  if ((head & 1) && wr_frame_span(&d->frame, &r, &p, &n))
    return wrpy_dec_malformed("a pickle lies outside");
  if (read_buffers(d, &r, head >> 1, buffers) < 0) return NULL;
  if (!(head & 1)) {
    p = r.p;
    n = (size_t)(r.end - r.p);
  } else if (r.p != r.end) {
    return wrpy_dec_malformed("bytes after a pickle");
  }
  return load(d, p, n, buffers);
}

PyObject *wrpy_dec_pickle(wrpy_dec *d, wr_rbuf payload) {
  if (d->cx->flags & WRPY_DEC_NO_PICKLE) return wrpy_dec_malformed("a pickle is not allowed here");
  PyObject *buffers = PyList_New(0);
  if (!buffers) return NULL;
  PyObject *value = load_payload(d, payload, buffers);
  Py_DECREF(buffers);
  return value;
}

PyObject *wrpy_dec_ref_at(uint32_t k) {
  const wr_dec_ctx *cx = active_dec;
  if (!cx || !cx->make_ref || k >= cx->nrefs) {
    PyErr_SetString(PyExc_ValueError,
                    "an ObjectRef is unpickled outside of the value it is part of");
    return NULL;
  }
  return cx->make_ref(cx, cx->refs[k]);
}
