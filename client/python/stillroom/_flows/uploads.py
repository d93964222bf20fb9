"""Files to the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from stillroom import archives
from stillroom._core import Core
from stillroom._progress import Progress, Report, reporter
from stillroom._protocol import rpcs
from stillroom._protocol.messages import build
from stillroom.archives import Payload
from stillroom.errors import InvalidArgument, Unavailable
from stillroom.v1 import upload_service_pb2 as pb

# The server's first metadata names the upload, so that a stream that breaks can be resumed.
NAME_KEY = "stillroom-upload"


async def upload(
    core: Core,
    path: str | os.PathLike[str],
    *,
    progress: Progress = False,
    resume: str | None = None,
) -> pb.UploadInfo:
    """Uploads a file, or a folder as a tar, checked by its SHA-256; answers ``uploads/{id}`` as
    ``name``, which is accepted wherever a request takes an upload until it expires.

    When the stream breaks it goes on where the server's disk stands. ``resume`` is the name of an
    upload of the same content that an earlier call began. ``progress`` is as in ``embed``, in
    bytes.
    """
    payload = await core.transport.offload(archives.payload, path)
    return await send_payload(core, payload, progress=progress, resume=resume)


async def get_upload(core: Core, name: str) -> pb.UploadInfo:
    """The state of an upload. NotFound when it is unknown or has expired."""
    return (await core.call(rpcs.GET_UPLOAD, build(pb.GetUploadRequest, name=name))).upload


async def delete_upload(core: Core, name: str) -> None:
    """Discards an upload before it expires."""
    await core.call(rpcs.DELETE_UPLOAD, build(pb.DeleteUploadRequest, name=name))


async def send_payload(
    core: Core,
    payload: Payload,
    *,
    progress: Progress = False,
    resume: str | None = None,
    named: Callable[[str], None] = lambda _: None,
) -> pb.UploadInfo:
    """Uploads a payload; see ``upload``. ``named`` is told the upload's name while it goes up, to
    resume it."""
    total = payload.size
    header = pb.UploadHeader(
        upload=resume or "",
        total_bytes=total,
        digest=await core.transport.offload(payload.digest),
        format=pb.UPLOAD_FORMAT_TAR if payload.is_tar else pb.UPLOAD_FORMAT_FILE,
        filename=payload.name.encode()[:255].decode("utf-8", "ignore"),
    )
    backoff = core.backoff()

    def opened(metadata: Mapping[str, str]) -> None:
        backoff.reached()
        header.upload = metadata.get(NAME_KEY, header.upload)
        named(header.upload)

    with reporter(progress, total, "bytes") as report:
        while True:
            try:
                if header.upload:
                    state = await get_upload(core, header.upload)
                    if state.committed_bytes > header.offset:
                        backoff.progressed()
                    if state.complete:
                        return _same(state, header)
                    header.offset = state.committed_bytes
                report(header.offset)
                answer = await core.transport.send(
                    rpcs.UPLOAD, _messages(header, payload, report), opened
                )
                return answer.upload
            except Unavailable as error:
                await core.transport.sleep(backoff.pause(error))


def _messages(
    header: pb.UploadHeader, payload: Payload, report: Report
) -> Iterator[pb.UploadRequest]:
    yield pb.UploadRequest(header=header)
    sent = header.offset
    for chunk in payload.chunks(sent):
        yield pb.UploadRequest(chunk=chunk)
        sent += len(chunk)
        report(sent)


def _same(state: pb.UploadInfo, header: pb.UploadHeader) -> pb.UploadInfo:
    if state.digest != header.digest:
        raise InvalidArgument(
            f"{state.name} is complete and holds other bytes; upload without resume",
            reason="OTHER_UPLOAD",
            field="resume",
        )
    return state
