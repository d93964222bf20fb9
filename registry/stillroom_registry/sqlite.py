"""Which SQLite this process uses, and how its connections are set up for durability.

SQLite before 3.51.3 can corrupt a database in WAL mode (the WAL-reset bug), so WAL is used only
with a newer library: pysqlite3 bundles one; where it has no wheel the interpreter's own library is
taken, with a rollback journal and ``synchronous=EXTRA`` when it is older. Either way a commit that
returned survives kill -9 and a power cut.

One process must open a database with one SQLite library only: POSIX drops a process's locks on a
file when *any* of its descriptors is closed, and only within one library does SQLite guard against
that. So every connection of ours comes from the ``Driver`` chosen here.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillroom_registry.errors import FailedPrecondition, Unavailable

FIRST_SAFE_WAL = (3, 51, 3)
BUSY_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Driver:
    """A DB-API module and the journal mode that is safe with the SQLite it was built with."""

    module: Any
    journal_mode: str
    synchronous: str

    @property
    def sqlite_version(self) -> str:
        return str(self.module.sqlite_version)

    def connect(self, path: Path) -> Any:
        """A raw autocommit connection, for any one thread at a time."""
        connection = self.module.connect(
            str(path),
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        self.prepare(connection)
        return connection

    def prepare(self, connection: Any) -> None:
        """Settings that SQLite keeps per connection, not in the file."""
        connection.execute(f"PRAGMA synchronous={self.synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")


def choose_driver(
    import_module: Callable[[str], Any] = importlib.import_module,
) -> Driver:
    """pysqlite3 where it imports, else the interpreter's sqlite3; WAL only where WAL is safe."""
    try:
        module = import_module("pysqlite3.dbapi2")
    except ImportError:
        module = import_module("sqlite3.dbapi2")
    if tuple(module.sqlite_version_info) >= FIRST_SAFE_WAL:
        return Driver(module, "wal", "FULL")
    return Driver(module, "delete", "EXTRA")


def set_journal_mode(
    driver: Driver,
    connection: Any,
    *,
    timeout: float = BUSY_TIMEOUT_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Bring the file to the driver's journal mode; wait ``timeout`` seconds for other openers.

    SQLite does not call its busy handler for this change, so two processes that create one database
    at the same moment would otherwise fail at random.
    """
    deadline = monotonic() + timeout
    while True:
        try:
            (mode,) = connection.execute(f"PRAGMA journal_mode={driver.journal_mode}").fetchone()
        except driver.module.OperationalError as error:
            if "locked" not in str(error) and "busy" not in str(error):
                raise
            if monotonic() >= deadline:
                raise Unavailable(
                    "The database is locked by another process; try again in a moment.",
                    reason="DATABASE_BUSY",
                    retry_after=1.0,
                ) from error
            pause(0.02)
            continue
        if str(mode).lower() != driver.journal_mode:
            raise FailedPrecondition(
                f"SQLite keeps journal mode {mode} where {driver.journal_mode} is needed for "
                "durability; put the data directory on a local disk.",
                reason="JOURNAL_MODE",
            )
        return
