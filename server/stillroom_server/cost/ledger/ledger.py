"""The ledger: what was said of work before it started, and what it then took.

An estimate is written with the operation that it is of, what the operation takes with its
heartbeats, and the entry with its end: each in one transaction, so a kill loses at most what was
taken since the last heartbeat.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_registry.errors import StillroomError
from stillroom_server.cost.figures import Figure, Resources
from stillroom_server.cost.ledger import migrations
from stillroom_server.cost.ledger.intervals import CORRECTED, LATEST_JOBS, Intervals, Scores
from stillroom_server.cost.ledger.schema import entries, expectations, scores
from stillroom_server.cost.ledger.scores import read_scores
from stillroom_server.cost.ledger.tally import Tally
from stillroom_server.operations.observer import Ended

JSON = dict[str, Any]
T = TypeVar("T")
_NEWEST = sa.select(sa.func.max(entries.c.sequence))
_log = logging.getLogger(__name__)

MAX_ENTRIES = 10_000
"""Of each kind; the oldest go first."""

OPERATION_KINDS = (
    *("collect_garbage", "distill", "evaluate_classifier", "import", "pull", "push"),
    *("train_classifier", "verify"),
)
KINDS = (*OPERATION_KINDS, "embed", "classify", "serve", "paradigm")


@dataclass(frozen=True)
class Work:
    """Work that has ended. ``estimate`` is a CostEstimate in JSON, ``phases`` pairs of a phase's
    name and what it took; ``operation`` is None for work that is no operation."""

    kind: str
    estimate: Mapping[str, Any] | None
    measured: Resources
    start_time: datetime
    end_time: datetime
    phases: Sequence[tuple[str, Resources]] = ()
    contention: float | None = None
    attempts: int = 1
    succeeded: bool = True
    operation: str | None = None


class Ledger:
    """Safe between threads and processes. ``max_entries`` are kept of each kind."""

    def __init__(self, database: Database, *, max_entries: int = MAX_ENTRIES) -> None:
        self.database = database
        self._max_entries = max_entries
        self.intervals = Intervals(self._scores)
        self._known: tuple[int, int, dict[object, Any]] = (-1, -1, {})

    @classmethod
    def open(cls, database: Database) -> Ledger:
        """Upgrades the tables."""
        migrations.upgrade(database)
        return cls(database)

    def expect(
        self,
        connection: sa.Connection,
        operation_id: str,
        kind: str,
        estimate: Mapping[str, Any] | None,
    ) -> None:
        """Keep what is said of an operation, a CostEstimate in JSON, in the transaction that
        creates it. What is no estimate is logged, and left out: it must not prevent the work."""
        raw: dict[str, float] = {}
        try:
            raw = _raw(connection, kind, estimate)
            json.dumps(estimate, allow_nan=False)
        except (StillroomError, ValueError, TypeError, AttributeError) as error:
            _log.error("the estimate of operation %s cannot be kept: %s", operation_id, error)
            estimate, raw = None, {}
        connection.execute(
            sa.insert(expectations).values(
                operation=operation_id, estimate=estimate, raw=json.dumps(raw)
            )
        )

    def note(
        self, connection: sa.Connection, operation_id: str, attempt: int, tally: Tally
    ) -> None:
        """Keep what this attempt has taken so far, beside what those before it took."""
        mine = expectations.c.operation == operation_id
        row = connection.execute(sa.select(expectations.c.tally).where(mine)).one_or_none()
        before = None if row is None else _before(row.tally, attempt)
        text = json.dumps(
            {
                "attempt": attempt,
                "before": None if before is None else before.to_json(),
                "now": tally.to_json(),
            },
            allow_nan=False,
        )
        if row is not None:
            connection.execute(sa.update(expectations).where(mine).values(tally=text))
            return
        connection.execute(
            sa.insert(expectations).values(operation=operation_id, raw="{}", tally=text)
        )

    def close(self, connection: sa.Connection, ended: Ended, *, result_bytes: int = 0) -> None:
        """Turn what is known of an operation into its entry, in the transaction that ends it.

        ``result_bytes`` is what it has published, on disk beside its workspace in its last phase.
        Of an operation that was never executed nothing is kept.
        """
        mine = expectations.c.operation == ended.operation_id
        row = connection.execute(sa.select(expectations).where(mine)).one_or_none()
        connection.execute(sa.delete(expectations).where(mine))
        if ended.start_time is None:
            return
        tally = _whole(None if row is None else row.tally)
        _add_result(tally, result_bytes)
        unseen = ended.attempts - tally.attempts
        note = f"{unseen} of {ended.attempts} attempts died before they were measured"
        total = tally.resources(tally.whole, note if unseen > 0 and tally.attempts else "")
        work = Work(
            kind=ended.kind,
            estimate=None if row is None else row.estimate,
            measured=total if tally.attempts else Resources(),
            start_time=ended.start_time,
            end_time=ended.end_time,
            phases=[(name, tally.resources(taken)) for name, taken in tally.phases.items() if name],
            contention=tally.contention,
            attempts=ended.attempts,
            succeeded=ended.succeeded,
            operation=ended.operation_id,
        )
        self._add(connection, work, {} if row is None else json.loads(row.raw))

    def record(self, work: Work) -> None:
        """Keep work that is no operation."""
        with self.database.write() as connection:
            self._add(connection, work, _raw(connection, work.kind, work.estimate))

    def _add(self, connection: sa.Connection, work: Work, raw: Mapping[str, float]) -> None:
        phases = [
            {"phase": name, "resources": resources.to_json()} for name, resources in work.phases
        ]
        sequence = connection.execute(
            sa.insert(entries).values(
                operation=work.operation,
                kind=work.kind,
                estimate=work.estimate,
                measured=work.measured.to_json(),
                phases=phases,
                contention=work.contention,
                attempts=work.attempts,
                succeeded=work.succeeded,
                start_time=work.start_time,
                end_time=work.end_time,
            )
        ).lastrowid
        if work.succeeded:
            rows = _scored(work, raw, sequence)
            if rows:
                connection.execute(sa.insert(scores), rows)
        self._prune(connection, work.kind)

    def _prune(self, connection: sa.Connection, kind: str) -> None:
        oldest = connection.execute(
            sa.select(entries.c.sequence)
            .where(entries.c.kind == kind)
            .order_by(entries.c.sequence.desc())
            .offset(self._max_entries)
            .limit(1)
        ).scalar_one_or_none()
        if oldest is not None:
            connection.execute(
                sa.delete(entries).where(entries.c.kind == kind, entries.c.sequence <= oldest)
            )

    def remembered(self, key: object, read: Callable[[sa.Connection], T]) -> T:
        """What ``read`` answers, asked once for each entry that the ledger gets: an estimate wants
        a handful of such answers within milliseconds."""
        version = self.database.data_version()
        seen, newest, known = self._known
        if version != seen or key not in known:
            with self.database.read() as connection:
                latest = connection.execute(_NEWEST).scalar_one() or 0
                if latest != newest:
                    known = {}
                if key not in known:
                    known = {**known, key: read(connection)}
            self._known = version, latest, known
        found: T = known[key]
        return found

    def _scores(self, kind: str, figure: str) -> Scores:
        return self.remembered(
            (kind, figure), lambda connection: read_scores(connection, kind, figure, LATEST_JOBS)
        )


def _raw(
    connection: sa.Connection, kind: str, estimate: Mapping[str, Any] | None
) -> dict[str, float]:
    """The medians as they were before the ledger's intervals were applied to them, which an
    estimate says by telling what they rest on."""
    medians = {name: figure.numbers()[1] for name, figure in _total(estimate).items()}
    if not ((estimate or {}).get("physical") or {}).get("intervals"):
        return medians
    intervals = Intervals(lambda kind, name: read_scores(connection, kind, name, LATEST_JOBS))
    return {name: intervals.undo(kind, name, p50) for name, p50 in medians.items()}


def _total(estimate: Mapping[str, Any] | None) -> dict[str, Figure]:
    """The figures of a CostEstimate's whole that are known and can be compared."""
    physical = (estimate or {}).get("physical") or {}
    total = Resources.from_json(physical.get("total"))
    return {name: total[name] for name in CORRECTED if total[name].known}


