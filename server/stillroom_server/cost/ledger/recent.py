"""What the ledger says of late, for metrics and for estimates of transfers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import sqlalchemy as sa

from stillroom_server.cost.figures import Basis, Figure, Resources
from stillroom_server.cost.ledger.intervals import CORRECTED, LATEST_JOBS
from stillroom_server.cost.ledger.ledger import KINDS, Ledger
from stillroom_server.cost.ledger.schema import entries
from stillroom_server.cost.ledger.scores import read_latest

_TRANSFERS = ("import", "pull", "push")
_LEAST_BYTES = 1_000_000  # below, it is the handshakes that are measured
_LATEST_TRANSFERS = 10  # of a kind


@dataclass(frozen=True)
class Recent:
    """Of the latest jobs of a kind, for one figure. ``ratio``: the median of what it was over what
    was estimated; ``coverage``: how many were between p10 and p90. None without a job."""

    jobs: int
    ratio: float | None
    coverage: float | None


class RecentAccuracy:
    """Of the ``latest`` jobs of each kind."""

    def __init__(self, ledger: Ledger, *, latest: int = LATEST_JOBS) -> None:
        self._ledger = ledger
        self._latest = latest

    def read(self) -> dict[tuple[str, str], Recent]:
        """By kind and figure; all of them, those without a job too."""
        return self._ledger.remembered(("recent", self._latest), self._all)

    def _all(self, connection: sa.Connection) -> dict[tuple[str, str], Recent]:
        return {
            (kind, figure): self._one(connection, kind, figure)
            for kind, figure in product(KINDS, CORRECTED)
        }

    def _one(self, connection: sa.Connection, kind: str, figure: str) -> Recent:
        pairs = read_latest(connection, kind, figure, self._latest)
        if not pairs:
            return Recent(0, None, None)
        ratio = math.exp(statistics.median(math.log(pair.actual / pair.p50) for pair in pairs))
        within = sum(pair.p10 <= pair.actual <= pair.p90 for pair in pairs)
        return Recent(len(pairs), ratio, within / len(pairs))


def network_rate(ledger: Ledger) -> Figure:
    """Bytes a second between this host and the Hub, as earlier transfers showed; UNKNOWN before
    the first."""
    return ledger.remembered("network rate", _network_rate)


def _network_rate(connection: sa.Connection) -> Figure:
    rates = sorted(rate for kind in _TRANSFERS for rate in _rates(connection, kind))
    if not rates:
        return Figure.unknown("no transfer has been measured yet")
    last = len(rates) - 1
    low, high = rates[math.floor(0.1 * last)], rates[math.ceil(0.9 * last)]
    return Figure(low, statistics.median(rates), high, Basis.CALIBRATED)


def _rates(connection: sa.Connection, kind: str) -> Iterator[float]:
    found = connection.execute(
        sa.select(entries.c.phases)
        .where(entries.c.kind == kind, entries.c.succeeded)
        .order_by(entries.c.sequence.desc())
        .limit(_LATEST_TRANSFERS)
    )
    for phases in found.scalars():
        for phase in phases:
            taken = Resources.from_json(phase["resources"])
            moved, wall = taken.network_bytes, taken.wall_seconds
            if moved.known and wall.known and moved.numbers()[1] >= _LEAST_BYTES:
                yield moved.numbers()[1] / max(wall.numbers()[1], 1e-3)
