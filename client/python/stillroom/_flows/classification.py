"""Texts into labels."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Literal, Unpack

from stillroom._core import Core
from stillroom._flows import streaming
from stillroom._flows.embed_options import known
from stillroom._progress import reporter
from stillroom._protocol import enums, rpcs
from stillroom._protocol.limits import wants_a_stream
from stillroom._protocol.messages import build
from stillroom._protocol.texts import Source, Texts, with_texts
from stillroom._protocol.window import TextStream
from stillroom.classifications import (
    Classifications,
    ClassifyOptions,
    Collector,
    FailedClassifications,
)
from stillroom.errors import InvalidArgument
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2

STREAM: TextStream[Classifications] = TextStream(
    rpcs.CLASSIFY_STREAM,
    "classifications",
    Classifications.of_answer,
    FailedClassifications,
)


async def classify(
    core: Core,
    texts: Texts,
    *,
    model: str,
    progress: bool | Callable[[int, int | None], None] = False,
    **options: Unpack[ClassifyOptions],
) -> Classifications:
    """Classifies texts; answers a sequence with one Classification a text, in order, which also
    has columns: ``labels``, ``probabilities``, ``confidences``, ``abstained``.

    ``texts``, ``model`` and ``progress`` are as in ``embed``; large inputs go through the stream.
    ``top_k`` asks for so many labels of each text; for the other options see
    ``stillroom.ClassifyOptions``. A text of which the classifier is not sure enough is answered
    all the same, with ``abstained`` set.

    Raises InvalidArgument (``field`` names what is wrong), NotFound (no such model),
    FailedPrecondition (it is no classifier, or its encoder, a teacher, was deleted), Unavailable
    (after several attempts), ResourceExhausted.
    """
    source = Source(texts)
    first, small = await streaming.begin(source, "classify")
    how = classify_options(options) if options else None  # empty ones would be parsed too
    if small:
        request = build(pb.ClassifyRequest, model=model, options=how)
        try:
            answer = await core.call(rpcs.CLASSIFY, with_texts(request, first, 0))
            return Classifications.of_answer(0, len(first), answer.classifications)
        except InvalidArgument as error:
            if len(first) == 1 or not wants_a_stream(error):
                raise
    collected = Collector(source.total)
    with reporter(progress, source.total, "texts") as report:
        flow = streaming.pump(core, STREAM, source, first, model, how)
        async with aclosing(flow) as batches:
            async for batch in batches:
                collected.add(batch)
                report(batch.stop)
    return collected.finish()


async def classify_stream(
    core: Core,
    texts: Texts,
    *,
    model: str,
    batch_size: int = streaming.BATCH_SIZE,
    window: int = streaming.WINDOW,
    on_error: Literal["raise", "yield"] = "raise",
    **options: Unpack[ClassifyOptions],
) -> AsyncGenerator[Classifications, None]:
    """Classifies an iterable of any length and yields Classifications for each ``batch_size``
    texts, in order. Bounds, live feeds, broken connections and ``on_error`` are as in
    ``embed_stream``; see ``classify`` for options and errors."""
    flow = streaming.checked(
        core,
        STREAM,
        texts,
        model,
        classify_options(options) if options else None,
        batch_size=batch_size,
        window=window,
        on_error=on_error,
    )
    async with aclosing(flow) as batches:
        async for batch in batches:
            yield batch


def classify_options(options: ClassifyOptions) -> pb.ClassifyOptions:
    """The message of these options; InvalidArgument names the one at fault."""
    given = known(options, ClassifyOptions.__annotations__)
    name = "embedding_element_type"
    if name in given:
        given[name] = enums.number(common_pb2.ElementType, given[name], name)
    return build(pb.ClassifyOptions, **given)
