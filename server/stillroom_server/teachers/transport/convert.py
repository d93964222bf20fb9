"""Domain values as messages and back."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from stillroom.internal.v1 import teacher_engine_pb2 as pb
from stillroom_registry import errors
from stillroom_server.inference.tokenizers.huggingface import TokenizedText
from stillroom_server.teachers.values import (
    BatchRecord,
    EngineReport,
    LoadedTeacher,
    TeacherFacts,
    Work,
    WorkResult,
)


def facts_message(facts: TeacherFacts) -> pb.TeacherFacts:
    return pb.TeacherFacts(
        dimensions=facts.dimensions,
        max_tokens=facts.max_tokens,
        special_tokens=facts.special_tokens,
        prompts=facts.prompts,
        default_prompt=facts.default_prompt or "",
        memory_bytes=facts.memory_bytes,
        device=facts.device,
        dtype=facts.dtype,
    )


def facts_of(message: pb.TeacherFacts) -> TeacherFacts:
    return TeacherFacts(
        dimensions=message.dimensions,
        max_tokens=message.max_tokens,
        special_tokens=message.special_tokens,
        prompts=dict(message.prompts),
        default_prompt=message.default_prompt or None,
        memory_bytes=message.memory_bytes,
        device=message.device,
        dtype=message.dtype,
    )


def work_message(name: str, folder: str, work: Work) -> pb.EmbedRequest:
    return pb.EmbedRequest(
        name=name,
        folder=folder,
        texts=work.texts,
        prompt=work.prompt,
        max_tokens=work.max_tokens,
        truncate=work.truncate,
        truncate_left=work.truncate_left,
        normalize=work.normalize,
        dimensions=work.dimensions,
    )


def work_of(message: pb.EmbedRequest) -> Work:
    return Work(
        texts=list(message.texts),
        prompt=message.prompt,
        max_tokens=message.max_tokens,
        truncate=message.truncate,
        truncate_left=message.truncate_left,
        normalize=message.normalize,
        dimensions=message.dimensions,
    )


def result_message(result: WorkResult) -> pb.EmbeddedTexts:
    return pb.EmbeddedTexts(
        vectors=result.vectors.astype("<f4", copy=False).tobytes(),
        tokens=result.tokens.astype("<i4", copy=False).tobytes(),
        truncated=result.truncated.tobytes(),
        empty=result.empty.tobytes(),
        queue_nanos=int(result.queue_seconds * 1e9),
        tokenize_nanos=int(result.tokenize_seconds * 1e9),
        infer_nanos=int(result.infer_seconds * 1e9),
    )


def result_of(message: pb.EmbeddedTexts) -> WorkResult:
    tokens = np.frombuffer(message.tokens, "<i4")
    return WorkResult(
        np.frombuffer(message.vectors, "<f4").reshape(len(tokens), -1),
        tokens,
        np.frombuffer(message.truncated, np.bool_),
        np.frombuffer(message.empty, np.bool_),
        message.queue_nanos / 1e9,
        message.tokenize_nanos / 1e9,
        message.infer_nanos / 1e9,
    )


def tokens_message(text: TokenizedText) -> pb.Tokens:
    return pb.Tokens(ids=text.ids, tokens=text.tokens, starts=text.starts, ends=text.ends)


def tokens_of(message: pb.Tokens) -> TokenizedText:
    return TokenizedText(
        list(message.ids), list(message.tokens), list(message.starts), list(message.ends)
    )


def report_message(report: EngineReport) -> pb.ReportResponse:
    return pb.ReportResponse(
        loaded=[
            pb.LoadedTeacher(
                name=teacher.name,
                facts=facts_message(teacher.facts),
                load_time=teacher.loaded_at.timestamp(),
            )
            for teacher in report.loaded
        ],
        batches=[
            pb.Batch(
                texts=batch.texts,
                tokens=batch.tokens,
                padded_tokens=batch.padded_tokens,
                nanos=int(batch.seconds * 1e9),
            )
            for batch in report.batches
        ],
        requests=report.requests,
    )


def report_of(message: pb.ReportResponse) -> EngineReport:
    return EngineReport(
        tuple(
            LoadedTeacher(
                teacher.name,
                facts_of(teacher.facts),
                datetime.fromtimestamp(teacher.load_time, UTC),
            )
            for teacher in message.loaded
        ),
        tuple(
            BatchRecord(batch.texts, batch.tokens, batch.padded_tokens, batch.nanos / 1e9)
            for batch in message.batches
        ),
        message.requests,
    )


def error_message(error: BaseException) -> pb.EngineError:
    """A domain error whole; anything else as Internal, without its text."""
    if not isinstance(error, errors.StillroomError):
        error = errors.Internal(
            f"the teacher engine failed ({type(error).__name__}); the server's log says more",
            reason="TEACHER_ENGINE_FAILED",
        )
    return pb.EngineError(
        code=_canonical(type(error)),
        reason=error.reason,
        message=error.message,
        field=error.field or "",
        metadata=error.metadata,
        retry_seconds=error.retry_after or 0.0,
    )


def error_of(message: pb.EngineError) -> errors.StillroomError:
    kind = getattr(errors, message.code, errors.Internal)
    error: errors.StillroomError = kind(
        message.message,
        reason=message.reason,
        field=message.field or None,
        metadata=dict(message.metadata),
        retry_after=message.retry_seconds or None,
    )
    return error


def _canonical(error_class: type[errors.StillroomError]) -> str:
    """The class of errors.py that a room's own subclass derives from."""
    for base in error_class.__mro__:
        if base.__module__ == errors.__name__ and base is not errors.StillroomError:
            return base.__name__
    return errors.Internal.__name__
