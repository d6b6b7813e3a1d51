/* Arguments of a call: an array of the positional ones, then, where there are any, a map of the
 * others by name; no bytes at all for no arguments.  Each is encoded by itself: arguments share no
 * objects. */
#include "pyext/codec_parts.h"

/* ---- writing --------------------------------------------------------------------------------- */

/* For each argument that is an ObjectRef its place in the table, in their order. */
typedef struct {
  uint32_t few[32], *at, n, next;
} dep_list;

/* Every argument that is an ObjectRef, each object once, at the head of the table. */
static int collect_deps(wr_enc *e, PyObject *const *args, Py_ssize_t n, dep_list *deps) {
  PyTypeObject *type = e->cs->ref_type;
  for (Py_ssize_t i = 0; type && i < n; i++) {
    if (Py_TYPE(args[i]) != type) continue;
    int64_t place = wrpy_enc_register_ref(e, args[i]);
    if (place < 0) return -1;
    deps->at[deps->n++] = (uint32_t)place;
  }
  e->ndeps = e->nrefs;
  return 0;
}

static int put_argument(wr_enc *e, PyObject *v, Py_ssize_t index, PyObject *name, dep_list *deps) {
  if (Py_TYPE(v) != e->cs->ref_type) return wrpy_enc_one(e, v, (wrpy_what){index, name});
  wr_pack_ref(&e->out, deps->at[deps->next++]);
  return 0;
}

static int put_name(wr_enc *e, PyObject *name) {
  Py_ssize_t n;
  const char *utf8 = PyUnicode_AsUTF8AndSize(name, &n);
  if (!utf8) return -1;
  wr_pack_str(&e->out, utf8, (size_t)n);
  return 0;
}

static int put_all(wr_enc *e, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                   dep_list *deps) {
  Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  if (collect_deps(e, args, nargs + nkw, deps) < 0) return -1;
  wrpy_seen_reset(&e->seen);
  wr_pack_array(&e->out, (size_t)nargs);
  for (Py_ssize_t i = 0; i < nargs; i++)
    if (put_argument(e, args[i], i, NULL, deps) < 0) return -1;
  if (!nkw) return 0;
  wr_pack_map(&e->out, (size_t)nkw);
  for (Py_ssize_t i = 0; i < nkw; i++) {
    PyObject *name = PyTuple_GET_ITEM(kwnames, i);
    if (put_name(e, name) < 0 || put_argument(e, args[nargs + i], -1, name, deps) < 0) return -1;
  }
  return 0;
}

