"""Which texts are trained on and which are measured, fit by fit, and how long a fit may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.data.prepared import Prepared
from stillroom_server.classification.features.encoded import Encoded
from stillroom_server.classification.splits import Folds, Holdout


@dataclass(frozen=True)
class Part:
    """Rows to train on, and rows of the judged texts to measure."""

    train: NDArray[np.int64]
    judged: NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """``parts``: one, or one a fold. ``judged`` and ``judged_targets`` are the texts that parts
    measure; ``everything``: rows that the classifier itself is trained on, where that is no part.
    """

    parts: tuple[Part, ...]
    judged: Encoded
    judged_targets: NDArray[Any]
    everything: NDArray[np.int64] | None

    @property
    def measured(self) -> NDArray[np.int64]:
        """The rows of ``judged`` that some part measures, ascending."""
        return np.sort(np.concatenate([part.judged for part in self.parts]))


def plan_parts(
    prepared: Prepared,
    split: Holdout | Folds | None,
    encoded: Encoded,
    validation: Encoded | None,
) -> Plan:
    """``split`` None: ``validation`` are texts of their own, those of ``prepared``."""
    rows = np.arange(len(prepared.texts))
    if split is None:
        assert validation is not None
        assert prepared.validation_targets is not None
        part = Part(rows, np.arange(len(validation)))
        return Plan((part,), validation, prepared.validation_targets, None)
    if isinstance(split, Holdout):
        part = Part(split.train, split.validation)
        return Plan((part,), encoded, prepared.targets, None)
    parts = tuple(
        Part(split.train(number), fold) for number, fold in enumerate(split.folds) if len(fold)
    )
    return Plan(parts, encoded, prepared.targets, rows)


class Timer:
    """Shares ``seconds`` (None: any) of training among so many ``fits``."""

    def __init__(self, elapsed: Callable[[], float], seconds: float | None, fits: int) -> None:
        self._elapsed = elapsed
        self._seconds = seconds
        self._left = fits
        self._until = float("inf")
        self.cut = False
        """Whether anything was cut short."""

    def next(self) -> None:
        """Before a fit."""
        if self._seconds is not None:
            now = self._elapsed()
            self._until = now + max(0.0, self._seconds - now) / max(1, self._left)
        self._left -= 1

    def over(self) -> bool:
        """Whether the fit's time is up."""
        if self._elapsed() < self._until:
            return False
        self.cut = True
        return True

    @property
    def spent(self) -> bool:
        """Whether all of it is."""
        if self._seconds is None or self._elapsed() < self._seconds:
            return False
        self.cut = True
        return True
