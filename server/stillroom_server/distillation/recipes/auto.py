"""The choice that a request leaves to the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stillroom_registry.errors import InvalidArgument


@dataclass(frozen=True)
class AutoOptions:
    """``seed`` of everything random. Raises InvalidArgument with the field."""

    seed: int = 0

    def __post_init__(self) -> None:
        seed = self.seed
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
            raise InvalidArgument(f"seed: {seed!r} is not an unsigned 64-bit integer", field="seed")

    @classmethod
    def from_json(cls, value: object) -> AutoOptions:
        """From ``{"seed": 0}``; what it leaves out has its default."""
        if not isinstance(value, Mapping) or not set(value) <= {"seed"}:
            raise InvalidArgument("auto takes a seed and nothing else", field="auto")
        try:
            return cls(**value)
        except InvalidArgument as error:
            error.field = f"auto.{error.field}"
            raise

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
