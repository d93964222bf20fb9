"""``stillroom classify`` and ``stillroom evaluate``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.rpc import code_pb2

from client.fake_server import (
    CLASSIFY_STREAM,
    EVALUATE,
    FakeServer,
    classify_answer,
    fail,
    status,
)
from client.test_cli import HOSTILE
from client.test_operations import WATCH, operation, watching
from client.test_train_command import DATA, REPORT, SHOWN
from stillroom.cli import exits
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2
from stillroom.v1 import embedding_service_pb2 as embedding
from stillroom.v1 import operation_service_pb2 as operations


def test_texts_become_lines(run: Any) -> None:
    ran = run("classify", "bank", "a text", "is it?\todd\nor  even")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "even 0.7500\ta text",
        "unsure: odd 0.7500\tis it? odd or even",
    ]
    assert "2 texts by models/fake/versions/1, 50.0% of them unsure" in ran.err
    both = run("classify", "bank", "a text", "--top-k", "2")
    assert both.out == "even 0.7500, odd 0.2500\ta text\n"
    assert both.err == ""


def test_a_file_larger_than_the_window(run: Any, tmp_path: Path) -> None:
    texts = ["x" * (index % 7 + 1) for index in range(5000)]
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(texts))
    ran = run("classify", "bank", "--file", str(file), "--batch-size", "100")
    assert ran.code == 0, ran.err
    assert [line.split("\t") for line in ran.out.splitlines()] == [
        [f"{'odd' if len(text) % 2 else 'even'} 0.7500", text] for text in texts
    ]
    assert "5,000 texts by models/fake/versions/1" in ran.err


def test_machines_get_json_lines(run: Any) -> None:
    ran = run("classify", "bank", "a text", "is it?", "--top-k", "2", "--json")
    assert ran.err == ""
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert lines[0] == {
        "index": 0,
        "model_version": "models/fake/versions/1",
        "label": "even",
        "labels": [
            {"label": "even", "probability": 0.75, "applies": True},
            {"label": "odd", "probability": 0.25, "applies": True},
        ],
        "confidence": 0.75,
        "abstained": False,
        "tokens": 2,
        "truncated": False,
    }
    assert [line["abstained"] for line in lines] == [False, True]


def answering(server: FakeServer, change: Any) -> None:
    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            answer: Any = classify_answer(request)
            change(answer.classifications)
            yield answer

    server.on(CLASSIFY_STREAM, stream)


def test_vectors_and_warnings(server: FakeServer, run: Any) -> None:
    vectors = np.array([[0.1, -2.5]], "<f4")

    def change(found: pb.Classifications) -> None:
        found.embeddings.count, found.embeddings.dimensions = 1, 2
        found.embeddings.float32.values.extend(vectors[0].tolist())
        found.warnings.add(index=0, kind=embedding.TEXT_WARNING_KIND_ALL_UNKNOWN)
        found.probabilities[0] = 0.1

    answering(server, change)
    ran = run("classify", "bank", "漢", "--json", "--embeddings", "--element-type", "float32")
    line = json.loads(ran.out)
    assert line["vector"] == [0.1, -2.5]  # in the digits of a float32
    assert line["labels"][0]["probability"] == 0.1
    assert line["warning"] == "all_unknown"
    request: Any = server.requests[-1]
    assert request.options == pb.ClassifyOptions(
        include_embeddings=True, embedding_element_type=common_pb2.ELEMENT_TYPE_FLOAT32
    )


def test_a_text_to_which_nothing_applies(server: FakeServer, run: Any) -> None:
    def change(found: pb.Classifications) -> None:
        found.label_counts[0] = 0
        del found.label_indices[:], found.probabilities[:]

    answering(server, change)
    assert run("classify", "bank", "a text").out == "-\ta text\n"
    assert json.loads(run("classify", "bank", "a text", "--json").out)["label"] is None


def test_text_of_others_cannot_steer_the_terminal(server: FakeServer, run: Any) -> None:
    answering(server, lambda found: found.labels.__setitem__(0, HOSTILE))
    out = run("classify", "bank", HOSTILE).out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert out.count("[red]x[/red]") == 2


def test_every_option_reaches_the_request(server: FakeServer, run: Any) -> None:
    ran = run(
        *("classify", "bank@2", "a text", "--abstain-below", "0.4", "--threshold", "0.5"),
        *("--no-truncate", "--top-k", "3"),
    )
    assert ran.code == 0, ran.err
    request: Any = server.requests[-1]
    assert request.model == "bank@2"
    assert request.options == pb.ClassifyOptions(
        top_k=3, abstention_threshold=0.4, threshold=0.5, truncate=False
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", "bank"],
        ["classify", "bank", "text", "--file", "x"],
        ["classify", "bank", "--file", "/nonexistent"],
        ["classify", "bank", "text", "--embeddings"],
        ["classify", "bank", "text", "--json", "--element-type", "float64"],
        ["classify", "bank", "text", "--top-k", "many"],
        ["evaluate", "bank"],
        ["evaluate", "bank", "--data", "/nonexistent.csv"],
        ["evaluate", "bank", "--data", "test.txt"],
        ["evaluate", "bank", "--data", "a.csv", "--data-path", "/b.csv"],
        ["evaluate", "bank", "--data-path", "/b.csv", "--dataset-split", "test"],
        ["evaluate", "bank", "--data-path", "/b.csv", "--format", "xlsx"],
        ["evaluate", "bank", "--data-path", "/b.csv", "--html", "x", "--no-wait"],
    ],
)
def test_wrong_usage_asks_for_nothing(server: FakeServer, run: Any, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == exits.USAGE
    assert ran.err
    assert not [call for call in server.calls if not call.endswith("GetServerInfo")]


def test_what_is_no_classifier(server: FakeServer, run: Any) -> None:
    refusal = status(code_pb2.FAILED_PRECONDITION, "mini is a student", field="model")
    server.on(CLASSIFY_STREAM, lambda requests, context: fail(context, refusal))
    ran = run("classify", "mini", "a text")
    assert ran.code == exits.BY_CODE["FAILED_PRECONDITION"]
    assert ran.err == "error: mini is a student [model]\n"


def evaluated(server: FakeServer, html: str = "") -> None:
    """Scripts an evaluation that succeeds."""
    response = pb.EvaluateClassifierResponse(
        model_version="models/bank/versions/3", report=REPORT, data=DATA, html=html
    )
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response)
    server.answer(EVALUATE, operation(operations.OPERATION_STATE_PENDING))
    server.on(WATCH, watching(operation(done=5), done))


def test_evaluate_shows_the_report(
    server: FakeServer, run: Any, received: list[bytes], tmp_path: Path
) -> None:
    evaluated(server, html="<html>page</html>")
    file, page = tmp_path / "test.csv", tmp_path / "out.html"
    file.write_text("query|intent\na|x\n")
    ran = run(
        *("evaluate", "bank@3", "--data", str(file), "--text-column", "query"),
        *("--label-column", "intent", "--delimiter", "|", "--abstain-below", "0"),
        *("--threshold", "0.5", "--confused-pairs", "3", "--examples-per-pair", "0"),
        *("--calibration-bins", "20", "--html", str(page)),
    )
    assert ran.code == 0, ran.err
    for text in ("models/bank/versions/3", *SHOWN):
        assert text in ran.out, text
    assert page.read_text() == "<html>page</html>"
    assert str(page) in ran.err
    assert received == [file.read_bytes()]
    request: Any = next(
        item for item in server.requests if isinstance(item, pb.EvaluateClassifierRequest)
    )
    assert request == pb.EvaluateClassifierRequest(
        model="bank@3",
        data=pb.LabeledData(
            upload="uploads/1",
            format=pb.LabeledDataFormat(text_column="query", label_column="intent", delimiter="|"),
        ),
        options=pb.ClassifyOptions(abstention_threshold=0.0, threshold=0.5),
        report_options=pb.ClassificationReportOptions(
            confused_pairs=3, examples_per_pair=0, calibration_bins=20, include_html=True
        ),
        request_id=request.request_id,
    )


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        (
            ["--data-path", "/t.tsv", "--label-separator", ","],
            pb.LabeledData(path="/t.tsv", format=pb.LabeledDataFormat(label_separator=",")),
        ),
        (
            ["--dataset", "a/b@main", "--dataset-split", "test", "--text-column", "body"],
            pb.LabeledData(
                dataset=common_pb2.HubDataset(
                    repo="a/b", revision="main", split="test", column="body"
                )
            ),
        ),
    ],
)
def test_data_that_are_not_here(
    server: FakeServer, run: Any, arguments: list[str], data: pb.LabeledData
) -> None:
    evaluated(server)
    ran = run("evaluate", "bank", *arguments, "--json")
    assert ran.code == 0, ran.err
    request: Any = server.requests[0]
    assert request.data == data
    response = json.loads(ran.out)["response"]
    assert response["report"]["accuracy"] == REPORT.accuracy
    assert response["report"]["calibration"]["fitted_here"] is False
    assert response["data"]["issues"][0]["kind"] == "rare_label"
