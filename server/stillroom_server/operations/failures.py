"""What a caller is told of an exception that ended an operation."""

from __future__ import annotations

import errno

from stillroom_registry.errors import (
    FailedPrecondition,
    Internal,
    ResourceExhausted,
    StillroomError,
)

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def describe(error: BaseException) -> StillroomError:
    """Domain errors as they are, a full disk or memory by name, and of the rest only the type.

    The text of a foreign exception stays in the log: it may hold paths, addresses or secrets.
    """
    if isinstance(error, StillroomError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return ResourceExhausted(
            "The disk that holds the data directory is full; free some space and try again.",
            reason="DISK_FULL",
        )
    if isinstance(error, MemoryError):
        return ResourceExhausted(
            "There is not enough memory for this operation; make it smaller or free some.",
            reason="OUT_OF_MEMORY",
        )
    if isinstance(error, ModuleNotFoundError):
        return FailedPrecondition(
            f"This installation lacks the library {error.name}; install stillroom[train] on the "
            "server for imports and distillation.",
            reason="LIBRARY_MISSING",
            metadata={"library": error.name or ""},
        )
    return Internal(
        f"The operation ended in an unexpected {type(error).__name__}; the server's log says more.",
        reason="UNEXPECTED_ERROR",
        metadata={"type": type(error).__name__},
    )
