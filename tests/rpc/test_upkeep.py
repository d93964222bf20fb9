"""Damaged versions, verification, collection and quotas over the wire."""

from __future__ import annotations

import re
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2_grpc import OperationsStub
from inference.students import write_student
from serving import Details, Serving, serving

from rpc.conftest import publish_models
from stillroom.v1 import common_pb2, embedding_service_pb2, operation_service_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub
from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_server.server import Server
from stillroom_server.settings import Settings


def damage(registry: Registry, version: ModelVersion, path: str) -> None:
    (digest,) = (file.digest for file in version.files if file.path == path)
    blob = registry.blobs.path(digest)
    blob.chmod(0o600)
    data = blob.read_bytes()
    blob.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def finished(server: Serving, operation: Any, response: Any) -> Any:
    request = operations_pb2.WaitOperationRequest(name=operation.name, timeout={"seconds": 120})
    ended = OperationsStub(server.channel).WaitOperation(request)
    assert ended.done
    assert ended.response.Unpack(response), ended.error
    return response


def embed(server: Serving, model: str) -> Any:
    request = embedding_service_pb2.EmbedRequest(model=model, texts=["my card"])
    return EmbeddingServiceStub(server.channel).Embed(request)


def download(server: Serving, **request: Any) -> list[Any]:
    stub = ModelServiceStub(server.channel)
    return list(stub.DownloadModelVersion(pb.DownloadModelVersionRequest(**request)))


def metrics(server: Serving) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.server.metrics_address}/metrics") as page:
        lines = page.read().decode().splitlines()
    found = (re.fullmatch(r"stillroom_registry_(\w+) (\S+)", line) for line in lines)
    return {match[1]: float(match[2]) for match in found if match}


