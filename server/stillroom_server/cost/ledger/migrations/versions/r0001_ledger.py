"""What was estimated, what it took, and the two side by side."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "cost_expectations",
        sa.Column("operation", sa.String, primary_key=True),
        sa.Column("estimate", sa.LargeBinary),
        sa.Column("raw", sa.Text, nullable=False),
        sa.Column("tally", sa.Text),
    )
    op.create_table(
        "cost_ledger",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("operation", sa.String, unique=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("estimate", sa.LargeBinary),
        sa.Column("measured", sa.LargeBinary, nullable=False),
        sa.Column("phases", sa.LargeBinary, nullable=False),
        sa.Column("contention", sa.Float),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("succeeded", sa.Boolean, nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("cost_ledger_kind", "cost_ledger", ["kind", "sequence"])
    op.create_table(
        "cost_scores",
        sa.Column(
            "sequence",
            sa.Integer,
            sa.ForeignKey("cost_ledger.sequence", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("figure", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("raw", sa.Float, nullable=False),
        sa.Column("p10", sa.Float, nullable=False),
        sa.Column("p50", sa.Float, nullable=False),
        sa.Column("p90", sa.Float, nullable=False),
        sa.Column("actual", sa.Float, nullable=False),
        sa.Column("end_time", sa.BigInteger, nullable=False),
    )
    op.create_index("cost_scores_kind", "cost_scores", ["kind", "figure", "sequence"])
