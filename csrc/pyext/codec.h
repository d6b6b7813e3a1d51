/* pyext/codec.h - between Python values and the bytes of wire/value.h.
 *
 * Exactly None, bool, int (64 bits), float, str, bytes, list, tuple, dict, ObjectRef, arrays and
 * scalars of NumPy have forms of their own.  A value with anything else inside, a mutable object
 * met twice, or nesting too deep, is pickled as a whole, so that what comes back is what pickle
 * would give.  Large buffers are not copied before wrpy_enc_write.
 *
 * Encoding takes two steps: wrpy_enc_value (or _call) measures and keeps every buffer and every
 * ObjectRef alive, wrpy_enc_write copies to memory that the caller has reserved for e->total
 * bytes.  The caller owns the wr_enc and ends it with wrpy_enc_clear, also after the write; a call
 * that fails has cleared it.  All calls need the GIL, but wrpy_enc_write.  While a value is pickled
 * or unpickled, a thread-local pointer names the encoding or decoding that is under way, for
 * ObjectRef.__reduce__ and _ref_at; they nest. */
#ifndef WR_PYEXT_CODEC_H
#define WR_PYEXT_CODEC_H

#include <Python.h>

#include "client/client.h"
#include "wire/value.h"

/* Part of the module state. */
typedef struct {
  PyTypeObject *ref_type;                 /* ObjectRef, set by the module; may be NULL */
  PyTypeObject *handle_type;              /* base of the handles of actors, likewise */
  int (*ref_id)(PyObject *ref, wr_id *out); /* id of an ObjectRef: 0, or -1 with an error set */
  PyTypeObject *region_type;              /* exports bytes of the segment as a buffer */
  PyObject *plain_dumps, *loads;          /* of _pickle; NULL until needed */
  PyObject *dumps;                        /* whipray._private.serialization.dump, likewise */
  PyObject *dumps_names, *loads_names;    /* keyword names for the two */
  int custom;                             /* serializers of the user's own are registered */
} wr_codec_state;

int wrpy_codec_init(wr_codec_state *cs, PyObject *module); /* 0 or -1 */
int wrpy_codec_traverse(wr_codec_state *cs, visitproc visit, void *arg);
void wrpy_codec_clear(wr_codec_state *cs);

/* Functions of the module that belong to the codec: encode, decode, _ref_at, _set_custom. */
extern PyMethodDef wrpy_codec_methods[];
/* Provided by the module: the state inside it. */
wr_codec_state *wrpy_codec_of_module(PyObject *module);

/* ---- encoding -------------------------------------------------------------------------------- */

typedef struct {
  const uint8_t *data;
  size_t len, off; /* off: in the data area */
  PyObject *owner;
} wr_enc_buf;

typedef struct {
  const void *ptr;
  uint32_t index;
} wr_seen_slot;

/* Objects met so far, by address: an open-addressing table that is empty until needed. */
typedef struct {
  wr_seen_slot *slots;
  uint32_t cap, used;
  wr_seen_slot inl[16];
} wr_seen;

typedef struct wr_enc {
  size_t total;            /* bytes that wrpy_enc_write will write; 0: a call without arguments */
  wr_id *refs;             /* of records the value holds; a call's arguments come first */
  uint32_t nrefs, ndeps;
  /* private */
  wr_codec_state *cs;
  wr_wbuf out;
  wr_enc_buf *bufs;
  uint32_t nbufs, cap_bufs, cap_refs;
  size_t data_len;
  PyObject **ref_objs;     /* parallel to refs: keep the records alive */
  wr_seen seen;
  struct wr_enc *outer;    /* the encoding that this one interrupts */
  wr_enc_buf inl_bufs[4];
  wr_id inl_refs[8];
  PyObject *inl_objs[8];
  uint8_t scratch[1024];
} wr_enc;

