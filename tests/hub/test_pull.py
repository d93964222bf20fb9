"""Pulls: pinned, verified, resumed, and at most one version of a commit."""

from __future__ import annotations

import numpy as np
import pytest
from distillation.export.tiny import TEXTS
from imports.folders import names, static, teacher

from hub.faults import Fault
from hub.room import REPO, Killed, Room
from stillroom_registry.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StillroomError,
    Unavailable,
)
from stillroom_registry.registry import ModelKind
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.options import DEFAULT_OPTIONS
from stillroom_server.sync.values import SyncState


def vectors(room: Room, name: str) -> np.ndarray:
    folder = room.registry.folder(room.registry.resolve(name))
    embedder = StudentEmbedder.load(folder)
    return np.asarray(embedder.embed(list(TEXTS), DEFAULT_OPTIONS).vectors)


def files_of(room: Room, make: object) -> dict[str, bytes]:
    folder = room.root / "remote"
    make(folder)  # type: ignore[operator]
    return {name: (folder / name).read_bytes() for name in names(folder)}


def test_a_pushed_student_comes_back_and_serves_at_once(room: Room) -> None:
    version = room.publish()
    commit = room.push(version)["commit"]
    result = room.pull("copy")
    assert (result["commit"], result["model_version"]) == (commit, "models/copy/versions/1")
    copy = room.registry.resolve("copy")
    assert copy.metadata["origin"] == {"hub": {"repo": REPO, "revision": None, "commit": commit}}
    assert copy.metadata["layout"] == "stillroom"
    assert np.array_equal(vectors(room, "copy"), vectors(room, "mini"))
    (sync,) = room.status.of_versions("copy", [1])[1]
    assert (sync.state, sync.commit, sync.branch) == (SyncState.DONE, commit, "main")


def test_the_same_commit_is_one_version(room: Room) -> None:
    version = room.publish()
    room.push(version, tag="v1")
    assert room.pull("mini", revision="v1")["model_version"] == version.name
    first = room.pull("copy")
    room.hub.requests.clear()
    assert room.pull("copy", revision="v1") == {**first, "skipped_files": [], "notes": []}
    assert room.hub.calls("/resolve/") == 0
    assert len(room.registry.list_versions("copy").items) == 1
    room.registry.delete_version("copy", 1)
    assert room.pull("copy")["model_version"] == "models/copy/versions/2"


def test_two_pulls_at_once_make_one_version(room: Room) -> None:
    room.push(room.publish())
    second = room.queue_pull("copy")
    bring = room.registry.publish

    def race(*args: object, **more: object) -> object:
        """Another operation is faster, by a hair."""
        if args[0] == "copy" and not room.outbox.of_versions("copy", [1])[1]:
            room.registry.publish = bring  # type: ignore[method-assign]
            folder = room.copied(room.registry.resolve("mini"))
            room.registry.publish("copy", ModelKind.STUDENT, folder)
            with room.outbox.database.write() as connection:
                from dataclasses import replace

                mine = room.sync(second)
                twin = replace(
                    mine, operation="twin", state=SyncState.DONE, version=1, commit=mine.base
                )
                room.outbox.add(connection, twin)
        return bring(*args, **more)  # type: ignore[arg-type]

    room.registry.publish = race  # type: ignore[assignment, method-assign]
    assert room.run(second)["model_version"] == "models/copy/versions/1"
    assert len(room.registry.list_versions("copy").items) == 1


def test_a_branch_that_moves_while_it_is_pulled_changes_nothing(room: Room) -> None:
    commit = room.push(room.publish())["commit"]
    room.hub.faults.plan(
        Fault(
            "HEAD /org/mini/resolve",
            before=lambda: room.hub.store.put("models", REPO, {"config.json": b"{}"}),
        )
    )
    result = room.pull("copy")
    assert result["commit"] == commit
    assert np.array_equal(vectors(room, "copy"), vectors(room, "mini"))


