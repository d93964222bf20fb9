"""Whether an estimate keeps limits: at its 90th percentile, a least quality at its 10th."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

JSON = dict[str, Any]
Estimate = Mapping[str, Any]

FIGURE_OF = {
    "seconds": "wall_seconds",
    "memory_bytes": "peak_memory_bytes",
    "money_usd": "money_usd",
    "result_bytes": "result_bytes",
    "minimum_quality": "quality",
    "maximum_latency_seconds": "latency_seconds",
}
"""By the field that sets a limit: the figure that must keep it."""

_OUTCOME = frozenset({"result_bytes", "quality", "latency_seconds"})
_UNKNOWN: JSON = {"basis": "COST_BASIS_UNKNOWN"}


class Verdict(StrEnum):
    """Values as in the protocol's Verdict."""

    KEPT = "VERDICT_KEPT"
    EXCEEDED = "VERDICT_EXCEEDED"
    UNKNOWN = "VERDICT_UNKNOWN"


def figure(estimate: Estimate, name: str) -> JSON:
    """The CostFigure of this name: of the outcome, else of the total; unknown where there is
    none."""
    part: Mapping[str, Any] = estimate.get("outcome") or {}
    if name not in _OUTCOME:
        part = (estimate.get("physical") or {}).get("total") or {}
    return dict(part.get(name) or _UNKNOWN)


def middle(estimate: Estimate, name: str) -> float | None:
    """The 50th percentile of that figure; None where it is unknown."""
    value = figure(estimate, name).get("p50")
    return None if value is None else float(value)


def check_limit(estimate: Estimate, limit: str, value: float) -> JSON:
    """The protocol's LimitCheck in JSON. ``limit`` is a key of ``FIGURE_OF``."""
    found = figure(estimate, FIGURE_OF[limit])
    lower = limit == "minimum_quality"
    deciding = found.get("p10" if lower else "p90")
    said: JSON = {"limit": limit, "value": value, "estimate": found}
    if deciding is None:
        return {**said, "verdict": str(Verdict.UNKNOWN)}
    kept = deciding >= value if lower else deciding <= value
    said["verdict"] = str(Verdict.KEPT if kept else Verdict.EXCEEDED)
    over, under = (value, deciding) if lower else (deciding, value)
    if under > 0:
        said["ratio"] = over / under
    elif over == 0:
        said["ratio"] = 0.0
    return said


def check_limits(estimate: Estimate, limits: Mapping[str, float]) -> list[JSON]:
    """Of each limit that is set; and those of the workload's own budget that it does not keep, as a
    way that its budget refuses cannot be sent as it is."""
    checks = [check_limit(estimate, name, value) for name, value in limits.items()]
    own = (estimate.get("budget_check") or {}).get("limits") or ()
    return checks + [
        dict(check) for check in own if check.get("verdict") != Verdict.KEPT and check not in checks
    ]


def miss(check: Mapping[str, Any]) -> float:
    """By how much a limit is missed: infinite where nothing would do."""
    ratio = check.get("ratio")
    return float("inf") if ratio is None else float(ratio)
