/* The Python module, and its arguments. */

#include "kernels.h"

#include <ctype.h>
#include <string.h>

static int fits(const Py_buffer *view, char type)
{
    const char *format = view->format;
    switch (tolower(type)) {
    case 'i': return view->itemsize == 4 && !strcmp(format, "i");
    case 'l': return view->itemsize == 8 && (!strcmp(format, "l") || !strcmp(format, "q"));
    default: return view->itemsize == 4 && !strcmp(format, "f");
    }
}

PyObject *done(Py_buffer *views, int count, const char *why)
{
    while (count--)
        PyBuffer_Release(&views[count]);
    if (why == NULL)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

int take_arrays(PyObject *const *arrays, const char *types, Py_buffer *views)
{
    for (int i = 0; types[i]; i++) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (isupper(types[i]) ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(arrays[i], &views[i], flags) < 0) {
            Py_XDECREF(done(views, i, NULL));
            return -1;
        }
        if (!fits(&views[i], types[i])) {
            done(views, i + 1, "an array has the wrong element type");
            return -1;
        }
    }
    return 0;
}

int take_size(PyObject *value, Py_ssize_t *size)
{
    *size = PyLong_AsSsize_t(value);
    if (*size == -1 && PyErr_Occurred())
        return -1;
    if (*size < 0 || *size > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "a size is out of range");
        return -1;
    }
    return 0;
}

#define METHOD(name, text) \
    {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, text}

static PyMethodDef methods[] = {
    METHOD(csr_matvecs, "Add the rows of each text, times their factors, to its row of out."),
    METHOD(limit_lanes, "Use no wider vectors than of so many floats."),
    METHOD(find_runs, "Find the counted runs of texts."),
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "See kernels.h.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
