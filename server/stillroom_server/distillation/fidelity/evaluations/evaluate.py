"""An evaluation of a request: read before any work, scored at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stillroom_server.distillation.fidelity.evaluations.labels import LabeledData, read_labels
from stillroom_server.distillation.fidelity.evaluations.logistic import fit_predict
from stillroom_server.distillation.fidelity.evaluations.similarity import (
    SimilarityData,
    read_similarity,
    score_similarity,
)
from stillroom_server.distillation.fidelity.evaluations.tables import Refusal
from stillroom_server.distillation.fidelity.progress import EncodeTeacher, Meter
from stillroom_server.distillation.fidelity.speed import Student
from stillroom_server.distillation.fidelity.vectors import Float32, unit

SIMILARITY = "similarity"
LABELS = "labels"


@dataclass(frozen=True)
class Evaluation:
    """``data`` as it was read; ``texts`` are those that each model must embed."""

    name: str
    data: SimilarityData | LabeledData

    @property
    def kind(self) -> str:
        return SIMILARITY if isinstance(self.data, SimilarityData) else LABELS

    @property
    def texts(self) -> int:
        return len(_texts(self.data))


def read_evaluation(
    name: str,
    kind: str,
    path: Path,
    *,
    test: Path | None = None,
    field: str = "evaluations",
    seed: int = 0,
) -> Evaluation:
    """Reads the file of an evaluation; ``kind`` is ``similarity`` or ``labels``, ``test`` a file of
    its own to test labels on. Raises InvalidArgument with ``field`` and the line."""
    refuse = Refusal(path.name, field)
    if kind == SIMILARITY:
        return Evaluation(name, read_similarity(path, refuse))
    return Evaluation(name, read_labels(path, refuse, seed, test))


def evaluate(
    evaluation: Evaluation, student: Student, encode_teacher: EncodeTeacher, meter: Meter
) -> dict[str, Any]:
    """An entry of the report's ``scores``: both models on the same texts, by the same steps."""
    data = evaluation.data
    texts = _texts(data)
    similarity = isinstance(data, SimilarityData)
    return {
        "name": evaluation.name,
        "kind": evaluation.kind,
        "metric": "spearman" if similarity else "accuracy",
        "student": _score(data, meter.by_student(student, texts), meter.check),
        "teacher": _score(data, meter.by_teacher(encode_teacher, texts), meter.check),
        "count": len(data.scores) if isinstance(data, SimilarityData) else len(data.test),
    }


def _texts(data: SimilarityData | LabeledData) -> list[str]:
    if isinstance(data, SimilarityData):
        return [*data.first, *data.second]
    return data.texts


def _score(
    data: SimilarityData | LabeledData, vectors: Float32, between: Callable[[], None]
) -> float | None:
    if isinstance(data, SimilarityData):
        half = len(data.first)
        return score_similarity(data.scores, vectors[:half], vectors[half:])
    units = unit(vectors)
    found = fit_predict(
        units[data.training],
        data.labels[data.training],
        len(data.names),
        units[data.test],
        between,
    )
    return float(np.mean(found == data.labels[data.test]))
