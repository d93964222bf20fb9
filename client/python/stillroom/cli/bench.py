"""``stillroom bench``: how fast a server answers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillroom.cli import exits
from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.bench.messages import Messages
    from stillroom.bench.report import Report


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    command(app, "bench")(bench)


def bench(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name, name@3 or name@alias.")],
    mode: Annotated[
        str, typer.Option(help="unary: a call a message; or stream: one a connection.")
    ] = "unary",
    file: Annotated[
        Path | None,
        typer.Option(help="Texts, one a line, sent in turn; - is stdin. Else some are built in."),
    ] = None,
    texts_per_message: Annotated[
        int | None, typer.Option(help="1 in unary mode, 256 in stream mode, unless given.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(help="Messages in flight (8); with --rate at most so many (1000)."),
    ] = None,
    connections: Annotated[int, typer.Option(help="Over so many connections.")] = 1,
    rate: Annotated[
        float | None,
        typer.Option(help="Open loop: messages a second, whatever the server does."),
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds to measure (10).")] = None,
    messages: Annotated[int | None, typer.Option(help="Instead: messages to measure.")] = None,
    warm_up: Annotated[float, typer.Option(help="Seconds of the same load before.")] = 1.0,
    element_type: Annotated[
        str | None, typer.Option(help="float32 (default), float16, int8 or binary.")
    ] = None,
    dimensions: Annotated[int | None, typer.Option(help="Keep the first so many.")] = None,
) -> None:
    """Load a server with embedding requests and measure rates, latencies and errors.

    Interrupt it to see what was measured so far. Fails when every message failed.
    """
    from stillroom.bench.plan import make_plan
    from stillroom.bench.run import bench as run
    from stillroom.cli.bench_view import progress, show

    connection, timeout = session.connection()
    plan = make_plan(
        mode=mode,
        concurrency=concurrency,
        connections=connections,
        rate=rate,
        duration=duration,
        messages=messages,
        warm_up=warm_up,
        timeout=timeout,
    )
    load = _messages(session, model, mode, file, texts_per_message, element_type, dimensions)

    async def go() -> Report | None:
        stop = asyncio.Event()
        with _interrupts(stop), progress(session, plan) as watch:
            return await run(connection, plan, load, stop=stop, watch=watch)

    report = asyncio.run(go())
    if report is None:
        raise typer.Exit(exits.INTERRUPTED)
    if session.json_output:
        session.emit({"model": model, "element_type": element_type or "float32", **report.plain()})
    else:
        show(session, model, report)
    if report.interrupted:
        raise typer.Exit(exits.INTERRUPTED)
    if not report.answered:
        raise typer.Exit(exits.BY_CODE[report.errors[0].code] if report.errors else exits.FAILURE)


def _messages(
    session: Session,
    model: str,
    mode: str,
    file: Path | None,
    size: int | None,
    element_type: str | None,
    dimensions: int | None,
) -> Messages:
    from stillroom._protocol import enums
    from stillroom._protocol.messages import build
    from stillroom.bench.messages import make_messages
    from stillroom.bench.texts import TEXTS
    from stillroom.cli.textfile import lines
    from stillroom.v1 import common_pb2
    from stillroom.v1 import embedding_service_pb2 as pb

    options = build(
        pb.EmbedOptions,
        dimensions=dimensions,
        element_type=enums.number(common_pb2.ElementType, element_type, "element_type"),
    )
    texts: Iterable[str] = TEXTS if file is None else lines(file)
    size = size if size is not None else 256 if mode == "stream" else 1
    made = make_messages(texts, size, mode, model, options)
    if made.cut:
        session.say(f"{file} is long: its first {made.texts:,} texts are sent in turn")
    return made


@contextmanager
def _interrupts(stop: asyncio.Event) -> Iterator[None]:
    """The first interrupt sets ``stop``, the next one is as usual."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)

    def as_usual() -> None:
        with suppress(NotImplementedError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)
        with suppress(ValueError):
            signal.signal(signal.SIGINT, before)

    def interrupted(*_: object) -> None:
        as_usual()
        loop.call_soon_threadsafe(stop.set)

    with suppress(ValueError, RuntimeError):  # not the main thread: nobody interrupts it
        try:
            # The loop's own, as a handler alone would not wake it where it is about to sleep.
            loop.add_signal_handler(signal.SIGINT, interrupted)
        except NotImplementedError:  # on Windows
            signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        as_usual()
