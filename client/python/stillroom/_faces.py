"""One set of flows, two clients.

Every method of both clients is written once, as a coroutine function (a *flow*) that takes the core
first and awaits nothing but the transport. A flow becomes a method of both clients by one line:

    class Api:
        get_model = Method(flows.get_model)

On an asyncio face it answers a coroutine. On a blocking face it is run to its end on the spot: the
blocking transport never suspends, so the coroutine finishes at the first ``send``. No event loop,
no thread, no second copy of anything but the transports. Types pass through: a checker sees
``Client.get_model(...) -> Model`` and ``AsyncClient.get_model(...) -> Coroutine[..., Model]``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")


class BlockingFace:
    """Its flows run to their end; ``_subject`` is what they take first."""

    _subject: Any


class AsyncFace:
    """Its flows are awaited; ``_subject`` is what they take first."""

    _subject: Any


def run(flow: Coroutine[Any, Any, R]) -> R:
    """Runs a flow over a blocking transport to its end."""
    try:
        flow.send(None)
    except StopIteration as finished:
        result: R = finished.value
        return result
    flow.close()
    raise RuntimeError(f"{flow!r} suspended although its transport blocks; use AsyncClient")


def iterate(flow: AsyncGenerator[R, None]) -> Iterator[R]:
    """Yields what a streaming flow over a blocking transport yields, and closes it with itself."""
    try:
        while True:
            try:
                item = run(anext(flow))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(flow.aclose())


class Flow(Generic[P]):
    """A descriptor that makes a method of a flow; see the module."""

    finish: Callable[[Any], Any]
    """What a blocking face does with the flow."""

    @staticmethod
    def finish_async(flow: Any) -> Any:
        """What an asyncio face does with it: hands it out."""
        return flow

    def __init__(self, flow: Callable[..., Any]) -> None:
        self.flow = flow
        self.__doc__ = flow.__doc__
        self._functions: dict[bool, Callable[..., Any]] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, face: Any, owner: type) -> Any:
        blocking = issubclass(owner, BlockingFace)
        function = self._functions.get(blocking)
        if function is None:
            function = self._functions[blocking] = self._function(blocking)
        return function if face is None else MethodType(function, face)

    def _function(self, blocking: bool) -> Callable[..., Any]:
        flow, finish = self.flow, self.finish if blocking else self.finish_async

        def method(face: Any, /, *args: Any, **kwargs: Any) -> Any:
            return finish(flow(face._subject, *args, **kwargs))

        functools.update_wrapper(method, flow)
        signature = inspect.signature(flow)
        first, *rest = signature.parameters.values()
        method.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[first.replace(name="self", annotation=inspect.Parameter.empty), *rest]
        )
        method.__name__ = self.name
        return method


class Method(Flow[P], Generic[P, R]):
    """A flow with one result."""

    finish = staticmethod(run)

    def __init__(self, flow: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        super().__init__(flow)

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: BlockingFace, owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, face: AsyncFace, owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, face: Any, owner: type) -> Any:
        return super().__get__(face, owner)


class Stream(Flow[P], Generic[P, R]):
    """A flow with many results, in order."""

    finish = staticmethod(iterate)

    def __init__(self, flow: Callable[Concatenate[Any, P], AsyncIterator[R]]) -> None:
        super().__init__(flow)

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: BlockingFace, owner: type) -> Callable[P, Iterator[R]]: ...
    @overload
    def __get__(self, face: AsyncFace, owner: type) -> Callable[P, AsyncIterator[R]]: ...
    def __get__(self, face: Any, owner: type) -> Any:
        return super().__get__(face, owner)
