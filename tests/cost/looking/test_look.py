"""What a look tells of corpora and labeled files: exact where they are small, near where not."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument, PermissionDenied
from stillroom_server.cost.looking.corpus import LOOKED_AT, look_at_corpus
from stillroom_server.cost.looking.labeled import look_at_examples
from stillroom_server.cost.looking.look import SAMPLE_BYTES, SAMPLE_TEXTS, Look, look
from stillroom_server.security.paths import AllowedRoots


def corpus(path: Path) -> Look:
    found = look_at_corpus({"path": str(path)}, AllowedRoots([path.parent]))
    assert found is not None
    return found


def labeled(path: Path, *, multi_label: bool = False, **format_: str) -> Look:
    source: dict[str, Any] = {"path": str(path)}
    if format_:
        source["format"] = format_
    found = look_at_examples(source, AllowedRoots([path.parent]), multi_label=multi_label)
    assert found is not None
    return found


def sentences(count: int) -> list[str]:
    return [
        f"sentence number {number} of a corpus" + " word" * (number % 7) for number in range(count)
    ]


def test_inline_texts_are_counted_without_blank_and_repeated_ones() -> None:
    found = look_at_corpus({"texts": ["a b", " ", "é", "a b"]}, AllowedRoots([]))
    assert found == Look(2, 5, 13, ("a b", "é"), whole=True)
    assert found.bytes_per_text == 2.5


def test_inline_texts_may_be_more_than_an_operation_holds() -> None:
    found = look_at_corpus(
        {"texts": ["word " * 100 + str(i) for i in range(4000)]}, AllowedRoots([])
    )
    assert found is not None
    assert found.texts == 4000
    assert found.whole


@pytest.mark.parametrize("name", ["c.txt", "c.jsonl", "c.csv", "c.tsv", "c.txt.gz", "c.parquet"])
def test_a_small_file_is_seen_whole(tmp_path: Path, name: str) -> None:
    texts = sentences(300)
    path = tmp_path / name
    write_corpus(path, texts)
    found = corpus(path)
    assert (found.texts, found.whole) == (300, True)
    assert found.text_bytes == sum(map(len, texts))
    assert found.source_bytes == path.stat().st_size
    assert set(found.sample) <= set(texts)


@pytest.mark.parametrize("name", ["c.txt", "c.jsonl", "c.csv", "c.txt.gz"])
def test_of_a_large_file_a_part_tells_nearly_all(tmp_path: Path, name: str) -> None:
    texts = sentences(120_000)
    path = tmp_path / name
    write_corpus(path, texts)
    found = corpus(path)
    assert found.source_bytes == path.stat().st_size
    if path.stat().st_size > 2 * LOOKED_AT:
        assert not found.whole
    assert found.texts == pytest.approx(120_000, rel=0.06)
    assert found.bytes_per_text == pytest.approx(sum(map(len, texts)) / 120_000, rel=0.05)


def test_a_sample_is_small_and_from_all_over() -> None:
    texts = [f"{number} " + "x" * 9000 for number in range(20_000)]
    found = look(texts, 0)
    assert len(found.sample) <= SAMPLE_TEXTS
    assert sum(map(len, found.sample)) <= 2 * SAMPLE_BYTES
    assert int(found.sample[-1].split()[0]) > 15_000


def test_an_empty_file_has_no_texts(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("\n \n")
    found = corpus(tmp_path / "c.txt")
    assert (found.texts, found.sample, found.bytes_per_text) == (0, (), 0.0)


def test_the_hub_is_not_looked_at() -> None:
    assert look_at_corpus({"dataset": {"repo": "a/b"}}, AllowedRoots([])) is None
    source = {"dataset": {"repo": "a/b"}}
    assert look_at_examples(source, AllowedRoots([]), multi_label=False) is None


def test_what_may_not_be_read_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("a\n")
    with pytest.raises(PermissionDenied):
        look_at_corpus({"path": str(tmp_path / "c.txt")}, AllowedRoots([tmp_path / "other"]))
    with pytest.raises(InvalidArgument):
        look_at_corpus({}, AllowedRoots([]))


def write_corpus(path: Path, texts: list[str]) -> None:
    match path.name.removeprefix("c."):
        case "txt":
            path.write_text("".join(f"{text}\n" for text in texts))
        case "txt.gz":
            path.write_bytes(gzip.compress("".join(f"{text}\n" for text in texts).encode(), 1))
        case "jsonl":
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        case "csv" | "tsv" as kind:
            with path.open("w", newline="") as stream:
                rows = csv.writer(stream, delimiter="," if kind == "csv" else "\t")
                rows.writerows([["text"], *([text] for text in texts)])
        case "parquet":
            import pyarrow as pa
            from pyarrow import parquet

            parquet.write_table(pa.table({"text": texts}), path)


def write_labeled(path: Path, rows: list[tuple[str, str]]) -> None:
    if path.suffix == ".jsonl":
        lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
        path.write_text("".join(f"{line}\n" for line in lines))
        return
    with path.open("w", newline="") as stream:
        written = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
        written.writerows([("text", "label"), *rows])


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl"])
def test_labels_are_counted(tmp_path: Path, name: str) -> None:
    rows = [(text, f"label {number % 9}") for number, text in enumerate(sentences(500))]
    write_labeled(tmp_path / name, [*rows, ('with "quotes", and\nlines', "label 9")])
    found = labeled(tmp_path / name)
    assert (found.texts, found.labels, found.whole) == (501, 10, True)


@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_labels_in_order_are_found_all_the_same(tmp_path: Path, name: str) -> None:
    """The beginning of such a file knows a single one."""
    texts = sentences(100_000)
    write_labeled(tmp_path / name, [(text, f"l{i // 25_000}") for i, text in enumerate(texts)])
    found = labeled(tmp_path / name)
    assert not found.whole
    assert found.labels == 4
    assert found.texts == pytest.approx(100_000, rel=0.05)


def test_cells_of_several_labels_and_other_columns(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("body;tags\none;a|b\ntwo;\nthree;c\n")
    found = labeled(
        tmp_path / "d.csv",
        multi_label=True,
        file_format="LABELED_FILE_FORMAT_CSV",
        text_column="body",
        label_column="tags",
        delimiter=";",
    )
    assert (found.texts, found.labels) == (3, 3)


def test_rows_that_are_wrong_are_left_to_who_reads_them_all(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"text": "a", "label": 1}\nnonsense\n[]\n{"text": null}\n')
    assert labeled(tmp_path / "d.jsonl").texts == 2
    (tmp_path / "d.csv").write_text("text,label\na,b\nshort\n")
    assert labeled(tmp_path / "d.csv").texts == 1
    (tmp_path / "d.csv").write_text("other,label\na,b\n")
    assert labeled(tmp_path / "d.csv").texts == 0


def test_inline_examples() -> None:
    source = {"examples": [["a b", ["x"]], ["c", ["y"]], ["d", ["x"]]]}
    found = look_at_examples(source, AllowedRoots([]), multi_label=False)
    assert found is not None
    assert (found.texts, found.labels, found.text_bytes, found.whole) == (3, 2, 5, True)
