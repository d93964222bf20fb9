from __future__ import annotations

import errno

import pytest

from stillroom_registry.errors import (
    FailedPrecondition,
    Internal,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from stillroom_server.operations.failures import describe


def test_domain_errors_stay_as_they_are() -> None:
    error = NotFound("gone", field="x")
    assert describe(error) is error


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (OSError(errno.ENOSPC, "no space"), ResourceExhausted, "DISK_FULL"),
        (OSError(errno.EDQUOT, "no quota"), ResourceExhausted, "DISK_FULL"),
        (MemoryError(), ResourceExhausted, "OUT_OF_MEMORY"),
        (ModuleNotFoundError("no", name="onnx"), FailedPrecondition, "LIBRARY_MISSING"),
        (OSError(errno.EIO, "bad", "/secret/path"), FailedPrecondition, "STORAGE_FAILURE"),
        (OSError(errno.EROFS, "ro", "/secret/path"), FailedPrecondition, "STORAGE_READ_ONLY"),
        (OSError(errno.EMFILE, "many", "/secret/path"), Unavailable, "TOO_MANY_OPEN_FILES"),
        (OSError(errno.EPIPE, "/secret/path"), Internal, "UNEXPECTED_ERROR"),
        (RuntimeError("token hf_abc"), Internal, "UNEXPECTED_ERROR"),
    ],
)
def test_others_are_told_without_their_text(
    error: Exception, kind: type[Exception], reason: str
) -> None:
    told = describe(error)
    assert type(told) is kind
    assert told.reason == reason
    assert "secret" not in told.message
    assert "hf_abc" not in told.message
