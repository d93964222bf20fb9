"""Estimates, counters and work for the tests of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from stillroom_server.cost.figures import Basis, Figure, Resources
from stillroom_server.cost.ledger.ledger import Work

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def estimate_of(kind: str = "distill", **figures: Figure | float) -> dict[str, Any]:
    """A CostEstimate in JSON; a number is a median with a factor of two on each side."""
    total = {
        name: value
        if isinstance(value, Figure)
        else Figure.around(value, 0.5, 2.0, Basis.CALIBRATED)
        for name, value in figures.items()
    }
    return {
        "kind": kind,
        "title": "STATIC, 256 dimensions",
        "physical": {"total": Resources(**total).to_json(), "device": "devices/host"},
    }


def measured_of(**figures: float) -> Resources:
    return Resources(
        **{name: Figure.exact(value, Basis.MEASURED) for name, value in figures.items()}
    )


def work_of(
    said: float = 10.0,
    took: float = 10.0,
    *,
    kind: str = "embed",
    at: float = 0.0,
    **more: Any,
) -> Work:
    """Work that was said to take ``said`` seconds and took ``took``, from ``at`` seconds on."""
    start = START + timedelta(seconds=at)
    return Work(
        kind=kind,
        estimate=estimate_of(kind, wall_seconds=said),
        measured=measured_of(wall_seconds=took),
        start_time=start,
        end_time=start + timedelta(seconds=took),
        **more,
    )


class FakeCounters:
    """Counters that a test sets."""

    def __init__(self) -> None:
        self.cpu = 5.0
        self.now: int | None = 100
        self.peak: int | None = 100
        self.waited: float | None = 1.0
        self.resets = 0

    def cpu_seconds(self) -> float:
        return self.cpu

    def reset_peak_memory(self) -> None:
        self.resets += 1
        self.peak = self.now

    def memory(self) -> int | None:
        return self.now

    def peak_memory(self) -> int | None:
        return self.peak

    def waited_seconds(self) -> float | None:
        return self.waited
