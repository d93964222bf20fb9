"""Pushes that go as they should, and what the Hub has afterwards."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from hub.faults import Fault
from hub.room import REPO, Room
from hub.server import MULTIPART, Hub
from hub.state import User
from stillroom_registry.errors import (
    Aborted,
    DataLoss,
    FailedPrecondition,
    PermissionDenied,
    StillroomError,
)
from stillroom_registry.registry import ModelVersion
from stillroom_server.operations.model import OperationState
from stillroom_server.sync.values import Direction, SyncState

GENERATED = {"README.md", "stillroom.json"}


def held(room: Room, version: ModelVersion) -> bool:
    """Whether the branch holds the version's files; the card and the manifest are made for it."""
    there = room.hub.store.contents(REPO)
    return (
        all(
            there.get(file.path) == file.digest.removeprefix("sha256:")
            for file in version.files
            if file.path not in GENERATED
        )
        and set(there) >= GENERATED
    )


def test_a_version_is_one_commit_and_then_a_tag(room: Room) -> None:
    version = room.publish()
    result = room.push(version, tag="v1", private=True)
    repo = room.hub.store.repos["models", REPO]
    assert repo.private
    assert room.hub.commits(REPO) == [f"Publish {version.name}"]
    assert held(room, version)
    head = repo.branches["main"]
    assert result == {"commit": head, "changed": True, "url": f"{room.hub.url}/{REPO}/tree/{head}"}
    assert repo.tags == {"v1": head}
    order = [f"{method} {path}" for method, path, _ in room.hub.requests]
    commit = next(i for i, call in enumerate(order) if "/commit/" in call)
    assert all(i > commit for i, call in enumerate(order) if "/tag/" in call)
    assert ".gitattributes" in room.hub.store.contents(REPO)


def test_what_is_there_already_is_not_sent_again(room: Room) -> None:
    version = room.publish()
    first = room.push(version)
    sent, moved = room.hub.calls("/storage/"), room.traffic.total
    assert moved >= sum(file.size for file in version.files if file.path not in GENERATED)
    again = room.push(version, tag="later")
    assert again == {**first, "changed": False}
    assert room.hub.commits(REPO) == [f"Publish {version.name}"]
    assert (room.hub.calls("/storage/"), room.traffic.total) == (sent, moved)
    assert room.hub.store.repos["models", REPO].tags == {"later": first["commit"]}


def test_only_what_differs_goes_and_what_is_gone_goes_too(room: Room) -> None:
    first = room.change(room.publish(), **{"extra.txt": b"soon gone"})
    room.push(first)
    room.hub.store.put("models", "org/mini", {})  # nothing: another head, the same files
    room.hub.requests.clear()
    second = room.change(first, **{"extra.txt": None, "more.txt": b"new"})
    with pytest.raises(Aborted):
        room.push(second)
    room.push(second, force=True)
    there = room.hub.store.contents(REPO)
    assert "more.txt" in there
    assert "extra.txt" not in there
    assert room.hub.calls("/storage/") == 0  # the weights are the same
    assert held(room, second)


@pytest.mark.parametrize("part_bytes", [1000, 1 << 16])
def test_large_files_go_in_parts(tmp_path: Path, lib: list[float], part_bytes: int) -> None:
    with Hub(transfer=MULTIPART, part_bytes=part_bytes).running() as hub:
        room = Room(tmp_path, hub)
        version = room.publish()
        room.push(version)
        assert held(room, version)
        weights = next(file for file in version.files if file.path == "model.safetensors")
        assert hub.calls("/part/") >= weights.size // part_bytes
        room.registry.close()


def test_the_card_says_what_the_hub_wants_to_know_and_the_manifest_says_the_card(
    room: Room,
) -> None:
    hub = room.hub
    hub.store.create("models", "tester/base")
    teacher = room.registry.publish(
        "teacher",
        room.publish("other").kind,
        room.copied(room.registry.resolve("other")),
        metadata={"origin": {"hub": {"repo": "tester/base", "revision": None, "commit": "c"}}},
    )
    version = room.publish()
    folder = room.copied(version)
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [mine]\n---\n# Mine\n\nText.\n")
    made = room.registry.publish(
        "mini",
        version.kind,
        folder,
        metadata={"report": {"similarity_spearman": 0.9}},
        parents=(teacher.name,),
    )
    room.push(made)
    commit = hub.store.repos["models", REPO].resolve("main")
    assert commit is not None
    card = (commit.files["README.md"].data or b"").decode()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front == {
        "license": "mit",
        "tags": ["mine", "stillroom"],
        "library_name": "model2vec",
        "pipeline_tag": "sentence-similarity",
        "base_model": "tester/base",
        "metrics": ["spearmanr"],
    }
    assert card.endswith("# Mine\n\nText.\n")
    manifest = json.loads(commit.files["stillroom.json"].data or b"")
    assert manifest["files"]["README.md"] == sha256(card.encode()).hexdigest()


