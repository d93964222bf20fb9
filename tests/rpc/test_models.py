from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from serving import Details, Serving, serving

from rpc.conftest import publish_models
from stillroom.v1 import common_pb2, model_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub


@pytest.fixture(scope="module")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    data = tmp_path_factory.mktemp("data")
    publish_models(data, tmp_path_factory.mktemp("scratch"))
    with serving(data) as running:
        yield running


@pytest.fixture(scope="module")
def stub(registry_server: Serving) -> ModelServiceStub:
    return ModelServiceStub(registry_server.channel)


def test_models_are_listed_in_pages(stub: ModelServiceStub) -> None:
    first = stub.ListModels(pb.ListModelsRequest(page_size=1))
    assert [m.name for m in first.models] == ["models/s"]
    second = stub.ListModels(pb.ListModelsRequest(page_size=1, page_token=first.next_page_token))
    assert [m.name for m in second.models] == ["models/t"]
    assert not second.next_page_token
    teachers = stub.ListModels(pb.ListModelsRequest(kind=model_pb2.MODEL_KIND_TEACHER))
    assert [m.name for m in teachers.models] == ["models/t"]
    assert second.models[0].latest_version == 1


def test_versions_are_shown_whole(stub: ModelServiceStub) -> None:
    version = stub.GetModelVersion(pb.GetModelVersionRequest(name="s@1")).model_version
    assert version.name == "models/s/versions/1"
    assert version.metadata["dimensions"] == 16
    assert {file.path for file in version.files} >= {"config.json", "model.safetensors"}
    assert version.total_bytes == sum(file.size_bytes for file in version.files)
    listed = stub.ListModelVersions(pb.ListModelVersionsRequest(parent="models/s"))
    assert [v.version for v in listed.model_versions] == [2, 1]


def test_aliases_move_and_requests_repeat_safely(stub: ModelServiceStub) -> None:
    request = pb.SetModelAliasRequest(
        model="s", alias="production", version=1, request_id=str(uuid.uuid4())
    )
    assert stub.SetModelAlias(request).alias.version == 1
    stub.SetModelAlias(
        pb.SetModelAliasRequest(model="s", alias="production", version=2, expected_version=1)
    )
    assert stub.SetModelAlias(request).alias.version == 1  # the recorded answer
    model = stub.GetModel(pb.GetModelRequest(name="models/s")).model
    assert model.aliases["production"] == 2  # and no second move
    resolved = stub.GetModelVersion(pb.GetModelVersionRequest(name="s@production"))
    assert list(resolved.model_version.aliases) == ["production"]
    other = pb.SetModelAliasRequest(
        model="s", alias="other", version=1, request_id=request.request_id
    )
    with pytest.raises(grpc.RpcError) as caught:
        stub.SetModelAlias(other)
    assert Details(caught.value).field == "request_id"
    stub.DeleteModelAlias(pb.DeleteModelAliasRequest(model="s", alias="production"))
    assert not stub.GetModel(pb.GetModelRequest(name="s")).model.aliases


