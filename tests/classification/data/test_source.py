"""What a request may say about its labeled data, before anything is read."""

from __future__ import annotations

from typing import Any

import pytest
from classification.data.support import refused

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.data.source import (
    FileFormat,
    FileSource,
    HubSource,
    InlineSource,
    check_source,
    parse_labeled,
)

UPLOAD = {"upload": "uploads/x", "file": "/data/uploads/x/data"}


def parsed(value: Any, *, multi_label: bool = False) -> Any:
    return parse_labeled(value, multi_label=multi_label)


@pytest.mark.parametrize(
    ("name", "kind", "delimiter"),
    [
        ("a.csv", FileFormat.CSV, ","),
        ("A.CSV", FileFormat.CSV, ","),
        ("a.tsv", FileFormat.TSV, "\t"),
        ("a.jsonl", FileFormat.JSONL, ","),
        ("a.b.ndjson", FileFormat.JSONL, ","),
    ],
)
def test_a_name_tells_the_format(name: str, kind: FileFormat, delimiter: str) -> None:
    for source in (
        parsed({"path": f"/data/{name}", "format": {}}),
        parsed({**UPLOAD, "filename": name}),
    ):
        assert isinstance(source, FileSource)
        assert (source.format, source.delimiter) == (kind, delimiter)
        assert (source.layout.text, source.layout.label) == ("text", "label")


def test_a_format_that_is_given_wins_over_the_name() -> None:
    given = {"file_format": "LABELED_FILE_FORMAT_TSV", "text_column": "t", "label_column": "l"}
    source = parsed({"path": "/data/a.csv", "format": given})
    assert (source.format, source.layout.text, source.layout.label) == (FileFormat.TSV, "t", "l")
    unset = {"file_format": "LABELED_FILE_FORMAT_UNSPECIFIED", "text_column": ""}
    assert parsed({"path": "/data/a.csv", "format": unset}).format is FileFormat.CSV


def test_cells_are_separated_for_several_labels_alone() -> None:
    source = {"path": "/a.csv", "format": {}}
    assert parsed(source).layout.separator == ""
    assert parsed(source, multi_label=True).layout.separator == "|"
    given = {"path": "/a.csv", "format": {"label_separator": "; "}}
    assert parsed(given, multi_label=True).layout.separator == "; "


def test_a_dataset_names_its_own_texts() -> None:
    format_ = {"text_column": "read by nobody", "label_column": "kind"}
    source = parsed({"dataset": {"repo": "a/b", "column": "body"}, "format": format_})
    assert isinstance(source, HubSource)
    assert (source.layout.text, source.layout.label) == ("body", "kind")
    assert source.dataset.split == "train"
    assert parsed({"dataset": {"repo": "a/b"}}).layout.text is None


def test_examples_come_as_they_are() -> None:
    assert isinstance(parsed({"examples": [["a", ["x"]]], "format": {}}), InlineSource)


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        ({}, "SOURCE_REQUIRED", "data"),
        (None, "SOURCE_REQUIRED", "data"),
        ({"format": {}}, "SOURCE_REQUIRED", "data"),
        ({"path": "/a.csv", "examples": []}, "SOURCE_REQUIRED", "data"),
        ({"examples": []}, "NO_DATA", "data.examples"),
        (
            {"examples": [["a", ["x"]]], "format": {"text_column": "t"}},
            "FORMAT_CONTRADICTION",
            "data.format",
        ),
        ({"path": "/a.txt"}, "FORMAT_UNKNOWN", "data.format.file_format"),
        ({"path": "/csv"}, "FORMAT_UNKNOWN", "data.format.file_format"),
        (UPLOAD, "FORMAT_UNKNOWN", "data.format.file_format"),
        (
            {"path": "/a.csv", "format": {"file_format": "XML"}},
            "FORMAT_UNKNOWN",
            "data.format.file_format",
        ),
        (
            {"path": "/a.csv", "format": {"text_column": "label"}},
            "FORMAT_CONTRADICTION",
            "data.format.label_column",
        ),
        (
            {"path": "/a.csv", "format": {"label_separator": ";"}},
            "FORMAT_CONTRADICTION",
            "data.format.label_separator",
        ),
        (
            {"path": "/a.tsv", "format": {"delimiter": ";"}},
            "FORMAT_CONTRADICTION",
            "data.format.delimiter",
        ),
        (
            {"path": "/a.csv", "format": {"delimiter": ";;"}},
            "INVALID_ARGUMENT",
            "data.format.delimiter",
        ),
        (
            {"path": "/a.csv", "format": {"delimiter": "é"}},
            "INVALID_ARGUMENT",
            "data.format.delimiter",
        ),
        (
            {"path": "/a.csv", "format": {"delimiter": '"'}},
            "INVALID_ARGUMENT",
            "data.format.delimiter",
        ),
        ({"path": "/a.csv", "format": {"quote": "'"}}, "INVALID_ARGUMENT", "data.format"),
        (
            {"dataset": {"repo": "a/b"}, "format": {"delimiter": ";"}},
            "FORMAT_CONTRADICTION",
            "data.format.delimiter",
        ),
        (
            {"dataset": {"repo": "a/b", "column": "label"}},
            "FORMAT_CONTRADICTION",
            "data.format.label_column",
        ),
        ({"dataset": {"repo": ""}}, "BAD_REPO", "data.dataset.repo"),
    ],
)
def test_what_makes_no_sense_is_refused(value: Any, reason: str, field: str) -> None:
    error = refused(reason, lambda: check_source(value, multi_label=False))
    assert isinstance(error, InvalidArgument)
    assert error.field == field


@pytest.mark.parametrize(
    "value", [{"path": "/a.jsonl"}, {"dataset": {"repo": "a/b"}}], ids=["jsonl", "dataset"]
)
def test_lists_of_labels_have_no_separator(value: Any) -> None:
    given = {**value, "format": {"label_separator": "|"}}
    error = refused("FORMAT_CONTRADICTION", lambda: check_source(given, multi_label=True))
    assert error.field == "data.format.label_separator"


def test_validation_data_are_refused_under_their_own_name() -> None:
    source = {"path": "/a.txt"}
    error = refused(
        "FORMAT_UNKNOWN",
        lambda: check_source(source, multi_label=False, field="validation_data"),
    )
    assert error.field == "validation_data.format.file_format"
