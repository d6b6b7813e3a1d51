/* Values that have a form of their own.  Each put_ function returns 0, -1 with a Python error set,
 * or WRPY_PICKLE: the whole value must be pickled.  No code of the user's runs in here. */
#include "pyext/codec_parts.h"
#include "pyext/npy.h"

typedef struct {
  wr_enc *e;
  int depth;
  uint32_t nodes;
} walk;

static int put(walk *w, PyObject *v);

/* ---- leaves ---------------------------------------------------------------------------------- */

static int put_int(wr_enc *e, PyObject *v) {
  int overflow;
  long long small = PyLong_AsLongLongAndOverflow(v, &overflow);
  if (!overflow) {
    wr_pack_int(&e->out, small);
    return 0;
  }
  if (overflow < 0) return WRPY_PICKLE;
  unsigned long long large = PyLong_AsUnsignedLongLong(v);
  if (large == (unsigned long long)-1 && PyErr_Occurred()) {
    PyErr_Clear();
    return WRPY_PICKLE;
  }
  wr_pack_uint(&e->out, large);
  return 0;
}

/* Met before in this value: it would be written twice, and come back as two. */
static int met(wr_enc *e, PyObject *v) {
  uint32_t none = 0;
  return wrpy_seen_add(&e->seen, v, &none);
}

#define SHARE_FROM 64 /* bytes and text of this length are worth sharing when met twice */

static int put_out_of_line(wr_enc *e, enum wr_ext type, const void *p, size_t n, PyObject *owner) {
  size_t off;
  if (wrpy_enc_buffer(e, p, n, owner, &off) < 0) return -1;
  size_t mark = wr_pack_ext_open(&e->out);
  wr_pack_varint(&e->out, off / WR_VALUE_ALIGN);
  wr_pack_varint(&e->out, n);
  wr_pack_ext_close(&e->out, mark, type);
  return 0;
}

static int put_bytes(wr_enc *e, PyObject *v) {
  size_t n = (size_t)PyBytes_GET_SIZE(v);
  if (n >= SHARE_FROM) {
    int again = met(e, v);
    if (again) return again < 0 ? -1 : WRPY_PICKLE;
  }
  if (n >= WRPY_OUT_OF_LINE)
    return put_out_of_line(e, WR_EXT_BYTES, PyBytes_AS_STRING(v), n, Py_NewRef(v));
  wr_pack_bin(&e->out, PyBytes_AS_STRING(v), n);
  return 0;
}

/* Lone surrogates have no UTF-8; pickle has a way. */
static int no_utf8(void) {
  if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return -1;
  PyErr_Clear();
  return WRPY_PICKLE;
}

/* Text beyond ASCII: its UTF-8 is made for the moment, not kept beside the text. */
static int put_wide_str(wr_enc *e, PyObject *v) {
  PyObject *utf8 = PyUnicode_AsUTF8String(v);
  if (!utf8) return no_utf8();
  size_t n = (size_t)PyBytes_GET_SIZE(utf8);
  if (n >= WRPY_OUT_OF_LINE)
    return put_out_of_line(e, WR_EXT_TEXT, PyBytes_AS_STRING(utf8), n, utf8);
  wr_pack_str(&e->out, PyBytes_AS_STRING(utf8), n);
  Py_DECREF(utf8);
  return 0;
}

static int put_str(wr_enc *e, PyObject *v) {
  size_t n = (size_t)PyUnicode_GET_LENGTH(v);
  if (n >= SHARE_FROM) {
    int again = met(e, v);
    if (again) return again < 0 ? -1 : WRPY_PICKLE;
  }
  if (!PyUnicode_IS_ASCII(v)) return put_wide_str(e, v);
  if (n >= WRPY_OUT_OF_LINE)
    return put_out_of_line(e, WR_EXT_TEXT, PyUnicode_DATA(v), n, Py_NewRef(v));
  wr_pack_str(&e->out, PyUnicode_DATA(v), n);
  return 0;
}

