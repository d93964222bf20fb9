"""Gradient steps in epochs, until the validation texts gain no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.features.encoded import Encoded, StudentTable
from stillroom_server.classification.option_parts import LOSS, MACRO_F1
from stillroom_server.classification.training.adam import Adam
from stillroom_server.classification.training.fitted import (
    EARLY_STOPPED,
    MAX_EPOCHS,
    TIME_BUDGET,
    Fitted,
)
from stillroom_server.classification.training.judge import accuracy, macro_f1
from stillroom_server.classification.training.lbfgs import check_finite
from stillroom_server.classification.training.network import (
    TABLE,
    TOKEN_WEIGHTS,
    Dropout,
    Network,
)
from stillroom_server.classification.training.problem import Problem
from stillroom_server.classification.training.settings import StepSettings
from stillroom_server.classification.training.trail import Arrays, Trail
from stillroom_server.inference.engines.base import Float32

_WARM_STEPS = 20  # in which the rate rises
_SEED_STEP = 1
_SETTLED_SHARE = 0.3  # of all epochs, after which a training shows what it will be worth


@dataclass(frozen=True)
class Validation:
    """Texts that are never trained on here, and their targets. None of them: nothing to judge by,
    so that ``epochs`` of the settings are done and the last is kept."""

    encoded: Encoded
    targets: NDArray[Any]


@dataclass
class _State:
    """``epoch`` and ``batch`` are what comes next; ``best`` the arrays of ``best_epoch``."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    best_epoch: int = 0
    best_merit: float = -math.inf
    stale: int = 0
    stopped: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)


