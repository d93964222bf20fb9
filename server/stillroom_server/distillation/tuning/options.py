"""What can be chosen about a tuned student, refused before any work where it makes no sense."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from stillroom_server.distillation.option_values import (
    given_options,
    is_int,
    is_number,
    made,
    refuse,
)
from stillroom_server.distillation.options import AUTO, DEFAULT_DIMENSIONS, StaticOptions

FEWEST_TEXTS = 128
"""Of a corpus, held out ones included: below it, a student is fitted to too little and judged by
less."""
DEFAULT_EPOCHS = 4
DEFAULT_HELD_OUT = 0.05
DEFAULT_WORDS = 2_000
DEFAULT_PAIRS = 8_000
DEFAULT_PREFIXES = (32, 64, 128)
COMPOSED_SHARE = 0.7
"""Of the texts to learn from, so many are composed of them besides (see ``compose``)."""
MOST_COMPOSED = 32_768
_MOST_EPOCHS = 10_000
_MOST_GROWN = 1_000_000
_MOST_PREFIXES = 32


@dataclass(frozen=True)
class TunedOptions:
    """``static``: the start, whose dimensions, element type, words and seed are the student's.

    ``max_epochs``: passes over the corpus at most; None: the server's choice.
    ``time_budget_seconds``: seconds of training at most, the best so far is kept; None: no limit.
    ``held_out``: the share, in (0, 0.5], of the corpus to judge by.
    ``matryoshka_dimensions``: prefixes trained to be good vectors; None: 32, 64 and 128 where the
    student has more; empty: none. ``grow_words``, ``grow_pairs``: at most so many frequent words
    and pairs of words become tokens of their own; None: the server's choice; 0: none.

    Raises InvalidArgument with the field on construction.
    """

    static: StaticOptions = field(default_factory=StaticOptions)
    max_epochs: int | None = None
    time_budget_seconds: float | None = None
    held_out: float = DEFAULT_HELD_OUT
    matryoshka_dimensions: tuple[int, ...] | None = None
    grow_words: int | None = None
    grow_pairs: int | None = None

    def __post_init__(self) -> None:
        epochs = self.max_epochs
        if epochs is not None and not (is_int(epochs) and 1 <= epochs <= _MOST_EPOCHS):
            refuse("max_epochs", f"{epochs!r} is not between 1 and {_MOST_EPOCHS:,}")
        budget = self.time_budget_seconds
        if budget is not None and not (is_number(budget) and 0.0 < budget < float("inf")):
            refuse("time_budget_seconds", f"{budget!r} is not a positive number of seconds")
        if not (is_number(self.held_out) and 0.0 < self.held_out <= 0.5):
            refuse("held_out", f"{self.held_out!r} is not above 0 and at most 0.5")
        self._check_prefixes()
        for name in ("grow_words", "grow_pairs"):
            most = getattr(self, name)
            if most is not None and not (is_int(most) and 0 <= most <= _MOST_GROWN):
                refuse(name, f"{most!r} is not between 0 and {_MOST_GROWN:,}")

    @classmethod
    def from_json(cls, value: object, *, path: str = "static_tuned") -> TunedOptions:
        """From a JSON object with these names; what it leaves out has its default. Raises
        InvalidArgument whose field begins with ``path``."""
        given = given_options(cls, value, path)
        given["static"] = StaticOptions.from_json(given.get("static", {}), path=f"{path}.static")
        if isinstance(given.get("matryoshka_dimensions"), list):
            given["matryoshka_dimensions"] = tuple(given["matryoshka_dimensions"])
        return made(cls, given, path)

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["static"] = self.static.to_json()
        if self.matryoshka_dimensions is not None:
            value["matryoshka_dimensions"] = list(self.matryoshka_dimensions)
        return value

    def prefixes_of(self, dimensions: int) -> tuple[int, ...]:
        """The prefixes to train of a student that has so many dimensions, itself not among them.
        Raises InvalidArgument for one that is longer."""
        if self.matryoshka_dimensions is None:
            return tuple(size for size in DEFAULT_PREFIXES if size < dimensions)
        for index, size in enumerate(self.matryoshka_dimensions):
            if size > dimensions:
                refuse(
                    f"matryoshka_dimensions[{index}]",
                    f"{size} is more than the student's {dimensions} dimensions",
                )
        return tuple(sorted(size for size in self.matryoshka_dimensions if size < dimensions))

    def _check_prefixes(self) -> None:
        sizes = self.matryoshka_dimensions
        if sizes is None:
            return
        if not isinstance(sizes, tuple):
            refuse("matryoshka_dimensions", "it is not a list of integers")
        if len(sizes) > _MOST_PREFIXES:
            refuse("matryoshka_dimensions", f"it has more than {_MOST_PREFIXES} entries")
        asked = self.static.dimensions
        most = DEFAULT_DIMENSIONS if asked == AUTO else asked if is_int(asked) else None
        for index, size in enumerate(sizes):
            name = f"matryoshka_dimensions[{index}]"
            if not is_int(size) or size < 1:
                refuse(name, f"{size!r} is not a positive integer")
            if isinstance(most, int) and size > most:
                refuse(name, f"{size} is more than the student's {most} dimensions")
            if size in sizes[:index]:
                refuse(name, f"{size} is repeated")
