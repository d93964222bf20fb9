"""The collector: takes what nobody needs, spares the young and the leased, stops at an error."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from stillroom_registry import schema
from stillroom_registry.blobs import StoredBlob
from stillroom_registry.errors import Aborted, Cancelled, DataLoss, InvalidArgument
from stillroom_registry.garbage import doomed
from stillroom_registry.leases import TIME_TO_LIVE
from stillroom_registry.registry import GarbageReport, ModelKind, Registry

STUDENT = ModelKind.STUDENT
NONE = timedelta(0)
TIMES = st.integers(0, 100).map(lambda n: datetime(2030, 1, 1, tzinfo=UTC) + timedelta(hours=n))


@pytest.fixture
def collect(registry: Registry) -> Any:
    """Collects at a moment ``after`` the present, by the file system's clock."""

    def run(grace: timedelta = NONE, after: timedelta = timedelta(minutes=1)) -> GarbageReport:
        return registry.collect_garbage(grace=grace, now=datetime.now(UTC) + after)

    return run


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), TIMES)), st.sets(st.sampled_from("abc")), TIMES
)
def test_doomed(blobs: list[tuple[str, datetime]], referenced: set[str], cutoff: datetime) -> None:
    stored = [StoredBlob(digest, 1, time) for digest, time in blobs]
    chosen = doomed(stored, referenced, cutoff)
    assert all(blob.digest not in referenced and blob.stored <= cutoff for blob in chosen)
    spared = [blob for blob in stored if blob not in chosen]
    assert all(blob.digest in referenced or blob.stored > cutoff for blob in spared)


def test_only_unreferenced_blobs_go(registry: Registry, make_folder: Any, collect: Any) -> None:
    one = registry.publish("m", STUDENT, make_folder(shared=b"shared", own=b"one!"))
    two = registry.publish("m", STUDENT, make_folder(shared=b"shared", own=b"two"))
    assert collect().blobs_deleted == 0
    folder = registry.folder(one)
    kept = registry.folder(two)
    registry.delete_version("m", 1)
    report = collect()
    assert (report.blobs_deleted, report.bytes_freed, report.blobs_kept) == (1, 4, 2)
    assert report.folders_deleted == 1
    assert not folder.exists()
    assert kept.exists()
    for file in two.files:
        assert registry.blobs.verify(file.digest) == file.size


def test_the_young_are_spared(registry: Registry, collect: Any) -> None:
    registry.blobs.put(io.BytesIO(b"x"))
    assert collect(timedelta(hours=1)).blobs_deleted == 0
    assert collect(timedelta(hours=1), timedelta(hours=2)).blobs_deleted == 1
    with pytest.raises(InvalidArgument):
        collect(timedelta(seconds=-1))


