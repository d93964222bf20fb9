"""How the learning rate runs, and when training is over."""

from __future__ import annotations

from dataclasses import dataclass

PEAK_RATE = 3e-4
# So long the student also learns from the states of the teacher's layers: a step then costs the
# teacher's forward pass, too, and teaches the most while the student is far from it.
LAYERS_SHARE = 0.5
_COST_WITHOUT = 0.6  # of a step without it: half the layers three times, to all of them once more
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

    def matches_layers(self, step: int) -> bool:
        """Whether step ``step`` also learns from the states of the teacher's layers."""
        return step < LAYERS_SHARE * self.total

    def fit(self, step: int, seconds: float, budget: float | None, *, two_parts: bool) -> None:
        """Plan for ``budget`` seconds after ``step`` steps that took ``seconds``. ``two_parts``:
        those were steps with the teacher, and others will be without."""
        if budget is None or self.fitted or step < _STEPS_TO_MEASURE or seconds <= 0.0:
            return
        mean = LAYERS_SHARE + (1.0 - LAYERS_SHARE) * _COST_WITHOUT if two_parts else 1.0
        planned = int(step * budget * _BUDGET_SHARE / (seconds * mean))
        self.total = max(step, min(self.total, planned))
        self.fitted = True
