"""What ImportModel believes of a version that it is to copy: nothing that it can check at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import struct_pb2

from stillroom.v1 import common_pb2, model_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.errors import StillroomError
from stillroom_registry.manifest import manifest_digest
from stillroom_registry.values import File, ModelKind
from stillroom_server.imports.peers import PeerVersion
from stillroom_server.rpc import copies, translate
from stillroom_server.uploads.mentions import mentioned

FILES = (File("config.json", "sha256:" + "a" * 64, 3), File("report.html", "sha256:" + "b" * 64, 5))
METADATA = {
    "dimensions": 256,
    "report": {"dimensions": 256, "mean_cosine": 0.75, "element_type": "float16"},
    "options": {"static": {"sif_coefficient": 1e-4}},
}


def request() -> pb.ImportModelRequest:
    """An honest one."""
    version = model_pb2.ModelVersion(
        name="models/mini/versions/3",
        kind=model_pb2.MODEL_KIND_STUDENT,
        files=[translate.file(file.path, file.digest, file.size) for file in FILES],
        digest=manifest_digest(FILES),
        metadata=translate.struct(METADATA),
    )
    version.create_time.FromSeconds(1_700_000_000)
    told = pb.PeerVersion(model_version=version, peer="other:50051", relation="distill")
    told.parents.add(model_version="models/t/versions/1", digest="sha256:" + "c" * 64)
    source = common_pb2.ModelSource(upload="uploads/x")
    return pb.ImportModelRequest(name="m", source=source, copy_of=told)


def test_what_is_told_is_read() -> None:
    told = copies.copy_of(request())
    assert told is not None
    assert (told.metadata, told.files, told.kind) == (METADATA, FILES, "student")
    assert type(told.metadata["dimensions"]) is int
    assert told.create_time == "2023-11-14T22:13:20Z"
    assert (told.parents[0].model_version, told.relation) == ("models/t/versions/1", "distill")
    assert PeerVersion.from_json(told.to_json()) == told
    mentions = {"upload": "uploads/y"}
    assert list(mentioned(dataclasses.replace(told, metadata=mentions).to_json())) == []
    assert copies.kind_of(told, None) is copies.kind_of(told, ModelKind.STUDENT)
    assert copies.copy_of(pb.ImportModelRequest(name="m")) is None


def change(**fields: Any) -> Callable[[pb.ImportModelRequest], None]:
    def apply(asked: pb.ImportModelRequest) -> None:
        for name, value in fields.items():
            setattr(asked.copy_of.model_version, name, value)

    return apply


def metadata(**values: Any) -> Callable[[pb.ImportModelRequest], None]:
    return lambda asked: asked.copy_of.model_version.metadata.update(values)


def not_finite(asked: pb.ImportModelRequest) -> None:
    value = struct_pb2.Value(number_value=float("nan"))
    asked.copy_of.model_version.metadata.fields["x"].CopyFrom(value)


@pytest.mark.parametrize(
    ("lie", "reason", "field"),
    [
        (change(kind=0), "BAD_KIND", "kind"),
        (change(kind=99), "UNKNOWN_VALUE", "copy_of.model_version.kind"),
        (change(name="mini"), "COPY_INVALID", "copy_of.model_version.name"),
        (change(name="../x"), "BAD_MODEL_NAME", "copy_of.model_version.name"),
        (change(digest="sha256:" + "0" * 64), "COPY_MISMATCH", "copy_of.model_version.digest"),
        (
            lambda asked: asked.copy_of.model_version.files.add(path="../x"),
            "UNSAFE_FILE",
            "copy_of.model_version.files[2].path",
        ),
        (
            lambda asked: (
                asked.copy_of.model_version.create_time.FromSeconds(0)
                or setattr(asked.copy_of.model_version.create_time, "seconds", 10**15)
            ),
            "COPY_INVALID",
            "copy_of.model_version.create_time",
        ),
        (metadata(x="y" * (1 << 20)), "COPY_INVALID", "copy_of.model_version.metadata"),
        (not_finite, "NOT_FINITE", None),
        (metadata(report=[1]), "COPY_INVALID", "copy_of.model_version.metadata"),
        (metadata(report={"dimensions": "many"}), "COPY_INVALID", "copy_of.model_version.metadata"),
        (metadata(report={"seconds": [1]}), "COPY_INVALID", "copy_of.model_version.metadata"),
        (metadata(report={"dimensions": 1e12}), "COPY_INVALID", "copy_of.model_version.metadata"),
        (metadata(report={"scores": [{}]}), "COPY_INVALID", "copy_of.model_version.metadata"),
        (metadata(report={"prefixes": 3}), "COPY_INVALID", "copy_of.model_version.metadata"),
        (metadata(report={"measured_speed": 3}), "COPY_INVALID", "copy_of.model_version.metadata"),
        (lambda asked: asked.source.ClearField("upload"), "SOURCE_REQUIRED", "source.upload"),
        (lambda asked: setattr(asked.source, "path", "/x"), "SOURCE_REQUIRED", "source.upload"),
        (lambda asked: setattr(asked.copy_of, "peer", "x" * 300), "COPY_INVALID", "copy_of.peer"),
    ],
)
def test_lies_are_refused(lie: Any, reason: str, field: str | None) -> None:
    asked = request()
    lie(asked)
    with pytest.raises(StillroomError) as caught:
        copies.copy_of(asked)
    assert caught.value.reason == reason
    if field is not None:
        assert caught.value.field == field


def test_another_kind_is_refused() -> None:
    told = copies.copy_of(request())
    assert told is not None
    with pytest.raises(StillroomError) as caught:
        copies.kind_of(told, ModelKind.TEACHER)
    assert (caught.value.reason, caught.value.field) == ("KIND_MISMATCH", "kind")
