"""Copies to servers that make them faithfully: what they are told, what rests, what is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2

from client.fake_server import SERVER_INFO, FakeServer, PatientTransport, fail, status
from client.test_copy import FILES, MODELS, Source, Target, other, unpacked, version
from stillroom import Client, errors
from stillroom.resting_folder import Place, RestingFolder
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import server_service_pb2 as servers

__all__ = ["other"]


@pytest.fixture
def source(server: FakeServer) -> Source:
    """A version with a parent that is there, and one that is deleted."""
    made = Source(server)
    made.version.parents.extend(["models/t/versions/1", "models/gone/versions/2"])
    made.version.aliases.append("prod")
    made.version.damaged_files.add(path="x")
    sources = {"models/gone/versions/2": "sha256:gone"}
    made.version.metadata.update({"recipe": "static", "provenance": {"sources": sources}})
    made.version.fidelity.dimensions = 3

    def get(request: models.GetModelVersionRequest, context: Any) -> Any:
        if request.name.startswith("models/gone"):
            fail(context, status(code_pb2.NOT_FOUND, "gone"), again=False)
        found = version(request.name, "sha256:t") if "/t/" in request.name else made.version
        return models.GetModelVersionResponse(model_version=found)

    server.on(f"{MODELS}/GetModelVersion", get)
    answer = models.GetLineageResponse()
    answer.edges.add(parent="models/m/versions/3", child="models/c/versions/1", relation="train")
    answer.edges.add(parent="models/t/versions/1", child="models/m/versions/3", relation="distill")
    server.answer(f"{MODELS}/GetLineage", answer)
    return made


@pytest.fixture
def target(other: FakeServer) -> Target:
    info = servers.GetServerInfoResponse(capabilities=["import.copy"])
    other.answer(SERVER_INFO, info)
    return Target(other)


def copy(client: Client, other: FakeServer, **options: Any) -> Any:
    with Client(transport=PatientTransport(other.target)) as there:
        return client.copy_model("m", there, **options)


def test_what_the_other_server_is_told(
    server: FakeServer, client: Client, other: FakeServer, source: Source, target: Target
) -> None:
    copied = copy(client, other)
    assert (copied.identical, copied.anew) == (True, False)
    told = target.imported[0].copy_of
    assert told.peer == server.target
    assert told.relation == "distill"
    assert [(each.model_version, each.digest) for each in told.parents] == [
        ("models/t/versions/1", "sha256:t"),
        ("models/gone/versions/2", "sha256:gone"),
    ]
    assert list(told.model_version.files) == list(source.version.files)
    assert told.model_version.metadata == source.version.metadata
    assert told.model_version.digest == source.version.digest
    for field in ("fidelity", "create_time"):
        assert not told.model_version.HasField(field)
    assert not told.model_version.aliases
    assert not told.model_version.damaged_files


def test_a_source_that_tells_no_lineage(
    server: FakeServer, client: Client, other: FakeServer, source: Source, target: Target
) -> None:
    server.on(
        f"{MODELS}/GetLineage",
        lambda request, context: fail(context, status(code_pb2.UNIMPLEMENTED, "old"), again=False),
    )
    copy(client, other)
    assert target.imported[0].copy_of.relation == ""


def test_another_digest_there_is_an_error(
    client: Client, other: FakeServer, source: Source
) -> None:
    other.answer(SERVER_INFO, servers.GetServerInfoResponse(capabilities=["import.copy"]))
    Target(other, digest="sha256:bb")
    with pytest.raises(errors.DataLoss) as caught:
        copy(client, other)
    assert caught.value.reason == "COPY_MISMATCH"


def test_an_older_server_only_imports(client: Client, other: FakeServer, source: Source) -> None:
    other.answer(SERVER_INFO, servers.GetServerInfoResponse(capabilities=["import.student"]))
    target = Target(other, digest="sha256:bb")
    copied = copy(client, other)
    assert (copied.anew, copied.identical) == (True, False)
    assert not target.imported[0].HasField("copy_of")


def test_one_that_only_looks_the_same_is_no_copy(
    client: Client, other: FakeServer, source: Source, target: Target
) -> None:
    """As an older release made it: stillroom.json is another."""
    source.version.digest = "sha256:source"
    target.imported.append(models.ImportModelRequest())  # there is one with "sha256:aa"
    with pytest.raises(errors.DataLoss):  # as that fake makes no other
        copy(client, other)
    assert len(target.imported) == 2


def test_a_copy_that_was_interrupted_goes_on(
    server: FakeServer, client: Client, other: FakeServer, source: Source, tmp_path: Path
) -> None:
    other.answer(SERVER_INFO, servers.GetServerInfoResponse(capabilities=["import.copy"]))
    target = Target(other, 0)

    def cut(request: Any, context: Any) -> Any:
        for answer in source._download(request, context):
            if answer.WhichOneof("payload") == "chunk" and len(answer.chunk) == 100_000:
                yield answer
                fail(context, status(code_pb2.INTERNAL, "cut"), again=False)
            yield answer

    server.on(f"{MODELS}/DownloadModelVersion", cut)
    with pytest.raises(errors.Internal, match="cut"):
        copy(client, other, temporary=tmp_path)
    (place,) = tmp_path.iterdir()
    assert (place / "m/config.json").read_bytes() == FILES["config.json"]
    server.on(f"{MODELS}/DownloadModelVersion", source._download)
    source.asked.clear()
    other.on(
        f"{MODELS}/ImportModel",
        lambda request, context: fail(context, status(code_pb2.INTERNAL, "x"), again=False),
    )
    with pytest.raises(errors.Internal, match="x"):
        copy(client, other, temporary=tmp_path)
    assert [(list(r.paths), r.offset) for r in source.asked] == [(["model.safetensors"], 100_000)]
    assert target.store.complete
    assert (place / "upload").read_text() == "uploads/1"
    headers = len(target.store.headers)
    other.on(f"{MODELS}/ImportModel", target._import)
    assert copy(client, other, temporary=tmp_path).identical
    assert (len(source.asked), len(target.store.headers)) == (1, headers)
    assert target.imported[0].source.upload == "uploads/1"
    assert unpacked(target.store.bytes) == FILES
    assert list(tmp_path.iterdir()) == []


def test_what_rests_is_hashed_again(tmp_path: Path) -> None:
    files = version("models/m/versions/3").files
    first = RestingFolder(tmp_path / "m", files)
    first.begin_file("config.json")
    first.write(FILES["config.json"])
    first.begin_file("model.safetensors")
    first.write(FILES["model.safetensors"][:1000])
    first.discard()
    second = RestingFolder(tmp_path / "m", files)
    assert second.complete == {"config.json"}
    assert second.partial is not None
    assert (second.partial.path, second.partial.size) == ("model.safetensors", 1000)
    assert second.written == 1002
    second.discard()
    (tmp_path / "m/config.json").write_bytes(b"[]")
    (tmp_path / "m/model.safetensors").unlink()
    (tmp_path / "m/model.safetensors").symlink_to("/dev/zero")
    third = RestingFolder(tmp_path / "m", files)
    assert (third.complete, third.partial, third.written) == (set(), None, 0)
    assert list((tmp_path / "m").iterdir()) == []


def test_a_place_is_for_one_copy_at_a_time(tmp_path: Path) -> None:
    first, second = (Place(tmp_path, "sha256:aa") for _ in range(2))
    assert first.path != second.path
    first.note("uploads/1")
    second.note("uploads/2")
    for place in (first, second):
        place.close(keep=True)
    third = Place(tmp_path, "sha256:aa")
    assert (third.path, third.upload) == (first.path, "uploads/1")
    third.close(keep=False)
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_is_gone_begins_anew(
    client: Client, other: FakeServer, source: Source, target: Target, tmp_path: Path
) -> None:
    place = Place(tmp_path, source.version.digest)
    place.note("uploads/gone")
    place.close(keep=True)
    get = target.store._get

    def gone(request: Any, context: Any) -> Any:
        if request.name == "uploads/gone":
            fail(context, status(code_pb2.NOT_FOUND, "gone"), again=False)
        return get(request, context)

    other.on("stillroom.v1.UploadService/GetUpload", gone)
    assert copy(client, other, temporary=tmp_path).identical
    with tarfile.open(fileobj=io.BytesIO(target.store.bytes)) as tar:
        assert sorted(tar.getnames()) == sorted(FILES)
