"""How much teachers' work is in flight: decided by bytes of text and by the time they take.

Bytes bound the memory. The time that the work ahead takes is known from what the engine took for
work before; a caller that could not be served in time is told at once, which costs little, instead
of late, which costs a forward pass. Streams wait for their turn and may take half of each limit, so
that a long one never shuts out those who cannot wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from stillroom_registry.errors import ResourceExhausted

_STREAM_SHARE = 0.5
# The speed is that of the last 128 to 256 KiB. Less than 4 KiB tell nothing: what a forward pass
# costs as such would count as what their few bytes cost.
_LEAST_MEASURED = 4 << 10
_MOST_MEASURED = 256 << 10
_LEAST_RETRY = 0.1


class WorkAdmission:
    """Used from one event loop. ``on_shed`` hears the reason of each refusal."""

    def __init__(
        self,
        max_bytes: int,
        max_seconds: float,
        on_shed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._on_shed = on_shed
        self._measured_bytes = 0
        self._measured_seconds = 0.0
        self._unary = 0
        self._stream = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """Bytes in flight."""
        return self._unary + self._stream

    @property
    def seconds_ahead(self) -> float:
        """What the work in flight takes, as far as is known."""
        return self.held * self._seconds_per_byte()

    def measured(self, size: int, seconds: float) -> None:
        """Work of ``size`` bytes took the engine ``seconds`` of computing."""
        self._measured_bytes += size
        self._measured_seconds += seconds
        if self._measured_bytes > _MOST_MEASURED:
            self._measured_bytes //= 2
            self._measured_seconds /= 2

    @asynccontextmanager
    async def unary(self, size: int, seconds_left: float | None) -> AsyncIterator[None]:
        """Holds ``size`` bytes, or refuses with ResourceExhausted: TEACHER_QUEUE_FULL, or
        TEACHER_TOO_BUSY when the work ahead takes longer than allowed or ``seconds_left``."""
        self._check(size, seconds_left)
        self._unary += size
        try:
            yield
        finally:
            self._unary -= size
            self._wake()

    @asynccontextmanager
    async def stream(self, size: int) -> AsyncIterator[None]:
        """Holds ``size`` bytes as soon as those before have theirs and there is room."""
        if self._waiting or not self._fits(size):
            await self._wait(size)
        else:
            self._stream += size
        try:
            yield
        finally:
            self._stream -= size
            self._wake()

    def _check(self, size: int, seconds_left: float | None) -> None:
        if self.held and self.held + size > self._max_bytes:
            self._on_shed("TEACHER_QUEUE_FULL")
            raise ResourceExhausted(
                f"{self.held:,} bytes of text wait for teachers, {self._max_bytes:,} are allowed"
                " (max_teacher_queue_bytes); try again shortly, or use EmbedStream, which waits",
                reason="TEACHER_QUEUE_FULL",
                retry_after=max(_LEAST_RETRY, self.seconds_ahead / 4),
                metadata={"limit": str(self._max_bytes)},
            )
        allowed = self._max_seconds
        if seconds_left is not None:
            allowed = min(allowed, seconds_left)
        ahead = self.seconds_ahead
        if ahead > allowed:
            self._on_shed("TEACHER_TOO_BUSY")
            raise ResourceExhausted(
                f"the work ahead takes about {ahead:.1f} s, {max(0.0, allowed):.1f} s are allowed"
                " (max_teacher_queue_seconds, or the deadline); try again shortly, or use"
                " EmbedStream, which waits",
                reason="TEACHER_TOO_BUSY",
                retry_after=max(_LEAST_RETRY, ahead - allowed),
                metadata={"seconds_ahead": f"{ahead:.3f}"},
            )

    def _seconds_per_byte(self) -> float:
        if self._measured_bytes < _LEAST_MEASURED:
            return 0.0
        return self._measured_seconds / self._measured_bytes

    def _fits(self, size: int) -> bool:
        """One that alone exceeds the limit goes when nothing of a stream is in flight."""
        bytes_after = self._stream + size
        seconds = self._stream * self._seconds_per_byte()
        return not self._stream or (
            bytes_after <= _STREAM_SHARE * self._max_bytes
            and seconds <= _STREAM_SHARE * self._max_seconds
        )

    async def _wait(self, size: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (size, turn)
        self._waiting.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._stream -= size  # it was let in at the same moment
            else:
                self._waiting.remove(place)
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._stream += size
                turn.set_result(None)
