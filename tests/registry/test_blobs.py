"""Blobs: whole or absent, verified, and nothing left on a full disk."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillroom_registry import blobs as blobs_module
from stillroom_registry.blobs import LocalBlobStore
from stillroom_registry.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from stillroom_registry.registry import ModelKind, Registry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalBlobStore]:
    store = LocalBlobStore(tmp_path / "blobs")
    yield store
    store.close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) * 2 + 7])
def test_put_and_read(store: LocalBlobStore, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    (tmp_path / "source").write_bytes(content)
    for source in (io.BytesIO(content), tmp_path / "source"):
        blob = store.put(source)
        assert (blob.digest, blob.size) == (digest, size)
        with store.open(digest) as stream:
            assert stream.read() == content
    assert store.verify(digest) == size
    assert list(store.digests()) == [digest]
    assert len(files(tmp_path / "blobs")) == 1


def test_deleted_and_absent_blobs(store: LocalBlobStore) -> None:
    digest = store.put(io.BytesIO(b"x")).digest
    assert (store.delete(digest), store.delete(digest)) == (True, False)
    assert not store.exists(digest)
    with pytest.raises(NotFound):
        store.open(digest)
    with pytest.raises(DataLoss):
        store.verify(digest)


@pytest.mark.parametrize("digest", ["", "sha256:..", "md5:" + "0" * 64, "sha256:" + "A" * 64])
def test_only_digests_lead_to_files(store: LocalBlobStore, digest: str) -> None:
    with pytest.raises(InvalidArgument):
        store.path(digest)


def test_damage_is_found_and_a_new_put_heals_it(store: LocalBlobStore) -> None:
    digest = store.put(io.BytesIO(b"hello")).digest
    store.path(digest).chmod(0o600)
    store.path(digest).write_bytes(b"jello")
    with pytest.raises(DataLoss) as caught:
        store.verify(digest)
    assert caught.value.reason == "BLOB_DAMAGED"
    store.put(io.BytesIO(b"hello"))
    assert store.verify(digest) == 5


def test_a_source_that_fails_leaves_nothing(store: LocalBlobStore, tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise OSError(errno.EIO, "bad disk")
            return super().read(3)

    with pytest.raises(FailedPrecondition, match="bad disk"):
        store.put(Failing(b"abcdef"))
    assert files(tmp_path / "blobs") == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_at_any_step_is_said_and_leaves_nothing(
    registry: Registry,
    make_folder: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    code: int,
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    folder = make_folder(a=b"1", b=b"2")
    with monkeypatch.context() as patched:
        patched.setattr(blobs_module.os, step, full)
        with pytest.raises(ResourceExhausted) as caught:
            registry.publish("m", ModelKind.STUDENT, folder)
    assert caught.value.reason == "DISK_FULL"
    assert files(tmp_path / "data" / "tmp") == []
    assert files(tmp_path / "data" / "blobs") == []
    assert registry.list_models().items == ()
    assert registry.publish("m", ModelKind.STUDENT, folder).version == 1


PUBLISH = """
import sys
from pathlib import Path
from stillroom_registry.errors import ResourceExhausted
from stillroom_registry.registry import ModelKind, Registry
registry = Registry.open(Path(sys.argv[1]))
try:
    registry.publish("m", ModelKind.STUDENT, Path(sys.argv[2]))
except ResourceExhausted as error:
    print(error.reason)
registry.close()
"""


def test_a_file_size_limit_is_a_full_disk(tmp_path: Path, make_folder: Any) -> None:
    folder = make_folder(small=b"1", big=bytes(3_000_000))
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH, tmp_path / "data", folder],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 21, 1 << 21)),
    )
    assert (done.stdout, done.stderr) == ("DISK_FULL\n", "")
    registry = Registry.open(tmp_path / "data")
    assert registry.list_models().items == ()
    assert list(registry.blobs.digests()) == []
    registry.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real filesystem of 4 MiB, where the system allows to mount one."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a tmpfs is not permitted here")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path, make_folder: Any) -> None:
    reserve = small_disk / "reserve"
    reserve.write_bytes(bytes(600_000))
    registry = Registry.open(small_disk / "data")
    kept = registry.publish("m", ModelKind.STUDENT, make_folder(n=bytes(100_000)))

    def publish_until_full() -> None:
        nonlocal kept
        for _ in range(100):
            kept = registry.publish("m", ModelKind.STUDENT, make_folder(n=os.urandom(500_000)))

    def write_until_full() -> None:
        with (small_disk / "filler").open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))

    def set_aliases_until_full() -> None:
        for number in range(200):
            registry.set_alias("m", f"a{number}", 1)

    with pytest.raises(ResourceExhausted) as caught:
        publish_until_full()
    assert caught.value.reason == "DISK_FULL"
    with pytest.raises(OSError, match="No space"):
        write_until_full()
    # Now there is no room for the database's log either.
    with pytest.raises(ResourceExhausted) as caught:
        set_aliases_until_full()
    assert caught.value.reason == "DISK_FULL"
    registry.close()
    reserve.unlink()
    registry = Registry.open(small_disk / "data")
    assert registry.resolve("m") == kept
    for version in registry.list_versions("m").items:
        for file in version.files:
            assert registry.blobs.verify(file.digest) == file.size
    assert registry.publish("m", ModelKind.STUDENT, make_folder(n=b"1")).version > kept.version
    registry.close()
