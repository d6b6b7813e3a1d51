/* Values in the store: writing what was encoded, reading it back, holding what a view shows. */
#include "os/files.h"
#include "os/os.h"
#include "pyext/module.h"

#define PATIENCE_NS UINT64_C(10000000000) /* without any progress of whiprayd, or others */
#define NAP_NS INT64_C(50000000)

/* ---- the base of zero-copy views ------------------------------------------------------------ */

/* Keeps an object while arrays and buffers show its bytes. */
typedef struct wrpy_hold {
  PyObject_HEAD wr_id id;
  uint32_t epoch;
  struct wrpy_hold *prev, *next; /* of all that live */
} wrpy_hold;

static wrpy_hold *newest_hold;

static void enlist(wrpy_hold *h) {
  h->prev = NULL;
  h->next = newest_hold;
  if (h->next) h->next->prev = h;
  newest_hold = h;
}

static void delist(wrpy_hold *h) {
  if (h->next) h->next->prev = h->prev;
  if (h->prev)
    h->prev->next = h->next;
  else
    newest_hold = h->next;
}

int wrpy_keep_views(void) {
  int rc = WR_OK;
  for (wrpy_hold *h = newest_hold; h && rc == WR_OK; h = h->next)
    if (h->epoch == wrpy_sess.epoch) rc = wr_value_keep(wrpy_sess.client, h->id);
  return rc;
}

static PyObject *hold_new(wrpy_state *st, wr_id id) {
  int rc = wr_view_hold(wrpy_sess.client, id);
  if (rc != WR_OK) return wrpy_fail_null(st, rc, "holding an object");
  wrpy_hold *h = PyObject_New(wrpy_hold, st->hold_type);
  if (!h) {
    wr_view_unhold(wrpy_sess.client, id);
    return NULL;
  }
  h->id = id;
  h->epoch = wrpy_sess.epoch;
  enlist(h);
  wrpy_sess.views++;
  return (PyObject *)h;
}

static void hold_dealloc(PyObject *self) {
  wrpy_hold *h = (wrpy_hold *)self;
  PyTypeObject *type = Py_TYPE(self);
  delist(h);
  if (h->epoch == wrpy_sess.epoch) {
    wrpy_sess.views--;
    wr_view_unhold(wrpy_sess.client, h->id);
  }
  PyObject_Free(self);
  Py_DECREF(type);
}

static PyType_Slot hold_slots[] = {
    {Py_tp_dealloc, hold_dealloc},
    {0, NULL},
};

PyType_Spec wrpy_hold_spec = {
    .name = "whipray._core._Hold",
    .basicsize = sizeof(wrpy_hold),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = hold_slots,
};

/* ---- writing -------------------------------------------------------------------------------- */

/* Why nothing can be spilled, and where to; "" when nothing is wrong there. */
static void describe_trouble(char *out, size_t cap, int trouble) {
  const wr_header *h = wrpy_sess.seg->h;
  uint64_t bytes = wr_load(&h->spill_bytes), room = wr_load(&h->spill_free);
  uint64_t all = wr_load(&h->spill_disk);
  char sizes[160] = "";
  if (all)
    snprintf(sizes, sizeof sizes, ", where %llu bytes were to go and %llu of %llu are free",
             (unsigned long long)bytes, (unsigned long long)room, (unsigned long long)all);
  int kept = wr_os_disk_is_full(trouble) && room > bytes;
  if (trouble)
    snprintf(out, cap, " to %s%s: %s%s", h->spill_dir, sizes, strerror(trouble),
             kept ? " but what RAY_local_fs_capacity_threshold keeps free" : "");
}

/* The store grows for one that is larger than itself, but not beyond the machine's memory. */
static int too_large(wrpy_state *st, size_t len) {
  size_t store = wrpy_sess.seg->store_chunks * WR_CHUNK;
  size_t all = wrpy_sess.seg->heap_chunks * WR_CHUNK;
  if (len < all) return 0;
  if (all > store)
    return wrpy_raise(st, "ObjectStoreFullError",
                      "an object of %zu bytes can never fit: the object store and the memory that "
                      "it may grow into have %zu bytes", len, all);
  return wrpy_raise(st, "ObjectStoreFullError",
                    "an object of %zu bytes can never fit into an object store of %zu bytes: give "
                    "init() a larger object_store_memory", len, store);
}

