"""Examples of JSON Lines, and of the request itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from classification.data.support import Recorder, from_bytes, inline, pairs_of, refused

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.data.examples import Examples, read


def jsonl(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def from_jsonl(data: bytes, folder: Path, **more: Any) -> Any:
    return from_bytes(data, folder, "data.jsonl", **more)


def test_labels_are_strings_numbers_or_lists_of_one(tmp_path: Path) -> None:
    data = (
        b'{"text": "a", "label": "x"}\r\n\n{"label": 7, "text": "b"}\n'
        b'{"text": "c", "label": ["y"]}\n{"text": "d", "label": 1.50, "more": {"deep": [1]}}\n'
        b'{"text": null, "label": [123456789012345678901234567890]}'
    )
    assert pairs_of(from_jsonl(data, tmp_path)) == [
        ("a", ("x",)),
        ("b", ("7",)),
        ("c", ("y",)),
        ("d", ("1.50",)),
        ("", ("123456789012345678901234567890",)),
    ]
    assert all(type(names[0]) is str for names in from_jsonl(data, tmp_path).labels)


def test_any_number_of_labels(tmp_path: Path) -> None:
    data = jsonl(
        *({"text": "a", "label": ["x", 2]}, {"text": "b", "label": []}),
        *({"text": "c", "label": None}, {"text": "d"}, {"text": "e", "label": "y"}),
    )
    made = from_jsonl(data, tmp_path, multi_label=True)
    assert made.labels == [("x", "2"), (), (), (), ("y",)]


def test_half_a_pair_of_surrogates_does_not_stop_the_rest(tmp_path: Path) -> None:
    data = b'{"text": "a\\ud83d b", "label": "x"}\n{"text": "\\ud83d\\ude00", "label": "y"}\n'
    assert from_jsonl(data, tmp_path).texts == ["a\ufffd b", "\U0001f600"]


@pytest.mark.parametrize(
    ("data", "reason", "words", "line"),
    [
        (b"", "NO_DATA", "no example", None),
        (b"\n \n", "NO_DATA", "no example", None),
        (b'{"text": "a", "label": "x"}\n{"text"\n', "ROW_SHAPE", "no JSON", "2"),
        (b"[1]\n", "ROW_SHAPE", "no JSON object", "1"),
        (b"[" * 100_000 + b"\n", "ROW_SHAPE", "no JSON", "1"),
        (b'{"text": "a", "label": NaN}\n', "ROW_SHAPE", "no JSON", "1"),
        (jsonl({"a": "x", "b": "y"}), "COLUMN_MISSING", "'a', 'b'", None),
        (jsonl({"text": "a", "kind": "x"}), "COLUMN_MISSING", "'text', 'kind'", None),
        (jsonl({"text": "a", "label": 1}, {"label": 1}), "ROW_SHAPE", "'text'", "2"),
        (jsonl({"text": "a", "label": 1}, {"text": "b"}), "LABEL_MISSING", "'label'", "2"),
        (jsonl({"text": "a", "label": None}), "LABEL_MISSING", "missing", "1"),
        (jsonl({"text": "a", "label": ""}), "LABEL_MISSING", "missing", "1"),
        (jsonl({"text": "a", "label": []}), "LABEL_MISSING", "missing", "1"),
        (jsonl({"text": "a", "label": ["x", "y"]}), "LABEL_SHAPE", "multi-label", "1"),
        (jsonl({"text": "a", "label": True}), "ROW_SHAPE", "neither", "1"),
        (jsonl({"text": "a", "label": {"x": 1}}), "ROW_SHAPE", "neither", "1"),
        (jsonl({"text": "a", "label": [["x"]]}), "ROW_SHAPE", "neither", "1"),
        (jsonl({"text": 5, "label": "x"}), "ROW_SHAPE", "no text", "1"),
        (b'{"text": "a", "label": "\\ud83d"}\n', "ENCODING", "surrogate", "1"),
        (b'{"text": "a", "label": "x"}\n{"text": "\xff"}\n', "ENCODING", "0xff", "2"),
    ],
)
def test_a_bad_record_is_refused_with_its_line(
    data: bytes, reason: str, words: str, line: str | None, tmp_path: Path
) -> None:
    error = refused(reason, lambda: from_jsonl(data, tmp_path))
    assert isinstance(error, InvalidArgument)
    assert words in error.message
    assert error.metadata.get("line") == line


def test_labels_that_no_record_has_are_missing(tmp_path: Path) -> None:
    data = jsonl({"text": "a", "kind": "x"}, {"text": "b", "other": 1})
    error = refused("COLUMN_MISSING", lambda: from_jsonl(data, tmp_path, multi_label=True))
    assert "'text', 'kind', 'other'" in error.message
    assert error.field == "data.format.label_column"


def test_examples_of_the_request_are_the_same_as_in_a_file(tmp_path: Path) -> None:
    data = jsonl({"text": "ä", "label": ["x", "y"]}, {"text": "", "label": []})
    read = from_jsonl(data, tmp_path, multi_label=True)
    given = inline([("ä", ["y", "x"]), ("", [])], multi_label=True)
    cells = from_bytes('text,label\nä,x|y\n"",\n'.encode(), tmp_path, multi_label=True)
    assert read.digest == given.digest == cells.digest
    assert read.digest.startswith("sha256:")


def test_the_digest_knows_every_detail() -> None:
    variants = [
        [("ab", ["x"]), ("c", ["y"])],
        [("c", ["y"]), ("ab", ["x"])],
        [("a", ["x"]), ("bc", ["y"])],
        [("ab", ["x"]), ("c", ["y", "z"])],
        [("ab", ["x"]), ("c", ["yz"])],
        [("ab", []), ("c", ["y"])],
    ]
    assert len({inline(given, multi_label=True).digest for given in variants}) == len(variants)


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (["a", ["x", "y"]], "LABEL_SHAPE"),
        (["a", []], "LABEL_MISSING"),
        (["a", [""]], "LABEL_MISSING"),
        (["a", ["é" * 129]], "LABEL_TOO_LONG"),
        (["a", "x"], "ROW_SHAPE"),
        (["a"], "ROW_SHAPE"),
        ([None, ["x"]], "ROW_SHAPE"),
        (["a", [1]], "ROW_SHAPE"),
    ],
)
def test_a_bad_example_of_the_request_is_named(example: Any, reason: str) -> None:
    good: list[Any] = [["good", ["x"]], ["é", ["é" * 128]]]

    def reading(examples: list[Any]) -> Examples:
        source = {"examples": examples}
        return read(source, Path("/nowhere"), multi_label=False, context=Recorder())

    assert refused(reason, lambda: reading([*good, example])).field == "data.examples.values[2]"
    assert len(reading(good)) == 2
