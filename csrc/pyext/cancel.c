/* pyext/cancel.c - cancelling tasks and calls, and what they have submitted.
 *
 * Who cancels marks a task and all that it has submitted before it interrupts any of them, the
 * youngest first.  A task that runs may submit meanwhile: what nobody has marked is looked for when
 * it can submit no more, by its own process in the handler that interrupts it, or where it ends at
 * a yield before that comes; by who cancels it when that process has been killed, or by whiprayd
 * when it has died.  So each is interrupted once, and cleans up in peace.  What it submits after
 * that, to clean up, is left alone.  Whoever is marked and not interrupted when a process is swept,
 * is interrupted by whiprayd: the one that died may have wanted to. */
#include "base/vec.h"
#include "pyext/module.h"
#include "wire/messages.h"
#include "wire/pack.h"

static int interrupt(wrpy_state *st, uint32_t slot, wr_id task, int force) {
  wr_buf body = {0};
  wr_out_array(&body, 5);
  wr_out_uint(&body, slot);
  wr_out_uint(&body, WR_PROC_GEN(wr_load(&wrpy_sess.seg->procs[slot].state)));
  wr_out_uint(&body, task.idx);
  wr_out_uint(&body, task.gen);
  wr_out_bool(&body, force);
  PyObject *answer = wrpy_ask(st, WR_MSG_INTERRUPT, &body, "cannot interrupt a task");
  Py_XDECREF(answer);
  return answer ? 0 : -1;
}

/* Is the record a call on an actor? */
static int is_call(wr_id id) {
  wr_seg *s = wrpy_sess.seg;
  if ((id.idx & WR_ACTOR_BIT) ||
      wr_rec_kind_of(s, id.idx) != WR_REC_TASKS)
    return 0;
  const wr_task *t = wr_task_at(s, id.idx);
  return WR_TASK_GEN(wr_load(&wr_task_at(s, id.idx)->tstate)) == id.gen &&
         (t->flags & WR_TF_CALL) != 0;
}

typedef struct {
  wr_vec64 ids;     /* to be cancelled, and what they have submitted */
  wr_vec64 running; /* marked, to be interrupted: an id, then its slot */
  int unmarked;     /* leave alone what somebody has marked */
  int lost;         /* there was no memory to note them all */
} family;

static uint64_t word_of(wr_id id) { return (uint64_t)id.gen << 32 | id.idx; }
static wr_id id_of(uint64_t word) { return (wr_id){(wr_idx)word, (uint32_t)(word >> 32)}; }

static void note_child(void *ctx, wr_id child) {
  family *f = ctx;
  const wr_task *t = wr_task_at(wrpy_sess.seg, child.idx);
  if (f->unmarked && (wr_load32(&t->cancel) & WR_CANCEL_WANTED)) return;
  if (wr_vec64_push(&f->ids, word_of(child)) < 0) f->lost = 1;
}

static int note_running(family *f, wr_id id, uint32_t slot) {
  if (wr_vec64_push(&f->running, word_of(id)) < 0) return -1;
  if (wr_vec64_push(&f->running, slot) >= 0) return 0;
  f->running.n--;
  return -1;
}

/* Marks one task, or kills its process; the children it has, of tries that have failed as well, are
 * noted. */
static int cancel_one(wrpy_state *st, wr_id id, uint32_t how, family *f) {
  uint32_t slot = 0;
  int began = 0, kills = how & WR_CANCEL_FORCE && !is_call(id);
  wr_task_cancel(wrpy_sess.client, &id, how, &slot, &began);
  int looks = began && how & WR_CANCEL_FAMILY, rc = 0;
  if (slot && (kills || note_running(f, id, slot))) rc = interrupt(st, slot, id, kills);
  if (looks) wr_task_children(wrpy_sess.client, id, note_child, f);
  return rc;
}

/* Cancels those that have been found, and theirs; frees what was noted. */
static int cancel_all(wrpy_state *st, family *f, uint32_t how) {
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < f->ids.n; i++)
    rc = cancel_one(st, id_of(f->ids.v[i]), how, f);
  for (uint32_t i = f->running.n; rc == 0 && i > 0; i -= 2)
    rc = interrupt(st, (uint32_t)f->running.v[i - 1], id_of(f->running.v[i - 2]), 0);
  wr_vec64_free(&f->ids);
  wr_vec64_free(&f->running);
  if (rc == 0 && f->lost)
    return wrpy_fail(st, WR_NOMEM, "cannot cancel all that the task has submitted");
  return rc;
}

int wrpy_cancel_children(wrpy_state *st, wr_id parent) {
  family f = {.unmarked = 1};
  wr_task_children(wrpy_sess.client, parent, note_child, &f);
  return cancel_all(st, &f, WR_CANCEL_FAMILY);
}

static PyObject *m_cancel(PyObject *module, PyObject *args) {
  wrpy_state *st = wrpy_state_of(module);
  PyObject *obj;
  int force, recursive;
  wr_id id;
  if (!PyArg_ParseTuple(args, "Opp", &obj, &force, &recursive) || wrpy_attached(st) ||
      wrpy_ref_id(st, obj, &id))
    return NULL;
  if (id.idx & WR_ACTOR_BIT) Py_RETURN_NONE;
  wrpy_ref *ref = (wrpy_ref *)obj;
  if (ref->task.idx && wrpy_phase(id) == WR_OBJ_PENDING) id = ref->task;
  family f = {0};
  uint32_t how = (force ? WR_CANCEL_FORCE : 0) | (recursive ? WR_CANCEL_FAMILY : 0);
  if (cancel_one(st, id, how | WR_CANCEL_ANEW, &f)) {
    wr_vec64_free(&f.ids);
    wr_vec64_free(&f.running);
    return NULL;
  }
  if (cancel_all(st, &f, how)) return NULL;
  Py_RETURN_NONE;
}

static PyObject *m_is_actor_task(PyObject *module, PyObject *obj) {
  wrpy_state *st = wrpy_state_of(module);
  wr_id id;
  if (wrpy_attached(st) || wrpy_ref_id(st, obj, &id)) return NULL;
  return PyBool_FromLong(is_call(((wrpy_ref *)obj)->task.idx ? ((wrpy_ref *)obj)->task : id));
}

PyMethodDef wrpy_cancel_methods[] = {
    {"cancel", m_cancel, METH_VARARGS,
     "cancel(ref, force, recursive): a task that is done is left alone."},
    {"is_actor_task", m_is_actor_task, METH_O, "Is this ref made by a call on an actor?"},
    {NULL, NULL, 0, NULL},
};
