"""What labeled texts of a request become, or why they are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2
from stillroom_registry.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StillroomError,
)
from stillroom_server.rpc.corpora import Texts
from stillroom_server.rpc.json_messages import from_json, to_json
from stillroom_server.rpc.labeled_data import LabeledTexts
from stillroom_server.rpc.spool import Spool
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.uploads.model import UploadFormat, UploadHeader
from stillroom_server.uploads.store import UploadStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CSV, TSV = pb.LABELED_FILE_FORMAT_CSV, pb.LABELED_FILE_FORMAT_TSV
JSONL = pb.LABELED_FILE_FORMAT_JSONL


class Bench:
    """Uploads, and a root with files of every kind."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        for name in ("d.csv", "d.TSV", "d.jsonl", "d.ndjson", "d.txt"):
            (self.root / name).write_text("text,label\na,b\n")
        self.uploads = UploadStore(folder / "uploads", clock=lambda: NOW, max_bytes=8 << 20)
        self.labeled = LabeledTexts(Texts(self.uploads, AllowedRoots([self.root])))

    def read(self, given: pb.LabeledData, *, multi: bool = False) -> dict[str, Any]:
        spool = Spool(self.uploads)
        return dict(self.labeled.source(given, spool, multi_label=multi, field="data"))

    def path(self, name: str, **form: Any) -> pb.LabeledData:
        data = pb.LabeledData(path=str(self.root / name))
        if form:
            data.format.CopyFrom(pb.LabeledDataFormat(**form))
        return data

    def upload(self, filename: str, *, tar: bool = False, whole: bool = True) -> str:
        data = b"text,label\na,b\n"
        kind = UploadFormat.TAR if tar else UploadFormat.FILE
        size = len(data) + (not whole)
        header = UploadHeader(total_bytes=size, format=kind, filename=filename)
        with self.uploads.begin(header) as writer:
            writer.write(data)
            return writer.finish().name if whole else writer.name


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    return Bench(tmp_path)


def examples(*rows: tuple[str, list[str]], **fields: Any) -> pb.LabeledData:
    values = [pb.LabeledExample(text=text, labels=labels) for text, labels in rows]
    return pb.LabeledData(examples=pb.InlineExamples(values=values), **fields)


@pytest.mark.parametrize("name", ["d.csv", "d.TSV", "d.jsonl", "d.ndjson"])
def test_a_files_name_tells_what_it_is(bench: Bench, name: str) -> None:
    assert bench.read(bench.path(name)) == {"path": str(bench.root / name)}
    upload = bench.upload(name)
    assert bench.read(pb.LabeledData(upload=upload)) == {
        "upload": upload,
        "file": str(bench.uploads.open(upload)),
        "filename": name,
    }


def test_a_format_is_kept_as_it_was_told(bench: Bench) -> None:
    given = bench.path(
        "d.txt",
        file_format=CSV,
        text_column="body",
        label_column="kind",
        label_separator=";",
        delimiter="\t",
    )
    assert bench.read(given, multi=True)["format"] == {
        "file_format": "LABELED_FILE_FORMAT_CSV",
        "text_column": "body",
        "label_column": "kind",
        "label_separator": ";",
        "delimiter": "\t",
    }


def test_a_dataset(bench: Bench) -> None:
    dataset = common_pb2.HubDataset(repo="a/b", split="test", column="body")
    form = pb.LabeledDataFormat(label_column="intent")
    assert bench.read(pb.LabeledData(dataset=dataset, format=form)) == {
        "dataset": {"repo": "a/b", "revision": None, "split": "test", "column": "body"},
        "format": {"label_column": "intent"},
    }


def test_few_examples_stay_in_the_request(bench: Bench) -> None:
    given = examples(("a\nb", ["x"]), ("", ["y"]))
    assert bench.read(given) == {"examples": [["a\nb", ["x"]], ["", ["y"]]]}
    several = examples(("a", ["x", "y"]), ("b", []))
    assert bench.read(several, multi=True) == {"examples": [["a", ["x", "y"]], ["b", []]]}


def test_many_examples_become_an_upload_of_lines(bench: Bench) -> None:
    rows = [(f"line\u2028break\r\n{'é' * 1000}", ["a|b", "c"])] * 40
    source = bench.read(examples(*rows), multi=True)
    assert source.keys() == {"upload", "file", "format"}
    assert source["format"] == {"file_format": "LABELED_FILE_FORMAT_JSONL"}
    lines = Path(source["file"]).read_bytes().split(b"\n")
    assert lines.pop() == b""
    found = [json.loads(line) for line in lines]
    assert found == [{"text": text, "label": labels} for text, labels in rows]


def test_an_upload_that_nobody_reads_goes(bench: Bench) -> None:
    with Spool(bench.uploads) as spool:
        source = bench.labeled.source(
            examples(("x" * 70_000, ["a"])), spool, multi_label=False, field="data"
        )
        assert Path(source["file"]).exists()
    with pytest.raises(NotFound):
        bench.uploads.get(source["upload"])


REFUSED: list[tuple[pb.LabeledData, str, str]] = [
    (pb.LabeledData(), "data", "SOURCE_REQUIRED"),
    (pb.LabeledData(format=pb.LabeledDataFormat(delimiter=";")), "data", "SOURCE_REQUIRED"),
    (examples(), "data.examples", "NO_DATA"),
    (examples(("a", [])), "data.examples.values[0]", "LABEL_MISSING"),
    (examples(("a", ["b"]), ("a", [""])), "data.examples.values[1]", "LABEL_MISSING"),
    (examples(("a", ["é" * 129])), "data.examples.values[0]", "LABEL_TOO_LONG"),
    (examples(("a", ["b", "c"])), "data.examples.values[0]", "LABEL_SHAPE"),
    (
        examples(("a", ["b"]), format=pb.LabeledDataFormat(label_column="x")),
        *("data.format", "FORMAT_CONTRADICTION"),
    ),
    (pb.LabeledData(path="d.csv"), "data.path", "BAD_PATH"),
    (pb.LabeledData(upload="uploads/none"), "data.upload", "INVALID_UPLOAD_NAME"),
    (
        pb.LabeledData(dataset=common_pb2.HubDataset(repo="nobody")),
        *("data.dataset.repo", "BAD_REPO"),
    ),
]


