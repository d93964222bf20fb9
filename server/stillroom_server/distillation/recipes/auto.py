"""The choice that a request leaves to the server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stillroom_server.distillation.option_values import check_seed, given_options, made


@dataclass(frozen=True)
class AutoOptions:
    """``seed`` of everything random. Raises InvalidArgument with the field."""

    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)

    @classmethod
    def from_json(cls, value: object) -> AutoOptions:
        """From ``{"seed": 0}``; what it leaves out has its default."""
        return made(cls, given_options(cls, value, "auto"), "auto")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
