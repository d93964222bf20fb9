"""What holds of any data: tables and records come back as they were written."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

from classification.data.support import Choices, from_bytes, inline, pairs_of, tried
from hypothesis import given, settings
from hypothesis import strategies as st

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.data.issues import is_blank
from stillroom_server.classification.data.prepared import Prepared, prepare

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_AWKWARD = st.text(st.sampled_from('a,";\t|\r\n \x00\u2028\ufeffé'), max_size=8)
_LABEL = st.one_of(_TEXT, _AWKWARD).filter(lambda label: bool(label.strip()))
_ROW = st.tuples(st.one_of(_TEXT, _AWKWARD), _LABEL)
_ROWS = st.lists(_ROW, min_size=1, max_size=20)
_LABELS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|"), max_size=5).filter(
        lambda label: bool(label.strip())
    ),
    unique=True,
    max_size=4,
)


def written(rows: list[list[str]], delimiter: str, end: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows(rows)
    return out.getvalue().encode()


@settings(deadline=None, max_examples=60)
@given(_ROWS, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from([",", ";", "|", "\t"]))
def test_a_table_comes_back_as_it_was_written(
    rows: list[tuple[str, str]], end: str, delimiter: str
) -> None:
    cells = [
        ["label", "n", "text"],
        *([label, str(i), text] for i, (text, label) in enumerate(rows)),
    ]
    with tempfile.TemporaryDirectory() as name:
        if delimiter == "\t":
            made = from_bytes(written(cells, delimiter, end), Path(name), "data.tsv")
        else:
            made = from_bytes(written(cells, delimiter, end), Path(name), delimiter=delimiter)
    assert pairs_of(made) == [(text, (label,)) for text, label in rows]
    assert made.digest == inline([(text, [label]) for text, label in rows]).digest


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(_TEXT, _LABELS), min_size=1, max_size=20))
def test_several_labels_come_back_from_tables_and_records(
    rows: list[tuple[str, list[str]]],
) -> None:
    cells = [["text", "label"], *([text, "|".join(labels)] for text, labels in rows)]
    lines = "".join(
        json.dumps({"text": text, "label": labels}, ensure_ascii=bool(i % 2)) + "\n"
        for i, (text, labels) in enumerate(rows)
    )
    with tempfile.TemporaryDirectory() as name:
        table = from_bytes(written(cells, ",", "\n"), Path(name), multi_label=True)
        records = from_bytes(lines.encode(), Path(name), "data.jsonl", multi_label=True)
    assert pairs_of(table) == pairs_of(records) == [(text, tuple(names)) for text, names in rows]
    assert table.digest == records.digest


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60), st.sampled_from(["data.csv", "data.tsv", "data.jsonl"]))
def test_any_bytes_are_examples_or_refused(data: bytes, name: str) -> None:
    heads = {"data.csv": b"text,label\n", "data.tsv": b"text\tlabel\n", "data.jsonl": b""}
    with tempfile.TemporaryDirectory() as folder:
        made = tried(lambda: from_bytes(heads[name] + data, Path(folder), name))
    if isinstance(made, InvalidArgument):
        assert str(made.field).startswith("data")
    else:
        assert len(made.texts) == len(made.labels) > 0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", " ", "x", "y", "z", "u"]), st.sampled_from("abc")),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(["keep", "majority", "drop"]),
)
def test_what_is_kept_agrees_with_the_policy(rows: list[tuple[str, str]], policy: str) -> None:
    data = inline([(text, [label]) for text, label in rows])
    by_text: dict[str, list[str]] = {}
    for text, label in rows:
        by_text.setdefault(text, []).append(label)

    def stays(text: str, label: str) -> bool:
        labels = by_text[text]
        if is_blank(text):
            return False
        if policy == "keep" or len(set(labels)) == 1:
            return True
        best = max(labels, key=lambda name: (labels.count(name), -labels.index(name)))
        return policy == "majority" and label == best

    expected = [index for index, row in enumerate(rows) if stays(*row)]
    made = tried(lambda: prepare(data, None, Choices(conflicts=policy)))
    if len({rows[index][1] for index in expected}) < 2:
        assert isinstance(made, InvalidArgument)
        assert made.reason == ("SINGLE_CLASS" if expected else "NO_DATA")
        return
    assert isinstance(made, Prepared)
    assert made.kept.tolist() == expected
    assert [made.labels[target] for target in made.targets] == [rows[i][1] for i in expected]
    repeated = sum(
        len(labels) - 1
        for text, labels in by_text.items()
        if not is_blank(text) and len(set(labels)) == 1
    )
    duplicates = [i for i in made.issues if i["kind"] == "DATA_ISSUE_KIND_DUPLICATE_TEXT"]
    assert sum(issue["count"] for issue in duplicates) == repeated
