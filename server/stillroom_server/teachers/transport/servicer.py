"""The engine's end of the wire."""

# RPCs are named as the protocol names them, and take a context whether they need it or not.
# ruff: noqa: ARG002, N802

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc

from stillroom.internal.v1 import teacher_engine_pb2 as pb
from stillroom.internal.v1.teacher_engine_pb2_grpc import (
    TeacherEngineServiceServicer,
    add_TeacherEngineServiceServicer_to_server,
)
from stillroom_registry.errors import StillroomError
from stillroom_server.teachers.host import EngineHost
from stillroom_server.teachers.transport import convert

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_log = logging.getLogger(__name__)


class EngineServicer(TeacherEngineServiceServicer):
    """Answers by the host; its errors become part of the answer."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host

    async def Load(self, request: pb.LoadRequest, context: Any) -> pb.LoadResponse:
        try:
            facts = await self._host.load(request.name, Path(request.folder))
        except Exception as error:
            return pb.LoadResponse(error=_told(error))
        return pb.LoadResponse(facts=convert.facts_message(facts))

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        try:
            result = await self._host.embed(
                request.name,
                Path(request.folder),
                convert.work_of(request),
                context.time_remaining(),
            )
        except Exception as error:
            return pb.EmbedResponse(error=_told(error))
        return pb.EmbedResponse(embedded=convert.result_message(result))

    async def Tokenize(self, request: pb.TokenizeRequest, context: Any) -> pb.TokenizeResponse:
        try:
            found = await self._host.tokenize(
                request.name,
                Path(request.folder),
                list(request.texts),
                request.max_tokens or None,
            )
        except Exception as error:
            return pb.TokenizeResponse(error=_told(error))
        return pb.TokenizeResponse(results=[convert.tokens_message(text) for text in found])

    async def Unload(self, request: pb.UnloadRequest, context: Any) -> pb.UnloadResponse:
        self._host.unload(list(request.names))
        return pb.UnloadResponse()

    async def Report(self, request: pb.ReportRequest, context: Any) -> pb.ReportResponse:
        return convert.report_message(self._host.report())


def _told(error: Exception) -> pb.EngineError:
    if not isinstance(error, StillroomError):
        _log.error("unforeseen error", exc_info=error)
    return convert.error_message(error)


async def serve(host: EngineHost, socket: Path) -> grpc.aio.Server:
    """A started server on a Unix socket."""
    server = grpc.aio.server(options=OPTIONS)
    add_TeacherEngineServiceServicer_to_server(EngineServicer(host), server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    return server
