"""Whether an estimate keeps a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillroom_server.cost.recommend.limits import Verdict, check_limit

JSON = dict[str, Any]

LIMITS = ("seconds", "memory_bytes", "result_bytes", "money_usd")
"""The fields of Budget."""


def check_budget(estimate: Mapping[str, Any], budget: Mapping[str, Any]) -> JSON:
    """The BudgetCheck of a CostEstimate, both in JSON: KEPT when the 90th percentiles keep every
    limit, EXCEEDED when any exceeds its own, else UNKNOWN: what is not known keeps no limit."""
    limits = [
        check_limit(estimate, name, float(budget[name]))
        for name in LIMITS
        if budget.get(name) is not None
    ]
    verdicts = {limit["verdict"] for limit in limits}
    worst = next((v for v in (Verdict.EXCEEDED, Verdict.UNKNOWN) if v in verdicts), Verdict.KEPT)
    return {"verdict": str(worst), "limits": limits}
