"""Labeled texts for a classifier."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from stillroom._core import Core
from stillroom._flows import sources
from stillroom._flows.texts import INLINE_BYTES, hub_dataset, send_file
from stillroom._flows.uploads import send_payload
from stillroom._progress import Progress
from stillroom._protocol import enums
from stillroom._protocol.messages import build
from stillroom.archives import Part, Payload
from stillroom.errors import InvalidArgument
from stillroom.v1 import classification_service_pb2 as pb

Labels = str | int | Iterable[str | int]
Labeled = Iterable[tuple[str, Labels]] | os.PathLike[str] | pb.LabeledData
# The same, known to be in order: examples as texts with lists of labels.
Checked = list[tuple[str, list[str]]] | Path | pb.LabeledData
# By these endings the server knows what a file is.
_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Columns:
    """How labeled texts lie in a file or a dataset; None is the server's default."""

    text_column: str | None = None
    label_column: str | None = None
    label_separator: str | None = None
    delimiter: str | None = None
    file_format: str | None = None

    @property
    def given(self) -> list[str]:
        """The names of those that are set."""
        return [name for name, value in vars(self).items() if value is not None]

    def message(self, *, dataset: bool = False) -> pb.LabeledDataFormat | None:
        """The message; None where nothing is set. A dataset names its texts' column itself."""
        fields = {name: value for name, value in vars(self).items() if value is not None}
        if dataset:
            fields.pop("text_column", None)
        if "file_format" in fields:
            fields["file_format"] = enums.number(
                pb.LabeledFileFormat, self.file_format, "file_format"
            )
        return build(pb.LabeledDataFormat, **fields) if fields else None


async def labeled_source(
    core: Core,
    *,
    examples: Iterable[tuple[str, Labels]] | None = None,
    path: str | os.PathLike[str] | None = None,
    upload: str | None = None,
    server_path: str | None = None,
    dataset: str | None = None,
    revision: str | None = None,
    split: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    delimiter: str | None = None,
    file_format: str | None = None,
    progress: Progress = False,
) -> pb.LabeledData:
    """The LabeledData of one of these sources, for ``train_classifier`` and
    ``evaluate_classifier``, after uploading what is on this machine.

    ``examples`` are pairs of a text and its label, or its labels; ``path`` a file on this machine;
    ``upload`` a finished upload of one; ``server_path`` one on the server, inside a root that its
    operator allowed; ``dataset`` is ``owner/name`` on the Hub, at ``revision`` or
    ``owner/name@revision``, with its ``split`` ("train").

    Files are CSV or TSV with a header, or JSONL; by their name, or as ``file_format`` says ("csv",
    "tsv", "jsonl"). Texts are in ``text_column`` ("text"), labels in ``label_column`` ("label").
    Several labels in one cell have ``label_separator`` ("|") between, the cells of a CSV
    ``delimiter`` (",").

    Raises InvalidArgument that names the argument.
    """
    choices = {
        "examples": examples,
        "path": path,
        "upload": upload,
        "server_path": server_path,
        "dataset": dataset,
    }
    sources.check_one(choices, "data")
    details = {"revision": revision, "split": split}
    sources.check_details(details, dataset)
    columns = Columns(text_column, label_column, label_separator, delimiter, file_format)
    how = columns.message(dataset=dataset is not None)
    if dataset is not None:
        found = hub_dataset(dataset, {**details, "column": text_column})
        return pb.LabeledData(dataset=found, format=how)
    if server_path is not None:
        return build(pb.LabeledData, path=server_path, format=how)
    if upload is not None:
        return build(pb.LabeledData, upload=upload, format=how)
    field, here = ("path", Path(path)) if path is not None else ("examples", examples or ())
    return await send(core, check(here, columns, field), columns, field, progress)


def is_file(source: Labeled) -> bool:
    """Whether it is a file of this machine: only then anything says how it is read."""
    return isinstance(source, os.PathLike)


