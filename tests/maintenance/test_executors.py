"""The operations that verify and collect, with a context that only notes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import pytest

from maintenance.conftest import Clock, Store
from stillroom_registry.errors import Cancelled, DataLoss, NotFound
from stillroom_server.maintenance.collect import CollectGarbageExecutor
from stillroom_server.maintenance.verify import VerifyExecutor
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.executors import build
from stillroom_server.parts import OPERATION_KINDS


class Noting:
    """``fail`` is called whenever the executor looks whether to stop."""

    def __init__(self, fail: Callable[[], None] = lambda: None) -> None:
        self.check_cancelled = self.confirm = fail
        self.seen: list[tuple[str, int, int]] = []

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.seen.append((phase, done, total))


def run(executor: Any, request: Any, context: Noting) -> Any:
    return executor.run(request, cast("OperationContext", context))


def cancel() -> None:
    raise Cancelled("enough")


def test_a_whole_version_is_found_whole(store: Store) -> None:
    version = store.publish("m", a_json=b"same", b_json=b"same", c_txt=bytes(3_000_000))
    context = Noting()
    found = run(VerifyExecutor(store.registry), {"model_version": version.name}, context)
    assert found == {"damaged_files": [], "verified_bytes": 3_000_004}
    assert [done for _, done, _ in context.seen] == sorted(done for _, done, _ in context.seen)
    assert context.seen[-1] == ("hash", 3_000_004, 3_000_004)


def test_damage_is_a_result_and_in_quarantine(store: Store) -> None:
    version = store.publish("m", a_json=b"same", b_json=b"same", c_json=b"other")
    store.damage(version, "c.json")
    found = run(VerifyExecutor(store.registry), {"model_version": version.name}, Noting())
    (file,) = found["damaged_files"]
    (wanted,) = (file for file in version.files if file.path == "c.json")
    assert file == {"path": "c.json", "digest": wanted.digest, "size": 5}
    with pytest.raises(DataLoss, match="Publish, import or pull"):
        store.registry.folder(version)


def test_a_version_deleted_meanwhile_is_not_found(store: Store) -> None:
    version = store.publish("m", a_json=b"a")
    store.registry.delete_model("m")
    with pytest.raises(NotFound):
        run(VerifyExecutor(store.registry), {"model_version": version.name}, Noting())


def test_a_cancelled_verification_says_nothing_of_the_bytes(store: Store, clock: Clock) -> None:
    version = store.publish("m", a_json=b"a")
    store.damage(version, "a.json")
    clock.advance(days=1)
    with pytest.raises(Cancelled):
        run(VerifyExecutor(store.registry), {"model_version": version.name}, Noting(cancel))
    assert store.registry.damaged_files(version) == ()
    assert store.registry.due_for_verification(clock.now) == (version,)


def collect(store: Store, context: Noting | None = None, **request: Any) -> Any:
    executor = CollectGarbageExecutor(store.registry, lambda: _later(store))
    request = {"dry_run": False, "grace_seconds": 0.0, **request}
    return run(executor, request, context or Noting())


def _later(store: Store) -> datetime:
    """After the blobs' own times, which the file system gives."""
    return max([store.clock.now, *(blob.stored for blob in store.registry.blobs.stored())])


def blobs(store: Store) -> list[str]:
    return sorted(store.registry.blobs.digests())


def test_a_dry_run_only_tells(store: Store) -> None:
    store.publish("kept", a_json=b"kept")
    store.publish("gone", a_json=b"gone!", b_json=b"kept")
    store.registry.delete_model("gone")
    before = blobs(store)
    told = collect(store, dry_run=True)
    assert told == {"deleted_blobs": 1, "deleted_bytes": 5, "kept_blobs": 1}
    assert blobs(store) == before
    assert collect(store) == told
    assert len(blobs(store)) == 1
    assert collect(store) == {"deleted_blobs": 0, "deleted_bytes": 0, "kept_blobs": 1}


def test_what_is_young_is_spared(store: Store) -> None:
    store.publish("gone", a_json=b"gone")
    store.registry.delete_model("gone")
    hundred_years = 100 * 365 * 86_400.0
    assert collect(store, grace_seconds=hundred_years)["deleted_blobs"] == 0
    assert collect(store)["deleted_blobs"] == 1


def test_a_cancelled_collection_removes_nothing_more(store: Store) -> None:
    store.publish("gone", a_json=b"gone")
    store.registry.delete_model("gone")
    with pytest.raises(Cancelled):
        collect(store, Noting(cancel))
    assert len(blobs(store)) == 1


def test_every_kind_has_an_executor(store: Store) -> None:
    assert tuple(sorted(build({}, store.registry))) == OPERATION_KINDS


def test_bytes_from_a_backup_are_believed_once_verified(store: Store) -> None:
    version = store.publish("m", a_json=b"whole")
    blob = store.damage(version, "a.json")
    request = {"model_version": version.name}
    assert run(VerifyExecutor(store.registry), request, Noting())["damaged_files"]
    blob.write_bytes(b"whole")
    with pytest.raises(DataLoss):
        store.registry.folder(version)  # nobody has looked yet
    assert not run(VerifyExecutor(store.registry), request, Noting())["damaged_files"]
    assert (store.registry.folder(version) / "a.json").read_bytes() == b"whole"
