"""What can be chosen about a static student, refused before any work where it makes no sense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any

from stillroom_registry.errors import StillroomError
from stillroom_server.distillation.option_values import (
    check_seed,
    given_options,
    is_int,
    is_number,
    refuse,
)
from stillroom_server.distillation.pooling import POOLING_MODES
from stillroom_server.distillation.vocabulary_pattern import REMOVE_UNUSED, check_pattern

AUTO = "auto"
DEFAULT_DIMENSIONS = 256
ELEMENT_TYPES = ("float32", "float16", "int8")
# The names that requests use, beside those of sentence-transformers.
_POOLING_NAMES = {"first": "cls", "last": "lasttoken"}
POOLINGS = (*POOLING_MODES, "pooler")
_MOST_WORDS = 1_000_000
_MOST_WORD_BYTES = 256
_MOST_PATTERN_BYTES = 1024
_MOST_DIMENSIONS = 65_536
_MOST_TOKENS = 1_000_000


@dataclass(frozen=True)
class StaticOptions:
    """``dimensions``: ``auto`` (256, or the teacher's where it has fewer), so many (int), as few as
    explain that share of the variance (float in (0, 1)), or the teacher's without PCA (None).

    ``sif_coefficient``: the a of a / (a + p), in (0, 1); None: no weights. ``pooling``: one of
    ``POOLINGS``, or None for the teacher's own. ``add_words``: words that become one token each.
    ``remove_tokens``: tokens to drop, as the vocabulary spells them; ``remove_pattern``: drops
    those whose beginning it matches, None: none. ``element_type``: float32, float16 or int8.
    ``prompt_name``: the teacher's prompt to put before each token; None: its default; empty: none.
    ``normalize`` and ``max_tokens`` (None: no limit) are the student's.

    Raises InvalidArgument with the field on construction.
    """

    dimensions: int | float | str | None = AUTO
    sif_coefficient: float | None = 1e-4
    pooling: str | None = None
    add_words: tuple[str, ...] = ()
    remove_tokens: tuple[str, ...] = ()
    remove_pattern: str | None = REMOVE_UNUSED
    element_type: str = "float16"
    seed: int = 0
    prompt_name: str | None = None
    normalize: bool = True
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        self._check_dimensions()
        a = self.sif_coefficient
        if a is not None and not (is_number(a) and 0.0 < a < 1.0):
            refuse("sif_coefficient", f"{a!r} is not between 0 and 1")
        if self.pooling is not None and self.pooling not in POOLINGS:
            refuse("pooling", f"{self.pooling!r} is none of {', '.join(POOLINGS)}")
        _check_strings("add_words", self.add_words)
        _check_strings("remove_tokens", self.remove_tokens)
        if self.remove_pattern is not None:
            if not isinstance(self.remove_pattern, str):
                refuse("remove_pattern", "it is not a text")
            if len(self.remove_pattern.encode()) > _MOST_PATTERN_BYTES:
                refuse("remove_pattern", f"it has more than {_MOST_PATTERN_BYTES} bytes")
            check_pattern(self.remove_pattern)
        if self.element_type not in ELEMENT_TYPES:
            refuse("element_type", f"{self.element_type!r} is none of {', '.join(ELEMENT_TYPES)}")
        check_seed(self.seed)
        if self.prompt_name is not None and not isinstance(self.prompt_name, str):
            refuse("prompt_name", "it is not a text")
        if not isinstance(self.normalize, bool):
            refuse("normalize", f"{self.normalize!r} is neither true nor false")
        most = self.max_tokens
        if most is not None and not (is_int(most) and 1 <= most <= _MOST_TOKENS):
            refuse("max_tokens", f"{most!r} is not between 1 and {_MOST_TOKENS:,}")

    @classmethod
    def from_json(cls, value: object, *, path: str = "static") -> StaticOptions:
        """From a JSON object with these names; what it leaves out has its default. Raises
        InvalidArgument whose field begins with ``path``."""
        given = given_options(cls, value, path)
        for name in ("add_words", "remove_tokens"):
            if isinstance(given.get(name), list):
                given[name] = tuple(given[name])
        pooling = given.get("pooling")
        if isinstance(pooling, str):
            given["pooling"] = _POOLING_NAMES.get(pooling, pooling)
        with fields_under(path):
            return cls(**given)

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        for name in ("add_words", "remove_tokens"):
            value[name] = list(value[name])
        return value

    def dimensions_of(self, teacher: int) -> int | float | None:
        """The dimensions to ask of a teacher that has so many. Raises InvalidArgument for more."""
        if self.dimensions == AUTO:
            return min(DEFAULT_DIMENSIONS, teacher)
        assert not isinstance(self.dimensions, str)
        if isinstance(self.dimensions, int) and self.dimensions > teacher:
            refuse(
                "dimensions",
                f"{self.dimensions} is more than the teacher's {teacher}; choose at most {teacher}",
            )
        return self.dimensions

    def _check_dimensions(self) -> None:
        asked = self.dimensions
        if asked is None or asked == AUTO:
            return
        if is_int(asked):
            if not 1 <= int(asked) <= _MOST_DIMENSIONS:
                refuse("dimensions", f"{asked} is not between 1 and the teacher's dimensions")
        elif not (is_number(asked) and 0.0 < float(asked) < 1.0):
            refuse(
                "dimensions",
                f"{asked!r} is neither {AUTO!r}, nor an integer, nor a share of the variance"
                " between 0 and 1, nor null",
            )


@contextmanager
def fields_under(path: str) -> Iterator[None]:
    """Puts ``path`` before the field of an option's error on its way out."""
    try:
        yield
    except StillroomError as error:
        name = (error.field or "").partition("[")[0]
        if name in {field.name for field in fields(StaticOptions)}:
            error.field = f"{path}.{error.field}"
        raise


def _check_strings(name: str, values: object) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence):
        refuse(name, "it is not a list of texts")
    if len(values) > _MOST_WORDS:
        refuse(name, f"it has more than {_MOST_WORDS:,} entries")
    for index, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            refuse(f"{name}[{index}]", "it is blank")
        if len(value.encode(errors="replace")) > _MOST_WORD_BYTES:
            refuse(f"{name}[{index}]", f"it has more than {_MOST_WORD_BYTES} bytes")
