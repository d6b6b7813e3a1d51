/* Plain msgpack for messages to the daemon and for errors made by the engine: None, bool, int,
 * float, str, bytes, list (or tuple) and dict.  Values of tasks and objects go through the codec.
 */
#include "pyext/module.h"

#define MAX_DEPTH 64

/* ---- Python to bytes ------------------------------------------------------------------------ */

typedef struct {
  uint8_t *p;
  size_t len, cap;
} out_buf;

static int room(out_buf *b, size_t n) {
  if (b->cap - b->len >= n) return 0;
  size_t cap = b->cap * 2 + n + 64;
  uint8_t *p = PyMem_Realloc(b->p, cap);
  if (!p) {
    PyErr_NoMemory();
    return -1;
  }
  b->p = p;
  b->cap = cap;
  return 0;
}

/* A byte, then the `n` low bytes of v, most significant first. */
static int put_head(out_buf *b, uint8_t head, uint64_t v, int n) {
  if (room(b, (size_t)n + 1)) return -1;
  b->p[b->len++] = head;
  while (n--) b->p[b->len++] = (uint8_t)(v >> (8 * n));
  return 0;
}

static int put_raw(out_buf *b, const void *data, size_t n) {
  if (room(b, n)) return -1;
  if (n) memcpy(b->p + b->len, data, n);
  b->len += n;
  return 0;
}

static int put_size(out_buf *b, size_t n, const uint8_t heads[3]) {
  if (n > UINT32_MAX) {
    PyErr_SetString(PyExc_OverflowError, "message too large");
    return -1;
  }
  if (heads[0] && n <= 0xFF) return put_head(b, heads[0], n, 1);
  return n <= 0xFFFF ? put_head(b, heads[1], n, 2) : put_head(b, heads[2], n, 4);
}

static int put_int(out_buf *b, PyObject *v) {
  int overflow;
  long long i = PyLong_AsLongLongAndOverflow(v, &overflow);
  if (overflow > 0) {
    unsigned long long u = PyLong_AsUnsignedLongLong(v);
    return PyErr_Occurred() ? -1 : put_head(b, 0xCF, u, 8);
  }
  if (overflow < 0) PyErr_SetString(PyExc_OverflowError, "integer too small for a message");
  if (i == -1 && PyErr_Occurred()) return -1;
  if (i >= -32 && i < 128) return put_head(b, (uint8_t)i, 0, 0);
  if (i >= 0 && i <= UINT32_MAX) return put_head(b, 0xCE, (uint64_t)i, 4);
  return put_head(b, 0xD3, (uint64_t)i, 8);
}

static int put_float(out_buf *b, PyObject *v) {
  double d = PyFloat_AS_DOUBLE(v);
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  return put_head(b, 0xCB, bits, 8);
}

static int put_utf8(out_buf *b, const char *s, Py_ssize_t n) {
  int rc = n < 32 ? put_head(b, (uint8_t)(0xA0 | n), 0, 0)
                  : put_size(b, (size_t)n, (const uint8_t[]){0xD9, 0xDA, 0xDB});
  return rc ? rc : put_raw(b, s, (size_t)n);
}

/* Names of files and variables of the environment may be no text in their encoding: what Python has
 * put in the place of such bytes stands for them. */
static int put_text(out_buf *b, PyObject *v) {
  Py_ssize_t n;
  const char *s = PyUnicode_AsUTF8AndSize(v, &n);
  if (s) return put_utf8(b, s, n);
  if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return -1;
  PyErr_Clear();
  PyObject *bytes = PyUnicode_AsEncodedString(v, "utf-8", "surrogateescape");
  int rc = bytes ? put_utf8(b, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes)) : -1;
  Py_XDECREF(bytes);
  return rc;
}

static int put_value(out_buf *b, PyObject *v, int depth);

static int put_sequence(out_buf *b, PyObject *v, int depth) {
  Py_ssize_t n = PySequence_Fast_GET_SIZE(v);
  int rc = n < 16 ? put_head(b, (uint8_t)(0x90 | n), 0, 0)
                  : put_size(b, (size_t)n, (const uint8_t[]){0, 0xDC, 0xDD});
  for (Py_ssize_t i = 0; !rc && i < n; i++)
    rc = put_value(b, PySequence_Fast_GET_ITEM(v, i), depth + 1);
  return rc;
}

