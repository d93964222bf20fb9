"""Texts into vectors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from stillroom._core import Core
from stillroom._flows import embed_options, streaming
from stillroom._progress import reporter
from stillroom._protocol import rpcs, vectors
from stillroom._protocol.limits import wants_a_stream
from stillroom._protocol.messages import build
from stillroom._protocol.texts import Source, Texts, with_texts
from stillroom._protocol.window import TextStream
from stillroom.embeddings import EmbedBatch, EmbedOptions, FailedBatch
from stillroom.errors import InvalidArgument
from stillroom.v1 import embedding_service_pb2 as pb

STREAM: TextStream[EmbedBatch] = TextStream(
    rpcs.EMBED_STREAM, "embeddings", EmbedBatch, FailedBatch
)


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
    first, small = await streaming.begin(source, "embed")
    how = embed_options.make(options) if options else None  # empty ones would be parsed too
    if small:
        request = build(pb.EmbedRequest, model=model, options=how)
        try:
            answer = await core.call(rpcs.EMBED, with_texts(request, first, 0))
            # A copy: the caller's own array, where the batch's is a view of the answer.
            return np.array(EmbedBatch(0, len(first), answer.embeddings).plain())
        except InvalidArgument as error:
            if len(first) == 1 or not wants_a_stream(error):
                raise
    rows = vectors.Rows(source.total)
    with reporter(progress, source.total, "texts") as report:
        flow = streaming.pump(core, STREAM, source, first, model, how)
        async with aclosing(flow) as batches:
            async for batch in batches:
                rows.add(batch.plain())
                report(batch.stop)
    return rows.finish()


async def embed_stream(
    core: Core,
    texts: Texts,
    *,
    model: str,
    batch_size: int = streaming.BATCH_SIZE,
    window: int = streaming.WINDOW,
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
    flow = streaming.checked(
        core,
        STREAM,
        texts,
        model,
        embed_options.make(options) if options else None,
        batch_size=batch_size,
        window=window,
        on_error=on_error,
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
