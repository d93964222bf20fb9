"""A teacher without weights, a clock without time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillroom_server.teachers.job import Job
from stillroom_server.teachers.tokenizing import Ids, Rows


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeModel:
    """The vector of a row is (its first id, its length, the skip)."""

    dimensions = 3

    def __init__(self, name: str = "models/m/versions/1") -> None:
        self.name = name
        self.batches: list[list[int]] = []  # first ids
        self.poison: int | None = None  # a first id that fails its batch

    def forward(self, rows: Sequence[Ids], skip: int) -> npt.NDArray[np.float32]:
        self.batches.append([int(row[0]) for row in rows])
        if self.poison is not None and self.poison in self.batches[-1]:
            raise RuntimeError("poisoned")
        return np.array([(row[0], len(row), skip) for row in rows], np.float32)


def rows(lengths: Sequence[int], first: int = 0, skip: int = 0) -> Rows:
    """Rows of those lengths; row i is filled with the id ``first`` + i."""
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    ids = np.repeat(np.arange(first, first + len(lengths), dtype=np.int32), lengths)
    none = np.zeros(len(lengths), np.bool_)
    return Rows(ids, offsets, none, none, np.full(len(lengths), skip, np.int64))


def job(model: FakeModel, lengths: Sequence[int], first: int = 0, **more: object) -> Job:
    skip = more.pop("skip", 0)
    return Job(model, rows(lengths, first, skip), **more)  # type: ignore[arg-type]
