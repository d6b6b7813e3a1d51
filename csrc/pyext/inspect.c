/* Looking at the session without changing it: processes, actors, resources, counters.
 * Everything is read from the segment as it is at the moment; rows may be a little out of step. */
#include "os/os.h"
#include "pyext/module.h"
#include "sched/audit.h"
#include "sched/ledger.h"
#include "sched/task.h"
#include "store/away.h"
#include "store/heap.h"
#include "store/records.h"

static int set_item(PyObject *dict, const char *key, PyObject *value) {
  int rc = value ? PyDict_SetItemString(dict, key, value) : -1;
  Py_XDECREF(value);
  return rc;
}
static int set_uint(PyObject *dict, const char *key, uint64_t v) {
  return set_item(dict, key, PyLong_FromUnsignedLongLong(v));
}
static int set_int(PyObject *dict, const char *key, int64_t v) {
  return set_item(dict, key, PyLong_FromLongLong(v));
}

static int set_id(PyObject *d, const char *key, wr_idx idx, Py_ssize_t n) {
  if (!idx || idx >= wr_rec_first(WR_REC_CHUNKS)) return set_item(d, key, Py_NewRef(Py_None));
  return set_item(d, key, wrpy_id_bytes((wr_id){idx, wrpy_gen_of(idx)}, n));
}

static int set_actor(PyObject *d, const char *key, uint32_t idx, uint32_t gen) {
  wr_id id = {(idx - 1) | WR_ACTOR_BIT, gen};
  return set_item(d, key, idx ? wrpy_id_bytes(id, WRPY_ID_BYTES) : Py_NewRef(Py_None));
}

/* ---- processes ------------------------------------------------------------------------------ */

/* The reference that a thread of the process sleeps for, or None. */
static int set_awaits(PyObject *d, uint64_t awaits) {
  wr_id id = {(wr_idx)awaits, (uint32_t)(awaits >> 32)};
  return set_item(d, "awaits", awaits ? wrpy_id_bytes(id, WRPY_ID_BYTES) : Py_NewRef(Py_None));
}

static PyObject *proc_row(const wrpy_look *l, uint32_t slot) {
  const wr_proc *p = &wrpy_sess.seg->procs[slot];
  uint64_t state = wr_load(&p->state);
  if (WR_PROC_PHASE(state) == WR_PROC_FREE) return Py_NewRef(Py_None);
  PyObject *d = wrpy_made(l, PyDict_New());
  if (!d) return NULL;
  if (set_uint(d, "slot", slot) || set_uint(d, "gen", WR_PROC_GEN(state)) ||
      set_uint(d, "phase", WR_PROC_PHASE(state)) || set_uint(d, "role", WR_PROC_ROLE(state)) ||
      set_uint(d, "pool", WR_PROC_POOL(state)) || set_uint(d, "pid", wr_load32(&p->pid)) ||
      set_uint(d, "job", p->job) || set_uint(d, "activity", wr_load32(&p->activity)) ||
      set_uint(d, "current", wr_load32(&p->current)) ||
      set_uint(d, "actor", wr_load32(&p->actor)) || set_uint(d, "started_ns", p->started_ns) ||
      set_awaits(d, wr_load(&p->awaits)) ||
      set_uint(d, "tasks_done", wr_load(&p->tasks_done)) ||
      set_uint(d, "tasks_failed", wr_load(&p->tasks_failed)) ||
      set_item(d, "title", wrpy_shared_text(p->title, sizeof p->title)))
    Py_CLEAR(d);
  return d;
}

static int append(PyObject *list, PyObject *row) {
  int rc = row ? PyList_Append(list, row) : -1;
  Py_XDECREF(row);
  return rc;
}

/* Nothing is added for a row that is None. */
static int append_row(PyObject *list, PyObject *row) {
  if (row != Py_None) return append(list, row);
  Py_DECREF(row);
  return 0;
}

static PyObject *m_procs(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_look l;
  PyObject *list = wrpy_look_open(module, &l) ? NULL : wrpy_made(&l, PyList_New(0));
  uint32_t high = list ? wr_load32(&wrpy_sess.seg->h->proc_high) : 0;
  for (uint32_t i = 1; list && i < high && i < WR_MAX_PROCS; i++)
    if (append_row(list, proc_row(&l, i))) Py_CLEAR(list);
  return list;
}

