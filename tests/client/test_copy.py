"""Versions from one server to another."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from client.fake_server import (
    FakeServer,
    PatientAsyncTransport,
    PatientTransport,
    fail,
    fake_server,
    status,
)
from client.test_operations import operation
from client.test_transfers import UploadStore
from stillroom import AsyncClient, Client, errors
from stillroom.cli import exits
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import operation_service_pb2 as operations

MODELS = "stillroom.v1.ModelService"
FILES = {"config.json": b"{}", "model.safetensors": b"w" * 300_000}


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def version(name: str, digest: str = "sha256:aa") -> model_pb2.ModelVersion:
    made = model_pb2.ModelVersion(name=name, kind=model_pb2.MODEL_KIND_STUDENT, digest=digest)
    for path, data in FILES.items():
        made.files.add(path=path, digest=sha256(data), size_bytes=len(data))
    return made


class Source:
    """A server with one version, whose downloads break once where they are told to."""

    def __init__(self, server: FakeServer, *, break_at: int | None = None) -> None:
        self.asked: list[models.DownloadModelVersionRequest] = []
        self._break_at = break_at
        self.files = dict(FILES)
        self.version = version("models/m/versions/3")
        server.answer(
            f"{MODELS}/GetModelVersion", models.GetModelVersionResponse(model_version=self.version)
        )
        model = model_pb2.Model(name="models/m", description="about it", labels={"team": "search"})
        server.answer(f"{MODELS}/GetModel", models.GetModelResponse(model=model))
        server.on(f"{MODELS}/DownloadModelVersion", self._download)

    def _download(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.asked.append(request)
        yield models.DownloadModelVersionResponse(model_version=self.version)
        offset = request.offset
        for path in request.paths:
            file = next(file for file in self.version.files if file.path == path)
            yield models.DownloadModelVersionResponse(file=file)
            data = self.files[path][offset:]
            offset = 0
            for start in range(0, len(data), 100_000):
                if self._break_at == start and len(data) > 100_000:
                    self._break_at = None
                    fail(context, status(code_pb2.UNAVAILABLE, "broke"))
                yield models.DownloadModelVersionResponse(chunk=data[start : start + 100_000])


class Target:
    """A server that imports what it is sent."""

    def __init__(self, server: FakeServer, *breaks: int, digest: str = "sha256:aa") -> None:
        self.store = UploadStore(server, *breaks)
        self.imported: list[models.ImportModelRequest] = []
        self._digest = digest
        server.on(f"{MODELS}/ImportModel", self._import)
        server.on(f"{MODELS}/ListModelVersions", self._list)
        server.on("stillroom.v1.OperationService/WatchOperation", self._watch)

    def _import(self, request: models.ImportModelRequest, context: Any) -> Any:
        self.imported.append(request)
        return operation()

    def _made(self) -> model_pb2.ModelVersion:
        return version("models/m/versions/1", self._digest)

    def _list(self, request: models.ListModelVersionsRequest, context: Any) -> Any:
        if not self.imported:
            fail(context, status(code_pb2.NOT_FOUND, "no such model"), again=False)
        return models.ListModelVersionsResponse(model_versions=[self._made()])

    def _watch(self, request: Any, context: Any) -> Iterator[Any]:
        response = models.ImportModelResponse(model_version=self._made())
        if self._digest != "sha256:aa":
            response.skipped_files.add(path="extra.py", reason="code")
            response.skipped_files.add(path="config.json", reason="made anew")
            response.model_version.files[0].digest = "sha256:other"
        done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response)
        yield operations.WatchOperationResponse(operation=done)


@pytest.fixture
def other() -> Iterator[FakeServer]:
    """The second server."""
    with fake_server() as fake:
        yield fake


def unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {item.name: tar.extractfile(item).read() for item in tar}  # type: ignore[union-attr]


def test_a_version_comes_over_whole(
    server: FakeServer, client: Client, other: FakeServer, tmp_path: Path
) -> None:
    Source(server)
    target = Target(other)
    with Client(transport=PatientTransport(other.target)) as there:
        copied = client.copy_model("m@prod", there, temporary=tmp_path)
        assert unpacked(target.store.bytes) == FILES
        request = target.imported[0]
        assert (request.name, request.description) == ("m", "about it")
        assert dict(request.labels) == {"team": "search"}
        assert (request.kind, request.source.upload) == (2, "uploads/1")
        assert (copied.version.name, copied.was_there) == ("models/m/versions/1", False)
        assert (copied.identical, copied.left_out, copied.changed) == (True, (), ())
        assert list(tmp_path.iterdir()) == []
        again = client.copy_model("m@prod", there)
        assert (again.was_there, again.identical, len(target.imported)) == (True, True, 1)


def test_what_an_import_changes_is_the_same_model() -> None:
    from stillroom._flows.legacy_copies import is_copy

    source = version("models/m/versions/3", "sha256:source")
    source.files.add(path="stillroom.json", digest="sha256:1")
    source.files.add(path="fidelity.svg", digest="sha256:2")
    copy = version("models/m/versions/1", "sha256:copy")
    copy.files.add(path="stillroom.json", digest="sha256:3")
    copy.files.add(path="onnx/model.onnx", digest="sha256:5")
    assert is_copy(copy, source)
    other = version("models/m/versions/2", "sha256:other")
    other.files[1].digest = "sha256:weights"
    assert not is_copy(other, source)
    less = version("models/m/versions/2", "sha256:less")
    del less.files[1]
    assert not is_copy(less, source)
    more = version("models/m/versions/2", "sha256:more")
    more.files.add(path="README.md", digest="sha256:4")
    assert not is_copy(more, source)


def test_streams_that_break_go_on(server: FakeServer, client: Client, other: FakeServer) -> None:
    source = Source(server, break_at=200_000)
    target = Target(other, 0)
    with Client(transport=PatientTransport(other.target)) as there:
        client.copy_model("m", there, "n")
    assert [(list(r.paths), r.offset) for r in source.asked] == [
        (["config.json", "model.safetensors"], 0),
        (["model.safetensors"], 200_000),
    ]
    assert len(target.store.headers) == 2
    assert unpacked(target.store.bytes) == FILES
    assert target.imported[0].name == "n"


def test_damage_on_the_way_stops_it(
    server: FakeServer, client: Client, other: FakeServer, tmp_path: Path
) -> None:
    source, target = Source(server), Target(other)
    source.files["config.json"] = b"[]"
    with Client(transport=PatientTransport(other.target)) as there:
        with pytest.raises(errors.DataLoss):
            client.copy_model("m", there, temporary=tmp_path)
        with pytest.raises(errors.StillroomError, match="cannot write"):
            client.copy_model("m", there, temporary=tmp_path / "missing")
    assert (target.imported, target.store.headers) == ([], [])
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_taken_is_told(server: FakeServer, client: Client, other: FakeServer) -> None:
    Source(server)
    Target(other, digest="sha256:bb")
    with Client(transport=PatientTransport(other.target)) as there:
        copied = client.copy_model("m", there)
    assert (copied.identical, copied.left_out) == (False, (("extra.py", "code"),))
    assert copied.changed == ("config.json",)


def test_the_target_is_a_client(client: Client) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        client.copy_model("m", "127.0.0.1:1")
    assert caught.value.field == "target"


async def test_the_same_with_asyncio(server: FakeServer, other: FakeServer) -> None:
    Source(server)
    target = Target(other)
    async with (
        AsyncClient(transport=PatientAsyncTransport(server.target)) as client,
        AsyncClient(transport=PatientAsyncTransport(other.target)) as there,
    ):
        copied = await client.copy_model("m", there)
    assert copied.identical
    assert unpacked(target.store.bytes) == FILES


def test_the_command(
    server: FakeServer, other: FakeServer, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLROOM_TOKEN", "mine")
    Source(server)
    Target(other, digest="sha256:bb")
    ran = run("models", "copy", "m@3", "--to", other.target)
    assert ran.code == 0, ran.err
    assert ran.out == "models/m/versions/1\n"
    for text in ("left out extra.py: code", "config.json has other bytes there"):
        assert text in ran.err
    assert server.metadata["authorization"] == "Bearer mine"
    assert "authorization" not in other.metadata  # a token is for one server
    monkeypatch.setenv("STILLROOM_TO_TOKEN", "theirs")
    machine = run("models", "copy", "m@3", "n", "--to", other.target, "--json")
    assert json.loads(machine.out)["identical"] is False
    assert other.metadata["authorization"] == "Bearer theirs"


def test_the_command_in_the_other_direction(
    server: FakeServer, other: FakeServer, run: Any
) -> None:
    Source(other)
    target = Target(server)
    chosen = ("--from", other.target, "--from-token", "theirs")
    assert run("models", "copy", "m@3", *chosen).code == 0
    assert len(target.imported) == 1
    assert other.metadata["authorization"] == "Bearer theirs"
    again = run("models", "copy", "m@3", *chosen)
    assert "nothing was sent" in again.err


def test_a_token_does_not_travel_in_the_clear(run: Any) -> None:
    ran = run("models", "copy", "m", "--to", "example.com:50051", "--to-token", "secret")
    assert ran.code == exits.USAGE
    assert "in the clear" in ran.err
    assert "secret" not in ran.err
