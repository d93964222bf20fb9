"""A look at labeled texts. Lenient: what is wrong with a row is told by whoever reads them all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from stillroom_server.classification.data.source import (
    USUAL_TEXT,
    FileFormat,
    FileSource,
    HubSource,
    InlineSource,
    Layout,
    parse_labeled,
)
from stillroom_server.cost.looking.corpus import LOOKED_AT
from stillroom_server.cost.looking.look import Look, look
from stillroom_server.distillation.corpus.opening import open_allowed, open_own
from stillroom_server.distillation.corpus.source import PathSource
from stillroom_server.security.paths import AllowedRoots

_PIECES = 8  # a file may be in the order of its labels: pieces of all of it are looked at

Row = tuple[str, list[str]]


def look_at_examples(
    source: Mapping[str, Any], roots: AllowedRoots, *, multi_label: bool, field: str = "data"
) -> Look | None:
    """Of what ``parse_labeled`` reads. None: it is on the Hub, and nobody looks there. Raises what
    opening the data raises."""
    match parse_labeled(source, multi_label=multi_label, field=field):
        case InlineSource(examples):
            rows = [(str(text), list(labels)) for text, labels in examples]
            return _look(rows, sum(len(text.encode("utf-8", "replace")) for text, _ in rows), 1.0)
        case FileSource(file, kind, layout, delimiter):
            opened = (
                open_allowed(roots, file.path, f"{field}.path")
                if isinstance(file, PathSource)
                else open_own(file.file, f"{field}.upload")
            )
            with opened as stream:
                return _file(stream, kind, layout, delimiter)
        case HubSource():
            return None


def _look(rows: list[Row], size: int, seen: float) -> Look:
    labels = {label for _, given in rows for label in given}
    return look([text for text, _ in rows], size, seen=seen, labels=labels)


def _file(stream: BinaryIO, kind: FileFormat, layout: Layout, delimiter: str) -> Look:
    size = stream.seek(0, 2)
    head, pieces = _pieces(stream, size)
    seen = min(1.0, (len(head) + sum(map(len, pieces))) / max(1, size))
    lines = b"".join([head, *pieces]).decode("utf-8-sig", "replace")
    if kind is FileFormat.JSONL:
        return _look(list(_records(lines, layout)), size, seen)
    return _look(list(_cells(lines, layout, delimiter)), size, seen)


def _pieces(stream: BinaryIO, size: int) -> tuple[bytes, list[bytes]]:
    """The beginning, and pieces of whole lines from further on; of a small file, all of it."""
    stream.seek(0)
    if size <= LOOKED_AT:
        return stream.read(LOOKED_AT), []
    length = LOOKED_AT // _PIECES
    head = _whole_lines(stream.read(length), first=True)
    pieces = []
    for number in range(1, _PIECES):
        stream.seek(number * (size - length) // (_PIECES - 1))
        pieces.append(_whole_lines(stream.read(length), first=False))
    return head, pieces


def _whole_lines(data: bytes, *, first: bool) -> bytes:
    start = 0 if first else data.find(b"\n") + 1
    end = data.rfind(b"\n") + 1
    return data[start:end]


def _records(lines: str, layout: Layout) -> Iterator[Row]:
    for line in lines.split("\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        text = record.get(layout.text or USUAL_TEXT)
        given = record.get(layout.label)
        labels = given if isinstance(given, list) else [] if given is None else [given]
        yield str(text or ""), [str(label) for label in labels]


def _cells(lines: str, layout: Layout, delimiter: str) -> Iterator[Row]:
    rows = csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter)
    try:
        names = next(rows, [])
        text_at, label_at = names.index(layout.text or USUAL_TEXT), names.index(layout.label)
        for cells in rows:
            if len(cells) != len(names):
                continue
            cell = cells[label_at]
            labels = cell.split(layout.separator) if layout.separator else [cell]
            yield cells[text_at], [label for label in labels if label]
    except (csv.Error, ValueError):
        return
