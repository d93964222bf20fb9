from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_registry.registry import Registry
from stillroom_registry.requests import RequestLog
from stillroom_registry.values import ModelKind


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry.open(tmp_path / "data")
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text("{}")
    for _ in range(2):
        registry.publish("m", ModelKind.STUDENT, source)
    yield registry
    registry.close()


def test_a_repeated_request_is_answered_alike_and_changes_nothing(registry: Registry) -> None:
    log = RequestLog(registry.database, Clock())
    calls: list[int] = []

    def change() -> bytes:
        calls.append(1)
        registry.set_alias("m", "production", 1)
        return b"answer"

    assert log.run("id", b"f", change) == b"answer"
    registry.set_alias("m", "production", 2)
    assert log.run("id", b"f", change) == b"answer"
    assert len(calls) == 1
    assert registry.get_model("m").aliases == {"production": 2}


def test_a_failed_change_leaves_neither_effect_nor_record(registry: Registry) -> None:
    log = RequestLog(registry.database, Clock())

    def change() -> bytes:
        registry.set_alias("m", "production", 1)
        raise NotFound("no")

    with pytest.raises(NotFound):
        log.run("id", b"f", change)
    assert registry.get_model("m").aliases == {}
    assert log.run("id", b"f", lambda: b"second try") == b"second try"


def test_the_same_id_with_another_body_is_refused(registry: Registry) -> None:
    log = RequestLog(registry.database, Clock())
    log.run("id", b"f", lambda: b"a")
    with pytest.raises(InvalidArgument) as caught:
        log.run("id", b"g", lambda: b"b")
    assert caught.value.field == "request_id"
    with pytest.raises(InvalidArgument):
        log.run("x" * 257, b"f", lambda: b"")


def test_ids_are_forgotten_after_24_hours(registry: Registry) -> None:
    clock = Clock()
    log = RequestLog(registry.database, clock)
    log.run("id", b"f", lambda: b"first")
    clock.now += timedelta(hours=24)
    assert log.run("id", b"g", lambda: b"second") == b"second"