def test_after_a_crash_it_fetches_the_same_commit_and_only_what_is_missing(room: Room) -> None:
    commit = room.push(room.publish())["commit"]
    operation = room.queue_pull("copy")
    seen = 0

    def die() -> None:
        nonlocal seen
        seen = room.hub.calls("GET /org/mini/resolve")
        if seen >= 3:
            raise Killed

    room.hub.requests.clear()
    with pytest.raises(Killed):
        room.run(operation, on_check=die)
    assert room.sync(operation).base == commit
    room.hub.store.put("models", REPO, {"config.json": b"{}"})
    before = {path for method, path, _ in room.hub.requests if method == "GET"}
    room.hub.requests.clear()
    assert room.run(operation)["commit"] == commit
    again = {path for method, path, _ in room.hub.requests if method == "GET"}
    whole = {path for path in before if "/resolve/" in path}
    assert len(whole & again) <= 1  # at most the one that was under way


def test_bytes_count_when_they_come_and_not_again_when_they_are_there(room: Room) -> None:
    room.push(room.publish())
    remote = room.hub.store.contents(REPO)
    operation = room.queue_pull("copy")

    def die() -> None:
        if room.hub.calls("GET /org/mini/resolve") >= 3:
            raise Killed

    room.hub.requests.clear()
    room.traffic.total = 0
    with pytest.raises(Killed):
        room.run(operation, on_check=die)
    first = room.traffic.total
    assert first > 0
    room.run(operation)
    version = room.registry.resolve("copy")
    assert len(remote) > 3
    fetched = sum(file.size for file in version.files if file.path in remote)
    assert first < room.traffic.total <= fetched


def test_a_file_that_arrives_damaged_is_fetched_again(room: Room) -> None:
    room.push(room.publish())
    repo = room.hub.store.repos["models", REPO]
    repo.broken = {"model.safetensors": 1, "config.json": 2}
    room.pull("copy")
    assert np.array_equal(vectors(room, "copy"), vectors(room, "mini"))
    repo.broken = {"model.safetensors": None}
    operation = room.queue_pull("other")
    with pytest.raises(DataLoss) as caught:
        room.run(operation)
    assert (caught.value.reason, caught.value.field) == ("HUB_FILE_CORRUPT", "source")
    assert caught.value.metadata["file"] == "model.safetensors"
    assert room.sync(operation).reason == "HUB_FILE_CORRUPT"
    with pytest.raises(NotFound):
        room.registry.get_model("other")


def test_a_download_that_breaks_off_goes_on_where_it_was(room: Room, lib: list[float]) -> None:
    room.push(room.publish())
    room.hub.faults.plan(Fault("GET /cdn/.*model.safetensors", cut=1000))
    room.pull("copy")
    assert room.hub.faults.struck == 1
    assert np.array_equal(vectors(room, "copy"), vectors(room, "mini"))


def test_a_file_that_is_longer_than_it_was_said_to_be_is_cut_off(room: Room) -> None:
    room.push(room.publish())
    repo = room.hub.store.repos["models", REPO]
    entry = repo.commits[repo.branches["main"]].files["model.safetensors"]
    room.hub.store.large[entry.sha256 or ""] += b"x" * 10_000_000
    with pytest.raises(DataLoss) as caught:
        room.pull("copy")
    assert caught.value.reason == "HUB_FILE_CORRUPT"


@pytest.mark.parametrize(
    ("layout", "kind"), [("sentence-transformers", "teacher"), ("static", "student")]
)
def test_layouts_of_others(room: Room, layout: str, kind: str) -> None:
    table = np.random.default_rng(0).standard_normal((67, 8)).astype(np.float32)
    from distillation.export.tiny import wordpiece

    table = table[: wordpiece().get_vocab_size()]
    if len(table) < wordpiece().get_vocab_size():
        table = np.ones((wordpiece().get_vocab_size(), 8), dtype=np.float32)
    make = teacher if kind == "teacher" else (lambda folder: static(folder, table))
    room.hub.store.create("models", REPO)
    room.hub.store.put("models", REPO, files_of(room, make))
    name = room.pull("theirs")["model_version"]
    assert room.registry.resolve(name).kind == kind


