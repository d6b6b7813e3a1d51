/* Bytes to values.  Every length comes from wire/value.c, which has checked it. */
#include "pyext/codec_parts.h"
#include "pyext/npy.h"

PyObject *wrpy_dec_malformed(const char *what) {
  if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "malformed value: %s", what);
  return NULL;
}

/* ---- extensions ------------------------------------------------------------------------------ */

static PyObject *read_tuple(wrpy_dec *d, const wr_tok *t) {
  wr_rbuf r = {t->data, t->data + t->n};
  wr_tok head;
  if (wr_read_token(&r, &head) || head.kind != WR_TOK_ARRAY)
    return wrpy_dec_malformed("a tuple without a count");
  PyObject *tuple = PyTuple_New((Py_ssize_t)head.n);
  for (size_t i = 0; tuple && i < head.n; i++) {
    PyObject *item = wrpy_dec_next(d, &r);
    if (!item)
      Py_CLEAR(tuple);
    else
      PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, item);
  }
  if (tuple && r.p != r.end) {
    Py_DECREF(tuple);
    return wrpy_dec_malformed("bytes after a tuple");
  }
  return tuple;
}

static PyObject *read_ref(wrpy_dec *d, const wr_tok *t) {
  uint32_t k;
  if (wr_read_ref(t, &k) || k >= d->cx->nrefs || !d->cx->make_ref)
    return wrpy_dec_malformed("no such reference");
  return d->cx->make_ref(d->cx, d->cx->refs[k]);
}

static int read_shape(wr_rbuf *r, wrpy_array *a, size_t width) {
  size_t len = width;
  int empty = 0;
  for (int i = 0; i < a->ndim; i++) {
    uint64_t dim;
    if (wr_read_varint(r, &dim) || dim > (uint64_t)PY_SSIZE_T_MAX) return -1;
    a->dims[i] = (Py_ssize_t)dim;
    if (dim == 0)
      empty = 1;
    else if (__builtin_mul_overflow(len, (size_t)dim, &len) || len > (size_t)PY_SSIZE_T_MAX)
      return -1;
  }
  a->len = empty ? 0 : len;
  return 0;
}

static int read_elements(wrpy_dec *d, wr_rbuf *r, wrpy_array *a, int inside) {
  if (inside) {
    if ((size_t)(r->end - r->p) != a->len) return -1;
    a->data = r->p;
    return 0;
  }
  if (wr_frame_place(&d->frame, r, a->len, &a->data) || r->p != r->end) return -1;
  if (((uintptr_t)a->data & (WRPY_NP_MAXITEM - 1)) == 0) a->owner = d->cx->base;
  return 0;
}

static PyObject *read_array(wrpy_dec *d, const wr_tok *t) {
  wr_rbuf r = {t->data, t->data + t->n};
  wrpy_array a = {.owner = NULL};
  if (t->n < 2) return wrpy_dec_malformed("an array without a head");
  unsigned code = *r.p++, ndim = *r.p++;
  a.code = code & 0x3F;
  a.own = (code & WR_EXT_OWN) != 0;
  a.ndim = ndim & 0x7F;
  a.fortran = (ndim & WR_EXT_FORTRAN) != 0;
  size_t width = wrpy_np_width(a.code);
  if (!width || a.ndim > WRPY_NP_MAXDIMS || read_shape(&r, &a, width) < 0 ||
      read_elements(d, &r, &a, (code & WR_EXT_INLINE) != 0) < 0)
    return wrpy_dec_malformed("an array that does not fit");
  return wrpy_np_array(&a);
}

static PyObject *read_scalar(const wr_tok *t) {
  size_t width = t->n ? wrpy_np_width(t->data[0]) : 0;
  if (!width || t->n != 1 + width) return wrpy_dec_malformed("a scalar that does not fit");
  return wrpy_np_make_scalar(t->data[0], t->data + 1);
}

static PyObject *make_str(const uint8_t *p, size_t n) {
  PyObject *s = PyUnicode_DecodeUTF8((const char *)p, (Py_ssize_t)n, NULL);
  if (!s && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
    PyErr_Clear();
    return wrpy_dec_malformed("text that is not UTF-8");
  }
  return s;
}

static PyObject *read_outside(wrpy_dec *d, const wr_tok *t) {
  wr_rbuf r = {t->data, t->data + t->n};
  const uint8_t *p;
  size_t n;
  if (wr_frame_span(&d->frame, &r, &p, &n) || r.p != r.end)
    return wrpy_dec_malformed("bytes lie outside");
  if (t->ext == WR_EXT_TEXT) return make_str(p, n);
  return PyBytes_FromStringAndSize((const char *)p, (Py_ssize_t)n);
}

static PyObject *read_ext(wrpy_dec *d, const wr_tok *t) {
  switch (t->ext) {
    case WR_EXT_TUPLE:
      return read_tuple(d, t);
    case WR_EXT_REF:
      return read_ref(d, t);
    case WR_EXT_ARRAY:
      return read_array(d, t);
    case WR_EXT_SCALAR:
      return read_scalar(t);
    case WR_EXT_PICKLE:
      return wrpy_dec_pickle(d, (wr_rbuf){t->data, t->data + t->n});
    case WR_EXT_BYTES:
    case WR_EXT_TEXT:
      return read_outside(d, t);
    default:
      return wrpy_dec_malformed("unknown extension");
  }
}

/* ---- containers ------------------------------------------------------------------------------ */

