"""The uploads of a data directory."""

from __future__ import annotations

import secrets
import shutil
import string
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path

from stillroom_registry.errors import (
    Aborted,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from stillroom_server.uploads.disk import disk_full, translated
from stillroom_server.uploads.folder import MAKING, REMOVING, UploadFolder
from stillroom_server.uploads.model import (
    UploadHeader,
    UploadInfo,
    check_header,
    is_id,
    parse_name,
    wrong_offset,
)
from stillroom_server.uploads.record import Record
from stillroom_server.uploads.writer import COMMIT_BYTES, UploadWriter

# Folders cost inodes, however little is in them.
MAX_UPLOADS = 10_000


def random_id() -> str:
    """26 letters and digits, 134 random bits: knowing the name is the right to read it."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(26))


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


class UploadStore:
    """Uploads under ``root``. Safe between threads; all blocking, so call it from one.

    One process begins, deletes and expires (the server, which owns the data directory); others may
    open and hold. An upload counts against ``max_total_bytes`` with the size it announced from the
    moment it begins, so that no stream is cut off half-way for want of room; unset, five of the
    largest fit. ``in_use`` names the
    uploads that unfinished operations will still ask for: expiry spares them.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        time_to_live: timedelta = timedelta(hours=24),
        max_bytes: int,
        max_total_bytes: int | None = None,
        max_uploads: int = MAX_UPLOADS,
        commit_bytes: int = COMMIT_BYTES,
        in_use: Callable[[], Collection[str]] = frozenset,
        new_id: Callable[[], str] = random_id,
        free_bytes: Callable[[Path], int] = _free_bytes,
    ) -> None:
        self._root = root
        self._clock = clock
        self._time_to_live = time_to_live
        self._max_bytes = max_bytes
        self._max_total_bytes = 5 * max_bytes if max_total_bytes is None else max_total_bytes
        self._max_uploads = max_uploads
        self._commit_bytes = commit_bytes
        self._in_use = in_use
        self._new_id = new_id
        self._free_bytes = free_bytes
        self._admission = threading.Lock()
        self._announced: dict[str, int] = {}
        self._held: Counter[str] = Counter()
        self._held_lock = threading.Lock()
        with translated():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self, header: UploadHeader) -> UploadWriter:
        """A writer for a new upload, or for the rest of one.

        Resuming reads what is there again to digest it. Raises InvalidArgument (a header that is
        wrong or differs from the first one; OFFSET_MISMATCH), NotFound (UPLOAD_NOT_FOUND),
        FailedPrecondition (UPLOAD_COMPLETE: nothing is left to send), Aborted (UPLOAD_BUSY: another
        stream writes it), ResourceExhausted (UPLOAD_TOO_LARGE, UPLOADS_FULL, DISK_FULL).
        """
        check_header(header)
        if header.total_bytes > self._max_bytes:
            raise ResourceExhausted(
                f"An upload may have {self._max_bytes} bytes here (max_upload_bytes), not "
                f"{header.total_bytes}.",
                reason="UPLOAD_TOO_LARGE",
                field="header.total_bytes",
                metadata={"max_upload_bytes": str(self._max_bytes)},
            )
        if header.upload:
            return self._resume(self._folder(header.upload, "header.upload"), header)
        return self._create(header)

    def get(self, name: str) -> UploadInfo:
        """The state of an upload. NotFound (UPLOAD_NOT_FOUND) when unknown or expired."""
        return self._alive(self._folder(name)).info(name)

    def open(self, name: str) -> Path:
        """The complete file, not to be written to. Hold the upload while reading it.

        Raises NotFound, FailedPrecondition (UPLOAD_INCOMPLETE), DataLoss (UPLOAD_DAMAGED).
        """
        folder = self._folder(name)
        _require_complete(folder, self._alive(folder))
        return folder.data

    @contextmanager
    def hold(self, name: str) -> Iterator[Path]:
        """The complete file, safe from expiry and deletion inside the block, in every process.

        Also works for an upload whose time is over while its bytes are still there: whoever holds
        was promised the file when it was younger. Errors as for ``open``.
        """
        folder = self._folder(name)
        _require_complete(folder, _existing(folder))
        lock = self._lock(folder, shared=True, wait=True)
        assert lock is not None
        with lock:
            # What is still there was complete before; locked, it stays so.
            with self._held_lock:
                self._held[name] += 1
            try:
                yield folder.data
            finally:
                with self._held_lock:
                    self._held[name] -= 1
                    if not self._held[name]:
                        del self._held[name]

    def delete(self, name: str) -> None:
        """Discard an upload. NotFound when unknown or expired, Aborted (UPLOAD_BUSY) while a stream
        writes it, FailedPrecondition (UPLOAD_IN_USE) while an operation reads it."""
        folder = self._folder(name)
        try:
            complete = self._alive(folder).complete
        except DataLoss:
            complete = False
        lock = self._lock(folder, shared=False)
        if lock is None:
            raise _in_use(name) if complete else _busy(name)
        with lock:
            folder.discard()

    def expire(self, now: datetime | None = None) -> list[str]:
        """Discard what is past its time and not in use; the names. Run it at the start, too: it
        clears what a crash left."""
        with self._admission:
            return self._sweep(now or self._clock())

    def _create(self, header: UploadHeader) -> UploadWriter:
        if header.offset:
            raise wrong_offset(0, header.offset)
        with self._admission:
            if not self._has_room(header.total_bytes):
                self._sweep(self._clock())
                if not self._has_room(header.total_bytes):
                    raise ResourceExhausted(
                        f"The uploads here may have {self._max_total_bytes} bytes in all and be "
                        f"{self._max_uploads}, and that is reached; delete some that are no longer "
                        "needed, or wait until they expire.",
                        reason="UPLOADS_FULL",
                    )
            self._require_disk(header.total_bytes)
            folder = UploadFolder(self._root, self._new_id())
            folder.create(Record.new(header, self._clock() + self._time_to_live))
        return self._writer(folder, header)

    def _resume(self, folder: UploadFolder, header: UploadHeader) -> UploadWriter:
        _check_resumption(folder, self._alive(folder), header)
        return self._writer(folder, header)

    def _writer(self, folder: UploadFolder, header: UploadHeader) -> UploadWriter:
        lock = self._lock(folder, shared=False)
        if lock is None:
            raise _busy(folder.name)
        try:
            # Again, for the stream before may have gone on until the lock was ours.
            record = self._alive(folder)
            _check_resumption(folder, record, header)
            if header.offset != record.committed_bytes:
                raise wrong_offset(record.committed_bytes, header.offset)
            self._require_disk(record.total_bytes - record.committed_bytes)
            return UploadWriter(
                folder,
                replace(record, expected_digest=record.expected_digest or header.digest),
                lock,
                clock=self._clock,
                time_to_live=self._time_to_live,
                commit_bytes=self._commit_bytes,
            )
        except BaseException:
            lock.close()
            raise

    def _folder(self, name: str, field: str = "name") -> UploadFolder:
        return UploadFolder(self._root, parse_name(name, field))

    def _alive(self, folder: UploadFolder) -> Record:
        record = _existing(folder)
        if record.expire_time <= self._clock() and folder.name not in self._held:
            raise _unknown(folder.name)
        return record

    def _lock(self, folder: UploadFolder, *, shared: bool, wait: bool = False) -> FileIO | None:
        try:
            return folder.lock(shared=shared, wait=wait)
        except FileNotFoundError:
            raise _unknown(folder.name) from None

    def _require_disk(self, needed: int) -> None:
        if self._free_bytes(self._root) < needed:
            raise disk_full()

    def _has_room(self, wanted: int) -> bool:
        """Whether ``wanted`` more bytes may be announced. Sizes are read once an upload."""
        with translated():
            present = {path.name for path in self._root.iterdir() if is_id(path.name)}
        for gone in self._announced.keys() - present:
            del self._announced[gone]
        for upload_id in present - self._announced.keys():
            try:
                record = UploadFolder(self._root, upload_id).read()
            except DataLoss:
                continue
            if record is not None:
                self._announced[upload_id] = record.total_bytes
        total = sum(self._announced.values()) + wanted
        return total <= self._max_total_bytes and len(present) < self._max_uploads

    def _sweep(self, now: datetime) -> list[str]:
        spared = frozenset(self._in_use())
        swept: list[str] = []
        with translated():
            for path in sorted(self._root.iterdir()):
                # Nothing is being made while admission is ours; what is being removed may go.
                if path.name.startswith((MAKING, REMOVING)):
                    shutil.rmtree(path, ignore_errors=True)
                    continue
                if not is_id(path.name):
                    continue
                folder = UploadFolder(self._root, path.name)
                if folder.name not in spared and self._sweep_one(folder, now):
                    swept.append(folder.name)
        return swept

    def _sweep_one(self, folder: UploadFolder, now: datetime) -> bool:
        if not self._is_over(folder, now):
            return False
        try:
            lock = folder.lock(shared=False)
        except FileNotFoundError:
            return False
        if lock is None:
            return False
        with lock:
            # A stream may have moved the time forward before the lock was ours.
            if not self._is_over(folder, now):
                return False
            folder.discard()
        return True

    def _is_over(self, folder: UploadFolder, now: datetime) -> bool:
        try:
            record = folder.read()
        except DataLoss:
            changed = datetime.fromtimestamp(folder.path.stat().st_mtime, UTC)
            return changed + self._time_to_live <= now
        return record is not None and record.expire_time <= now


