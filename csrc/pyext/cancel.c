/* pyext/cancel.c - cancelling tasks and calls, and what they have submitted.
 *
 * A task that runs may submit while somebody cancels it.  What it has submitted is looked for when
 * it can submit no more: by its own process in the handler that interrupts it, or by who cancels it
 * when that process has been killed.  What it submits after that, to clean up, is left alone. */
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
  wr_vec64 ids;
  int lost; /* there was no memory to note them all */
} children;

static void note_child(void *ctx, wr_id child) {
  children *c = ctx;
  if (wr_vec64_push(&c->ids, (uint64_t)child.gen << 32 | child.idx) < 0) c->lost = 1;
}

/* Cancels one task; the children it has, of tries that have failed as well, are added to `more`. */
static int cancel_one(wrpy_state *st, wr_id id, uint32_t how, children *more) {
  uint32_t slot = 0;
  int began = 0, rc = 0, kills = how & WR_CANCEL_FORCE && !is_call(id);
  wr_task_cancel(wrpy_sess.client, &id, how, &slot, &began);
  int looks = began && how & WR_CANCEL_FAMILY;
  if (looks && !kills) wr_task_children(wrpy_sess.client, id, note_child, more);
  if (slot) rc = interrupt(st, slot, id, kills);
  if (looks && kills) wr_task_children(wrpy_sess.client, id, note_child, more);
  return rc;
}

/* Cancels those that have been found, and theirs; frees the list. */
static int cancel_all(wrpy_state *st, children *found, uint32_t how) {
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < found->ids.n; i++) {
    wr_id id = {(wr_idx)found->ids.v[i], (uint32_t)(found->ids.v[i] >> 32)};
    rc = cancel_one(st, id, how, found);
  }
  wr_vec64_free(&found->ids);
  if (rc == 0 && found->lost)
    return wrpy_fail(st, WR_NOMEM, "cannot cancel all that the task has submitted");
  return rc;
}

int wrpy_cancel_children(wrpy_state *st, wr_id parent) {
  children found = {0};
  wr_task_children(wrpy_sess.client, parent, note_child, &found);
  return cancel_all(st, &found, WR_CANCEL_FAMILY);
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
  children found = {0};
  uint32_t how = (force ? WR_CANCEL_FORCE : 0) | (recursive ? WR_CANCEL_FAMILY : 0);
  int rc = cancel_one(st, id, how, &found);
  if (rc) wr_vec64_free(&found.ids);
  if (rc || cancel_all(st, &found, how)) return NULL;
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