@pytest.mark.parametrize(
    ("method", "request_", "code", "field"),
    [
        ("ListModels", pb.ListModelsRequest(page_size=-1), "INVALID_ARGUMENT", "page_size"),
        ("ListModels", pb.ListModelsRequest(page_token="?"), "INVALID_ARGUMENT", "page_token"),
        ("ListModels", pb.ListModelsRequest(kind=77), "INVALID_ARGUMENT", "kind"),  # type: ignore[arg-type]
        ("ListModels", pb.ListModelsRequest(filter="name ="), "INVALID_ARGUMENT", "filter"),
        ("ListModels", pb.ListModelsRequest(order_by="size"), "INVALID_ARGUMENT", "order_by"),
        ("GetModel", pb.GetModelRequest(name="s@1"), "INVALID_ARGUMENT", "name"),
        ("GetModel", pb.GetModelRequest(name="gone"), "NOT_FOUND", None),
        ("GetModelVersion", pb.GetModelVersionRequest(name=""), "INVALID_ARGUMENT", "name"),
        ("GetModelVersion", pb.GetModelVersionRequest(name="s@99"), "NOT_FOUND", None),
        (
            "DeleteModelVersion",
            pb.DeleteModelVersionRequest(name="s"),
            *("INVALID_ARGUMENT", "name"),
        ),
        (
            "SetModelAlias",
            pb.SetModelAliasRequest(model="s", alias="V1", version=1),
            *("INVALID_ARGUMENT", "alias"),
        ),
        (
            "SetModelAlias",
            pb.SetModelAliasRequest(model="s", alias="a", version=0),
            *("INVALID_ARGUMENT", "version"),
        ),
        (
            "SetModelAlias",
            pb.SetModelAliasRequest(model="s", alias="a", version=1, expected_version=7),
            *("ABORTED", None),
        ),
        ("DeleteModel", pb.DeleteModelRequest(name="s", etag="stale"), "ABORTED", None),
        ("ImportModel", pb.ImportModelRequest(name="x"), "INVALID_ARGUMENT", "source"),
        (
            "ImportModel",
            pb.ImportModelRequest(name="x", source=common_pb2.ModelSource(path="/etc")),
            *("PERMISSION_DENIED", "source.path"),
        ),
        (
            "ImportModel",
            pb.ImportModelRequest(
                name="x", source=common_pb2.ModelSource(upload="uploads/" + "a" * 26)
            ),
            *("NOT_FOUND", None),
        ),
        (
            "ImportModel",
            pb.ImportModelRequest(
                name="x",
                source=common_pb2.ModelSource(hub=common_pb2.HubSource(repo="../etc")),
            ),
            *("INVALID_ARGUMENT", "source.hub.repo"),
        ),
        (
            "ImportModel",
            pb.ImportModelRequest(
                name="Bad Name", source=common_pb2.ModelSource(hub=common_pb2.HubSource(repo="a/b"))
            ),
            *("INVALID_ARGUMENT", "name"),
        ),
        (
            "ImportModel",
            pb.ImportModelRequest(
                name="s",
                kind=model_pb2.MODEL_KIND_TEACHER,
                source=common_pb2.ModelSource(hub=common_pb2.HubSource(repo="a/b")),
            ),
            *("FAILED_PRECONDITION", "name"),
        ),
        (
            "ImportModel",
            pb.ImportModelRequest(
                name="x",
                labels={"Bad Key": "v"},
                source=common_pb2.ModelSource(hub=common_pb2.HubSource(repo="a/b")),
            ),
            *("INVALID_ARGUMENT", "labels"),
        ),
    ],
)
def test_bad_requests(
    stub: ModelServiceStub, method: str, request_: object, code: str, field: str | None
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, method)(request_)
    details = Details(caught.value)
    assert details.code.name == code
    if field is not None:
        assert details.field == field


def collect(stub: ModelServiceStub, request: pb.DownloadModelVersionRequest) -> dict[str, bytes]:
    parts = list(stub.DownloadModelVersion(request))
    assert parts[0].HasField("model_version")
    files: dict[str, bytes] = {}
    path = ""
    for part in parts[1:]:
        if part.HasField("file"):
            path = part.file.path
            files[path] = b""
        else:
            files[path] += part.chunk
    return files


def test_download_gives_the_bytes_that_the_digests_say(stub: ModelServiceStub) -> None:
    version = stub.GetModelVersion(pb.GetModelVersionRequest(name="s@2")).model_version
    files = collect(stub, pb.DownloadModelVersionRequest(name="s@2"))
    assert {path: f"sha256:{hashlib.sha256(data).hexdigest()}" for path, data in files.items()} == {
        file.path: file.digest for file in version.files
    }


def test_download_resumes_and_refuses_what_is_not_there(stub: ModelServiceStub) -> None:
    whole = collect(stub, pb.DownloadModelVersionRequest(name="s", paths=["config.json"]))
    rest = collect(stub, pb.DownloadModelVersionRequest(name="s", paths=["config.json"], offset=5))
    assert rest["config.json"] == whole["config.json"][5:]
    for request, code in [
        (pb.DownloadModelVersionRequest(name="s", paths=["../x"]), grpc.StatusCode.NOT_FOUND),
        (
            pb.DownloadModelVersionRequest(name="s", paths=["config.json"], offset=10**9),
            grpc.StatusCode.OUT_OF_RANGE,
        ),
        (
            pb.DownloadModelVersionRequest(name="s", offset=-1),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            collect(stub, request)
        assert Details(caught.value).code is code


def test_deleting_takes_force_when_an_alias_points_there(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    with serving(tmp_path / "data") as running:
        stub = ModelServiceStub(running.channel)
        stub.SetModelAlias(pb.SetModelAliasRequest(model="s", alias="live", version=1))
        with pytest.raises(grpc.RpcError) as caught:
            stub.DeleteModelVersion(pb.DeleteModelVersionRequest(name="s@1"))
        assert Details(caught.value).code is grpc.StatusCode.FAILED_PRECONDITION
        stub.DeleteModelVersion(pb.DeleteModelVersionRequest(name="s@1", force=True))
        model = stub.GetModel(pb.GetModelRequest(name="s")).model
        assert (model.latest_version, dict(model.aliases)) == (2, {})
        stub.DeleteModel(pb.DeleteModelRequest(name="s", etag=model.etag))
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetModel(pb.GetModelRequest(name="s"))
        assert Details(caught.value).code is grpc.StatusCode.NOT_FOUND
