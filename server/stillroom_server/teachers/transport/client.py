"""The front's end of the wire: an ``EngineLink`` over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc

from stillroom.internal.v1 import teacher_engine_pb2 as pb
from stillroom.internal.v1.teacher_engine_pb2_grpc import TeacherEngineServiceStub
from stillroom_registry.errors import DeadlineExceeded, StillroomError, Unavailable
from stillroom_server.inference.tokenizers.huggingface import TokenizedText
from stillroom_server.teachers.transport import convert
from stillroom_server.teachers.values import EngineReport, TeacherFacts, Work, WorkResult

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A dead engine is replaced by one on another socket: trying this one again is of no use.
    ("grpc.enable_retries", 0),
]
_REPORT_SECONDS = 2.0
_UNLOAD_SECONDS = 30.0  # collecting the cycles of a large heap takes seconds
_RETRY_SECONDS = 0.5
A = TypeVar("A")


class GrpcEngineLink:
    """See ``link.EngineLink``."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        self._stub: Any = TeacherEngineServiceStub(self._channel)

    async def load(self, name: str, folder: Path, seconds: float | None) -> TeacherFacts:
        request = pb.LoadRequest(name=name, folder=str(folder))
        answer: pb.LoadResponse = await _answer(self._stub.Load(request, timeout=seconds))
        if answer.HasField("error"):
            raise convert.error_of(answer.error)
        return convert.facts_of(answer.facts)

    async def embed(self, name: str, folder: Path, work: Work, seconds: float | None) -> WorkResult:
        request = convert.work_message(name, str(folder), work)
        answer: pb.EmbedResponse = await _answer(self._stub.Embed(request, timeout=seconds))
        if answer.HasField("error"):
            raise convert.error_of(answer.error)
        return convert.result_of(answer.embedded)

    async def tokenize(
        self,
        name: str,
        folder: Path,
        texts: Sequence[str],
        max_tokens: int | None,
        seconds: float | None,
    ) -> list[TokenizedText]:
        request = pb.TokenizeRequest(
            name=name, folder=str(folder), texts=texts, max_tokens=max_tokens or 0
        )
        answer: pb.TokenizeResponse = await _answer(self._stub.Tokenize(request, timeout=seconds))
        if answer.HasField("error"):
            raise convert.error_of(answer.error)
        return [convert.tokens_of(text) for text in answer.results]

    async def unload(self, names: Collection[str]) -> None:
        await _answer(self._stub.Unload(pb.UnloadRequest(names=names), timeout=_UNLOAD_SECONDS))

    async def report(self) -> EngineReport:
        call = self._stub.Report(pb.ReportRequest(), timeout=_REPORT_SECONDS)
        answer: pb.ReportResponse = await _answer(call)
        return convert.report_of(answer)

    async def close(self) -> None:
        await self._channel.close(None)


async def _answer(call: Awaitable[A]) -> A:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise _ended(error) from None
    except grpc.aio.UsageError as error:  # the channel was closed before the call began
        raise _lost(str(error)) from None
    except asyncio.CancelledError:
        # Closing the channel of a dead engine cancels its calls; their callers were not cancelled,
        # and would never be answered if this looked as though they had been.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise _lost("its connection was closed") from None


def _ended(error: grpc.aio.AioRpcError) -> StillroomError:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            "the deadline passed before the teacher was done; allow more time or send fewer texts",
            reason="DEADLINE_EXCEEDED",
        )
    return _lost(f"{error.code().name}: {error.details()}")


def _lost(why: str) -> Unavailable:
    return Unavailable(
        f"the teacher engine ended before it answered ({why}); it is being restarted",
        reason="TEACHER_ENGINE_LOST",
        retry_after=_RETRY_SECONDS,
    )
