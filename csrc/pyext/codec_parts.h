/* pyext/codec_parts.h - what the files of the codec share among themselves.
 *
 * codec_collect.c  what an encoding gathers: bytes, buffers, references, objects seen
 * codec_enc.c      values that have a form of their own
 * codec_pickle.c   all others, both ways
 * codec_plain.c    which of them need no cloudpickle
 * codec_dec.c      bytes to values
 * codec_call.c     arguments of a call
 * codec_api.c      module state and functions for Python
 * Same rules as codec.h. */
#ifndef WR_PYEXT_CODEC_PARTS_H
#define WR_PYEXT_CODEC_PARTS_H

#include "pyext/codec.h"

#define WRPY_PICKLE 1           /* from an encoder of a part: this value must be pickled */
#define WRPY_OUT_OF_LINE 4096u  /* bytes, text and pickles of this length leave the stream */
#define WRPY_ARRAY_INLINE 96u   /* elements of an array up to this many bytes stay in it */
#define WRPY_MAX_DEPTH 1024      /* of containers when writing, twice what pickle can do */
#define WRPY_MAX_READ_DEPTH 1100 /* when reading */
#define WRPY_MAX_NODES 1000000u

#if PY_VERSION_HEX >= 0x030D0000
#define WRPY_LOCKED_BEGIN Py_BEGIN_CRITICAL_SECTION
#define WRPY_LOCKED_END Py_END_CRITICAL_SECTION
#else
#define WRPY_LOCKED_BEGIN(op) {
#define WRPY_LOCKED_END() }
#endif

/* ---- codec_collect.c ------------------------------------------------------------------------- */

void wrpy_enc_init(wr_enc *e, wr_codec_state *cs);
/* Sets e->total; turns a failure of the stream into a Python error. */
int wrpy_enc_finish(wr_enc *e);
int wrpy_enc_check(wr_enc *e); /* 0, or -1 with an error set, when the stream has failed */
/* A buffer for the data area.  Takes over the reference to owner, also on failure. */
int wrpy_enc_buffer(wr_enc *e, const void *data, size_t len, PyObject *owner, size_t *off);
int64_t wrpy_enc_add_ref(wr_enc *e, PyObject *ref); /* index, or -1; does not look for equals */

/* 1: met before (*index is what was stored then); 0: new, stored; -1: no memory, error set. */
int wrpy_seen_add(wr_seen *s, const void *ptr, uint32_t *index);
void wrpy_seen_reset(wr_seen *s);

typedef struct {
  size_t len, data_len;
  uint32_t nbufs, nrefs;
} wr_enc_mark;
wr_enc_mark wrpy_enc_mark(const wr_enc *e);
/* Forgets what was written since the mark, and all objects seen. */
void wrpy_enc_rewind(wr_enc *e, wr_enc_mark m);

/* ---- codec_enc.c, codec_pickle.c ------------------------------------------------------------- */

/* Which value an error is about: argument `index`, the one called `name`, what is put (-2, NULL),
 * or any other (-1, NULL). */
#define WRPY_WHAT_PUT (-2)
typedef struct {
  Py_ssize_t index;
  PyObject *name;
} wrpy_what;

/* One value that shares no objects with others: own form if possible, else pickled. */
int wrpy_enc_one(wr_enc *e, PyObject *v, wrpy_what what);
int wrpy_enc_pickle(wr_enc *e, PyObject *v, wrpy_what what);
/* 1: pickle itself gives the same bytes as cloudpickle would; 0: not known; -1: error.
 * Uses `seen`. */
int wrpy_plain(wr_codec_state *cs, wr_seen *seen, PyObject *v);

/* ---- codec_dec.c ----------------------------------------------------------------------------- */

typedef struct {
  wr_codec_state *cs;
  const wr_dec_ctx *cx;
  wr_frame frame;
  int depth;
} wrpy_dec;

int wrpy_dec_open(wrpy_dec *d, wr_codec_state *cs, const uint8_t *p, size_t len,
                  const wr_dec_ctx *cx);
PyObject *wrpy_dec_next(wrpy_dec *d, wr_rbuf *r);
PyObject *wrpy_dec_token(wrpy_dec *d, wr_rbuf *r, const wr_tok *t);
PyObject *wrpy_dec_pickle(wrpy_dec *d, wr_rbuf payload);
/* A buffer of the value as a read-only memoryview: in place if there is cx->base, else a copy. */
PyObject *wrpy_dec_buffer(wrpy_dec *d, const uint8_t *p, size_t len);
extern PyType_Spec wrpy_region_spec;
PyObject *wrpy_dec_malformed(const char *what); /* NULL, with ValueError set */

#endif
