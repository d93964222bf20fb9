"""Texts of files with a record a line: JSON Lines and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.corpus.cleaning import MAX_TEXT_CHARS
from stillroom_server.distillation.corpus.columns import choose_column
from stillroom_server.distillation.corpus.lines import read_lines

MAX_RECORD_CHARS = 16 << 20
_BATCH = 512


def read_jsonl(chunks: Iterable[bytes], column: str | None, field: str) -> Iterator[list[str]]:
    """The texts of a JSON object a line; a missing or null one counts as blank, and an empty line
    is passed over.

    Raises InvalidArgument: CORPUS_BAD_RECORD with the line, CORPUS_NOT_TEXT,
    CORPUS_COLUMN_UNKNOWN by the first record, CORPUS_NOT_UTF8.
    """
    batch: list[str] = []
    chosen: str | None = None
    for number, line in _numbered(chunks, field):
        if not line.strip():
            continue
        record = _parsed(line, number, field)
        if chosen is None:
            texts = [name for name, value in record.items() if isinstance(value, str | None)]
            chosen = choose_column(column, list(record), texts, field)
        text = record.get(chosen)
        if text is not None and not isinstance(text, str):
            raise _bad(f"{chosen[:80]!r} of line {number:,} is no text", "CORPUS_NOT_TEXT", field)
        batch.append(one_line(text or ""))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def read_csv(
    chunks: Iterable[bytes], column: str | None, field: str, delimiter: str = ","
) -> Iterator[list[str]]:
    """The texts of a table whose first line names its columns; a row that is too short counts as
    blank. Raises as ``read_jsonl``."""
    csv.field_size_limit(MAX_RECORD_CHARS)
    rows = csv.reader(
        (line + "\n" for _, line in _numbered(chunks, field)), delimiter=delimiter, strict=True
    )
    batch: list[str] = []
    try:
        header = next(rows, None)
        if header is None:
            return
        names = [name.strip() for name in header]
        at = names.index(choose_column(column, names, names, field))
        for row in rows:
            if row:
                batch.append(one_line(row[at]) if at < len(row) else "")
            if len(batch) == _BATCH:
                yield batch
                batch = []
    except csv.Error as error:
        raise _bad(
            f"line {rows.line_num:,} is no sound row: {error}", "CORPUS_BAD_RECORD", field
        ) from error
    if batch:
        yield batch


def one_line(text: str) -> str:
    """A record's text for the cleaning: cut where that cuts, line feeds as spaces."""
    return text[: MAX_TEXT_CHARS + 1].replace("\n", " ")


def _numbered(chunks: Iterable[bytes], field: str) -> Iterator[tuple[int, str]]:
    number = 0
    for lines in read_lines(chunks, MAX_RECORD_CHARS, field):
        for line in lines:
            number += 1
            if len(line) > MAX_RECORD_CHARS:
                raise _bad(
                    f"line {number:,} has more than {MAX_RECORD_CHARS:,} characters",
                    "CORPUS_BAD_RECORD",
                    field,
                )
            yield number, line


def _parsed(line: str, number: int, field: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _bad(f"line {number:,} is no JSON", "CORPUS_BAD_RECORD", field) from error
    if not isinstance(record, dict):
        raise _bad(f"line {number:,} is no JSON object", "CORPUS_BAD_RECORD", field)
    return record


def _bad(what: str, reason: str, field: str) -> InvalidArgument:
    return InvalidArgument(f"{what}; mend the file or name another", reason=reason, field=field)
