"""What the ledger says of late, for metrics and for estimates of transfers."""

from __future__ import annotations

import math
import statistics
import threading
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
_LATEST_TRANSFERS = 30


@dataclass(frozen=True)
class Recent:
    """Of the latest jobs of a kind, for one figure. ``ratio``: the median of what it was over what
    was estimated; ``coverage``: how many were between p10 and p90. None without a job."""

    jobs: int
    ratio: float | None
    coverage: float | None


class RecentAccuracy:
    """Read once for each entry that the ledger gets."""

    def __init__(self, ledger: Ledger, *, latest: int = LATEST_JOBS) -> None:
        self._ledger = ledger
        self._latest = latest
        self._lock = threading.Lock()
        self._newest: int | None = None
        self._found: dict[tuple[str, str], Recent] = {}

    def read(self) -> dict[tuple[str, str], Recent]:
        """By kind and figure; all of them, those without a job too."""
        with self._lock, self._ledger.database.snapshot() as connection:
            newest = connection.execute(sa.select(sa.func.max(entries.c.sequence))).scalar() or 0
            if newest != self._newest:
                self._found = {
                    (kind, figure): self._one(connection, kind, figure)
                    for kind, figure in product(KINDS, CORRECTED)
                }
                self._newest = newest
            return self._found

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
    query = (
        sa.select(entries.c.phases)
        .where(entries.c.kind.in_(_TRANSFERS), entries.c.succeeded)
        .order_by(entries.c.sequence.desc())
        .limit(_LATEST_TRANSFERS)
    )
    with ledger.database.read() as connection:
        found = connection.execute(query).scalars().all()
    rates: list[float] = []
    for phases in found:
        for phase in phases:
            taken = Resources.from_json(phase["resources"])
            moved, wall = taken.network_bytes, taken.wall_seconds
            if moved.known and wall.known and moved.numbers()[1] >= _LEAST_BYTES:
                rates.append(moved.numbers()[1] / max(wall.numbers()[1], 1e-3))
    if not rates:
        return Figure.unknown("no transfer has been measured yet")
    rates.sort()
    last = len(rates) - 1
    low, high = rates[math.floor(0.1 * last)], rates[math.ceil(0.9 * last)]
    return Figure(low, statistics.median(rates), high, Basis.CALIBRATED)
