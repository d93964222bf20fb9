"""Lines of UTF-8 from chunks of bytes, in bounded memory; where the chunks end does not matter."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from stillroom_registry.errors import InvalidArgument

_BYTE_ORDER_MARK = "\ufeff"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_lines(chunks: Iterable[bytes], limit: int, field: str) -> Iterator[list[str]]:
    """The lines of ``chunks`` without their ends, some at a time; of a line of more than ``limit``
    characters, the first ``limit`` + 1.

    A line ends at a line feed; what follows the last one is a line if there is anything. A byte
    order mark at the start is left out. Raises InvalidArgument (CORPUS_NOT_UTF8).
    """
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    start, done, tail = True, 0, ""
    for chunk in _and_end(chunks):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            number = 1 + done + error.object.count(b"\n", 0, error.start)
            raise _not_utf8(error, number, field) from error
        if start and text:
            text, start = text.removeprefix(_BYTE_ORDER_MARK), False
        parts = text.split("\n")
        room = limit + 1 - len(tail)
        parts[0] = tail + parts[0][:room]
        tail = parts.pop()[: limit + 1]
        if parts:
            done += len(parts)
            yield [part if len(part) <= limit else part[: limit + 1] for part in parts]
    if tail:
        yield [tail]


def _and_end(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """An empty chunk marks the end, and only the end."""
    for chunk in chunks:
        if chunk:
            yield chunk
    yield b""


def _not_utf8(error: UnicodeDecodeError, number: int, field: str) -> InvalidArgument:
    what = f"line {number:,} is not UTF-8 ({error.reason})"
    if number == 1 and error.start == 0 and error.object[:1] in (b"\xff", b"\xfe"):
        what = "it begins like UTF-16" if error.object[:2] in _UTF16_MARKS else what
    return InvalidArgument(
        f"the corpus must be UTF-8 text, and {what}; convert it, for instance with iconv -t UTF-8",
        reason="CORPUS_NOT_UTF8",
        field=field,
        metadata={"line": str(number)},
    )
