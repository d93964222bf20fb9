"""One request in the engine: its rows, what is still to compute, and its vectors so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stillroom_registry.errors import StillroomError
from stillroom_server.teachers.tokenizing import Ids, Rows

Vectors = npt.NDArray[np.float32]


class Model(Protocol):
    """What computes vectors. ``dimensions`` is the size of one."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    def forward(self, rows: Sequence[Ids], skip: int) -> Vectors:
        """The vectors, (n, dimensions), of rows of ids that make one batch; the first ``skip``
        tokens of each are not pooled."""
        ...


class Job:
    """Made for one request; ``deadline`` is in seconds of the queue's clock, None without one.

    ``on_end`` is called once, from any thread, with None when ``vectors`` is complete and with an
    error otherwise; never after the job was removed from its queue.
    """

    def __init__(
        self,
        model: Model,
        rows: Rows,
        *,
        deadline: float | None = None,
        on_end: Callable[[StillroomError | None], None] = lambda _: None,
    ) -> None:
        self.model = model
        self.rows = rows
        self.deadline = deadline
        self.on_end = on_end
        self.lengths: list[int] = rows.lengths.tolist()
        self.skips: list[int] = rows.skips.tolist()
        # A teacher without special tokens has nothing to read in an empty text.
        self.vectors: Vectors = np.zeros((len(self.lengths), model.dimensions), np.float32)
        self.pending = {index for index, length in enumerate(self.lengths) if length}
        self._descending = sorted(self.pending, key=lambda index: -self.lengths[index])
        self._cursor = 0
        self.unfinished = len(self.pending)
        self.arrival = 0.0
        self.due = 0.0
        self.started: float | None = None
        self.infer_seconds = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return len(self.rows.ids)

    def longest(self) -> int:
        """The index of the longest text that no batch has taken yet."""
        while self._descending[self._cursor] not in self.pending:
            self._cursor += 1
        return self._descending[self._cursor]