static int no_room(wrpy_state *st, const char *what, size_t len) {
  int trouble = (int)wr_load32(&wrpy_sess.seg->h->spill_trouble);
  size_t store = wrpy_sess.seg->store_chunks * WR_CHUNK;
  char why[720] = "";
  if (len >= store)
    return wrpy_raise(st, "ObjectStoreFullError",
                      "no room %s %zu bytes: that is more than the object store has, %zu bytes, "
                      "and memory is too short for it to grow (waited %d s)",
                      what, len, store, (int)(PATIENCE_NS / 1000000000));
  describe_trouble(why, sizeof why, trouble);
  return wrpy_raise(st, wr_os_disk_is_full(trouble) ? "OutOfDiskError" : "ObjectStoreFullError",
                    "no room %s %zu bytes in an object store of %zu bytes: the rest of it is in "
                    "use by arrays that live, or can not be spilled%s (waited %d s)",
                    what, len, store, why, (int)(PATIENCE_NS / 1000000000));
}

static uint32_t steps(void) { return wr_load32(&wrpy_sess.seg->h->spill_steps); }

/* 1: as long again; 0: nothing has moved for too long.  Time in which whiprayd, or this process,
 * has not come to run does not count: then others have had no chance to let go of anything. */
static int still_patient(wrpy_room *room, uint64_t nap_ns) {
  uint64_t now = wr_os_now_ns(), passed = now - room->asked;
  uint32_t looks = wr_load32(&wrpy_sess.seg->h->spill_looks);
  if (!room->asked || room->steps != steps()) {
    room->waited = 0;
    room->steps = steps();
  } else if (room->looks != looks) {
    room->waited += passed < 2 * nap_ns ? passed : 2 * nap_ns;
  }
  room->asked = now;
  room->looks = looks;
  return room->waited < PATIENCE_NS;
}

/* whiprayd spills what it can.  Readers elsewhere may let go of something soon; so may garbage in
 * cycles here. */
int wrpy_room_wait(wrpy_state *st, wrpy_room *room, size_t len) {
  if (too_large(st, len)) return -1;
  if (wr_client_ended(wrpy_sess.client)) return wrpy_fail(st, WR_CLOSED, "waiting for room");
  int first = !room->since;
  uint32_t epoch = wrpy_sess.epoch;
  if (first) {
    room->since = wr_os_now_ns();
    room->seen = wr_wakeups(wrpy_sess.client);
  }
  if (!still_patient(room, (uint64_t)NAP_NS)) return no_room(st, "for an object of", len);
  if (first) PyGC_Collect(); /* finalizers may leave the session, too */
  if (wrpy_left(st, epoch, "waiting for room")) return -1;
  WRPY_LEAVE
  wr_room_ask(wrpy_sess.client, len, wr_os_now_ns() - room->since);
  (void)wr_wait_change(wrpy_sess.client, &room->seen, NAP_NS);
  WRPY_ENTER
  if (PyErr_CheckSignals()) return -1;
  return wrpy_left(st, epoch, "waiting for room");
}

static void write_fresh(void *client, uint8_t *dst, const uint8_t *src, size_t n) {
  wr_value_write(client, dst, src, n);
}

int wrpy_copy_large(wrpy_state *st, const wr_enc *enc, uint8_t *dst, const char *doing) {
  uint32_t epoch = wrpy_sess.epoch;
  WRPY_LEAVE
  wr_client *c = wrpy_sess.client;
  if (wr_value_is_fresh(c, dst, enc->total))
    wrpy_enc_write_by(enc, dst, write_fresh, c);
  else
    wrpy_enc_write(enc, dst);
  WRPY_ENTER
  return wrpy_left(st, epoch, doing);
}

int wrpy_store(wrpy_state *st, wr_idx idx, wr_enc *enc) {
  wrpy_room room = {0};
  uint8_t *dst = NULL;
  for (;;) {
    int rc = wr_value_reserve(wrpy_sess.client, idx, enc->total, enc->refs, enc->nrefs, &dst);
    if (rc == WR_OK) break;
    if (rc != WR_FULL) return wrpy_fail(st, rc, "storing a value");
    if (wrpy_room_wait(st, &room, enc->total)) return -1;
  }
  return wrpy_copy_out(st, enc, dst, "storing a value");
}

