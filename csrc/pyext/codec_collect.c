#include "pyext/codec_parts.h"

void wrpy_enc_init(wr_enc *e, wr_codec_state *cs) {
  e->total = 0;
  e->refs = e->inl_refs;
  e->nrefs = e->ndeps = 0;
  e->cs = cs;
  wr_wbuf_init(&e->out, e->scratch, sizeof e->scratch);
  e->bufs = e->inl_bufs;
  e->nbufs = 0;
  e->cap_bufs = sizeof e->inl_bufs / sizeof e->inl_bufs[0];
  e->cap_refs = sizeof e->inl_refs / sizeof e->inl_refs[0];
  e->data_len = 0;
  e->ref_objs = e->inl_objs;
  e->seen.slots = e->seen.inl;
  e->seen.cap = e->seen.used = 0;
  e->outer = NULL;
}

/* ---- objects seen ---------------------------------------------------------------------------- */

#define SEEN_INLINE (sizeof(((wr_seen *)0)->inl) / sizeof(wr_seen_slot))

static wr_seen_slot *seen_slot(const wr_seen *s, const void *ptr) {
  uint64_t hash = (uint64_t)(uintptr_t)ptr * UINT64_C(0x9E3779B97F4A7C15);
  uint32_t mask = s->cap - 1;
  for (uint32_t i = (uint32_t)(hash >> 32) & mask;; i = (i + 1) & mask)
    if (!s->slots[i].ptr || s->slots[i].ptr == ptr) return &s->slots[i];
}

static int seen_grow(wr_seen *s) {
  wr_seen_slot *old = s->slots;
  uint32_t old_cap = s->cap, cap = old_cap * 4;
  wr_seen_slot *slots = PyMem_RawCalloc(cap, sizeof *slots);
  if (!slots) {
    PyErr_NoMemory();
    return -1;
  }
  s->slots = slots;
  s->cap = cap;
  for (uint32_t i = 0; i < old_cap; i++)
    if (old[i].ptr) *seen_slot(s, old[i].ptr) = old[i];
  if (old != s->inl) PyMem_RawFree(old);
  return 0;
}

int wrpy_seen_add(wr_seen *s, const void *ptr, uint32_t *index) {
  if (s->cap == 0) {
    s->cap = SEEN_INLINE;
    memset(s->inl, 0, sizeof s->inl);
  }
  wr_seen_slot *slot = seen_slot(s, ptr);
  if (slot->ptr) {
    *index = slot->index;
    return 1;
  }
  if (s->used >= s->cap / 2) {
    if (seen_grow(s) < 0) return -1;
    slot = seen_slot(s, ptr);
  }
  *slot = (wr_seen_slot){ptr, *index};
  s->used++;
  return 0;
}

void wrpy_seen_reset(wr_seen *s) {
  if (s->slots != s->inl) PyMem_RawFree(s->slots);
  s->slots = s->inl;
  s->cap = s->used = 0;
}

/* ---- buffers and references ------------------------------------------------------------------ */

/* An array of n entries that lives in the wr_enc at first: a larger copy of it. */
static void *grow_array(void *array, const void *inl, size_t n, size_t width) {
  void *larger = PyMem_RawRealloc(array == inl ? NULL : array, 2 * n * width);
  if (!larger)
    PyErr_NoMemory();
  else if (array == inl)
    memcpy(larger, inl, n * width);
  return larger;
}

int wrpy_enc_buffer(wr_enc *e, const void *data, size_t len, PyObject *owner, size_t *off) {
  if (e->nbufs == e->cap_bufs) {
    wr_enc_buf *bufs = grow_array(e->bufs, e->inl_bufs, e->nbufs, sizeof *bufs);
    if (!bufs) {
      Py_DECREF(owner);
      return -1;
    }
    e->bufs = bufs;
    e->cap_bufs *= 2;
  }
  *off = wr_value_align(e->data_len);
  e->bufs[e->nbufs++] = (wr_enc_buf){data, len, *off, owner};
  e->data_len = *off + len;
  return 0;
}

static int grow_refs(wr_enc *e) {
  wr_id *refs = grow_array(e->refs, e->inl_refs, e->cap_refs, sizeof *refs);
  if (!refs) return -1;
  e->refs = refs;
  PyObject **objs = grow_array(e->ref_objs, e->inl_objs, e->cap_refs, sizeof *objs);
  if (!objs) return -1;
  e->ref_objs = objs;
  e->cap_refs *= 2;
  return 0;
}

int64_t wrpy_enc_add_ref(wr_enc *e, PyObject *ref) {
  if (e->nrefs == e->cap_refs && grow_refs(e) < 0) return -1;
  if (e->cs->ref_id(ref, &e->refs[e->nrefs]) < 0) return -1;
  e->ref_objs[e->nrefs] = Py_NewRef(ref);
  return e->nrefs++;
}