class GradientFit:
    """One training, kept in ``trail`` under ``name`` while it is under way. ``tick`` is told the
    epochs done (with fractions) before every step and may raise to stop; ``over`` says whether the
    time is up. ``table`` is of the student, whose copy is tuned if the settings say so.

    ``last`` None: early stopping decides; else the epoch after which it ends, on the schedule of
    ``settings.epochs``. ``rival``: the validation losses of another training, epoch by epoch; one
    that falls behind it ends early.
    """

    def __init__(
        self,
        problem: Problem,
        settings: StepSettings,
        validation: Validation,
        table: StudentTable | None,
        *,
        trail: Trail,
        name: str,
        tick: Callable[[float], None],
        over: Callable[[], bool],
        last: int | None = None,
        rival: Sequence[float] = (),
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._validation = validation
        self._table = table
        self._trail = trail
        self._name = name
        self._tick = tick
        self._over = over
        self._rival = rival
        self._end = settings.epochs if last is None else min(last, settings.epochs)
        self._steps = math.ceil(len(problem) / settings.batch_size)
        self._network = Network(
            problem,
            settings.hidden,
            table if settings.tuned else None,
            table=settings.table,
            seed=settings.seed,
        )
        self._adam = Adam(self._network.values)
        self._state = _State()
        self._best: dict[str, Float32] = {}
        self._dropout = Dropout(settings.dropout, settings.token_dropout)

    def run(self) -> Fitted:
        """Raises Internal (LOSS_NOT_FINITE), and what ``tick`` and the trail raise."""
        self._resume()
        state = self._state
        while not state.stopped:
            order = self._generator(state.epoch, 0).permutation(len(self._problem))
            while state.batch < self._steps and not state.stopped:
                self._tick(state.epoch + state.batch / self._steps)
                self._step(order)
                state.batch += 1
                if self._over():
                    state.stopped = TIME_BUDGET
                elif self._trail.due() and state.batch < self._steps:
                    self._keep()
            self._epoch_ended()
            if self._trail.due():
                self._keep()
        self._network.values.update(self._best)
        check_finite(sum(float(np.sum(value)) for value in self._best.values()))
        return self._fitted()

    def _step(self, order: NDArray[np.int64]) -> None:
        state, settings = self._state, self._settings
        size = settings.batch_size
        batch = np.sort(order[state.batch * size : (state.batch + 1) * size])
        rng = self._generator(state.epoch, state.batch + 1)
        loss, slopes = self._network.slopes(self._problem, batch, rng, self._dropout)
        check_finite(loss)
        state.loss_sum += loss
        self._adam.begin()
        share = self._rate_share()
        for name, (rows, slope) in slopes.items():
            if name in (TABLE, TOKEN_WEIGHTS):
                self._adam.move(name, slope, settings.encoder_rate * share, rows=rows)
                continue
            held = not name.startswith("bias")
            if settings.l2 and held:
                place: Any = slice(None) if rows is None else rows
                slope = slope + np.float32(2.0 * settings.l2) * self._network.values[name][place]
            decay = settings.decay if held else 0.0
            self._adam.move(name, slope, settings.head_rate * share, rows=rows, decay=decay)

    def _rate_share(self) -> float:
        """Rises, then falls as half a cosine to zero."""
        step = self._state.epoch * self._steps + self._state.batch
        rise = min(1.0, (step + 1) / _WARM_STEPS)
        return rise * 0.5 * (1.0 + math.cos(math.pi * step / (self._settings.epochs * self._steps)))

    def _epoch_ended(self) -> None:
        state, problem = self._state, self._problem
        seen = min(state.batch * self._settings.batch_size, len(problem))
        labels = problem.labels if problem.loss.multi_label else 1
        fitted = self._fitted()
        scores = fitted.scores(self._validation.encoded, self._table)
        loss = problem.loss.value(scores, self._validation.targets)
        state.epoch, state.batch = state.epoch + 1, 0
        state.history.append(
            {
                "epoch": state.epoch,
                "training_loss": state.loss_sum / max(seen * labels, 1),
                "validation_loss": loss,
                "validation_accuracy": accuracy(scores, self._validation.targets),
                "elapsed_seconds": self._trail.seconds,
            }
        )
        state.loss_sum = 0.0
        self._judge(scores, loss)
        if not state.stopped and self._behind(loss):
            state.stopped = EARLY_STOPPED
        if not state.stopped and state.epoch >= self._end:
            state.stopped = MAX_EPOCHS

    def _behind(self, loss: float) -> bool:
        """Whether, once it has settled, it is worse than the other was: it will not overtake."""
        epoch = self._state.epoch
        settled = epoch >= _SETTLED_SHARE * self._settings.epochs
        early_stops = self._settings.patience is not None
        return (
            early_stops
            and settled
            and epoch <= len(self._rival)
            and (loss > self._rival[epoch - 1])
        )

    def _judge(self, scores: Float32, loss: float) -> None:
        state, settings = self._state, self._settings
        targets = self._validation.targets
        if not len(targets) or settings.patience is None:
            worth, needed = float(state.epoch), 0.0  # the last is the best
        elif settings.metric == LOSS:
            worth, needed = -loss, settings.min_delta
        else:
            by_f1 = settings.metric == MACRO_F1
            worth = (macro_f1 if by_f1 else accuracy)(scores, targets)
            needed = settings.min_delta
        if worth > state.best_merit + needed or not self._best:
            state.best_merit, state.best_epoch, state.stale = worth, state.epoch, 0
            self._best = {name: value.copy() for name, value in self._network.values.items()}
            return
        state.stale += 1
        if settings.patience is not None and state.stale >= settings.patience:
            state.stopped = state.stopped or EARLY_STOPPED

    def _fitted(self) -> Fitted:
        state = self._state
        return Fitted(
            self._network.head(self._problem),
            self._network.student_rows(),
            self._network.values.get(TOKEN_WEIGHTS),
            state.history,
            state.best_epoch,
            state.stopped or MAX_EPOCHS,
        )

    def _generator(self, epoch: int, place: int) -> np.random.Generator:
        return np.random.default_rng([self._settings.seed, _SEED_STEP, epoch, place])

    def _keep(self) -> None:
        arrays: Arrays = {}
        for kind, values in (
            ("value", self._network.values),
            ("first", self._adam.first),
            ("second", self._adam.second),
            ("best", self._best),
        ):
            arrays |= {f"{kind}.{name}": value for name, value in values.items()}
        self._trail.put(self._name, arrays, {**vars(self._state), "steps": self._adam.steps})
        self._trail.drop(self._name)

    def _resume(self) -> None:
        found = self._trail.get(self._name)
        if found is None:
            return
        self._trail.drop(self._name)
        arrays, facts = found
        self._adam.steps = facts["steps"]
        self._state = _State(**{name: facts[name] for name in vars(self._state)})
        for entry, value in arrays.items():
            kind, _, name = entry.partition(".")
            if kind == "best":
                self._best[name] = value
            else:
                held = {
                    "value": self._network.values,
                    "first": self._adam.first,
                    "second": self._adam.second,
                }
                held[kind][name][...] = value
