"""``stillroom models``: aliases, lineage, upkeep, and the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from client.fake_server import FakeServer
from client.test_cli import HOSTILE, MODELS
from client.test_operations import operation
from stillroom.cli import exits
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import operation_service_pb2 as operations


def succeeds(server: FakeServer, method: str, response: Any) -> None:
    """Scripts an operation that is done when it is asked for."""
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response)
    server.answer(f"{MODELS}/{method}", done)


def test_lists_take_a_filter_and_an_order(server: FakeServer, run: Any) -> None:
    server.answer(f"{MODELS}/ListModels", models.ListModelsResponse())
    chosen = ("--filter", 'labels.team = "search"', "--order-by", "update_time desc")
    assert run("models", "list", *chosen).code == 0
    assert server.requests == [
        models.ListModelsRequest(filter='labels.team = "search"', order_by="update_time desc")
    ]


def test_update_changes_what_is_given(server: FakeServer, run: Any) -> None:
    model = model_pb2.Model(name="models/m", etag="e1", labels={"team": "search", "old": "1"})
    server.answer(f"{MODELS}/GetModel", models.GetModelResponse(model=model))
    server.answer(f"{MODELS}/UpdateModel", models.UpdateModelResponse(model=model))
    assert run("models", "update", "m", "--description", "new").code == 0
    first: Any = server.requests[-1]
    assert (first.model.description, list(first.update_mask.paths)) == ("new", ["description"])
    assert (first.model.etag, len(server.requests)) == ("", 1)
    ran = run("models", "update", "m", "--label", "tier=gold", "--remove-label", "old")
    assert ran.code == 0, ran.err
    second: Any = server.requests[-1]
    assert dict(second.model.labels) == {"team": "search", "tier": "gold"}
    assert (second.model.etag, list(second.update_mask.paths)) == ("e1", ["labels"])
    assert run("models", "update", "m", "--remove-label", "old", "--etag", "e0").code == 0
    assert server.requests[-1].model.etag == "e0"  # type: ignore[attr-defined]
    assert json.loads(run("models", "update", "m", "--label", "a=b", "--json").out)["etag"] == "e1"


def test_aliases(server: FakeServer, run: Any) -> None:
    model = model_pb2.Model(name="models/m", aliases={"prod": 3, "default": 1})
    alias = model_pb2.ModelAlias(name="models/m/aliases/prod", version=2)
    server.answer(f"{MODELS}/GetModel", models.GetModelResponse(model=model))
    server.answer(f"{MODELS}/SetModelAlias", models.SetModelAliasResponse(alias=alias))
    server.answer(f"{MODELS}/RollBackModelAlias", models.RollBackModelAliasResponse(alias=alias))
    assert json.loads(run("models", "alias", "list", "m", "--json").out) == {
        "default": 1,
        "prod": 3,
    }
    assert "prod" in run("models", "alias", "list", "m").out
    ran = run("models", "alias", "set", "m", "prod", "2", "--expect", "3")
    assert ran.out == "m@prod is version 2\n"
    assert server.requests[-1].expected_version == 3  # type: ignore[attr-defined]
    assert run("models", "alias", "set", "m", "prod", "2", "--expect", "0").code == 0
    assert server.requests[-1].HasField("expected_version")
    assert run("models", "rollback", "m", "prod", "--expect", "3").out == "m@prod is version 2\n"
    assert server.requests[-1].expected_version == 3  # type: ignore[attr-defined]


def test_history(server: FakeServer, run: Any) -> None:
    moves = [
        model_pb2.AliasEvent(
            alias="models/m/aliases/prod", from_version=0, to_version=3, actor=HOSTILE
        ),
        model_pb2.AliasEvent(alias="models/m/aliases/prod", from_version=3, to_version=0),
    ]
    moves[0].event_time.FromSeconds(1_900_000_000)
    server.answer(f"{MODELS}/ListAliasEvents", models.ListAliasEventsResponse(events=moves))
    ran = run("models", "history", "m", "--alias", "prod")
    assert ran.code == 0, ran.err
    assert "2030-03-1" in ran.out
    assert "\x1b" not in ran.out
    assert [line.split()[-2:] for line in ran.out.splitlines()[2:]] == [["3", "-"]]
    assert server.requests[-1].alias == "prod"  # type: ignore[attr-defined]
    machine = json.loads(run("models", "history", "m", "--json", "--limit", "1").out)
    assert [move["to_version"] for move in machine] == [3]


def test_lineage(server: FakeServer, run: Any, tmp_path: Path) -> None:
    found = models.GetLineageResponse()
    found.nodes.add(model_version="models/s/versions/2", kind=model_pb2.MODEL_KIND_STUDENT)
    found.nodes.add(model_version="models/t/versions/1", deleted=True)
    found.edges.add(parent="models/t/versions/1", child="models/s/versions/2", relation="distill")
    server.answer(f"{MODELS}/GetLineage", found)
    ran = run("models", "lineage", "s", "--depth", "3")
    assert ran.out.splitlines() == ["t@1  (deleted)", "└─ s@2 *  (distill, student)"]
    assert server.requests[-1].depth == 3  # type: ignore[attr-defined]
    assert run("models", "lineage", "s", "--mermaid").out.startswith("flowchart LR\n")
    picture = tmp_path / "lineage.svg"
    ran = run("models", "lineage", "s", "--svg", str(picture))
    assert (ran.code, ran.out) == (0, "")
    assert "s@2" in picture.read_text()
    assert json.loads(run("models", "lineage", "s", "--json").out)["nodes"][1]["deleted"]
    found.nodes[0].metadata.update({"recipe": "static_tuned"})
    found.truncated = True
    server.answer(f"{MODELS}/GetLineage", found)
    ran = run("models", "lineage", "s")
    assert ran.out.splitlines()[1] == "└─ s@2 *  (distill, student, static_tuned)"
    assert "the farthest are left out" in ran.err


def test_verify(server: FakeServer, run: Any) -> None:
    whole = models.VerifyModelVersionResponse(verified_bytes=15_000_000)
    succeeds(server, "VerifyModelVersion", whole)
    assert run("models", "verify", "m@1").out == "m@1 is whole: 15.0 MB hashed\n"
    damaged = models.VerifyModelVersionResponse(verified_bytes=15)
    damaged.damaged_files.add(path="model.safetensors", size_bytes=15, digest="sha256:00")
    succeeds(server, "VerifyModelVersion", damaged)
    ran = run("models", "verify", "m@1")
    assert ran.code == exits.FAILURE
    assert "model.safetensors" in ran.out
    assert "refused until its bytes are back" in ran.err
    machine = run("models", "verify", "m@1", "--json")
    assert machine.code == exits.FAILURE
    assert json.loads(machine.out)["response"]["damaged_files"][0]["size_bytes"] == 15


def test_garbage(server: FakeServer, run: Any) -> None:
    counted = models.CollectGarbageResponse(
        deleted_blobs=1200, deleted_bytes=3_000_000, kept_blobs=7
    )
    succeeds(server, "CollectGarbage", counted)
    ran = run("models", "gc", "--dry-run", "--grace", "0")
    assert ran.out == "1,200 blobs (3.0 MB) would be deleted, 7 kept\n"
    request: Any = server.requests[-1]
    assert request.dry_run
    assert request.HasField("grace_period")
    assert "deleted, 7 kept" in run("models", "gc").out
    assert not server.requests[-1].HasField("grace_period")


def test_push_and_pull(server: FakeServer, run: Any) -> None:
    pushed = models.PushModelVersionResponse(commit="c0", changed=True, url="https://hub/a/b")
    succeeds(server, "PushModelVersion", pushed)
    ran = run(
        *("models", "push", "m@1", "a/b", "--branch", "dev", "--tag", "v1", "--private", "--force")
    )
    assert ran.out == "https://hub/a/b\n"
    request: Any = server.requests[-1]
    assert request == models.PushModelVersionRequest(
        name="m@1",
        repo="a/b",
        branch="dev",
        tag="v1",
        private_repo=True,
        force=True,
        request_id=request.request_id,
    )
    succeeds(server, "PushModelVersion", models.PushModelVersionResponse(commit="c0"))
    ran = run("models", "push", "m@1", "a/b")
    assert (ran.out, "holds these files already" in ran.err) == ("a/b c0\n", True)
    pulled = models.PullModelResponse(commit="c1")
    pulled.model_version.name = "models/m/versions/4"
    succeeds(server, "PullModel", pulled)
    ran = run("models", "pull", "a/b@main", "m")
    assert "models/m/versions/4" in ran.out
    assert "c1" in ran.out
    assert server.requests[-1].source.revision == "main"  # type: ignore[attr-defined]
    assert run("models", "pull", "a/b@main", "m", "--revision", "x").code == exits.USAGE


@pytest.mark.parametrize("name", ["m", "m@2"])
def test_show_tells_of_syncs(server: FakeServer, run: Any, name: str) -> None:
    version = model_pb2.ModelVersion(name="models/m/versions/2", version=2)
    sync = version.hub_syncs.add(
        direction=model_pb2.HUB_SYNC_DIRECTION_PUSH,
        repo="a/b",
        branch="main",
        commit="0123456789abcdef",
        state=model_pb2.HUB_SYNC_STATE_CONFLICT,
        message="the remote is at fedcba",
    )
    sync.update_time.FromSeconds(1_900_000_000)
    server.answer(
        f"{MODELS}/GetModelVersion", models.GetModelVersionResponse(model_version=version)
    )
    server.answer(
        f"{MODELS}/GetModel", models.GetModelResponse(model=model_pb2.Model(name="models/m"))
    )
    server.answer(
        f"{MODELS}/ListModelVersions", models.ListModelVersionsResponse(model_versions=[version])
    )
    ran = run("models", "show", name)
    for text in ("push", "a/b@main", "conflict", "0123456789ab", "2030-03-1", "at fedcba"):
        assert text in ran.out, text
    version.ClearField("hub_syncs")
    server.answer(
        f"{MODELS}/GetModelVersion", models.GetModelVersionResponse(model_version=version)
    )
    server.answer(
        f"{MODELS}/ListModelVersions", models.ListModelVersionsResponse(model_versions=[version])
    )
    assert "REPOSITORY" not in run("models", "show", name).out


@pytest.mark.parametrize("name", ["m", "m@2"])
def test_show_tells_of_damage(server: FakeServer, run: Any, name: str) -> None:
    version = model_pb2.ModelVersion(name="models/m/versions/2", version=2)
    version.damaged_files.add(path="model.safetensors", digest="sha256:00")
    server.answer(
        f"{MODELS}/GetModelVersion", models.GetModelVersionResponse(model_version=version)
    )
    server.answer(
        f"{MODELS}/GetModel", models.GetModelResponse(model=model_pb2.Model(name="models/m"))
    )
    server.answer(
        f"{MODELS}/ListModelVersions", models.ListModelVersionsResponse(model_versions=[version])
    )
    ran = run("models", "show", name)
    assert "model.safetensors" in ran.out
    assert "refused until" in ran.err
