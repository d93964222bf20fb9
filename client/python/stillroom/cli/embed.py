"""``stillroom embed``: texts into vectors."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillroom.cli import human
from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.embeddings import EmbedBatch


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    command(app, "embed")(embed)


def embed(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name, name@3 or name@alias.")],
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts to embed.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Instead: a file of any size, one text a line; - is stdin.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A .npy file; else JSON lines on standard output.")
    ] = None,
    dimensions: Annotated[int | None, typer.Option(help="Keep the first so many.")] = None,
    normalize: Annotated[bool | None, typer.Option(help="Unit length (default).")] = None,
    truncate: Annotated[bool | None, typer.Option(help="Cut long texts (default).")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens that count.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text put before each input.")] = None,
    prompt_name: Annotated[str | None, typer.Option(help="One of the model's prompts.")] = None,
    element_type: Annotated[
        str | None, typer.Option(help="float32 (default), float16, int8 or binary.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts a message.")] = 256,
) -> None:
    """Embed texts, or a file of them that may be larger than memory."""
    from stillroom.cli import inputs

    texts = inputs.texts(text, file)
    with session.client() as client:
        batches = client.embed_stream(
            texts,
            model=model,
            batch_size=batch_size,
            dimensions=dimensions,
            normalize=normalize,
            truncate=truncate,
            max_tokens=max_tokens,
            prompt=prompt,
            prompt_name=prompt_name,
            element_type=element_type,
        )
        if output is None:
            _print(batches)
        else:
            _write(session, batches, output, len(text) if text else None)


def _print(batches: Iterator[EmbedBatch]) -> None:
    for batch in batches:
        counts, cut = batch.token_counts.tolist(), batch.truncated.tolist()
        warnings = {warning.row: warning.kind for warning in batch.warnings}
        for row, vector in enumerate(batch.plain()):
            line = {
                "index": batch.start + row,
                "model_version": batch.model_version,
                "tokens": counts[row],
                "truncated": cut[row],
            }
            if row in warnings:
                line["warning"] = warnings[row]
            # Each number in the fewest digits that read back the same.
            numbers = ",".join(vector.astype(str))
            sys.stdout.write(f'{json.dumps(line)[:-1]}, "vector": [{numbers}]}}\n')
        sys.stdout.flush()


def _write(
    session: Session, batches: Iterator[EmbedBatch], output: Path, total: int | None
) -> None:
    from stillroom._progress import reporter
    from stillroom.cli.npy import NpyWriter
    from stillroom.errors import InvalidArgument

    bar = not session.json_output and session.err.is_terminal
    started = time.monotonic()
    version = ""
    with NpyWriter(output) as writer:
        with reporter(bar, total, "texts") as report:
            for batch in batches:
                writer.append(batch.plain())
                version = batch.model_version
                report(batch.stop)
        if not writer.rows:
            raise InvalidArgument("there are no texts to embed", reason="NO_TEXTS", field="file")
    seconds = time.monotonic() - started
    if session.json_output:
        session.emit(
            {
                "output": str(output),
                "rows": writer.rows,
                "columns": writer.columns,
                "model_version": version,
                "seconds": round(seconds, 3),
            }
        )
    else:
        session.say(
            f"{output}: {writer.rows:,} x {writer.columns} by {version} in"
            f" {human.duration(seconds)} ({writer.rows / max(seconds, 1e-9):,.0f} texts/s)"
        )