/* ---- actors --------------------------------------------------------------------------------- */

/* The three texts of an actor lie one after the other, cut to the room there is. */
static int set_texts(PyObject *d, const wr_actor *a) {
  static const char *keys[3] = {"cls_name", "name", "namespace"};
  size_t lens[3] = {a->cls_len, a->name_len, a->ns_len}, pos = 0;
  for (int i = 0; i < 3; i++) {
    size_t n = lens[i] < sizeof a->text - pos ? lens[i] : sizeof a->text - pos;
    if (set_item(d, keys[i], wrpy_shared_text(a->text + pos, n))) return -1;
    pos += n;
  }
  return 0;
}

static PyObject *actor_meta(wrpy_state *st, const wr_actor *a) {
  wr_idx idx = (wr_idx)a->meta;
  if (!idx) Py_RETURN_NONE;
  PyObject *ref = wrpy_ref_hold(st, idx, (uint32_t)(a->meta >> 32));
  if (ref) return ref;
  PyErr_Clear();
  Py_RETURN_NONE;
}

static PyObject *actor_row(const wrpy_look *l, uint32_t i, const wr_actor *a, uint64_t state) {
  PyObject *d = wrpy_made(l, PyDict_New());
  if (!d) return NULL;
  if (set_uint(d, "idx", i | WR_ACTOR_BIT) || set_uint(d, "gen", WR_ACTOR_GEN(state)) ||
      set_uint(d, "phase", WR_ACTOR_PHASE(state)) || set_uint(d, "slot", WR_ACTOR_SLOT(state)) ||
      set_uint(d, "pid", wr_load32(&a->last_pid)) || set_uint(d, "cause", wr_load32(&a->cause)) ||
      set_uint(d, "exit_code", wr_load32(&a->exit_code)) ||
      set_uint(d, "restarts", wr_load32(&a->restarts)) ||
      set_int(d, "max_restarts", a->max_restarts) || set_uint(d, "job", a->job) ||
      set_uint(d, "creator", a->creator) || set_uint(d, "flags", wr_load32(&a->flags)) ||
      set_uint(d, "max_concurrency", a->max_concurrency) || set_uint(d, "pool", a->pool) ||
      set_uint(d, "shape", a->shape) || set_uint(d, "max_pending", a->max_pending) ||
      set_uint(d, "creation", a->creation) || set_uint(d, "creation_gen", a->creation_gen) ||
      set_actor(d, "id", i + 1, WR_ACTOR_GEN(state)) ||
      set_id(d, "description", (wr_idx)a->meta, WRPY_ID_BYTES) ||
      set_texts(d, a))
    Py_CLEAR(d);
  return d;
}

static PyObject *m_actors(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_look l;
  PyObject *list = wrpy_look_open(module, &l) ? NULL : wrpy_made(&l, PyList_New(0));
  uint32_t high = list ? wr_load32(&wrpy_sess.seg->h->nactors) : 0;
  for (uint32_t i = 0; list && i < high && i < WR_MAX_ACTORS; i++) {
    const wr_actor *a = &wrpy_sess.seg->actors[i];
    uint64_t state = wr_load(&a->state);
    uint32_t phase = WR_ACTOR_PHASE(state);
    if (phase == WR_ACTOR_FREE || phase == WR_ACTOR_MAKING) continue;
    if (append(list, actor_row(&l, i, a, state))) Py_CLEAR(list);
  }
  return list;
}

static PyObject *m_actor_info(PyObject *module, PyObject *ref) {
  wrpy_look l;
  wr_id id;
  if (wrpy_look_open(module, &l) || wrpy_ref_id(l.st, ref, &id)) return NULL;
  if (!(id.idx & WR_ACTOR_BIT)) {
    PyErr_SetString(PyExc_ValueError, "this ref names an object, not an actor");
    return NULL;
  }
  uint32_t i = id.idx & ~WR_ACTOR_BIT;
  const wr_actor *a = &wrpy_sess.seg->actors[i];
  PyObject *d = actor_row(&l, i, a, wr_load(&a->state));
  if (d && set_item(d, "meta", actor_meta(l.st, a))) Py_CLEAR(d);
  return d;
}

