"""How long an upload stays, who may remove it, and how much fits."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from uploads.support import (
    CONTENT,
    HEADER,
    HOUR,
    Clock,
    Make,
    broken_off,
    refused,
    resuming,
    upload,
)

from stillroom_registry.errors import (
    Aborted,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
)
from stillroom_server.uploads.model import UploadHeader
from stillroom_server.uploads.store import UploadStore


class TestTime:
    def test_what_is_old_is_gone(self, store: UploadStore, clock: Clock, tmp_path: Path) -> None:
        old, unfinished = upload(store), broken_off(store, 3000)
        clock.now += 12 * HOUR
        young = upload(store)
        assert store.expire() == []
        clock.now += 12 * HOUR
        for use in (store.get, store.open, store.delete):
            with refused(NotFound, "UPLOAD_NOT_FOUND"):
                use(old)
        assert sorted(store.expire(clock.now)) == sorted([old, unfinished])
        assert [f"uploads/{p.name}" for p in (tmp_path / "data/uploads").iterdir()] == [young]
        assert store.open(young).read_bytes() == CONTENT

    def test_every_stream_moves_the_end(self, store: UploadStore, clock: Clock) -> None:
        name = broken_off(store, 3000)
        clock.now += 23 * HOUR
        writer = store.begin(resuming(name, 3000))
        assert store.get(name).expire_time == clock.now + 24 * HOUR
        clock.now += 23 * HOUR
        writer.write(CONTENT[3000:])
        assert writer.finish().expire_time == clock.now + 24 * HOUR

    def test_a_slow_stream_is_not_swept_away(self, store: UploadStore, clock: Clock) -> None:
        with store.begin(HEADER) as writer:
            clock.now += 25 * HOUR
            assert store.expire() == []
            writer.write(CONTENT)
            assert writer.finish().complete
        assert store.get(writer.name).complete

    def test_holding_outlives_expiry_in_every_store(self, make: Make, clock: Clock) -> None:
        front, runner = make(), make()
        name = upload(front)
        with runner.hold(name) as path:
            clock.now += 25 * HOUR
            assert front.expire() == []
            assert runner.open(name) == path
            assert path.read_bytes() == CONTENT
        assert front.expire() == [name]

    def test_an_operation_may_begin_after_the_end(self, store: UploadStore, clock: Clock) -> None:
        name = upload(store)
        clock.now += 25 * HOUR
        with store.hold(name) as path, store.hold(name):
            assert path.read_bytes() == CONTENT
        with pytest.raises(NotFound):
            store.open(name)

    def test_what_unfinished_operations_need_is_spared(self, make: Make, clock: Clock) -> None:
        wanted: set[str] = set()
        store = make(in_use=lambda: wanted)
        wanted.add(upload(store))
        other = upload(store)
        clock.now += 25 * HOUR
        assert store.expire() == [other]
        wanted_name = wanted.pop()
        assert store.expire() == [wanted_name]

    def test_nothing_is_swept_when_the_needed_are_unknown(self, make: Make, clock: Clock) -> None:
        def fail() -> set[str]:
            raise RuntimeError("no database")

        name = upload(make())
        clock.now += 25 * HOUR
        with pytest.raises(RuntimeError):
            make(in_use=fail).expire()
        assert make().expire() == [name]


class TestDelete:
    def test_it_is_gone(self, store: UploadStore) -> None:
        name = upload(store)
        store.delete(name)
        for use in (store.get, store.open, store.delete):
            with pytest.raises(NotFound):
                use(name)

    def test_not_while_it_is_written_or_read(self, make: Make) -> None:
        store, other = make(), make()
        with store.begin(HEADER) as writer:
            with refused(Aborted, "UPLOAD_BUSY"):
                other.delete(writer.name)
            writer.write(CONTENT)
            writer.finish()
        with store.hold(writer.name), refused(FailedPrecondition, "UPLOAD_IN_USE"):
            other.delete(writer.name)
        other.delete(writer.name)

    def test_an_incomplete_upload_cannot_be_held(self, store: UploadStore) -> None:
        name = broken_off(store, 3000)
        with refused(FailedPrecondition, "UPLOAD_INCOMPLETE"), store.hold(name):
            pass


class TestBounds:
    def test_one_upload(self, make: Make) -> None:
        store = make(max_bytes=100)
        upload(store, b"x" * 100)
        with refused(ResourceExhausted, "UPLOAD_TOO_LARGE", "header.total_bytes"):
            store.begin(UploadHeader(total_bytes=101))

    def test_all_uploads_count_as_announced(self, make: Make, clock: Clock) -> None:
        store = make(max_bytes=100, max_total_bytes=250)
        upload(store, b"x" * 100)
        store.begin(UploadHeader(total_bytes=100)).close()
        store = make(max_bytes=100, max_total_bytes=250)
        with refused(ResourceExhausted, "UPLOADS_FULL"):
            store.begin(UploadHeader(total_bytes=51))
        last = upload(store, b"x" * 50)
        store.delete(last)
        upload(store, b"x" * 50)
        clock.now += 24 * HOUR  # what expired makes room by itself
        upload(store, b"x" * 100)

    def test_their_number(self, make: Make) -> None:
        store = make(max_uploads=2)
        upload(store, b"x")
        upload(store, b"x")
        with refused(ResourceExhausted, "UPLOADS_FULL"):
            store.begin(UploadHeader(total_bytes=1))

    def test_the_disk_is_asked_first(self, make: Make) -> None:
        with refused(ResourceExhausted, "DISK_FULL"):
            make(free_bytes=lambda _: 99).begin(UploadHeader(total_bytes=100))
        upload(make(free_bytes=lambda _: 100), b"x" * 100)


class TestRaces:
    """What another stream or process does between looking at an upload and having its lock."""

    @pytest.fixture
    def meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
        def arrange(action: Callable[[], None]) -> None:
            really_lock = fcntl.flock

            def lock(file: Any, operation: int) -> None:
                monkeypatch.undo()
                action()
                really_lock(file, operation)

            monkeypatch.setattr(fcntl, "flock", lock)

        return arrange

    @pytest.mark.parametrize("use", ["hold", "delete"])
    def test_it_was_deleted(self, make: Make, meanwhile: Any, use: str) -> None:
        store, other = make(), make()
        name = upload(store)
        meanwhile(lambda: other.delete(name))
        with refused(NotFound, "UPLOAD_NOT_FOUND"):
            if use == "delete":
                store.delete(name)
            else:
                store.hold(name).__enter__()

    def test_it_was_finished(self, make: Make, meanwhile: Any) -> None:
        store, other = make(), make()
        name = broken_off(store, 3000)

        def finish() -> None:
            with other.begin(resuming(name, 3000)) as writer:
                writer.write(CONTENT[3000:])
                writer.finish()

        meanwhile(finish)
        with refused(FailedPrecondition, "UPLOAD_COMPLETE"):
            store.begin(resuming(name, 3000))
        assert store.open(name).read_bytes() == CONTENT

    def test_it_was_given_more_time(self, make: Make, meanwhile: Any, clock: Clock) -> None:
        store, other = make(), make()
        name = broken_off(store, 3000)
        over = clock.now + 24 * HOUR
        clock.now += 23 * HOUR
        meanwhile(lambda: other.begin(resuming(name, 3000)).close())
        assert store.expire(over) == []
        assert store.get(name).committed_bytes == 3000
