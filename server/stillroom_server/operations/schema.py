"""The tables of operations, as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa

from stillroom_registry.columns import UtcDateTime

metadata = sa.MetaData()

operations = sa.Table(
    "operations",
    metadata,
    # The order of creation: lists are newest first. Never reused.
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String, nullable=False, unique=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("target", sa.String),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("progress", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("lost_attempts", sa.Integer, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("worker", sa.String),
    sa.Column("lease_expire_time", UtcDateTime),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("start_time", UtcDateTime),
    sa.Column("update_time", UtcDateTime, nullable=False),
    sa.Column("end_time", UtcDateTime),
    sa.Column("turn", sa.Integer, nullable=False, server_default="0"),  # see turns
    sa.Index("operations_state_sequence", "state", "sequence"),
    sqlite_autoincrement=True,
)

operation_requests = sa.Table(
    "operation_requests",
    metadata,
    sa.Column("request_id", sa.String, primary_key=True),
    # No foreign key: the row outlives a deleted operation, so that a late retry does not run it
    # again.
    sa.Column("operation_id", sa.String, nullable=False),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Index("operation_requests_create_time", "create_time"),
)
