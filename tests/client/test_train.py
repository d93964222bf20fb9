"""What train_classifier and evaluate_classifier ask for: data, validation, options."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client.fake_server import EVALUATE, TRAIN, FakeServer, PatientAsyncTransport
from client.test_operations import WATCH, operation, watching
from stillroom import AsyncClient, Client, TrainOptions, errors
from stillroom.cli import plain
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2, cost_service_pb2, model_pb2
from stillroom.v1 import operation_service_pb2 as operations

PAIRS = [("my card is lost", "lost"), ("where is my card", "arrival")]
INLINE = pb.LabeledData(
    examples=pb.InlineExamples(
        values=[
            pb.LabeledExample(text="my card is lost", labels=["lost"]),
            pb.LabeledExample(text="where is my card", labels=["arrival"]),
        ]
    )
)


@pytest.fixture
def sent(server: FakeServer, client: Client, received: list[bytes]) -> Any:
    """The TrainClassifierRequest of a call."""

    def go(data: Any = PAIRS, **options: Any) -> pb.TrainClassifierRequest:
        client.train_classifier("bank", "mini", data, **options)
        request = server.requests[-1]
        assert isinstance(request, pb.TrainClassifierRequest)
        return request

    return go


def test_a_call_without_options_leaves_all_to_the_server(sent: Any) -> None:
    request = sent()
    assert request.request_id
    expected = pb.TrainClassifierRequest(
        name="bank", encoder="mini", data=INLINE, request_id=request.request_id
    )
    assert request == expected


def test_the_request_itself(sent: Any) -> None:
    request = sent(
        description="for people",
        labels={"team": "a"},
        validate_only=True,
        request_id="mine",
        budget={"seconds": 60},
        confused_pairs=0,
        examples_per_pair=0,
        calibration_bins=20,
    )
    assert (request.description, request.labels["team"]) == ("for people", "a")
    assert (request.validate_only, request.request_id) == (True, "mine")
    assert request.budget == common_pb2.Budget(seconds=60)
    assert request.report_options == pb.ClassificationReportOptions(
        confused_pairs=0, examples_per_pair=0, calibration_bins=20
    )


def test_examples(sent: Any) -> None:
    values = sent(
        iter([("a", "x"), ["b", ("x", "y")], ("c", []), ("d", 7), ("e", {"z", "y"}), ("", "x")])
    ).data.examples.values
    assert [(value.text, list(value.labels)) for value in values] == [
        ("a", ["x"]),
        ("b", ["x", "y"]),
        ("c", []),
        ("d", ["7"]),
        ("e", ["y", "z"]),  # in one order, whatever the set's
        ("", ["x"]),
    ]


def test_many_examples_are_uploaded(sent: Any, received: list[bytes]) -> None:
    pairs = [(f"text {index} é " + "x" * 1000, f"l{index % 3}") for index in range(1200)]
    data = sent(pairs).data
    assert data == pb.LabeledData(
        upload="uploads/1",
        format=pb.LabeledDataFormat(file_format=pb.LABELED_FILE_FORMAT_JSONL),
    )
    lines = [json.loads(line) for line in received[0].splitlines()]
    assert lines == [{"text": text, "label": [label]} for text, label in pairs]


def test_files(sent: Any, received: list[bytes], tmp_path: Path) -> None:
    table, other = tmp_path / "train.csv", tmp_path / "data"
    table.write_text("query;intent\na;x\n")
    other.write_text("{}\n")
    assert sent(table).data == pb.LabeledData(upload="uploads/1")
    assert received == [table.read_bytes()]
    data = sent(table, text_column="query", label_column="intent", delimiter=";").data
    assert data.format == pb.LabeledDataFormat(
        text_column="query", label_column="intent", delimiter=";"
    )
    data = sent(other, file_format="jsonl", label_separator=",").data
    assert data.format == pb.LabeledDataFormat(
        file_format=pb.LABELED_FILE_FORMAT_JSONL, label_separator=","
    )


def test_data_that_are_not_here(sent: Any, client: Client) -> None:
    path = client.labeled_source(server_path="/d.tsv", label_column="intent")
    expected = pb.LabeledData(path="/d.tsv", format=pb.LabeledDataFormat(label_column="intent"))
    assert path == sent(path).data == expected
    assert client.labeled_source(upload="uploads/9") == pb.LabeledData(upload="uploads/9")
    assert client.labeled_source(examples=PAIRS) == INLINE
    dataset = client.labeled_source(
        dataset="a/b@main", split="test", text_column="body", label_column="intent"
    )
    assert dataset == pb.LabeledData(
        dataset=common_pb2.HubDataset(repo="a/b", revision="main", split="test", column="body"),
        format=pb.LabeledDataFormat(label_column="intent"),
    )


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ({}, "data"),
        ({"upload": "uploads/1", "server_path": "/x.csv"}, "server_path"),
        ({"server_path": "/x.csv", "split": "train"}, "split"),
        ({"server_path": "/x.csv", "file_format": "xlsx"}, "file_format"),
        ({"dataset": "a/b@c", "revision": "d"}, "revision"),
        ({"path": "/nonexistent.csv"}, "path"),
        ({"path": "/nonexistent"}, "path"),
        ({"examples": PAIRS, "text_column": "x"}, "text_column"),
        ({"examples": [("a", 1.5)]}, "examples[0][1]"),
    ],
)
def test_bad_sources_name_the_argument(client: Client, source: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        client.labeled_source(**source)
    assert caught.value.field == field


def test_validation(sent: Any, received: list[bytes], tmp_path: Path) -> None:
    assert sent().WhichOneof("validation") is None
    assert sent(held_out=0.1).validation_split == pb.ValidationSplit(held_out=0.1)
    assert sent(folds=5, unstratified=True).validation_split == pb.ValidationSplit(
        folds=5, unstratified=True
    )
    assert sent(unstratified=True).validation_split == pb.ValidationSplit(unstratified=True)
    assert sent(validation_data=PAIRS).validation_data == INLINE
    (tmp_path / "dev.csv").write_text("text,intent\n")
    request = sent(validation_data=tmp_path / "dev.csv", label_column="intent")
    assert request.data == INLINE
    assert request.validation_data == pb.LabeledData(
        upload="uploads/1", format=pb.LabeledDataFormat(label_column="intent")
    )


# Each option of TrainOptions, and what it becomes.
OPTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "multi_label": (True, {"task": pb.CLASSIFICATION_TASK_MULTI_LABEL}),
    "head": ("mlp", {"mlp": {}}),
    "tuning": ("token-weights", {"encoder_tuning": {"mode": pb.ENCODER_TUNING_MODE_TOKEN_WEIGHTS}}),
    "token_dropout": (0.5, {"encoder_tuning": {"token_dropout": 0.5}}),
    "encoding": (
        {"max_tokens": 64, "truncation_direction": "left"},
        {"encoding": {"max_tokens": 64, "truncation_direction": 2}},
    ),
    "class_weights": ({"a": 2.0, "b": 1}, {"class_weights": {"values": {"a": 2.0, "b": 1.0}}}),
    "focal_gamma": (0.0, {"focal_gamma": 0.0}),
    "label_smoothing": (0.25, {"label_smoothing": 0.25}),
    "seed": (1 << 63, {"seed": 1 << 63}),
    "time_budget": (1.5, {"time_budget_seconds": 1.5}),
    "calibration": ("none", {"calibration": pb.CALIBRATION_METHOD_NONE}),
    "conflicts": ("majority", {"conflicts": pb.CONFLICT_POLICY_MAJORITY}),
    "element_type": ("int8", {"element_type": common_pb2.ELEMENT_TYPE_INT8}),
    "solver": ("closed-form", {"linear": {"solver": pb.LINEAR_SOLVER_CLOSED_FORM}}),
    "l2": (0.0, {"linear": {"l2": 0.0}}),
    "hidden_sizes": ([64, 32], {"mlp": {"hidden_sizes": [64, 32]}}),
    "dropout": (0.0, {"mlp": {"dropout": 0.0}}),
    "ngrams": (False, {"ngrams": {"mode": pb.NGRAM_MODE_OFF}}),
    "min_n": (2, {"ngrams": {"min_n": 2}}),
    "max_n": (3, {"ngrams": {"max_n": 3}}),
    "max_features": (1000, {"ngrams": {"max_features": 1000}}),
    "min_count": (2, {"ngrams": {"min_count": 2}}),
    "max_epochs": (9, {"max_epochs": 9}),
    "early_stopping": (False, {"early_stopping": {"disabled": True}}),
    "patience": (3, {"early_stopping": {"patience": 3}}),
    "min_delta": (0.0, {"early_stopping": {"min_delta": 0.0}}),
    "stop_metric": (
        "macro_f1",
        {"early_stopping": {"metric": pb.EARLY_STOPPING_METRIC_MACRO_F1}},
    ),
    "batch_size": (32, {"optimizer": {"batch_size": 32}}),
    "learning_rate": (0.5, {"optimizer": {"head_learning_rate": 0.5}}),
    "encoder_learning_rate": (0.25, {"optimizer": {"encoder_learning_rate": 0.25}}),
    "weight_decay": (0.0, {"optimizer": {"weight_decay": 0.0}}),
    "threshold": (0.5, {"thresholds": {"fixed": 0.5}}),
    "minimum_precision": (0.75, {"thresholds": {"minimum_precision": 0.75}}),
    "minimum_recall": (0.75, {"thresholds": {"minimum_recall": 0.75}}),
    "abstention_threshold": (0.0, {"abstention": {"threshold": 0.0}}),
    "target_accuracy": (0.75, {"abstention": {"target_accuracy": 0.75}}),
    "target_coverage": (0.75, {"abstention": {"target_coverage": 0.75}}),
}


def test_every_option_is_tried() -> None:
    assert OPTIONS.keys() == TrainOptions.__annotations__.keys()


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_goes_to_its_field(sent: Any, name: str) -> None:
    value, expected = OPTIONS[name]
    options = sent(**{name: value}).options
    # By their bytes: a field that is set to its default is another message than one that is unset.
    assert options.SerializeToString(deterministic=True) == (
        pb.ClassifierOptions(**expected).SerializeToString(deterministic=True)
    )
    assert not sent(**{name: None}).HasField("options")


def test_options_together(sent: Any) -> None:
    options = sent(head="linear", solver="lbfgs", l2=0.5, ngrams=True, max_n=3, seed=1).options
    assert options == pb.ClassifierOptions(
        linear=pb.LinearHead(solver=pb.LINEAR_SOLVER_LBFGS, l2=0.5),
        ngrams=pb.NgramOptions(mode=pb.NGRAM_MODE_ON, max_n=3),
        seed=1,
    )
    assert sent(class_weights="balanced").options.class_weighting == pb.CLASS_WEIGHTING_BALANCED
    assert sent(early_stopping=True, ngrams=True).options == pb.ClassifierOptions(
        ngrams=pb.NgramOptions(mode=pb.NGRAM_MODE_ON)
    )
    message = pb.ClassifierOptions(max_epochs=3)
    assert sent(options=message).options == message


BAD: list[tuple[dict[str, Any], str]] = [
    ({"data": "train.csv"}, "data"),
    ({"data": 5}, "data"),
    ({"data": []}, "data"),
    ({"data": Path("train.txt")}, "data"),
    ({"data": ["a text"]}, "data[0]"),
    ({"data": [("a", "x"), ("b",)]}, "data[1]"),
    ({"data": [{"text": "a", "label": "x"}]}, "data[0]"),
    ({"data": [(5, "x")]}, "data[0][0]"),
    ({"data": [("a\ud800", "x")]}, "data[0][0]"),
    ({"data": [("a", None)]}, "data[0][1]"),
    ({"data": [("a", True)]}, "data[0][1]"),
    ({"data": [("a", ["x", 1.5])]}, "data[0][1]"),
    ({"text_column": "query"}, "text_column"),
    ({"validation_data": []}, "validation_data"),
    ({"validation_data": PAIRS, "held_out": 0.1}, "held_out"),
    ({"validation_data": PAIRS, "unstratified": True}, "unstratified"),
    ({"held_out": 0.1, "folds": 5}, "folds"),
    ({"held_out": "some"}, "held_out"),
    ({"name": 5}, "name"),
    ({"encoder": 5}, "encoder"),
    ({"budget": {"euros": 5}}, "budget"),
    ({"calibration_bins": "many"}, "calibration_bins"),
    ({"heads": "mlp"}, "heads"),
    ({"head": "forest"}, "head"),
    ({"head": 5}, "head"),
    ({"head": "linear", "hidden_sizes": [8]}, "hidden_sizes"),
    ({"l2": 0.1, "dropout": 0.1}, "dropout"),
    ({"solver": "magic"}, "solver"),
    ({"hidden_sizes": "wide"}, "hidden_sizes"),
    ({"multi_label": "yes"}, "multi_label"),
    ({"ngrams": 3}, "ngrams"),
    ({"class_weights": "some"}, "class_weights"),
    ({"class_weights": 5}, "class_weights"),
    ({"class_weights": {"a": "much"}}, "class_weights"),
    ({"seed": -1}, "seed"),
    ({"max_epochs": 1.5}, "max_epochs"),
    ({"encoding": 64}, "encoding"),
    ({"encoding": {"max_tokens": "few"}}, "encoding.max_tokens"),
    ({"encoding": {"normalise": True}}, "encoding.normalise"),
    ({"threshold": 0.5, "minimum_recall": 0.5}, "minimum_recall"),
    ({"target_accuracy": 0.5, "target_coverage": 0.5}, "target_coverage"),
    ({"options": pb.ClassifierOptions(), "seed": 1}, "seed"),
    ({"options": {"seed": 1}}, "options"),
]


@pytest.mark.parametrize(("given", "field"), BAD)
def test_bad_arguments_are_named_before_anything_is_sent(
    server: FakeServer, client: Client, given: dict[str, Any], field: str
) -> None:
    arguments = {"name": "bank", "encoder": "mini", "data": PAIRS, **given}
    with pytest.raises(errors.InvalidArgument) as caught:
        client.train_classifier(**arguments)
    assert caught.value.field == field
    assert server.calls == []


def test_nothing_is_uploaded_for_a_request_that_is_wrong(
    server: FakeServer, client: Client, received: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text("text,label\n")
    with pytest.raises(errors.InvalidArgument):
        client.train_classifier("bank", "mini", tmp_path / "d.csv", head="forest")
    with pytest.raises(errors.InvalidArgument):
        client.evaluate_classifier("bank", tmp_path / "d.csv", threshold="low")  # type: ignore[arg-type]
    assert (received, server.calls) == ([], [])


def test_the_result_is_what_was_trained(server: FakeServer, client: Client) -> None:
    response = pb.TrainClassifierResponse(
        model_version=model_pb2.ModelVersion(name="models/bank/versions/1"),
        report=pb.ClassificationReport(accuracy=0.9),
    )
    server.answer(TRAIN, operation())
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response)
    server.on(WATCH, watching(operation(done=5), done))
    trained = client.train_classifier("bank", "mini", PAIRS).result()
    assert trained == response


def test_what_is_only_validated_has_an_estimate(server: FakeServer, client: Client) -> None:
    response = pb.TrainClassifierResponse()
    response.estimate.Pack(cost_service_pb2.CostEstimate(kind="train_classifier"))
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response, name="")
    server.answer(TRAIN, done)
    checked = client.train_classifier("bank", "mini", PAIRS, validate_only=True)
    assert checked.result() == response
    assert server.calls == [TRAIN]
    assert plain.plain(response)["estimate"]["kind"] == "train_classifier"
    response.estimate.type_url = "type.googleapis.com/of.another.Release"
    assert plain.plain(response)["estimate"] == {"type": "of.another.Release"}


def test_evaluations(
    server: FakeServer, client: Client, received: list[bytes], tmp_path: Path
) -> None:
    def asked(data: Any = PAIRS, **options: Any) -> pb.EvaluateClassifierRequest:
        client.evaluate_classifier("bank@1", data, **options)
        request = server.requests[-1]
        assert isinstance(request, pb.EvaluateClassifierRequest)
        return request

    request = asked()
    assert request == pb.EvaluateClassifierRequest(
        model="bank@1", data=INLINE, request_id=request.request_id
    )
    request = asked(
        abstention_threshold=0.0,
        threshold=0.5,
        truncate=False,
        confused_pairs=3,
        examples_per_pair=0,
        calibration_bins=10,
        include_html=True,
        request_id="mine",
    )
    assert request == pb.EvaluateClassifierRequest(
        model="bank@1",
        data=INLINE,
        options=pb.ClassifyOptions(abstention_threshold=0.0, threshold=0.5, truncate=False),
        report_options=pb.ClassificationReportOptions(
            confused_pairs=3, examples_per_pair=0, calibration_bins=10, include_html=True
        ),
        request_id="mine",
    )
    (tmp_path / "test.csv").write_text("query,label\na,x\n")
    data = asked(tmp_path / "test.csv", text_column="query").data
    assert data == pb.LabeledData(
        upload="uploads/1", format=pb.LabeledDataFormat(text_column="query")
    )


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"data": "test.csv"}, "data"),
        ({"data": [("a", "x", "y")]}, "data[0]"),
        ({"label_column": "x"}, "label_column"),
        ({"model": 5}, "model"),
        ({"threshold": "low"}, "threshold"),
        ({"confused_pairs": 1 << 40}, "confused_pairs"),
    ],
)
def test_bad_evaluations_name_the_argument(
    server: FakeServer, client: Client, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        client.evaluate_classifier(**{"model": "bank", "data": PAIRS, **given})
    assert caught.value.field == field
    assert server.calls == []


async def test_the_asyncio_client_does_the_same(
    server: FakeServer, received: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "d.csv").write_text("text,label\n")

    def examples() -> Iterator[tuple[str, str]]:
        yield from PAIRS

    async with AsyncClient(transport=PatientAsyncTransport(server.target)) as client:
        trained = await client.train_classifier("bank", "mini", tmp_path / "d.csv", folds=2)
        assert trained.name == "operations/1"
        await client.evaluate_classifier("bank", examples())
    assert received == [b"text,label\n"]
    assert server.calls[-2:] == [TRAIN, EVALUATE]
    assert server.requests[-1].data == INLINE  # type: ignore[attr-defined]
