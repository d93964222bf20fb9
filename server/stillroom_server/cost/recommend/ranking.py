"""Which of several ways is best: those that keep all limits, and why the others do not.

Only what this server can run is ever recommended. A table's rule of thumb is not looked at: by it a
mixture of experts, which is said to be better than full training, would always win.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stillroom_registry.errors import InvalidArgument, StillroomError
from stillroom_server.cost.recommend import wording
from stillroom_server.cost.recommend.frontier import on_frontier
from stillroom_server.cost.recommend.limits import Verdict, check_limits, middle, miss
from stillroom_server.cost.recommend.options import Objective, Options

JSON = dict[str, Any]
Tried = tuple[Mapping[str, Any], Mapping[str, Any] | None, StillroomError | None]

FIGURES = {
    Objective.MONEY: "money_usd",
    Objective.SECONDS: "wall_seconds",
    Objective.ENERGY: "energy_joules",
    Objective.QUALITY: "quality",
    Objective.RESULT_SIZE: "result_bytes",
    Objective.LATENCY: "latency_seconds",
}
_TIES = ("money_usd", "wall_seconds", "peak_memory_bytes")
_MISSING = frozenset({"CORPUS_REQUIRED", "CORPUS_TOO_SMALL", "SOURCE_REQUIRED"})
_INFINITE = float("inf")


@dataclass
class _Way:
    """A candidate on its way to an answer. ``place``: in the order in which they were tried."""

    place: int
    workload: Mapping[str, Any]
    estimate: Mapping[str, Any]
    checks: list[JSON] = field(default_factory=list)
    rejections: list[JSON] = field(default_factory=list)
    frontier: bool = False

    @property
    def possible(self) -> bool:
        """Whether it could be run as it is, were there no limits."""
        never = ("NOT_RUNNABLE", "MISSING_INPUT")
        return not any(str(each["kind"]).endswith(never) for each in self.rejections)


def rank(tried: Sequence[Tried], options: Mapping[str, Any] | Options) -> JSON:
    """The protocol's Recommendation in JSON, out of (workload, estimate, error) of each candidate:
    its CostEstimate, or what kept it from being made.

    A way that the request's own checks find invalid (a dimension that the teacher does not have) is
    none, and left out. Raises InvalidArgument on a field of ``options``.
    """
    wanted = options if isinstance(options, Options) else Options.from_json(options)
    ways = [way for place, each in enumerate(tried) if (way := _way(place, each, wanted))]
    running = [way for way in ways if way.possible]
    priced = any(middle(way.estimate, "money_usd") is not None for way in running)
    objective = wanted.objective or (Objective.MONEY if priced else Objective.SECONDS)
    for way, best in zip(
        running, on_frontier([way.estimate for way in running], priced=priced), strict=True
    ):
        way.frontier = best
    kept = sorted(
        (way for way in ways if not way.rejections), key=lambda way: _order(way, objective)
    )
    rejected = sorted(
        (way for way in ways if way.rejections), key=lambda way: _badness(way, objective)
    )
    result: JSON = {
        "ranked": [
            _candidate(way, wording.standing(way.estimate, kept[0].estimate, objective, len(kept)))
            for way in kept[: wanted.max_candidates]
        ],
        "rejected": [
            {
                "candidate": _candidate(way, way.rejections[0]["message"]),
                "rejections": way.rejections,
            }
            for way in rejected
        ],
        "objective": str(objective),
    }
    if not kept and rejected and _judged(rejected[0]):
        result["nearest_miss"] = 0
    return result


def _way(place: int, tried: Tried, wanted: Options) -> _Way | None:
    workload, estimate, error = tried
    if estimate is None:
        return _failed(place, workload, error)
    way = _Way(place, workload, estimate)
    if not estimate.get("runnable"):
        reason = estimate.get("not_runnable_reason") or "this server cannot run it"
        way.rejections.append(_rejection("NOT_RUNNABLE", str(reason)))
        return way
    fit = estimate.get("memory_fit") or {}
    if fit.get("verdict") == Verdict.EXCEEDED:
        message = wording.does_not_fit(estimate, fit.get("available_bytes"))
        way.rejections.append(_rejection("DOES_NOT_FIT", message))
    way.checks = check_limits(estimate, wanted.limits)
    for check in way.checks:
        if check["verdict"] == Verdict.EXCEEDED:
            way.rejections.append(_rejection("OVER_LIMIT", wording.exceeded(check), check))
        elif check["verdict"] == Verdict.UNKNOWN:
            way.rejections.append(_rejection("UNKNOWN_FIGURE", wording.unknown(check), check))
    return way


def _failed(place: int, workload: Mapping[str, Any], error: StillroomError | None) -> _Way | None:
    """What could not be estimated: for want of something that the request does not give, or as this
    server cannot do it. What is wrong in itself is no way."""
    if error is None:
        return None
    if error.reason in _MISSING:
        kind = "MISSING_INPUT"
    elif isinstance(error, InvalidArgument):
        return None
    else:
        kind = "NOT_RUNNABLE"
    estimate: JSON = {
        "kind": wording.kind(workload),
        "title": wording.title(workload),
        "runnable": kind == "MISSING_INPUT",
    }
    if kind == "NOT_RUNNABLE":
        estimate["not_runnable_reason"] = error.message
    return _Way(place, workload, estimate, rejections=[_rejection(kind, error.message)])


def _order(way: _Way, objective: Objective) -> tuple[float, ...]:
    first = _cost(way, FIGURES[objective])
    return (first, *(_cost(way, name) for name in _TIES), way.place)


def _cost(way: _Way, name: str) -> float:
    """The less the better, what is unknown last."""
    value = middle(way.estimate, name)
    if value is None:
        return _INFINITE
    return -value if name == "quality" else value


def _badness(way: _Way, objective: Objective) -> tuple[float, ...]:
    """Those first that miss least; then what cannot be judged, what lacks something, and what this
    server cannot run."""
    kinds = {str(each["kind"]).removeprefix("REJECTION_KIND_") for each in way.rejections}
    groups = ("NOT_RUNNABLE", "MISSING_INPUT", "UNKNOWN_FIGURE")
    group = next((3.0 - index for index, kind in enumerate(groups) if kind in kinds), 0.0)
    return (group, _worst(way), *_order(way, objective))


def _worst(way: _Way) -> float:
    exceeded = [miss(each) for each in way.checks if each["verdict"] == Verdict.EXCEEDED]
    fit = way.estimate.get("memory_fit") or {}
    if fit.get("verdict") == Verdict.EXCEEDED:
        exceeded.append(wording.over_memory(way.estimate, fit.get("available_bytes")))
    return max(exceeded, default=0.0)


def _judged(way: _Way) -> bool:
    return _badness(way, Objective.SECONDS)[0] == 0.0


def _rejection(kind: str, message: str, limit: JSON | None = None) -> JSON:
    said: JSON = {"kind": f"REJECTION_KIND_{kind}", "message": message}
    return said if limit is None else {**said, "limit": limit}


def _candidate(way: _Way, reason: str) -> JSON:
    return {
        "workload": dict(way.workload),
        "estimate": dict(way.estimate),
        "on_frontier": way.frontier,
        "reason": reason,
    }
