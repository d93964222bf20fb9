"""What can be asked for, and what is refused before any work."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.transformer.options import TransformerOptions


def test_json_and_back() -> None:
    options = TransformerOptions(layers=3, dimensions=64, element_type="int8", seed=7)
    assert TransformerOptions.from_json(options.to_json()) == options
    assert TransformerOptions.from_json({}) == TransformerOptions()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layers", 0),
        ("layers", True),
        ("layers", "3"),
        ("hidden_size", -1),
        ("dimensions", 0),
        ("dimensions", 1 << 20),
        ("max_epochs", 0),
        ("time_budget_seconds", 0),
        ("time_budget_seconds", float("nan")),
        ("time_budget_seconds", float("inf")),
        ("held_out", 0.0),
        ("held_out", 0.6),
        ("element_type", "bfloat16"),
        ("seed", -1),
        ("seed", 2**64),
        ("max_tokens", 0),
        ("learning_rate", 1),
    ],
)
def test_refused_with_its_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        TransformerOptions.from_json({field: value})
    assert caught.value.field == f"transformer.{field}"


def test_no_object() -> None:
    with pytest.raises(InvalidArgument) as caught:
        TransformerOptions.from_json([])
    assert caught.value.field == "transformer"


def test_options_and_their_check_need_no_torch() -> None:
    code = (
        "import stillroom_server.distillation.transformer.options;"
        "import stillroom_server.distillation.transformer.shape, sys;"
        "print({'torch', 'transformers', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
