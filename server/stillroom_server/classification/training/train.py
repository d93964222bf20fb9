"""From encoded texts to a calibrated classifier: candidates, the best of them, and what it says.

    trained = train(prepared, split, encoder, encoded, validation, options, context, checkpoints)

Reports the phases "train" and "calibrate". All but what a time budget cuts is a function of the
arguments: an attempt that finds the checkpoints of one that was killed makes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.calibration.calibrate import calibrate
from stillroom_server.classification.data.prepared import Prepared
from stillroom_server.classification.features.encoded import Encoded, Encoder
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.classification.splits import Folds, Split
from stillroom_server.classification.training.candidates import Circumstances, candidates
from stillroom_server.classification.training.fits import Corpus, Fits
from stillroom_server.classification.training.fitted import TIME_BUDGET, Fitted
from stillroom_server.classification.training.gradient import Validation
from stillroom_server.classification.training.judge import Merit, merit
from stillroom_server.classification.training.plan import Plan, Timer, plan_parts
from stillroom_server.classification.training.trail import Trail
from stillroom_server.distillation.context import Context
from stillroom_server.distillation.tuning.protocols import Checkpoints
from stillroom_server.inference.blas import one_thread
from stillroom_server.inference.classifier.head import HeadArrays
from stillroom_server.inference.engines.base import Float32

PHASES = ("train", "calibrate")
_REVISION = 1  # raise when the same arguments give another classifier, so that old states lapse


@dataclass(frozen=True)
class Trained:
    """A classifier, before it is files.

    ``table`` float32 (vocab, d) of a tuned student, mapping and weights applied, to be stored as
    ``element_type``; ``weights`` float32 (vocab,) multiply the student's own where its table is
    frozen. ``options`` have every choice filled in.

    ``scores`` float32 (m, K), before calibration, of validation texts that the fit which gave them
    did not see, their ``targets``, and ``rows`` int64 (m,): where they are in the prepared texts
    (in its validation texts, if those are data of their own). ``thresholds`` is empty for
    single-label; ``shared_thresholds`` are labels too rare for one of their own. ``report`` is a
    TrainingReport in JSON but for its parity.
    """

    head: HeadArrays
    table: Float32 | None
    weights: Float32 | None
    element_type: str | None
    options: ClassifierOptions
    scores: Float32
    targets: NDArray[Any]
    rows: NDArray[np.int64]
    temperature: float
    thresholds: tuple[float, ...]
    shared_thresholds: tuple[int, ...]
    abstention_threshold: float
    report: dict[str, Any]


def train(
    prepared: Prepared,
    split: Split | None,
    encoder: Encoder,
    encoded: Encoded,
    validation: Encoded | None,
    options: ClassifierOptions,
    context: Context,
    checkpoints: Checkpoints,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Trained:
    """``encoded`` are the texts of ``prepared``, each with a known token; ``validation`` its
    validation texts where ``split`` is None.

    Raises InvalidArgument for a class weight of an unknown label, Internal (LOSS_NOT_FINITE), and
    what the context and the checkpoints raise.
    """
    options.check_labels(prepared.labels)
    work = _Work(
        prepared, split, encoder, encoded, validation, options, context, checkpoints, clock
    )
    with one_thread():
        return work.run()


class _Work:
    def __init__(
        self,
        prepared: Prepared,
        split: Split | None,
        encoder: Encoder,
        encoded: Encoded,
        validation: Encoded | None,
        options: ClassifierOptions,
        context: Context,
        checkpoints: Checkpoints,
        clock: Callable[[], float],
    ) -> None:
        self._plan = plan_parts(prepared, split, encoded, validation)
        self._table = encoder.table
        self._context = context
        few = isinstance(split, Folds)
        texts = len(self._plan.parts[0].train) if self._plan.parts else len(encoded)
        facts = Circumstances(texts, len(prepared.labels), few)
        self._tried = candidates(options, encoder, facts)
        key = _key(prepared, self._plan, encoder, self._tried)
        self._trail = Trail(checkpoints, key, context.check_cancelled, clock)
        corpus = Corpus(encoded, prepared.targets, prepared.labels, encoder.table)
        self._fits = Fits(corpus, self._trail)
        count = len(self._tried) * len(self._plan.parts) + (self._plan.everything is not None)
        self._timer = Timer(lambda: self._trail.seconds, options.time_budget_seconds, count)
        self._passes = [tried.max_epochs or 1 for tried in self._tried]
        self._done = 0.0

    def run(self) -> Trained:
        merits: list[tuple[Merit, float]] = []
        best = 0
        for number, tried in enumerate(self._tried):
            if number and self._timer.spent:
                break
            began = self._trail.seconds
            scores = self._measure(number, tried, best)
            targets = self._plan.judged_targets[self._plan.measured]
            merits.append((merit(scores, targets), self._trail.seconds - began))
            if number and _better(merits[number][0], merits[best][0]):
                self._forget(best)
                best = number
            elif number:
                self._forget(number)
        fitted = self._final(best)
        self._context.progress("calibrate", 0, 1, unit="classifiers")
        self._context.check_cancelled()
        trained = self._trained(best, fitted, merits)
        self._context.progress("calibrate", 1, 1, unit="classifiers")
        return trained

    def _measure(self, number: int, tried: ClassifierOptions, best: int) -> Float32:
        """Scores (m, K) of all measured texts, by fits that did not see them."""
        measured = self._plan.measured
        out: Float32 | None = None
        for at, part in enumerate(self._plan.parts):
            name = f"{number}.{at}"
            found = self._trail.get(name)
            if found is None:
                rival = self._trail.get(f"{best}.{at}") if number else None
                fitted = self._fit(tried, at, rival[1]["epochs"] if rival else [])
                scores = fitted.scores(self._plan.judged.take(part.judged), self._table)
                arrays, facts = fitted.to_arrays()
                if self._plan.everything is not None:
                    # Only how long it took to be best; the head is that of a fold.
                    arrays = {}
                self._trail.put(name, {**arrays, "scores": scores}, facts)
            else:
                scores = found[0]["scores"]
                self._timer.next()
            if out is None:
                out = np.empty((len(measured), scores.shape[1]), np.float32)
            out[np.searchsorted(measured, part.judged)] = scores
            self._done += self._passes[number]
        assert out is not None
        return out

    def _fit(self, tried: ClassifierOptions, at: int, rival: Sequence[dict[str, Any]]) -> Fitted:
        part = self._plan.parts[at]
        judged = Validation(
            self._plan.judged.take(part.judged), self._plan.judged_targets[part.judged]
        )
        self._timer.next()
        return self._fits.fit(
            tried,
            f"part {at}",
            part.train,
            judged,
            tick=self._tick,
            over=self._timer.over,
            rival=[float(epoch["validation_loss"]) for epoch in rival],
        )

    def _final(self, best: int) -> Fitted:
        """The candidate that won; in folds, once more on all texts."""
        everything, tried = self._plan.everything, self._tried[best]
        kept = [self._trail.get(f"{best}.{at}") for at in range(len(self._plan.parts))]
        if everything is None:
            assert kept[0] is not None
            return Fitted.from_arrays(*kept[0])
        epochs = [piece[1]["best_epoch"] for piece in kept if piece is not None]
        last = max(1, round(statistics.median(epochs))) if any(epochs) else None
        rows = np.zeros(0, np.int64)
        nothing = Validation(self._plan.judged.take(rows), self._plan.judged_targets[rows])
        self._timer.next()
        fitted = self._fits.fit(
            tried,
            "everything",
            everything,
            nothing,
            tick=self._tick,
            over=self._timer.over,
            last=last,
        )
        histories = [piece[1]["epochs"] for piece in kept if piece is not None]
        ends = {piece[1]["end"] for piece in kept if piece is not None}
        end = ends.pop() if len(ends) == 1 else fitted.end
        return Fitted(
            fitted.head,
            fitted.rows,
            fitted.token_weights,
            _averaged(histories),
            fitted.best_epoch,
            fitted.end if fitted.end == TIME_BUDGET else end,
        )

    def _trained(self, best: int, fitted: Fitted, merits: Sequence[tuple[Merit, float]]) -> Trained:
        options = self._tried[best]
        rows = self._plan.measured
        scores = self._scores_of(best)
        targets = self._plan.judged_targets[rows]
        found = calibrate(scores, targets, options)
        tuned = fitted.rows if options.element_type is not None else None
        return Trained(
            head=fitted.head,
            table=tuned,
            weights=fitted.token_weights if tuned is None else None,
            element_type=options.element_type,
            options=options,
            scores=scores,
            targets=targets,
            rows=rows,
            temperature=found.temperature,
            thresholds=tuple(found.thresholds.values.tolist()),
            shared_thresholds=found.thresholds.shared,
            abstention_threshold=found.abstention_threshold,
            report=self._report(best, fitted, merits),
        )

    def _scores_of(self, number: int) -> Float32:
        measured = self._plan.measured
        out: Float32 | None = None
        for at, part in enumerate(self._plan.parts):
            piece = self._trail.get(f"{number}.{at}")
            assert piece is not None
            scores = piece[0]["scores"]
            if out is None:
                out = np.empty((len(measured), scores.shape[1]), np.float32)
            out[np.searchsorted(measured, part.judged)] = scores
        assert out is not None
        return out

    def _report(
        self, best: int, fitted: Fitted, merits: Sequence[tuple[Merit, float]]
    ) -> dict[str, Any]:
        end = TIME_BUDGET if self._timer.cut else fitted.end
        return {
            "candidates": [
                {
                    "options": self._tried[number].to_json(),
                    **found._asdict(),
                    "seconds": seconds,
                    "chosen": number == best,
                }
                for number, (found, seconds) in enumerate(merits)
            ],
            "epochs": fitted.epochs,
            "best_epoch": fitted.best_epoch,
            "end": f"TRAINING_END_{end.upper()}",
        }

    def _forget(self, number: int) -> None:
        for at in range(len(self._plan.parts)):
            piece = self._trail.get(f"{number}.{at}")
            if piece is not None:
                self._trail.put(f"{number}.{at}", {"scores": piece[0]["scores"]}, piece[1])

    def _tick(self, within: float) -> None:
        total = sum(self._passes) * len(self._plan.parts)
        total += max(self._passes) if self._plan.everything is not None else 0
        done = min(int(self._done + within), total)
        self._context.progress("train", done, total, unit="passes")
        self._context.check_cancelled()


def _better(one: Merit, other: Merit) -> bool:
    """By what a probability says of the truth, which few texts tell more surely than how many
    answers are right."""
    return one.log_loss < other.log_loss


def _averaged(histories: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Epochs that all folds had, with their means."""
    if not histories:
        return []
    common = min(map(len, histories))
    return [
        {name: _mean([history[at][name] for history in histories]) for name in histories[0][at]}
        for at in range(common)
    ]


def _mean(values: Sequence[Any]) -> Any:
    return values[0] if isinstance(values[0], int) else statistics.fmean(values)


def _key(
    prepared: Prepared, plan: Plan, encoder: Encoder, tried: Sequence[ClassifierOptions]
) -> str:
    """Says of what training a checkpoint is."""
    digest = hashlib.sha256()
    what = [
        _REVISION,
        prepared.digest,
        prepared.validation_digest,
        list(prepared.labels),
        encoder.kind,
        encoder.dimensions,
        [options.to_json() for options in tried],
    ]
    digest.update(json.dumps(what).encode())
    for part in plan.parts:
        digest.update(part.train.astype(np.int64).tobytes())
        digest.update(part.judged.astype(np.int64).tobytes())
    return digest.hexdigest()
