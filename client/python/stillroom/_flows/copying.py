"""Versions from one server to another, through this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

from stillroom import archives
from stillroom._core import Core
from stillroom._flows import downloads, models, operations, uploads
from stillroom._progress import Progress
from stillroom._protocol import rpcs
from stillroom._protocol.messages import build
from stillroom.copies import Copied
from stillroom.errors import InvalidArgument, NotFound
from stillroom.local_folder import translated
from stillroom.v1 import common_pb2, model_pb2
from stillroom.v1 import model_service_pb2 as pb

# An import may write these anew; what else a model is made of ends on those.
_REWRITTEN = ("stillroom.json", ".onnx")
_MODEL_FILES = (".safetensors", ".json")


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
    the same kind, as a new version of ``name`` (the same name unless given).

    It is downloaded to a folder inside ``temporary`` (the system's), file by file against its
    digests, uploaded against the digest of the whole, and imported; streams that break go on where
    they stood. Description and labels of the model come along; figures of its report are no part of
    an import. A version of that model which holds this one already is answered as it is, and
    nothing is sent. ``progress`` is as in
    ``embed``, in bytes, once for each way.

    Raises NotFound, DataLoss, ResourceExhausted (a disk), and what an import raises.
    """
    there = getattr(target, "_subject", None)
    if not isinstance(there, Core):
        raise InvalidArgument("target is a client of the server to copy to", field="target")
    version = await models.get_version(core, source)
    origin = version.name.split("/")[1]
    name = (name or origin).removeprefix("models/")
    found = await _same(there, name, version)
    if found is not None:
        return Copied(version, found, was_there=True)
    model = await models.get_model(core, origin)
    upload = await _carry(core, there, version, progress, temporary)
    request = build(
        pb.ImportModelRequest,
        name=name,
        source=common_pb2.ModelSource(upload=upload),
        kind=version.kind,
        description=model.description,
        labels=dict(model.labels),
        request_id=request_id or there.new_id(),
    )
    started = await there.call(rpcs.IMPORT_MODEL, request)
    done = await operations.final(there, started.name, None)
    return _compared(version, cast(pb.ImportModelResponse, done.response()))


async def _same(
    there: Core, name: str, source: model_pb2.ModelVersion
) -> model_pb2.ModelVersion | None:
    """The newest version of that model which is what a copy would make; None where there is
    none."""
    try:
        async for version in models.list_versions(there, name):
            if _is_copy(version, source):
                return version
    except NotFound:
        pass
    return None


def _is_copy(version: model_pb2.ModelVersion, source: model_pb2.ModelVersion) -> bool:
    """Whether it has the model of ``source``: all that is computed with, and the same bytes in all
    that it has, but for what an import may write anew."""
    if version.digest == source.digest:
        return True
    theirs, ours = (
        {file.path: file.digest for file in v.files if not file.path.endswith(_REWRITTEN)}
        for v in (version, source)
    )
    needed = {path for path in ours if path.endswith(_MODEL_FILES)}
    return needed <= theirs.keys() and theirs.items() <= ours.items()


async def _carry(
    core: Core,
    there: Core,
    version: model_pb2.ModelVersion,
    progress: Progress,
    temporary: str | os.PathLike[str] | None,
) -> str:
    """Down to this machine and up to the other server; the name of the upload."""
    offload = core.transport.offload
    place = await offload(_new_folder, temporary)
    try:
        folder = place / version.name.split("/")[1]
        await downloads.download(core, version.name, folder, progress=progress)
        payload = await offload(archives.folder, folder)
        return (await uploads.send_payload(there, payload, progress=progress)).name
    finally:
        await offload(shutil.rmtree, place, ignore_errors=True)


def _new_folder(inside: str | os.PathLike[str] | None) -> Path:
    with translated(Path(inside or tempfile.gettempdir())):
        return Path(tempfile.mkdtemp(prefix="stillroom-copy-", dir=inside))


def _compared(source: model_pb2.ModelVersion, answer: pb.ImportModelResponse) -> Copied:
    before = {file.path: file.digest for file in source.files}
    changed = sorted(
        file.path
        for file in answer.model_version.files
        if before.get(file.path) not in (None, file.digest)
    )
    there = {file.path for file in answer.model_version.files}  # some are made anew
    skipped = tuple(
        (file.path, file.reason) for file in answer.skipped_files if file.path not in there
    )
    return Copied(source, answer.model_version, False, skipped, tuple(changed))
