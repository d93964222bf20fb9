"""Examples of CSV and TSV."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from classification.data.support import from_bytes, from_file, pairs_of, refused

from stillroom_registry.errors import InvalidArgument, ResourceExhausted
from stillroom_server.classification.data import decoding
from stillroom_server.classification.data.examples import DataLimits


def test_rows_are_read_as_rfc_4180_says(tmp_path: Path) -> None:
    data = (
        b'\xef\xbb\xbfid,text,label\r\n1,"one, two",a\r\n2,"three\r\nfour ""five""",b\r\n\r\n'
        b"3, six ,a\r\n4,,b"
    )
    assert pairs_of(from_bytes(data, tmp_path)) == [
        ("one, two", ("a",)),
        ('three\r\nfour "five"', ("b",)),
        (" six ", ("a",)),
        ("", ("b",)),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_as_they_like(end: bytes, tmp_path: Path) -> None:
    data = end.join([b"label,text", b"a,one", b"b,two", b""])
    assert pairs_of(from_bytes(data, tmp_path)) == [("one", ("a",)), ("two", ("b",))]


def test_columns_and_the_delimiter_can_be_named(tmp_path: Path) -> None:
    data = b"kind;body\nx;a, b\n"
    made = from_bytes(data, tmp_path, delimiter=";", text_column="body", label_column="kind")
    assert pairs_of(made) == [("a, b", ("x",))]
    tabs = from_bytes(b'text\tlabel\n"a\tb"\tx\n', tmp_path, "data.tsv")
    assert pairs_of(tabs) == [("a\tb", ("x",))]


def test_a_cell_may_hold_several_labels(tmp_path: Path) -> None:
    data = b"text,label\none,a|b\ntwo,\nthree,c\nfour,  \n"
    made = from_bytes(data, tmp_path, multi_label=True)
    assert [labels for _, labels in pairs_of(made)] == [("a", "b"), (), ("c",), ()]
    spaced = from_bytes(
        b"text,label\none,a and b\n", tmp_path, multi_label=True, label_separator=" and "
    )
    assert spaced.labels == [("a", "b")]


@pytest.mark.parametrize(
    ("data", "reason", "words", "line"),
    [
        (b"", "NO_DATA", "no example", None),
        (b"text,label\n\n", "NO_DATA", "no example", None),
        (b"a,b\n1,2\n", "COLUMN_MISSING", "'a', 'b'", None),
        (b"text,kind\n1,2\n", "COLUMN_MISSING", "'text', 'kind'", None),
        (b"text, label\n1,2\n", "COLUMN_MISSING", "' label'", None),
        (b"text,label,label\n1,2,3\n", "COLUMN_AMBIGUOUS", "2 columns", "1"),
        (b'text,label\n"a\nb",x\n\nc,y,z\n', "ROW_SHAPE", "3 cells", "5"),
        (b"text,label\na,x\nb\n", "ROW_SHAPE", "1 cells", "3"),
        (b'text,label\na,x\n"b\nc\nd,y\n', "ROW_SHAPE", "not a sound row", "3"),
        (b'text,label\n"a"b,x\n', "ROW_SHAPE", "not a sound row", "2"),
        (b"text,label\na,x\n\xe9,y\n", "ENCODING", "0xe9", "3"),
        (b"text,label\r\na,x\r\nb,\xff\r\n", "ENCODING", "0xff", "3"),
        (b"text,label\na,x\nb,\xc3", "ENCODING", "0xc3", "3"),
        ("text,label\na,x\n".encode("utf-16"), "ENCODING", "UTF-16", "1"),
        ("text,label\na,x\n".encode("utf-16-le"), "ENCODING", "UTF-16", "1"),
        (b"text,label\na,x\nb,\n", "LABEL_MISSING", "missing", "3"),
        (b"text,label\na,  \n", "LABEL_MISSING", "missing", "2"),
        (b"text,label\na," + b"x" * 257 + b"\n", "LABEL_TOO_LONG", "257 bytes", "2"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(
    data: bytes, reason: str, words: str, line: str | None, tmp_path: Path
) -> None:
    error = refused(reason, lambda: from_bytes(data, tmp_path))
    assert isinstance(error, InvalidArgument)
    assert words in error.message
    assert error.metadata.get("line") == line
    assert str(error.field).startswith("data")


@pytest.mark.parametrize(
    ("cell", "reason"), [(b"a||b", "LABEL_MISSING"), (b"a|a", "LABEL_REPEATED")]
)
def test_labels_of_a_cell_are_each_there_once(cell: bytes, reason: str, tmp_path: Path) -> None:
    data = b"text,label\none," + cell + b"\n"
    error = refused(reason, lambda: from_bytes(data, tmp_path, multi_label=True))
    assert error.metadata["line"] == "2"


def test_a_column_that_is_missing_is_the_choice_at_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,kind\na,b\n")
    fields = []
    for choice in ({"text_column": "body", "label_column": "kind"}, {}):
        error = refused("COLUMN_MISSING", lambda given=choice: from_file(path, **given))
        fields.append(error.field)
    assert fields == ["data.format.text_column", "data.format.label_column"]


def test_bytes_that_are_not_utf_8_are_found_far_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_CHUNK", 7)  # ends of lines and characters fall between pieces
    rows = [f"é{i},x".encode() for i in range(5000)]
    rows[4321] = b"\xc3\x28,x"
    for end in (b"\n", b"\r\n", b"\r"):
        data = end.join([b"text,label", *rows])
        error = refused("ENCODING", lambda given=data: from_bytes(given, tmp_path))
        assert error.metadata["line"] == str(4321 + 2)


@pytest.mark.parametrize(
    ("limits", "kind", "reason"),
    [
        (DataLimits(max_examples=2), ResourceExhausted, "DATA_TOO_LARGE"),
        (DataLimits(max_bytes=20), ResourceExhausted, "DATA_TOO_LARGE"),
        (DataLimits(max_labels=2), InvalidArgument, "TOO_MANY_LABELS"),
        (DataLimits(max_text_bytes=4), InvalidArgument, "TEXT_TOO_LONG"),
    ],
)
def test_limits_hold(limits: DataLimits, kind: type, reason: str, tmp_path: Path) -> None:
    data = "text,label\nöne,a\ntwo,b\nthree,c\n".encode()
    error = refused(reason, lambda: from_bytes(data, tmp_path, limits=limits))
    assert isinstance(error, kind)
    exact = DataLimits(max_examples=3, max_bytes=len(data), max_labels=3, max_text_bytes=5)
    assert len(from_bytes(data, tmp_path, limits=exact)) == 3


def test_a_line_without_end_is_not_taken_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MAX_LINE_CHARACTERS", 1 << 16)
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + b"x" * (8 << 20))
    tracemalloc.start()
    try:
        error = refused("ROW_SHAPE", lambda: from_file(path))
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()
    assert error.metadata["line"] == "2"


def test_texts_of_the_longest_length_are_read(tmp_path: Path) -> None:
    text = "é" * (1 << 19)
    made = from_bytes(f"text,label\n{text},x\n".encode(), tmp_path)
    assert made.texts == [text]
