"""The header of the WAL-index: what it says, and that looking at it harms nobody's locks."""

from __future__ import annotations

import itertools
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from stillroom_registry import wal_index
from stillroom_registry.database import Database
from stillroom_registry.sqlite import choose_driver
from stillroom_registry.wal_index import WalIndex

pytestmark = pytest.mark.skipif(
    choose_driver().journal_mode != "wal" or not sys.platform.startswith("linux"),
    reason="without WAL, or descriptors that can be listed, the pragma is asked",
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "x.db")
    yield database
    database.close()


def write(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(statement)


def run(work: Callable[..., None], *arguments: object) -> None:
    """In another process."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def _execute(path: Path, *statements: str) -> None:
    other = Database.open(path)
    for statement in statements:
        write(other, statement)
    other.close()


def test_a_fresh_database_and_a_known_one_have_it(database: Database) -> None:
    assert database._wal_index is not None
    again = Database.open(database.path)
    assert again._wal_index is not None
    assert again.data_version() == database.data_version()
    again.close()
    assert database.data_version() == database.data_version()


def test_it_changes_whenever_the_pragma_says_so(database: Database) -> None:
    def asked() -> int:
        return int(database._watching.execute("PRAGMA data_version").fetchone()[0])

    seen: list[tuple[int, int]] = [(asked(), database.data_version())]
    steps: list[Any] = [
        lambda: write(database, "CREATE TABLE t (n INTEGER)"),
        lambda: write(database, "INSERT INTO t VALUES (1)"),
        lambda: run(_execute, database.path, "INSERT INTO t VALUES (2)"),
        lambda: database.driver.connect(database.path).execute("PRAGMA wal_checkpoint(TRUNCATE)"),
        lambda: write(database, "INSERT INTO t VALUES (3)"),
        lambda: run(_execute, database.path, "INSERT INTO t VALUES (4)", "DELETE FROM t"),
    ]
    for step in steps:
        step()
        seen.append((asked(), database.data_version()))
    for (asked_before, before), (asked_after, after) in itertools.pairwise(seen):
        assert before != after or asked_before == asked_after
    states = [state for _, state in seen]
    assert len({states[place] for place in (0, 1, 2, 3, 5, 6)}) == 6, "each commit is told"


def test_reading_changes_nothing(database: Database) -> None:
    write(database, "CREATE TABLE t (n INTEGER NOT NULL)")
    before = database.data_version()
    assert database.rows("SELECT * FROM t", {}) == []
    with pytest.raises(IntegrityError):
        write(database, "INSERT INTO t VALUES (NULL)")
    assert database.data_version() == before


def test_looking_does_not_end_the_locks_of_this_process(database: Database) -> None:
    write(database, "CREATE TABLE t (n INTEGER)")
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        index = WalIndex.of(database.path)
        assert index is not None
        index.close()
        run(_expect_busy, database.path)


def _expect_busy(path: Path) -> None:
    driver = choose_driver()
    connection = driver.module.connect(str(path), timeout=0.1, isolation_level=None)
    with pytest.raises(driver.module.OperationalError, match="locked"):
        connection.execute("BEGIN IMMEDIATE")


def test_a_closed_one_raises_instead_of_reading(database: Database) -> None:
    index = WalIndex.of(database.path)
    assert index is not None
    index.close()
    index.close()
    with pytest.raises(ValueError, match="released"):
        index.state()


def test_without_it_the_pragma_is_asked(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WalIndex.of(tmp_path / "absent.db") is None
    monkeypatch.setattr(wal_index, "_FORMAT", 1)
    assert WalIndex.of(database.path) is None
    monkeypatch.undo()
    monkeypatch.setattr(wal_index, "_DESCRIPTORS", tmp_path / "none")
    other = Database.open(database.path)
    assert other._wal_index is None
    before = other.data_version()
    write(database, "CREATE TABLE t (n INTEGER)")
    assert other.data_version() != before
    other.close()
