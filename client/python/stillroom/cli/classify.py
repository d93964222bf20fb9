"""``stillroom classify``: texts into labels."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillroom.cli import human
from stillroom.cli.options import command
from stillroom.cli.session import Session, safe

if TYPE_CHECKING:
    from stillroom.classifications import Classification, Classifications


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""
    command(app, "classify")(classify)


def classify(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name, name@3 or name@alias.")],
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts to classify.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Instead: a file of any size, one text a line; - is stdin.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="So many labels of each text, whether or not they apply."),
    ] = None,
    abstain_below: Annotated[
        float | None,
        typer.Option(help="Confidence below which a text is unsure; 0: never.", metavar="SHARE"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Multi-label: where every label begins to apply.", metavar="SHARE"),
    ] = None,
    truncate: Annotated[bool | None, typer.Option(help="Cut long texts.")] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="With --json: the vectors, too.")
    ] = False,
    element_type: Annotated[
        str | None, typer.Option(help="Theirs: float32 (default), float16, int8 or binary.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts a message.")] = 256,
) -> None:
    """Classify texts, or a file of them that may be larger than memory.

    A line a text: its labels with their probabilities, a tab, and the text. A text that the
    classifier is not sure enough of begins with "unsure:". With --json, a JSON line a text.
    """
    from stillroom.cli import inputs
    from stillroom.errors import InvalidArgument

    if embeddings and not session.json_output:
        raise InvalidArgument("vectors are for machines: --embeddings goes with --json")
    waiting: deque[str] = deque()
    texts = _remembered(inputs.texts(text, file), waiting)
    with session.client() as client:
        batches = client.classify_stream(
            texts,
            model=model,
            batch_size=batch_size,
            top_k=top_k,
            abstention_threshold=abstain_below,
            threshold=threshold,
            truncate=truncate,
            include_embeddings=embeddings or None,
            embedding_element_type=element_type,
        )
        shown = _with_progress(session, batches, len(text) if text else None)
        for batch in shown:
            given = [waiting.popleft() for _ in range(len(batch))]
            lines = _json(batch) if session.json_output else map(_line, batch, given)
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()


def _remembered(texts: Iterable[str], waiting: deque[str]) -> Iterator[str]:
    """Texts that are on their way; as many as the stream's window holds."""
    for text in texts:
        waiting.append(text)
        yield text


def _with_progress(
    session: Session, batches: Iterator[Classifications], total: int | None
) -> Iterator[Classifications]:
    """A bar for whoever watches while the results go elsewhere; a sum at the end."""
    from stillroom._progress import reporter

    watched = session.err.is_terminal and not (session.json_output or session.out.is_terminal)
    done = unsure = 0
    version = ""
    with reporter(watched, total, "texts") as report:
        for batch in batches:
            yield batch
            done, version = batch.stop, batch.model_version
            unsure += int(batch.abstained.sum())
            report(done)
    if done > 1:
        doubts = f", {human.share(unsure, done)} of them unsure" if unsure else ""
        session.say(f"{done:,} texts by {version}{doubts}")


def _line(found: Classification, text: str) -> str:
    labels = ", ".join(f"{label.name} {label.probability:.4f}" for label in found.labels)
    unsure = "unsure: " if found.abstained else ""
    return f"{unsure}{safe(' '.join(labels.split()) or '-')}\t{safe(' '.join(text.split()))}"


def _json(batch: Classifications) -> Iterator[str]:
    vectors = batch.embeddings
    for row, found in enumerate(batch):
        line: dict[str, Any] = {
            "index": batch.start + row,
            "model_version": batch.model_version,
            "label": found.label,
            "labels": [
                {"label": name, "probability": _digits(probability), "applies": applies}
                for name, probability, applies in found.labels
            ],
            "confidence": _digits(found.confidence),
            "abstained": found.abstained,
            "tokens": found.token_count,
            "truncated": found.truncated,
        }
        if found.warning is not None:
            line["warning"] = found.warning
        written = json.dumps(line, ensure_ascii=False)
        if vectors is not None:
            # Each number in the fewest digits that read back the same.
            numbers = ",".join(vectors[row].astype(str))
            written = f'{written[:-1]}, "vector": [{numbers}]}}'
        yield written


def _digits(value: float) -> float:
    """A float32 in the digits that it has."""
    return float(f"{value:.7g}")
