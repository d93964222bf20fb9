"""What EmbeddingService does for teachers, whose vectors come from the teacher engine."""

from __future__ import annotations

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.inference.registry_models import NotAStudent
from stillroom_server.rpc import embed_messages
from stillroom_server.rpc.answers import AnswerLimit, Answers
from stillroom_server.rpc.embed_messages import Request
from stillroom_server.teachers.teachers import Teachers


def teacher_version(other: NotAStudent) -> ModelVersion:
    """The teacher that was asked for; raises ``other`` for kinds that do not embed."""
    if other.version.kind is not ModelKind.TEACHER:
        raise other
    return other.version


class Teaching:
    """``seconds`` are those to the caller's deadline, None without one. What does not depend on the
    model has been checked in each request."""

    def __init__(self, teachers: Teachers, answers: Answers) -> None:
        self._teachers = teachers
        self._answers = answers

    async def embed(
        self,
        request: Request,
        version: ModelVersion,
        limit: AnswerLimit,
        seconds: float | None,
        *,
        wait: bool,
    ) -> bytes:
        """The encoded answer. ``wait``: for room, rather than being refused."""
        started = self._answers.clock()
        options = embed_messages.options(request)
        teacher = await self._teachers.get(version, seconds)
        how = teacher.validate(options)
        texts = list(request.texts)
        limit.check(embed_messages.answer_bytes(len(texts), teacher.facts.dimensions, options))
        left = None if seconds is None else seconds - (self._answers.clock() - started)
        result = await self._teachers.embed(teacher, texts, how, seconds=left, wait=wait)
        return self._answers.embedded(
            request, teacher.name, teacher.model, result, options, started
        )

    def most_bytes(self, request: Request, version: ModelVersion) -> int:
        """Of the answer, as far as is known before the teacher was ever loaded."""
        dimensions = self._teachers.dimensions(version) or 0
        options = embed_messages.options(request)
        return embed_messages.answer_bytes(len(request.texts), dimensions, options)

    async def tokenize(
        self,
        request: pb.TokenizeRequest,
        version: ModelVersion,
        limit: AnswerLimit,
        seconds: float | None,
    ) -> pb.TokenizeResponse:
        """How the teacher splits the texts, special tokens included."""
        teacher = await self._teachers.get(version, seconds)
        answer = pb.TokenizeResponse(model_version=teacher.name)
        size = 0
        for text in request.texts:
            for found in await self._teachers.tokenize(
                teacher, [text], request.max_tokens or None, seconds
            ):
                answer.results.append(embed_messages.tokenized(found))
            size += answer.results[-1].ByteSize() + embed_messages.FRAMING_BYTES
            limit.check(size)
        return answer