static int put_dict(out_buf *b, PyObject *v, int depth) {
  Py_ssize_t n = PyDict_GET_SIZE(v), pos = 0;
  PyObject *key, *item;
  int rc = n < 16 ? put_head(b, (uint8_t)(0x80 | n), 0, 0)
                  : put_size(b, (size_t)n, (const uint8_t[]){0, 0xDE, 0xDF});
  while (!rc && PyDict_Next(v, &pos, &key, &item)) {
    rc = put_value(b, key, depth + 1);
    if (!rc) rc = put_value(b, item, depth + 1);
  }
  return rc;
}

static int put_value(out_buf *b, PyObject *v, int depth) {
  if (depth > MAX_DEPTH) {
    PyErr_SetString(PyExc_ValueError, "message nested too deeply");
    return -1;
  }
  if (v == Py_None) return put_head(b, 0xC0, 0, 0);
  if (PyBool_Check(v)) return put_head(b, v == Py_True ? 0xC3 : 0xC2, 0, 0);
  if (PyLong_Check(v)) return put_int(b, v);
  if (PyFloat_Check(v)) return put_float(b, v);
  if (PyUnicode_Check(v)) return put_text(b, v);
  if (PyList_Check(v) || PyTuple_Check(v)) return put_sequence(b, v, depth);
  if (PyDict_Check(v)) return put_dict(b, v, depth);
  if (PyBytes_Check(v)) {
    size_t n = (size_t)PyBytes_GET_SIZE(v);
    int rc = put_size(b, n, (const uint8_t[]){0xC4, 0xC5, 0xC6});
    return rc ? rc : put_raw(b, PyBytes_AS_STRING(v), n);
  }
  PyErr_Format(PyExc_TypeError, "a message cannot hold a value of type %s", Py_TYPE(v)->tp_name);
  return -1;
}

static PyObject *m_pack(PyObject *module, PyObject *v) {
  (void)module;
  out_buf b = {NULL, 0, 0};
  PyObject *bytes = NULL;
  if (!put_value(&b, v, 0)) bytes = PyBytes_FromStringAndSize((const char *)b.p, (Py_ssize_t)b.len);
  PyMem_Free(b.p);
  return bytes;
}

/* ---- bytes to Python ------------------------------------------------------------------------ */

typedef struct {
  const uint8_t *p, *end;
} in_buf;

static PyObject *malformed(void) {
  PyErr_SetString(PyExc_ValueError, "malformed message");
  return NULL;
}

static int take(in_buf *b, size_t n, const uint8_t **at) {
  if ((size_t)(b->end - b->p) < n) {
    malformed();
    return -1;
  }
  *at = b->p;
  b->p += n;
  return 0;
}

static int take_uint(in_buf *b, int n, uint64_t *v) {
  const uint8_t *p;
  if (take(b, (size_t)n, &p)) return -1;
  for (*v = 0; n--; p++) *v = *v << 8 | *p;
  return 0;
}

static PyObject *get_value(in_buf *b, int depth);

static PyObject *get_text(in_buf *b, uint64_t n) {
  const uint8_t *p;
  if (take(b, n, &p)) return NULL;
  return PyUnicode_DecodeUTF8((const char *)p, (Py_ssize_t)n, "replace");
}

static PyObject *get_bytes(in_buf *b, uint64_t n) {
  const uint8_t *p;
  if (take(b, n, &p)) return NULL;
  return PyBytes_FromStringAndSize((const char *)p, (Py_ssize_t)n);
}

static PyObject *get_list(in_buf *b, uint64_t n, int depth) {
  if (n > (uint64_t)(b->end - b->p)) return malformed();
  PyObject *list = PyList_New((Py_ssize_t)n);
  for (uint64_t i = 0; list && i < n; i++) {
    PyObject *item = get_value(b, depth + 1);
    if (item)
      PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    else
      Py_CLEAR(list);
  }
  return list;
}

