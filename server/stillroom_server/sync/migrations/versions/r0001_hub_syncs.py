"""What was pushed to and pulled from the Hub, and what is under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "hub_syncs",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("operation", sa.String(64), nullable=False, unique=True),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("version", sa.BigInteger),
        sa.Column("endpoint", sa.String(512), nullable=False),
        sa.Column("repo", sa.String(200), nullable=False),
        sa.Column("branch", sa.String(256), nullable=False),
        sa.Column("tag", sa.String(256), nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("base", sa.String(64)),
        sa.Column("commit", sa.String(64)),
        sa.Column("paths", sa.Text, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("hub_syncs_model", "hub_syncs", ["model", "id"])
    op.create_index("hub_syncs_state", "hub_syncs", ["state"])
