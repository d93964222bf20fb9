"""Examples of datasets of the Hub, against a fake one."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from classification.data.support import Recorder, pairs_of, refused
from distillation.corpus.dataset_hub import DatasetHub
from imports.fake_hub import Repo
from pyarrow import parquet

from stillroom_registry.errors import Cancelled
from stillroom_server.classification.data.examples import DataLimits, Examples, read
from stillroom_server.hub.access import HubAccess

LABEL = {"names": ["bad", "good"], "_type": "ClassLabel"}


def table(features: dict[str, Any] | None = None, **columns: Any) -> bytes:
    made = pa.table(columns)
    if features is not None:
        facts = json.dumps({"info": {"features": features}})
        made = made.replace_schema_metadata({"huggingface": facts})
    out = io.BytesIO()
    parquet.write_table(made, out)
    return out.getvalue()


def classes(texts: list[str | None], label: list[Any], feature: Any = LABEL) -> dict[str, bytes]:
    return {"data/train-0.parquet": table({"label": feature}, text=texts, label=label)}


REPOS = {
    "owner/classes": Repo(
        {
            **classes(["a", None], [1, 0]),
            "data/train-1.parquet": table({"label": LABEL}, label=[1], text=["c"]),
            "data/test-0.parquet": table(text=["t"], label=["x"]),
        }
    ),
    "owner/sequence": Repo(classes(["a", "b"], [[1, 0], []], {"feature": LABEL, "length": -1})),
    "owner/listed": Repo(classes(["a", "b"], [[1, 0], None], [LABEL])),
    "owner/unlabeled": Repo(classes(["a", "b"], [1, -1])),
    "owner/unnamed": Repo(classes(["a"], [2])),
    "owner/numbers": Repo({"train.parquet": table(body=["a", "b"], label=[7, -1])}),
    "owner/flags": Repo({"train.parquet": table(text=["a"], label=[True])}),
    "owner/textless": Repo({"train.parquet": table(text=[1], label=["x"])}),
    "owner/lines": Repo(
        {"train.jsonl.gz": gzip.compress(b'{"body": "a", "kind": "x"}\n{"body": "b", "kind": 2}\n')}
    ),
    "owner/torn": Repo({"train.csv.gz": gzip.compress(b"text,label\na,x\n" * 99)[:-20]}),
    "owner/bomb": Repo({"train.csv.gz": gzip.compress(b"text,label\n" + b"a,x\n" * 99_999)}),
    "owner/cells": Repo({"train.csv": b"label,text\nx|y,a\n,b\n"}),
    "owner/tabs": Repo({"train.tsv": b"label\ttext\nx\ta\n\tb\n"}),
    "owner/plain": Repo({"train.txt": b"a\nb\n"}),
    "owner/damaged": Repo({"train.parquet": table(text=["a"], label=["x"])[:-9]}),
    "owner/renamed": Repo({"train.parquet": b"text,label\na,x\n"}),
}


@pytest.fixture
def hub() -> Iterator[DatasetHub]:
    made = DatasetHub(dict(REPOS))
    with made.running():
        yield made


def bring(
    hub: DatasetHub,
    folder: Path,
    repo: str,
    *,
    multi_label: bool = False,
    label_column: str = "",
    limits: DataLimits | None = None,
    context: Recorder | None = None,
    **dataset: str,
) -> Examples:
    return read(
        {"dataset": {"repo": repo, **dataset}, "format": {"label_column": label_column}},
        folder / "workspace",
        multi_label=multi_label,
        context=context or Recorder(),
        hub=HubAccess(hub.url),
        limits=limits,
    )


def test_names_of_classes_are_read_in_the_order_of_the_files(
    hub: DatasetHub, tmp_path: Path
) -> None:
    context = Recorder()
    made = bring(hub, tmp_path, "owner/classes", context=context)
    assert pairs_of(made) == [("a", ("good",)), ("", ("bad",)), ("c", ("good",))]
    done = [told[1] for told in context.told]
    assert done == sorted(done)
    assert done[-1] == context.told[-1][2]
    test = bring(hub, tmp_path / "test", "owner/classes", split="test")
    assert pairs_of(test) == [("t", ("x",))]


@pytest.mark.parametrize("repo", ["owner/sequence", "owner/listed"])
def test_lists_of_classes_are_several_labels(repo: str, hub: DatasetHub, tmp_path: Path) -> None:
    made = bring(hub, tmp_path, repo, multi_label=True)
    assert made.labels == [("good", "bad"), ()]


def test_numbers_without_names_are_their_digits(hub: DatasetHub, tmp_path: Path) -> None:
    made = bring(hub, tmp_path, "owner/numbers")
    assert pairs_of(made) == [("a", ("7",)), ("b", ("-1",))]


def test_packed_lines_are_read_by_their_only_column_of_texts(
    hub: DatasetHub, tmp_path: Path
) -> None:
    made = bring(hub, tmp_path, "owner/lines", label_column="kind")
    assert pairs_of(made) == [("a", ("x",)), ("b", ("2",))]


def test_tables_of_a_dataset_have_several_labels_in_a_cell(hub: DatasetHub, tmp_path: Path) -> None:
    assert bring(hub, tmp_path, "owner/cells", multi_label=True).labels == [("x", "y"), ()]
    tabs = bring(hub, tmp_path / "tabs", "owner/tabs", multi_label=True)
    assert tabs.labels == [("x",), ()]


@pytest.mark.parametrize(
    ("repo", "more", "reason", "words"),
    [
        ("owner/none", {}, "HUB_REPO_NOT_FOUND", ""),
        ("owner/classes", {"split": "dev"}, "DATASET_FILES_NOT_FOUND", ""),
        ("owner/classes", {"column": "body"}, "COLUMN_MISSING", "'text', 'label'"),
        ("owner/classes", {"label_column": "kind"}, "COLUMN_MISSING", "'text', 'label'"),
        ("owner/unlabeled", {}, "LABEL_MISSING", "row 2"),
        ("owner/unnamed", {}, "ROW_SHAPE", "no label 2"),
        ("owner/sequence", {}, "LABEL_SHAPE", "row 1"),
        ("owner/flags", {}, "ROW_SHAPE", "row 1"),
        ("owner/textless", {}, "ROW_SHAPE", "does not hold texts"),
        ("owner/torn", {}, "DATA_CORRUPT", "gzip"),
        ("owner/plain", {}, "COLUMN_MISSING", "plain text"),
        ("owner/damaged", {}, "DATA_CORRUPT", "Parquet"),
        ("owner/renamed", {}, "DATA_CORRUPT", "Parquet"),
        ("owner/tabs", {}, "LABEL_MISSING", "train.tsv, line 3"),
    ],
)
def test_a_bad_dataset_is_refused(
    repo: str, more: dict[str, str], reason: str, words: str, hub: DatasetHub, tmp_path: Path
) -> None:
    error = refused(reason, lambda: bring(hub, tmp_path, repo, **more))
    assert words in error.message
    assert str(error.field).startswith("data")


def test_the_choice_of_columns_is_at_fault_where_it_was_made(
    hub: DatasetHub, tmp_path: Path
) -> None:
    text = refused("COLUMN_MISSING", lambda: bring(hub, tmp_path, "owner/classes", column="x"))
    label = refused(
        "COLUMN_MISSING", lambda: bring(hub, tmp_path, "owner/classes", label_column="x")
    )
    assert (text.field, label.field) == ("data.dataset.column", "data.format.label_column")


def test_limits_hold_packed_and_unpacked(hub: DatasetHub, tmp_path: Path) -> None:
    packed = len(REPOS["owner/bomb"].files["train.csv.gz"])
    for limit in (packed - 1, packed, 399_000):
        limits = DataLimits(max_bytes=limit)
        error = refused(
            "DATA_TOO_LARGE",
            lambda given=limits: bring(hub, tmp_path, "owner/bomb", limits=given),
        )
        assert error.field == "data"
    made = bring(hub, tmp_path, "owner/bomb", limits=DataLimits(max_bytes=400_100))
    assert len(made) == 99_999


def test_another_attempt_reads_what_the_first_one_found(hub: DatasetHub, tmp_path: Path) -> None:
    first = bring(hub, tmp_path / "whole", "owner/classes")

    def stop(number: int) -> None:
        if number == 6:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        bring(hub, tmp_path, "owner/classes", context=Recorder(stop))
    hub.move()
    hub.requests.clear()
    assert bring(hub, tmp_path, "owner/classes").digest == first.digest
    assert not [path for _, path, _ in hub.requests if "/api/" in path]
