"""What differs between one label a text and any number of them, behind one face."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from stillroom_server.classification.report import average_precision, calibration, confusion
from stillroom_server.classification.report.arrays import Between, Bools, Floats, Int64, as_type_of
from stillroom_server.classification.report.confusion import Pair
from stillroom_server.classification.report.outcome import (
    Outcome,
    of_multi_label,
    of_single_label,
)


class Task(Protocol):
    """What was found of one kind of task."""

    @property
    def outcome(self) -> Outcome: ...

    def rows_with(self, label: int) -> Int64:
        """The rows of the texts that have a label that the classifier knows, ascending."""
        ...

    def pairs(self, limit: int) -> list[Pair]:
        """The most confused pairs."""
        ...

    def rows_confused(self, true: int, given: int) -> Int64:
        """The rows of the texts of a pair, ascending."""
        ...

    def reliability_of(self, probabilities: Floats) -> calibration.Reliability:
        """The reliability of other probabilities (n, K) of the same texts."""
        ...

    def matrix(self) -> dict[str, Any] | None:
        """The ConfusionMatrix, where there is one."""
        ...


class SingleLabel:
    """``targets`` int64 (n,), -1 for unknown labels, which ``extra`` (rows, labels) gives;
    ``names`` of all labels, ``bins`` of the reliability curve."""

    def __init__(
        self,
        probabilities: Floats,
        targets: Int64,
        extra: tuple[Int64, Int64],
        names: tuple[str, ...],
        bins: int,
        between: Between,
    ) -> None:
        rows, columns = probabilities.shape
        if targets.shape != (rows,) or targets.min() < -1 or targets.max() >= columns:
            raise ValueError(f"targets of shape {targets.shape} for {rows} texts, {columns} labels")
        if not np.array_equal(np.flatnonzero(targets < 0), extra[0]):
            raise ValueError("each text of an unknown label needs the name of one, and no other")
        true = targets.astype(np.int64)
        true[extra[0]] = extra[1]
        self._true, self._names, self._bins, self._between = true, names, bins, between
        self.outcome = of_single_label(probabilities, true, len(names), bins, between)
        self.rows_with = average_precision.rows_by_label(true, columns)
        self._cells = confusion.cells(true, self.outcome.given, len(names))
        wrong = np.flatnonzero(~self.outcome.right)
        codes = true[wrong] * len(names) + self.outcome.given[wrong]
        order = np.argsort(codes, kind="stable")
        self._wrong, self._codes = wrong[order], codes[order]

    def pairs(self, limit: int) -> list[Pair]:
        return confusion.single_label_pairs(*self._cells, len(self._names), limit)

    def rows_confused(self, true: int, given: int) -> Int64:
        code = true * len(self._names) + given
        first, last = np.searchsorted(self._codes, (code, code + 1))
        return self._wrong[first:last]

    def reliability_of(self, probabilities: Floats) -> calibration.Reliability:
        return calibration.of_best(probabilities, self._true, self._bins, self._between)

    def matrix(self) -> dict[str, Any]:
        return confusion.matrix(*self._cells, self._names)


class MultiLabel:
    """``targets`` bool (n, K), ``thresholds`` float64 (K,); the others as in SingleLabel."""

    def __init__(
        self,
        probabilities: Floats,
        targets: Bools,
        thresholds: Floats,
        extra: tuple[Int64, Int64],
        names: tuple[str, ...],
        bins: int,
        between: Between,
    ) -> None:
        if targets.shape != probabilities.shape:
            raise ValueError(f"targets of shape {targets.shape} for {probabilities.shape}")
        if thresholds.shape != probabilities.shape[1:]:
            raise ValueError(f"{len(thresholds)} thresholds, {probabilities.shape[1]} labels")
        if len(extra[0]) and not 0 <= extra[0][0] <= extra[0][-1] < len(targets):
            raise ValueError("extra labels of a text that there is not")
        thresholds = as_type_of(thresholds, probabilities)
        self._probabilities, self._targets, self._thresholds = probabilities, targets, thresholds
        self._extra, self._names, self._bins, self._between = extra, names, bins, between
        self.outcome = of_multi_label(
            probabilities, thresholds, targets, extra, len(names), bins, between
        )
        self.rows_with = average_precision.rows_by_column(targets)

    def pairs(self, limit: int) -> list[Pair]:
        return confusion.multi_label_pairs(
            self._probabilities,
            self._thresholds,
            self._targets,
            self._extra,
            len(self._names),
            limit,
            self._between,
        )

    def rows_confused(self, true: int, given: int) -> Int64:
        if true < len(self._thresholds):
            rows = np.flatnonzero(self._targets[:, true] & ~self._given(true))
        else:
            rows = self._extra[0][self._extra[1] == true]
        wrong = self._given(given)[rows] & ~self._targets[rows, given]
        return np.asarray(rows[wrong])

    def _given(self, label: int) -> Bools:
        return np.asarray(self._probabilities[:, label] >= self._thresholds[label])

    def reliability_of(self, probabilities: Floats) -> calibration.Reliability:
        return calibration.of_every_label(probabilities, self._targets, self._bins, self._between)

    def matrix(self) -> None:
        return None
