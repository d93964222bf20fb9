"""The ledger's tables, as the newest migration leaves them.

No foreign key leads to operations: the ledger outlives them.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import sqlalchemy as sa

from stillroom_registry.columns import UtcDateTime


class PackedJson(sa.types.TypeDecorator[Any]):
    """JSON text, compressed: an estimate repeats the same names hundreds of times, and ten thousand
    are kept of each kind."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(
        self,
        value: Any | None,
        dialect: sa.Dialect,  # noqa: ARG002
    ) -> bytes | None:
        if value is None:
            return None
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        return zlib.compress(text.encode(), 1)

    def process_result_value(
        self,
        value: Any | None,
        dialect: sa.Dialect,  # noqa: ARG002
    ) -> Any | None:
        return None if value is None else json.loads(zlib.decompress(value))


metadata = sa.MetaData()

# Operations that have not ended yet. A row goes with its operation's end.
expectations = sa.Table(
    "cost_expectations",
    metadata,
    sa.Column("operation", sa.String, primary_key=True),
    sa.Column("estimate", PackedJson),
    # By figure: the median as it was before earlier errors moved it; see intervals.
    sa.Column("raw", sa.Text, nullable=False),
    # What its attempts have taken so far; see tally.
    sa.Column("tally", sa.Text),
)

# Work that has ended, in the order of the ends.
entries = sa.Table(
    "cost_ledger",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("operation", sa.String, unique=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("estimate", PackedJson),
    sa.Column("measured", PackedJson, nullable=False),
    sa.Column("phases", PackedJson, nullable=False),
    sa.Column("contention", sa.Float),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("succeeded", sa.Boolean, nullable=False),
    sa.Column("start_time", UtcDateTime, nullable=False),
    sa.Column("end_time", UtcDateTime, nullable=False),
    sa.Index("cost_ledger_kind", "kind", "sequence"),
    sqlite_autoincrement=True,
)

# A row for each figure of successful work that was both estimated and measured.
scores = sa.Table(
    "cost_scores",
    metadata,
    sa.Column(
        "sequence", sa.ForeignKey("cost_ledger.sequence", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("figure", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("raw", sa.Float, nullable=False),
    sa.Column("p10", sa.Float, nullable=False),
    sa.Column("p50", sa.Float, nullable=False),
    sa.Column("p90", sa.Float, nullable=False),
    sa.Column("actual", sa.Float, nullable=False),
    sa.Column("end_time", UtcDateTime, nullable=False),
    sa.Index("cost_scores_kind", "kind", "figure", "sequence"),
)
