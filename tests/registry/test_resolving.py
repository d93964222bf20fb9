"""The memory of names: never stale, bounded, and cheap."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stillroom_registry import resolving
from stillroom_registry.names import ModelRef
from stillroom_registry.registry import ModelKind, Registry
from stillroom_registry.resolving import Resolver


def move(data_dir: Path) -> None:
    registry = Registry.open(data_dir)
    registry.set_alias("m", "production", 2)
    registry.close()


def test_a_move_by_another_process_is_seen(
    registry: Registry, make_folder: Any, tmp_path: Path
) -> None:
    for number in (b"1", b"2"):
        registry.publish("m", ModelKind.STUDENT, make_folder(n=number))
    registry.set_alias("m", "production", 1)
    assert registry.resolve("m@production").version == 1
    process = multiprocessing.get_context("spawn").Process(target=move, args=(tmp_path / "data",))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert registry.resolve("m@production").version == 2


def test_the_memory_is_used_and_bounded(
    registry: Registry, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(n=b"1")
    for _ in range(4):
        registry.publish("m", ModelKind.STUDENT, folder)
    monkeypatch.setattr(resolving, "MAX_ENTRIES", 2)
    resolver = Resolver(registry.database, registry._reader)
    first = resolver.resolve("m@1")
    assert resolver.resolve("m@1") is first
    registry.set_alias("m", "production", 1)
    assert resolver.resolve("m@1") is first, "a commit elsewhere does not change a version"
    for number in (1, 2, 3, 4):
        assert resolver.resolve(f"m@{number}").version == number
        assert len(resolver._memory) <= 2


def test_an_answer_read_during_a_commit_is_not_kept(
    registry: Registry, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (b"1", b"2"):
        registry.publish("m", ModelKind.STUDENT, make_folder(n=number))
    registry.set_alias("m", "production", 1)
    for step, then in (("find", 2), ("number_of", 1)):
        real = getattr(resolving, step)
        before = 3 - then

        def read_then_move(*arguments: Any, real: Any = real, then: int = then) -> Any:
            found = real(*arguments)
            registry.set_alias("m", "production", then)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(resolving, step, read_then_move)
            assert registry.resolve("m@production").version == before
        assert registry.resolve("m@production").version == then
        assert registry.resolve("m@production").version == then
        registry.set_alias("m", "other", then)


def test_a_hot_resolve_looks_at_the_data_version_alone(
    registry: Registry, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query takes hundreds of microseconds; how few this takes, benchmarks say."""
    registry.publish("m", ModelKind.STUDENT, make_folder(n=b"1"))
    resolver = Resolver(registry.database, registry._reader)
    first = resolver.resolve("m")
    assert resolver.resolve("m") is first, "the second time its state is remembered, too"
    looks: list[int] = []

    def data_version() -> int:
        looks.append(registry.database.data_version())
        return looks[-1]

    monkeypatch.setattr(resolver, "_database", SimpleNamespace(data_version=data_version))
    monkeypatch.setattr(resolver, "_reader", None)
    monkeypatch.setattr(ModelRef, "parse", None)
    assert resolver.resolve("m") is first
    assert len(looks) == 1
