"""What can be chosen about quantizing, refused before any work where it makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn

from stillroom_registry.errors import InvalidArgument

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
            _refuse("element_type", f"{self.element_type!r} is none of {', '.join(TARGETS)}")
        clusters = self.vocabulary_clusters
        if not _is_int(clusters) or not 0 <= clusters <= _MOST_CLUSTERS:
            _refuse("vocabulary_clusters", f"{clusters!r} is not between 0 and {_MOST_CLUSTERS:,}")
        if not _is_int(self.seed) or not 0 <= self.seed < 2**64:
            _refuse("seed", f"{self.seed!r} is not an unsigned 64-bit integer")

    @classmethod
    def from_json(cls, value: object, *, path: str = "quantize") -> QuantizeOptions:
        """From a JSON object with these names; what it leaves out has its default, but
        ``element_type`` has none. Raises InvalidArgument whose field begins with ``path``."""
        if not isinstance(value, Mapping):
            raise InvalidArgument("the options are not an object", field=path)
        names = {field.name for field in fields(cls)}
        for name in value:
            if name not in names:
                raise InvalidArgument(
                    f"no option is called {name!r}; there are {', '.join(sorted(names))}",
                    reason="UNKNOWN_OPTION",
                    field=f"{path}.{name}",
                )
        if not value.get("element_type"):
            raise InvalidArgument(
                f"element_type: choose one of {', '.join(TARGETS)}", field=f"{path}.element_type"
            )
        try:
            return cls(**value)
        except InvalidArgument as error:
            error.field = f"{path}.{error.field}"
            raise

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse(name: str, why: str) -> NoReturn:
    raise InvalidArgument(f"{name}: {why}", field=name)
