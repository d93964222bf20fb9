"""Training between two steps, on disk and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.tuning.rows_adam import RowsAdam

_ARRAYS = ("table", "first", "second", "best")


@dataclass
class TrainingState:
    """``adam`` holds the table. ``epoch`` and ``batch`` are what comes next; ``best`` is the table
    with the least held out loss, ``best_loss``, seen ``stale`` epochs ago. ``loss_sum`` is of the
    epoch's batches so far, ``history`` of the epochs behind. ``seconds`` of training so far."""

    adam: RowsAdam
    best: NDArray[np.float32]
    best_loss: float
    epoch: int = 0
    batch: int = 0
    stale: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    stopped: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)

    def write(self, folder: Path, key: str) -> None:
        """``key`` says of what work this is the state."""
        arrays = (self.adam.table, self.adam.first, self.adam.second, self.best)
        for name, array in zip(_ARRAYS, arrays, strict=True):
            np.save(folder / f"{name}.npy", array)
        numbers = {
            "key": key,
            "steps": self.adam.steps,
            "best_loss": self.best_loss,
            "epoch": self.epoch,
            "batch": self.batch,
            "stale": self.stale,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "history": self.history,
        }
        (folder / "state.json").write_text(json.dumps(numbers), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, key: str) -> TrainingState | None:
        """None when it is the state of other work."""
        numbers = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if numbers.pop("key") != key:
            return None
        table, first, second, best = (np.load(folder / f"{name}.npy") for name in _ARRAYS)
        adam = RowsAdam(table)
        adam.first, adam.second, adam.steps = first, second, numbers.pop("steps")
        return cls(adam=adam, best=best, **numbers)
