"""Whether work keeps its budget: judged before the operation is made, by its estimate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.recipes.auto import AutoOptions
from stillroom_server.distillation.recipes.candidates import candidates
from stillroom_server.operations.model import Json
from stillroom_server.rpc import cost_messages
from stillroom_server.rpc.errors import Detailed
from stillroom_server.rpc.estimates import Estimate, Estimates

_LEAST_TRAINING = 0.2  # of what it would take in full: with less, it is not worth starting
_TRIES = 3
_UNITS = {"seconds": "s", "memory_bytes": "bytes", "result_bytes": "bytes", "money_usd": "US$"}


class BudgetExceeded(FailedPrecondition, Detailed):
    """The 90th percentile of an estimate exceeds a limit, or is not known. ``detail``: the
    estimate, as far as trailers have room for it."""

    def __init__(self, estimate: Estimate) -> None:
        missed = [limit for limit in limits_of(estimate) if limit["verdict"] != "VERDICT_KEPT"]
        said = "; ".join(map(_said, missed))
        super().__init__(
            f"the work is not sure to keep its budget: {said}. Allow more, or ask for less",
            reason="BUDGET_EXCEEDED",
            field=f"budget.{missed[0]['limit']}" if missed else "budget",
            metadata={limit["limit"]: _figure(limit) for limit in missed},
        )
        self.detail: Message = cost_messages.short(estimate)


class Budgets:
    """Judges operations by the estimates of their bodies."""

    def __init__(self, estimates: Estimates) -> None:
        self._estimates = estimates

    def judged(self, kind: str, body: Json, *, needed: bool) -> tuple[Json, Estimate | None]:
        """The operation's request, with what a budget decided, and its estimate; None where there
        is none and nobody ``needed`` one. Raises BudgetExceeded; with a budget, or where it is
        needed, also what keeps the estimate from being made."""
        budget = body.get("budget")
        if budget:
            chosen, estimate = self.fitting(kind, body, budget)
            if not keeps(estimate):
                raise BudgetExceeded(estimate)
            return chosen, estimate
        if needed:
            return body, self._estimates.of(kind, body)
        return body, self._estimates.quietly(kind, body)

    def fitting(
        self, kind: str, body: Json, budget: Json, **estimating: Any
    ) -> tuple[Json, Estimate]:
        """What keeps ``budget`` of the ways that ``body`` leaves open, the best first; where none
        does, the one that misses it least. ``estimating`` goes to ``Estimates.of``."""
        nearest: tuple[float, Json, Estimate] | None = None
        for way in self._ways(kind, body, budget, estimating):
            estimate = self._estimates.of(kind, way, budget=budget, **estimating)
            if keeps(estimate):
                return way, estimate
            shorter = self._shortened(kind, way, estimate, budget, estimating)
            if shorter is not None:
                return shorter
            miss = _miss(estimate)
            if nearest is None or miss < nearest[0]:
                nearest = miss, way, estimate
        assert nearest is not None
        return nearest[1], nearest[2]

    def _ways(
        self, kind: str, body: Json, budget: Json, estimating: Mapping[str, Any]
    ) -> Iterator[Json]:
        from stillroom_server.cost.workloads import DistillWork

        auto = (body.get("recipe") or {}).get("auto") if kind == "distill" else None
        if auto is None:
            yield body
            return
        texts, widest = 0.0, None
        work = self._estimates.works.of(
            kind, body, **{name: estimating[name] for name in ("described",) if name in estimating}
        )
        if isinstance(work, DistillWork):
            unseen = math.inf if body.get("corpus") else 0.0
            texts = work.data.texts.value if work.data.texts else unseen
            widest = work.teacher.dimensions if work.teacher else None
        few = "result_bytes" in budget
        asked = AutoOptions.from_json(auto)
        for recipe, options in candidates(asked, texts, few_bytes=few, widest=widest):
            yield {**body, "recipe": {recipe: options.to_json()}}

    def _shortened(
        self,
        kind: str,
        body: Json,
        estimate: Estimate,
        budget: Json,
        estimating: Mapping[str, Any],
    ) -> tuple[Json, Estimate] | None:
        """The same with a limit to its training, where only all of it would take too long."""
        tuned = (body.get("recipe") or {}).get("static_tuned") if kind == "distill" else None
        seconds = budget.get("seconds")
        missed = [each for each in limits_of(estimate) if each["verdict"] != "VERDICT_KEPT"]
        if tuned is None or seconds is None or [each["limit"] for each in missed] != ["seconds"]:
            return None
        whole, training = _seconds(estimate, "p90"), _training(estimate, "p90")
        if whole is None or training is None:
            return None
        least = _LEAST_TRAINING * (_training(estimate, "p50") or 0.0)
        left = seconds - (whole - training)
        for _ in range(_TRIES):
            if not left > least:
                return None
            options = {**tuned, "time_budget_seconds": left}
            shorter = {**body, "recipe": {"static_tuned": options}}
            found = self._estimates.of(kind, shorter, budget=budget, **estimating)
            if keeps(found):
                return shorter, found
            takes = _seconds(found, "p90")
            if takes is None:
                return None
            # Seconds of training at most are more seconds at the 90th percentile.
            wider = max(1.0, (_training(found, "p90") or 0.0) / left)
            left -= (takes - seconds) / wider + 0.01 * left
        return None


def limits_of(estimate: Estimate) -> list[dict[str, Any]]:
    """The limits that an estimate was compared with."""
    return list((estimate.get("budget_check") or {}).get("limits") or ())


def keeps(estimate: Estimate) -> bool:
    """Whether all limits are kept."""
    return all(limit["verdict"] == "VERDICT_KEPT" for limit in limits_of(estimate))


def _miss(estimate: Estimate) -> float:
    """By how much the worst limit is missed; what cannot be judged comes last."""
    ratios = [limit.get("ratio") for limit in limits_of(estimate)]
    return max((math.inf if ratio is None else ratio for ratio in ratios), default=0.0)


def _seconds(estimate: Estimate, percentile: str) -> float | None:
    total = (estimate.get("physical") or {}).get("total") or {}
    return (total.get("wall_seconds") or {}).get(percentile)


def _training(estimate: Estimate, percentile: str) -> float | None:
    for phase in (estimate.get("physical") or {}).get("phases") or ():
        if phase["phase"] == "train":
            return (phase["resources"].get("wall_seconds") or {}).get(percentile)
    return None


def _said(limit: Mapping[str, Any]) -> str:
    unit = _UNITS.get(limit["limit"], "")
    return f"{limit['limit']} {_figure(limit)} {unit} of {limit['value']:.6g}"


def _figure(limit: Mapping[str, Any]) -> str:
    p90 = (limit.get("estimate") or {}).get("p90")
    if p90 is not None:
        return f"up to {p90:.6g}"
    note = (limit.get("estimate") or {}).get("note") or ""
    return f"unknown ({note})" if note else "unknown"
