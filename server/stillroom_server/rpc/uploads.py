"""UploadService: files in, chunk by chunk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import upload_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.rpc import translate
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.call import Call, in_thread, parse
from stillroom_server.uploads.model import UploadFormat, UploadHeader, UploadInfo
from stillroom_server.uploads.store import UploadStore

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["UploadService"]
NAME_KEY = "stillroom-upload"
FORMATS = {
    pb.UPLOAD_FORMAT_UNSPECIFIED: UploadFormat.FILE,
    pb.UPLOAD_FORMAT_FILE: UploadFormat.FILE,
    pb.UPLOAD_FORMAT_TAR: UploadFormat.TAR,
}


class UploadServicer:
    """Uploads over gRPC; what a broken stream brought stays for the next one."""

    def __init__(self, store: UploadStore, max_request_bytes: int, admission: Admission) -> None:
        self._store = store
        self._limit = max_request_bytes
        self._admission = admission

    async def Upload(self, requests: AsyncIterator[bytes], call: Call) -> pb.UploadResponse:
        with self._admission.stream():  # each holds two files open
            return await self._upload(requests, call)

    async def _upload(self, requests: AsyncIterator[bytes], call: Call) -> pb.UploadResponse:
        messages = aiter(requests)
        first = await anext(messages, None)
        if first is None:
            raise _no_header()
        header = _header(parse(pb.UploadRequest, first, self._limit))
        writer = await in_thread(self._store.begin, header)
        try:
            await call.announce(NAME_KEY, writer.name)
            async for data in messages:
                message = parse(pb.UploadRequest, data, self._limit)
                if message.WhichOneof("payload") != "chunk":
                    raise InvalidArgument(
                        "only the first message is a header; all others are chunks",
                        reason="CHUNK_EXPECTED",
                        field="chunk",
                    )
                await in_thread(writer.write, message.chunk)
            return pb.UploadResponse(upload=_message(await in_thread(writer.finish)))
        finally:
            # Shielded: the RPC may be cancelled, and the upload must be freed all the same.
            await asyncio.shield(in_thread(writer.close))

    async def GetUpload(self, request: pb.GetUploadRequest, call: Call) -> pb.GetUploadResponse:
        info = await in_thread(self._store.get, request.name)
        return pb.GetUploadResponse(upload=_message(info))

    async def DeleteUpload(
        self, request: pb.DeleteUploadRequest, call: Call
    ) -> pb.DeleteUploadResponse:
        await in_thread(self._store.delete, request.name)
        return pb.DeleteUploadResponse()


def _header(message: pb.UploadRequest) -> UploadHeader:
    if message.WhichOneof("payload") != "header":
        raise _no_header()
    header = message.header
    if header.format not in FORMATS:
        raise translate.unknown_value(header.format, "header.format")
    return UploadHeader(
        total_bytes=header.total_bytes,
        upload=header.upload,
        offset=header.offset,
        digest=header.digest,
        format=FORMATS[header.format],
        filename=header.filename,
    )


def _no_header() -> InvalidArgument:
    return InvalidArgument(
        "the first message must be a header that says what follows",
        reason="HEADER_EXPECTED",
        field="header",
    )


def _message(info: UploadInfo) -> pb.UploadInfo:
    is_tar = info.format is UploadFormat.TAR
    return pb.UploadInfo(
        name=info.name,
        format=pb.UPLOAD_FORMAT_TAR if is_tar else pb.UPLOAD_FORMAT_FILE,
        filename=info.filename,
        committed_bytes=info.committed_bytes,
        complete=info.complete,
        digest=info.digest,
        expire_time=translate.timestamp(info.expire_time),
    )
