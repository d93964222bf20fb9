"""A NumPy file of rows that is written as they come: larger than memory, whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stillroom.errors import FailedPrecondition, Internal
from stillroom.local_folder import translated

# The format pads its header to a multiple of 64 bytes: 128 has room for any count of rows, which is
# known at the end and written over the first.
_HEADER_BYTES = 128


class NpyWriter:
    """Writes (n, d) arrays one after another, into a temporary file beside ``path`` that takes its
    name when the ``with`` block ends well, and goes when it does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = 0
        self.columns = 0
        self._dtype: np.dtype[Any] | None = None

    def __enter__(self) -> Self:
        with translated(self._path):
            if self._path.is_dir():
                raise FailedPrecondition(f"{self._path} is a folder", reason="LOCAL_FILE")
            # The handle outlives this method; __exit__ closes it on every way out.
            self._file = tempfile.NamedTemporaryFile(
                dir=self._path.parent, prefix=f".{self._path.name}.", delete=False
            )
            self._file.write(bytes(_HEADER_BYTES))
        return self

    def append(self, block: NDArray[Any]) -> None:
        """Adds rows; Internal when their width or type differs from those before."""
        if self._dtype is None:
            self._dtype, self.columns = block.dtype, block.shape[1]
        elif block.dtype != self._dtype or block.shape[1] != self.columns:
            raise Internal(
                f"{block.shape[1]} x {block.dtype} after {self.columns} x {self._dtype}: did an"
                " alias move to another model meanwhile?",
                reason="MIXED_ROWS",
            )
        with translated(self._path):
            self._file.write(np.ascontiguousarray(block).data)
        self.rows += len(block)

    def __exit__(self, kind: object, *_: object) -> None:
        temporary = Path(self._file.name)
        try:
            if kind is None:
                with translated(self._path):
                    self._finish(temporary)
        finally:
            self._file.close()
            temporary.unlink(missing_ok=True)

    def _finish(self, temporary: Path) -> None:
        self._file.seek(0)
        self._file.write(header(self._dtype or np.dtype("<f4"), self.rows, self.columns))
        self._file.flush()
        os.fsync(self._file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(self._path)


def header(dtype: np.dtype[Any], rows: int, columns: int) -> bytes:
    """The header of a C-ordered (rows, columns) array, 128 bytes of NPY format 1.0."""
    described = {"descr": dtype.str, "fortran_order": False, "shape": (rows, columns)}
    magic = b"\x93NUMPY\x01\x00"
    room = _HEADER_BYTES - len(magic) - 2
    text = repr(described).encode().ljust(room - 1) + b"\n"
    return magic + room.to_bytes(2, "little") + text
