"""A turn for every operation, so that long ones give way to those that wait."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    op.add_column("operations", sa.Column("turn", sa.Integer, nullable=False, server_default="0"))
