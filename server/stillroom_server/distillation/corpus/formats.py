"""The formats that a file of texts may have, and how each is read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import BinaryIO

from stillroom_registry.errors import InvalidArgument, ResourceExhausted
from stillroom_server.distillation.corpus.cleaning import MAX_TEXT_CHARS
from stillroom_server.distillation.corpus.lines import read_lines
from stillroom_server.distillation.corpus.parquet import read_parquet
from stillroom_server.distillation.corpus.records import read_csv, read_jsonl

# Of what a corpus is read from, unpacked; a gzip of a few megabytes can hold terabytes.
MAX_SOURCE_BYTES = 64 << 30
CHUNK = 1 << 18
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_HEAD = 4096


class Format(StrEnum):
    """The best first: where a dataset has the same texts in several, the first is taken."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    TEXT = "txt"


_SUFFIXES = {
    ".parquet": Format.PARQUET,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".txt": Format.TEXT,
}


def format_of(name: str) -> Format | None:
    """By the ending of a file's name, before ``.gz`` if it has that; None: none of these."""
    path = PurePosixPath(name.lower())
    if path.suffix == ".gz":
        path = path.with_suffix("")
    return _SUFFIXES.get(path.suffix)


@dataclass(frozen=True)
class Reader:
    """Reads files of texts. ``column`` is that of tables, None: the usual one. ``on_read`` is told
    how many bytes of the file are done, after each piece; it may raise to stop."""

    column: str | None
    field: str
    on_read: Callable[[int], None]

    def read(self, stream: BinaryIO, name: str, size: int) -> Iterator[list[str]]:
        """The lines or records of a seekable ``stream`` of ``size`` bytes, some at a time, none
        longer than the cleaning keeps.

        By the name's ending, or else plain text; Parquet and gzip are known by their first bytes.
        Raises InvalidArgument (CORPUS_CORRUPT and what the formats raise), ResourceExhausted
        (CORPUS_TOO_LARGE).
        """
        head = stream.read(4)
        stream.seek(0)
        if head == _PARQUET:
            return read_parquet(
                stream, self.column, self.field, lambda share: self.on_read(int(size * share))
            )
        chunks = self._chunks(stream, gzipped=head[:2] == _GZIP)
        match format_of(name):
            case Format.JSONL:
                return read_jsonl(chunks, self.column, self.field)
            case Format.CSV:
                return read_csv(chunks, self.column, self.field)
            case Format.TSV:
                return read_csv(chunks, self.column, self.field, delimiter="\t")
            case Format.PARQUET:
                raise self._corrupt("it is no Parquet file")
            case _:
                return read_lines(chunks, MAX_TEXT_CHARS, self.field)

    def _chunks(self, stream: BinaryIO, *, gzipped: bool) -> Iterator[bytes]:
        plain = gzip.GzipFile(fileobj=stream) if gzipped else stream
        total = 0
        while True:
            try:
                chunk = plain.read(CHUNK)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise self._corrupt("its gzip stream is damaged or cut short") from error
            if not chunk:
                return
            if total == 0 and 4 * chunk.count(0, 0, _HEAD) > min(len(chunk), _HEAD):
                raise InvalidArgument(
                    "the corpus must be UTF-8 text, and it is full of zero bytes, as UTF-16 "
                    "without a mark is; convert it, for instance with iconv -t UTF-8",
                    reason="CORPUS_NOT_UTF8",
                    field=self.field,
                    metadata={"line": "1"},
                )
            total += len(chunk)
            if total > MAX_SOURCE_BYTES:
                raise too_large(f"more than {MAX_SOURCE_BYTES:,} bytes", self.field)
            yield chunk
            self.on_read(stream.tell())

    def _corrupt(self, what: str) -> InvalidArgument:
        return InvalidArgument(
            f"the file is damaged: {what}; write it again",
            reason="CORPUS_CORRUPT",
            field=self.field,
        )


def too_large(what: str, field: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"the corpus has {what}; a sample of it serves as well",
        reason="CORPUS_TOO_LARGE",
        field=field,
    )
