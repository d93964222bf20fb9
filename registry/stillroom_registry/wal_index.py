"""Whether a database in WAL mode has changed, read where SQLite's own readers look.

Every commit, of any process, writes the header of the WAL-index anew: a count of changes, the
number of frames, salts and a checksum (https://sqlite.org/walformat.html, "The WAL-Index Header").
``PRAGMA data_version`` compares the same bytes, but takes and drops a lock and asks for the file's
size on the way: 4 us by itself and 20 in a busy server, on each request.

The file is mapped by the descriptor that SQLite has open. To open it once more would be the end of
SQLite's locks: POSIX drops those of a process when *any* of its descriptors of a file is closed.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FORMAT = 3007000  # of the index; never changed since WAL exists
_HEADER_BYTES = 48  # of each of its two copies: the first is the last that a commit writes
_DESCRIPTORS = Path("/proc/self/fd")


class WalIndex:
    """The header, for as long as a connection to the database is open in this process."""

    def __init__(self, address: int) -> None:
        self._address = address
        self._header = memoryview((ctypes.c_ubyte * _HEADER_BYTES).from_address(address))

    @classmethod
    def of(cls, database: Path) -> WalIndex | None:
        """That of ``database``, which a connection of this process has read in WAL mode. None where
        the system does not tell descriptors (other than Linux), or the format is another."""
        index = database.with_name(f"{database.name}-shm")
        for descriptor in _descriptors_of(index):
            address = _map(descriptor)
            if address is None:
                continue
            if ctypes.c_uint32.from_address(address).value == _FORMAT:
                return cls(address)
            _unmap(address)
        return None

    def state(self) -> int:
        """A number that differs after any commit; less than a microsecond. Raises ValueError when
        closed."""
        return int.from_bytes(self._header, "little")

    def close(self) -> None:
        """To be called before the last connection is closed: the file may shrink after it."""
        if self._address:
            self._header.release()
            _unmap(self._address)
            self._address = 0


def _descriptors_of(file: Path) -> Iterator[int]:
    try:
        wanted = file.stat()
        names = [each.name for each in _DESCRIPTORS.iterdir()]
    except OSError:
        return
    for name in names:
        try:
            found = os.fstat(int(name))
        except OSError:  # the one that listed them
            continue
        if os.path.samestat(found, wanted):
            yield int(name)


def _library() -> Any:
    library = ctypes.CDLL(None)
    block, flag = (ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int
    library.mmap.argtypes = (*block, flag, flag, flag, ctypes.c_long)
    library.mmap.restype = ctypes.c_void_p
    library.munmap.argtypes = block
    return library


def _map(descriptor: int) -> int | None:
    if os.fstat(descriptor).st_size < mmap.PAGESIZE:
        return None  # nobody has read the database yet
    address: int | None = _library().mmap(
        None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0
    )
    failed = ctypes.c_void_p(-1).value
    return None if address == failed else address


def _unmap(address: int) -> None:
    _library().munmap(address, mmap.PAGESIZE)
