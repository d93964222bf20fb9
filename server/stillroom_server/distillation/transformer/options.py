"""What can be chosen about a shallow transformer, refused before any work where it makes no
sense. What depends on the teacher is refused by ``shape``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stillroom_server.distillation.option_values import (
    check_seed,
    given_options,
    is_int,
    is_number,
    made,
    refuse,
)

ELEMENT_TYPES = ("float32", "float16", "int8")
DEFAULT_EPOCHS = 2
DEFAULT_HELD_OUT = 0.05
_MOST_LAYERS = 1_000
_MOST_WIDTH = 65_536
_MOST_EPOCHS = 10_000
_MOST_TOKENS = 1_000_000


@dataclass(frozen=True)
class TransformerOptions:
    """``layers``: how many of the teacher's are kept; None: half of them, rounded up.
    ``hidden_size``: width of the layers; None: the teacher's. ``dimensions``: of the vectors; None:
    the teacher's. ``max_epochs``: passes over the corpus at most; None: the server's choice.
    ``time_budget_seconds``: seconds of training at most, the best so far is kept; None: no limit.
    ``held_out``: the share, in (0, 0.5], of the corpus to judge by. ``element_type``: float32,
    float16 or int8; None: the smallest whose measured cosine allows it. ``max_tokens``: the most
    tokens of a text that the student reads; None: the teacher's.

    Raises InvalidArgument with the field on construction.
    """

    layers: int | None = None
    hidden_size: int | None = None
    dimensions: int | None = None
    max_epochs: int | None = None
    time_budget_seconds: float | None = None
    held_out: float = DEFAULT_HELD_OUT
    element_type: str | None = None
    seed: int = 0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        self._check_count("layers", _MOST_LAYERS)
        self._check_count("hidden_size", _MOST_WIDTH)
        self._check_count("dimensions", _MOST_WIDTH)
        self._check_count("max_epochs", _MOST_EPOCHS)
        self._check_count("max_tokens", _MOST_TOKENS)
        budget = self.time_budget_seconds
        if budget is not None and not (is_number(budget) and 0.0 < budget < float("inf")):
            refuse("time_budget_seconds", f"{budget!r} is not a positive number of seconds")
        if not (is_number(self.held_out) and 0.0 < self.held_out <= 0.5):
            refuse("held_out", f"{self.held_out!r} is not above 0 and at most 0.5")
        if self.element_type is not None and self.element_type not in ELEMENT_TYPES:
            refuse("element_type", f"{self.element_type!r} is none of {', '.join(ELEMENT_TYPES)}")
        check_seed(self.seed)

    @classmethod
    def from_json(cls, value: object, *, path: str = "transformer") -> TransformerOptions:
        """From a JSON object with these names; what it leaves out has its default. Raises
        InvalidArgument whose field begins with ``path``."""
        return made(cls, given_options(cls, value, path), path)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def _check_count(self, name: str, most: int) -> None:
        value = getattr(self, name)
        if value is not None and not (is_int(value) and 1 <= value <= most):
            refuse(name, f"{value!r} is not between 1 and {most:,}")
