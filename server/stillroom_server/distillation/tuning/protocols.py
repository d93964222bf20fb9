"""What tuning asks of its surroundings; the rooms ``corpus``, ``features`` and ``operations`` have
it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Shard(Protocol):
    """Some 2,048 texts of a corpus."""

    @property
    def count(self) -> int: ...

    def texts(self) -> Sequence[str]: ...


class Corpus(Protocol):
    """Texts to learn from and texts to judge by; ``digest`` changes with any of them."""

    @property
    def training(self) -> Sequence[Shard]: ...

    @property
    def held_out(self) -> Sequence[Shard]: ...

    @property
    def digest(self) -> str: ...


class Features(Protocol):
    """The teacher's vectors, (count of the shard, dim) float32, usually mapped from disk."""

    @property
    def dim(self) -> int: ...

    def training(self, index: int) -> NDArray[np.float32]: ...

    def held_out(self, index: int) -> NDArray[np.float32]: ...


class Checkpoints(Protocol):
    """As ``operations.checkpoints.Checkpoints``."""

    def save(self, step: int, write: Callable[[Path], None]) -> None: ...

    def latest(self) -> tuple[int, Path] | None: ...


class Context(Protocol):
    """As ``operations.context.OperationContext``."""

    def progress(
        self, phase: str, done: int, total: int, *, unit: str, message: str = ""
    ) -> None: ...

    def check_cancelled(self) -> None: ...


Json = dict[str, Any]
