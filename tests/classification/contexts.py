"""What the executors of this room are handed, in tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from distillation import contexts

from stillroom_registry.errors import Cancelled
from stillroom_server.classification.evaluate import EvaluateClassifierExecutor
from stillroom_server.classification.executor import TrainClassifierExecutor

Killed = contexts.Killed
_PHASES = {*TrainClassifierExecutor.phases, *EvaluateClassifierExecutor.phases}


class Context(contexts.Context):
    """``dies_after`` a phase when another begins, as a kill would; ``cancelled_in`` a phase and
    from then on, as a user cancels."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace)
        self.dies_after = ""
        self.cancelled_in = ""
        self.saved: list[str] = []  # the phase in which each checkpoint was made

    def expect(self, shares: Mapping[str, float]) -> None:
        assert set(shares) <= _PHASES
        self.expected = list(shares)

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        if self.dies_after in self.phases and phase != self.dies_after:
            raise Killed
        super().progress(phase, done, total, unit=unit, message=message)

    def check_cancelled(self) -> None:
        super().check_cancelled()
        if self.cancelled_in in self.phases:
            raise Cancelled("stop")

    def give_way(self) -> None:
        self.saved.append(self.phases[-1] if self.phases else "")
        super().give_way()
