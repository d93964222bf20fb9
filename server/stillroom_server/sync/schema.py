"""The outbox's table, as the newest migration leaves it."""

from __future__ import annotations

import sqlalchemy as sa

from stillroom_registry.columns import UtcDateTime

metadata = sa.MetaData()

hub_syncs = sa.Table(
    "hub_syncs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    # Operations are forgotten after a month; what they did to a repository is not.
    sa.Column("operation", sa.String(64), nullable=False, unique=True),
    sa.Column("direction", sa.String(8), nullable=False),
    sa.Column("model", sa.String(128), nullable=False),
    # NULL: a pull that has made no version yet.
    sa.Column("version", sa.BigInteger),
    sa.Column("endpoint", sa.String(512), nullable=False),
    sa.Column("repo", sa.String(200), nullable=False),
    sa.Column("branch", sa.String(256), nullable=False),
    sa.Column("tag", sa.String(256), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # Of a push, the commit that ours was sent to follow; of a pull, the one that it fetches.
    sa.Column("base", sa.String(64)),
    # The commit that holds the version.
    sa.Column("commit", sa.String(64)),
    # Of a push that is done, the files that it left there: JSON, a list of paths.
    sa.Column("paths", sa.Text, nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
    sa.Index("hub_syncs_model", "model", "id"),
    sa.Index("hub_syncs_state", "state"),
    sqlite_autoincrement=True,
)