/* ---- tasks and objects ---------------------------------------------------------------------- */

/* Records are looked at while they change.  When the state word is another one afterwards, the
 * fields may be those of two records: a task that goes on is looked at again, one that has gone is
 * left out, as is such an object. */

/* Of a process that may have ended, until another one takes its slot. */
static uint32_t job_of(uint32_t slot) {
  return slot < WR_MAX_PROCS ? wrpy_sess.seg->procs[slot].job : 0;
}

static int set_name(PyObject *d, const wr_task *t) {
  char copy[WR_TASK_NAME];
  uint32_t n;
  const uint8_t *name = wr_tasks_name(t, &n);
  if (!name) return set_item(d, "name", Py_NewRef(Py_None));
  memcpy(copy, name, n);
  return set_item(d, "name", PyUnicode_DecodeUTF8(copy, (Py_ssize_t)n, "replace"));
}

static PyObject *task_fields(const wrpy_look *l, wr_idx i, const wr_task *t, uint64_t state) {
  PyObject *d = wrpy_made(l, PyDict_New());
  if (!d) return NULL;
  int is_call = t->flags & WR_TF_CALL;
  if (set_item(d, "id", wrpy_id_bytes((wr_id){i, WR_TASK_GEN(state)}, WRPY_TASK_BYTES)) ||
      set_item(d, "value", wrpy_id_bytes((wr_id){i, WR_TASK_GEN(state)}, WRPY_ID_BYTES)) ||
      set_uint(d, "idx", i) || set_uint(d, "phase", WR_TASK_PHASE(state)) ||
      set_uint(d, "slot", WR_TASK_SLOT(state)) || set_uint(d, "shape", WR_TASK_SHAPE(state)) ||
      set_uint(d, "flags", t->flags) ||
      set_uint(d, "method", is_call ? t->fn : 0) ||
      set_name(d, t) ||
      set_id(d, "fn", is_call ? 0 : t->fn, WRPY_ID_BYTES) ||
      set_actor(d, "actor", t->actor, t->actor_gen) || set_uint(d, "submitter", t->submitter) ||
      set_uint(d, "job", job_of(t->submitter)) ||
      set_uint(d, "cancel", wr_load32(&t->cancel)) ||
      set_id(d, "parent", t->parent, WRPY_TASK_BYTES) ||
      set_uint(d, "result", WR_OBJ_PHASE(wr_load(&t->ret.state))) ||
      set_uint(d, "by_engine", t->ret.flags & WR_VAL_SYSERR ? 1u : 0u))
    Py_CLEAR(d);
  return d;
}

static PyObject *task_row(const wrpy_look *l, wr_idx i, const wr_task *t) {
  uint64_t state, now = wr_load(&t->tstate);
  do {
    state = now;
    uint32_t phase = WR_TASK_PHASE(state);
    if (phase == WR_TASK_FREE || phase == WR_TASK_BUILDING) break;
    PyObject *d = task_fields(l, i, t, state);
    now = wr_load(&t->tstate);
    if (!d || now == state) return d;
    Py_DECREF(d);
  } while (WR_TASK_GEN(now) == WR_TASK_GEN(state));
  return Py_NewRef(Py_None);
}

static uint64_t size_of(const wr_object *o) {
  return o->flags & WR_VAL_BLOCK ? o->v.b.len : o->len;
}

static PyObject *object_row(const wrpy_look *l, wr_idx i, const wr_object *o) {
  uint64_t state = wr_load(&o->state);
  uint32_t phase = WR_OBJ_PHASE(state), refs = wr_tag_value(wr_load(&o->refs));
  int lives = phase == WR_OBJ_PENDING || phase == WR_OBJ_READY || phase == WR_OBJ_ERROR;
  if (!lives || wr_ref_unwanted(refs)) return Py_NewRef(Py_None); /* free, or lineage of others */
  PyObject *d = wrpy_made(l, PyDict_New());
  if (!d) return NULL;
  uint32_t block = o->flags & WR_VAL_BLOCK, extra = o->flags & WR_VAL_EXTRA;
  uint64_t size = phase == WR_OBJ_PENDING ? 0 : size_of(o);
  wr_idx task = phase == WR_OBJ_PENDING && extra ? o->v.b.producer : 0;
  if (set_item(d, "id", wrpy_id_bytes((wr_id){i, WR_OBJ_GEN(state)}, WRPY_ID_BYTES)) ||
      set_uint(d, "phase", phase) || set_uint(d, "flags", o->flags) ||
      set_uint(d, "creator", o->creator) || set_uint(d, "size", size) ||
      set_uint(d, "in_block", block ? 1u : 0u) || set_uint(d, "refs", refs & WR_REF_COUNT) ||
      set_uint(d, "of_creator", refs & WR_REF_CREATOR ? 1u : 0u) ||
      set_id(d, "task", task, WRPY_TASK_BYTES) ||
      ((wr_load(&o->state) ^ state) >> 32) != 0)
    Py_CLEAR(d);
  return d || PyErr_Occurred() ? d : Py_NewRef(Py_None);
}

