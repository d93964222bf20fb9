/* What the compiled loops share: how they take arrays of Python's. */

#ifndef STILLROOM_KERNELS_H
#define STILLROOM_KERNELS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdint.h>

#ifndef __GNUC__
#error "vectors need GCC or Clang; without them this stays uncompiled, and scipy serves"
#endif
#define INLINE static inline __attribute__((always_inline))

#define FEW_TEXTS 16 /* are done sooner than the interpreter's lock is given up and taken again */

/* Views of contiguous arrays, one for each element type in ``types`` (i: int32, l: int64, f:
   float32; a capital letter: to write to). 0, or -1 with an exception set and nothing to release. */
int take_arrays(PyObject *const *arrays, const char *types, Py_buffer *views);

/* Releases them. None, or NULL with ValueError set if there is a reason why not. */
PyObject *done(Py_buffer *views, int count, const char *why);

/* 0, or -1 with ValueError set unless ``value`` is from 0 to INT32_MAX. */
int take_size(PyObject *value, Py_ssize_t *size);

PyObject *csr_matvecs(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *limit_lanes(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *find_runs(PyObject *module, PyObject *const *args, Py_ssize_t given);

#endif
