"""What the front asks of an engine, whatever carries it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from stillroom_server.inference.tokenizers.huggingface import TokenizedText
from stillroom_server.teachers.values import EngineReport, TeacherFacts, Work, WorkResult


class EngineLink(Protocol):
    """``name`` is a version's full name, ``folder`` its files.

    Each call raises the engine's own domain errors; Unavailable (TEACHER_ENGINE_LOST) when the
    engine ends before it answers; DeadlineExceeded after ``seconds`` (None: no limit). Cancelling a
    call takes its work out of the engine's queue.
    """

    async def load(self, name: str, folder: Path, seconds: float | None) -> TeacherFacts: ...

    async def embed(
        self, name: str, folder: Path, work: Work, seconds: float | None
    ) -> WorkResult: ...

    async def tokenize(
        self,
        name: str,
        folder: Path,
        texts: Sequence[str],
        max_tokens: int | None,
        seconds: float | None,
    ) -> list[TokenizedText]: ...

    async def unload(self, names: Collection[str]) -> None: ...

    async def report(self) -> EngineReport: ...

    async def close(self) -> None: ...
