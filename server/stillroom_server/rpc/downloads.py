"""The files of a version as a stream of bounded messages."""

from __future__ import annotations

from collections.abc import AsyncIterator

from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.errors import NotFound, OutOfRange
from stillroom_registry.integrity import quarantined
from stillroom_registry.registry import Registry
from stillroom_registry.values import File, ModelVersion
from stillroom_server.rpc import translate
from stillroom_server.rpc.call import in_thread

CHUNK_BYTES = 1 << 20


async def download(
    registry: Registry,
    version: ModelVersion,
    message: model_pb2.ModelVersion,
    request: pb.DownloadModelVersionRequest,
) -> AsyncIterator[pb.DownloadModelVersionResponse]:
    """The version, then each chosen file and its bytes; one chunk is in memory at a time."""
    files = _chosen(version, list(request.paths))
    damaged = [file for file in registry.damaged_files(version) if file in files]
    if damaged:
        raise quarantined(version, damaged)
    translate.not_negative(request.offset, "offset")
    if files and request.offset > files[0].size:
        raise OutOfRange(
            f"{files[0].path} has {files[0].size:,} bytes; offset {request.offset:,} is beyond",
            field="offset",
        )
    yield pb.DownloadModelVersionResponse(model_version=message)
    for index, file in enumerate(files):
        described = translate.file(file.path, file.digest, file.size)
        yield pb.DownloadModelVersionResponse(file=described)
        stream = await in_thread(registry.open_file, version, file.path)
        with stream:
            if index == 0:
                stream.seek(request.offset)
            while chunk := await in_thread(stream.read, CHUNK_BYTES):
                yield pb.DownloadModelVersionResponse(chunk=chunk)


def _chosen(version: ModelVersion, paths: list[str]) -> list[File]:
    if not paths:
        return list(version.files)
    by_path = {file.path: file for file in version.files}
    for index, path in enumerate(paths):
        if path not in by_path:
            raise NotFound(
                f"{version.name} has no file {path!r}; it has {', '.join(sorted(by_path))}",
                reason="FILE_NOT_FOUND",
                field=f"paths[{index}]",
                metadata={"model_version": version.name},
            )
    return [by_path[path] for path in paths]