static WR_SHORT int put_encoded(wrpy_state *st, wr_enc *enc, uint32_t epoch, int is_error,
                                wr_id *out) {
  if (wrpy_left(st, epoch, "storing a value")) return -1;
  int rc = wr_object_create(wrpy_sess.client, out);
  if (rc != WR_OK) return wrpy_fail(st, rc, "creating an object");
  int stored = WR_UNLIKELY(enc->total >= WRPY_SHARED_MIN) ? wrpy_shared_put(st, *out, enc) : 0;
  if (stored > 0 || (stored == 0 && wrpy_store(st, out->idx, enc) == 0)) {
    rc = wr_object_seal(wrpy_sess.client, out->idx, is_error, 0);
    if (rc == WR_OK) return 0;
    wrpy_fail(st, rc, "storing a value");
  }
  if (wrpy_still_in(epoch)) wr_creator_drop(wrpy_sess.client, *out);
  return -1;
}

int wrpy_put_encoded(wrpy_state *st, wr_enc *enc, uint32_t epoch, wr_id *out) {
  return put_encoded(st, enc, epoch, 0, out);
}

static int put(wrpy_state *st, PyObject *v, int is_error, wr_id *out) {
  wr_enc enc;
  uint32_t epoch = wrpy_sess.epoch;
  if (wrpy_enc_put(&st->codec, v, &enc)) return -1;
  int rc = put_encoded(st, &enc, epoch, is_error, out);
  wrpy_enc_clear(&enc);
  return rc;
}

int wrpy_put_value(wrpy_state *st, PyObject *v, wr_id *out) { return put(st, v, 0, out); }
int wrpy_put_error(wrpy_state *st, PyObject *exc, wr_id *out) { return put(st, exc, 1, out); }

/* ---- reading -------------------------------------------------------------------------------- */

static PyObject *make_ref(const wr_dec_ctx *cx, wr_idx idx) {
  wrpy_state *st = cx->ctx;
  return wrpy_left(st, cx->epoch, "reading an object") ? NULL : wrpy_ref_hold(st, idx, 0);
}

/* [code, text, extra] as an exception object. */
static WR_RARE PyObject *engine_error(wrpy_state *st, const wr_view *view) {
  wrpy_sess.reading++;
  PyObject *fields = wrpy_unpack(view->data, view->len);
  wrpy_sess.reading--;
  PyObject *errors = fields ? wrpy_errors(st) : NULL;
  PyObject *fn = errors ? PyObject_GetAttrString(errors, "system_error") : NULL;
  PyObject *args = fn ? PySequence_Tuple(fields) : NULL;
  PyObject *exc = args ? PyObject_CallObject(fn, args) : NULL;
  Py_XDECREF(args);
  Py_XDECREF(fn);
  Py_XDECREF(fields);
  return exc;
}

/* Code of the user's that runs while a value is unpickled may raise anything. */
void wrpy_tell_unreadable(wrpy_state *st) {
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return;
  PyObject *error = wrpy_take_exception();
  PyObject *told = wrpy_hook(st, "unreadable", "(O)", error);
  if (told) PyErr_SetObject((PyObject *)Py_TYPE(told), told);
  Py_XDECREF(told);
  Py_XDECREF(error);
}

/* An error that can not be unpickled here, its class may be missing, still says what happened. */
static WR_RARE PyObject *read_what_is_left(wrpy_state *st, const wr_view *view, wr_dec_ctx *cx) {
  if (!view->is_error || !PyErr_ExceptionMatches(PyExc_Exception)) return NULL;
  wrpy_sess.reading++;
  cx->failed = wrpy_take_exception();
  PyObject *value = wrpy_dec_value(&st->codec, view->data, view->len, cx);
  if (!value) PyErr_SetObject((PyObject *)Py_TYPE(cx->failed), cx->failed);
  Py_CLEAR(cx->failed);
  wrpy_sess.reading--;
  return value;
}

/* base: what keeps the value, for views of it as well.  NULL: nothing does, and it is copied. */
static WR_SHORT PyObject *decode_view(wrpy_state *st, const wr_view *view, PyObject *base) {
  if (WR_UNLIKELY(view->is_error && view->flags & WR_VAL_SYSERR)) return engine_error(st, view);
  wr_dec_ctx cx = {.refs = view->refs,
                   .nrefs = view->nrefs,
                   .base = base,
                   .make_ref = make_ref,
                   .ctx = st,
                   .epoch = wrpy_sess.epoch,
                   .reading = &wrpy_sess.reading};
  PyObject *value = wrpy_dec_value(&st->codec, view->data, view->len, &cx);
  if (WR_UNLIKELY(!value)) value = read_what_is_left(st, view, &cx);
  if (WR_UNLIKELY(!value)) wrpy_tell_unreadable(st);
  return value;
}

