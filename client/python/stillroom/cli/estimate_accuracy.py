"""How right estimates were, as tables."""

from __future__ import annotations

import math
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from stillroom.cli import human
from stillroom.cli.estimate_view import shown
from stillroom.cli.operations import full_name
from stillroom.costs import Figure
from stillroom.errors import InvalidArgument

if TYPE_CHECKING:
    from stillroom.cli.session import Session
    from stillroom.v1 import cost_service_pb2 as pb


def show(
    session: Session,
    kind: str | None,
    operation: str | None,
    since: str | None,
    entries: int,
) -> None:
    """The summary, and the last ``entries`` jobs with what they took."""
    chosen: dict[str, Any] = {
        "kind": kind,
        "operation": operation and full_name(operation),
        "since": _moment(since),
    }
    with session.client() as client:
        found = client.estimate_accuracy(**chosen)
        page_size = min(entries, 1000)
        jobs = (
            list(islice(client.estimate_ledger(**chosen, page_size=page_size), entries))
            if entries
            else []
        )
    if session.json_output:
        from stillroom.cli.plain import plain

        session.emit(
            {
                "accuracies": [plain(item) for item in found],
                "entries": [plain(job) for job in jobs],
            }
        )
        return
    if not found and not jobs:
        session.say("nothing with an estimate has run yet")
    if found:
        session.table(
            ("KIND", "FIGURE", "JOBS#", "OFF BY#", "TOO LOW BY#", "WITHIN#", "WIDTH#", "RANGES"),
            (_accuracy(item) for item in found),
        )
        session.say(
            "off by: in the median, as a factor. within: share of jobs between the 10th and the"
            " 90th percentile. width: the 90th over the 10th."
        )
    if jobs:
        session.out.print()
        session.table(
            ("OPERATION", "KIND", "ENDED", "SUCCEEDED", "EXPECTED#", "TOOK#", "MEMORY#", "USED#"),
            (_entry(job) for job in jobs),
        )


def _accuracy(item: pb.EstimateAccuracy) -> tuple[str, ...]:
    needed = item.intervals.needed_jobs
    ranges = "of these jobs" if item.intervals.from_ledger else f"assumed until {needed:,} jobs"
    return (
        item.kind,
        item.figure,
        f"{item.jobs:,}",
        f"{math.exp(item.median_absolute_log_ratio):.2f}",
        f"{math.exp(item.median_log_ratio):.2f}",
        f"{item.interval_coverage:.0%}",
        f"{item.median_interval_ratio:.2f}" if item.HasField("median_interval_ratio") else "",
        ranges,
    )


def _entry(job: pb.LedgerEntry) -> tuple[str, ...]:
    expected, took = job.estimate.physical.total, job.measured

    def size(value: float) -> str:
        return human.size(round(value))

    return (
        job.operation,
        job.kind,
        human.moment(job.end_time),
        "yes" if job.succeeded else "no",
        shown(Figure.of(expected.wall_seconds), human.precise_duration),
        shown(Figure.of(took.wall_seconds), human.precise_duration),
        shown(Figure.of(expected.peak_memory_bytes), size),
        shown(Figure.of(took.peak_memory_bytes), size),
    )


def _moment(text: str | None) -> datetime | None:
    """Local time unless it says otherwise."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"{text!r} is no moment; write 2026-01-31 or 2026-01-31T18:00", field="since"
        ) from None
