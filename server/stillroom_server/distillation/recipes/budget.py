"""What an operation may be estimated to take. It is judged before the operation is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from stillroom_registry.errors import InvalidArgument


@dataclass(frozen=True)
class Budget:
    """Upper limits; None is no limit: wall-clock ``seconds``, peak resident ``memory_bytes``,
    ``result_bytes`` of the resulting model, ``money_usd``. Raises InvalidArgument with the
    field."""

    seconds: float | None = None
    memory_bytes: float | None = None
    result_bytes: float | None = None
    money_usd: float | None = None

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
