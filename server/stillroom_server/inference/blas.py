"""Keeps the linear algebra of this process on the threads that call it.

threadpoolctl does this too, for more libraries, and the server depends on it for nothing else.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_NAMES = (  # of OpenBLAS, which numpy brings along, by how it was built
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)


class _Blas(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], Any]


def compute_on_one_thread() -> bool:
    """Tell numpy's linear algebra to use the calling thread alone; whether it could be told.

    A server computes requests beside each other, and a small product that waits for a second thread
    waits as long as the scheduler likes: on two busy cores 12 ms, where one thread needs 0.1 ms.
    Processes that this one starts are not affected.
    """
    blas = _library()
    if blas is not None:
        blas.set(1)
    return blas is not None


@contextmanager
def one_thread() -> Iterator[None]:
    """Holds the library that numpy came with to one thread; another library is left as it is.

    What training multiplies is small: a second thread mostly waits for the first, and where the
    machine is busy both spin. And a sum that is cut by the number of threads has other last bits.
    """
    blas = _library()
    if blas is None:
        yield
        return
    before = blas.get()
    blas.set(1)
    try:
        yield
    finally:
        blas.set(before)


@lru_cache(1)
def _library() -> _Blas | None:
    """The BLAS in numpy's own package."""
    home = Path(np.__file__).parent
    folders = (home.parent / "numpy.libs", home / ".dylibs")
    for path in sorted(file for folder in folders for file in folder.glob("*openblas*")):
        try:
            library = ctypes.CDLL(str(path))  # the one that numpy has loaded: found by its path
        except OSError:
            continue
        for name in _NAMES:
            get = getattr(library, name.format("get"), None)
            change = getattr(library, name.format("set"), None)
            if get is not None and change is not None:
                get.restype, get.argtypes = ctypes.c_int, ()
                change.restype, change.argtypes = None, (ctypes.c_int,)
                return _Blas(get, change)
    return None
