"""What the flows ask of a transport.

The flows (``stillroom._flows``) are coroutines, written once. The asyncio transport suspends in
them; the blocking one has finished whenever it returns, so that its flows run to their end without
any event loop (see ``stillroom._faces``). Methods raise errors of ``stillroom.errors``, none of
gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import ParamSpec, Protocol, TypeVar

from stillroom._protocol.rpcs import A, Q, Rpc

P = ParamSpec("P")
R = TypeVar("R")


class Exchange(Protocol):
    """An open bidirectional stream of serialized messages."""

    async def send(self, data: bytes) -> None:
        """Queues a message; never waits. Callers bound what is unanswered."""

    async def finish(self) -> None:
        """Says that no more messages follow."""

    async def receive(self) -> bytes | None:
        """The next answer; None when the server ended the stream well."""

    async def cancel(self) -> None:
        """Ends the stream, whatever its state; may be called repeatedly."""


class Transport(Protocol):
    """A connection to a server. ``seconds`` bounds a call; None waits forever."""

    @property
    def target(self) -> str:
        """The server's address, for people."""

    async def unary(self, rpc: Rpc[Q, A], request: Q, seconds: float | None) -> A:
        """One request, one answer."""

    def receive(self, rpc: Rpc[Q, A], request: Q, seconds: float | None) -> AsyncGenerator[A, None]:
        """One request, a stream of answers. Closing the generator cancels the call."""

    async def send(
        self,
        rpc: Rpc[Q, A],
        requests: Iterator[Q],
        opened: Callable[[Mapping[str, str]], None],
    ) -> A:
        """A stream of requests, one answer. ``opened`` gets the server's first metadata, also when
        the call then fails; ``requests`` may be consumed by another thread."""

    def exchange(self, rpc: Rpc[Q, A], seconds: float | None) -> Exchange:
        """Opens a bidirectional stream."""

    async def sleep(self, seconds: float) -> None:
        """Pauses this flow alone."""

    async def offload(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs ``function``, which may wait on a disk, where it blocks nobody else."""

    async def close(self) -> None:
        """Closes the connection; calls in flight end with Cancelled."""
