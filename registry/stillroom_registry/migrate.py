"""Schema upgrades by alembic, without an env.py: the caller's connection and one transaction."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from stillroom_registry.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

    from stillroom_registry.database import Database

# alembic keeps the context that migration scripts use in a module global.
_ALEMBIC = threading.Lock()
# It tells at every start which plug-ins it has.
logging.getLogger("alembic").setLevel(logging.WARNING)


def newest(folder: Path) -> str:
    """The newest revision by the names of its files, ``REVISION_words.py``, which sort in order."""
    names = (path.stem for path in (folder / "versions").glob("*.py"))
    return max(name.partition("_")[0] for name in names if not name.startswith("_"))


def migrate(database: Database, owner: str, folder: Path) -> None:
    """Run the revisions in ``folder``/versions that the database lacks, all in one transaction."""
    if not owner.isidentifier():
        raise InvalidArgument(f"{owner!r} is no owner of tables.", field="metadata_name")
    version_table = f"alembic_version_{owner}"
    with database.read() as connection:
        if _current(connection, version_table) == newest(folder):
            return
    # Not before: importing alembic takes a fifth of a server's start.
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(folder))
    with _ALEMBIC, database.write() as connection:
        # Read again: another process may have upgraded while this one waited for the lock.
        current = _current(connection, version_table)
        if current is not None and not _knows(script, current):
            raise FailedPrecondition(
                f"The database is at revision {current} of {owner}, which this release does not "
                "know: it was written by a newer one. Run that release, or restore a backup.",
                reason="SCHEMA_TOO_NEW",
            )
        _upgrade(connection, script, version_table)


def _current(connection: sa.Connection, version_table: str) -> str | None:
    if not sa.inspect(connection).has_table(version_table):
        return None
    table = sa.table(version_table, sa.column("version_num", sa.String))
    return connection.execute(sa.select(table.c.version_num)).scalar_one_or_none()


def _knows(script: ScriptDirectory, revision: str) -> bool:
    return any(known.revision == revision for known in script.walk_revisions())


def _upgrade(connection: sa.Connection, script: ScriptDirectory, version_table: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), script, fn=steps, destination_rev="head") as environment:
        environment.configure(connection=connection, version_table=version_table)
        environment.run_migrations()