static PyObject *get_dict(in_buf *b, uint64_t n, int depth) {
  PyObject *dict = PyDict_New();
  for (uint64_t i = 0; dict && i < n; i++) {
    PyObject *key = get_value(b, depth + 1);
    PyObject *item = key ? get_value(b, depth + 1) : NULL;
    if (!item || PyDict_SetItem(dict, key, item)) Py_CLEAR(dict);
    Py_XDECREF(key);
    Py_XDECREF(item);
  }
  return dict;
}

static PyObject *get_float(in_buf *b, int n) {
  uint64_t bits;
  if (take_uint(b, n, &bits)) return NULL;
  double d;
  if (n == 8) {
    memcpy(&d, &bits, sizeof d);
  } else {
    uint32_t half = (uint32_t)bits;
    float f;
    memcpy(&f, &half, sizeof f);
    d = (double)f;
  }
  return PyFloat_FromDouble(d);
}

static PyObject *get_signed(in_buf *b, int n) {
  uint64_t v;
  if (take_uint(b, n, &v)) return NULL;
  int shift = 64 - 8 * n;
  return PyLong_FromLongLong((int64_t)(v << shift) >> shift);
}

static PyObject *get_sized(in_buf *b, uint8_t head, int depth) {
  static const struct {
    uint8_t head, bytes, kind;
  } sized[] = {{0xC4, 1, 'b'}, {0xC5, 2, 'b'}, {0xC6, 4, 'b'}, {0xD9, 1, 't'}, {0xDA, 2, 't'},
               {0xDB, 4, 't'}, {0xDC, 2, 'l'}, {0xDD, 4, 'l'}, {0xDE, 2, 'd'}, {0xDF, 4, 'd'},
               {0xCC, 1, 'u'}, {0xCD, 2, 'u'}, {0xCE, 4, 'u'}, {0xCF, 8, 'u'}};
  for (size_t i = 0; i < sizeof sized / sizeof sized[0]; i++) {
    if (sized[i].head != head) continue;
    uint64_t n;
    if (take_uint(b, sized[i].bytes, &n)) return NULL;
    switch (sized[i].kind) {
      case 'b': return get_bytes(b, n);
      case 't': return get_text(b, n);
      case 'l': return get_list(b, n, depth);
      case 'd': return get_dict(b, n, depth);
      default: return PyLong_FromUnsignedLongLong(n);
    }
  }
  return malformed();
}

static PyObject *get_value(in_buf *b, int depth) {
  const uint8_t *at;
  if (depth > MAX_DEPTH) return malformed();
  if (take(b, 1, &at)) return NULL;
  uint8_t head = *at;
  if (head < 0x80) return PyLong_FromLong(head);
  if (head >= 0xE0) return PyLong_FromLong((int8_t)head);
  if (head < 0x90) return get_dict(b, head & 15u, depth);
  if (head < 0xA0) return get_list(b, head & 15u, depth);
  if (head < 0xC0) return get_text(b, head & 31u);
  switch (head) {
    case 0xC0: Py_RETURN_NONE;
    case 0xC2: Py_RETURN_FALSE;
    case 0xC3: Py_RETURN_TRUE;
    case 0xCA: return get_float(b, 4);
    case 0xCB: return get_float(b, 8);
    case 0xD0: return get_signed(b, 1);
    case 0xD1: return get_signed(b, 2);
    case 0xD2: return get_signed(b, 4);
    case 0xD3: return get_signed(b, 8);
    default: return get_sized(b, head, depth);
  }
}

PyObject *wrpy_unpack(const uint8_t *data, size_t len) {
  in_buf b = {data, data + len};
  PyObject *v = get_value(&b, 0);
  if (v && b.p != b.end) {
    Py_DECREF(v);
    return malformed();
  }
  return v;
}

static PyObject *m_unpack(PyObject *module, PyObject *v) {
  (void)module;
  Py_buffer view;
  if (PyObject_GetBuffer(v, &view, PyBUF_SIMPLE)) return NULL;
  PyObject *out = wrpy_unpack(view.buf, (size_t)view.len);
  PyBuffer_Release(&view);
  return out;
}

PyMethodDef wrpy_pack_methods[] = {
    {"pack", m_pack, METH_O, "pack(value) -> bytes: plain msgpack."},
    {"unpack", m_unpack, METH_O, "unpack(data): the one value that pack() made."},
    {NULL, NULL, 0, NULL},
};
