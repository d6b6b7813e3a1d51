/* pyext/module.c - the module itself: its state, its types, its functions. */
#include "pyext/module.h"

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
  wrpy_state *st = wrpy_state_of(module);
  Py_VISIT(st->ref_type);
  Py_VISIT(st->hold_type);
  Py_VISIT(st->submitter_type);
  Py_VISIT(st->handle_type);
  Py_VISIT(st->method_type);
  Py_VISIT(st->job_type);
  Py_VISIT(st->readyset_type);
  Py_VISIT(st->stream_type);
  Py_VISIT(st->stream_class);
  Py_VISIT(st->item_stats);
  Py_VISIT(st->errors);
  Py_VISIT(st->hooks);
  Py_VISIT(st->await_fn);
  Py_VISIT(st->ref_at);
  Py_VISIT(st->handle_of);
  Py_VISIT(st->weak_handle);
  Py_VISIT(st->handle_class);
  Py_VISIT(st->method_mixin);
  Py_VISIT(st->described);
  Py_VISIT(st->job_context);
  Py_VISIT(st->catch_step);
  return wrpy_codec_traverse(&st->codec, visit, arg);
}

static int module_clear(PyObject *module) {
  wrpy_state *st = wrpy_state_of(module);
  wrpy_codec_clear(&st->codec);
  Py_CLEAR(st->ref_type);
  Py_CLEAR(st->hold_type);
  Py_CLEAR(st->submitter_type);
  Py_CLEAR(st->handle_type);
  Py_CLEAR(st->method_type);
  Py_CLEAR(st->job_type);
  Py_CLEAR(st->readyset_type);
  Py_CLEAR(st->stream_type);
  Py_CLEAR(st->stream_class);
  Py_CLEAR(st->item_stats);
  Py_CLEAR(st->errors_name);
  Py_CLEAR(st->hooks_name);
  Py_CLEAR(st->errors);
  Py_CLEAR(st->hooks);
  Py_CLEAR(st->await_fn);
  Py_CLEAR(st->ref_at);
  Py_CLEAR(st->handle_of);
  Py_CLEAR(st->weak_handle);
  Py_CLEAR(st->handle_class);
  Py_CLEAR(st->method_mixin);
  Py_CLEAR(st->described);
  Py_CLEAR(st->s_prepare);
  Py_CLEAR(st->s_check_args);
  Py_CLEAR(st->s_timeout);
  Py_CLEAR(st->s_job);
  Py_CLEAR(st->job_context);
  Py_CLEAR(st->catch_step);
  Py_CLEAR(st->s_call_soon);
  Py_CLEAR(st->s_context);
  Py_CLEAR(st->s_done);
  Py_CLEAR(st->s_result);
  Py_CLEAR(st->no_args);
  return 0;
}

static void module_free(void *module) { (void)module_clear(module); }

/* A type of ours, or a Python class derived from one. */
wrpy_state *wrpy_state_of_type(PyTypeObject *type) {
  PyObject *module = PyType_GetModuleByDef(type, &wrpy_module_def);
  return module ? PyModule_GetState(module) : NULL;
}

wr_codec_state *wrpy_codec_of_module(PyObject *module) { return &wrpy_state_of(module)->codec; }

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec, const char *name) {
  PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
  if (type && name && PyModule_AddObjectRef(module, name, type)) Py_CLEAR(type);
  return (PyTypeObject *)type;
}

static int add_types(PyObject *module, wrpy_state *st) {
  st->ref_type = add_type(module, &wrpy_ref_spec, "ObjectRef");
  st->hold_type = add_type(module, &wrpy_hold_spec, NULL);
  st->submitter_type = add_type(module, &wrpy_submitter_spec, "TaskSubmitter");
  st->handle_type = add_type(module, &wrpy_handle_spec, "ActorHandle");
  st->method_type = add_type(module, &wrpy_method_spec, "ActorMethod");
  st->job_type = add_type(module, &wrpy_job_spec, "Job");
  st->readyset_type = add_type(module, &wrpy_readyset_spec, "ReadySet");
  st->stream_type = add_type(module, &wrpy_stream_spec, "Stream");
  return st->ref_type && st->hold_type && st->submitter_type && st->handle_type &&
                 st->method_type && st->job_type && st->readyset_type && st->stream_type
             ? 0
             : -1;
}

static int add_names(wrpy_state *st) {
  st->s_prepare = PyUnicode_InternFromString("_prepare");
  st->s_check_args = PyUnicode_InternFromString("_check_args");
  st->s_timeout = PyUnicode_InternFromString("timeout");
  st->s_job = PyUnicode_InternFromString("whipray.job");
  st->job_context = PyContextVar_New("whipray.job", NULL);
  st->errors_name = PyUnicode_InternFromString("whipray.exceptions");
  st->hooks_name = PyUnicode_InternFromString("whipray._private.hooks");
  st->s_call_soon = PyUnicode_InternFromString("call_soon");
  st->s_context = PyUnicode_InternFromString("context");
  st->s_done = PyUnicode_InternFromString("done");
  st->s_result = PyUnicode_InternFromString("result");
  st->no_args = PyTuple_New(0);
  return st->s_prepare && st->s_check_args && st->s_timeout && st->s_job && st->job_context &&
                 st->errors_name && st->hooks_name && st->s_call_soon &&
                 st->s_context && st->s_done && st->s_result && st->no_args
             ? 0
             : -1;
}

static int add_functions(PyObject *module) {
  PyMethodDef *tables[] = {wrpy_ref_methods,     wrpy_object_methods, wrpy_actor_methods,
                           wrpy_worker_methods,  wrpy_session_methods, wrpy_daemon_methods,
                           wrpy_inspect_methods, wrpy_pack_methods,    wrpy_codec_methods,
                           wrpy_wait_methods,    wrpy_serve_methods,   wrpy_group_methods,
                           wrpy_stream_methods,  wrpy_cancel_methods,  wrpy_coroutine_methods,
                           wrpy_handle_methods,  wrpy_shared_methods,  wrpy_submit_methods,
                           wrpy_unchanged_methods};
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
    if (PyModule_AddFunctions(module, tables[i])) return -1;
  return 0;
}

static int module_exec(PyObject *module) {
  wrpy_state *st = wrpy_state_of(module);
  if (wrpy_guard_forks() || wrpy_codec_init(&st->codec, module) || add_types(module, st) ||
      add_names(st) || add_functions(module))
    return -1;
  st->codec.ref_type = st->ref_type;
  st->codec.handle_type = st->handle_type;
  st->codec.ref_id = wrpy_ref_id_of;
  if (PyModule_AddObjectRef(module, "job_context", st->job_context)) return -1;
  st->ref_at = PyObject_GetAttrString(module, "_ref_at");
  st->handle_of = PyObject_GetAttrString(module, "_handle_of");
  st->weak_handle = PyObject_GetAttrString(module, "_weak_handle");
  st->catch_step = PyObject_GetAttrString(module, "_catch_step");
  return st->ref_at && st->handle_of && st->weak_handle && st->catch_step ? 0 : -1;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters /* a process is in a session once: wrpy_sess */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

PyModuleDef wrpy_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "whipray._core",
    .m_doc = "The engine: objects, tasks, actors and sessions of this process.",
    .m_size = sizeof(wrpy_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&wrpy_module_def); }