int wrpy_enc_value(wr_codec_state *cs, PyObject *v, wr_enc *e); /* 0, or -1 with an error set */
int wrpy_enc_put(wr_codec_state *cs, PyObject *v, wr_enc *e);   /* the same; errors name put */
/* As vectorcall passes them: nargs values, then one for each name.  An argument that is an
 * ObjectRef itself becomes a dependency, refs[0..ndeps). */
int wrpy_enc_call(wr_codec_state *cs, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                  wr_enc *e);
/* A call with one argument becomes the encoding of that argument as a value: 1; 0: it can not. */
int wrpy_enc_sole(wr_enc *e);
/* dst is 64-byte aligned where total > 32. */
void wrpy_enc_write(const wr_enc *e, uint8_t *dst);
typedef void wrpy_copy(void *arg, uint8_t *dst, const uint8_t *src, size_t n);
void wrpy_enc_write_by(const wr_enc *e, uint8_t *dst, wrpy_copy *copy, void *arg);
void wrpy_enc_clear(wr_enc *e);
/* A value that is one array: the bytes that stand before its elements, which lie at `data`; 0: it
 * is not. */
size_t wrpy_enc_head_of(const wr_enc *e, const void *data);
/* The buffer that is at least half of the value: its number, where it lies now, and behind how many
 * bytes of the value it belongs.  1, or 0: there is none. */
typedef struct {
  uint32_t number;
  const uint8_t *data;
  size_t len, head;
} wrpy_part;
int wrpy_enc_main_part(const wr_enc *e, wrpy_part *part);
/* wrpy_enc_write of all but one buffer; also writes zeros where parts are padded. */
void wrpy_enc_write_around(const wr_enc *e, uint32_t part, uint8_t *dst);

/* The encoding of this thread that pickles right now, or NULL. */
wr_enc *wrpy_enc_active(void);
/* Notes a contained ObjectRef: its index for _core._ref_at, or -1 with an error set. */
int64_t wrpy_enc_register_ref(wr_enc *e, PyObject *ref);

/* ---- decoding -------------------------------------------------------------------------------- */

#define WRPY_DEC_NO_PICKLE 1u /* refuse what would run code */

typedef struct wr_dec_ctx {
  const wr_idx *refs; /* as written by the encoding */
  uint32_t nrefs;
  unsigned flags;
  PyObject *base; /* kept alive by views of the bytes; NULL: copy buffers out */
  /* new references: to an ObjectRef, to argument k's value */
  PyObject *(*make_ref)(const struct wr_dec_ctx *cx, wr_idx idx);
  PyObject *(*resolve)(const struct wr_dec_ctx *cx, uint32_t k);
  void *ctx;
  PyObject *failed; /* the value is an error whose unpickling has raised this: what can be told of
                       it is read instead; NULL: read it as it is */
  uint32_t epoch; /* for make_ref: the session that refs belong to */
  long *reading;  /* counts, if not NULL, while code of the program's own may run, in pickles or
                     where garbage is collected: the bytes have to stay, whatever it does */
} wr_dec_ctx;

/* Malformed bytes raise ValueError; what unpickling raises is passed on. */
PyObject *wrpy_dec_value(wr_codec_state *cs, const uint8_t *p, size_t len, const wr_dec_ctx *cx);

/* Arguments as vectorcall takes them: *args may be passed with PY_VECTORCALL_ARGUMENTS_OFFSET.
 * wrpy_dec_call_free drops all of it. */
int wrpy_dec_call(wr_codec_state *cs, const uint8_t *p, size_t len, const wr_dec_ctx *cx,
                  PyObject ***args, Py_ssize_t *nargs, PyObject **kwnames);
void wrpy_dec_call_free(PyObject **args, Py_ssize_t nargs, PyObject *kwnames);

/* The ObjectRef of index k in the decoding under way: new reference, or NULL with an error set. */
PyObject *wrpy_dec_ref_at(uint32_t k);

#endif
