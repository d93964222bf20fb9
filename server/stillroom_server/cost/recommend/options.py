"""What a recommendation must keep to, and what it prefers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from stillroom_registry.errors import InvalidArgument

_MOST_CANDIDATES = 100
_DEFAULT_CANDIDATES = 20
_MOST_QUALITY = 1.5
BUDGET_LIMITS = ("seconds", "memory_bytes", "result_bytes", "money_usd")


class Objective(StrEnum):
    """Values as in the protocol's RecommendationObjective."""

    MONEY = "RECOMMENDATION_OBJECTIVE_MONEY"
    SECONDS = "RECOMMENDATION_OBJECTIVE_SECONDS"
    ENERGY = "RECOMMENDATION_OBJECTIVE_ENERGY"
    QUALITY = "RECOMMENDATION_OBJECTIVE_QUALITY"
    RESULT_SIZE = "RECOMMENDATION_OBJECTIVE_RESULT_SIZE"
    LATENCY = "RECOMMENDATION_OBJECTIVE_LATENCY"


@dataclass(frozen=True)
class Options:
    """``limits`` by the name of the field that sets each, in its unit. ``objective`` None: money,
    or seconds where no price is known. At most ``max_candidates`` are ranked."""

    limits: Mapping[str, float]
    objective: Objective | None = None
    max_candidates: int = _DEFAULT_CANDIDATES

    @classmethod
    def from_json(cls, given: Mapping[str, Any], field: str = "recommend") -> Options:
        """From the JSON of the protocol's RecommendationOptions. Raises InvalidArgument on a field
        that begins with ``field``."""
        limits = {}
        for name in BUDGET_LIMITS:
            value = (given.get("budget") or {}).get(name)
            if value is not None:
                limits[name] = _positive(value, f"{field}.budget.{name}")
        if (quality := given.get("minimum_quality")) is not None:
            if not 0 <= _number(quality, f"{field}.minimum_quality") <= _MOST_QUALITY:
                raise InvalidArgument(
                    f"a quality of {quality:g} is not between 0 and {_MOST_QUALITY:g}",
                    field=f"{field}.minimum_quality",
                )
            limits["minimum_quality"] = float(quality)
        name = "maximum_latency_seconds"
        if (latency := given.get(name)) is not None:
            limits[name] = _positive(latency, f"{field}.{name}")
        return cls(limits, _objective(given, field), _count(given, field))


def _objective(given: Mapping[str, Any], field: str) -> Objective | None:
    value = given.get("objective")
    if value is None or value == "RECOMMENDATION_OBJECTIVE_UNSPECIFIED":
        return None
    try:
        return Objective(value)
    except ValueError:
        raise InvalidArgument(
            f"{value!r} is no objective; choose one of {', '.join(Objective)}",
            reason="UNKNOWN_VALUE",
            field=f"{field}.objective",
        ) from None


def _count(given: Mapping[str, Any], field: str) -> int:
    count = int(given.get("max_candidates") or 0)
    if not 0 <= count <= _MOST_CANDIDATES:
        raise InvalidArgument(
            f"{count:,} candidates cannot be ranked; give 1 to {_MOST_CANDIDATES}, or leave it out",
            field=f"{field}.max_candidates",
        )
    return count or _DEFAULT_CANDIDATES


def _positive(value: object, field: str) -> float:
    number = _number(value, field)
    if number <= 0:
        raise InvalidArgument(
            f"a limit of {number:g} keeps everything out; give one above 0, or leave it out",
            field=field,
        )
    return number


def _number(value: object, field: str) -> float:
    """Integers of 64 bits may be strings, as protobuf writes them."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidArgument(f"{value!r} is no finite number", reason="NOT_FINITE", field=field)
    return number
