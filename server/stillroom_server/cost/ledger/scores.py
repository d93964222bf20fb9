"""Estimates and what came of them, read from the database, as numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from stillroom_server.cost.ledger.intervals import Scores
from stillroom_server.cost.ledger.schema import scores

_PAIR = (scores.c.p10, scores.c.p50, scores.c.p90, scores.c.actual)


@dataclass(frozen=True)
class Pair:
    """What one piece of work was said to take and took; all but p10 are above 0."""

    p10: float
    p50: float
    p90: float
    actual: float


def read_scores(connection: sa.Connection, kind: str, figure: str, latest: int) -> Scores:
    """log(actual / raw) of the latest jobs, and how many there are in all."""
    mine = (scores.c.kind == kind, scores.c.figure == figure)
    found = connection.execute(
        sa.select(scores.c.actual, scores.c.raw)
        .where(*mine)
        .order_by(scores.c.sequence.desc())
        .limit(latest)
    ).all()
    jobs = len(found)
    if jobs == latest:
        jobs = connection.execute(sa.select(sa.func.count()).where(*mine)).scalar_one()
    return Scores([math.log(actual / raw) for actual, raw in found], jobs)


def read_latest(connection: sa.Connection, kind: str, figure: str, latest: int) -> list[Pair]:
    """The latest jobs of a kind, newest first."""
    found = connection.execute(
        sa.select(*_PAIR)
        .where(scores.c.kind == kind, scores.c.figure == figure)
        .order_by(scores.c.sequence.desc())
        .limit(latest)
    )
    return [Pair(*row) for row in found]


def read_pairs(
    connection: sa.Connection,
    *,
    kind: str = "",
    since: datetime | None = None,
    sequence: int | None = None,
) -> dict[tuple[str, str], list[Pair]]:
    """By kind and figure, newest first. Empty and None: all."""
    query = sa.select(scores.c.kind, scores.c.figure, *_PAIR).order_by(
        scores.c.kind, scores.c.figure, scores.c.sequence.desc()
    )
    if kind:
        query = query.where(scores.c.kind == kind)
    if since is not None:
        query = query.where(scores.c.end_time >= since)
    if sequence is not None:
        query = query.where(scores.c.sequence == sequence)
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for row in connection.execute(query):
        pairs.setdefault((row[0], row[1]), []).append(Pair(*row[2:]))
    return pairs
