"""What a request says of the version that it is to copy from another server."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.values import File, ModelKind
from stillroom_server.imports.peers import Parent, PeerVersion, whole_numbers
from stillroom_server.imports.selection import Budget
from stillroom_server.imports.settings import MAX_BYTES, MAX_FILES
from stillroom_server.rpc import fidelity_messages, json_messages, translate

_FIELD = "copy_of.model_version"


def copy_of(request: pb.ImportModelRequest) -> PeerVersion | None:
    """The version to copy, checked as far as can be without its bytes; None where it is no copy.
    Raises as ``PeerVersion.check``, and InvalidArgument (SOURCE_REQUIRED) without an upload."""
    if not request.HasField("copy_of"):
        return None
    if request.source.WhichOneof("source") != "upload":
        raise InvalidArgument(
            "a copy comes by an upload of its files; set source.upload",
            reason="SOURCE_REQUIRED",
            field="source.upload",
        )
    asked = request.copy_of
    version = asked.model_version
    kind = translate.kind(version.kind, f"{_FIELD}.kind")
    told = PeerVersion(
        peer=asked.peer,
        model_version=version.name,
        kind="" if kind is None else kind.value,
        digest=version.digest,
        create_time=_time(version),
        files=tuple(File(file.path, file.digest, file.size_bytes) for file in version.files),
        metadata=_metadata(version),
        parents=tuple(Parent(each.model_version, each.digest) for each in asked.parents),
        relation=asked.relation,
    )
    told.check(Budget(MAX_FILES, MAX_BYTES, f"{_FIELD}.files"))
    return told


def kind_of(told: PeerVersion, wanted: ModelKind | None) -> ModelKind:
    """The kind of the copy. InvalidArgument (KIND_MISMATCH) when another was asked for."""
    kind = ModelKind(told.kind)
    if wanted not in (None, kind):
        raise InvalidArgument(
            f"{told.model_version} is a {kind}, not a {wanted}; leave kind unset or correct it",
            reason="KIND_MISMATCH",
            field="kind",
            metadata={"kind": kind.value},
        )
    return kind


def _metadata(version: model_pb2.ModelVersion) -> dict[str, Any]:
    """Raises InvalidArgument for numbers that are none, and for a report that could not be shown
    any more once it is stored."""
    field = f"{_FIELD}.metadata"
    json_messages.check(version.metadata, field)
    found: dict[str, Any] = whole_numbers(json_format.MessageToDict(version.metadata))
    if version.kind != model_pb2.MODEL_KIND_CLASSIFIER and found.get("report") is not None:
        try:
            fidelity_messages.report(found["report"])
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InvalidArgument(
                f"{field}.report is no report of a student ({type(error).__name__})",
                reason="COPY_INVALID",
                field=field,
            ) from error
    return found


def _time(version: model_pb2.ModelVersion) -> str:
    if not version.HasField("create_time"):
        return ""
    try:
        return version.create_time.ToJsonString()
    except ValueError as error:
        field = f"{_FIELD}.create_time"
        raise InvalidArgument(
            f"{field} is no time ({error})", reason="COPY_INVALID", field=field
        ) from error
