"""The database: commits that last, reads that do not wait, versions that move."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.sqlite import Driver, choose_driver

OLD = Driver(sqlite3, "delete", "EXTRA")


@pytest.fixture(params=["chosen", "fallback"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    driver = choose_driver() if request.param == "chosen" else OLD
    database = Database.open(tmp_path / "x.db", driver=driver)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    yield database
    database.close()


def count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one())


def insert(path: Path, driver: str, numbers: range) -> None:
    database = Database.open(path, driver=OLD if driver == "delete" else choose_driver())
    for number in numbers:
        with database.write() as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": number})
    database.close()


def test_every_connection_is_durable(database: Database) -> None:
    synchronous = {"wal": 2, "delete": 3}[database.driver.journal_mode]
    with database.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        assert mode == database.driver.journal_mode


def test_the_interpreters_old_sqlite_is_not_trusted_with_wal() -> None:
    def only_old(name: str) -> object:
        if name.startswith("pysqlite3"):
            raise ImportError(name)
        return sqlite3

    driver = choose_driver(only_old)
    safe = sqlite3.sqlite_version_info >= (3, 51, 3)
    assert (driver.journal_mode, driver.synchronous) == (
        ("wal", "FULL") if safe else ("delete", "EXTRA")
    )


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    def interrupted() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert count(database) == 0
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert count(database) == 1


def test_a_write_inside_a_write_joins_it(database: Database) -> None:
    with database.write() as outer:
        with database.write() as inner:
            inner.exec_driver_sql("INSERT INTO t VALUES (1)")
        assert inner is outer
        assert count(database) == 0
    assert count(database) == 1


def test_what_the_outer_write_raises_undoes_the_inner_one(database: Database) -> None:
    def interrupted() -> None:
        with database.write():
            with database.write() as inner:
                inner.exec_driver_sql("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert count(database) == 0


def test_data_version_sees_own_and_foreign_commits(database: Database) -> None:
    before = database.data_version()
    assert database.data_version() == before
    count(database)
    assert database.data_version() == before
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    own = database.data_version()
    assert own != before
    process = multiprocessing.get_context("spawn").Process(
        target=insert, args=(database.path, database.driver.journal_mode, range(2, 3))
    )
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert database.data_version() not in (before, own)
    assert count(database) == 2


def test_threads_and_a_second_process_write_without_a_lock_error(database: Database) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=insert, args=(database.path, database.driver.journal_mode, range(1000, 1030))
    )
    process.start()
    errors: list[BaseException] = []

    def work(base: int) -> None:
        try:
            for number in range(base, base + 10):
                with database.write() as connection:
                    connection.execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": number})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(base * 10,)) for base in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    process.join(120)
    assert (process.exitcode, errors) == (0, [])
    assert count(database) == 110


def test_a_snapshot_does_not_move_and_a_read_does_not_wait(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "x.db")
    if database.driver.journal_mode != "wal":
        pytest.skip("a rollback journal makes readers and writers wait for each other")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    with database.snapshot() as old:
        assert old.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            assert count(database) == 0
        assert old.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
    assert count(database) == 1
    database.close()


REVISION = """
from alembic import op
import sqlalchemy as sa

revision = "{revision}"
down_revision = {down}

def upgrade():
    op.create_table("made_{revision}", sa.Column("n", sa.Integer, primary_key=True))
    {extra}
"""


def revision(folder: Path, name: str, down: str | None, extra: str = "") -> None:
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    text = REVISION.format(revision=name, down=repr(down), extra=extra)
    (folder / "versions" / f"{name}.py").write_text(text)


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_migrations_run_once_each_and_owners_are_apart(database: Database, tmp_path: Path) -> None:
    revision(tmp_path / "one", "a", None)
    revision(tmp_path / "two", "b", None)
    database.migrate("one", tmp_path / "one")
    database.migrate("two", tmp_path / "two")
    database.migrate("one", tmp_path / "one")
    revision(tmp_path / "one", "c", "a")
    database.migrate("one", tmp_path / "one")
    names = {"made_a", "made_b", "made_c", "alembic_version_one", "alembic_version_two"}
    assert tables(database) >= names


def test_a_migration_that_fails_leaves_nothing(database: Database, tmp_path: Path) -> None:
    revision(tmp_path / "one", "a", None)
    revision(tmp_path / "one", "b", "a", extra="raise RuntimeError('halfway')")
    with pytest.raises(RuntimeError, match="halfway"):
        database.migrate("one", tmp_path / "one")
    assert tables(database) == {"t"}


def test_a_database_of_a_newer_release_is_refused(database: Database, tmp_path: Path) -> None:
    revision(tmp_path / "new", "a", None)
    revision(tmp_path / "new", "b", "a")
    revision(tmp_path / "old", "a", None)
    database.migrate("one", tmp_path / "new")
    with pytest.raises(FailedPrecondition) as caught:
        database.migrate("one", tmp_path / "old")
    assert caught.value.reason == "SCHEMA_TOO_NEW"


COUNT = "SELECT count(*) FROM t WHERE n > :least"


def test_rows_of_the_driver_alone_are_always_those_of_now(database: Database) -> None:
    assert database.rows(COUNT, {"least": 0}) == [(0,)]
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert database.rows(COUNT, {"least": 0}) == [(1,)]


def test_reading_rows_leaves_no_transaction_open(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1), (2)")
    database.rows("SELECT n FROM t", {})
    assert not database._bare[0].in_transaction
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE t")  # refused while a reader is at it


def test_readers_share_few_connections(database: Database) -> None:
    for _ in range(3):
        database.rows(COUNT, {"least": 0})
    assert len(database._bare) == 1
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda _: database.rows(COUNT, {"least": 0}), range(400)))
    assert 1 <= len(database._bare) <= 16


def test_a_connection_that_failed_is_not_used_again(database: Database) -> None:
    with pytest.raises(database.driver.module.OperationalError):
        database.rows("SELECT * FROM absent", {})
    assert len(database._bare) == 0
    assert database.rows(COUNT, {"least": 0}) == [(0,)]
