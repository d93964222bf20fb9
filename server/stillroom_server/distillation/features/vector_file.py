"""A shard's vectors in a file that knows whose they are and whether it is whole.

128 bytes: ``SRVEC001``, the key (32 bytes), rows and columns (two little-endian 64-bit integers),
the SHA-256 of all that and of the vectors; zeros. Then the vectors, row after row, little-endian
float32.
"""

from __future__ import annotations

import hashlib
import os
import struct
import uuid
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.durable import sync_folder
from stillroom_registry.storage import storage_errors

UNFINISHED = ".unfinished"
_MAGIC = b"SRVEC001"
_HEAD = struct.Struct("<8s32sQQ")
_START = 128
_CHUNK = 1 << 20


def write_vectors(path: Path, key: str, vectors: NDArray[np.float32]) -> None:
    """Give (n, d) ``vectors`` the name ``path`` when they are on disk. Raises ResourceExhausted
    (DISK_FULL) and leaves nothing."""
    data = vectors.astype("<f4", copy=False).tobytes()
    head = _HEAD.pack(_MAGIC, bytes.fromhex(key), *vectors.shape)
    digest = hashlib.sha256(head)
    digest.update(data)
    # A name of its own: an earlier attempt may have been taken for dead and still write.
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with storage_errors():
            with unfinished.open("xb") as stream:
                stream.write((head + digest.digest()).ljust(_START, b"\0"))
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(path)
            sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def check_vectors(path: Path, key: str, rows: int) -> int | None:
    """The number of columns, if the file holds the ``rows`` vectors of ``key`` and every byte is as
    it was written; else None."""
    try:
        with path.open("rb") as stream:
            return _checked(stream, key, rows)
    except FileNotFoundError:
        return None


def map_vectors(path: Path, rows: int, columns: int) -> NDArray[np.float32]:
    """The (rows, columns) vectors of a checked file, mapped and read-only."""
    return np.memmap(path, dtype="<f4", mode="r", offset=_START, shape=(rows, columns))


def _checked(stream: BinaryIO, key: str, rows: int) -> int | None:
    start = stream.read(_START)
    if len(start) != _START:
        return None
    head, seal = start[: _HEAD.size], start[_HEAD.size : _HEAD.size + 32]
    magic, owner, found, columns = _HEAD.unpack(head)
    size = os.fstat(stream.fileno()).st_size
    if (magic, owner.hex(), found) != (_MAGIC, key, rows) or size != _START + 4 * rows * columns:
        return None
    digest = hashlib.sha256(head)
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return int(columns) if digest.digest() == seal else None