static int put_ref(wr_enc *e, PyObject *v) {
  int64_t k = wrpy_enc_register_ref(e, v);
  if (k < 0) return -1;
  wr_pack_ref(&e->out, (uint32_t)k);
  return 0;
}

/* ---- NumPy ----------------------------------------------------------------------------------- */

static int put_described(wr_enc *e, const wrpy_array *a) {
  int inside = a->len <= WRPY_ARRAY_INLINE;
  size_t off = 0;
  if (!inside && wrpy_enc_buffer(e, a->data, a->len, Py_NewRef(a->owner), &off) < 0) return -1;
  size_t mark = wr_pack_ext_open(&e->out);
  unsigned how = (inside ? WR_EXT_INLINE : 0) | (a->own ? WR_EXT_OWN : 0);
  wr_pack_byte(&e->out, (uint8_t)(a->code | how));
  wr_pack_byte(&e->out, (uint8_t)((unsigned)a->ndim | (a->fortran ? WR_EXT_FORTRAN : 0)));
  for (int i = 0; i < a->ndim; i++) wr_pack_varint(&e->out, (uint64_t)a->dims[i]);
  if (inside)
    wr_pack_raw(&e->out, a->data, a->len);
  else
    wr_pack_varint(&e->out, off / WR_VALUE_ALIGN);
  wr_pack_ext_close(&e->out, mark, WR_EXT_ARRAY);
  return 0;
}

static int put_array(wr_enc *e, PyObject *v, const wrpy_array *a) {
  int rc = met(e, v);
  return rc ? (rc < 0 ? -1 : WRPY_PICKLE) : put_described(e, a);
}

static int put_numpy(wr_enc *e, PyObject *v) {
  wrpy_array a;
  int known = wrpy_np_describe(v, &a);
  if (known < 0) return -1;
  if (known) {
    int rc = put_array(e, v, &a);
    Py_DECREF(a.owner);
    return rc;
  }
  uint8_t code, item[WRPY_NP_MAXITEM];
  size_t len;
  known = wrpy_np_scalar(v, &code, item, &len);
  if (known <= 0) return known < 0 ? -1 : WRPY_PICKLE;
  size_t mark = wr_pack_ext_open(&e->out);
  wr_pack_byte(&e->out, code);
  wr_pack_raw(&e->out, item, len);
  wr_pack_ext_close(&e->out, mark, WR_EXT_SCALAR);
  return 0;
}

/* ---- containers ------------------------------------------------------------------------------ */

/* Another thread may run while a large array is copied. */
static int changed(const char *what) {
  PyErr_Format(PyExc_RuntimeError, "%s changed size while it was encoded", what);
  return -1;
}

static int put_list(walk *w, PyObject *v) {
  Py_ssize_t n = PyList_GET_SIZE(v), i = 0;
  int rc = 0;
  wr_pack_array(&w->e->out, (size_t)n);
  for (; !rc && i < n && i < PyList_GET_SIZE(v); i++) {
    PyObject *item = Py_NewRef(PyList_GET_ITEM(v, i));
    rc = put(w, item);
    Py_DECREF(item);
  }
  if (!rc && PyList_GET_SIZE(v) != n) return changed("a list");
  return rc;
}

static int put_tuple(walk *w, PyObject *v) {
  Py_ssize_t n = PyTuple_GET_SIZE(v);
  int rc = 0;
  size_t mark = wr_pack_ext_open(&w->e->out);
  wr_pack_array(&w->e->out, (size_t)n);
  for (Py_ssize_t i = 0; !rc && i < n; i++) rc = put(w, PyTuple_GET_ITEM(v, i));
  wr_pack_ext_close(&w->e->out, mark, WR_EXT_TUPLE);
  return rc;
}

