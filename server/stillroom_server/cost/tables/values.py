"""What a rule of thumb is made of, and what each is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stillroom_registry.errors import InvalidArgument

JSON = dict[str, Any]

PARADIGMS = "entrenar 0.7.13, efficiency/paradigm/model_paradigm.rs"
METHODS = "entrenar 0.7.13, efficiency/paradigm/fine_tune.rs"

BASELINES = {
    "memory_multiplier": "inference memory of the same model",
    "training_speedup": "training of the same model from scratch",
    "quality_retention": "quality of full fine-tuning",
    "batch_size_multiplier": "batch size of deep learning",
    "trainable_parameters_percent": "all parameters of the model",
    "memory_reduction_factor": "training memory of full fine-tuning",
}
"""By field of TableEstimate: what 1 (or 100 %) means."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A number, and how it depends on a parameter: empty for a constant."""

    value: float
    formula: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What every paradigm and method of fine-tuning has, by the field of TableEstimate."""

    memory_multiplier: Rule
    training_speedup: Rule
    quality_retention: Rule
    batch_size_multiplier: Rule

    @classmethod
    def constants(cls, memory: float, speedup: float, quality: float, batch: float) -> Rules:
        return cls(Rule(memory), Rule(speedup), Rule(quality), Rule(batch))


def whole_number(value: object, field: str, low: int, high: int | None = None) -> None:
    """Raises InvalidArgument on ``field`` unless it is an integer from ``low`` to ``high``."""
    good = isinstance(value, int) and not isinstance(value, bool)
    if not (good and low <= value and (high is None or value <= high)):  # type: ignore[operator]
        allowed = f"{low} to {high}" if high is not None else f"{low} or more"
        raise InvalidArgument(f"{field} is {value!r}; give {allowed}", field=field)
