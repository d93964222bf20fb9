"""Texts that commands are given: as arguments, or as a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stillroom.errors import InvalidArgument


def texts(given: list[str] | None, file: Path | None) -> Iterable[str]:
    """The texts themselves, or the lines of ``file``, of which ``-`` is standard input."""
    from stillroom.cli.textfile import lines

    if bool(given) == (file is not None):
        raise InvalidArgument("give texts, or --file; not both, not neither", field="text")
    return given or lines(file or Path("-"))
