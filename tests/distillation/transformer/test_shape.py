"""Which layers are kept, and which widths a teacher can be cut to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distillation.teachers import with_modules
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Pooling

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.transformer.shape import check_options, evenly, shape_of

MINILM = {
    "model_type": "bert",
    "num_hidden_layers": 6,
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}


@pytest.mark.parametrize(
    ("kept", "total", "expected"),
    [
        (3, 6, (0, 3, 5)),
        (6, 12, (0, 2, 4, 7, 9, 11)),
        (1, 6, (0,)),
        (2, 6, (0, 5)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
        (1, 1, (0,)),
    ],
)
def test_layers_are_spread_from_the_first_to_the_last(
    kept: int, total: int, expected: tuple[int, ...]
) -> None:
    assert evenly(kept, total) == expected


def test_every_choice_is_a_choice() -> None:
    for total in range(1, 40):
        for kept in range(1, total + 1):
            chosen = evenly(kept, total)
            assert len(set(chosen)) == kept
            assert list(chosen) == sorted(chosen)
            assert chosen[-1] < total


def test_half_the_layers_unless_asked() -> None:
    assert shape_of(MINILM, TransformerOptions()).layers == (0, 3, 5)
    assert len(shape_of({**MINILM, "num_hidden_layers": 7}, TransformerOptions()).layers) == 4


def test_a_narrower_student_keeps_the_size_of_heads_where_it_can() -> None:
    shape = shape_of(MINILM, TransformerOptions(hidden_size=192))
    assert (shape.width, shape.heads, shape.inner, shape.narrowed) == (192, 6, 768, True)
    assert shape_of(MINILM, TransformerOptions(hidden_size=180)).heads == 12
    assert not shape_of(MINILM, TransformerOptions(hidden_size=384)).narrowed


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"layers": 7}, "layers"),
        ({"hidden_size": 385}, "hidden_size"),
        ({"hidden_size": 100}, "hidden_size"),
    ],
)
def test_what_the_teacher_does_not_have(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        shape_of(MINILM, TransformerOptions(**options))
    assert caught.value.field == f"transformer.{field}"


def test_a_configuration_that_tells_nothing() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        shape_of({"model_type": "odd"}, TransformerOptions())
    assert caught.value.reason == "UNSUPPORTED_ARCHITECTURE"


def test_dimensions_are_those_behind_every_module(bert: Path, tmp_path: Path) -> None:
    steps = [lambda: Pooling(32, pooling_mode=("cls", "mean")), lambda: Dense(64, 20)]
    teacher = with_modules(bert, tmp_path / "t", *steps)
    check_options(teacher, TransformerOptions(dimensions=20))
    with pytest.raises(InvalidArgument) as caught:
        check_options(teacher, TransformerOptions(dimensions=21))
    assert caught.value.field == "transformer.dimensions"