static int put_pair(walk *w, PyObject *key, PyObject *value) {
  Py_INCREF(key);
  Py_INCREF(value);
  int rc = put(w, key);
  if (!rc) rc = put(w, value);
  Py_DECREF(key);
  Py_DECREF(value);
  return rc;
}

static int put_dict(walk *w, PyObject *v) {
  PyObject *key, *value;
  Py_ssize_t pos = 0, n = PyDict_GET_SIZE(v), done = 0;
  int rc = 0;
  wr_pack_map(&w->e->out, (size_t)n);
  while (!rc && done < n && PyDict_Next(v, &pos, &key, &value)) {
    rc = put_pair(w, key, value);
    done++;
  }
  if (!rc && (done != n || PyDict_GET_SIZE(v) != n)) return changed("a dict");
  return rc;
}

static int put_mutable(walk *w, PyObject *v, int (*body)(walk *, PyObject *)) {
  int rc = met(w->e, v);
  if (rc) return rc < 0 ? -1 : WRPY_PICKLE;
  WRPY_LOCKED_BEGIN(v);
  rc = body(w, v);
  WRPY_LOCKED_END();
  return rc;
}

static int put_container(walk *w, PyObject *v) {
  PyTypeObject *type = Py_TYPE(v);
  int rc;
  if (w->depth >= WRPY_MAX_DEPTH) return WRPY_PICKLE;
  w->depth++;
  if (type == &PyTuple_Type)
    rc = put_tuple(w, v);
  else if (type == &PyList_Type)
    rc = put_mutable(w, v, put_list);
  else
    rc = put_mutable(w, v, put_dict);
  w->depth--;
  return rc;
}

static int put(walk *w, PyObject *v) {
  PyTypeObject *type = Py_TYPE(v);
  wr_enc *e = w->e;
  if (++w->nodes > WRPY_MAX_NODES) return WRPY_PICKLE;
  if (type == &PyUnicode_Type) return put_str(e, v);
  if (type == &PyLong_Type) return put_int(e, v);
  if (v == Py_None) {
    wr_pack_nil(&e->out);
    return 0;
  }
  if (type == &PyFloat_Type) {
    wr_pack_double(&e->out, PyFloat_AS_DOUBLE(v));
    return 0;
  }
  if (type == &PyTuple_Type || type == &PyList_Type || type == &PyDict_Type)
    return put_container(w, v);
  if (type == &PyBytes_Type) return put_bytes(e, v);
  if (type == &PyBool_Type) {
    wr_pack_bool(&e->out, v == Py_True);
    return 0;
  }
  if (type == e->cs->ref_type) return put_ref(e, v);
  if (!e->cs->custom && wrpy_np_maybe(v)) return put_numpy(e, v);
  return WRPY_PICKLE;
}

/* ---- a whole value --------------------------------------------------------------------------- */

int wrpy_enc_one(wr_enc *e, PyObject *v, wrpy_what what) {
  wr_enc_mark mark = wrpy_enc_mark(e);
  walk w = {.e = e};
  int rc = put(&w, v);
  if (rc < 0) return -1;
  if (rc == 0 && e->out.failed != WR_LIMIT) {
    if (e->seen.used) wrpy_seen_reset(&e->seen);
    return wrpy_enc_check(e);
  }
  wrpy_enc_rewind(e, mark);
  return wrpy_enc_pickle(e, v, what);
}

static int enc_single(wr_codec_state *cs, PyObject *v, Py_ssize_t index, wr_enc *e) {
  wrpy_enc_init(e, cs);
  if (wrpy_enc_one(e, v, (wrpy_what){index, NULL}) == 0 && wrpy_enc_finish(e) == 0) return 0;
  wrpy_enc_clear(e);
  return -1;
}

int wrpy_enc_value(wr_codec_state *cs, PyObject *v, wr_enc *e) { return enc_single(cs, v, -1, e); }

int wrpy_enc_put(wr_codec_state *cs, PyObject *v, wr_enc *e) {
  return enc_single(cs, v, WRPY_WHAT_PUT, e);
}
