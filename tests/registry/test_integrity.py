"""Damage is found, kept from users, and healed by whole bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stillroom_registry import blobs as blobs_module
from stillroom_registry.errors import Cancelled, DataLoss, NotFound
from stillroom_registry.registry import ModelKind, ModelVersion, Registry

STUDENT = ModelKind.STUDENT
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "onnx/model.onnx": b"graph"}


@pytest.fixture
def version(registry: Registry, make_folder: Any) -> ModelVersion:
    return registry.publish("m", STUDENT, make_folder(FILES))


def blob(registry: Registry, version: ModelVersion, path: str) -> Path:
    (digest,) = (file.digest for file in version.files if file.path == path)
    return registry.blobs.path(digest)


def damage(path: Path, content: bytes | None = None) -> None:
    path.chmod(0o600)
    before = path.read_bytes()
    path.write_bytes(bytes([before[0] ^ 1]) + before[1:] if content is None else content)


def paths(files: tuple[Any, ...]) -> list[str]:
    return [file.path for file in files]


def refused(call: Callable[[], Any]) -> DataLoss:
    with pytest.raises(DataLoss) as caught:
        call()
    assert caught.value.reason == "QUARANTINED"
    return caught.value


def test_whole_bytes_are_found_whole(registry: Registry, version: ModelVersion) -> None:
    seen: list[int] = []
    found = registry.verify(version, on_bytes=seen.append)
    assert (found.damaged, found.bytes_hashed) == ((), version.size)
    assert seen == sorted(seen)
    assert seen[-1] == version.size
    assert registry.damaged_files(version) == ()
    registry.check_whole(version)


@pytest.mark.parametrize("content", [None, b"short", b"", b"weights and more"])
def test_damage_is_found_and_kept_from_users(
    registry: Registry, version: ModelVersion, content: bytes | None
) -> None:
    damage(blob(registry, version, "model.safetensors"), content)
    assert paths(registry.verify(version).damaged) == ["model.safetensors"]
    assert paths(registry.damaged_files(version)) == ["model.safetensors"]
    for use in (
        lambda: registry.folder(version),
        lambda: registry.check_whole(version),
        lambda: registry.open_file(version, "model.safetensors"),
    ):
        error = refused(use)
        assert error.metadata["version"] == version.name
        assert "model.safetensors" in error.message
        assert "Publish, import or pull the same files again" in error.message
    with registry.open_file(version, "config.json") as stream:
        assert stream.read() == b"{}"
    with pytest.raises(NotFound):
        registry.open_file(version, "absent")
    assert registry.resolve("m") == version, "its name still means it"


def test_a_missing_blob_is_damage(registry: Registry, version: ModelVersion) -> None:
    blob(registry, version, "config.json").unlink()
    assert paths(registry.verify(version).damaged) == ["config.json"]
    refused(lambda: registry.folder(version))


def test_a_disk_that_cannot_be_read_is_damage(
    registry: Registry, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*arguments: object) -> bytes:
        raise OSError(errno.EIO, "bad sector")

    class Stream:
        read = unreadable

    with monkeypatch.context() as patched:
        real = blobs_module._read
        patched.setattr(blobs_module, "_read", lambda stream: real(Stream()))
        assert len(registry.verify(version).damaged) == len(version.files)
    assert registry.verify(version).damaged == ()
    registry.folder(version)


def test_all_versions_with_the_bytes_are_refused_and_no_other(
    registry: Registry, make_folder: Any, version: ModelVersion
) -> None:
    shares = registry.publish("shares", STUDENT, make_folder(w=b"weights"))
    other = registry.publish("other", STUDENT, make_folder(FILES | {"model.safetensors": b"else"}))
    damage(blob(registry, version, "model.safetensors"))
    registry.verify(version)
    refused(lambda: registry.folder(shares))
    registry.folder(other)


def test_another_opener_knows_at_once(
    registry: Registry, open_registry: Callable[[], Registry], version: ModelVersion
) -> None:
    there = open_registry()
    there.folder(version)
    damage(blob(registry, version, "config.json"))
    registry.verify(version)
    refused(lambda: there.folder(version))
    there.close()
    again = open_registry()
    refused(lambda: again.folder(version))


def test_publishing_the_same_bytes_heals(
    registry: Registry, make_folder: Any, version: ModelVersion
) -> None:
    folder = registry.folder(version)
    for path in FILES:
        damage(blob(registry, version, path))
    assert paths(registry.verify(version).damaged) == sorted(FILES)
    registry.publish("elsewhere", STUDENT, make_folder({"w": b"weights", "g": b"graph"}))
    assert paths(registry.damaged_files(version)) == ["config.json"]
    registry.publish("elsewhere", STUDENT, make_folder({"c": b"{}"}))
    assert registry.folder(version) == folder
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert registry.verify(version).damaged == ()


@pytest.mark.parametrize("older", [10**9, 0], ids=["long ago", "in the same tick"])
def test_damage_that_nobody_noticed_is_healed_in_folders_too(
    registry: Registry, make_folder: Any, version: ModelVersion, older: int
) -> None:
    """A graph in a folder is a hard link: the damaged bytes, though the blob was replaced."""
    folder = registry.folder(version)
    damage(blob(registry, version, "onnx/model.onnx"))
    assert (folder / "onnx" / "model.onnx").read_bytes() != b"graph"
    registry.publish("elsewhere", STUDENT, make_folder(g=b"graph"))
    stored = blob(registry, version, "onnx/model.onnx").stat().st_mtime_ns
    os.utime(folder / "onnx" / "model.onnx", ns=(stored - older, stored - older))
    assert registry.folder(version) == folder
    assert (folder / "onnx" / "model.onnx").read_bytes() == b"graph"


def test_verifying_what_was_repaired_by_hand_heals(
    registry: Registry, version: ModelVersion
) -> None:
    path = blob(registry, version, "model.safetensors")
    damage(path)
    registry.verify(version)
    damage(path, b"weights")
    refused(lambda: registry.folder(version))
    assert registry.verify(version).damaged == ()
    registry.folder(version)


def test_a_verdict_on_bytes_that_were_replaced_meanwhile_does_not_count(
    registry: Registry, make_folder: Any, version: ModelVersion
) -> None:
    damage(blob(registry, version, "model.safetensors"))
    folder, healed = make_folder(w=b"weights"), False

    def heal_when_nearly_done(done: int) -> None:
        nonlocal healed
        if done == version.size and not healed:
            healed = True
            registry.publish("elsewhere", STUDENT, folder)

    assert paths(registry.verify(version, on_bytes=heal_when_nearly_done).damaged) == [
        "model.safetensors"
    ]
    assert healed
    registry.folder(version)


def test_quarantine_on_somebodys_word(
    registry: Registry, make_folder: Any, version: ModelVersion
) -> None:
    stranger = registry.publish("stranger", STUDENT, make_folder(n=b"1"))
    registry.quarantine(version, [version.files[0], *stranger.files])
    assert registry.damaged_files(version) == version.files[:1]
    assert registry.damaged_files(stranger) == ()
    assert registry.verify(version).damaged == ()
    registry.folder(version)


def test_verifying_can_be_ended(registry: Registry, version: ModelVersion) -> None:
    damage(blob(registry, version, "config.json"))

    def cancel() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        registry.verify(version, check=cancel)
    registry.folder(version)


def test_a_quarantined_version_can_be_deleted_and_its_bytes_collected(
    registry: Registry, version: ModelVersion, clock: Any
) -> None:
    damage(blob(registry, version, "config.json"))
    registry.verify(version)
    registry.delete_version("m", 1)
    report = registry.collect_garbage(grace=timedelta(0), now=clock.now + timedelta(days=3650))
    assert report.blobs_deleted == len(FILES)
    assert registry.usage().used_bytes == 0


def test_the_longest_unseen_is_due_first(registry: Registry, make_folder: Any, clock: Any) -> None:
    versions = []
    for number in range(4):
        versions.append(registry.publish("m", STUDENT, make_folder(n=bytes([number]))))
        clock.advance(60)
    registry.delete_version("m", 4)
    start = versions[0].create_time
    assert registry.due_for_verification(start - timedelta(seconds=1)) == ()
    assert registry.due_for_verification(start) == tuple(versions[:1])
    assert registry.due_for_verification(clock.now) == tuple(versions[:3])
    registry.verify(versions[0])
    assert registry.due_for_verification(clock.now, 2) == (versions[1], versions[2])
    damage(registry.blobs.path(versions[1].files[0].digest))
    clock.advance(60)
    registry.verify(versions[1])
    due = registry.due_for_verification(clock.now)
    assert due == (versions[2], versions[0], versions[1]), "what is damaged is looked at again"


def test_verifying_what_is_due_reaches_every_blob(
    registry: Registry, make_folder: Any, clock: Any
) -> None:
    for number in range(6):
        registry.publish("m", STUDENT, make_folder(shared=b"same", own=bytes([number])))
    start = clock.now
    clock.advance(60)
    rounds = 0
    while due := registry.due_for_verification(start, 1):
        registry.verify(due[0])
        rounds += 1
    assert rounds == 6
