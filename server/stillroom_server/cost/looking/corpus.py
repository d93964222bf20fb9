"""A look at a corpus, as ``distillation.corpus`` would read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from stillroom_server.cost.looking.look import Look, look
from stillroom_server.distillation.corpus.cleaning import clean
from stillroom_server.distillation.corpus.formats import Reader
from stillroom_server.distillation.corpus.opening import open_allowed, open_own
from stillroom_server.distillation.corpus.source import PathSource, UploadSource, parse_source
from stillroom_server.security.paths import AllowedRoots

LOOKED_AT = 1 << 20  # bytes; a file of fewer is read whole


def look_at_corpus(source: Mapping[str, Any], roots: AllowedRoots) -> Look | None:
    """Of what ``parse_source`` reads, except that inline texts may be of any size. None: it is on
    the Hub, and nobody looks there.

    Blank texts do not count. Repeated ones do not either where all are seen; a part cannot tell.
    Raises what reading the corpus raises.
    """
    if isinstance(texts := source.get("texts"), list):
        size = sum(len(str(text).encode("utf-8", "replace")) + 1 for text in texts)
        return _whole(list(map(str, texts)), size)
    match parse_source(source):
        case PathSource(path):
            with open_allowed(roots, path, "corpus.path") as stream:
                return _file(stream, path, "corpus.path")
        case UploadSource(_, file):
            with open_own(file, "corpus.upload") as stream:
                return _file(stream, "", "corpus.upload")
    return None


def _file(stream: BinaryIO, name: str, field: str) -> Look:
    size = stream.seek(0, 2)
    stream.seek(0)
    lines: list[str] = []
    read_lines = read_bytes = characters = 0

    def told(position: int) -> None:
        nonlocal read_lines, read_bytes
        read_lines, read_bytes = len(lines), position

    reading = Reader(None, field, told).read(stream, name, size)
    for batch in reading:
        lines += batch
        characters += sum(map(len, batch))
        # What is packed, as gzip and Parquet are, may be far more than its file.
        if read_bytes >= LOOKED_AT or characters >= 8 * LOOKED_AT:
            break
    else:
        return _whole(lines, size)
    if not read_bytes:  # the first piece alone is more than enough
        told(min(size, max(1, sum(len(line.encode("utf-8", "replace")) + 1 for line in lines))))
    kept = [text.decode() for text in clean(lines[:read_lines]).texts]
    return look(kept, size, seen=min(1.0, read_bytes / max(1, size)))


def _whole(lines: list[str], size: int) -> Look:
    return look([text.decode() for text in dict.fromkeys(clean(lines).texts)], size)