def test_a_private_base_is_not_named(room: Room) -> None:
    room.hub.store.create("models", "org/secret", private=True)
    origin = {"origin": {"hub": {"repo": "org/secret", "revision": None, "commit": "c"}}}
    version = room.publish()
    folder = room.copied(version)
    base = room.registry.publish("base", version.kind, folder, metadata=origin)
    made = room.registry.publish("mini", version.kind, folder, parents=(base.name,))
    room.push(made)
    commit = room.hub.store.repos["models", REPO].resolve("main")
    assert commit is not None
    assert b"org/secret" not in (commit.files["README.md"].data or b"")


@pytest.mark.slow
def test_hundreds_of_files_are_one_commit(room: Room) -> None:
    """The library asks of 256 at a time, and an upload of a folder would make several commits."""
    files = {f"notes/{number}.txt": b"%d" % number for number in range(300)}
    version = room.publish()
    folder = room.copied(version)
    (folder / "notes").mkdir()
    for path, data in files.items():
        (folder / path).write_bytes(data)
    many = room.registry.publish("mini", version.kind, folder)
    room.push(many)
    assert room.hub.commits(REPO) == [f"Publish {many.name}"]
    assert held(room, many)


def test_branches_are_made_and_kept_apart(room: Room) -> None:
    first, second = room.publish(), room.publish(dimensions=8)
    room.push(first)
    room.push(second, branch="next/one")
    repo = room.hub.store.repos["models", REPO]
    assert set(repo.branches) == {"main", "next/one"}
    assert repo.commits[repo.branches["next/one"]].parent == repo.branches["main"]
    assert room.hub.commits(REPO) == [f"Publish {first.name}"]
    assert held(room, first)
    # The branch began with what main has, which nobody else's push may have put there.
    assert room.hub.commits(REPO, "next/one")[0] == f"Publish {second.name}"


def test_a_remote_that_moved_is_a_conflict_with_both_sides_named(room: Room) -> None:
    first = room.publish()
    known = room.push(first)["commit"]
    moved = room.hub.store.put("models", REPO, {"config.json": b"{}"}).oid
    second = room.publish(dimensions=8)
    operation = room.queue_push(second)
    with pytest.raises(Aborted) as caught:
        room.run(operation)
    error = caught.value
    assert (error.reason, error.field) == ("HUB_CONFLICT", "force")
    assert error.metadata["remote_commit"] == moved
    assert error.metadata["known_commit"] == known
    assert error.metadata["known_version"] == first.name
    assert error.metadata["model_version"] == second.name
    assert "config.json" in error.metadata["files"]
    assert room.hub.commits(REPO) == ["Update by hand", f"Publish {first.name}"]
    assert room.sync(operation).state is SyncState.CONFLICT
    assert room.sync(operation).reason == "HUB_CONFLICT"
    room.push(second, force=True)
    assert held(room, second)


def test_a_repository_of_somebody_else_is_not_overwritten(room: Room) -> None:
    room.hub.store.create("models", REPO)
    room.hub.store.put("models", REPO, {"config.json": b"{}", "theirs.txt": b"x"})
    version = room.publish()
    with pytest.raises(Aborted) as caught:
        room.push(version)
    assert caught.value.metadata["known_commit"] == ""
    room.push(version, force=True)
    assert held(room, version)
    assert "theirs.txt" in room.hub.store.contents(REPO)  # nothing of ours, so it stays


def test_a_new_repository_is_free_to_fill(room: Room) -> None:
    room.hub.store.create("models", REPO)
    version = room.publish()
    assert room.push(version)["changed"]


def test_a_remote_that_moves_in_the_last_moment_is_a_conflict_too(room: Room) -> None:
    room.push(room.publish())
    second = room.publish(dimensions=8)
    room.hub.faults.plan(
        Fault(
            "POST /api/models/org/mini/commit/",
            before=lambda: room.hub.store.put("models", REPO, {"config.json": b"{}"}),
        )
    )
    with pytest.raises(Aborted) as caught:
        room.push(second)
    assert caught.value.reason == "HUB_CONFLICT"
    assert len(room.hub.commits(REPO)) == 2


def test_a_tag_that_names_something_else_stops_the_push_before_it_begins(room: Room) -> None:
    first = room.publish()
    tagged = room.push(first, tag="v1")["commit"]
    second = room.publish(dimensions=8)
    with pytest.raises(Aborted) as caught:
        room.push(second, tag="v1")
    assert (caught.value.reason, caught.value.field) == ("HUB_TAG_TAKEN", "tag")
    assert caught.value.metadata["remote_commit"] == tagged
    assert room.hub.commits(REPO) == [f"Publish {first.name}"]
    moved = room.push(second, tag="v1", force=True)["commit"]
    assert room.hub.store.repos["models", REPO].tags == {"v1": moved}


