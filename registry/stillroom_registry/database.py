"""The one database of a data directory: short autocommit reads, serialized durable writes.

``BEGIN IMMEDIATE`` is used by writes alone. Taking it for reads too makes them wait for every
writer (p99 33 ms beside one writer, against 0.28 ms in autocommit). Writers of one process queue on
a lock of ours before they contend with other processes, because SQLite's own waiting polls.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from stillroom_registry.database_errors import translated
from stillroom_registry.failpoints import reach
from stillroom_registry.migrate import migrate
from stillroom_registry.sqlite import BUSY_TIMEOUT_SECONDS, Driver, choose_driver, set_journal_mode
from stillroom_registry.wal_index import WalIndex

_POOL_SIZE = 16
_BEGIN = "stillroom_begin"


class Database:
    """Connections to one SQLite file. Safe between threads and between processes."""

    def __init__(self, path: Path, driver: Driver) -> None:
        self.path = path
        self.driver = driver
        with translated():
            # This connection never writes, so SQLite counts the commits of every other one for it:
            # of this process as well as of others.
            self._watcher: Any = driver.connect(path)
            set_journal_mode(driver, self._watcher)
            self._watching = self._watcher.cursor()
            self._watching.execute("PRAGMA data_version").fetchone()
        self._watcher_lock = threading.Lock()
        self._wal_index = WalIndex.of(path) if driver.journal_mode == "wal" else None
        self._write_lock = threading.Lock()
        # Taken and given back by one step each, which no two threads do at once.
        self._bare: deque[Any] = deque()
        self._writing: tuple[int, sa.Connection] | None = None
        self._engine = _make_engine(path, driver)

    @classmethod
    def open(cls, path: Path, *, driver: Driver | None = None) -> Database:
        """Open the file, creating it when it is not there; its folder must exist."""
        return cls(path, driver or choose_driver())

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reads, each statement on its own; never blocked by a writer in WAL."""
        with translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A connection whose statements all see one state of the database; keep it short."""
        with (
            translated(),
            self._engine.connect().execution_options(**{_BEGIN: "BEGIN"}) as connection,
            connection.begin(),
        ):
            yield connection

    def rows(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What one statement finds, read by the driver alone: for what is asked very often.

        Column types do not apply: times are whole microseconds, JSON is text.
        """
        try:
            connection = self._bare.pop()
        except IndexError:
            with translated():
                connection = self.driver.connect(self.path)
        try:
            rows: list[tuple[Any, ...]] = connection.execute(statement, parameters).fetchall()
        except BaseException:
            connection.close()
            with translated():
                raise
        if len(self._bare) < _POOL_SIZE:
            self._bare.append(connection)
        else:
            connection.close()
        return rows

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction, begun IMMEDIATE: on disk after a normal exit, else rolled back.

        Raises Unavailable (reason DATABASE_BUSY) when another process holds the write lock for
        ``BUSY_TIMEOUT_SECONDS``, ResourceExhausted (DISK_FULL) when the disk is full. Do not wait
        for anything slow inside: every other writer waits too. A write inside a write of the same
        thread joins it: the outermost commits, and what it raises undoes all.
        """
        if self._writing is not None and self._writing[0] == threading.get_ident():
            yield self._writing[1]
            return
        with (
            self._write_lock,
            translated(),
            self._engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection,
        ):
            with connection.begin():
                self._writing = (threading.get_ident(), connection)
                try:
                    yield connection
                finally:
                    self._writing = None
                reach("commit:before")
            reach("commit:after")

    def data_version(self) -> int:
        """A number that differs after any commit, of this process or another; some microseconds.

        Take it before reading what is to be cached: a cache filled after a later commit is then
        merely refreshed once too often, never stale.
        """
        if self._wal_index is not None:
            return self._wal_index.state()
        with self._watcher_lock:
            try:
                version: int = self._watching.execute("PRAGMA data_version").fetchone()[0]
                return version
            except self.driver.module.Error:
                with translated():
                    raise

    def migrate(self, metadata_name: str, script_location: str | Path) -> None:
        """Bring the tables of one owner to the newest revision in ``script_location``.

        The owner's revision is kept in the table ``alembic_version_<metadata_name>``. All of an
        upgrade is one transaction. Raises FailedPrecondition (SCHEMA_TOO_NEW) when the file was
        written by a newer release.
        """
        migrate(self, metadata_name, Path(script_location))

    def close(self) -> None:
        """Close every connection; the object is of no use afterwards."""
        self._engine.dispose()
        while self._bare:
            self._bare.pop().close()
        with self._watcher_lock:
            if self._wal_index is not None:
                self._wal_index.close()
            self._watcher.close()


def _make_engine(path: Path, driver: Driver) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        module=driver.module,
        # The driver's own transaction handling is off: it would begin DEFERRED and at odd moments.
        connect_args={
            "timeout": BUSY_TIMEOUT_SECONDS,
            "isolation_level": None,
            "check_same_thread": False,
        },
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_SIZE,
        pool_timeout=BUSY_TIMEOUT_SECONDS,
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        driver.prepare(connection)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        statement = connection.get_execution_options().get(_BEGIN)
        if statement:
            connection.exec_driver_sql(statement)

    return engine
