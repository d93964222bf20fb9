"""Texts through a bidirectional stream: pipelined, bounded, and sent again when it breaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

from google.protobuf.message import Message

from stillroom._core import Core
from stillroom._protocol import rpcs
from stillroom._protocol.batches import Batch
from stillroom._protocol.limits import UNARY_TEXTS, ItemLimits, item_limits
from stillroom._protocol.messages import build
from stillroom._protocol.texts import Source, Texts, split, utf8_bytes, with_texts
from stillroom._protocol.window import Item, TextStream, Window
from stillroom._transport.base import Exchange
from stillroom.errors import InvalidArgument, StillroomError, Unavailable
from stillroom.v1.server_service_pb2 import GetServerInfoRequest

B = TypeVar("B", bound=Batch)
BATCH_SIZE = 256
WINDOW = 8
_MAX_WINDOW = 1024


async def begin(source: Source, purpose: str) -> tuple[list[str], bool]:
    """The first texts, and whether these are all and small enough for one call. InvalidArgument
    when there is none to ``purpose``."""
    first = await source.take(UNARY_TEXTS + 1)
    if not first:
        raise InvalidArgument(f"there are no texts to {purpose}", reason="NO_TEXTS", field="texts")
    small = len(first) <= UNARY_TEXTS and sum(map(utf8_bytes, first)) <= ItemLimits.bytes
    return first, small


async def checked(
    core: Core,
    stream: TextStream[B],
    texts: Texts,
    model: str,
    options: Message | None,
    *,
    batch_size: int,
    window: int,
    on_error: str,
) -> AsyncGenerator[B, None]:
    """``pump`` with settings from a caller; InvalidArgument names the one that is wrong."""
    if on_error not in ("raise", "yield"):
        raise InvalidArgument('on_error is "raise" or "yield"', field="on_error")
    _within(batch_size, 1, 1 << 20, "batch_size")
    _within(window, 1, _MAX_WINDOW, "window")
    flow = pump(
        core,
        stream,
        Source(texts),
        [],
        model,
        options,
        batch_size=batch_size,
        window=window,
        keep_going=on_error == "yield",
    )
    async with aclosing(flow) as batches:
        async for batch in batches:
            yield batch


async def pump(
    core: Core,
    stream: TextStream[B],
    source: Source,
    head: list[str],
    model: str,
    options: Message | None,
    *,
    batch_size: int = BATCH_SIZE,
    window: int = WINDOW,
    keep_going: bool = False,
) -> AsyncGenerator[B, None]:
    """Sends ``head`` and then ``source`` through ``stream``, in one flow: fill the window, read an
    answer, and again. Yields a batch an item, in order. An item that the server refuses ends it
    with its error, unless ``keep_going``."""
    limits = await _limits(core)
    size = min(batch_size, limits.texts)
    items = _items(stream.rpc.request, source, head, model, options, size, limits.bytes)
    unanswered = Window(window, stream)
    backoff = core.backoff()
    exchange: Exchange | None = None
    more = True
    try:
        while True:
            while more and not unanswered.full:
                item = await anext(items, None)
                if item is None:
                    more = False
                    if exchange is not None:
                        await exchange.finish()
                elif exchange is None:
                    unanswered.sent(item)
                    exchange = await _open(core, stream, unanswered, more)
                else:
                    unanswered.sent(item)
                    await exchange.send(item.data)
            if not unanswered:
                return
            if exchange is None:
                exchange = await _open(core, stream, unanswered, more)
            try:
                data = await exchange.receive()
                if data is None:
                    raise Unavailable("the server ended the stream early", reason="STREAM_ENDED")
                batch = unanswered.answered(stream.rpc.parse(data))
            except Unavailable as error:
                await exchange.cancel()
                exchange = None
                await core.transport.sleep(backoff.pause(error))
                continue
            backoff.progressed()
            if batch.error is not None and not keep_going:
                raise batch.error
            yield batch
    finally:
        await items.aclose()
        if exchange is not None:
            await exchange.cancel()


async def _limits(core: Core) -> ItemLimits:
    """The server's limits, asked for once a client; the usual ones while it does not say."""
    if core.contact.item_limits is None:
        try:
            info = await core.call(rpcs.GET_SERVER_INFO, GetServerInfoRequest())
        except Unavailable:
            return ItemLimits()  # the stream says more, and is patient
        except StillroomError:
            core.contact.item_limits = ItemLimits()
        else:
            core.contact.item_limits = item_limits(info.limits)
    return core.contact.item_limits


async def _open(core: Core, stream: TextStream[B], unanswered: Window[B], more: bool) -> Exchange:
    """A new stream, on which everything unanswered is sent (again)."""
    exchange = core.transport.exchange(stream.rpc, None)
    for item in unanswered:
        await exchange.send(item.data)
    if not more:
        await exchange.finish()
    return exchange


async def _items(
    request: type[Any],
    source: Source,
    head: list[str],
    model: str,
    options: Message | None,
    batch_size: int,
    max_bytes: int,
) -> AsyncGenerator[Item, None]:
    sequence = start = 0
    while texts := head[:batch_size] or await source.take(batch_size):
        head = head[batch_size:]
        for part in split(texts, max_bytes):
            message = build(request, model=model, options=options, correlation_id=str(sequence))
            data = with_texts(message, part, start).SerializeToString()
            yield Item(sequence, start, start + len(part), data)
            sequence += 1
            start += len(part)


def _within(value: int, low: int, high: int, field: str) -> None:
    if not low <= value <= high:
        raise InvalidArgument(f"{field} is {value}; it must be {low} to {high:,}", field=field)
