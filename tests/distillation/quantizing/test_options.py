"""What quantizing can be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.quantizing.options import QuantizeOptions


def test_json_there_and_back() -> None:
    options = QuantizeOptions("int8", vocabulary_clusters=500, seed=2**64 - 1)
    assert QuantizeOptions.from_json(options.to_json()) == options
    assert QuantizeOptions.from_json({"element_type": "float16"}) == QuantizeOptions("float16")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantize", []),
        ("quantize.element_type", {}),
        ("quantize.element_type", {"element_type": ""}),
        ("quantize.element_type", {"element_type": "float32"}),
        ("quantize.element_type", {"element_type": 8}),
        ("quantize.vocabulary_clusters", {"element_type": "int8", "vocabulary_clusters": -1}),
        ("quantize.vocabulary_clusters", {"element_type": "int8", "vocabulary_clusters": 1.5}),
        ("quantize.vocabulary_clusters", {"element_type": "int8", "vocabulary_clusters": True}),
        ("quantize.seed", {"element_type": "int8", "seed": 2**64}),
        ("quantize.seed", {"element_type": "int8", "seed": -1}),
        ("quantize.clusters", {"element_type": "int8", "clusters": 3}),
    ],
)
def test_what_makes_no_sense_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        QuantizeOptions.from_json(value)
    assert caught.value.field == field
