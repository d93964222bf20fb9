"""Where a corpus is from, as a request says it. Checked here without reading anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from stillroom_registry.errors import InvalidArgument

# A request is kept in a row of the database, which is read again and again.
MAX_INLINE_BYTES = 1 << 20
DEFAULT_SPLIT = "train"
_MAX_NAME = 256


@dataclass(frozen=True)
class InlineSource:
    texts: tuple[str, ...]


@dataclass(frozen=True)
class PathSource:
    """A file of this machine, in a folder that requests may read."""

    path: str


@dataclass(frozen=True)
class UploadSource:
    """A finished upload, and the file that holds its bytes."""

    upload: str
    file: Path


@dataclass(frozen=True)
class DatasetSource:
    """A dataset of the Hub. ``revision`` None: its default branch; ``column`` None: ``text``, or
    the only column of texts."""

    repo: str
    revision: str | None
    split: str
    column: str | None


Source: TypeAlias = InlineSource | PathSource | UploadSource | DatasetSource


def check_source(value: object) -> None:
    """Raises what ``parse_source`` raises; the front asks before it makes an operation."""
    parse_source(value)


def parse_source(value: object, field: str = "corpus") -> Source:
    """The source that ``value`` names, one of ``{"texts": [...]}``, ``{"path"}``, ``{"upload",
    "file"}``, ``{"dataset": {"repo", "revision", "split", "column"}}``.

    Raises InvalidArgument (SOURCE_REQUIRED, CORPUS_EMPTY, CORPUS_TOO_LARGE) with the field.
    """
    match value:
        case {"texts": list() as texts, **rest} if not rest:
            return _inline(texts, f"{field}.texts")
        case {"path": str(path), **rest} if not rest and path:
            return PathSource(path)
        case {"upload": str(upload), "file": str(file), **rest} if not rest and upload and file:
            return UploadSource(upload, Path(file))
        case {"dataset": Mapping() as dataset, **rest} if not rest:
            return _dataset(dataset, f"{field}.dataset")
    raise InvalidArgument(
        "one of texts, path, upload and dataset must be set", reason="SOURCE_REQUIRED", field=field
    )


def _inline(texts: list[Any], field: str) -> InlineSource:
    size = 0
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidArgument("it is not a text", field=f"{field}[{index}]")
        size += len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_INLINE_BYTES:
            raise InvalidArgument(
                f"the texts have more than {MAX_INLINE_BYTES:,} bytes; upload them as a file",
                reason="CORPUS_TOO_LARGE",
                field=field,
            )
    if not any(text.strip() for text in texts):
        raise InvalidArgument(
            "no text is given; a corpus needs one that is not blank",
            reason="CORPUS_EMPTY",
            field=field,
        )
    return InlineSource(tuple(texts))


def _dataset(value: Mapping[str, Any], field: str) -> DatasetSource:
    unknown = set(value) - {"repo", "revision", "split", "column"}
    if unknown:
        raise InvalidArgument(
            f"a dataset has no {', '.join(sorted(map(str, unknown)))[:200]}", field=field
        )
    given: dict[str, str | None] = {}
    for name in ("repo", "revision", "split", "column"):
        text = value.get(name)
        if text is not None and not (isinstance(text, str) and len(text) <= _MAX_NAME):
            raise InvalidArgument(
                f"it is no text of at most {_MAX_NAME} characters", field=f"{field}.{name}"
            )
        given[name] = text or None
    if given["repo"] is None:
        raise InvalidArgument(
            "name the dataset as owner/name", reason="BAD_REPO", field=f"{field}.repo"
        )
    return DatasetSource(
        given["repo"], given["revision"], given["split"] or DEFAULT_SPLIT, given["column"]
    )
