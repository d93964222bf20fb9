"""The folder of one upload: ``data``, ``meta.json`` and a lock that every process respects."""

from __future__ import annotations

import fcntl
import os
import shutil
from io import FileIO
from pathlib import Path

from stillroom_registry.errors import DataLoss
from stillroom_server.uploads.disk import sync_folder, translated, write_whole
from stillroom_server.uploads.record import Record, decode, encode

# Folders that begin so are being made or being removed; no id begins so.
MAKING, REMOVING = ".new-", ".old-"


class UploadFolder:
    """Knows the layout on disk, decides nothing.

    The lock is flock's, which the kernel drops when a process dies, so that kill -9 leaves no stale
    one. Exclusive: one writes or discards. Shared: some read.
    """

    def __init__(self, root: Path, upload_id: str) -> None:
        self._root = root
        self._id = upload_id
        self.path = root / upload_id
        self.data = self.path / "data"
        self._lock_file = self.path / "lock"
        self._meta = self.path / "meta.json"

    @property
    def name(self) -> str:
        return f"uploads/{self._id}"

    def create(self, record: Record) -> None:
        """Make the folder; it has its real name only when it is whole."""
        making = self._root / f"{MAKING}{self._id}"
        with translated():
            making.mkdir(mode=0o700)
            try:
                for file in (self.data, self._lock_file):
                    (making / file.name).touch(mode=0o600)
                write_whole(making / self._meta.name, encode(record))
                making.rename(self.path)
                sync_folder(self._root)
            except OSError:
                shutil.rmtree(making, ignore_errors=True)
                raise

    def read(self) -> Record | None:
        """The record as last committed, or None when there is no such upload. DataLoss
        (UPLOAD_DAMAGED) when the record cannot be read or bytes that were committed are gone."""
        with translated():
            try:
                record = decode(self._meta.read_bytes())
                size = self.data.stat().st_size
            except FileNotFoundError as error:
                if not self.path.is_dir():
                    return None
                missing = Path(error.filename).name
                raise self._damaged(f"{missing} is missing") from error
            except ValueError as error:
                raise self._damaged(str(error)) from error
        if size < record.committed_bytes:
            raise self._damaged(f"{record.committed_bytes - size} committed bytes are gone")
        return record

    def write(self, record: Record) -> None:
        with translated():
            write_whole(self._meta, encode(record))

    def open_data(self) -> FileIO:
        """The data for reading and writing, without following a link."""
        with translated():
            return FileIO(str(self.data), "r+b", opener=_no_follow)

    def lock(self, *, shared: bool, wait: bool = False) -> FileIO | None:
        """The lock, freed when the answer is closed. None when another holds it (never with
        ``wait``). FileNotFoundError when the upload is gone, or went while this waited."""
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        # Made when it is missing, so that a damaged upload can still be locked and removed.
        file = FileIO(str(self._lock_file), "a", opener=_no_follow)
        try:
            fcntl.flock(file, mode)
            # Discarding renames the folder under the lock: what was locked may have been that.
            if not os.path.samestat(os.fstat(file.fileno()), self._lock_file.stat()):
                raise FileNotFoundError(self._lock_file)
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        return file

    def discard(self) -> None:
        """Remove the upload. The caller holds the exclusive lock, or knows that nobody can."""
        with translated():
            removing = self._root / f"{REMOVING}{self._id}"
            self.path.rename(removing)
            sync_folder(self._root)
        # The upload is gone; what cannot be removed now is removed by the next sweep.
        shutil.rmtree(removing, ignore_errors=True)

    def _damaged(self, how: str) -> DataLoss:
        return DataLoss(
            f"Upload {self.name} is damaged on the server's disk: {how}. Delete it and upload the "
            "file again.",
            reason="UPLOAD_DAMAGED",
            metadata={"upload": self.name},
        )


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
