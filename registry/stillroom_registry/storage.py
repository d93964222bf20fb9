"""What the operating system's errors about a disk mean to a caller: the one place that says so.

gRPC's test for the status is whether repeating the call helps. Space can be freed by the caller
(RESOURCE_EXHAUSTED). A disk that fails or turned read-only stays so until somebody mends it
(FAILED_PRECONDITION): no DATA_LOSS, as nothing that was acknowledged is lost, and no UNAVAILABLE,
as clients repeat those by themselves. Open files come free in a moment (UNAVAILABLE).
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from stillroom_registry.errors import (
    FailedPrecondition,
    ResourceExhausted,
    StillroomError,
    Unavailable,
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FAILING = {errno.EIO, errno.EUCLEAN} if hasattr(errno, "EUCLEAN") else {errno.EIO}
_TOO_MANY = {errno.EMFILE, errno.ENFILE}

_log = logging.getLogger(__name__)


def translate(error: BaseException) -> StillroomError | None:
    """The domain error for an OSError about a disk, without the path that it may name; None for
    what is no such error."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _FULL:
        return ResourceExhausted(
            "The disk that holds the data directory is full (or over its quota or file size "
            "limit); nothing was stored. Free some space and try again.",
            reason="DISK_FULL",
        )
    if error.errno in _FAILING:
        _log.error("a disk fails", exc_info=error)  # the operator is who must know
        return FailedPrecondition(
            f"A disk of the server failed ({error.strerror}); nothing was stored. See to the disk "
            "that holds the data directory, then try again; what is stored can be verified.",
            reason="STORAGE_FAILURE",
        )
    if error.errno == errno.EROFS:
        _log.error("a disk is read-only", exc_info=error)
        return FailedPrecondition(
            "The disk that holds the data directory is read-only; nothing was stored. Systems do "
            "that to a disk that fails: see to it, mount it for writing, then try again.",
            reason="STORAGE_READ_ONLY",
        )
    if error.errno in _TOO_MANY:
        return Unavailable(
            "The server has too many files open; try again in a moment. If it lasts, raise its "
            "limit of open files (ulimit -n).",
            reason="TOO_MANY_OPEN_FILES",
            retry_after=1.0,
        )
    return None


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise domain errors for what a disk does wrong inside; let everything else through.

    Raises ResourceExhausted (DISK_FULL), FailedPrecondition (STORAGE_FAILURE, STORAGE_READ_ONLY)
    and Unavailable (TOO_MANY_OPEN_FILES).
    """
    try:
        yield
    except OSError as error:
        domain = translate(error)
        if domain is None:
            raise
        raise domain from error