/* The number of the record chunk that is asked for, and its kind; -1 with an exception, 1: none. */
static int rec_chunk(PyObject *arg, uint32_t *chunk, uint32_t *kind) {
  unsigned long c = PyLong_AsUnsignedLong(arg);
  if (PyErr_Occurred()) return -1;
  const wr_seg *s = wrpy_sess.seg;
  if (c >= wr_load32(&s->h->rec_high) || c >= WR_REC_CHUNKS) return 1;
  *chunk = (uint32_t)c;
  *kind = c ? WR_REC_KIND(wr_load(&s->rec_table[c])) : WR_REC_NONE;
  return 0;
}

static PyObject *m_task_rows(PyObject *module, PyObject *arg) {
  uint32_t c, kind;
  wrpy_look l;
  int rc = wrpy_look_open(module, &l) ? -1 : rec_chunk(arg, &c, &kind);
  if (rc) return rc < 0 ? NULL : Py_NewRef(Py_None);
  PyObject *list = wrpy_made(&l, PyList_New(0));
  wr_idx end = wr_rec_first(c + 1);
  if (kind != WR_REC_TASKS) return list;
  for (wr_idx i = wr_rec_first(c); list && i < end; i += WR_TASK_CELLS)
    if (append_row(list, task_row(&l, i, wr_task_at(wrpy_sess.seg, i)))) Py_CLEAR(list);
  return list;
}

static PyObject *m_object_rows(PyObject *module, PyObject *arg) {
  uint32_t c, kind;
  wrpy_look l;
  int rc = wrpy_look_open(module, &l) ? -1 : rec_chunk(arg, &c, &kind);
  if (rc) return rc < 0 ? NULL : Py_NewRef(Py_None);
  PyObject *list = wrpy_made(&l, PyList_New(0));
  wr_idx end = wr_rec_first(c + 1);
  if (kind != WR_REC_TASKS && kind != WR_REC_CELLS && kind != WR_REC_ITEMS) return list;
  for (wr_idx i = wr_rec_first(c); list && i < end; i += wr_rec_step(kind))
    if (append_row(list, object_row(&l, i, wr_obj(wrpy_sess.seg, i)))) Py_CLEAR(list);
  return list;
}

static PyObject *m_object_size(PyObject *module, PyObject *ref) {
  wr_id id;
  if (wrpy_object_id(wrpy_state_of(module), ref, &id)) return NULL;
  const wr_object *o = wr_obj(wrpy_sess.seg, id.idx);
  uint64_t state = wr_load(&o->state);
  if (WR_OBJ_PHASE(state) == WR_OBJ_PENDING) Py_RETURN_NONE;
  return PyLong_FromUnsignedLongLong(size_of(o));
}

typedef struct {
  uint64_t least, sum;
} stored;

static void add_stored(void *ctx, const wr_spillable *v) {
  stored *of = ctx;
  if (v->len >= of->least) of->sum += v->len;
}

static PyObject *m_stored_bytes(PyObject *module, PyObject *arg) {
  stored of = {PyLong_AsUnsignedLongLong(arg), 0};
  if (PyErr_Occurred() || wrpy_attached(wrpy_state_of(module))) return NULL;
  wr_away_each(wrpy_sess.seg, add_stored, &of);
  return PyLong_FromUnsignedLongLong(of.sum);
}

/* ---- resources and counters ----------------------------------------------------------------- */

