"""PushModelVersion and PullModel over the wire, against the fake Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from distillation.export.tiny import write_tiny
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2_grpc import OperationsStub
from hub.server import TOKEN, Hub
from serving import Details, Serving, serving

from stillroom.v1 import common_pb2, model_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub
from stillroom_registry.registry import ModelKind, Registry

REPO = "org/mini"


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub().running() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[Serving]:
    data = tmp_path_factory.mktemp("data")
    student = tmp_path_factory.mktemp("scratch") / "student"
    write_tiny(student)
    registry = Registry.open(data)
    registry.publish("mini", ModelKind.STUDENT, student)
    registry.close()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STILLROOM_HUB_TOKEN", TOKEN)
        environment.setenv("HF_HUB_DISABLE_XET", "1")
        environment.setenv("HF_HUB_OFFLINE", "0")
        environment.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        with serving(data, hub_allow=["org/*"], hub_push=True, hub_endpoint=hub.url) as running:
            yield running


@pytest.fixture(scope="module")
def stub(server: Serving) -> ModelServiceStub:
    return ModelServiceStub(server.channel)


def finished(server: Serving, operation: Any) -> Any:
    request = operations_pb2.WaitOperationRequest(name=operation.name, timeout={"seconds": 120})
    ended = OperationsStub(server.channel).WaitOperation(request)
    assert ended.done
    return ended


@pytest.mark.slow
def test_there_and_back(server: Serving, stub: ModelServiceStub, hub: Hub) -> None:
    request = pb.PushModelVersionRequest(name="mini", repo=REPO, tag="v1", request_id="one")
    operation = stub.PushModelVersion(request)
    version = stub.GetModelVersion(pb.GetModelVersionRequest(name="mini@1")).model_version
    (sync,) = version.hub_syncs
    assert sync.operation == operation.name
    assert stub.PushModelVersion(request).name == operation.name
    pushed = pb.PushModelVersionResponse()
    ended = finished(server, operation)
    assert ended.response.Unpack(pushed), ended.error
    assert pushed.changed
    assert pushed.url.startswith(f"{hub.url}/{REPO}")

    pull = pb.PullModelRequest(name="copy", source=common_pb2.HubSource(repo=REPO, revision="v1"))
    pulled = pb.PullModelResponse()
    ended = finished(server, stub.PullModel(pull))
    assert ended.response.Unpack(pulled), ended.error
    assert pulled.commit == pushed.commit
    assert pulled.model_version.name == "models/copy/versions/1"
    listed = stub.ListModelVersions(pb.ListModelVersionsRequest(parent="copy"))
    (sync,) = listed.model_versions[0].hub_syncs
    assert sync.direction == model_pb2.HUB_SYNC_DIRECTION_PULL
    assert sync.state == model_pb2.HUB_SYNC_STATE_DONE
    assert (sync.repo, sync.branch, sync.commit) == (REPO, "v1", pushed.commit)

    hub.store.put("models", REPO, {"config.json": b"{}"})
    again = finished(server, stub.PushModelVersion(pb.PushModelVersionRequest(
        name="mini", repo=REPO)))  # fmt: skip
    assert again.error.code == grpc.StatusCode.ABORTED.value[0]
    info = Details(again.error).info
    assert info.reason == "HUB_CONFLICT"
    assert info.metadata["known_commit"] == pushed.commit
    version = stub.GetModelVersion(pb.GetModelVersionRequest(name="mini@1")).model_version
    assert version.hub_syncs[0].state == model_pb2.HUB_SYNC_STATE_CONFLICT
    assert version.hub_syncs[0].reason == "HUB_CONFLICT"


@pytest.mark.parametrize(
    ("change", "code", "reason", "field"),
    [
        ({"name": ""}, "INVALID_ARGUMENT", "BAD_MODEL_NAME", "name"),
        ({"name": "gone"}, "NOT_FOUND", "MODEL_NOT_FOUND", None),
        ({"name": "mini@9"}, "NOT_FOUND", "VERSION_NOT_FOUND", None),
        ({"repo": ""}, "INVALID_ARGUMENT", "BAD_REPO", "repo"),
        ({"repo": "org/a/b"}, "INVALID_ARGUMENT", "BAD_REPO", "repo"),
        ({"repo": "../etc"}, "INVALID_ARGUMENT", "BAD_REPO", "repo"),
        ({"repo": "org/.."}, "INVALID_ARGUMENT", "BAD_REPO", "repo"),
        ({"repo": "\u043erg/mini"}, "INVALID_ARGUMENT", "BAD_REPO", "repo"),  # a Cyrillic o
        ({"repo": "org/mini\n"}, "INVALID_ARGUMENT", "BAD_REPO", "repo"),
        ({"repo": "org/mi ni"}, "INVALID_ARGUMENT", "BAD_REPO", "repo"),
        ({"repo": "o" * 10_000 + "/x"}, "INVALID_ARGUMENT", "BAD_REPO", "repo"),
        ({"repo": "other/mini"}, "PERMISSION_DENIED", "HUB_REPO_NOT_ALLOWED", "repo"),
        ({"branch": "a..b"}, "INVALID_ARGUMENT", "BAD_REF", "branch"),
        ({"branch": "a b"}, "INVALID_ARGUMENT", "BAD_REF", "branch"),
        ({"branch": "b" * 256}, "INVALID_ARGUMENT", "BAD_REF", "branch"),
        ({"tag": "-x"}, "INVALID_ARGUMENT", "BAD_REF", "tag"),
        ({"tag": "a\nb"}, "INVALID_ARGUMENT", "BAD_REF", "tag"),
        ({"tag": "x.lock"}, "INVALID_ARGUMENT", "BAD_REF", "tag"),
        ({"tag": "/x"}, "INVALID_ARGUMENT", "BAD_REF", "tag"),
    ],
)
def test_pushes_that_are_refused(
    stub: ModelServiceStub, change: dict[str, str], code: str, reason: str, field: str | None
) -> None:
    request = pb.PushModelVersionRequest(**{"name": "mini", "repo": REPO, **change})
    with pytest.raises(grpc.RpcError) as caught:
        stub.PushModelVersion(request)
    details = Details(caught.value)
    assert (details.code.name, details.info.reason) == (code, reason)
    assert field in (None, details.field)


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (pb.PullModelRequest(name="x"), "SOURCE_REQUIRED", "source"),
        (pb.PullModelRequest(name="x", source={"repo": "x"}), "BAD_REPO", "source.repo"),
        (pb.PullModelRequest(name="A", source={"repo": REPO}), "BAD_MODEL_NAME", "name"),
        (
            pb.PullModelRequest(name="x", source={"repo": REPO, "revision": "a..b"}),
            *("BAD_REF", "source.revision"),
        ),
    ],
)
def test_pulls_that_are_refused(
    stub: ModelServiceStub, request_: pb.PullModelRequest, reason: str, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.PullModel(request_)
    details = Details(caught.value)
    assert (details.code.name, details.info.reason) == ("INVALID_ARGUMENT", reason)
    assert details.field == field


def test_a_server_that_does_not_push_says_so(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path / "data")
    write_tiny(tmp_path / "student")
    registry.publish("mini", ModelKind.STUDENT, tmp_path / "student")
    registry.close()
    with serving(tmp_path / "data", hub_allow=["org/*"]) as running:
        with pytest.raises(grpc.RpcError) as caught:
            ModelServiceStub(running.channel).PushModelVersion(
                pb.PushModelVersionRequest(name="mini", repo=REPO)
            )
        details = Details(caught.value)
        assert (details.code.name, details.info.reason) == ("PERMISSION_DENIED", "HUB_PUSH_OFF")
        listed = OperationsStub(running.channel).ListOperations(
            operations_pb2.ListOperationsRequest()
        )
        assert not listed.operations
    assert not list((tmp_path / "data" / "operations").iterdir())
