"""What ends with a clear error, and what has to work all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from distillation.transformer import students
from onnx import numpy_helper

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.transformer import onnx_export

Maker = Callable[[str], Path]


@pytest.mark.parametrize(
    "options", [{"layers": 3}, {"dimensions": 33}, {"hidden_size": 33}, {"max_tokens": 65}]
)
def test_more_than_the_teacher_has(
    teacher_of: Maker, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        students.distill(teacher_of("bert"), tmp_path / "s", **options)
    assert caught.value.field == f"transformer.{next(iter(options))}"


def test_no_texts(teacher_of: Maker, tmp_path: Path) -> None:
    known = students.features(teacher_of("bert"), students.corpus())
    empty = students.Corpus([], [])
    with pytest.raises(InvalidArgument) as caught:
        students.distill(teacher_of("bert"), tmp_path / "s", given=empty, known=known)
    assert (caught.value.reason, caught.value.field) == ("CORPUS_TOO_SMALL", "corpus")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_texts_and_none_held_out(
    teacher_of: Maker, tmp_path: Path, count: int
) -> None:
    """Fewer than dimensions, fewer than a batch, fewer than pieces."""
    tiny = students.Corpus([students.Shard(students.texts(count))], [])
    facts = students.distill(teacher_of("bert"), tmp_path / "s", given=tiny, dimensions=16)
    assert facts["steps"] == 2
    assert np.isfinite(facts["held_out_cosine"])


def test_vectors_that_are_not_finite(teacher_of: Maker, tmp_path: Path) -> None:
    given = students.corpus()
    known = students.features(teacher_of("bert"), given)
    known.made[0][1][3, 5] = np.nan
    with pytest.raises(FailedPrecondition) as caught:
        students.distill(teacher_of("bert"), tmp_path / "s", given=given, known=known)
    assert caught.value.reason == "TRAINING_DIVERGED"


def test_a_graph_that_differs_is_refused(
    teacher_of: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = onnx_export.build

    def wrong(network: Any) -> onnx.ModelProto:
        model = build(network)
        for tensor in model.graph.initializer:
            if tensor.name.endswith("word_embeddings.weight"):
                value = numpy_helper.to_array(tensor).copy()
                value[::7] *= -1.0
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        return model

    monkeypatch.setattr(onnx_export, "build", wrong)
    with pytest.raises(FailedPrecondition) as caught:
        students.distill(teacher_of("bert"), tmp_path / "s")
    assert caught.value.reason == "PARITY_FAILED"
    assert float(caught.value.metadata["min_cosine"]) < 0.99999