static PyObject *m_resources(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_look l;
  PyObject *list = wrpy_look_open(module, &l) ? NULL : wrpy_made(&l, PyList_New(0));
  uint32_t n = list ? wr_load32(&wrpy_sess.seg->h->nresources) : 0;
  for (uint32_t i = 0; list && i < n && i < WR_MAX_RESOURCES; i++) {
    const wr_resource *r = &wrpy_sess.seg->resources[i];
    if (!r->name[0]) continue;
    double total = wr_ledger_amount(wr_load32(&r->total), r->unit_shift);
    double left = wr_ledger_amount((int32_t)wr_tag_value(wr_load(&r->avail)), r->unit_shift);
    PyObject *name = wrpy_shared_text(r->name, sizeof r->name);
    PyObject *row = name ? wrpy_made(&l, Py_BuildValue("(Ndd)", name, total, left)) : NULL;
    if (append(list, row)) Py_CLEAR(list);
  }
  return list;
}

/* What the claims of a shape take, by name. */
static PyObject *needs_of(const wrpy_look *l, const wr_shape *sh) {
  PyObject *d = wrpy_made(l, PyDict_New());
  for (uint32_t i = 0; d && i < sh->n && i < WR_SHAPE_RESOURCES; i++) {
    if (sh->need[i].res >= WR_MAX_RESOURCES) continue;
    const wr_resource *r = &wrpy_sess.seg->resources[sh->need[i].res];
    PyObject *name = wrpy_shared_text(r->name, sizeof r->name);
    PyObject *n = PyFloat_FromDouble(wr_ledger_amount(sh->need[i].amount, r->unit_shift));
    if (!name || !n || PyDict_SetItem(d, name, n)) Py_CLEAR(d);
    Py_XDECREF(name);
    Py_XDECREF(n);
  }
  return d;
}

static PyObject *m_shape_row(PyObject *module, PyObject *arg) {
  unsigned long i = PyLong_AsUnsignedLong(arg);
  wrpy_look l;
  if (PyErr_Occurred() || wrpy_look_open(module, &l)) return NULL;
  if (i >= WR_MAX_SHAPES) Py_RETURN_NONE;
  const wr_shape *sh = &wrpy_sess.seg->shapes[i];
  if (wr_load32(&sh->state) == WR_SHAPE_FREE) Py_RETURN_NONE;
  uint32_t env = sh->pool < WR_MAX_POOLS ? wrpy_sess.seg->pools[sh->pool].env : 0;
  PyObject *needs = needs_of(&l, sh);
  if (!needs) return NULL;
  return wrpy_made(&l, Py_BuildValue("(NINi)", needs, (unsigned)env,
                                     wrpy_group_id(sh->group, sh->group_gen),
                                     (int)sh->bundle - 1));
}

/* The GPUs that this process has a share of, by number. */
static PyObject *m_gpu_ids(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_look l;
  PyObject *list = wrpy_look_open(module, &l) ? NULL : wrpy_made(&l, PyList_New(0));
  if (!list) return NULL;
  uint64_t bits = wr_load(&wrpy_sess.seg->procs[wr_client_slot(wrpy_sess.client)].gpus);
  for (; list && bits; bits &= bits - 1)
    if (append(list, PyLong_FromLong(__builtin_ctzll(bits)))) Py_CLEAR(list);
  return list;
}

static PyObject *m_stats(PyObject *module, PyObject *unused) {
  (void)unused;
  wrpy_look l;
  PyObject *d = wrpy_look_open(module, &l) ? NULL : wrpy_made(&l, PyDict_New());
  if (!d) return NULL;
  const wr_seg *s = wrpy_sess.seg;
  uint64_t done = 0, failed = 0, live = 0;
  uint32_t high = wr_load32(&s->h->proc_high);
  for (uint32_t i = 1; i < high && i < WR_MAX_PROCS; i++) {
    const wr_proc *p = &s->procs[i];
    live += WR_PROC_PHASE(wr_load(&p->state)) == WR_PROC_LIVE;
    done += wr_load_relaxed(&p->tasks_done);
    failed += wr_load_relaxed(&p->tasks_failed);
  }
  if (set_uint(d, "processes", live) || set_uint(d, "tasks_done", done) ||
      set_uint(d, "tasks_failed", failed) ||
      set_uint(d, "store_bytes", s->store_chunks * WR_CHUNK) ||
      set_uint(d, "store_limit", wr_load(&s->h->heap_limit) * WR_CHUNK) ||
      set_uint(d, "store_used", wr_heap_chunks_used(wrpy_sess.seg) * WR_CHUNK) ||
      set_uint(d, "record_bytes", wr_load32(&s->h->rec_high) * WR_CHUNK) ||
      set_uint(d, "sweeps", wr_load32(&s->h->sweeps)) || set_int(d, "views", wrpy_sess.views))
    Py_CLEAR(d);
  return d;
}

