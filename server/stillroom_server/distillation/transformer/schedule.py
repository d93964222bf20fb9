"""How the learning rate runs, and when training is over."""

from __future__ import annotations

from dataclasses import dataclass

PEAK_RATE = 3e-4
_WARMUP_SHARE = 0.06
_MOST_WARMUP = 500
# Before the speed of a run is believed, it lasts so many steps.
_STEPS_TO_MEASURE = 24
# Of a budget, what is left for judging by the held-out texts.
_BUDGET_SHARE = 0.95
PATIENCE = 3


@dataclass
class Schedule:
    """``total``: steps in all; a time budget makes it fewer once the speed is known, so that the
    rate still comes down to zero. Kept in checkpoints: a run that goes on keeps its plan."""

    total: int
    fitted: bool = False

    def rate(self, step: int) -> float:
        """The learning rate of step ``step``, from 0: a linear rise, then a linear fall to 0."""
        warmup = max(1, min(_MOST_WARMUP, round(_WARMUP_SHARE * self.total)))
        if step < warmup:
            return PEAK_RATE * (step + 1) / warmup
        return PEAK_RATE * max(0.0, (self.total - step) / max(1, self.total - warmup))

    def fit(self, step: int, seconds: float, budget: float | None) -> None:
        """Plan for ``budget`` seconds after ``step`` steps that took ``seconds``."""
        if budget is None or self.fitted or step < _STEPS_TO_MEASURE or seconds <= 0.0:
            return
        self.total = max(step, min(self.total, int(step * budget * _BUDGET_SHARE / seconds)))
        self.fitted = True
