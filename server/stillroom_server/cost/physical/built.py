"""What the physics of a workload come to, before prices and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stillroom_server.cost.assumptions import Assumption, Omission
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical.phase import Phase

JSON = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one has in the end, as in the protocol's Outcome; what makes no sense for the work is
    unknown, with a note."""

    result_bytes: Figure
    quality: Figure
    latency_seconds: Figure
    texts_per_second: Figure


@dataclass(frozen=True)
class Serving:
    """As in the protocol's ServingOutcome, but for the money."""

    replicas: Figure
    utilization: Figure
    median_latency_seconds: Figure
    p99_latency_seconds: Figure


@dataclass(frozen=True)
class Built:
    """``phases`` empty: there is nothing physical to say. ``paradigm`` is one of ``cost.tables``,
    None for work that belongs to none, and ``reason`` why the work counts as that.
    ``against_table``: figures of the table as the phases give them, by their names.
    ``machines``: devices that the work keeps at the same time; ``elapsed``: seconds that it
    keeps them for, where that does not follow from how busy they are."""

    title: str
    phases: tuple[Phase, ...]
    outcome: Outcome
    assumptions: tuple[Assumption, ...] = ()
    omissions: tuple[Omission, ...] = ()
    paradigm: Any = None
    reason: str = ""
    against_table: Mapping[str, Figure] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    serving: Serving | None = None
    machines: Figure | None = None
    elapsed: Figure | None = None
    not_runnable: str = ""
