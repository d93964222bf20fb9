"""Texts into vectors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from stillroom._core import Core
from stillroom._progress import reporter
from stillroom._protocol import enums, rpcs, vectors
from stillroom._protocol.limits import UNARY_TEXTS, ItemLimits, item_limits, wants_a_stream
from stillroom._protocol.messages import build
from stillroom._protocol.texts import Source, Texts, split, utf8_bytes, with_texts
from stillroom._protocol.window import Item, Window
from stillroom._transport.base import Exchange
from stillroom.embeddings import EmbedBatch, EmbedOptions
from stillroom.errors import InvalidArgument, StillroomError, Unavailable
from stillroom.v1 import common_pb2
from stillroom.v1 import embedding_service_pb2 as pb
from stillroom.v1.server_service_pb2 import GetServerInfoRequest

_MAX_WINDOW = 1024


async def embed(
    core: Core,
    texts: Texts,
    *,
    model: str,
    progress: bool | Callable[[int, int | None], None] = False,
    **options: Unpack[EmbedOptions],
) -> NDArray[Any]:
    """Embeds texts into an array (n, d), one row a text, in order.

    ``texts`` is a str or any iterable of str; a million are fine: large inputs go through the
    stream, and memory is bounded by the result. ``model`` is ``name``, ``name@3``, ``name@alias``
    or a full name. ``progress=True`` shows a bar on standard error; a function is called with the
    texts done and their total (None where it is unknown). For the options see
    ``stillroom.EmbedOptions``.

    float32 unless ``element_type`` says "float16" or "binary" (packed bits, (n, ceil(d / 8))
    uint8); "int8" saves bytes on the wire and is answered as float32, already scaled.

    Raises InvalidArgument (``field`` names what is wrong), NotFound (no such model), Unavailable
    (after several attempts), ResourceExhausted, FailedPrecondition (a model that does not embed).
    """
    source = Source(texts)
    first = await source.take(UNARY_TEXTS + 1)
    if not first:
        raise InvalidArgument("there are no texts to embed", reason="NO_TEXTS", field="texts")
    small = len(first) <= UNARY_TEXTS and sum(map(utf8_bytes, first)) <= ItemLimits.bytes
    if small:
        request = build(pb.EmbedRequest, model=model, options=_options(options))
        try:
            answer = await core.call(rpcs.EMBED, with_texts(request, first, 0))
            # A copy: the caller's own array, where the batch's is a view of the answer.
            return np.array(EmbedBatch(0, len(first), answer.embeddings).plain())
        except InvalidArgument as error:
            if len(first) == 1 or not wants_a_stream(error):
                raise
    rows = vectors.Rows(source.total)
    with reporter(progress, source.total, "texts") as report:
        async with aclosing(_stream(core, source, first, model, _options(options))) as batches:
            async for batch in batches:
                rows.add(batch.plain())
                report(batch.stop)
    return rows.finish()


async def embed_stream(
    core: Core,
    texts: Texts,
    *,
    model: str,
    batch_size: int = 256,
    window: int = 8,
    on_error: Literal["raise", "yield"] = "raise",
    **options: Unpack[EmbedOptions],
) -> AsyncGenerator[EmbedBatch, None]:
    """Embeds an iterable of any length and yields an EmbedBatch for each ``batch_size`` texts, in
    order; fewer where they are long, and never more than the server takes at once.

    Up to ``window`` batches are on their way at once and that bounds memory; the iterable is read
    only as far. For a live feed, where each text should be answered at once, say ``batch_size=1,
    window=1``. When the connection breaks or the server restarts, the stream is opened again and
    what was not answered is sent again; Unavailable comes after several attempts without progress.

    A batch that the server refuses ends the iteration with its error; with ``on_error="yield"`` it
    is yielded with ``error`` set, and the stream goes on. See ``embed`` for options and errors.
    """
    if on_error not in ("raise", "yield"):
        raise InvalidArgument('on_error is "raise" or "yield"', field="on_error")
    _within(batch_size, 1, 1 << 20, "batch_size")
    _within(window, 1, _MAX_WINDOW, "window")
    flow = _stream(
        core,
        Source(texts),
        [],
        model,
        _options(options),
        batch_size=batch_size,
        window=window,
        keep_going=on_error == "yield",
    )
    async with aclosing(flow) as batches:
        async for batch in batches:
            yield batch


async def tokenize(
    core: Core, texts: Texts, *, model: str, max_tokens: int | None = None
) -> pb.TokenizeResponse:
    """Shows how a model splits texts into tokens: ``results`` has one entry a text, with ids,
    tokens and their places in the text, in characters."""
    taken = await Source(texts).take(1 << 20)
    request = build(pb.TokenizeRequest, model=model, max_tokens=max_tokens)
    return await core.call(rpcs.TOKENIZE, with_texts(request, taken, 0))


async def _stream(
    core: Core,
    source: Source,
    head: list[str],
    model: str,
    options: pb.EmbedOptions,
    *,
    batch_size: int = 256,
    window: int = 8,
    keep_going: bool = False,
) -> AsyncGenerator[EmbedBatch, None]:
    """Pumps ``head`` and then ``source`` through EmbedStream, in one flow: fill the window, read an
    answer, and again."""
    limits = await _limits(core)
    size = min(batch_size, limits.texts)
    items = _items(source, head, model, options, size, limits.bytes)
    unanswered = Window(window)
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
                    exchange = await _open(core, unanswered, more)
                else:
                    unanswered.sent(item)
                    await exchange.send(item.data)
            if not unanswered:
                return
            if exchange is None:
                exchange = await _open(core, unanswered, more)
            try:
                data = await exchange.receive()
                if data is None:
                    raise Unavailable("the server ended the stream early", reason="STREAM_ENDED")
                batch = unanswered.answered(rpcs.EMBED_STREAM.parse(data))
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


async def _open(core: Core, unanswered: Window, more: bool) -> Exchange:
    """A new stream, on which everything unanswered is sent (again)."""
    exchange = core.transport.exchange(rpcs.EMBED_STREAM, None)
    for item in unanswered:
        await exchange.send(item.data)
    if not more:
        await exchange.finish()
    return exchange


async def _items(
    source: Source,
    head: list[str],
    model: str,
    options: pb.EmbedOptions,
    batch_size: int,
    max_bytes: int,
) -> AsyncGenerator[Item, None]:
    sequence = start = 0
    while texts := head[:batch_size] or await source.take(batch_size):
        head = head[batch_size:]
        for part in split(texts, max_bytes):
            message = build(
                pb.EmbedStreamRequest, model=model, options=options, correlation_id=str(sequence)
            )
            data = with_texts(message, part, start).SerializeToString()
            yield Item(sequence, start, start + len(part), data)
            sequence += 1
            start += len(part)


def _options(options: EmbedOptions) -> pb.EmbedOptions:
    given: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
    unknown = given.keys() - EmbedOptions.__annotations__.keys()
    if unknown:
        raise InvalidArgument(
            f"{min(unknown)} is no option; there are {', '.join(EmbedOptions.__annotations__)}",
            reason="UNKNOWN_OPTION",
            field=min(unknown),
        )
    if "prompt" in given and "prompt_name" in given:
        raise InvalidArgument("give prompt or prompt_name, not both", field="prompt_name")
    if "element_type" in given:
        given["element_type"] = enums.number(
            common_pb2.ElementType, given["element_type"], "element_type"
        )
    if "truncation_direction" in given:
        given["truncation_direction"] = enums.number(
            pb.TruncationDirection, given["truncation_direction"], "truncation_direction"
        )
    return build(pb.EmbedOptions, **given)


def _within(value: int, low: int, high: int, field: str) -> None:
    if not low <= value <= high:
        raise InvalidArgument(f"{field} is {value}; it must be {low} to {high:,}", field=field)
