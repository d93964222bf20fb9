"""Lines of a UTF-8 file, each of bounded length; what is not UTF-8 is told with its line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stillroom_server.classification.data.refusal import Refusal

MAX_LINE_CHARACTERS = 16 << 20
_CHUNK = 1 << 20
_HEAD = 4096


class Lines:
    """The lines of a file with their ends, as an iterator. ``position`` is about how many bytes
    were read."""

    def __init__(self, stream: io.TextIOWrapper, source: BinaryIO, refuse: Refusal) -> None:
        self._stream = stream
        self._source = source
        self._refuse = refuse
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE_CHARACTERS + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_LINE_CHARACTERS:
            self._refuse(
                f"a line of more than {MAX_LINE_CHARACTERS:,} characters", "ROW_SHAPE", self.number
            )
        return line

    @property
    def position(self) -> int:
        return self._source.tell()


@contextmanager
def decoded(path: Path, refuse: Refusal, *, newline: str) -> Iterator[Lines]:
    """The lines of the file at ``path``; ``newline`` as in ``open``. A byte-order mark is skipped.

    Raises InvalidArgument (ENCODING) with the line, in place of UnicodeDecodeError within the block
    too.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
        if 4 * head.count(0) > len(head):
            refuse("the file is full of zero bytes, as UTF-16 is; save it as UTF-8", "ENCODING", 1)
        stream.seek(0)
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline=newline) as text:
            try:
                yield Lines(text, stream, refuse)
            except UnicodeDecodeError:
                _refuse_encoding(path, refuse)
                raise


def _refuse_encoding(path: Path, refuse: Refusal) -> None:
    """Finds the first byte that is not UTF-8, and refuses it."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    ends = _LineEnds()
    with path.open("rb") as stream:
        at_end = False
        while not at_end:
            chunk = stream.read(_CHUNK)
            at_end = not chunk
            try:
                decoder.decode(chunk, final=at_end)
            except UnicodeDecodeError as error:
                ends.add(error.object[: error.start])
                byte = error.object[error.start]
                if ends.count == 0 and error.object[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    refuse("the file begins like UTF-16; save it as UTF-8", "ENCODING", 1)
                refuse(
                    f"byte {byte:#04x} is not UTF-8; save the file as UTF-8",
                    "ENCODING",
                    ends.count + 1,
                )
            ends.add(chunk)


class _LineEnds:
    """Counts ends of lines, whichever of the three they are, over pieces of bytes."""

    def __init__(self) -> None:
        self.count = 0
        self._after_return = False

    def add(self, data: bytes) -> None:
        if not data:
            return
        self.count += data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
        if self._after_return and data[:1] == b"\n":
            self.count -= 1
        self._after_return = data[-1:] == b"\r"


def told_now_and_then(lines: Lines, told: Callable[[int], None]) -> Callable[[], None]:
    """What to call once a row: it tells ``told`` the position some times a second at most."""
    count = 0

    def row() -> None:
        nonlocal count
        count += 1
        if count % 1024 == 0:
            told(lines.position)

    return row
