"""What kill -9, a full disk and a failing one leave behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from uploads.support import CONTENT, HEADER, SHA, Clock, Make, refused, resuming, upload

from stillroom_registry.errors import (
    Aborted,
    DataLoss,
    FailedPrecondition,
    ResourceExhausted,
    StillroomError,
)
from stillroom_server.uploads.store import UploadStore
from stillroom_server.uploads.writer import UploadWriter


def data_of(tmp_path: Path, writer: UploadWriter) -> Path:
    return tmp_path / "data" / writer.name / "data"


def failed_disk() -> Any:
    return pytest.raises(StillroomError, match="Input/output")


@contextmanager
def failing_sync(monkeypatch: pytest.MonkeyPatch, path: Path) -> Iterator[None]:
    really_sync = os.fsync

    def sync(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            raise OSError(errno.EIO, "Input/output error")
        really_sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        yield


class TestFailingDisk:
    @pytest.fixture
    def full_after(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
        really_write = os.write

        def fill(room: int) -> None:
            def write(descriptor: int, content: bytes) -> int:
                nonlocal room
                if not room:
                    raise OSError(errno.ENOSPC, "No space left on device")
                written = really_write(descriptor, content[:room])
                room -= written
                return written

            monkeypatch.setattr(os, "write", write)

        yield fill
        monkeypatch.undo()

    def test_a_full_disk_keeps_whole_chunks(
        self, store: UploadStore, full_after: Callable[[int], None], tmp_path: Path
    ) -> None:
        with store.begin(HEADER) as writer:
            full_after(3500)
            writer.write(CONTENT[:2000])
            with refused(ResourceExhausted, "DISK_FULL"):
                writer.write(CONTENT[2000:4000])
        assert store.get(writer.name).committed_bytes == 2000
        assert (tmp_path / "data" / writer.name / "data").stat().st_size == 2000
        full_after(1 << 20)
        with store.begin(resuming(writer.name, 2000)) as writer:
            writer.write(CONTENT[2000:])
            assert writer.finish().digest == SHA

    def test_a_chunk_written_in_pieces_is_whole(
        self, store: UploadStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        really_write = os.write
        monkeypatch.setattr(os, "write", lambda d, content: really_write(d, content[:7]))
        assert store.open(upload(store, digest=SHA)).read_bytes() == CONTENT

    def test_bytes_that_did_not_sync_are_not_committed(
        self, store: UploadStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with store.begin(HEADER) as writer:
            writer.write(CONTENT[:2000])
        writer = store.begin(resuming(writer.name, 2000))
        writer.write(CONTENT[2000:])

        with failing_sync(monkeypatch, data_of(tmp_path, writer)), failed_disk():
            writer.finish()
        writer.close()
        assert store.get(writer.name).committed_bytes == 2000
        with store.begin(resuming(writer.name, 2000)) as writer:
            writer.write(CONTENT[2000:])
            assert writer.finish().digest == SHA

    def test_a_writer_does_not_trust_what_once_failed_to_sync(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        store = make(commit_bytes=2000)
        writer = store.begin(HEADER)
        writer.write(CONTENT[:2000])
        with failing_sync(monkeypatch, data_of(tmp_path, writer)), failed_disk():
            writer.write(CONTENT[2000:4000])
        for late in (lambda: writer.write(CONTENT[4000:]), writer.finish):
            with refused(Aborted, "UPLOAD_CLOSED"):
                late()
        writer.close()
        assert store.get(writer.name).committed_bytes == 2000

    def test_bytes_are_synced_before_they_count(
        self, store: UploadStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        writer = store.begin(HEADER)
        data, meta = data_of(tmp_path, writer), data_of(tmp_path, writer).with_name("meta.json")
        writer.write(CONTENT)
        really_sync, steps = os.fsync, []

        def sync(descriptor: int) -> None:
            really_sync(descriptor)
            committed = json.loads(meta.read_bytes())["committed_bytes"]
            synced = Path(f"/proc/self/fd/{descriptor}").readlink()
            steps.append((synced.relative_to(data.parent.parent).parts[1:], committed))

        monkeypatch.setattr(os, "fsync", sync)
        writer.close()
        size = len(CONTENT)
        assert steps == [(("data",), 0), ((".meta.json.new",), 0), ((), size)]

    def test_a_record_is_replaced_never_rewritten(self, store: UploadStore, tmp_path: Path) -> None:
        writer = store.begin(HEADER)
        before = tmp_path / "before"
        before.hardlink_to(data_of(tmp_path, writer).with_name("meta.json"))
        content = before.read_bytes()
        writer.write(CONTENT)
        writer.close()
        assert before.read_bytes() == content

    def test_damage_is_told_and_can_be_cleared(
        self, store: UploadStore, clock: Clock, tmp_path: Path
    ) -> None:
        cut, garbled, stripped = upload(store), upload(store), upload(store)
        os.truncate(tmp_path / "data" / cut / "data", 10)
        (tmp_path / "data" / garbled / "meta.json").write_text('{"version": 1}')
        for file in ("meta.json", "lock"):
            (tmp_path / "data" / stripped / file).unlink()
        for name in (cut, garbled, stripped):
            for use in (store.get, store.open):
                with refused(DataLoss, "UPLOAD_DAMAGED"):
                    use(name)
        store.delete(cut)
        upload(store)  # the damaged ones do not stand in the way
        clock.now = datetime.now(UTC) + timedelta(hours=25)
        assert {garbled, stripped} <= set(store.expire())


KILLED = """
import os, signal, sys
from pathlib import Path
from stillroom_server.uploads.model import UploadHeader
from stillroom_server.uploads.store import UploadStore
store = UploadStore(Path(sys.argv[1]), max_bytes=10240, max_total_bytes=10240, commit_bytes=4096)
writer = store.begin(UploadHeader(total_bytes=10240))
content = bytes(range(256)) * 40
for start in range(0, 9216, 1024):
    writer.write(content[start:start + 1024])
print(writer.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_what_was_committed(tmp_path: Path) -> None:
    root = tmp_path / "uploads"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    store = UploadStore(root, max_bytes=1 << 20, max_total_bytes=1 << 20)
    name = done.stdout.strip()
    assert store.get(name).committed_bytes == 8192
    # What a power cut may make of the bytes that nobody synced.
    data = root / name.removeprefix("uploads/") / "data"
    data.write_bytes(CONTENT[:8192] + b"\0" * 5000)
    with store.begin(resuming(name, 8192)) as writer:
        writer.write(CONTENT[8192:])
        assert writer.finish().digest == SHA
    assert store.open(name).read_bytes() == CONTENT


def test_a_crash_while_making_or_removing_is_cleared(store: UploadStore, tmp_path: Path) -> None:
    root = tmp_path / "data" / "uploads"
    for leftover in (".new-" + "a" * 26, ".old-" + "b" * 26):
        (root / leftover).mkdir()
        (root / leftover / "data").write_bytes(b"x")
    (root / "notes.txt").write_text("an operator's own")
    upload(store)
    assert store.expire() == []
    assert len(list(root.iterdir())) == 2
    assert (root / "notes.txt").exists()


def test_a_folder_that_is_not_writable_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make()

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with refused(FailedPrecondition, "UPLOADS_NOT_WRITABLE"):
        store.begin(HEADER)
