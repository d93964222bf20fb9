"""One fit: a candidate's options on some of the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.features.encoded import Encoded, StudentTable
from stillroom_server.classification.features.ngram_matrix import choose_features, ngram_matrix
from stillroom_server.classification.option_parts import CLOSED_FORM, LBFGS, NgramOptions
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.classification.training.closed_form import fit_closed_form
from stillroom_server.classification.training.fitted import SOLVED, TIME_BUDGET, Fitted
from stillroom_server.classification.training.gradient import GradientFit, Validation
from stillroom_server.classification.training.lbfgs import minimize
from stillroom_server.classification.training.losses import Loss, label_weights
from stillroom_server.classification.training.objective import LinearObjective
from stillroom_server.classification.training.problem import Problem
from stillroom_server.classification.training.settings import StepSettings
from stillroom_server.classification.training.trail import Trail


@dataclass(frozen=True)
class Corpus:
    """All that may be trained on: ``targets`` int (n,) or bool (n, labels)."""

    encoded: Encoded
    targets: NDArray[Any]
    labels: tuple[str, ...]
    table: StudentTable | None


class Fits:
    """Makes fits on ``corpus``. The problem of the last rows and n-grams is kept for the next."""

    def __init__(self, corpus: Corpus, trail: Trail) -> None:
        self._corpus = corpus
        self._trail = trail
        self._kept: tuple[tuple[str, NgramOptions], Problem] | None = None

    def fit(
        self,
        options: ClassifierOptions,
        part: str,
        rows: NDArray[np.int64],
        validation: Validation,
        *,
        tick: Callable[[float], None],
        over: Callable[[], bool],
        last: int | None = None,
        rival: Sequence[float] = (),
    ) -> Fitted:
        """On ``rows``, which ``part`` names. ``tick`` hears of the share or the epochs that are
        done; ``over``, ``last``, ``rival`` and what is raised are as in ``GradientFit``."""
        problem = self._problem(options, part, rows)
        if options.solver == CLOSED_FORM:
            head = fit_closed_form(problem, _l2(options), lambda: tick(0.0))
            return Fitted(head)
        if options.solver == LBFGS:
            objective = LinearObjective(problem, _l2(options), lambda: tick(0.0))
            start = np.zeros(objective.size, np.float32)
            found = minimize(objective, start, precondition=objective.precondition, stop=over)
            head = problem.head(*objective.parts(found.theta))
            return Fitted(head, end=TIME_BUDGET if not found.converged and over() else SOLVED)
        fit = GradientFit(
            problem,
            StepSettings.of(options),
            validation,
            self._corpus.table,
            trail=self._trail,
            name="fit",
            tick=tick,
            over=over,
            last=last,
            rival=rival,
        )
        return fit.run().rounded(options.element_type or "float32")

    def _problem(self, options: ClassifierOptions, part: str, rows: NDArray[np.int64]) -> Problem:
        key = (part, options.ngrams)
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        corpus = self._corpus
        encoded, targets = corpus.encoded.take(rows), corpus.targets[rows]
        given = None if options.class_weights is None else dict(options.class_weights)
        loss = Loss(
            options.multi_label,
            label_weights(targets, corpus.labels, options.class_weighting, given),
            options.focal_gamma,
            options.label_smoothing or 0.0,
        )
        arrays = matrix = None
        asked = options.ngrams
        if asked.on:
            arrays = choose_features(
                encoded,
                asked.min_n or 1,
                asked.max_n or 1,
                asked.max_features or 1,
                asked.min_count or 1,
            )
            matrix = ngram_matrix(arrays, encoded)
        problem = Problem(
            encoded.vectors,
            targets,
            len(corpus.labels),
            loss,
            arrays,
            matrix,
            encoded.ids,
            encoded.offsets,
        )
        self._kept = (key, problem)
        return problem


def _l2(options: ClassifierOptions) -> float:
    return getattr(options.head, "l2", None) or 0.0
