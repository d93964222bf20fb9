"""The same ``request_id`` changes something once, and is answered alike for 24 hours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from stillroom_registry.requests import RequestLog
from stillroom_server.rpc.call import in_thread

M = TypeVar("M", bound=Message)


class Idempotency:
    """Runs the change of a request once a ``request_id``, and every time without one."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log

    async def run(self, request: Any, response: type[M], change: Callable[[], M]) -> M:
        """The answer of ``change``, run in a thread, or the recorded one of the same request.

        ``change`` and the record of its answer are one transaction. Raises InvalidArgument (field
        request_id) when the id was used with another request.
        """

        def encoded() -> bytes:
            return change().SerializeToString(deterministic=True)

        if not request.request_id:
            return await in_thread(change)
        answer = await in_thread(self._log.run, request.request_id, fingerprint(request), encoded)
        return response.FromString(answer)


def fingerprint(request: Message) -> bytes:
    """What must be equal for two requests to be the same: 32 bytes over type and content."""
    content = request.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + content).digest()