def test_an_older_version_may_follow_a_newer_one(room: Room) -> None:
    first, second = room.publish(), room.publish(dimensions=8)
    for version in (first, second, first):
        room.push(version)
        assert held(room, version)
    assert len(room.hub.commits(REPO)) == 3


def test_what_a_gitignore_leaves_out_is_told_and_nothing_is_committed(room: Room) -> None:
    room.push(room.publish())
    room.hub.store.put("models", REPO, {".gitignore": b"*.safetensors\n"})
    with pytest.raises(FailedPrecondition) as caught:
        room.push(room.publish(dimensions=8), force=True)
    assert caught.value.reason == "HUB_FILES_IGNORED"
    assert caught.value.metadata["file"] == "model.safetensors"
    assert len(room.hub.commits(REPO)) == 2


def test_damaged_bytes_are_never_sent(room: Room) -> None:
    version = room.publish()
    file = next(file for file in version.files if file.path == "config.json")
    path = room.registry.blobs.path(file.digest)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"{", b"[", 1))
    with pytest.raises(DataLoss) as caught:
        room.push(version)
    assert caught.value.reason == "BLOB_DAMAGED"
    assert room.hub.calls("POST") == 0


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"push": False}, PermissionDenied, "HUB_PUSH_OFF"),
        ({"hub_allow": ("other/*",)}, PermissionDenied, "HUB_REPO_NOT_ALLOWED"),
        ({"hub_token": ""}, FailedPrecondition, "HUB_TOKEN_MISSING"),
    ],
)
def test_what_the_operator_does_not_allow_is_refused_without_a_call(
    room: Room, change: dict[str, object], kind: type[StillroomError], reason: str
) -> None:
    from dataclasses import replace

    from stillroom_server.security.secret import Secret

    imports = room.settings.imports
    if "hub_allow" in change:
        imports = replace(imports, hub_allow=change["hub_allow"])  # type: ignore[arg-type]
    if "hub_token" in change:
        imports = replace(imports, hub_token=Secret(""))
    room.settings = replace(room.settings, imports=imports, push=bool(change.get("push", True)))
    with pytest.raises(kind) as caught:
        room.push(room.publish())
    assert caught.value.reason == reason
    assert not room.hub.requests


def test_a_token_without_the_right_and_one_that_expired(room: Room) -> None:
    version = room.publish()
    users, token = room.hub.store.users, room.settings.imports.hub_token.reveal()
    users[token] = User("tester", frozenset({"tester"}))
    with pytest.raises(PermissionDenied) as caught:
        room.push(version)
    assert caught.value.reason == "HUB_ACCESS_DENIED"
    users[token] = User("tester", frozenset({"org"}), expired=True)
    with pytest.raises(PermissionDenied) as caught:
        room.push(version)
    assert caught.value.reason == "HUB_TOKEN_INVALID"


def test_the_outbox_and_its_counts_tell_how_far_it_is(room: Room) -> None:
    version = room.publish()
    operation = room.queue_push(version, tag="v1")
    (pending,) = room.status.of_versions("mini", [1])[1]
    assert (pending.state, pending.tag, pending.repo) == (SyncState.PENDING, "v1", REPO)
    assert room.status.counts()[Direction.PUSH, SyncState.PENDING] == 1
    commit = room.run(operation)["commit"]
    (done,) = room.status.of_versions("mini", [1])[1]
    assert (done.state, done.commit, done.branch) == (SyncState.DONE, commit, "main")
    assert room.status.counts()[Direction.PUSH, SyncState.DONE] == 1
    assert room.status.counts()[Direction.PUSH, SyncState.PENDING] == 0


def test_a_push_that_was_cancelled_before_its_turn_says_so(room: Room) -> None:
    version = room.publish()
    operation = room.queue_push(version)
    room.store.request_cancel(operation)
    assert room.operation(operation).state is OperationState.CANCELLED
    (sync,) = room.status.of_versions("mini", [1])[1]
    assert sync.state is SyncState.CANCELLED
    room.store.delete(operation)
    (sync,) = room.status.of_versions("mini", [1])[1]
    assert sync.state is SyncState.FAILED
    assert "forgotten" in sync.message


def test_the_token_is_in_no_row_no_error_and_no_log(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = room.settings.imports.hub_token.reveal()
    version = room.publish()
    room.hub.faults.plan(Fault("PUT /storage/", status=500, times=2))
    room.push(version, tag="v1")
    room.hub.store.put("models", REPO, {"config.json": b"{}"})
    with pytest.raises(Aborted) as caught:
        room.push(room.publish(dimensions=8))
    said = f"{caught.value} {caught.value.metadata} {caplog.text}"
    assert token not in said
    assert "X-Amz-Signature" not in said
    data = room.root / "data"
    for path in data.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path
    # It goes to the Hub itself, and never to where the Hub sends us.
    for method, path, sent in room.hub.requests:
        storage = path.startswith(("/storage/", "/cdn/")) and "/complete" not in path
        assert (sent is None) == storage, (method, path)
