"""What batches of a stream have in common: columns with one value a text, and failure."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stillroom._protocol.vectors import malformed
from stillroom.errors import StillroomError

T = TypeVar("T", np.int32, np.float32, np.bool_)


class Batch(Protocol):
    """The answer to the texts ``start`` to ``stop`` (exclusive) of the input; ``error`` where the
    server refused them."""

    start: int
    stop: int
    error: StillroomError | None


class Failed:
    """Mixed into a batch, first: texts that the server refused, and why. Every attribute that the
    batch has and this one lacks raises that error."""

    def __init__(self, start: int, stop: int, error: StillroomError) -> None:
        self.start = start
        self.stop = stop
        self.error: StillroomError | None = error

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") or self.__dict__.get("error") is None:
            raise AttributeError(name)
        raise self.error or AttributeError(name)


def each(values: Collection[Any], count: int, dtype: type[T], what: str) -> NDArray[T]:
    """One value a text; all zero where the answer leaves them out."""
    if not values:
        return np.zeros(count, dtype)
    if len(values) != count:
        raise malformed(f"{len(values)} {what} for {count} texts")
    return np.fromiter(values, dtype, count)


def seconds(timings: Any) -> dict[str, float]:
    """Timings in seconds by phase, from a message whose fields are ``{phase}_nanos``."""
    return {phase: getattr(timings, field) / 1e9 for phase, field in _phases(timings.DESCRIPTOR)}


@cache
def _phases(descriptor: Any) -> tuple[tuple[str, str], ...]:
    names = [field.name for field in descriptor.fields]
    return tuple((name.removesuffix("_nanos"), name) for name in names)
