"""The queue of operations and the request ids that created them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "operations",
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
        sa.Column("lease_expire_time", sa.BigInteger),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("operations_state_sequence", "operations", ["state", "sequence"])
    op.create_table(
        "operation_requests",
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("operation_id", sa.String, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_index("operation_requests_create_time", "operation_requests", ["create_time"])
