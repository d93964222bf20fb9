"""Registry and operation values as protobuf messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf import struct_pb2, timestamp_pb2

from stillroom.v1 import common_pb2, model_pb2
from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_registry.names import ModelRef
from stillroom_registry.registry import Registry
from stillroom_registry.values import Alias, AliasEvent, File, Model, ModelKind, ModelVersion
from stillroom_server.rpc import fidelity_messages

# ASCII alone, so that no two names look alike.
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)

KINDS = {
    ModelKind.TEACHER: model_pb2.MODEL_KIND_TEACHER,
    ModelKind.STUDENT: model_pb2.MODEL_KIND_STUDENT,
    ModelKind.CLASSIFIER: model_pb2.MODEL_KIND_CLASSIFIER,
}


def timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """``moment`` (aware) as a Timestamp; None stays None."""
    if moment is None:
        return None
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """A JSON object as a Struct."""
    result = struct_pb2.Struct()
    result.update(values)
    return result


def model(value: Model) -> model_pb2.Model:
    """A registered model."""
    return model_pb2.Model(
        name=f"models/{value.name}",
        kind=KINDS[value.kind],
        description=value.description,
        labels=dict(value.labels),
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        latest_version=value.latest_version or 0,
        aliases=dict(value.aliases),
        etag=value.etag,
    )


def version(
    value: ModelVersion,
    aliases: Mapping[str, int],
    syncs: Iterable[model_pb2.HubSync] = (),
    *,
    damaged: Iterable[File] = (),
) -> model_pb2.ModelVersion:
    """A version; ``aliases`` are all those of its model."""
    # A classifier's report is its training's, and a file of its own.
    report = None if value.kind is ModelKind.CLASSIFIER else value.metadata.get("report")
    return model_pb2.ModelVersion(
        name=value.name,
        version=value.version,
        kind=KINDS[value.kind],
        files=[file(entry.path, entry.digest, entry.size) for entry in value.files],
        total_bytes=value.size,
        digest=value.digest,
        metadata=struct(value.metadata),
        parents=list(value.parents),
        aliases=sorted(a for a, number in aliases.items() if number == value.version),
        create_time=timestamp(value.create_time),
        fidelity=None if report is None else fidelity_messages.report(report),
        hub_syncs=syncs,
        damaged_files=[file(entry.path, entry.digest, entry.size) for entry in damaged],
    )


def published(name: str, registry: Registry) -> model_pb2.ModelVersion:
    """The version called ``name`` as a finished operation shows it: by name alone once deleted."""
    try:
        found = registry.resolve(name)
        return version(found, registry.get_model(found.model).aliases)
    except NotFound:
        return model_pb2.ModelVersion(name=name, version=ModelRef.parse(name).version or 0)


def file(path: str, digest: str, size: int) -> model_pb2.ModelFile:
    """A file of a version."""
    return model_pb2.ModelFile(path=path, digest=digest, size_bytes=size)


def alias(value: Alias) -> model_pb2.ModelAlias:
    """An alias."""
    return model_pb2.ModelAlias(
        name=f"models/{value.model}/aliases/{value.alias}",
        version=value.version,
        update_time=timestamp(value.update_time),
    )


def alias_event(value: AliasEvent) -> model_pb2.AliasEvent:
    """A move of an alias."""
    return model_pb2.AliasEvent(
        alias=f"models/{value.model}/aliases/{value.alias}",
        from_version=value.from_version or 0,
        to_version=value.to_version or 0,
        actor=value.who or "",
        event_time=timestamp(value.time),
    )


# From requests


def model_name(text: str, field: str) -> str:
    """``name`` of ``name`` or ``models/name``; a version or an alias is InvalidArgument."""
    ref = ModelRef.parse(text, field=field)
    if ref.version is not None or ref.alias is not None:
        raise InvalidArgument(
            f"{text} names a version; this wants the model alone, models/{ref.model}",
            reason="BAD_MODEL_NAME",
            field=field,
        )
    return ref.model


def kind(number: int, field: str) -> ModelKind | None:
    """The kind that an enum's number names; None when unset."""
    if number == model_pb2.MODEL_KIND_UNSPECIFIED:
        return None
    for value, known in KINDS.items():
        if known == number:
            return value
    raise unknown_value(number, field)


def element_type(number: int, field: str, allowed: Mapping[int, str]) -> str | None:
    """The element type that an enum's number names; None when unset."""
    if number == common_pb2.ELEMENT_TYPE_UNSPECIFIED:
        return None
    if number not in allowed:
        raise unknown_value(number, field)
    return allowed[number]


def unknown_value(number: int, field: str) -> InvalidArgument:
    """The error of an enum's number that is unknown, or not allowed here."""
    return InvalidArgument(
        f"{number} is no value that {field} takes; the proto lists them",
        reason="UNKNOWN_VALUE",
        field=field,
        metadata={"value": str(number)},
    )


def check_repo(repo: str, field: str) -> None:
    """InvalidArgument on ``field`` unless ``repo`` is ``owner/name``."""
    if len(repo) > 200 or ".." in repo or not _REPO.fullmatch(repo):
        raise InvalidArgument(
            f"{repo[:80]!r} is no repository; write owner/name", reason="BAD_REPO", field=field
        )


def not_negative(value: int, field: str) -> None:
    """InvalidArgument on ``field`` when ``value`` is below zero."""
    if value < 0:
        raise InvalidArgument(f"{field} is {value}; it must not be negative", field=field)


def positive(value: int, field: str) -> None:
    """InvalidArgument on ``field`` unless ``value`` is 1 or more."""
    if value < 1:
        raise InvalidArgument(f"{field} is {value}; it must be 1 or more", field=field)
