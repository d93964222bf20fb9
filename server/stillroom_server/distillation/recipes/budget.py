"""What a distillation may take, and what it is expected to.

The expectation is coarse: a probe of this teacher on this machine, times what is to be computed,
and constants measured where ``docs/performance.md`` says. It is there to refuse what cannot fit and
to choose what does, before the work is paid for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from stillroom_registry.errors import FailedPrecondition, InvalidArgument


@dataclass(frozen=True)
class Budget:
    """Upper limits; None is no limit: wall-clock ``seconds``, peak resident ``memory_bytes``,
    ``result_bytes`` of the student's weights. Raises InvalidArgument with the field."""

    seconds: float | None = None
    memory_bytes: float | None = None
    result_bytes: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and math.isfinite(value) and value > 0):
                raise InvalidArgument(
                    f"{name}: {value!r} is not a number above 0", field=f"budget.{name}"
                )

    @classmethod
    def from_json(cls, value: object) -> Budget:
        """From a JSON object with these names, or None."""
        if value is None:
            return cls()
        names = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping) or not set(value) <= set(names):
            raise InvalidArgument(f"a budget has {', '.join(names)}", field="budget")
        return cls(**value)

    @property
    def unlimited(self) -> bool:
        return not any(value is not None for value in asdict(self).values())


@dataclass(frozen=True)
class Outlook:
    """What a recipe is expected to take, in the units of ``Budget``."""

    seconds: float
    memory_bytes: float
    result_bytes: float

    def beyond(self, budget: Budget) -> dict[str, tuple[float, float]]:
        """The limits that are expected to be exceeded: (expected, limit) by name."""
        expected, limits = asdict(self), asdict(budget)
        return {
            name: (expected[name], limit)
            for name, limit in limits.items()
            if limit is not None and expected[name] > limit
        }


def refuse(tried: Mapping[str, Outlook], budget: Budget) -> FailedPrecondition:
    """Nothing fits: says of each recipe tried what it would take beyond the budget."""
    said: list[str] = []
    metadata: dict[str, str] = {}
    first = ""
    for recipe, outlook in tried.items():
        beyond = outlook.beyond(budget)
        first = first or next(iter(beyond), "")
        parts = [
            f"{name} about {expected:.3g} of {limit:.3g}"
            for name, (expected, limit) in beyond.items()
        ]
        said.append(f"{recipe}: {', '.join(parts)}")
        metadata |= {f"{recipe}.{name}": f"{value:.6g}" for name, value in asdict(outlook).items()}
    return FailedPrecondition(
        f"nothing that this server could make fits the budget ({'; '.join(said)}); allow more, or"
        " ask for fewer dimensions or texts",
        reason="BUDGET_EXCEEDED",
        field=f"budget.{first}" if first else "budget",
        metadata=metadata,
    )