static PyObject *audit_row(const wr_audit *a, const char *text) {
  PyObject *d = PyDict_New(), *tasks = d ? PyList_New(0) : NULL;
  for (uint32_t i = 0; tasks && i < WR_AUDIT_PHASES; i++)
    if (append(tasks, PyLong_FromUnsignedLongLong(a->tasks[i]))) Py_CLEAR(tasks);
  if (!tasks || set_uint(d, "violations", a->violations) ||
      set_item(d, "text", PyUnicode_FromString(text)) || set_uint(d, "objects", a->objects) ||
      set_uint(d, "lineage", a->lineage) ||
      set_uint(d, "functions", a->functions) || set_uint(d, "value_bytes", a->value_bytes) ||
      set_uint(d, "nodes", a->nodes) || set_uint(d, "actors", a->actors) ||
      set_uint(d, "holds", a->holds) || set_uint(d, "record_chunks", a->rec_chunks) ||
      set_uint(d, "heap_chunks", a->heap_chunks) || set_item(d, "tasks", Py_NewRef(tasks)))
    Py_CLEAR(d);
  Py_XDECREF(tasks);
  return d;
}

static PyObject *m_audit(PyObject *module, PyObject *unused) {
  (void)unused;
  if (wrpy_attached(wrpy_state_of(module))) return NULL;
  char text[4096];
  wr_audit a;
  int rc = wr_audit_session(wrpy_sess.seg, &a, text, sizeof text);
  return rc < 0 ? PyErr_NoMemory() : audit_row(&a, text);
}

static PyObject *m_machine(PyObject *module, PyObject *unused) {
  uint64_t memory = 0;
  (void)module;
  (void)unused;
  if (wr_os_memory_limit(&memory) != WR_OK) return PyErr_SetFromErrno(PyExc_OSError);
  return Py_BuildValue("iK", wr_os_cpu_count(), (unsigned long long)memory);
}

PyMethodDef wrpy_inspect_methods[] = {
    {"procs", m_procs, METH_NOARGS, "procs() -> a dict for each process of the session."},
    {"actors", m_actors, METH_NOARGS, "actors() -> a dict for each actor, dead ones too."},
    {"actor_info", m_actor_info, METH_O, "actor_info(ref) -> dict about one actor."},
    {"task_rows", m_task_rows, METH_O,
     "task_rows(chunk): a dict for each task in that chunk of records; None: no such chunk."},
    {"object_rows", m_object_rows, METH_O,
     "object_rows(chunk): a dict for each object in that chunk of records; None: no such chunk."},
    {"stored_bytes", m_stored_bytes, METH_O,
     "stored_bytes(least): what values of at least that many bytes take of the memory."},
    {"object_size", m_object_size, METH_O, "object_size(ref): bytes; None while it is pending."},
    {"gpu_ids", m_gpu_ids, METH_NOARGS, "gpu_ids() -> numbers of the GPUs that this process has."},
    {"shape_row", m_shape_row, METH_O,
     "shape_row(number) -> ({resource: amount}, number of its environment, id of its group, "
     "bundle), or None."},
    {"resources", m_resources, METH_NOARGS, "resources() -> [(name, total, available)]."},
    {"audit", m_audit, METH_NOARGS,
     "audit() -> dict: whether the records of a quiescent session agree, and how many there are."},
    {"stats", m_stats, METH_NOARGS, "stats() -> counters of the session."},
    {"machine", m_machine, METH_NOARGS,
     "machine() -> (cores, bytes of memory) that this process may use."},
    {NULL, NULL, 0, NULL},
};
