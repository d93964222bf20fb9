"""What ran out, said plainly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stillroom_registry import storage
from stillroom_registry.errors import ResourceExhausted


@contextmanager
def exhaustion() -> Iterator[None]:
    """Memory or disk that ran out, under whatever name a library tells it, is ResourceExhausted
    (OUT_OF_MEMORY, DISK_FULL); a disk that fails is what ``storage`` says."""
    try:
        yield
    except ResourceExhausted:
        raise
    except MemoryError as error:
        raise _memory() from error
    except Exception as error:
        if (told := storage.translate(error)) is not None:
            raise told from error
        said = str(error)
        if "No space left on device" in said:
            raise _disk() from error
        if isinstance(error, RuntimeError) and (
            "out of memory" in said or "can't allocate memory" in said
        ):
            raise _memory() from error
        raise


def _disk() -> ResourceExhausted:
    return ResourceExhausted(
        "the disk of the data directory is full; free some space and try again",
        reason="DISK_FULL",
    )


def _memory() -> ResourceExhausted:
    return ResourceExhausted(
        "not enough memory for so many texts and labels with this encoder; give fewer examples, or"
        " fewer n-gram features",
        reason="OUT_OF_MEMORY",
    )
