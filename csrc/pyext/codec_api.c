/* The codec's part of the module: its state, and its functions for Python. */
#include "pyext/codec_parts.h"

int wrpy_codec_init(wr_codec_state *cs, PyObject *module) {
  memset(cs, 0, sizeof *cs);
  cs->region_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &wrpy_region_spec, NULL);
  return cs->region_type ? 0 : -1;
}

int wrpy_codec_traverse(wr_codec_state *cs, visitproc visit, void *arg) {
  Py_VISIT(cs->region_type);
  Py_VISIT(cs->plain_dumps);
  Py_VISIT(cs->loads);
  Py_VISIT(cs->dumps);
  Py_VISIT(cs->dumps_names);
  Py_VISIT(cs->loads_names);
  return 0;
}

void wrpy_codec_clear(wr_codec_state *cs) {
  Py_CLEAR(cs->region_type);
  Py_CLEAR(cs->plain_dumps);
  Py_CLEAR(cs->loads);
  Py_CLEAR(cs->dumps);
  Py_CLEAR(cs->dumps_names);
  Py_CLEAR(cs->loads_names);
}

PyDoc_STRVAR(encode_doc,
             "encode(value, /) -> bytes\n--\n\n"
             "The bytes that would be stored for value.  ObjectRefs inside are refused with\n"
             "TypeError: bytes alone cannot keep their objects alive.");

static PyObject *api_encode(PyObject *module, PyObject *value) {
  wr_enc e;
  if (wrpy_enc_value(wrpy_codec_of_module(module), value, &e) < 0) return NULL;
  PyObject *bytes = NULL;
  if (e.nrefs)
    PyErr_SetString(PyExc_TypeError, "cannot encode a value that contains an ObjectRef");
  else
    bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)e.total);
  if (bytes) wrpy_enc_write(&e, (uint8_t *)PyBytes_AS_STRING(bytes));
  wrpy_enc_clear(&e);
  return bytes;
}

PyDoc_STRVAR(decode_doc,
             "decode(data, /, allow_pickle=True) -> object\n--\n\n"
             "The value that encode() wrote.  Arrays in it may be views of data.  Malformed bytes\n"
             "raise ValueError, and so does a pickle unless it is allowed: unpickling runs code,\n"
             "so allow it only for bytes of a trusted origin.");

static PyObject *api_decode(PyObject *module, PyObject *args, PyObject *kwargs) {
  static char *names[] = {"", "allow_pickle", NULL};
  PyObject *data;
  int allow_pickle = 1;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:decode", names, &data, &allow_pickle))
    return NULL;
  PyObject *bytes = PyBytes_FromObject(data); /* the same object when it is bytes */
  if (!bytes) return NULL;
  wr_dec_ctx cx = {.flags = allow_pickle ? 0 : WRPY_DEC_NO_PICKLE, .base = bytes};
  PyObject *value = wrpy_dec_value(wrpy_codec_of_module(module),
                                   (const uint8_t *)PyBytes_AS_STRING(bytes),
                                   (size_t)PyBytes_GET_SIZE(bytes), &cx);
  Py_DECREF(bytes);
  return value;
}

PyDoc_STRVAR(ref_at_doc, "_ref_at(index, /) -> ObjectRef\n--\n\n"
                         "The ObjectRef of this index in the value that is being unpickled.");

static PyObject *api_ref_at(PyObject *module, PyObject *index) {
  (void)module;
  unsigned long k = PyLong_AsUnsignedLong(index);
  if (k == (unsigned long)-1 && PyErr_Occurred()) return NULL;
  return wrpy_dec_ref_at(k > UINT32_MAX ? UINT32_MAX : (uint32_t)k);
}

PyDoc_STRVAR(set_custom_doc,
             "_set_custom(on, /)\n--\n\n"
             "Says whether serializers are registered: then only cloudpickle may decide how a\n"
             "value that is not made of basic types is written.");

static PyObject *api_set_custom(PyObject *module, PyObject *on) {
  int custom = PyObject_IsTrue(on);
  if (custom < 0) return NULL;
  wrpy_codec_of_module(module)->custom = custom;
  Py_RETURN_NONE;
}

PyMethodDef wrpy_codec_methods[] = {
    {"encode", api_encode, METH_O, encode_doc},
    {"decode", (PyCFunction)(void (*)(void))api_decode, METH_VARARGS | METH_KEYWORDS, decode_doc},
    {"_ref_at", api_ref_at, METH_O, ref_at_doc},
    {"_set_custom", api_set_custom, METH_O, set_custom_doc},
    {NULL, NULL, 0, NULL},
};