static PyObject *read_list(wrpy_dec *d, wr_rbuf *r, size_t n) {
  PyObject *list = PyList_New((Py_ssize_t)n);
  for (size_t i = 0; list && i < n; i++) {
    PyObject *item = wrpy_dec_next(d, r);
    if (!item)
      Py_CLEAR(list);
    else
      PyList_SET_ITEM(list, (Py_ssize_t)i, item);
  }
  return list;
}

static int read_pair(wrpy_dec *d, wr_rbuf *r, PyObject *dict) {
  PyObject *key = wrpy_dec_next(d, r);
  if (!key) return -1;
  PyObject *value = wrpy_dec_next(d, r);
  int rc = value ? PyDict_SetItem(dict, key, value) : -1;
  if (value && rc < 0 && PyErr_ExceptionMatches(PyExc_TypeError)) {
    PyErr_Clear();
    wrpy_dec_malformed("a key that cannot be hashed");
  }
  Py_XDECREF(value);
  Py_DECREF(key);
  return rc;
}

static PyObject *read_dict(wrpy_dec *d, wr_rbuf *r, size_t n) {
  PyObject *dict = PyDict_New();
  for (size_t i = 0; dict && i < n; i++)
    if (read_pair(d, r, dict) < 0) Py_CLEAR(dict);
  return dict;
}

static PyObject *read_nested(wrpy_dec *d, wr_rbuf *r, const wr_tok *t) {
  if (d->depth >= WRPY_MAX_READ_DEPTH) return wrpy_dec_malformed("nested too deep");
  long *reading = d->cx->reading;
  if (reading) ++*reading;
  d->depth++;
  PyObject *v = t->kind == WR_TOK_ARRAY ? read_list(d, r, t->n)
                : t->kind == WR_TOK_MAP ? read_dict(d, r, t->n)
                                        : read_ext(d, t);
  d->depth--;
  if (reading) --*reading;
  return v;
}

PyObject *wrpy_dec_token(wrpy_dec *d, wr_rbuf *r, const wr_tok *t) {
  switch (t->kind) {
    case WR_TOK_NIL:
      return Py_NewRef(Py_None);
    case WR_TOK_BOOL:
      return PyBool_FromLong((long)t->v.i);
    case WR_TOK_INT:
      return PyLong_FromLongLong(t->v.i);
    case WR_TOK_UINT:
      return PyLong_FromUnsignedLongLong(t->v.u);
    case WR_TOK_FLOAT:
      return PyFloat_FromDouble(t->v.f);
    case WR_TOK_STR:
      return make_str(t->data, t->n);
    case WR_TOK_BIN:
      return PyBytes_FromStringAndSize((const char *)t->data, (Py_ssize_t)t->n);
    default:
      return read_nested(d, r, t);
  }
}

PyObject *wrpy_dec_next(wrpy_dec *d, wr_rbuf *r) {
  wr_tok t;
  if (wr_read_token(r, &t)) return wrpy_dec_malformed("cut off, or no value");
  return wrpy_dec_token(d, r, &t);
}

/* ---- a whole value --------------------------------------------------------------------------- */

int wrpy_dec_open(wrpy_dec *d, wr_codec_state *cs, const uint8_t *p, size_t len,
                  const wr_dec_ctx *cx) {
  d->cs = cs;
  d->cx = cx;
  d->depth = 0;
  if (wr_frame_open(p, len, &d->frame) == 0) return 0;
  wrpy_dec_malformed("no frame");
  return -1;
}

PyObject *wrpy_dec_value(wr_codec_state *cs, const uint8_t *p, size_t len, const wr_dec_ctx *cx) {
  wrpy_dec d;
  if (wrpy_dec_open(&d, cs, p, len, cx) < 0) return NULL;
  wr_rbuf r = d.frame.stream;
  PyObject *v = wrpy_dec_next(&d, &r);
  if (v && r.p != r.end) {
    Py_DECREF(v);
    return wrpy_dec_malformed("bytes after the value");
  }
  return v;
}

/* ---- buffers in place ------------------------------------------------------------------------ */

/* Lends bytes that `base` keeps alive. */
typedef struct {
  PyObject ob_base;
  const uint8_t *data;
  Py_ssize_t len;
  PyObject *base;
} region;

static void region_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  Py_XDECREF(((region *)self)->base);
  type->tp_free(self);
  Py_DECREF(type);
}

static int region_getbuffer(PyObject *self, Py_buffer *view, int flags) {
  region *r = (region *)self;
  return PyBuffer_FillInfo(view, self, (void *)(uintptr_t)r->data, r->len, 1, flags);
}

static PyType_Slot region_slots[] = {
    {Py_tp_dealloc, (void *)region_dealloc},
    {Py_bf_getbuffer, (void *)region_getbuffer},
    {Py_tp_doc, "Bytes of the object store that a value lies in."},
    {0, NULL},
};

PyType_Spec wrpy_region_spec = {
    .name = "whipray._core.Region",
    .basicsize = sizeof(region),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = region_slots,
};

static PyObject *lend(wrpy_dec *d, const uint8_t *p, size_t len) {
  PyTypeObject *type = d->cs->region_type;
  region *r = (region *)type->tp_alloc(type, 0);
  if (!r) return NULL;
  r->data = p;
  r->len = (Py_ssize_t)len;
  r->base = Py_NewRef(d->cx->base);
  return (PyObject *)r;
}

PyObject *wrpy_dec_buffer(wrpy_dec *d, const uint8_t *p, size_t len) {
  PyObject *owner = d->cx->base ? lend(d, p, len)
                                : PyBytes_FromStringAndSize((const char *)p, (Py_ssize_t)len);
  if (!owner) return NULL;
  PyObject *view = PyMemoryView_FromObject(owner);
  Py_DECREF(owner);
  return view;
}