def _existing(folder: UploadFolder) -> Record:
    record = folder.read()
    if record is None:
        raise _unknown(folder.name)
    return record


def _check_resumption(folder: UploadFolder, record: Record, header: UploadHeader) -> None:
    if record.complete:
        raise FailedPrecondition(
            f"{folder.name} is complete; use it as it is.", reason="UPLOAD_COMPLETE"
        )
    if record.format != header.format:
        raise _changed("format", record.format.value, header.format.value)
    if record.total_bytes != header.total_bytes:
        raise _changed("total_bytes", str(record.total_bytes), str(header.total_bytes))
    if header.digest and record.expected_digest not in ("", header.digest):
        raise _changed("digest", record.expected_digest, header.digest)


def _require_complete(folder: UploadFolder, record: Record) -> None:
    if not record.complete:
        raise FailedPrecondition(
            f"{folder.name} is incomplete: {record.committed_bytes} of {record.total_bytes} bytes "
            "are there. Resume it first.",
            reason="UPLOAD_INCOMPLETE",
            metadata={"committed_bytes": str(record.committed_bytes)},
        )


def _changed(field: str, was: str, now: str) -> InvalidArgument:
    return InvalidArgument(
        f"This upload began with {field} {was}, which cannot become {now}; repeat the first "
        "header, or begin a new upload.",
        reason="HEADER_CHANGED",
        field=f"header.{field}",
    )


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"There is no upload {name}, or it has expired; upload the file again.",
        reason="UPLOAD_NOT_FOUND",
        metadata={"upload": name},
    )


def _busy(name: str) -> Aborted:
    return Aborted(
        f"Another stream writes {name}; wait until it ends, then ask GetUpload where to go on.",
        reason="UPLOAD_BUSY",
        retry_after=1.0,
    )


def _in_use(name: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"An operation reads {name}; wait until it is done, or cancel it.", reason="UPLOAD_IN_USE"
    )
