"""Options refuse what makes no sense before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.options import StaticOptions


def test_defaults_and_round_trip() -> None:
    assert StaticOptions.from_json({}) == StaticOptions()
    chosen = StaticOptions(
        dimensions=0.9,
        sif_coefficient=None,
        pooling="cls",
        add_words=("one", "two"),
        remove_tokens=("three",),
        remove_pattern=None,
        element_type="int8",
        seed=2**64 - 1,
        prompt_name="query",
        normalize=False,
        max_tokens=None,
    )
    assert StaticOptions.from_json(chosen.to_json()) == chosen


@pytest.mark.parametrize(("name", "mode"), [("first", "cls"), ("last", "lasttoken")])
def test_the_protocols_names_of_poolings(name: str, mode: str) -> None:
    assert StaticOptions.from_json({"pooling": name}).pooling == mode


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dimensions", 0),
        ("dimensions", -3),
        ("dimensions", True),
        ("dimensions", 1.5),
        ("dimensions", 0.0),
        ("dimensions", "many"),
        ("dimensions", 1 << 20),
        ("sif_coefficient", 0),
        ("sif_coefficient", 1.0),
        ("sif_coefficient", "a"),
        ("pooling", "sum"),
        ("pooling", 3),
        ("add_words", "word"),
        ("add_words", 3),
        ("remove_pattern", "["),
        ("remove_pattern", "x" * 2000),
        ("remove_pattern", 1),
        ("element_type", "int4"),
        ("seed", -1),
        ("seed", 1 << 64),
        ("seed", 1.0),
        ("prompt_name", 4),
        ("normalize", "yes"),
        ("max_tokens", 0),
        ("max_tokens", "all"),
        ("epochs", 3),
    ],
)
def test_each_field_is_checked_and_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        StaticOptions.from_json({field: value})
    assert caught.value.field == f"static.{field}"


@pytest.mark.parametrize(("entries", "index"), [(["a", ""], 1), (["a", 5], 1), (["b" * 300], 0)])
def test_entries_are_named_by_their_place(entries: list[Any], index: int) -> None:
    for name in ("add_words", "remove_tokens"):
        with pytest.raises(InvalidArgument) as caught:
            StaticOptions.from_json({name: entries})
        assert caught.value.field == f"static.{name}[{index}]"


def test_dimensions_against_the_teachers() -> None:
    assert StaticOptions().dimensions_of(384) == 256
    assert StaticOptions().dimensions_of(128) == 128
    assert StaticOptions(dimensions=384).dimensions_of(384) == 384
    assert StaticOptions(dimensions=None).dimensions_of(384) is None
    assert StaticOptions(dimensions=0.5).dimensions_of(384) == 0.5
    with pytest.raises(InvalidArgument, match="at most 384"):
        StaticOptions(dimensions=385).dimensions_of(384)


def test_the_front_can_check_a_request_without_torch() -> None:
    code = (
        "import sys; from stillroom_server.distillation.recipes.request import DistillRequest;"
        "DistillRequest.from_json({'teacher': 'models/t/versions/1', 'name': 's'});"
        "import stillroom_server.distillation.recipe;"
        "heavy = {'torch', 'transformers', 'onnx', 'matplotlib', 'pyarrow'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