static int put_arguments(wr_enc *e, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  size_t n = (size_t)(nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
  dep_list deps;
  if (n == 0) return 0;
  deps.n = deps.next = 0;
  deps.at = n > sizeof deps.few / sizeof *deps.few ? PyMem_New(uint32_t, n) : deps.few;
  if (!deps.at) {
    PyErr_NoMemory();
    return -1;
  }
  int rc = put_all(e, args, nargs, kwnames, &deps);
  if (deps.at != deps.few) PyMem_Free(deps.at);
  return rc;
}

int wrpy_enc_call(wr_codec_state *cs, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                  wr_enc *e) {
  wrpy_enc_init(e, cs);
  if (put_arguments(e, args, nargs, kwnames) == 0 && wrpy_enc_finish(e) == 0) return 0;
  wrpy_enc_clear(e);
  return -1;
}

/* The argument stands behind the counts, and behind its name if it has one. */
int wrpy_enc_sole(wr_enc *e) {
  wr_rbuf r = {e->out.data, e->out.data + e->out.len};
  wr_tok t;
  if (e->ndeps || wr_read_token(&r, &t) || t.kind != WR_TOK_ARRAY || t.n > 1) return 0;
  if (t.n == 0 && (wr_read_token(&r, &t) || t.kind != WR_TOK_MAP || t.n != 1 ||
                   wr_read_token(&r, &t) || t.kind != WR_TOK_STR))
    return 0;
  e->out.len = (size_t)(r.end - r.p);
  memmove(e->out.data, r.p, e->out.len);
  return wrpy_enc_finish(e) == 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What has been read of a call so far. */
typedef struct {
  PyObject **args; /* one slot lies before it, for the callee's use */
  Py_ssize_t done, npos;
  PyObject *names;
} call;

static int make_room(call *c, size_t n) {
  PyObject **old = c->args ? c->args - 1 : NULL;
  PyObject **slots = PyMem_Realloc(old, ((size_t)c->done + n + 1) * sizeof *slots);
  if (!slots) {
    PyErr_NoMemory();
    return -1;
  }
  c->args = slots + 1;
  return 0;
}

static PyObject *read_argument(wrpy_dec *d, wr_rbuf *r) {
  wr_tok t;
  uint32_t k;
  if (wr_read_token(r, &t)) return wrpy_dec_malformed("cut off, or no argument");
  if (t.kind != WR_TOK_EXT || t.ext != WR_EXT_REF) return wrpy_dec_token(d, r, &t);
  if (wr_read_ref(&t, &k) || k >= d->cx->nrefs || !d->cx->resolve)
    return wrpy_dec_malformed("no such argument");
  return d->cx->resolve(d->cx, k);
}

static int read_one(wrpy_dec *d, wr_rbuf *r, call *c) {
  PyObject *v = read_argument(d, r);
  if (!v) return -1;
  c->args[c->done++] = v;
  return 0;
}

static int read_name(wr_rbuf *r, PyObject *names, size_t i) {
  wr_tok t;
  if (wr_read_token(r, &t) || t.kind != WR_TOK_STR) return -1;
  PyObject *name = PyUnicode_DecodeUTF8((const char *)t.data, (Py_ssize_t)t.n, NULL);
  if (!name) {
    if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) PyErr_Clear();
    return -1;
  }
  PyUnicode_InternInPlace(&name);
  PyTuple_SET_ITEM(names, (Py_ssize_t)i, name);
  return 0;
}

static int read_named(wrpy_dec *d, wr_rbuf *r, call *c) {
  wr_tok t;
  if (wr_read_token(r, &t) || t.kind != WR_TOK_MAP || t.n == 0) {
    wrpy_dec_malformed("no names");
    return -1;
  }
  c->names = PyTuple_New((Py_ssize_t)t.n);
  if (!c->names || make_room(c, t.n) < 0) return -1;
  for (size_t i = 0; i < t.n; i++) {
    if (read_name(r, c->names, i) < 0) {
      wrpy_dec_malformed("a name that is no text");
      return -1;
    }
    if (read_one(d, r, c) < 0) return -1;
  }
  return 0;
}

static int read_call(wrpy_dec *d, call *c) {
  wr_rbuf r = d->frame.stream;
  wr_tok t;
  if (wr_read_token(&r, &t) || t.kind != WR_TOK_ARRAY) {
    wrpy_dec_malformed("no arguments");
    return -1;
  }
  if (make_room(c, t.n) < 0) return -1;
  for (size_t i = 0; i < t.n; i++)
    if (read_one(d, &r, c) < 0) return -1;
  c->npos = c->done;
  if (r.p != r.end && read_named(d, &r, c) < 0) return -1;
  if (r.p == r.end) return 0;
  wrpy_dec_malformed("bytes after the arguments");
  return -1;
}

static void drop(PyObject **args, Py_ssize_t n, PyObject *names) {
  for (Py_ssize_t i = 0; i < n; i++) Py_DECREF(args[i]);
  if (args) PyMem_Free(args - 1);
  Py_XDECREF(names);
}

int wrpy_dec_call(wr_codec_state *cs, const uint8_t *p, size_t len, const wr_dec_ctx *cx,
                  PyObject ***args, Py_ssize_t *nargs, PyObject **kwnames) {
  wrpy_dec d;
  call c = {.args = NULL};
  int rc = 0;
  if (len == 0)
    rc = make_room(&c, 0);
  else if (wrpy_dec_open(&d, cs, p, len, cx) < 0 || read_call(&d, &c) < 0)
    rc = -1;
  if (rc < 0) {
    drop(c.args, c.done, c.names);
    return -1;
  }
  *args = c.args;
  *nargs = c.npos;
  *kwnames = c.names;
  return 0;
}

void wrpy_dec_call_free(PyObject **args, Py_ssize_t nargs, PyObject *kwnames) {
  drop(args, nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0), kwnames);
}
