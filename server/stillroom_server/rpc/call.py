"""What a handler may know of the call it serves, apart from the request itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

from google.protobuf.message import Message

from stillroom_registry.errors import InvalidArgument

M = TypeVar("M", bound=Message)
P = ParamSpec("P")
T = TypeVar("T")


class ServicerContext(Protocol):
    """The part of grpc.aio.ServicerContext that this package uses."""

    async def abort(self, code: Any, details: str, trailing_metadata: Any) -> Any: ...
    def time_remaining(self) -> float | None: ...
    def invocation_metadata(self) -> Any: ...
    async def send_initial_metadata(self, metadata: Any) -> None: ...


class Call:
    """One RPC in flight: who asks, and until when the answer is of use."""

    __slots__ = ("_context", "actor")

    def __init__(self, context: ServicerContext, actor: str = "") -> None:
        self._context = context
        self.actor = actor

    def seconds_left(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        return self._context.time_remaining()

    async def announce(self, key: str, value: str) -> None:
        """Sends the initial metadata, before any answer."""
        await self._context.send_initial_metadata(((key, value),))


def parse(message_class: type[M], data: bytes, limit: int) -> M:
    """``data`` as a message of ``message_class``.

    Raises InvalidArgument when it is longer than ``limit`` bytes, and DecodeError when it is no
    such message (the error mapping turns that into INVALID_ARGUMENT too).
    """
    if len(data) > limit:
        raise too_large(data, limit)
    return message_class.FromString(data)


def too_large(data: bytes, limit: int) -> InvalidArgument:
    """The error of a message of more bytes than ``limit``."""
    return InvalidArgument(
        f"the message has {len(data):,} bytes; this server accepts {limit:,}"
        " (GetServerInfo: max_request_bytes). Send fewer texts a message, or use the stream",
        reason="REQUEST_TOO_LARGE",
        metadata={"bytes": str(len(data)), "limit": str(limit)},
    )


in_thread = asyncio.to_thread
"""Runs a function off the event loop: for whatever waits on the disk or the database."""


async def to_its_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs heavy work off the event loop, and does not return before it has ended.

    A thread cannot be stopped. If a cancelled caller left at once, what it holds, its place in the
    admission above all, would be free while the work goes on; and one who asks and leaves again
    and again would pile up work without limit.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    left: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            left = error
    if left is not None:
        work.exception()  # nobody is there to be told
        raise left
    return work.result()