def test_a_publish_in_flight_is_spared(
    registry: Registry, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection comes at the worst moment: blobs named, nothing refers to them, no grace."""
    real = registry.blobs.commit
    reports: list[GarbageReport] = []

    def commit_then_collect(*blobs: Any) -> None:
        real(*blobs)
        reports.append(registry.collect_garbage(grace=NONE, now=registry_now()))

    def registry_now() -> datetime:
        with registry.database.read() as connection:
            expiry = connection.execute(sa.select(schema.leases.c.expire_time)).scalar_one()
        for digest in registry.blobs.digests():
            os.utime(registry.blobs.path(digest), (0, 0))
        moment: datetime = expiry - TIME_TO_LIVE
        return moment

    # A blob that was garbage already, and is used again, is spared as well.
    old = registry.blobs.put(io.BytesIO(b"again"))
    monkeypatch.setattr(registry.blobs, "commit", commit_then_collect)
    version = registry.publish("m", STUDENT, make_folder(a=b"again", b=b"new"))
    assert [report.blobs_deleted for report in reports] == [0]
    assert reports[0].scratch_deleted == 0
    assert old.digest in {file.digest for file in version.files}
    for file in version.files:
        assert registry.blobs.verify(file.digest) == file.size


def test_a_publish_whose_lease_expired_fails_rather_than_refer_to_nothing(
    registry: Registry, make_folder: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = registry.blobs.commit

    def too_late(*blobs: Any) -> None:
        real(*blobs)
        registry.collect_garbage(grace=NONE, now=clock.now + TIME_TO_LIVE)

    with monkeypatch.context() as patched:
        patched.setattr(registry.blobs, "commit", too_late)
        with pytest.raises(Aborted) as caught:
            registry.publish("m", STUDENT, make_folder(a=b"1"))
    assert caught.value.reason == "LEASE_EXPIRED"
    assert registry.list_models().items == ()
    assert registry.publish("m", STUDENT, make_folder(a=b"1")).version == 1


def test_a_finished_publish_keeps_no_lease(registry: Registry, make_folder: Any) -> None:
    def refuse(*arguments: object) -> None:
        raise Aborted("no")

    registry.publish("m", STUDENT, make_folder(a=b"1"))
    with pytest.raises(Aborted):
        registry.publish("m", STUDENT, make_folder(a=b"2"), in_transaction=refuse)
    with registry.database.read() as connection:
        for table in (schema.leases, schema.lease_blobs):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0


def test_nothing_is_swept_after_an_error(
    registry: Registry, make_folder: Any, collect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.publish("m", STUDENT, make_folder(a=b"1"))
    registry.blobs.put(io.BytesIO(b"garbage"))
    with registry.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE version_files RENAME TO hidden")
    with pytest.raises(sa.exc.OperationalError):
        collect()
    assert len(list(registry.blobs.digests())) == 2

    def broken() -> None:
        raise DataLoss("damaged")

    monkeypatch.setattr(registry.database, "snapshot", broken)
    with pytest.raises(DataLoss):
        collect()
    assert registry.blobs.exists(version.files[0].digest)


def test_what_is_not_ours_is_left_alone(registry: Registry, collect: Any, tmp_path: Path) -> None:
    strangers = [tmp_path / "data" / path for path in ("blobs/sha256/00/notes", "cache/other/x")]
    for stranger in strangers:
        stranger.parent.mkdir(parents=True, exist_ok=True)
        stranger.write_text("mine")
    collect()
    assert all(stranger.read_text() == "mine" for stranger in strangers)


def test_a_dry_run_tells_what_a_run_does_and_does_nothing(
    registry: Registry, make_folder: Any, tmp_path: Path
) -> None:
    registry.publish("m", STUDENT, make_folder(shared=b"shared", own=b"one!"))
    registry.folder(registry.publish("m", STUDENT, make_folder(shared=b"shared", own=b"two")))
    registry.delete_version("m", 2)
    (tmp_path / "data" / "tmp" / "stray").write_bytes(b"")
    before = files_below(tmp_path / "data")
    now = datetime.now(UTC) + timedelta(minutes=1)
    told = registry.collect_garbage(grace=NONE, now=now, dry_run=True)
    assert files_below(tmp_path / "data") == before
    assert (told.blobs_deleted, told.bytes_freed, told.blobs_kept) == (1, 3, 2)
    assert (told.folders_deleted, told.scratch_deleted) == (1, 1)
    assert registry.collect_garbage(grace=NONE, now=now) == told


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.name.startswith("stillroom.db")}


def test_a_collection_can_be_ended_between_batches(registry: Registry, collect: Any) -> None:
    registry.blobs.put(io.BytesIO(b"x"))

    def stop() -> None:
        raise Cancelled("enough")

    now = datetime.now(UTC) + timedelta(minutes=1)
    with pytest.raises(Cancelled):
        registry.collect_garbage(grace=NONE, now=now, check=stop)
    assert collect().blobs_deleted == 1


def test_an_index_that_lost_an_entry_stops_the_sweep(
    registry: Registry, make_folder: Any, collect: Any
) -> None:
    """Else the lookup of the blob in it would say that no version has it."""
    version = registry.publish("m", STUDENT, make_folder(n=b"1"))
    with registry.database.write() as connection:
        # As a damaged page would: the table is changed behind the back of its index.
        connection.exec_driver_sql("PRAGMA writable_schema=ON")
        connection.exec_driver_sql(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master"
            " WHERE name = 'ix_version_parents_parent') WHERE name = 'ix_version_files_digest'"
        )
        connection.exec_driver_sql("PRAGMA writable_schema=RESET")
    with pytest.raises(DataLoss) as caught:
        collect()
    assert caught.value.reason == "DATABASE_DAMAGED"
    assert registry.blobs.exists(version.files[0].digest)


def test_rows_of_blobs_go_with_them(registry: Registry, make_folder: Any, collect: Any) -> None:
    version = registry.publish("m", STUDENT, make_folder(a=b"12", b=b"345"))
    registry.delete_version("m", 1)
    # As a kill between the removal and its commit leaves it.
    registry.blobs.delete(version.files[0].digest)
    assert registry.usage().used_bytes == 5
    collect()
    assert registry.usage().used_bytes == 0
