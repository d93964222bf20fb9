"""What can be chosen about quantizing, refused before any work where it makes no sense."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.option_values import (
    check_seed,
    given_options,
    is_int,
    made,
    refuse,
)

TARGETS = ("float16", "int8")
_MOST_CLUSTERS = 1_000_000


@dataclass(frozen=True)
class QuantizeOptions:
    """``element_type``: float16 or int8. ``vocabulary_clusters``: how many rows the table keeps,
    tokens of like direction sharing one, each with a weight of its own; 0: all of them. ``seed`` of
    the clustering.

    Raises InvalidArgument with the field on construction.
    """

    element_type: str
    vocabulary_clusters: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.element_type not in TARGETS:
            refuse("element_type", f"{self.element_type!r} is none of {', '.join(TARGETS)}")
        clusters = self.vocabulary_clusters
        if not is_int(clusters) or not 0 <= clusters <= _MOST_CLUSTERS:
            refuse("vocabulary_clusters", f"{clusters!r} is not between 0 and {_MOST_CLUSTERS:,}")
        check_seed(self.seed)

    @classmethod
    def from_json(cls, value: object, *, path: str = "quantize") -> QuantizeOptions:
        """From a JSON object with these names; what it leaves out has its default, but
        ``element_type`` has none. Raises InvalidArgument whose field begins with ``path``."""
        given = given_options(cls, value, path)
        if not given.get("element_type"):
            raise InvalidArgument(
                f"element_type: choose one of {', '.join(TARGETS)}", field=f"{path}.element_type"
            )
        return made(cls, given, path)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