int64_t wrpy_enc_register_ref(wr_enc *e, PyObject *ref) {
  uint32_t index = e->nrefs;
  int met = wrpy_seen_add(&e->seen, ref, &index);
  if (met < 0) return -1;
  return met ? (int64_t)index : wrpy_enc_add_ref(e, ref);
}

/* ---- marks, the end -------------------------------------------------------------------------- */

wr_enc_mark wrpy_enc_mark(const wr_enc *e) {
  return (wr_enc_mark){e->out.len, e->data_len, e->nbufs, e->nrefs};
}

void wrpy_enc_rewind(wr_enc *e, wr_enc_mark m) {
  if (e->out.failed == WR_LIMIT) e->out.failed = WR_OK;
  e->out.len = m.len;
  e->data_len = m.data_len;
  while (e->nbufs > m.nbufs) Py_DECREF(e->bufs[--e->nbufs].owner);
  while (e->nrefs > m.nrefs) Py_DECREF(e->ref_objs[--e->nrefs]);
  wrpy_seen_reset(&e->seen);
}

int wrpy_enc_check(wr_enc *e) {
  if (!e->out.failed) return 0;
  if (e->out.failed == WR_NOMEM)
    PyErr_NoMemory();
  else
    PyErr_SetString(PyExc_OverflowError, "the value is too large to be encoded");
  return -1;
}

int wrpy_enc_finish(wr_enc *e) {
  if (wrpy_enc_check(e) < 0) return -1;
  e->total = e->nbufs ? wr_frame_data(e->out.len) + e->data_len : e->out.len;
  return 0;
}

static void zero(uint8_t *from, const uint8_t *to) {
  if (to > from) memset(from, 0, (size_t)(to - from));
}

static inline void write_parts(const wr_enc *e, uint8_t *dst, wrpy_copy *copy, void *arg,
                               uint32_t skipped) {
  wr_frame_write(dst, e->out.data, e->out.len);
  uint8_t *data = dst + wr_frame_data(e->out.len), *end = data;
  for (uint32_t i = 0; i < e->nbufs; i++) {
    const wr_enc_buf *b = &e->bufs[i];
    zero(end, data + b->off);
    if (i != skipped) copy(arg, data + b->off, b->data, b->len);
    end = data + b->off + b->len;
  }
}

static void copy_plain(void *arg, uint8_t *dst, const uint8_t *src, size_t n) {
  (void)arg;
  wr_copy_large(dst, src, n);
}

void wrpy_enc_write(const wr_enc *e, uint8_t *dst) {
  if (e->nbufs)
    write_parts(e, dst, copy_plain, NULL, UINT32_MAX);
  else if (e->total)
    memcpy(dst, e->out.data, e->total);
}

void wrpy_enc_write_by(const wr_enc *e, uint8_t *dst, wrpy_copy *copy, void *arg) {
  if (e->nbufs)
    write_parts(e, dst, copy, arg, UINT32_MAX);
  else
    copy(arg, dst, e->out.data, e->total);
}

size_t wrpy_enc_head_of(const wr_enc *e, const void *data) {
  int alone = e->nbufs == 1 && e->nrefs == 0 && e->bufs[0].off == 0 && e->bufs[0].data == data;
  return alone ? wr_frame_data(e->out.len) : 0;
}

int wrpy_enc_main_part(const wr_enc *e, wrpy_part *part) {
  for (uint32_t i = 0; i < e->nbufs; i++) {
    const wr_enc_buf *b = &e->bufs[i];
    if (b->len < e->total / 2) continue;
    *part = (wrpy_part){i, b->data, b->len, wr_frame_data(e->out.len) + b->off};
    return 1;
  }
  return 0;
}

void wrpy_enc_write_around(const wr_enc *e, uint32_t part, uint8_t *dst) {
  write_parts(e, dst, copy_plain, NULL, part);
}

void wrpy_enc_clear(wr_enc *e) {
  while (e->nbufs) Py_DECREF(e->bufs[--e->nbufs].owner);
  while (e->nrefs) Py_DECREF(e->ref_objs[--e->nrefs]);
  if (e->bufs != e->inl_bufs) PyMem_RawFree(e->bufs);
  if (e->refs != e->inl_refs) PyMem_RawFree(e->refs);
  if (e->ref_objs != e->inl_objs) PyMem_RawFree(e->ref_objs);
  e->bufs = e->inl_bufs;
  e->refs = e->inl_refs;
  e->ref_objs = e->inl_objs;
  wrpy_seen_reset(&e->seen);
  wr_wbuf_free(&e->out);
  e->total = 0;
  e->ndeps = 0;
}
