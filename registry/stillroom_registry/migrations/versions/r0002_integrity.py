"""Blobs with their state, how versions came from their parents, and orders of listing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(71), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False, index=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("check_time", sa.BigInteger, nullable=False, index=True),
        sa.Column("damage", sa.String(32), index=True),
    )
    op.execute(
        "INSERT INTO blobs (digest, size, generation, check_time)"
        " SELECT f.digest, max(f.size), 1, min(v.create_time)"
        " FROM version_files f JOIN versions v ON v.id = f.version_id GROUP BY f.digest"
    )
    op.add_column(
        "version_parents",
        sa.Column("relation", sa.String(32), nullable=False, server_default="copy"),
    )
    # As ``relations.relation_of`` tells it of what is published without one.
    op.execute(
        "UPDATE version_parents SET relation = ("
        " SELECT CASE WHEN v.kind = 'classifier' THEN 'train'"
        "  WHEN json_extract(v.metadata, '$.recipe') = 'quantize' THEN 'quantize'"
        "  WHEN json_extract(v.metadata, '$.recipe') IS NOT NULL THEN 'distill'"
        "  ELSE 'copy' END"
        " FROM versions v WHERE v.id = version_parents.version_id)"
    )
    op.create_index("models_by_kind", "models", ["kind", "name"])
    op.create_index("models_by_create_time", "models", ["create_time", "name"])
    op.create_index("models_by_update_time", "models", ["update_time", "name"])