def test_a_quarantined_version_says_how_to_restore_it(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    registry = Registry.open(tmp_path / "data")
    registry.set_alias("s", "damaged", 1)
    version = registry.resolve("s@1")
    damage(registry, version, "tokenizer.json")
    registry.verify(version)
    with serving(tmp_path / "data", metrics_address="127.0.0.1:0") as running:
        for call in (
            lambda: embed(running, "s@damaged"),
            lambda: download(running, name="s@1"),
            lambda: download(running, name="s@1", paths=["config.json", "tokenizer.json"]),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            details = Details(caught.value)
            assert (details.code.name, details.info.reason) == ("DATA_LOSS", "QUARANTINED")
            assert details.info.metadata["version"] == "models/s/versions/1"
            assert details.info.metadata["paths"] == "tokenizer.json"
            assert "Publish, import or pull the same files again" in details.message
        whole = download(running, name="s@1", paths=["config.json"])  # not all of it is damaged
        assert whole[0].model_version.damaged_files[0].path == "tokenizer.json"
        stub = ModelServiceStub(running.channel)
        shown = stub.GetModelVersion(pb.GetModelVersionRequest(name="s@1")).model_version
        assert [file.path for file in shown.damaged_files] == ["tokenizer.json"]
        listed = stub.ListModelVersions(pb.ListModelVersionsRequest(parent="s")).model_versions
        # The second version has the same bytes.
        assert [len(each.damaged_files) for each in listed] == [1, 1]
        assert metrics(running)["quarantined_versions"] == 2
        registry.publish("again", ModelKind.STUDENT, tmp_path / "student")
        assert len(download(running, name="s@1")) > 3
        assert embed(running, "s@2").embeddings.model_version == "models/s/versions/2"
        assert metrics(running)["quarantined_versions"] == 0
    registry.close()


def test_verifying_and_collecting_are_operations(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    root = tmp_path / "root"
    shutil.copytree(tmp_path / "student", root / "same")
    registry = Registry.open(tmp_path / "data")
    version = registry.resolve("s@1")
    damage(registry, version, "config.json")
    registry.delete_model("t", force=True)
    with serving(tmp_path / "data", allow_root=[root]) as running:
        stub = ModelServiceStub(running.channel)
        request = pb.VerifyModelVersionRequest(name="s@1", request_id="one")
        operation = stub.VerifyModelVersion(request)
        assert stub.VerifyModelVersion(request).name == operation.name
        metadata = operation_service_pb2.OperationMetadata()
        assert operation.metadata.Unpack(metadata)
        assert (metadata.kind, metadata.target) == ("verify", "models/s")
        verified = finished(running, operation, pb.VerifyModelVersionResponse())
        assert [file.path for file in verified.damaged_files] == ["config.json"]
        assert verified.damaged_files[0].digest.startswith("sha256:")
        assert verified.verified_bytes == sum({f.digest: f.size for f in version.files}.values())
        with pytest.raises(grpc.RpcError) as caught:
            download(running, name="s")
        assert Details(caught.value).info.reason == "QUARANTINED"

        source = common_pb2.ModelSource(path=str(root / "same"))
        imported = stub.ImportModel(pb.ImportModelRequest(name="restored", source=source))
        finished(running, imported, pb.ImportModelResponse())
        again = stub.VerifyModelVersion(pb.VerifyModelVersionRequest(name="s@1"))
        assert not finished(running, again, pb.VerifyModelVersionResponse()).damaged_files
        assert download(running, name="s")

        spared = stub.CollectGarbage(pb.CollectGarbageRequest())
        told = stub.CollectGarbage(pb.CollectGarbageRequest(dry_run=True, grace_period={}))
        done = stub.CollectGarbage(pb.CollectGarbageRequest(grace_period={"nanos": 1}))
        response = pb.CollectGarbageResponse
        assert finished(running, spared, response()).deleted_blobs == 0
        told, done = finished(running, told, response()), finished(running, done, response())
        assert (told.deleted_blobs, told.deleted_bytes) == (1, 2)  # the teacher's {}
        assert done == told
    assert not registry.damaged_files(version)
    registry.close()


def test_a_quota_is_kept_by_the_front_and_the_runner(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    root = tmp_path / "root"
    shutil.copytree(tmp_path / "student", root / "same")
    write_student(root / "other", dimensions=32)
    registry = Registry.open(tmp_path / "data")
    used = registry.usage().used_bytes
    settings = {"registry_quota_bytes": used + 1000, "metrics_address": "127.0.0.1:0"}
    with serving(tmp_path / "data", allow_root=[root], **settings) as running:
        found = metrics(running)
        assert (found["used_bytes"], found["quota_bytes"]) == (used, used + 1000)
        assert found["oldest_check_timestamp_seconds"] > 1.7e9
        assert "last_scrub_timestamp_seconds" not in found
        stub = ModelServiceStub(running.channel)
        source = common_pb2.ModelSource(path=str(root / "other"))
        operation = stub.ImportModel(pb.ImportModelRequest(name="other", source=source))
        request = operations_pb2.WaitOperationRequest(name=operation.name, timeout={"seconds": 120})
        ended = OperationsStub(running.channel).WaitOperation(request)
        details = Details(ended.error)
        assert (details.code.name, details.info.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        assert details.info.metadata["quota_bytes"] == str(used + 1000)
        assert metrics(running)["used_bytes"] == used
    assert [model.name for model in registry.list_models().items] == ["s", "t"]
    registry.close()


async def test_two_servers_never_share_a_data_directory(tmp_path: Path) -> None:
    publish_models(tmp_path / "data", tmp_path)
    with serving(tmp_path / "data") as running:
        before = sorted((tmp_path / "data").iterdir())
        with pytest.raises(FailedPrecondition) as caught:
            await Server.start(
                Settings(address="127.0.0.1:0", metrics_address="", data_dir=tmp_path / "data")
            )
        assert caught.value.reason == "DATA_DIR_IN_USE"
        assert sorted((tmp_path / "data").iterdir()) == before
        assert embed(running, "s").embeddings.model_version == "models/s/versions/2"
