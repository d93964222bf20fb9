"""A quota is refused before a byte is written, and cannot be outrun."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stillroom_registry.errors import ResourceExhausted
from stillroom_registry.registry import ModelKind, Registry

STUDENT = ModelKind.STUDENT


@pytest.fixture
def limited(tmp_path: Path, clock: Any) -> Any:
    registry = Registry.open(tmp_path / "limited", clock=clock, quota_bytes=100)
    yield registry
    registry.close()


def collect(registry: Registry) -> None:
    now = datetime.now(UTC) + timedelta(hours=2)
    registry.collect_garbage(grace=timedelta(0), now=now)


def test_what_does_not_fit_is_refused_before_it_is_written(
    limited: Registry, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited.publish("m", STUDENT, make_folder(n=bytes(60)))

    def written(*arguments: object) -> None:
        raise AssertionError("a byte was written")

    with monkeypatch.context() as patched:
        patched.setattr(limited.blobs, "stage", written)
        with pytest.raises(ResourceExhausted) as caught:
            limited.publish("m", STUDENT, make_folder(n=b"x" * 41))
    assert caught.value.reason == "QUOTA_EXCEEDED"
    assert caught.value.metadata == {
        "used_bytes": "60",
        "needed_bytes": "41",
        "quota_bytes": "100",
    }
    assert limited.publish("m", STUDENT, make_folder(n=b"x" * 40)).version == 2
    assert limited.usage().used_bytes == limited.usage().quota_bytes == 100


def test_what_is_stored_already_needs_no_room(limited: Registry, make_folder: Any) -> None:
    limited.publish("m", STUDENT, make_folder(n=bytes(80)))
    again = limited.publish("m", STUDENT, make_folder(n=bytes(80), o=bytes(80), p=b"x" * 20))
    assert again.version == 2
    assert limited.usage().used_bytes == 100
    assert limited.publish("full", STUDENT, make_folder(n=bytes(80), empty=b"")).version == 1


def test_room_comes_back_with_the_collection(limited: Registry, make_folder: Any) -> None:
    limited.publish("m", STUDENT, make_folder(n=bytes(80)))
    limited.delete_version("m", 1)
    with pytest.raises(ResourceExhausted):
        limited.publish("m", STUDENT, make_folder(n=b"x" * 80))
    collect(limited)
    assert limited.usage().used_bytes == 0
    limited.publish("m", STUDENT, make_folder(n=b"x" * 80))


def test_publishers_at_once_do_not_exceed_it_together(
    limited: Registry, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [make_folder(n=bytes([number]) * 30) for number in range(6)]
    barrier = threading.Barrier(6)
    real = limited.blobs.stage
    outcomes: list[object] = []

    def stage_together(source: Any) -> Any:
        barrier.wait(120)  # all have passed the first look
        return real(source)

    monkeypatch.setattr(limited.blobs, "stage", stage_together)

    def publish(folder: Path) -> None:
        try:
            outcomes.append(limited.publish("m", STUDENT, folder).version)
        except ResourceExhausted as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=publish, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(map(str, outcomes)) == ["1", "2", "3", *["QUOTA_EXCEEDED"] * 3]
    assert limited.usage().used_bytes == 90
    collect(limited)
    assert sum(blob.size for blob in limited.blobs.stored()) == 90


def test_without_a_quota_usage_is_known_all_the_same(registry: Registry, make_folder: Any) -> None:
    registry.publish("m", STUDENT, make_folder(a=b"12", b=b"345", c=b"12"))
    assert (registry.usage().used_bytes, registry.usage().quota_bytes) == (5, None)
