"""One stream's hand on one upload."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from io import FileIO
from types import TracebackType
from typing import Self

from stillroom_registry.errors import Aborted, InvalidArgument
from stillroom_server.uploads.disk import translated
from stillroom_server.uploads.folder import UploadFolder
from stillroom_server.uploads.model import UploadInfo
from stillroom_server.uploads.record import Record

MAX_CHUNK_BYTES = 2 << 20
# A kill loses at most this much of what a client sent; each commit costs a few fsyncs.
COMMIT_BYTES = 32 << 20
_READ_BYTES = 1 << 20


class UploadWriter:
    """Appends to one upload, alone, until ``finish`` or ``close``. Made by ``UploadStore.begin``.

    Every method may be called from any thread: a cancelled RPC closes its writer while a thread
    may still be writing, and that thread must then meet an error, not a descriptor that has since
    become another file's. ``lock`` is the upload's exclusive lock; dropping the writer frees it.
    """

    def __init__(
        self,
        folder: UploadFolder,
        record: Record,
        lock: FileIO,
        *,
        clock: Callable[[], datetime],
        time_to_live: timedelta,
        commit_bytes: int = COMMIT_BYTES,
    ) -> None:
        self._folder = folder
        self._record = record
        self._lock = lock
        self._clock = clock
        self._time_to_live = time_to_live
        self._commit_bytes = commit_bytes
        self._mutex = threading.Lock()
        self._closed = False
        self._trusted = True  # that what was written can still be committed
        self._size = record.committed_bytes
        self._hash = hashlib.sha256()
        self._data = folder.open_data()
        try:
            with translated():
                # What lies beyond the committed bytes may not have survived a power cut.
                os.ftruncate(self._data.fileno(), self._size)
                self._hash_what_is_there()
            self._commit()
        except BaseException:
            self._data.close()
            raise

    @property
    def name(self) -> str:
        """``uploads/{id}``: what a client needs to resume."""
        return self._folder.name

    @property
    def info(self) -> UploadInfo:
        """The state as last committed; more may have been written since."""
        return self._record.info(self.name)

    def write(self, chunk: bytes) -> None:
        """Append the next bytes.

        Raises InvalidArgument: CHUNK_TOO_LARGE over 2 MiB; SIZE_MISMATCH when there is more than
        the header announced, which discards the upload. ResourceExhausted (DISK_FULL): what came
        before this chunk is kept. Aborted (UPLOAD_CLOSED) after ``finish`` or ``close``.
        """
        with self._mutex:
            self._require_open()
            if len(chunk) > MAX_CHUNK_BYTES:
                raise InvalidArgument(
                    f"A chunk of {len(chunk)} bytes is too large; send at most {MAX_CHUNK_BYTES} "
                    "bytes a message.",
                    reason="CHUNK_TOO_LARGE",
                    field="chunk",
                )
            if self._size + len(chunk) > self._record.total_bytes:
                self._discard()
                raise self._wrong_size("more than")
            self._append(chunk)
            if self._size - self._record.committed_bytes >= self._commit_bytes:
                self._commit()

    def finish(self) -> UploadInfo:
        """Check the whole and make it usable; closes the writer.

        Raises InvalidArgument (SIZE_MISMATCH, DIGEST_MISMATCH) and then discards the upload,
        because no resuming could mend it. ResourceExhausted (DISK_FULL) keeps what is committed.
        """
        with self._mutex:
            self._require_open()
            if self._size != self._record.total_bytes:
                self._discard()
                raise self._wrong_size(f"{self._size} of")
            digest = f"sha256:{self._hash.hexdigest()}"
            if self._record.expected_digest not in ("", digest):
                self._discard()
                raise InvalidArgument(
                    f"The bytes that arrived have digest {digest}, not "
                    f"{self._record.expected_digest}; the upload is discarded. Check that the file "
                    "did not change, then upload it again.",
                    reason="DIGEST_MISMATCH",
                    field="header.digest",
                    metadata={"digest": digest},
                )
            try:
                self._commit(digest=digest, complete=True)
            finally:
                self._release()
            return self.info

    def close(self) -> None:
        """Keep what arrived, for a later stream to go on from. Does nothing when already closed."""
        with self._mutex:
            if self._closed:
                return
            try:
                if self._trusted:
                    self._commit()
            finally:
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            with translated():
                while rest:
                    rest = rest[os.write(self._data.fileno(), rest) :]
        except BaseException:
            # A part of the chunk may be there: cut it off, for the digest does not know it.
            self._trusted = False
            with translated():
                os.ftruncate(self._data.fileno(), self._size)
                os.lseek(self._data.fileno(), self._size, os.SEEK_SET)
            self._trusted = True
            raise
        self._hash.update(chunk)
        self._size += len(chunk)

    def _commit(self, *, digest: str = "", complete: bool = False) -> None:
        record = replace(
            self._record,
            committed_bytes=self._size,
            digest=digest,
            complete=complete,
            expire_time=self._clock() + self._time_to_live,
        )
        try:
            with translated():
                os.fsync(self._data.fileno())
        except BaseException:
            # A second fsync may succeed though the first one's pages were dropped.
            self._trusted = False
            raise
        self._folder.write(record)
        self._record = record

    def _hash_what_is_there(self) -> None:
        for offset in range(0, self._size, _READ_BYTES):
            wanted = min(_READ_BYTES, self._size - offset)
            block = os.pread(self._data.fileno(), wanted, offset)
            if len(block) < wanted:
                raise OSError("the data file ended early")
            self._hash.update(block)
        os.lseek(self._data.fileno(), self._size, os.SEEK_SET)

    def _require_open(self) -> None:
        if self._closed or not self._trusted:
            raise Aborted(
                f"The stream that wrote {self.name} has ended; open another to go on.",
                reason="UPLOAD_CLOSED",
            )

    def _wrong_size(self, arrived: str) -> InvalidArgument:
        return InvalidArgument(
            f"The stream brought {arrived} the {self._record.total_bytes} bytes that the header "
            "announced; the upload is discarded.",
            reason="SIZE_MISMATCH",
            field="header.total_bytes",
        )

    def _discard(self) -> None:
        try:
            self._folder.discard()
        finally:
            self._release()

    def _release(self) -> None:
        self._closed = True
        self._data.close()
        self._lock.close()
