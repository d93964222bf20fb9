"""Texts of JSON Lines, CSV and Parquet."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from distillation.corpus.support import all_texts, from_bytes, from_file
from pyarrow import parquet

from stillroom_registry.errors import InvalidArgument

TEXTS = ["first text", "second, with a comma", 'third "quoted"', "fourth é"]


def jsonl(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def write_parquet(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path, row_group_size=1000)
    return path


def test_jsonl_gives_its_text_column(tmp_path: Path) -> None:
    data = jsonl(*({"id": i, "text": text} for i, text in enumerate(TEXTS)))
    plain = from_bytes(data, tmp_path / "a", "c.jsonl")
    packed = from_bytes(gzip.compress(data), tmp_path / "b", "c.jsonl.gz")
    assert all_texts(plain) == all_texts(packed) == sorted(TEXTS)


def test_jsonl_counts_missing_and_null_texts_as_blank(tmp_path: Path) -> None:
    data = jsonl({"text": "a\nb"}, {"text": None}, {"other": 1}) + b"\n" + jsonl({"text": "c"})
    corpus = from_bytes(data, tmp_path / "c", "c.jsonl")
    assert all_texts(corpus) == ["a b", "c"]
    assert (corpus.facts["lines"], corpus.facts["blank"]) == (4, 2)


def test_csv_reads_quotes_and_line_breaks(tmp_path: Path) -> None:
    data = b'id,text\r\n1,"one, two"\r\n2,"three\nfour ""five"""\r\n3\r\n\r\n4,last'
    corpus = from_bytes(data, tmp_path / "c", "c.csv")
    assert all_texts(corpus) == ["last", "one, two", 'three four "five"']
    assert corpus.facts["blank"] == 1


def test_tsv_reads_the_only_column(tmp_path: Path) -> None:
    assert all_texts(from_bytes(b"body\na\nb, c\n", tmp_path / "c", "c.tsv")) == ["a", "b, c"]


def test_parquet_reads_row_groups_and_nulls(tmp_path: Path) -> None:
    texts = [None if i % 10 == 0 else f"text {i}" for i in range(5000)]
    path = write_parquet(tmp_path / "c.parquet", id=list(range(5000)), text=texts)
    corpus = from_file(path, tmp_path / "c")
    assert all_texts(corpus) == sorted(text for text in texts if text)
    assert corpus.facts["blank"] == 500


def test_parquet_of_long_texts_is_cut(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "c.parquet", text=[f"{i}" + "x" * 1_000_000 for i in range(9)])
    corpus = from_file(path, tmp_path / "c")
    assert (corpus.facts["texts"], corpus.facts["cut"]) == (9, 9)


def test_parquet_with_a_dictionary_is_text_too(tmp_path: Path) -> None:
    column = pa.array(["a", "b", "a"]).dictionary_encode()
    assert all_texts(from_file(write_parquet(tmp_path / "c", text=column), tmp_path / "d")) == [
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("name", "data", "reason", "words"),
    [
        ("c.jsonl", b'{"text": "a"}\n{"text"\n', "CORPUS_BAD_RECORD", "line 2"),
        ("c.jsonl", b"[1]\n", "CORPUS_BAD_RECORD", "line 1"),
        ("c.jsonl", b"[" * 200_000 + b"\n", "CORPUS_BAD_RECORD", "line 1"),
        ("c.jsonl", jsonl({"text": "a"}, {"text": 5}), "CORPUS_NOT_TEXT", "line 2"),
        ("c.jsonl", jsonl({"text": 5, "b": "x"}), "CORPUS_NOT_TEXT", "text"),
        ("c.jsonl", jsonl({"a": "x", "b": "y"}), "CORPUS_COLUMN_UNKNOWN", "'a', 'b'"),
        ("c.jsonl", b"\n", "CORPUS_EMPTY", "no text"),
        ("c.csv", b"a,b\n1,2\n", "CORPUS_COLUMN_UNKNOWN", "'a', 'b'"),
        ("c.csv", b'text\n"never closed\n', "CORPUS_BAD_RECORD", "line"),
        ("c.csv", b"text\n\xff\n", "CORPUS_NOT_UTF8", "line 2"),
        ("c.csv", b"text\n", "CORPUS_EMPTY", "no text"),
        ("c.parquet", b"text\n", "CORPUS_CORRUPT", "Parquet"),
    ],
)
def test_a_bad_table_is_refused(
    name: str, data: bytes, reason: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        from_bytes(data, tmp_path / "c", name)
    assert caught.value.reason == reason


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "c.parquet", text=[f"text {i}" for i in range(3000)])
    data = path.read_bytes()
    for damaged in (data[:-100], data[:200] + bytes(400) + data[600:]):
        path.write_bytes(damaged)
        with pytest.raises(InvalidArgument) as caught:
            from_file(path, tmp_path / "c")
        assert caught.value.reason == "CORPUS_CORRUPT"


def test_parquet_without_texts_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "c.parquet", text=[1, 2])
    with pytest.raises(InvalidArgument) as caught:
        from_file(path, tmp_path / "c")
    assert caught.value.reason == "CORPUS_NOT_TEXT"
