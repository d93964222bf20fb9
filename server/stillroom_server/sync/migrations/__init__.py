"""Schema upgrades of the outbox; their revision is in alembic_version_sync."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillroom_registry.database import Database


def upgrade(database: Database) -> None:
    """Bring the outbox's table to the newest revision; cheap when it is there already."""
    database.migrate("sync", Path(__file__).parent)