def _scored(work: Work, raw: Mapping[str, float], sequence: int) -> list[JSON]:
    """A row for each figure that was both estimated and measured; of zeros there is no ratio."""
    rows: list[JSON] = []
    for name, figure in _total(work.estimate).items():
        actual = work.measured[name]
        p10, p50, p90 = figure.numbers()
        if not actual.known or p50 <= 0 or actual.numbers()[1] <= 0 or raw.get(name, 0.0) <= 0:
            continue
        rows.append(
            {
                "sequence": sequence,
                "figure": name,
                "kind": work.kind,
                "raw": raw[name],
                "p10": p10,
                "p50": p50,
                "p90": p90,
                "actual": actual.numbers()[1],
                "end_time": work.end_time,
            }
        )
    return rows


def _before(text: str | None, attempt: int) -> Tally | None:
    """What the attempts before ``attempt`` took, of a stored tally."""
    if text is None:
        return None
    stored = json.loads(text)
    before = None if stored["before"] is None else Tally.from_json(stored["before"])
    if stored["attempt"] == attempt:
        return before
    last = Tally.from_json(stored["now"])
    return last if before is None else before.followed_by(last)


def _whole(text: str | None) -> Tally:
    """All attempts of a stored tally; without any, one of no attempts."""
    return _before(text, -1) or Tally(attempts=0)


def _add_result(tally: Tally, result_bytes: int) -> None:
    if tally.phases:
        last = list(tally.phases.values())[-1]
        if last.disk is not None:
            last.disk += result_bytes
