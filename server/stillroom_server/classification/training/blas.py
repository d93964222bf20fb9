"""Dense products on one thread.

What training multiplies is small: a second thread mostly waits for the first, and where the machine
is busy both spin. And a sum that is cut by the number of threads has other last bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_NAMES = (
    *("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_"),
    *("scipy_openblas_{}_num_threads", "openblas_{}_num_threads"),
)


class _Blas(NamedTuple):
    get: Callable[[], int]
    set: Callable[[int], Any]


@contextmanager
def one_thread() -> Iterator[None]:
    """Holds the library that numpy came with to one thread; another library is left as it is."""
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
    package = Path(np.__file__).parent
    for path in sorted((package.parent / "numpy.libs").glob("*openblas*")):
        try:
            library = ctypes.CDLL(str(path))  # numpy has loaded it: this is the same one
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
