"""Where labeled data are from and how they lie there, as a request says it; nothing is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, NoReturn, TypeAlias

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.corpus.source import (
    DatasetSource,
    PathSource,
    UploadSource,
    parse_source,
)

USUAL_TEXT, USUAL_LABEL, USUAL_SEPARATOR = "text", "label", "|"
_PREFIX = "LABELED_FILE_FORMAT_"
_SOURCES = ("examples", "upload", "path", "dataset")
_FORMAT_FIELDS = ("file_format", "text_column", "label_column", "label_separator", "delimiter")


class FileFormat(StrEnum):
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"


_SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.TSV,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
}


@dataclass(frozen=True)
class Layout:
    """How examples lie in a file. ``text`` None: the usual column, or the only one of texts.
    ``separator`` between the labels of one cell of a table; empty: a cell is one label."""

    text: str | None = USUAL_TEXT
    label: str = USUAL_LABEL
    separator: str = ""


@dataclass(frozen=True)
class InlineSource:
    """The examples themselves, ``[text, [label, ...]]`` each, not checked yet."""

    examples: tuple[Any, ...]


@dataclass(frozen=True)
class FileSource:
    """A file of this machine or an upload."""

    file: PathSource | UploadSource
    format: FileFormat
    layout: Layout
    delimiter: str


@dataclass(frozen=True)
class HubSource:
    """A dataset of the Hub, whose files tell their formats."""

    dataset: DatasetSource
    layout: Layout


LabeledSource: TypeAlias = InlineSource | FileSource | HubSource


def check_source(value: object, *, multi_label: bool, field: str = "data") -> None:
    """Raises what ``parse_labeled`` raises; the front asks before it makes an operation."""
    parse_labeled(value, multi_label=multi_label, field=field)


def parse_labeled(value: object, *, multi_label: bool, field: str = "data") -> LabeledSource:
    """The source that ``value`` names: exactly one of ``{"examples": [[text, [label, ...]],
    ...]}``, ``{"path"}``, ``{"upload", "file"}`` (with ``"filename"``, what the upload is called,
    where that is known), ``{"dataset": {...}}``, and perhaps ``"format"``, a LabeledDataFormat in
    JSON.

    Raises InvalidArgument whose field begins with ``field``: SOURCE_REQUIRED, NO_DATA,
    FORMAT_UNKNOWN, FORMAT_CONTRADICTION, and what ``corpus.source.parse_source`` raises.
    """
    given = dict(value) if isinstance(value, Mapping) else {}
    if sum(name in given for name in _SOURCES) != 1:
        raise InvalidArgument(
            "one of examples, upload, path and dataset must be set",
            reason="SOURCE_REQUIRED",
            field=field,
        )
    format_ = _format(given.pop("format", None), f"{field}.format")
    filename = given.pop("filename", None)
    if "examples" in given:
        return _inline(given["examples"], format_, field)
    where = parse_source(given, field)
    if isinstance(where, DatasetSource):
        return HubSource(where, _dataset_layout(format_, where, multi_label, f"{field}.format"))
    assert isinstance(where, PathSource | UploadSource)
    name = where.path if isinstance(where, PathSource) else str(filename or "")
    kind = _kind(format_, name, f"{field}.format.file_format")
    layout = _file_layout(format_, kind, multi_label, f"{field}.format")
    return FileSource(where, kind, layout, _delimiter(format_, kind, f"{field}.format.delimiter"))


def _inline(examples: object, format_: Mapping[str, str], field: str) -> InlineSource:
    if format_:
        _contradiction("examples in the request have no format", f"{field}.format")
    if not isinstance(examples, list | tuple) or not examples:
        raise InvalidArgument("no example is given", reason="NO_DATA", field=f"{field}.examples")
    return InlineSource(tuple(examples))


def _format(value: object, field: str) -> dict[str, str]:
    """The fields that are set."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidArgument("the format is not an object", field=field)
    for name, text in value.items():
        if name not in _FORMAT_FIELDS:
            raise InvalidArgument(f"a format has no {str(name)[:80]!r}", field=field)
        if not isinstance(text, str):
            raise InvalidArgument("it is no text", field=f"{field}.{name}")
    unset = ("", f"{_PREFIX}UNSPECIFIED")
    return {name: text for name, text in value.items() if text not in unset}


def _kind(format_: Mapping[str, str], name: str, field: str) -> FileFormat:
    wanted = format_.get("file_format")
    if wanted is None:
        kind = _SUFFIXES.get(PurePosixPath(name.lower()).suffix)
        if kind is None:
            raise InvalidArgument(
                "the file's name does not tell its format, as .csv, .tsv, .jsonl or .ndjson would; "
                "set file_format",
                reason="FORMAT_UNKNOWN",
                field=field,
            )
        return kind
    try:
        return FileFormat(wanted.removeprefix(_PREFIX).lower())
    except ValueError:
        raise InvalidArgument(
            f"no format is called {wanted[:80]!r}", reason="FORMAT_UNKNOWN", field=field
        ) from None


def _file_layout(
    format_: Mapping[str, str], kind: FileFormat, multi_label: bool, field: str
) -> Layout:
    text = format_.get("text_column", USUAL_TEXT)
    label = format_.get("label_column", USUAL_LABEL)
    if text == label:
        _contradiction(f"texts and labels cannot both be in {text[:80]!r}", f"{field}.label_column")
    separator = _separator(format_, multi_label, kind is FileFormat.JSONL, field)
    return Layout(text, label, separator)


def _delimiter(format_: Mapping[str, str], kind: FileFormat, field: str) -> str:
    delimiter = format_.get("delimiter")
    if delimiter is None:
        return "\t" if kind is FileFormat.TSV else ","
    if kind is not FileFormat.CSV:
        _contradiction(f"only CSV has a delimiter, not {kind.upper()}", field)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise InvalidArgument(
            f"{delimiter[:20]!r} is not one ASCII character other than a quote or a line break",
            field=field,
        )
    return delimiter


def _dataset_layout(
    format_: Mapping[str, str], source: DatasetSource, multi_label: bool, field: str
) -> Layout:
    label = format_.get("label_column", USUAL_LABEL)
    if source.column == label:
        _contradiction(
            f"texts and labels cannot both be in {label[:80]!r}", f"{field}.label_column"
        )
    if "delimiter" in format_:
        _contradiction("only a CSV file has a delimiter, no dataset", f"{field}.delimiter")
    return Layout(source.column, label, _separator(format_, multi_label, True, field))


def _separator(format_: Mapping[str, str], multi_label: bool, lists: bool, field: str) -> str:
    separator = format_.get("label_separator")
    if separator is not None:
        if not multi_label:
            _contradiction(
                "only multi-label data have several labels in a cell", f"{field}.label_separator"
            )
        if lists:
            _contradiction(
                "JSON Lines and datasets have lists of labels, not cells to separate",
                f"{field}.label_separator",
            )
    return (separator or USUAL_SEPARATOR) if multi_label else ""


def _contradiction(why: str, field: str) -> NoReturn:
    raise InvalidArgument(why, reason="FORMAT_CONTRADICTION", field=field)
