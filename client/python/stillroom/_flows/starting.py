"""Operations out of requests."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from types import GenericAlias
from typing import Any, Concatenate, ParamSpec, TypeVar

from google.longrunning import operations_pb2 as lro
from google.protobuf.message import Message

from stillroom._core import Core
from stillroom._protocol import rpcs
from stillroom._protocol.rpcs import Q, Rpc
from stillroom.errors import InvalidArgument
from stillroom.snapshots import Started

P = ParamSpec("P")
M = TypeVar("M", bound=Message)
_STARTS = {
    rpc.request: rpc
    for rpc in rpcs.ALL
    if rpc.answer is lro.Operation and "request_id" in rpc.request.DESCRIPTOR.fields_by_name
}


def starting(
    make: Callable[Concatenate[Core, P], Coroutine[Any, Any, Q]],
    rpc: Rpc[Q, lro.Operation],
    response: type[M],
    doc: str,
) -> Callable[Concatenate[Core, P], Coroutine[Any, Any, Started[M]]]:
    """A flow, described by ``doc``, that sends the request which ``make`` makes of the same
    arguments, and answers an operation whose response is a ``response``."""

    @functools.wraps(make)
    async def flow(core: Core, /, *args: P.args, **kwargs: P.kwargs) -> Started[M]:
        return Started(core, await core.call(rpc, await make(core, *args, **kwargs)))

    flow.__doc__ = doc
    answer = GenericAlias(Started, (response,))
    signature = inspect.signature(make).replace(return_annotation=answer)
    flow.__signature__ = signature  # type: ignore[attr-defined]
    return flow


async def start(core: Core, request: Message) -> Started[Message]:
    """Starts the operation that ``request`` asks for: what ``distill_request`` and
    ``train_request`` answer, what a recommendation names, or another message of the protocol that
    starts an operation and has a ``request_id``, which is made up when it is empty.

    Raises InvalidArgument for what starts nothing, and what the operation's own method raises.
    """
    rpc = _STARTS.get(type(request))
    if rpc is None:
        raise InvalidArgument(
            f"{type(request).__name__} is no request that starts an operation",
            reason="BAD_TYPE",
            field="request",
        )
    sent: Any = type(request)()
    sent.CopyFrom(request)
    sent.request_id = sent.request_id or core.new_id()
    return Started(core, await core.call(rpc, sent))
