"""Versions from one server to another, through this machine."""

from __future__ import annotations

import os
from typing import Any, cast

from google.protobuf import json_format

from stillroom import archives
from stillroom._core import Core
from stillroom._flows import downloads, legacy_copies, models, operations, server, uploads
from stillroom._progress import Progress
from stillroom._protocol import rpcs
from stillroom._protocol.messages import build
from stillroom.copies import Copied
from stillroom.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    StillroomError,
    Unimplemented,
)
from stillroom.resting_folder import Place, RestingFolder
from stillroom.v1 import common_pb2, model_pb2
from stillroom.v1 import model_service_pb2 as pb

_CAPABILITY = "import.copy"
_MAX_PARENTS = 100
# After these, what rests on this machine is of no use to the next copy.
_HOPELESS = (DataLoss, FailedPrecondition, InvalidArgument)
# What a version is where it comes from, and no part of it.
_THEIRS = ("aliases", "fidelity", "hub_syncs", "damaged_files")


async def copy_model(
    core: Core,
    source: str,
    target: Any,
    name: str | None = None,
    *,
    progress: Progress = False,
    temporary: str | os.PathLike[str] | None = None,
    request_id: str | None = None,
) -> Copied:
    """Copies the version ``source`` of this server to the server of ``target``, another client of
    the same kind, as a version of ``name`` (the same name unless given): the same files byte for
    byte, with the same digest, kind and metadata, report and card included.

    It is downloaded, file by file against its digests, uploaded against the digest of the whole,
    and held there to both and to what an import checks; a copy that differs is not registered.
    Description and labels of the model come along. A whole version of that model with these files
    is answered as it is, and nothing is sent.

    Streams that break go on where they stood. With ``temporary``, a folder of this machine, so does
    a copy that was interrupted, when it is called again with the same folder. ``progress`` is as in
    ``embed``, in bytes, once for each way.

    A server of an older release only imports what it is sent: ``Copied.anew``.

    Raises NotFound, DataLoss (bytes that are not the version's), FailedPrecondition (COPY_REFUSED,
    ENCODER_MISSING), ResourceExhausted (a disk), and what an import raises.
    """
    there = getattr(target, "_subject", None)
    if not isinstance(there, Core):
        raise InvalidArgument("target is a client of the server to copy to", field="target")
    version = await models.get_version(core, source)
    origin = version.name.split("/")[1]
    name = (name or origin).removeprefix("models/")
    faithful = await _is_faithful(there)
    found = await _same(there, name, version, faithful)
    if found is not None:
        return Copied(version, found, was_there=True)
    model = await models.get_model(core, origin)
    request = build(
        pb.ImportModelRequest,
        name=name,
        kind=version.kind,
        description=model.description,
        labels=dict(model.labels),
        request_id=request_id or there.new_id(),
    )
    if faithful:
        request.copy_of.CopyFrom(await _told(core, version))
    answer = await _carry(core, there, version, request, progress, temporary)
    if faithful and answer.model_version.digest != version.digest:
        raise DataLoss(  # never, unless the server does not do what it says it can
            f"{answer.model_version.name} is no faithful copy of {version.name}",
            reason="COPY_MISMATCH",
        )
    return legacy_copies.compared(version, answer, anew=not faithful)


async def _is_faithful(there: Core) -> bool:
    try:
        return _CAPABILITY in (await server.server_info(there)).capabilities
    except Unimplemented:
        return False


async def _same(
    there: Core, name: str, source: model_pb2.ModelVersion, faithful: bool
) -> model_pb2.ModelVersion | None:
    """The newest version of that model which is what a copy would make; None where there is
    none. A damaged one is healed by a copy."""
    try:
        async for version in models.list_versions(there, name):
            same = version.digest == source.digest
            alike = not faithful and legacy_copies.is_copy(version, source)
            if (same or alike) and not version.damaged_files:
                return version
    except NotFound:
        pass
    return None


async def _told(core: Core, version: model_pb2.ModelVersion) -> pb.PeerVersion:
    """What the other server is told of the version."""
    told = pb.PeerVersion(model_version=version, peer=core.transport.target[:255])
    for field in _THEIRS:
        told.model_version.ClearField(field)  # type: ignore[arg-type]
    for name in version.parents[:_MAX_PARENTS]:
        try:
            digest = (await models.get_version(core, name)).digest
        except NotFound:
            digest = _remembered(version, name)
        told.parents.add(model_version=name, digest=digest)
    if version.parents:
        told.relation = await _relation(core, version.name)
    return told


def _remembered(version: model_pb2.ModelVersion, parent: str) -> str:
    """The digest of a parent that is deleted, as the version remembers it."""
    found: Any = json_format.MessageToDict(version.metadata)
    for key in ("provenance", "sources", parent):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


async def _relation(core: Core, name: str) -> str:
    """How the version was made from its parents; "" where its server does not say."""
    try:
        edges = (await models.get_lineage(core, name, depth=1)).edges
    except (Unimplemented, InvalidArgument):  # an older release, or too large an answer
        return ""
    return next((edge.relation for edge in edges if edge.child == name), "")


async def _carry(
    core: Core,
    there: Core,
    version: model_pb2.ModelVersion,
    request: pb.ImportModelRequest,
    progress: Progress,
    temporary: str | os.PathLike[str] | None,
) -> pb.ImportModelResponse:
    """Down to this machine, up to the other server, and into its registry."""
    offload = core.transport.offload
    place = await offload(Place, temporary, version.digest)
    keep = True
    try:
        folder = place.path / version.name.split("/")[1]
        writer = await offload(RestingFolder, folder, version.files)
        try:
            await downloads.fill(core, version, writer, progress=progress)
        finally:
            await offload(writer.discard)
        files = [folder / file.path for file in version.files]
        payload = await offload(archives.tar_of, folder, files)
        info = await uploads.send_payload(
            there,
            payload,
            progress=progress,
            resume=await _begun(there, place.upload),
            named=place.note,
        )
        request.source.CopyFrom(common_pb2.ModelSource(upload=info.name))
        started = await there.call(rpcs.IMPORT_MODEL, request)
        done = await operations.final(there, started.name, None)
        answer = cast(pb.ImportModelResponse, done.response())
        keep = False
        return answer
    except StillroomError as error:
        keep = not isinstance(error, _HOPELESS)
        raise
    finally:
        await offload(place.close, keep=keep)


async def _begun(there: Core, upload: str | None) -> str | None:
    """The upload that an earlier copy began, if the other server still has it."""
    try:
        return None if upload is None else (await uploads.get_upload(there, upload)).name
    except (NotFound, InvalidArgument):
        return None
