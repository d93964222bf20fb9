"""How right estimates were."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_registry.names import shown
from stillroom_registry.pages import make_token, page_limit, read_token
from stillroom_server.cost.figures import FIGURES
from stillroom_server.cost.ledger.ledger import JSON, KINDS, Ledger
from stillroom_server.cost.ledger.schema import entries
from stillroom_server.cost.ledger.scores import Pair, read_pairs

_MAX_SEQUENCE = 2**63 - 1
_OPERATIONS = "operations/"


def summary(pairs: Sequence[Pair]) -> JSON:
    """The numbers of an EstimateAccuracy; of at least one job.

    Each job is judged by the interval it was given beforehand, so none of them by one that already
    knew it.
    """
    ratios = [math.log(pair.actual / pair.p50) for pair in pairs]
    widths = [pair.p90 / pair.p10 for pair in pairs if pair.p10 > 0]
    within = sum(pair.p10 <= pair.actual <= pair.p90 for pair in pairs)
    under = sum(pair.actual > 1.1 * pair.p50 for pair in pairs)
    said: JSON = {
        "jobs": len(pairs),
        "median_absolute_log_ratio": statistics.median(map(abs, ratios)),
        "median_log_ratio": statistics.median(ratios),
        "interval_coverage": within / len(pairs),
        "underestimated_share": under / len(pairs),
    }
    if len(widths) == len(pairs):
        said["median_interval_ratio"] = statistics.median(widths)
    return said


def accuracy(
    ledger: Ledger,
    *,
    kind: str = "",
    start_time: datetime | None = None,
    operation: str = "",
    page_size: int = 0,
    page_token: str = "",
) -> JSON:
    """A GetEstimateAccuracyResponse in JSON.

    Raises InvalidArgument (fields kind, page_size, page_token), and NotFound (field operation) for
    an operation that the ledger does not have.
    """
    size = page_limit(page_size) if page_size else 0
    listing = json.dumps(["ledger", kind, start_time and start_time.isoformat(), operation])
    before = read_token(listing, page_token, int)
    with ledger.database.snapshot() as connection:
        if kind:
            _check_kind(connection, kind)
        sequence = _sequence(connection, operation) if operation else None
        pairs = read_pairs(connection, kind=kind, since=start_time, sequence=sequence)
        rows: Sequence[sa.Row[Any]] = []
        if size:
            query = sa.select(entries).order_by(entries.c.sequence.desc()).limit(size + 1)
            if kind:
                query = query.where(entries.c.kind == kind)
            if start_time is not None:
                query = query.where(entries.c.end_time >= start_time)
            if sequence is not None:
                query = query.where(entries.c.sequence == sequence)
            if before is not None:
                query = query.where(entries.c.sequence < min(before, _MAX_SEQUENCE))
            rows = connection.execute(query).all()
    page = rows[:size]
    return {
        "accuracies": [
            {
                "kind": key[0],
                "figure": key[1],
                **summary(found),
                "intervals": ledger.intervals.basis(*key),
            }
            for key, found in sorted(pairs.items(), key=lambda item: _place(item[0]))
        ],
        "entries": [_entry(row) for row in page],
        "next_page_token": make_token(listing, page[-1].sequence) if len(rows) > size > 0 else "",
    }


def time_json(time: datetime) -> str:
    """As the protocol's Timestamp in JSON."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _entry(row: sa.Row[Any]) -> JSON:
    said: JSON = {
        "operation": f"{_OPERATIONS}{row.operation}" if row.operation else "",
        "kind": row.kind,
        "measured": row.measured,
        "measured_phases": row.phases,
        "attempts": row.attempts,
        "succeeded": bool(row.succeeded),
        "start_time": time_json(row.start_time),
        "end_time": time_json(row.end_time),
    }
    if row.estimate is not None:
        said["estimate"] = row.estimate
    if row.contention is not None:
        said["contention"] = row.contention
    return said


def _sequence(connection: sa.Connection, operation: str) -> int:
    name = operation.removeprefix(_OPERATIONS)
    found: int | None = connection.execute(
        sa.select(entries.c.sequence).where(entries.c.operation == name)
    ).scalar_one_or_none()
    if found is None:
        raise NotFound(
            f"The ledger has no operation {shown(operation)}: it has not ended yet, it never ran, "
            "or that is too long ago.",
            reason="NOT_IN_LEDGER",
            field="operation",
            metadata={"operation": operation[:256]},
        )
    return found


def _check_kind(connection: sa.Connection, kind: str) -> None:
    if kind in KINDS:
        return
    mine = sa.select(entries.c.sequence).where(entries.c.kind == kind)
    if connection.execute(mine.limit(1)).first() is None:
        raise InvalidArgument(
            f"There is no kind of work {shown(kind)}; use one of {', '.join(sorted(KINDS))}.",
            reason="BAD_KIND",
            field="kind",
        )


def _place(key: tuple[str, str]) -> tuple[str, int]:
    """By kind, then in the order of ResourceFigures."""
    return key[0], FIGURES.index(key[1])
