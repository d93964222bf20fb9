"""What a recommendation says to people, in units that they use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillroom_server.cost.recommend.limits import figure, middle
from stillroom_server.cost.recommend.options import Objective

Estimate = Mapping[str, Any]

_BEST = {
    Objective.MONEY: "the least money",
    Objective.SECONDS: "the shortest time",
    Objective.ENERGY: "the least energy",
    Objective.QUALITY: "the best quality",
    Objective.RESULT_SIZE: "the smallest result",
    Objective.LATENCY: "the fastest result",
}
# By objective: the figure, what more of it is, and what less.
_COMPARED = {
    Objective.MONEY: ("money_usd", "the money", "cheaper"),
    Objective.SECONDS: ("wall_seconds", "the time", "quicker to make"),
    Objective.ENERGY: ("energy_joules", "the energy", "less energy"),
    Objective.RESULT_SIZE: ("result_bytes", "the size", "smaller"),
    Objective.LATENCY: ("latency_seconds", "the latency", "faster to serve"),
}
_HELP = {
    "seconds": "allow more, or give fewer texts, epochs or dimensions",
    "memory_bytes": "allow more, or give fewer texts or dimensions",
    "money_usd": "allow more, or choose a cheaper device",
    "result_bytes": "allow more, or ask for fewer dimensions or a smaller element type",
    "minimum_quality": "ask for less, or give more texts, dimensions or layers",
    "maximum_latency_seconds": "allow more, or choose a static recipe",
}
_UNKNOWN_HELP = {
    "seconds": "calibrate, or say what the data are like",
    "money_usd": "say what an hour costs (environment.price_usd_per_hour)",
}
_SAID = {
    "seconds": "time",
    "memory_bytes": "memory",
    "money_usd": "money",
    "result_bytes": "size of the result",
    "minimum_quality": "quality",
    "maximum_latency_seconds": "latency",
}
_FEW = 1.005  # what is nearer than that is alike


def standing(estimate: Estimate, first: Estimate, objective: Objective, count: int) -> str:
    """Why a way that keeps all limits stands where it does, beside the first of ``count``."""
    if estimate is first:
        several = f" of {count} that keep all limits" if count > 1 else ""
        if _value(estimate, objective) is None:
            return f"its figures are unknown, as those of all others{several}"
        return f"{_BEST[objective]}{several}"
    parts = [_behind(estimate, first, objective)]
    better = _better(estimate, first, objective)
    if better:
        parts.append("but " + ", ".join(better))
    return "; ".join(parts)


def _behind(estimate: Estimate, first: Estimate, objective: Objective) -> str:
    mine, best = _value(estimate, objective), _value(first, objective)
    if mine is None:
        return "what decides is unknown of it"
    if objective is Objective.QUALITY:
        same = best is not None and best <= mine * _FEW
        return "about the quality of the first" if same else f"quality {mine:.3g}"
    name = _COMPARED[objective][1]
    if not best:
        return f"{name} of the first is 0"
    if mine <= best * _FEW:
        return f"about {name} of the first"
    return f"{mine / best:.3g} times {name} of the first"


def _better(estimate: Estimate, first: Estimate, objective: Objective) -> list[str]:
    found = []
    mine, best = middle(estimate, "quality"), middle(first, "quality")
    if mine is not None and best is not None and mine > best * _FEW:
        found.append(f"better (quality {mine:.3g} rather than {best:.3g})")
    for other, (name, _, word) in _COMPARED.items():
        if other in (objective, Objective.ENERGY):
            continue
        mine, best = middle(estimate, name), middle(first, name)
        if mine is not None and best is not None and mine * _FEW < best:
            found.append(word)
    return found


def _value(estimate: Estimate, objective: Objective) -> float | None:
    if objective is Objective.QUALITY:
        return middle(estimate, "quality")
    return middle(estimate, _COMPARED[objective][0])


def exceeded(check: Mapping[str, Any]) -> str:
    """Of a limit that is exceeded, and what would help."""
    limit, value = str(check["limit"]), float(check["value"])
    lower = limit == "minimum_quality"
    deciding = float(check["estimate"]["p10" if lower else "p90"])
    asked = "asked for" if lower else "allowed"
    return (
        f"{_SAID.get(limit, limit)}: one time in ten {shown(limit, deciding)} or"
        f" {'less' if lower else 'more'}, where {shown(limit, value)} is {asked};"
        f" {_HELP.get(limit, 'allow more')}"
    )


def unknown(check: Mapping[str, Any]) -> str:
    """Of a limit that cannot be judged, and what would help."""
    limit = str(check["limit"])
    note = check["estimate"].get("note") or _UNKNOWN_HELP.get(limit) or "leave the limit out"
    return f"{_SAID.get(limit, limit)} is unknown, so no limit can be kept: {note}"


def does_not_fit(estimate: Estimate, available: Any) -> str:
    """Of a way that the device has no memory for."""
    peak = figure(estimate, "peak_memory_bytes").get("p90")
    needs = "more memory" if peak is None else shown("memory_bytes", peak)
    has = "" if available is None else f" of {shown('memory_bytes', float(available))}"
    return (
        f"it needs {needs}, beyond the memory{has} that the device has; choose a larger device, or"
        " give fewer texts or dimensions"
    )


def over_memory(estimate: Estimate, available: Any) -> float:
    """Peak memory over what the device has; infinite where either is unknown."""
    peak = figure(estimate, "peak_memory_bytes").get("p90")
    if peak is None or not available:
        return float("inf")
    return float(peak) / float(available)


def shown(limit: str, value: float) -> str:
    """A value of a limit with its unit."""
    if limit.endswith("_bytes"):
        for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if value >= size:
                return f"{value / size:.3g} {unit}"
        return f"{value:.0f} bytes"
    if limit == "money_usd":
        return f"${value:.3g}"
    if limit == "seconds" and value >= 120:
        hours, rest = divmod(round(value), 3600)
        minutes, seconds = divmod(rest, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
    if limit.endswith("seconds"):
        return f"{value * 1e3:.3g} ms" if value < 0.1 else f"{value:.3g} s"
    return f"{value:.3g}"


def kind(workload: Mapping[str, Any]) -> str:
    """As in CostEstimate.kind."""
    return next(iter(workload), "")


def title(workload: Mapping[str, Any]) -> str:
    """Of a way that has no estimate: its recipe."""
    request = workload.get("distill") or {}
    recipes = ("static", "static_tuned", "transformer", "quantize")
    recipe = next((name for name in recipes if name in request), None)
    return recipe.upper() if recipe else kind(workload)
