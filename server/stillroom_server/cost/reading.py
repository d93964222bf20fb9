"""Numbers of a workload's JSON, checked: what is no sensible number is refused with its field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from stillroom_registry.errors import InvalidArgument

_MOST = 2**63 - 1


def count(given: Mapping[str, Any], name: str, path: str, *, least: int = 0) -> int:
    """The integer ``given[name]``, 0 where it is missing; 64-bit integers may be strings, as JSON
    of the protocol has them. Raises InvalidArgument on ``path.name`` for one below ``least`` (and
    so, if that is above 0, for one that is missing), beyond 63 bits, or no integer."""
    field = f"{path}.{name}" if path else name
    value = given.get(name)
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        value = int(value)
    if value is None:
        value = 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value > _MOST:
        refuse(field, f"{value!r} is no integer of 63 bits")
    if value < least:
        missing = value == 0 and least == 1
        refuse(field, "it must be above 0" if missing else f"{value:,} is below {least}")
    return int(value)


def number(
    given: Mapping[str, Any], name: str, path: str, *, least: float = 0.0, above: bool = False
) -> float | None:
    """The number ``given[name]``, None where it is missing. Raises InvalidArgument on ``path.name``
    for one that is not finite, below ``least``, or, with ``above``, equal to it."""
    field = f"{path}.{name}" if path else name
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        refuse(field, f"{value!r} is not a finite number", "NOT_FINITE")
    if value < least or (above and value == least):
        refuse(field, f"{value:g} is not {'above' if above else 'at least'} {least:g}")
    return float(value)


def refuse(field: str, why: str, reason: str = "OUT_OF_RANGE") -> NoReturn:
    raise InvalidArgument(f"{field}: {why}", reason=reason, field=field)
