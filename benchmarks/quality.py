"""How good the vectors are: teacher, our student, model2vec's student of the same teacher."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import STS_YEARS, Data, Labeled, Pairs
from benchmarks.knobs import Knobs
from benchmarks.report import Report, Table, Target

Encode = Callable[[Sequence[str]], NDArray[np.float32]]

TEACHER, OURS, THEIRS = "teacher", "stillroom", "model2vec"
TOLERANCE = 0.1
_C = 10
_MAX_ITERATIONS = 1000


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Distills both students, and scores all three."""
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as workspace:
        scores, facts = _scores(knobs, data, Path(workspace), say)
    margins = {figure: scores[OURS][figure] - scores[THEIRS][figure] for figure in scores[OURS]}
    retained = {side: _mean(scores[side]) / _mean(scores[TEACHER]) for side in (OURS, THEIRS)}
    return Report(
        name="quality",
        title=f"students of {knobs.dimensions} dimensions beside their teacher",
        tables=[_table(scores, margins, retained)],
        targets=[
            Target(
                "least margin over model2vec on the five",
                f"{min(margins.values()):+.2f}",
                f"{-TOLERANCE:+.1f} or more",
                not_below(margins),
            )
        ],
        notes=[
            "STS: Spearman's rank correlation x 100 of cosines and human scores, all pairs of a"
            " year at once.",
            f"Banking77 and TREC: accuracy in percent of a logistic regression (C={_C},"
            f" max_iter={_MAX_ITERATIONS}) on frozen, normalized vectors.",
            f"Teacher: {knobs.package}, {facts['teacher_dimensions']} dimensions, computed in"
            f" {facts['compute_type']} by Stillroom.",
            "model2vec: distill(pca_dims) with its defaults, embedded by its own encode.",
        ],
        not_measured=[
            "Retrieval, clustering, and any language but English.",
            "How the scores vary with another teacher.",
        ],
        values={"scores": scores, "margins": margins, "share_of_teacher": retained, **facts},
        timed=False,
    )


def not_below(margins: dict[str, float], tolerance: float = TOLERANCE) -> bool:
    """Whether no margin is below ``-tolerance``."""
    return all(margin >= -tolerance for margin in margins.values())


def spearman(encode: Encode, pairs: Pairs) -> float:
    """Spearman's rank correlation x 100 of the pairs' cosines with their scores."""
    from scipy.stats import spearmanr

    count = len(pairs.first)
    rows = _unit(encode([*pairs.first, *pairs.second]))
    cosines = np.einsum("ij,ij->i", rows[:count], rows[count:])
    return 100.0 * float(spearmanr(cosines, pairs.scores).statistic)


def accuracy(encode: Encode, train: Labeled, test: Labeled) -> float:
    """Percent of ``test`` that a logistic regression fitted to ``train`` labels as it is."""
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression(C=_C, max_iter=_MAX_ITERATIONS)
    head.fit(_unit(encode(train.texts)), train.labels)
    return 100.0 * float(head.score(_unit(encode(test.texts)), test.labels))


def _scores(
    knobs: Knobs, data: Data, workspace: Path, say: Callable[[str], None]
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    from model2vec.distill import distill

    from stillroom_server.distillation.options import StaticOptions
    from stillroom_server.distillation.recipe import distill_static
    from stillroom_server.distillation.teacher import Teacher
    from stillroom_server.inference.embedder import StudentEmbedder

    say("distilling with stillroom")
    options = StaticOptions(dimensions=knobs.dimensions)
    report = distill_static(knobs.teacher, workspace / "student", options)
    ours = StudentEmbedder.load(workspace / "student")
    say("distilling with model2vec")
    theirs = distill(model_name=str(knobs.teacher), pca_dims=knobs.dimensions)
    teacher = Teacher.load(knobs.teacher)
    sides: dict[str, Encode] = {
        TEACHER: teacher.encode,
        THEIRS: lambda texts: theirs.encode(list(texts)),
        OURS: lambda texts: ours.embed(texts).vectors,
    }
    scores: dict[str, dict[str, float]] = {}
    for side, encode in sides.items():
        scores[side] = found = {}
        for year in STS_YEARS:
            say(f"{side}: STS {year}")
            found[f"STS {year}"] = spearman(encode, data.sts(year))
        say(f"{side}: Banking77")
        found["Banking77"] = accuracy(encode, data.banking77("train"), data.banking77("test"))
        say(f"{side}: TREC")
        found["TREC"] = accuracy(encode, data.trec("train"), data.trec("test"))
    facts = {
        "teacher_dimensions": teacher.dim,
        "compute_type": teacher.dtype,
        "explained_variance": report["explained_variance"],
    }
    return scores, facts


def _table(
    scores: dict[str, dict[str, float]], margins: dict[str, float], retained: dict[str, float]
) -> Table:
    rows = [
        [side, *(f"{score:.1f}" for score in found.values()), f"{_sts(found):.1f}",
         f"{retained.get(side, 1.0):.1%}"]
        for side, found in scores.items()
    ]  # fmt: skip
    rows.append(["stillroom - model2vec", *(f"{m:+.2f}" for m in margins.values()), "", ""])
    columns = ["side", *margins, "mean STS", "of teacher"]
    return Table("higher is better", columns, rows)


def _sts(found: dict[str, float]) -> float:
    return _mean({name: score for name, score in found.items() if name.startswith("STS")})


def _mean(found: dict[str, float]) -> float:
    return sum(found.values()) / len(found)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit length; rows of zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
