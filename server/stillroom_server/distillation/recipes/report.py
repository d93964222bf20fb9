"""The whole report of a student: what its recipe knows, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.corpus.opening import open_allowed, open_own
from stillroom_server.distillation.corpus.shards import write_whole
from stillroom_server.distillation.fidelity.evaluations.evaluate import Evaluation, read_evaluation
from stillroom_server.distillation.fidelity.evaluations.tables import MOST_BYTES
from stillroom_server.distillation.fidelity.measure import MOST_HELD_OUT, MOST_TRAINING, measure
from stillroom_server.distillation.fidelity.samples import Sample, from_shards
from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.distillation.teacher import Teacher
from stillroom_server.inference.embedders import load_embedder

_SUFFIXES = (".csv", ".tsv")  # that say how to read a file


def evaluations_of(job: Job) -> list[Evaluation]:
    """The request's evaluations, read; files are copied first, so that a later attempt has the
    same. Raises InvalidArgument with the field and the line."""
    found = []
    for index, given in enumerate(job.request.evaluations):
        field = f"evaluations[{index}]"
        test = given.get("test")
        found.append(
            read_evaluation(
                given["name"],
                given["kind"],
                _copied(job, given["source"], f"{index}", field),
                test=None if test is None else _copied(job, test, f"{index}-test", field),
                field=field,
                seed=job.request.seed,
            )
        )
    return found


def measured(job: Job, made: Made, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Measures the student in the job's output folder by the code that serves it. Raises what
    ``measure`` raises."""
    held_out, training = _samples(job, made)
    report = measure(
        load_embedder(job.output, cache=job.verdicts),
        encode_teacher=made.encode_teacher or _LazyTeacher(job).encode,
        held_out=held_out,
        training=training,
        evaluations=evaluations,
        context=job.context,
        **made.measuring,
    )
    corpus = {} if job.corpus is None else {"corpus": dict(job.corpus.facts)}
    return {"recipe": made.recipe, **made.facts, **corpus, **report}


def _samples(job: Job, made: Made) -> tuple[Sample | None, Sample | None]:
    if job.corpus is None or made.features is None:
        return None, None
    features, seed = made.features, job.request.seed
    return (
        from_shards(job.corpus.held_out, features.held_out, MOST_HELD_OUT, seed),
        from_shards(job.corpus.training, features.training, MOST_TRAINING, seed),
    )


def _copied(job: Job, source: Mapping[str, Any], name: str, field: str) -> Path:
    given = Path(source.get("path") or source["file"])
    suffix = given.suffix.lower()  # people name files as they like, at any length
    copy = job.workspace / f"evaluation-{name}{suffix if suffix in _SUFFIXES else ''}"
    if copy.exists():
        return copy
    opened = (
        open_allowed(job.roots, str(given), field) if "path" in source else open_own(given, field)
    )
    with opened as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InvalidArgument(
            f"{given.name} has more than {MOST_BYTES:,} bytes",
            reason="EVALUATION_INVALID",
            field=field,
        )
    write_whole(copy, data)
    return copy


class _LazyTeacher:
    """Loads the teacher when it is asked for the first time: often all vectors are there."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._teacher: Teacher | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._teacher is None:
            self._teacher = self._job.teacher()
        return self._teacher.encode(texts)
