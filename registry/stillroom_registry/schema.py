"""The registry's tables. ``migrations`` creates them; a test holds the two together.

Deleting leaves a tombstone (``delete_time``): a model's row keeps the next version number, so that
no version name ever means two things, and a version's row keeps its lineage. Only live versions
have rows in ``version_files``, so that table alone says which blobs are referenced.
"""

from __future__ import annotations

import sqlalchemy as sa

from stillroom_registry.columns import UtcDateTime

metadata = sa.MetaData()

models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(128), nullable=False, unique=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("next_version", sa.BigInteger, nullable=False),
    # Counts the changes of this row and of what hangs on it; the etag is made of it.
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
    sa.Column("delete_time", UtcDateTime),
    # The orders in which models are listed.
    sa.Index("models_by_kind", "kind", "name"),
    sa.Index("models_by_create_time", "create_time", "name"),
    sa.Index("models_by_update_time", "update_time", "name"),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model_id", sa.ForeignKey("models.id"), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(71), nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("delete_time", UtcDateTime),
    sa.UniqueConstraint("model_id", "version", name="one_row_a_version"),
)

version_files = sa.Table(
    "version_files",
    metadata,
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("path", sa.String(1024), primary_key=True),
    sa.Column("digest", sa.String(71), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
)

# What is in the blob store and was named by a version once; a row goes with its blob. It knows how
# much there is, when each was last known to be whole, and which are not.
blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False, index=True),
    # Counts the times that its bytes were put there, so that a verdict on older ones is told apart.
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("check_time", UtcDateTime, nullable=False, index=True),
    # NULL: whole when it was last looked at. Else why it is in quarantine.
    sa.Column("damage", sa.String(32), index=True),
)

version_parents = sa.Table(
    "version_parents",
    metadata,
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("parent", sa.String(256), nullable=False, index=True),
    sa.Column("relation", sa.String(32), nullable=False, server_default="copy"),
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("model_id", sa.Integer, primary_key=True),
    sa.Column("alias", sa.String(63), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(
        ["model_id", "version"],
        ["versions.model_id", "versions.version"],
        name="alias_of_a_version",
    ),
)

alias_events = sa.Table(
    "alias_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model_id", sa.ForeignKey("models.id"), nullable=False, index=True),
    sa.Column("alias", sa.String(63), nullable=False),
    # NULL: the alias was new; and for to_version: it was removed.
    sa.Column("from_version", sa.BigInteger),
    sa.Column("to_version", sa.BigInteger),
    sa.Column("who", sa.Text),
    sa.Column("time", UtcDateTime, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("expire_time", UtcDateTime, nullable=False),
)

lease_blobs = sa.Table(
    "lease_blobs",
    metadata,
    sa.Column("lease_id", sa.ForeignKey("leases.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("digest", sa.String(71), primary_key=True),
)

# Answers to requests with a request_id, for 24 hours; see requests.py.
requests = sa.Table(
    "requests",
    metadata,
    sa.Column("request_id", sa.String(256), primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False, index=True),
)