def check(given: Labeled, columns: Columns, field: str) -> Checked:
    """``given`` as ``send`` takes it. Raises InvalidArgument on ``field`` or a part of it."""
    how = columns.message()
    if isinstance(given, pb.LabeledData):
        return given
    if isinstance(given, str):
        raise InvalidArgument(
            f"{field} is a list of (text, label) pairs, a pathlib.Path of a file on this machine,"
            " or what labeled_source answers; a str could be any of these",
            reason="BAD_TYPE",
            field=field,
        )
    if isinstance(given, os.PathLike):
        path = Path(given)
        if how is None or not how.file_format:
            _check_ending(path, field)
        return path
    if columns.given:
        raise InvalidArgument(
            f"{columns.given[0]} says how a file is read; {field} holds the examples themselves",
            field=columns.given[0],
        )
    if not isinstance(given, Iterable):
        raise InvalidArgument(
            f"{field} is {type(given).__name__}; give a list of (text, label) pairs, a"
            " pathlib.Path of a file, or what labeled_source answers",
            reason="BAD_TYPE",
            field=field,
        )
    listed = [_example(pair, f"{field}[{index}]") for index, pair in enumerate(given)]
    if not listed:
        raise InvalidArgument(f"{field} holds no example", reason="NO_DATA", field=field)
    return listed


async def send(
    core: Core, checked: Checked, columns: Columns, field: str, progress: Progress
) -> pb.LabeledData:
    """The message of labeled data, after uploading what is a file, or too large for a request."""
    if isinstance(checked, pb.LabeledData):
        return checked
    if isinstance(checked, Path):
        name = await send_file(core, checked, field, progress)
        return pb.LabeledData(upload=name, format=columns.message())
    if sum(map(_bytes, checked)) <= INLINE_BYTES:
        values = [pb.LabeledExample(text=text, labels=labels) for text, labels in checked]
        return pb.LabeledData(examples=pb.InlineExamples(values=values))
    lines = (json.dumps({"text": text, "label": labels}) + "\n" for text, labels in checked)
    data = "".join(lines).encode()
    payload = Payload("examples.jsonl", (Part(len(data), data),))
    sent = await send_payload(core, payload, progress=progress)
    how = pb.LabeledDataFormat(file_format=pb.LABELED_FILE_FORMAT_JSONL)
    return pb.LabeledData(upload=sent.name, format=how)


def _bytes(pair: tuple[str, list[str]]) -> int:
    """About what it takes in a request."""
    return len(pair[0].encode()) + sum(len(label.encode()) + 4 for label in pair[1]) + 8


def _check_ending(path: Path, field: str) -> None:
    if path.suffix.lower() not in _ENDINGS:
        raise InvalidArgument(
            f"{path.name} does not say what it is: a name ends on {', '.join(_ENDINGS)}, or"
            " file_format is csv, tsv or jsonl",
            reason="UNKNOWN_FILE_FORMAT",
            field=field,
        )


def _example(pair: Any, field: str) -> tuple[str, list[str]]:
    """A text and its labels as text."""
    if isinstance(pair, str | bytes | Mapping) or not hasattr(pair, "__getitem__"):
        raise _no_pair(field, type(pair).__name__)
    parts: list[Any] = list(pair)
    if len(parts) != 2:
        raise _no_pair(field, f"{len(parts)} values")
    text, labels = parts
    one = isinstance(labels, str | Integral)
    several: list[Any] = [labels] if one else _listed(labels, field)
    named = [_label(label, f"{field}[1]") for label in several]
    # The order of a set differs from run to run, and with it the digest of the data.
    return _text(text, f"{field}[0]"), sorted(named) if isinstance(labels, Set) else named


def _listed(labels: Any, field: str) -> list[Any]:
    if labels is None or isinstance(labels, bytes) or not isinstance(labels, Iterable):
        raise InvalidArgument(
            f"{field}[1] is {type(labels).__name__}; a label is a str or an int, several are a"
            " list of them",
            reason="BAD_TYPE",
            field=f"{field}[1]",
        )
    return list(labels)


def _label(label: Any, field: str) -> str:
    # True and False are numbers in Python, but no labels that a file could hold.
    if isinstance(label, bool) or not isinstance(label, Integral):
        return _text(label, field)
    return str(int(label))


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(
            f"{field} is {type(value).__name__}, not str", reason="BAD_TYPE", field=field
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{field} holds what is no text: {error.reason}", reason="INVALID_UNICODE", field=field
        ) from None
    return value


def _no_pair(field: str, found: str) -> InvalidArgument:
    return InvalidArgument(
        f"{field} is {found}, not a pair of a text and its label", reason="BAD_TYPE", field=field
    )
