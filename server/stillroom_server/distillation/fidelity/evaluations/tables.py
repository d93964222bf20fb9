"""Rows of a CSV or TSV file of people's data: bounded, in UTF-8, each with its line number."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from stillroom_registry.errors import InvalidArgument

MOST_ROWS = 50_000
MOST_BYTES = 64 << 20
MOST_CELL_CHARACTERS = 1 << 17


class Refusal:
    """Refuses a file under the request's field that names it."""

    def __init__(self, file: str, field: str) -> None:
        self.file = file
        self.field = field

    def __call__(self, problem: str, line: int | None = None) -> NoReturn:
        where = self.file if line is None else f"{self.file}, line {line}"
        raise InvalidArgument(
            f"{where}: {problem}",
            reason="EVALUATION_INVALID",
            field=self.field,
            metadata={"file": self.file, **({} if line is None else {"line": str(line)})},
        )


def rows(path: Path, refuse: Refusal) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each row that is not blank.

    A name ending in .csv means commas with double quotes, .tsv tabs without any quoting, as
    sentences begin with quotation marks; with another name the first line decides. Raises
    InvalidArgument with the line.
    """
    text = _text(path, refuse)
    suffix = path.suffix.lower()
    tabs = suffix == ".tsv" or (suffix != ".csv" and "\t" in text.partition("\n")[0])
    stream = io.StringIO(text, newline="")
    if tabs:
        reader = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(stream, strict=True)
    count = 0
    line = 1
    try:
        for cells in reader:
            # csv's own limit belongs to the whole process, and others have raised it.
            if max(map(len, cells), default=0) > MOST_CELL_CHARACTERS:
                refuse(f"a field larger than {MOST_CELL_CHARACTERS:,} characters", line)
            if any(cell.strip() for cell in cells):
                count += 1
                if count > MOST_ROWS + 1:  # one may be the header
                    refuse(f"more than {MOST_ROWS:,} rows; give a sample of them")
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        refuse(f"not readable as {'TSV' if tabs else 'CSV'}: {error}", max(line, reader.line_num))


def column(head: list[str], names: tuple[str, ...]) -> int | None:
    """Where the first of ``names`` stands in the header, in any case; None if none does."""
    lowered = [cell.strip().lower() for cell in head]
    return next((lowered.index(name) for name in names if name in lowered), None)


def _text(path: Path, refuse: Refusal) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        refuse(f"cannot be read ({error.strerror})")
    if len(content) > MOST_BYTES:
        refuse(f"larger than {MOST_BYTES >> 20} MiB; give a sample of it")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        refuse("this is UTF-16; save the file as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        refuse(f"byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8", line)
