"""What a caller is told of an exception that ended an operation."""

from __future__ import annotations

from stillroom_registry import storage
from stillroom_registry.errors import (
    FailedPrecondition,
    Internal,
    ResourceExhausted,
    StillroomError,
)


def describe(error: BaseException) -> StillroomError:
    """Domain errors as they are, what disk or memory lacks by name, and of the rest only the type.

    The text of a foreign exception stays in the log: it may hold paths, addresses or secrets.
    """
    if isinstance(error, StillroomError):
        return error
    if (told := storage.translate(error)) is not None:
        return told
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
