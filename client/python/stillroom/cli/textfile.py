"""Texts from a file, one a line, without reading it whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from stillroom.errors import InvalidArgument

# Far above what any server takes as one text; without it, a file without line ends fills memory.
MAX_LINE_BYTES = 64 << 20


def lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file without their ends; ``-`` is standard input.

    An empty line is an empty text: rows stay aligned with lines. Raises InvalidArgument that names
    the line that is not UTF-8 or too long, and for a file that cannot be read.
    """
    try:
        source = nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb")
        with source as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise InvalidArgument(
                        f"{path}: line {number} has more than {MAX_LINE_BYTES:,} bytes; the file"
                        " should hold one text a line",
                        reason="LINE_TOO_LONG",
                        field="file",
                    )
                try:
                    text = line.decode()
                except UnicodeDecodeError as error:
                    raise InvalidArgument(
                        f"{path}: line {number} is not UTF-8 (byte {error.start}: {error.reason})",
                        reason="INVALID_UNICODE",
                        field="file",
                    ) from None
                text = text.removeprefix("\ufeff") if number == 1 else text
                yield text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InvalidArgument(
            f"cannot read {path}: {error.strerror}", reason="UNREADABLE_FILE", field="file"
        ) from None
