"""Examples of a CSV or TSV file, quoted as in RFC 4180, with a header line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stillroom_server.classification.data.collecting import Collector
from stillroom_server.classification.data.columns import Fields, text_column
from stillroom_server.classification.data.decoding import Lines, decoded, told_now_and_then
from stillroom_server.classification.data.refusal import Refusal, shown
from stillroom_server.classification.data.source import Layout
from stillroom_server.distillation.corpus.records import MAX_RECORD_CHARS


def read_table(
    path: Path,
    layout: Layout,
    delimiter: str,
    fields: Fields,
    collector: Collector,
    refuse: Refusal,
    told: Callable[[int], None],
) -> None:
    """Adds the rows of the file to ``collector``; blank lines are passed over. Cells are taken as
    they are, spaces included; a line number is that at which the row begins.

    Raises InvalidArgument: COLUMN_MISSING, COLUMN_AMBIGUOUS, ROW_SHAPE, ENCODING, and what
    ``Collector.add`` raises.
    """
    # The limit is the whole process's, and others may have raised it.
    csv.field_size_limit(max(MAX_RECORD_CHARS, csv.field_size_limit()))
    with decoded(path, refuse, newline="") as lines:
        row_done = told_now_and_then(lines, told)
        rows = _rows(lines, delimiter, refuse)
        header = next(rows, None)
        if header is None:
            return
        names = header[1]
        text_at = _index(names, text_column(layout, names, names, fields, refuse), refuse)
        if layout.label not in names:
            refuse.column_missing(layout.label, names, fields.label)
        label_at = _index(names, layout.label, refuse)
        for number, cells in rows:
            if len(cells) != len(names):
                refuse(
                    f"{len(cells)} cells where the header has {len(names)}; is a cell with "
                    f"{delimiter!r} in it not quoted?",
                    "ROW_SHAPE",
                    number,
                )
            labels = _labels(cells[label_at], layout.separator)
            collector.add(cells[text_at], labels, refuse, number)
            row_done()


def _labels(cell: str, separator: str) -> Sequence[str]:
    if not separator:
        return (cell,)
    return cell.split(separator) if cell.strip() else ()


def _index(names: Sequence[str], name: str, refuse: Refusal) -> int:
    if names.count(name) > 1:
        refuse(f"{names.count(name)} columns are called {shown(name)}", "COLUMN_AMBIGUOUS", 1)
    return names.index(name)


def _rows(lines: Lines, delimiter: str, refuse: Refusal) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row that is not blank."""
    guarded = _Guarded(lines, refuse)
    reader = csv.reader(guarded, delimiter=delimiter, strict=True)
    while True:
        guarded.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            refuse(f"not a sound row ({error})", "ROW_SHAPE", guarded.first)
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield guarded.first, cells


class _Guarded:
    """Lines for a reader of rows, which may take several for one: never too many."""

    def __init__(self, lines: Lines, refuse: Refusal) -> None:
        self._lines = lines
        self._refuse = refuse
        self._characters = 0
        self.first = 1

    def begin(self) -> None:
        """A row begins with the next line."""
        self._characters = 0
        self.first = self._lines.number + 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._characters += len(line)
        if self._characters > 2 * MAX_RECORD_CHARS:
            self._refuse(
                f"a row of more than {2 * MAX_RECORD_CHARS:,} characters; is a quote not closed?",
                "ROW_SHAPE",
                self.first,
            )
        return line
