"""Ways to do the same work, as tables and a plot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stillroom import frontier
from stillroom.cli import human
from stillroom.cli.estimate_view import shown
from stillroom.costs import Candidate, Estimate, Figure, Recommendation

if TYPE_CHECKING:
    from stillroom.cli.session import Session

_COLUMNS: dict[str, tuple[Callable[[Estimate], Figure], Callable[[float], str]]] = {
    "TIME#": (lambda e: e.seconds, human.precise_duration),
    "MEMORY#": (lambda e: e.memory_bytes, lambda value: human.size(round(value))),
    "MONEY#": (lambda e: e.money_usd, human.money),
    "ENERGY#": (lambda e: e.energy_joules, human.energy),
    "QUALITY#": (lambda e: e.quality, lambda value: f"{value:.1%}"),
    "RESULT#": (lambda e: e.result_bytes, lambda value: human.size(round(value))),
    "LATENCY#": (lambda e: e.latency_seconds, human.precise_duration),
}


def show(session: Session, found: Recommendation) -> None:
    """What is recommended, what is not and why, and the frontier."""
    session.out.print(f"the best in {found.objective.replace('_', ' ')} first")
    if found.ranked:
        session.table(
            ("", "WAY", *_COLUMNS, "FRONTIER", "WHY"),
            (
                (*_row(place, item), "yes" if item.on_frontier else "", item.reason)
                for place, item in enumerate(found.ranked)
            ),
        )
    else:
        nearest = found.nearest_miss
        least = "" if nearest is None else f"; {nearest.candidate.estimate.title} misses least"
        session.out.print(f"nothing that can run here keeps all limits{least}")
    if found.rejected:
        session.out.print()
        start = len(found.ranked)
        session.table(
            ("", "REJECTED", *_COLUMNS, "WHY"),
            (
                (*_row(start + place, item.candidate), "; ".join(item.reasons))
                for place, item in enumerate(found.rejected)
            ),
        )
    lines = frontier.text(frontier.points(found))
    if lines:
        session.out.print()
        for line in lines:
            session.out.print(line)


def _row(place: int, item: Candidate) -> tuple[str, ...]:
    figures = (shown(get(item.estimate), form) for get, form in _COLUMNS.values())
    return frontier.mark(place), item.estimate.title, *figures
