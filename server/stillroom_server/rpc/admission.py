"""How much is worked on at once. Capacity is held by a value that frees it on every way out."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from stillroom_registry.errors import ResourceExhausted

_RETRY_SECONDS = 0.1


class Gate:
    """At most ``limit`` holders at once; more are refused, not queued.

    Used from one event loop, so a plain number is enough.
    """

    def __init__(self, limit: int, refuse: Callable[[int], ResourceExhausted]) -> None:
        self._limit = limit
        self._refuse = refuse
        self.held = 0

    @property
    def is_full(self) -> bool:
        """Whether the next holder would be refused."""
        return self.held >= self._limit

    def __call__(self) -> Gate:
        return self

    def __enter__(self) -> None:
        if self.held >= self._limit:
            raise self._refuse(self._limit)
        self.held += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.held -= 1


class Admission:
    """The gates of a server: ``with admission.request(): ...``."""

    def __init__(self, max_requests: int, max_streams: int) -> None:
        self.request = Gate(max_requests, _too_many_requests)
        self.stream = Gate(max_streams, _too_many_streams)


def _too_many_requests(limit: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"{limit} requests are being worked on (max_concurrent_requests); try again shortly",
        reason="TOO_MANY_REQUESTS",
        retry_after=_RETRY_SECONDS,
        metadata={"limit": str(limit)},
    )


def _too_many_streams(limit: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"{limit} streams are open (max_concurrent_streams); close one, or try again later",
        reason="TOO_MANY_STREAMS",
        retry_after=10 * _RETRY_SECONDS,
        metadata={"limit": str(limit)},
    )