@pytest.mark.parametrize(("given", "field", "reason"), REFUSED)
def test_refusals(bench: Bench, given: pb.LabeledData, field: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        bench.read(given)
    assert (caught.value.field, caught.value.reason) == (field, reason)


def test_a_label_stands_once(bench: Bench) -> None:
    with pytest.raises(InvalidArgument) as caught:
        bench.read(examples(("a", ["b", "c", "b"])), multi=True)
    assert caught.value.reason == "LABEL_REPEATED"


@pytest.mark.parametrize(
    ("name", "form", "multi", "field", "reason"),
    [
        ("d.txt", {}, False, "file_format", "FORMAT_UNKNOWN"),
        ("d.csv", {"file_format": 9}, False, "file_format", "UNKNOWN_VALUE"),
        ("d.csv", {"label_separator": ";"}, False, "label_separator", "FORMAT_CONTRADICTION"),
        ("d.jsonl", {"label_separator": ";"}, True, "label_separator", "FORMAT_CONTRADICTION"),
        ("d.TSV", {"delimiter": ";"}, False, "delimiter", "FORMAT_CONTRADICTION"),
        (
            "d.csv",
            {"file_format": JSONL, "delimiter": ";"},
            False,
            "delimiter",
            "FORMAT_CONTRADICTION",
        ),
        ("d.csv", {"delimiter": ";;"}, False, "delimiter", "INVALID_ARGUMENT"),
        ("d.csv", {"delimiter": "é"}, False, "delimiter", "INVALID_ARGUMENT"),
        ("d.csv", {"delimiter": '"'}, False, "delimiter", "INVALID_ARGUMENT"),
    ],
)
def test_formats_that_make_no_sense(
    bench: Bench, name: str, form: dict[str, Any], multi: bool, field: str, reason: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        bench.read(bench.path(name, **form), multi=multi)
    assert (caught.value.field, caught.value.reason) == (f"data.format.{field}", reason)


def test_what_is_not_there_or_not_allowed(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text("")
    gone = bench.upload("d.csv")
    bench.uploads.delete(gone)
    cases: list[tuple[pb.LabeledData, type[StillroomError], str]] = [
        (pb.LabeledData(path=str(tmp_path / "outside.csv")), PermissionDenied, "data.path"),
        (bench.path("none.csv"), NotFound, "data.path"),
        (pb.LabeledData(upload=gone), NotFound, "data.upload"),
        (
            pb.LabeledData(upload=bench.upload("d.csv", whole=False)),
            *(FailedPrecondition, "data.upload"),
        ),
        (pb.LabeledData(upload=bench.upload("d.csv", tar=True)), InvalidArgument, "data.upload"),
    ]
    for given, kind, field in cases:
        with pytest.raises(kind) as caught:
            bench.read(given)
        assert caught.value.field == field


def test_an_upload_without_a_name_needs_a_format(bench: Bench) -> None:
    upload = bench.upload("")
    with pytest.raises(InvalidArgument) as caught:
        bench.read(pb.LabeledData(upload=upload))
    assert caught.value.reason == "FORMAT_UNKNOWN"
    form = pb.LabeledDataFormat(file_format=TSV)
    source = bench.read(pb.LabeledData(upload=upload, format=form))
    assert source["format"] == {"file_format": "LABELED_FILE_FORMAT_TSV"}


# JSON


def test_json_has_the_names_of_the_protocol() -> None:
    options = pb.ClassifierOptions(
        task=pb.CLASSIFICATION_TASK_MULTI_LABEL,
        linear=pb.LinearHead(solver=pb.LINEAR_SOLVER_LBFGS, l2=0.0),
        seed=2**63,
        class_weights=pb.ClassWeights(values={"a": 2.0}),
    )
    told = to_json(options, "options")
    assert told == {
        "task": "CLASSIFICATION_TASK_MULTI_LABEL",
        "linear": {"solver": "LINEAR_SOLVER_LBFGS", "l2": 0.0},
        "seed": str(2**63),
        "class_weights": {"values": {"a": 2.0}},
    }
    assert from_json(told, pb.ClassifierOptions()) == options


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        (pb.ClassifierOptions(task=7), "options.task", "UNKNOWN_VALUE"),  # type: ignore[arg-type]
        (
            pb.ClassifierOptions(linear=pb.LinearHead(solver=9)),  # type: ignore[arg-type]
            *("options.linear.solver", "UNKNOWN_VALUE"),
        ),
        (
            pb.ClassifierOptions(time_budget_seconds=float("inf")),
            *("options.time_budget_seconds", "NOT_FINITE"),
        ),
        (
            pb.ClassifierOptions(class_weights=pb.ClassWeights(values={"a": float("nan")})),
            *("options.class_weights.values['a']", "NOT_FINITE"),
        ),
    ],
)
def test_what_json_cannot_say(options: pb.ClassifierOptions, field: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        to_json(options, "options")
    assert (caught.value.field, caught.value.reason) == (field, reason)


def test_results_of_other_releases_are_read() -> None:
    told = {"example_count": "12", "validation_source": "NEW", "folds": None, "more": {"x": 1}}
    assert from_json(told, pb.DataReport()) == pb.DataReport(example_count=12)