def test_unsafe_files_stay_there(room: Room) -> None:
    room.hub.store.create("models", REPO)
    files = files_of(room, teacher)
    extra = {"pytorch_model.bin": b"pickle", "modeling.py": b"import os", "../evil.json": b"{}"}
    room.hub.store.put("models", REPO, {**files, **extra})
    skipped = {file["path"] for file in room.pull("theirs")["skipped_files"]}
    assert skipped >= set(extra)
    paths = {path for _, path, _ in room.hub.requests}
    assert not any("pytorch_model" in path or "evil" in path for path in paths)
    assert not (room.root / "evil.json").exists()


@pytest.mark.parametrize(
    ("files", "kind", "reason"),
    [
        ({}, InvalidArgument, "NOT_A_MODEL"),
        ({"README.md": b"# nothing\n"}, InvalidArgument, "NOT_A_MODEL"),
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, FailedPrecondition, "PICKLE_REFUSED"),
        ({"a\\..\\b.json": b"{}"}, InvalidArgument, "UNSAFE_FILE"),
        ({"model.safetensors": b"no weights"}, InvalidArgument, None),
    ],
)
def test_what_is_no_model_makes_none(
    room: Room, files: dict[str, bytes], kind: type[StillroomError], reason: str | None
) -> None:
    room.hub.store.create("models", REPO)
    room.hub.store.put("models", REPO, files)
    with pytest.raises(kind) as caught:
        room.pull("theirs")
    assert reason in (None, caught.value.reason)
    with pytest.raises(NotFound):
        room.registry.get_model("theirs")


def test_what_cannot_be_seen(room: Room) -> None:
    from dataclasses import replace

    with pytest.raises(NotFound) as missing:
        room.pull("theirs")
    assert missing.value.reason == "HUB_REPO_NOT_FOUND"
    room.push(room.publish(), private=True)
    with pytest.raises(NotFound) as caught:
        room.pull("theirs", revision="v9")
    assert caught.value.reason == "HUB_REVISION_NOT_FOUND"
    allowed = room.settings
    room.settings = replace(allowed, imports=replace(allowed.imports, hub_allow=()))
    with pytest.raises(NotFound) as private:
        room.pull("theirs")
    assert private.value.reason == "HUB_REPO_NOT_FOUND"
    room.settings = allowed
    room.hub.store.repos["models", REPO].gated = True
    with pytest.raises(PermissionDenied) as gated:
        room.pull("theirs")
    assert gated.value.reason == "HUB_REPO_GATED"
    room.hub.faults.plan(Fault("GET /api/models", status=503, times=100))
    with pytest.raises(Unavailable):
        room.pull("theirs")


def test_too_much_is_refused_by_what_the_hub_says_of_sizes(room: Room) -> None:
    from dataclasses import replace

    room.push(room.publish())
    imports = replace(room.settings.imports, max_bytes=1000)
    room.settings = replace(room.settings, imports=imports)
    with pytest.raises(InvalidArgument) as caught:
        room.pull("theirs")
    assert caught.value.reason == "IMPORT_TOO_LARGE"
    assert room.hub.calls("/resolve/") == 0


def test_a_pulled_model_is_pushed_back_without_a_conflict(room: Room) -> None:
    room.push(room.publish())
    room.hub.store.put("models", REPO, {"notes.txt": b"by hand"})
    pulled = room.pull("mini")["model_version"]
    assert pulled == "models/mini/versions/2"
    newer = room.publish(dimensions=8)
    assert room.push(newer)["changed"]
    assert "notes.txt" in room.hub.store.contents(REPO)


def test_another_kind_under_the_name_is_refused(room: Room) -> None:
    room.push(room.publish())
    folder = room.root / "teacher"
    teacher(folder)
    room.registry.publish("taken", ModelKind.TEACHER, folder)
    with pytest.raises(FailedPrecondition) as caught:
        room.pull("taken")
    assert caught.value.reason == "KIND_MISMATCH"
