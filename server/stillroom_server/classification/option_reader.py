"""Reads options out of JSON as protobuf maps it, and refuses by the full path of a field.

Integers of 64 bits and numbers that are not finite come as strings, enum values as their full
names; whatever is absent is unset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from stillroom_registry.errors import InvalidArgument


class OptionReader:
    """The fields of one object at ``path``. ``finish`` refuses those that nobody asked for."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidArgument(f"{path} is not an object", field=path)
        self._values: Mapping[str, Any] = value
        self._asked: set[str] = set()
        self.path = path

    def has(self, name: str) -> bool:
        self._asked.add(name)
        return self._values.get(name) is not None

    def value(self, name: str) -> Any:
        self._asked.add(name)
        return self._values.get(name)

    def inner(self, name: str) -> OptionReader | None:
        value = self.value(name)
        return None if value is None else OptionReader(value, f"{self.path}.{name}")

    def boolean(self, name: str) -> bool | None:
        value = self.value(name)
        if value is not None and not isinstance(value, bool):
            self.refuse(name, f"{value!r} is neither true nor false")
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        """None where it is unset; in [low, high] otherwise."""
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, str) and value.removeprefix("-").isdecimal():
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(name, f"{value!r} is no integer")
        if not low <= value <= high:
            self.refuse(name, f"{value} is not between {low:,} and {high:,}")
        return value

    def number(
        self,
        name: str,
        low: float,
        high: float = math.inf,
        *,
        without_low: bool = False,
        without_high: bool = False,
    ) -> float | None:
        """None where it is unset; finite and between the bounds otherwise."""
        value = self.value(name)
        if value is None:
            return None
        number = _as_number(value)
        if number is None:
            self.refuse(name, f"{value!r} is no number")
        inside = math.isfinite(number) and low <= number <= high
        if not inside or (without_low and number == low) or (without_high and number == high):
            left, right = "(" if without_low else "[", ")" if without_high else "]"
            bounds = (
                f"{left}{low:g}, {high:g}{right}" if math.isfinite(high) else f"{low:g} or more"
            )
            self.refuse(name, f"{number:g} is not finite and within {bounds}")
        return number

    def choice(self, name: str, prefix: str, choices: tuple[str, ...]) -> str | None:
        """The enum value without ``prefix``, in lower case; None where it is unspecified."""
        value = self.value(name)
        if value in (None, 0, f"{prefix}_UNSPECIFIED"):
            return None
        short = str(value).removeprefix(f"{prefix}_").lower()
        if not isinstance(value, str) or short not in choices:
            known = ", ".join(f"{prefix}_{choice.upper()}" for choice in choices)
            self.refuse(name, f"{value!r} is none of {known}", reason="UNKNOWN_VALUE")
        return short

    def text(self, name: str) -> str | None:
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            self.refuse(name, "it is not a text")
        return value

    def one_of(self, *names: str) -> str | None:
        """The one of these fields that is set. Raises when several are."""
        given = [name for name in names if self.has(name)]
        if len(given) > 1:
            self.refuse(given[1], f"{given[0]} is set as well; set one of them")
        return given[0] if given else None

    def finish(self) -> None:
        for name in self._values:
            if name not in self._asked:
                raise InvalidArgument(
                    f"no option is called {name!r}; there are {', '.join(sorted(self._asked))}",
                    reason="UNKNOWN_OPTION",
                    field=f"{self.path}.{name}",
                )

    def refuse(self, name: str, why: str, *, reason: str | None = None) -> NoReturn:
        """Raises InvalidArgument with the field's path."""
        field = f"{self.path}.{name}"
        raise InvalidArgument(f"{field}: {why}", reason=reason, field=field)


def enum_name(prefix: str, value: str) -> str:
    """The full name of an enum value that ``choice`` gave."""
    return f"{prefix}_{value.upper()}"


def _as_number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)  # NaN and Infinity, as protobuf's JSON spells them
        except ValueError:
            return None
    return None
