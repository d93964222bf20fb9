"""Which ways no other is better than in everything that counts (the Pareto frontier)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillroom_server.cost.recommend.limits import middle

_INFINITE = float("inf")


def on_frontier(estimates: Sequence[Mapping[str, Any]], *, priced: bool) -> list[bool]:
    """Of each: whether none of the others is at least as good in money (seconds where nothing is
    ``priced``), quality, size of the result and latency, and better in one.

    By medians; what is unknown is worse than anything known, and as good as another unknown.
    """
    points = [_point(estimate, priced) for estimate in estimates]
    return [not any(_dominates(other, point) for other in points) for point in points]


def _point(estimate: Mapping[str, Any], priced: bool) -> tuple[float, ...]:
    """The less the better, each."""
    quality = middle(estimate, "quality")
    costs = ("money_usd" if priced else "wall_seconds", "result_bytes", "latency_seconds")
    found = [middle(estimate, name) for name in costs]
    return (
        _INFINITE if quality is None else -quality,
        *(_INFINITE if value is None else value for value in found),
    )


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
