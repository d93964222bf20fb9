"""What a failing database means to a caller, by SQLite's result code rather than by prose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy.exc as sa_exc

from stillroom_registry.errors import (
    DataLoss,
    FailedPrecondition,
    ResourceExhausted,
    StillroomError,
    Unavailable,
)

_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26


def translate(error: BaseException) -> StillroomError | None:
    """The domain error for a driver's exception, or None where the owner must decide.

    Integrity errors stay as they are: only the statement's owner knows which rule was broken.
    """
    if isinstance(error, sa_exc.TimeoutError):
        return Unavailable(
            "Too many requests wait for the database; try again in a moment.",
            reason="DATABASE_BUSY",
            retry_after=1.0,
        )
    if isinstance(error, sa_exc.DBAPIError):
        error = error.orig or error
    code = getattr(error, "sqlite_errorcode", None)
    if not isinstance(code, int):
        return None
    primary = code & 0xFF
    if primary in (_BUSY, _LOCKED):
        return Unavailable(
            "The database is busy with other writes; try again in a moment.",
            reason="DATABASE_BUSY",
            retry_after=1.0,
        )
    if primary == _FULL:
        return ResourceExhausted(
            "The disk that holds the data directory is full; free some space and try again.",
            reason="DISK_FULL",
        )
    if primary in (_CORRUPT, _NOTADB):
        return DataLoss(
            "The database file is damaged; restore it from a backup.", reason="DATABASE_DAMAGED"
        )
    if primary in (_READONLY, _CANTOPEN):
        return FailedPrecondition(
            f"The database cannot be opened for writing ({error}); check that the data directory "
            "is there and is writable.",
            reason="DATABASE_NOT_WRITABLE",
        )
    if primary == _IOERR:
        return FailedPrecondition(
            f"Reading or writing the database failed ({error}); nothing was stored. See to the "
            "disk that holds the data directory, then try again.",
            reason="STORAGE_FAILURE",
        )
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raise domain errors for what the driver raises inside; let everything else through."""
    try:
        yield
    except Exception as error:
        domain = translate(error)
        if domain is None:
            raise
        raise domain from error