static int sleep_for_value(void *arg, int64_t until_ns) {
  return wr_value_fetch(wrpy_sess.client, *(const wr_id *)arg, until_ns);
}

int wrpy_timed_out(wrpy_state *st) {
  return wrpy_raise(st, "GetTimeoutError", "Get timed out: some object(s) not ready.");
}

/* Waits until a value that is on disk is in memory; it stays there for who holds a view of it. */
static int fetch(wrpy_state *st, wr_id id, int64_t deadline) {
  wrpy_room room = {0};
  for (;;) {
    if (wr_value_remade(wrpy_sess.client, id)) room.asked = 0; /* it takes as long as it takes */
    if (!still_patient(&room, WRPY_SLICE_NS))
      return no_room(st, "to read back", wr_obj(wrpy_sess.seg, id.idx)->v.b.len);
    int64_t slice = wrpy_slice(deadline);
    int64_t until = slice ? (int64_t)wr_os_now_ns() + slice : 0;
    int rc = wrpy_wait_in_slices(st, sleep_for_value, &id, until);
    if (rc <= 0) return rc;
    if (wrpy_slice(deadline) == 0) return wrpy_timed_out(st);
  }
}

int wrpy_bring(wrpy_state *st, wr_id id) {
  wr_view view;
  while (wr_value_view(wrpy_sess.client, id, &view) == WR_AWAY) {
    if (wr_value_remade(wrpy_sess.client, id)) return 1;
    if (fetch(st, id, -1)) return -1;
  }
  return 0;
}

/* Of a large value, or one on disk: it is looked at once more after the hold has been taken. */
static WR_RARE PyObject *load_held(wrpy_state *st, wr_id id, int64_t deadline,
                                    wr_view *view) {
  PyObject *hold = hold_new(st, id), *value = NULL;
  int rc = WR_OK;
  while (hold && (rc = wr_value_view(wrpy_sess.client, id, view)) == WR_AWAY)
    if (fetch(st, id, deadline)) break;
  if (rc == WR_OK && hold)
    value = decode_view(st, view, hold);
  else if (rc == WR_LOST)
    Py_XDECREF(wrpy_hook(st, "lost_value", "(N)", wrpy_id_bytes(id, WRPY_ID_BYTES)));
  else if (!PyErr_Occurred())
    wrpy_fail(st, rc, "reading an object");
  Py_XDECREF(hold);
  return value;
}

PyObject *wrpy_load(wrpy_state *st, wr_id id, int64_t deadline, int *is_error) {
  wr_view view;
  int rc = wr_value_view(wrpy_sess.client, id, &view);
  PyObject *value;
  if (WR_LIKELY(rc == WR_OK && !(view.is_block && view.len >= WR_SPILL_MIN)))
    value = decode_view(st, &view, NULL);
  else if (rc == WR_OK || rc == WR_AWAY || rc == WR_LOST)
    value = load_held(st, id, deadline, &view);
  else
    return wrpy_fail_null(st, rc, "reading an object");
  if (value) *is_error = view.is_error;
  return value;
}

/* Raised from here, not from Python: the last line of the traceback is the one that asked. */
static void raise_value(wrpy_state *st, PyObject *stored) {
  PyObject *errors = wrpy_errors(st);
  PyObject *exc = errors ? PyObject_CallMethod(errors, "exception_from_value", "O", stored) : NULL;
  if (!exc) return;
  if (PyExceptionInstance_Check(exc))
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
  else
    wrpy_raise(st, "RaySystemError", "the error of a task is not an exception: %R", stored);
  Py_DECREF(exc);
}

PyObject *wrpy_load_or_raise(wrpy_state *st, wr_id id, int64_t deadline) {
  int is_error = 0;
  PyObject *value = wrpy_load(st, id, deadline, &is_error);
  if (WR_LIKELY(!is_error) || !value) return value;
  raise_value(st, value);
  Py_DECREF(value);
  return NULL;
}
