from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.tuning.options import TunedOptions


def test_goes_through_json() -> None:
    options = TunedOptions.from_json(
        {
            "static": {"dimensions": 64, "seed": 7},
            "max_epochs": 2,
            "time_budget_seconds": 1.5,
            "held_out": 0.1,
            "matryoshka_dimensions": [16, 8],
            "grow_words": 0,
            "grow_pairs": 10,
        }
    )
    assert TunedOptions.from_json(options.to_json()) == options
    assert TunedOptions.from_json({}) == TunedOptions()
    assert TunedOptions.from_json(TunedOptions().to_json()) == TunedOptions()


def test_none_is_the_servers_choice_and_zero_is_zero() -> None:
    assert TunedOptions.from_json({"grow_pairs": None}).grow_pairs is None
    assert TunedOptions.from_json({"grow_pairs": 0}).grow_pairs == 0
    assert TunedOptions().prefixes_of(256) == (32, 64, 128)
    assert TunedOptions().prefixes_of(48) == (32,)
    assert TunedOptions(matryoshka_dimensions=()).prefixes_of(256) == ()
    assert TunedOptions(matryoshka_dimensions=(64, 8)).prefixes_of(64) == (8,)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (3, ""),
        ({"epochs": 1}, ".epochs"),
        ({"static": {"dimensions": 0}}, ".static.dimensions"),
        ({"static": {"words": []}}, ".static.words"),
        ({"static": None}, ".static"),
        ({"max_epochs": 0}, ".max_epochs"),
        ({"max_epochs": True}, ".max_epochs"),
        ({"time_budget_seconds": 0}, ".time_budget_seconds"),
        ({"time_budget_seconds": float("nan")}, ".time_budget_seconds"),
        ({"time_budget_seconds": float("inf")}, ".time_budget_seconds"),
        ({"held_out": 0}, ".held_out"),
        ({"held_out": 0.51}, ".held_out"),
        ({"held_out": "much"}, ".held_out"),
        ({"matryoshka_dimensions": 64}, ".matryoshka_dimensions"),
        ({"matryoshka_dimensions": [64, 0]}, ".matryoshka_dimensions[1]"),
        ({"matryoshka_dimensions": [64, 64]}, ".matryoshka_dimensions[1]"),
        ({"matryoshka_dimensions": [257]}, ".matryoshka_dimensions[0]"),
        (
            {"static": {"dimensions": 32}, "matryoshka_dimensions": [33]},
            ".matryoshka_dimensions[0]",
        ),
        ({"grow_words": -1}, ".grow_words"),
        ({"grow_pairs": 1.5}, ".grow_pairs"),
    ],
)
def test_says_which_field_is_wrong(value: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        TunedOptions.from_json(value)
    assert caught.value.field == "static_tuned" + field


def test_needs_no_torch() -> None:
    code = (
        "import sys, stillroom_server.distillation.tuning.options;"
        "assert not {'torch', 'scipy', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
