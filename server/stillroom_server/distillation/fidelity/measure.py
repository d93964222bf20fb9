"""Measures a student against its teacher; what the figures mean is said in the package's docstring.

Measured by the code that serves: ``student`` is what ``StudentEmbedder.load(folder)`` gives. The
same arguments give the same figures, but for ``measured_speed``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stillroom_server.distillation.context import Context
from stillroom_server.distillation.fidelity import alignment, distribution, structure
from stillroom_server.distillation.fidelity.evaluations.evaluate import Evaluation, evaluate
from stillroom_server.distillation.fidelity.progress import EncodeTeacher, Meter
from stillroom_server.distillation.fidelity.quantizations import losses, with_changes
from stillroom_server.distillation.fidelity.samples import Sample, built_in_texts
from stillroom_server.distillation.fidelity.speed import Student, student_speed
from stillroom_server.distillation.fidelity.vectors import (
    Float32,
    Float64,
    checked,
    row_cosines,
    silent,
    unit,
)

MOST_HELD_OUT = 4096
MOST_TRAINING = 4096
FEWEST_HELD_OUT = 50


def measure(
    student: Student,
    *,
    encode_teacher: EncodeTeacher,
    held_out: Sample | None = None,
    training: Sample | None = None,
    same_space: bool = False,
    static: Path | None = None,
    table: Float32 | None = None,
    quantizations: Sequence[Mapping[str, Any]] = (),
    evaluations: Sequence[Evaluation] = (),
    teacher_speed: Mapping[str, float | None] | None = None,
    seed: int = 0,
    context: Context | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """The report, a JSON object with the keys that the package's docstring lists.

    ``held_out``: texts that no training saw; without enough of them the built-in ones are compared.
    ``training``: others, to fit the map of the cosines to. Of each at most 4,096 are used.
    ``same_space``: the student was made to give the teacher's own vectors, axis by axis.
    ``static``: the folder of a static student, whose losses by element type are then measured on
    ``table`` (vocabulary, d) float32, the table before it was stored (None: what is stored).
    ``quantizations``: the same losses for another kind of student, as dicts with ``element_type``,
    ``mean_cosine``, ``bytes`` and perhaps ``similarity_spearman``. ``teacher_speed`` may hold
    ``teacher_tokens_per_second`` and ``teacher_texts_per_second``; the latter is taken from the
    built-in texts where it is not given.

    Raises FailedPrecondition (STUDENT_NOT_FINITE, TEACHER_NOT_FINITE, ..._VECTORS_INVALID), what
    ``evaluate`` and ``losses`` raise, and what ``context.check_cancelled`` does.
    """
    given = held_out if held_out is not None and len(held_out) >= FEWEST_HELD_OUT else None
    texts = built_in_texts() if given is None else given.at_most(MOST_HELD_OUT, seed).texts
    fitted = None if same_space or training is None else training.at_most(MOST_TRAINING, seed)
    if fitted is not None and len(fitted) < max(alignment.FEWEST, len(texts) // 2):
        fitted = None  # a map cross-fitted on the texts themselves has more to learn from
    meter = Meter(
        context,
        len(texts) * (2 if given is None else 1)
        + (0 if fitted is None else len(fitted))
        + sum(2 * evaluation.texts for evaluation in evaluations),
    )
    speed: dict[str, float | None] = dict(teacher_speed or {})
    start = clock()
    if given is None:
        vectors = meter.by_teacher(encode_teacher, texts)
        spent = clock() - start
        if speed.get("teacher_texts_per_second") is None and spent > 0.0:
            speed["teacher_texts_per_second"] = round(len(texts) / spent, 1)
    else:
        vectors = checked(given.at_most(MOST_HELD_OUT, seed).vectors, len(texts), "teacher")
    teacher = unit(vectors)
    own = unit(meter.by_student(student, texts))
    basis, cosines = _cosines(own, teacher, same_space, fitted, student, seed, meter)
    mean = None if cosines is None else float(cosines.mean())
    found = structure.compare(own, teacher, seed, meter.check)
    if static is not None:
        measured = losses(static, table, texts, found.pairs, found.expected, meter.check)
    else:
        measured = with_changes([dict(entry) for entry in quantizations])
    report = {
        "text_source": "built_in" if given is None else "held_out",
        "texts": len(texts),
        "silent_texts": int(silent(own).sum()),
        "cosine_basis": basis,
        "alignment_texts": 0 if fitted is None else len(fitted),
        "mean_cosine": mean,
        "p5_cosine": None if cosines is None else float(np.percentile(cosines, 5)),
        "similarity_spearman": found.spearman,
        "similarity_pairs": len(found.expected),
        "recall_at_10": found.recall,
        "recall_neighbors": found.neighbors,
        "prefixes": [
            {**prefix, "mean_cosine": mean if prefix["dimensions"] == own.shape[1] else None}
            for prefix in found.prefixes
        ],
        "quantizations": measured,
        "distribution": {
            "cosines": None if cosines is None else distribution.histogram(cosines),
            "similarities": distribution.grid(found.found, found.expected),
        },
        "scores": [evaluate(each, student, encode_teacher, meter) for each in evaluations],
    }
    speed |= student_speed(student, texts, clock, meter.check)
    figures: dict[str, Any] = _rounded(report)
    figures["measured_speed"] = {
        f"{whose}_{what}_per_second": speed.get(f"{whose}_{what}_per_second")
        for whose in ("student", "teacher")
        for what in ("tokens", "texts")
    }
    return figures


def _cosines(
    own: Float32,
    teacher: Float32,
    same_space: bool,
    fitted: Sample | None,
    student: Student,
    seed: int,
    meter: Meter,
) -> tuple[str | None, Float64 | None]:
    """``cosine_basis``, and the cosines of unit rows (n, d) to the teacher's (n, h): (n,)."""
    if same_space and own.shape == teacher.shape:
        return "teacher", row_cosines(own, teacher)
    if fitted is not None:
        goal = unit(checked(fitted.vectors, len(fitted), "teacher"))
        known = unit(meter.by_student(student, fitted.texts))
        mapped = alignment.fit(known, goal, meter.check)(own)
    elif len(own) >= alignment.FEWEST:
        mapped = alignment.cross_fitted(own, teacher, seed, meter.check)
    else:
        return None, None
    return "aligned", row_cosines(mapped, teacher)


def _rounded(value: Any) -> Any:
    """Six decimals, all the way down: more are noise, and a report is kept and sent."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value
