"""Teachers as the front serves them: checks, admission, and the engine behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from stillroom_registry.errors import InvalidArgument, NotFound, StillroomError
from stillroom_registry.values import ModelVersion
from stillroom_server.inference.options import EmbedOptions, EmbedPlan, plan
from stillroom_server.inference.results import EmbedResult, TextWarning, Timings
from stillroom_server.inference.tokenizers.huggingface import TokenizedText
from stillroom_server.teachers.admission import WorkAdmission
from stillroom_server.teachers.link import EngineLink
from stillroom_server.teachers.supervisor import EngineSupervisor
from stillroom_server.teachers.values import (
    BatchRecord,
    EngineReport,
    LoadedTeacher,
    TeacherFacts,
    Work,
    WorkResult,
)
from stillroom_server.teachers.watchdog import Watchdog

_POLL_SECONDS = 1.0
_MAX_KNOWN = 4096
_NO_REPORT = EngineReport((), (), 0)
_log = logging.getLogger(__name__)
A = TypeVar("A")


class Observer(Protocol):
    """Hears of what the engine does; see ``observability.metrics``."""

    def batch(self, texts: int, padded_tokens: int, seconds: float) -> None: ...
    def queued(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class TeacherModel:
    """A teacher that has been loaded at least once; what it is never changes."""

    name: str
    model: str
    digest: str
    folder: Path
    facts: TeacherFacts

    def validate(self, options: EmbedOptions) -> EmbedPlan:
        """Checks options as a student does, and applies the teacher's default prompt.

        Raises InvalidArgument as ``options.plan`` does; MAX_TOKENS_OUT_OF_RANGE also where only
        special tokens would be left.
        """
        facts = self.facts
        if options.prompt is None and options.prompt_name is None and facts.default_prompt:
            options = replace(options, prompt_name=facts.default_prompt)
        checked = plan(
            options,
            dimensions=facts.dimensions,
            max_tokens=facts.max_tokens,
            prompts=facts.prompts,
        )
        if checked.max_tokens <= facts.special_tokens:
            raise InvalidArgument(
                f"max_tokens is {checked.max_tokens}; this teacher puts {facts.special_tokens}"
                f" special tokens around a text, so it takes {facts.special_tokens + 1} to"
                f" {facts.max_tokens}.",
                reason="MAX_TOKENS_OUT_OF_RANGE",
                field="options.max_tokens",
                metadata={"limit": str(facts.max_tokens), "value": str(checked.max_tokens)},
            )
        return checked


class Teachers:
    """Lives in the front's event loop.

    ``folder_of`` has a version's files in a folder and may block; ``idle_seconds`` without a loaded
    teacher end the engine; one that has work and shows no life for ``hang_seconds`` is killed.
    """

    def __init__(
        self,
        supervisor: EngineSupervisor,
        admission: WorkAdmission,
        folder_of: Callable[[ModelVersion], Path],
        observer: Observer,
        *,
        idle_seconds: float,
        hang_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._supervisor = supervisor
        self._watchdog = Watchdog(hang_seconds, clock)
        self._admission = admission
        self._folder_of = folder_of
        self._observer = observer
        self._idle = idle_seconds
        self._clock = clock
        self._known: dict[str, TeacherModel] = {}
        self._report = _NO_REPORT
        self._calls = 0
        self._last_used = clock()
        self._poller: asyncio.Task[None] | None = None

    async def get(self, version: ModelVersion, seconds: float | None = None) -> TeacherModel:
        """The teacher of ``version``, loaded if it never was; within ``seconds``.

        Raises why it does not load, Unavailable when the engine dies over it.
        """
        known = self._known.get(version.name)
        if known is not None and known.digest != version.digest:
            known = None  # deleted, and made again under the same name
        if known is not None and self._is_loaded(version.name):
            return known
        folder = await asyncio.to_thread(self._folder_of, version)
        if known is not None and known.folder == folder:
            return known  # the engine loads it again by itself
        facts = await self._call(lambda link: link.load(version.name, folder, seconds))
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        known = TeacherModel(version.name, version.model, version.digest, folder, facts)
        self._known[version.name] = known
        return known

    def dimensions(self, version: ModelVersion) -> int | None:
        """Elements of a vector of ``version``; None before it was ever loaded."""
        known = self._known.get(version.name)
        return None if known is None else known.facts.dimensions

    async def embed(
        self,
        teacher: TeacherModel,
        texts: Sequence[str],
        how: EmbedPlan,
        *,
        seconds: float | None = None,
        wait: bool = False,
    ) -> EmbedResult:
        """Embeds texts within ``seconds``; an empty list gives an empty result.

        ``wait``: for room, as streams do; else a full queue is ResourceExhausted with
        ``retry_after``. Raises InvalidArgument on ``texts[i]``, DeadlineExceeded, Unavailable.
        """
        work = Work(
            texts=texts,
            prompt=how.prompt,
            max_tokens=how.max_tokens,
            truncate=how.truncate,
            truncate_left=how.truncate_left,
            normalize=how.normalize,
            dimensions=how.dimensions,
        )
        size = sum(map(len, texts)) + len(how.prompt) * len(texts)
        admission = self._admission
        start = self._clock()
        async with admission.stream(size) if wait else admission.unary(size, seconds):
            admitted = self._clock()
            left = None if seconds is None else seconds - (admitted - start)
            result = await self._call(
                lambda link: link.embed(teacher.name, teacher.folder, work, left)
            )
        admission.measured(size, result.infer_seconds)
        queue_seconds = result.queue_seconds + (admitted - start)
        self._observer.queued(queue_seconds)
        return _embed_result(result, queue_seconds)

    async def tokenize(
        self,
        teacher: TeacherModel,
        texts: Sequence[str],
        max_tokens: int | None,
        seconds: float | None = None,
    ) -> list[TokenizedText]:
        """How the teacher splits texts, special tokens included."""
        return await self._call(
            lambda link: link.tokenize(teacher.name, teacher.folder, texts, max_tokens, seconds)
        )

    def loaded(self) -> tuple[LoadedTeacher, ...]:
        """The teachers in memory when last looked, at most about a second ago."""
        return self._report.loaded if self._supervisor.link else ()

    @property
    def held(self) -> int:
        """Bytes of text in flight."""
        return self._admission.held

    async def refresh(self) -> None:
        """Looks now: what is loaded, and the batches since the last look."""
        link = self._supervisor.link
        if link is None:
            self._report = _NO_REPORT
            self._watchdog.rest()
            return
        with contextlib.suppress(StillroomError):
            self._report = await link.report()
            self._watchdog.heard(self._report)
            for batch in self._report.batches:
                self._observe(batch)

    async def prune(self, exists: Callable[[str], object]) -> None:
        """Drops the versions that are no more: those for which ``exists`` raises NotFound."""
        gone = []
        for name in {*self._known, *(teacher.name for teacher in self.loaded())}:
            try:
                exists(name)
            except NotFound:
                gone.append(name)
        for name in gone:
            self._known.pop(name, None)
        link = self._supervisor.link
        if gone and link is not None:
            await link.unload(gone)

    async def stop(self) -> None:
        """Ends the engine; requests in flight get Unavailable."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        await self._supervisor.stop()

    async def _call(self, ask: Callable[[EngineLink], Awaitable[A]]) -> A:
        if not self._calls:
            self._watchdog.rest()
        self._calls += 1
        try:
            link = await self._supervisor.get()
            if self._poller is None or self._poller.done():
                self._poller = asyncio.create_task(self._poll(), name="teacher engine report")
            return await ask(link)
        finally:
            self._calls -= 1
            self._last_used = self._clock()

    async def _poll(self) -> None:
        """Looks every second for as long as an engine runs, and ends one that has nothing to do."""
        while self._supervisor.link is not None or self._calls:
            await asyncio.sleep(_POLL_SECONDS)
            await self.refresh()
            if self._calls and self._watchdog.hangs():
                self._supervisor.kill()
                self._watchdog.rest()
            idle = self._clock() - self._last_used >= self._idle
            if idle and not self._calls and not self._report.loaded:
                await self._supervisor.retire()

    def _is_loaded(self, name: str) -> bool:
        return any(teacher.name == name for teacher in self.loaded())

    def _observe(self, batch: BatchRecord) -> None:
        self._observer.batch(batch.texts, batch.padded_tokens, batch.seconds)


def _embed_result(result: WorkResult, queue_seconds: float) -> EmbedResult:
    return EmbedResult(
        result.vectors,
        result.tokens,
        result.truncated,
        np.where(result.empty, np.uint8(TextWarning.EMPTY), np.uint8(TextWarning.NONE)),
        Timings(result.tokenize_seconds, result.infer_seconds, queue_seconds),
    )
