"""Schema upgrades of the ledger's tables; their revision is in alembic_version_cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillroom_registry.database import Database


def upgrade(database: Database) -> None:
    """Bring the ledger's tables to the newest revision; cheap when they are there already."""
    database.migrate("cost", Path(__file__).parent)
