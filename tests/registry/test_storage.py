"""What a disk does wrong, as a caller hears it."""

from __future__ import annotations

import errno
import io
import logging
import os
from pathlib import Path

import pytest

from stillroom_registry import storage
from stillroom_registry.blobs import LocalBlobStore
from stillroom_registry.errors import (
    FailedPrecondition,
    ResourceExhausted,
    StillroomError,
    Unavailable,
)

WRONG = [
    (errno.ENOSPC, ResourceExhausted, "DISK_FULL"),
    (errno.EDQUOT, ResourceExhausted, "DISK_FULL"),
    (errno.EFBIG, ResourceExhausted, "DISK_FULL"),
    (errno.EIO, FailedPrecondition, "STORAGE_FAILURE"),
    (errno.EROFS, FailedPrecondition, "STORAGE_READ_ONLY"),
    (errno.EMFILE, Unavailable, "TOO_MANY_OPEN_FILES"),
    (errno.ENFILE, Unavailable, "TOO_MANY_OPEN_FILES"),
]


@pytest.mark.parametrize(("code", "kind", "reason"), WRONG)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_blob_that_cannot_be_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    kind: type[StillroomError],
    reason: str,
) -> None:
    store = LocalBlobStore(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), "/a/secret/path")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(kind) as caught:
            store.put(io.BytesIO(b"bytes"))
    assert caught.value.reason == reason
    assert "secret" not in caught.value.message
    assert list(store.digests()) == []
    assert store.put(io.BytesIO(b"bytes")).size == 5
    store.close()


def test_an_operator_hears_of_a_failing_disk(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        storage.translate(OSError(errno.ENOSPC, "full"))
        assert caplog.records == []
        storage.translate(OSError(errno.EIO, "bad sector", "/data/blobs"))
    assert "/data/blobs" in caplog.text


def test_other_errors_are_not_the_disks() -> None:
    for error in (OSError(errno.ENOENT, "gone"), OSError("odd"), ValueError("x")):
        assert storage.translate(error) is None
    with pytest.raises(FileNotFoundError), storage.storage_errors():
        raise FileNotFoundError(errno.ENOENT, "gone")
