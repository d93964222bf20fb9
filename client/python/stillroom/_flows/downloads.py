"""Versions from the server to a folder."""

from __future__ import annotations

import hashlib
import os
from contextlib import aclosing
from pathlib import Path

from stillroom._core import Core
from stillroom._progress import Progress, Report, reporter
from stillroom._protocol import rpcs
from stillroom.errors import DataLoss, Internal, OutOfRange, Unavailable
from stillroom.local_folder import NewFolder
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb

from .models import get_version


async def download(
    core: Core,
    name: str,
    folder: str | os.PathLike[str],
    *,
    progress: Progress = False,
) -> model_pb2.ModelVersion:
    """Writes the files of a version to ``folder``, which must not exist yet or be empty.

    Every file is checked against its SHA-256 before the folder gets its name: it is whole or not
    there. When the stream breaks, it goes on at the byte it had reached. ``progress`` is as in
    ``embed``, in bytes. Raises NotFound, AlreadyExists (the folder is not empty), DataLoss (bytes
    arrived that are not the version's) and ResourceExhausted (this machine's disk is full).
    """
    offload = core.transport.offload
    target = Path(folder)
    await offload(NewFolder.check, target)
    version = await get_version(core, name)  # resolved once: an alias may move meanwhile
    writer = await offload(NewFolder, target, {f.path: f.digest for f in version.files})
    try:
        await fill(core, version, writer, progress=progress)
        await offload(writer.commit)
    finally:
        await offload(writer.discard)
    return version


async def fill(
    core: Core, version: model_pb2.ModelVersion, writer: NewFolder, *, progress: Progress = False
) -> None:
    """Brings the files that ``writer`` lacks; see ``download``."""
    with reporter(progress, version.total_bytes, "bytes") as report:
        await _fetch(core, version, writer, report)


async def read_file(core: Core, name: str, path: str, *, max_bytes: int = 64 << 20) -> bytes:
    """The bytes of one file of a version, checked against its SHA-256. NotFound when there is none
    of that path; OutOfRange when it has more than ``max_bytes``: ``download`` writes large ones."""
    version = await get_version(core, name)
    request = pb.DownloadModelVersionRequest(name=version.name, paths=[path])
    backoff = core.backoff()
    while True:
        try:
            return await _receive_file(core, request, max_bytes)
        except Unavailable as error:
            await core.transport.sleep(backoff.pause(error))


async def _receive_file(
    core: Core, request: pb.DownloadModelVersionRequest, max_bytes: int
) -> bytes:
    file = model_pb2.ModelFile()
    content = bytearray()
    answers = core.transport.receive(rpcs.DOWNLOAD_MODEL_VERSION, request, None)
    async with aclosing(answers):
        async for answer in answers:
            match answer.WhichOneof("payload"):
                case "file":
                    file = answer.file
                case "chunk":
                    content += answer.chunk
            if max(file.size_bytes, len(content)) > max_bytes:
                raise OutOfRange(
                    f"{file.path} has {file.size_bytes:,} bytes, more than {max_bytes:,}",
                    field="max_bytes",
                )
    if file.digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
        raise DataLoss(
            f"{request.paths[0]} of {request.name} arrived damaged; try again",
            reason="DIGEST_MISMATCH",
        )
    return bytes(content)


async def _fetch(
    core: Core, version: model_pb2.ModelVersion, writer: NewFolder, report: Report
) -> None:
    files = list(version.files)
    backoff = core.backoff()
    while True:
        missing = [file for file in files if file.path not in writer.complete]
        if not missing:
            return
        partial = writer.partial  # the file that was interrupted, if any, comes first
        if partial is not None:
            missing.sort(key=lambda file: file.path != partial.path)
        request = pb.DownloadModelVersionRequest(
            name=version.name,
            paths=[file.path for file in missing],
            offset=partial.size if partial else 0,
        )
        before = writer.written
        try:
            await _receive(core, request, writer, report)
            if writer.written == before and len(writer.complete) < len(files):
                raise Internal("the server sent nothing of what is missing", reason="NO_PROGRESS")
        except Unavailable as error:
            if writer.written > before:
                backoff.progressed()
            await core.transport.sleep(backoff.pause(error))
        except OutOfRange as error:
            raise Internal(f"cannot resume: {error.message}", reason=error.reason) from error


async def _receive(
    core: Core, request: pb.DownloadModelVersionRequest, writer: NewFolder, report: Report
) -> None:
    """One stream: each file's description, then its bytes. Only the first file may go on."""
    answers = core.transport.receive(rpcs.DOWNLOAD_MODEL_VERSION, request, None)
    async with aclosing(answers):
        async for answer in answers:
            match answer.WhichOneof("payload"):
                case "file":
                    await core.transport.offload(writer.begin_file, answer.file.path)
                case "chunk":
                    await core.transport.offload(writer.write, answer.chunk)
                    report(writer.written)
    await core.transport.offload(writer.finish_file)
