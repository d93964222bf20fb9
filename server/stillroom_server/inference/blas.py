"""Keeps the linear algebra of this process on the threads that call it."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import numpy as np

_SETTERS = (  # of OpenBLAS, which numpy brings along, by how it was built
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


def compute_on_one_thread() -> bool:
    """Tell numpy's linear algebra to use the calling thread alone; whether it could be told.

    A server computes requests beside each other, and a small product that waits for a second thread
    waits as long as the scheduler likes: on two busy cores 12 ms, where one thread needs 0.1 ms.
    Processes that this one starts are not affected.
    """
    for file in _libraries():
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(str(file))  # the one that numpy loaded: found by its path
            for name in _SETTERS:
                setter = getattr(library, name, None)
                if setter is not None:
                    setter.argtypes, setter.restype = [ctypes.c_int], None
                    setter(1)
                    return True
    return False


def _libraries() -> list[Path]:
    """The libraries of numpy's own package that may hold a BLAS."""
    home = Path(np.__file__).parent
    folders = (home.parent / "numpy.libs", home / ".dylibs")
    return sorted(file for folder in folders for file in folder.glob("*openblas*"))
