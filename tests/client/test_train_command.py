"""``stillroom train`` and the reports of classifiers that it and ``stillroom models`` show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2

from client.conftest import DOWNLOAD
from client.fake_server import TRAIN, FakeServer, fail, status
from client.test_cli import HOSTILE, MODELS
from client.test_operations import WATCH, operation, watching
from stillroom.cli import classifier_tables, exits
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2, model_pb2
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import operation_service_pb2 as operations

REPORT = pb.ClassificationReport(
    task=pb.CLASSIFICATION_TASK_SINGLE_LABEL,
    example_count=2000,
    accuracy=0.91234,
    macro_f1=0.90123,
    weighted_f1=0.91111,
    micro_f1=0.91234,
    log_loss=0.34567,
    labels=[
        pb.LabelReport(
            label="lost card",
            support=40,
            precision=0.875,
            recall=0.7,
            f1=0.77777,
            average_precision=0.85,
            true_positives=28,
        ),
        pb.LabelReport(label="unseen", support=0),
    ],
    confused_pairs=[
        pb.ConfusedPair(
            true_label="lost card",
            given_label="stolen card",
            count=7,
            share=0.175,
            examples=[pb.ConfusedExample(text="my card\nis gone", given_probability=0.9)],
        )
    ],
    calibration=pb.CalibrationReport(
        expected_calibration_error=0.01234,
        maximum_calibration_error=0.09876,
        uncalibrated_error=0.23456,
        brier_score=0.11111,
        bins=[
            pb.ReliabilityBin(lower=0, upper=0.5),
            pb.ReliabilityBin(lower=0.5, upper=1, count=200, mean_confidence=0.8, accuracy=0.75),
        ],
    ),
    abstention=pb.AbstentionReport(threshold=0.4321, coverage=0.93, accuracy=0.9567),
)
DATA = pb.DataReport(
    example_count=10_003,
    training_count=8003,
    validation_count=2000,
    validation_source=pb.VALIDATION_SOURCE_HELD_OUT,
    issues=[
        pb.DataIssue(kind=pb.DATA_ISSUE_KIND_RARE_LABEL, count=2, labels=["unseen", "rare"]),
        pb.DataIssue(
            kind=pb.DATA_ISSUE_KIND_EMPTY_TEXT, count=9, examples=range(9), in_validation_data=True
        ),
    ],
)
OPTIONS = pb.ClassifierOptions(
    linear=pb.LinearHead(solver=pb.LINEAR_SOLVER_LBFGS, l2=0.001),
    encoder_tuning=pb.EncoderTuning(mode=pb.ENCODER_TUNING_MODE_FROZEN),
    ngrams=pb.NgramOptions(mode=pb.NGRAM_MODE_ON, min_n=1, max_n=3),
)
DESCRIPTION = pb.ClassifierDescription(
    task=pb.CLASSIFICATION_TASK_SINGLE_LABEL,
    labels=["lost card", "stolen card", "unseen"],
    encoder_version="models/mini/versions/2",
    options=OPTIONS,
    temperature=0.75,
    abstention_threshold=0.4321,
)
TRAINING = pb.TrainingReport(
    candidates=[
        pb.TrainingCandidate(options=OPTIONS, accuracy=0.91234, seconds=1.5, chosen=True),
        pb.TrainingCandidate(
            options=pb.ClassifierOptions(
                mlp=pb.MlpHead(hidden_sizes=[512]),
                encoder_tuning=pb.EncoderTuning(
                    mode=pb.ENCODER_TUNING_MODE_TABLE_AND_TOKEN_WEIGHTS
                ),
            ),
            accuracy=0.90001,
            macro_f1=0.8,
            log_loss=0.5,
            seconds=9.25,
        ),
    ],
    epochs=[pb.TrainingEpoch(epoch=1), pb.TrainingEpoch(epoch=2)],
    best_epoch=1,
    end=pb.TRAINING_END_EARLY_STOPPED,
    onnx_parity=pb.ClassifierParity(max_abs_error=1.5e-7, texts=100, runs=200),
    seconds={"train": 11.0, "encode": 2.5},
)
SHOWN = (
    *("91.23% of 2,000 texts", "0.9012 macro, 0.9111 weighted", "0.3457"),
    *("error 0.0123 (0.2346 before), largest 0.0988, Brier 0.1111",),
    *("below 0.432; 93.0% of the texts answered, 95.67% of those right",),
    *("10,003 examples",),
    *("LABEL", "lost card", "0.8750", "0.7000", "0.7778", "unseen"),
    *("TAKEN FOR", "stolen card", "17.5%", "my card is gone"),
    *("CONFIDENCE", "50% to 100%", "80.0%", "75.0%", "█" * 15),
)
TRAINED = (
    *("models/mini/versions/2", "one of 3 labels a text"),
    *("linear (lbfgs, l2 0.001), encoder frozen, runs of 1 to 3 tokens",),
    *("8,003 trained on, 2,000 validated on (held out)", "temperature 0.750"),
    *("2 ways tried; 2 epochs, the 1. kept; ended: early stopped",),
    *("verified: 100 texts, 200 runs, largest error 1.5e-07", "14 s (train 11 s, encode 2.5 s)"),
    *("TRIED", "(chosen)", "MLP of 512, table and token weights tuned", "90.00%", "9.2"),
)
PAGE = b"<html>the report</html>"


def finished(server: FakeServer, **changes: Any) -> None:
    """Scripts a training that succeeds."""
    response = pb.TrainClassifierResponse(
        classifier=DESCRIPTION, report=REPORT, data=DATA, training=TRAINING
    )
    response.model_version.name = "models/bank/versions/3"
    for name, value in changes.items():
        getattr(response, name).CopyFrom(value)
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response)
    server.answer(TRAIN, operation(operations.OPERATION_STATE_PENDING))
    server.on(WATCH, watching(operation(done=5), done))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "train.csv"
    made.write_text("text,label\na,x\n")
    return made


@pytest.fixture
def classifier(server: FakeServer) -> model_pb2.ModelVersion:
    """A registered classifier with a report and its page."""
    version = model_pb2.ModelVersion(
        name="models/bank/versions/3", kind=model_pb2.MODEL_KIND_CLASSIFIER
    )
    digest = f"sha256:{hashlib.sha256(PAGE).hexdigest()}"
    version.files.add(path="report.html", digest=digest, size_bytes=len(PAGE))
    version.metadata.update(
        {
            "classifier": MessageToDict(DESCRIPTION, preserving_proto_field_name=True),
            "quality": {
                "example_count": "2000",
                "accuracy": 0.91234,
                "macro_f1": 0.90123,
                "weighted_f1": 0.91111,
                "log_loss": 0.34567,
                "expected_calibration_error": 0.01234,
            },
            "data": {
                "training_count": "8003",
                "validation_source": "VALIDATION_SOURCE_GIVEN",
                "digest": "sha256:00",
            },
            "label_count": 3,
        }
    )
    server.on(
        f"{MODELS}/GetModelVersion",
        lambda request, context: models.GetModelVersionResponse(model_version=version),
    )
    server.answer(
        f"{MODELS}/GetModel", models.GetModelResponse(model=model_pb2.Model(name="models/bank"))
    )
    server.on(
        f"{MODELS}/ListModelVersions",
        lambda request, context: models.ListModelVersionsResponse(model_versions=[version]),
    )

    def stream(request: Any, context: Any) -> Iterator[Any]:
        assert (request.name, list(request.paths)) == (version.name, ["report.html"])
        yield models.DownloadModelVersionResponse(file=version.files[0])
        yield models.DownloadModelVersionResponse(chunk=PAGE)

    server.on(DOWNLOAD, stream)
    return version


def test_the_report_is_a_readable_table(
    server: FakeServer, run: Any, received: list[bytes], file: Path
) -> None:
    finished(server)
    ran = run("train", "bank", "--encoder", "mini", "--data", str(file))
    assert ran.code == 0, ran.err
    for text in ("models/bank/versions/3", *SHOWN, *TRAINED):
        assert text in ran.out, text
    assert "note: 2 labels have too few examples to validate (unseen, rare)" in ran.err
    places = ", ".join(f"example {place}" for place in range(5))
    assert f"note: 9 texts are empty ({places}, ... of the validation data)" in ran.err
    assert received == [b"text,label\na,x\n"]


def test_progress_and_json(server: FakeServer, run: Any, received: list[bytes], file: Path) -> None:
    finished(server)
    ran = run("train", "bank", "--encoder", "mini", "--data", str(file), "--json")
    assert ran.code == 0, ran.err
    response = json.loads(ran.out)["response"]
    assert response["report"]["confused_pairs"][0]["count"] == 7
    assert response["training"]["candidates"][1]["options"]["mlp"]["hidden_sizes"] == [512]
    states = [json.loads(line)["state"] for line in ran.err.splitlines()]
    assert states == ["running", "succeeded"]
    assert json.loads(ran.err.splitlines()[0])["progress"]["done"] == 5


def test_without_waiting(server: FakeServer, run: Any, received: list[bytes], file: Path) -> None:
    finished(server)
    ran = run("train", "bank", "--encoder", "mini", "--data", str(file), "--no-wait")
    assert (ran.code, ran.out) == (0, "operations/1\n")
    assert "stillroom operations watch operations/1" in ran.err


def test_a_report_of_little(server: FakeServer, run: Any) -> None:
    server.answer(TRAIN, operation(operations.OPERATION_STATE_PENDING))
    response = pb.TrainClassifierResponse(report=pb.ClassificationReport(accuracy=1))
    response.model_version.name = "models/bank/versions/1"
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response)
    server.on(WATCH, watching(done))
    ran = run("train", "bank", "--encoder", "mini", "--data-path", "/d.csv")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "classifier  models/bank/versions/1"
    assert "100.00% of 0 texts" in ran.out


def test_of_many_labels_the_worst_are_shown(server: FakeServer, run: Any) -> None:
    most = classifier_tables.MOST_LABELS
    report = pb.ClassificationReport(
        labels=[
            pb.LabelReport(label=f"label{index:03}", f1=index / 100) for index in range(most + 30)
        ]
    )
    report.labels.reverse()
    finished(server, report=report)
    ran = run("train", "bank", "--encoder", "mini", "--data-path", "/d.csv")
    listed = [name for name in ran.out.split() if name.startswith("label") and name != "labels"]
    assert listed == [f"label{index:03}" for index in range(most)]
    assert "30 more labels" in ran.err


def test_multi_label_reports_show_thresholds(server: FakeServer, run: Any) -> None:
    report = pb.ClassificationReport(
        task=pb.CLASSIFICATION_TASK_MULTI_LABEL,
        example_count=10,
        accuracy=0.5,
        micro_f1=0.7654,
        labels=[pb.LabelReport(label="x", support=3, threshold=0.321)],
    )
    description = pb.ClassifierDescription(labels=["x"], thresholds=[0.321])
    finished(server, report=report, classifier=description)
    out = run("train", "bank", "--encoder", "mini", "--data-path", "/d.csv", "--multi-label").out
    assert "50.00% of 10 texts with all labels right" in out
    assert "0.7654 of all together" in out
    assert "any number of 1 labels a text" in out
    assert "THRESHOLD" in out
    assert "0.321" in out


def test_text_of_others_cannot_steer_the_terminal(server: FakeServer, run: Any) -> None:
    report = pb.ClassificationReport(labels=[pb.LabelReport(label=HOSTILE)])
    report.confused_pairs.add(true_label=HOSTILE, given_label=HOSTILE).examples.add(text=HOSTILE)
    data = pb.DataReport()
    data.issues.add(kind=pb.DATA_ISSUE_KIND_RARE_LABEL, count=1, labels=[HOSTILE])
    finished(server, report=report, data=data)
    ran = run("train", "bank", "--encoder", "mini", "--data-path", "/d.csv")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out + ran.err
    assert ran.out.count("[red]x[/red] :smile:") == 4
    assert ran.err.count("[red]x[/red] :smile:") == 1


def test_every_option_reaches_the_request(
    server: FakeServer, run: Any, received: list[bytes], file: Path
) -> None:
    finished(server)
    ran = run(
        *("train", "bank", "--encoder", "mini@2", "--data", str(file), "--format", "csv"),
        *("--text-column", "query", "--label-column", "intent", "--label-separator", ";"),
        *("--delimiter", "|", "--multi-label", "--validation-data", str(file)),
        *("--head", "mlp", "--hidden-size", "64", "--hidden-size", "32", "--dropout", "0.1"),
        *("--tuning", "table-and-token-weights", "--token-dropout", "0.25"),
        *("--element-type", "float16", "--ngrams", "--min-n", "1", "--max-n", "3"),
        *("--max-features", "1000", "--min-count", "2", "--class-weight", "a=b=2"),
        *("--class-weight", "c=0.5", "--focal-gamma", "2", "--label-smoothing", "0.1"),
        *("--epochs", "9", "--no-early-stopping", "--patience", "3", "--min-delta", "0.01"),
        *("--stop-metric", "macro-f1", "--batch-size", "32", "--learning-rate", "0.5"),
        *("--encoder-learning-rate", "0.25", "--weight-decay", "0.125"),
        *("--time-budget", "60", "--seed", "7", "--calibration", "none"),
        *("--minimum-precision", "0.75", "--target-coverage", "0.875", "--conflicts", "drop"),
        *("--no-truncate", "--max-tokens", "64", "--dimensions", "128", "--prompt-name", "q"),
        *("--confused-pairs", "5", "--examples-per-pair", "0", "--calibration-bins", "20"),
        *("--budget-seconds", "600", "--budget-memory-bytes", "1000"),
        *("--budget-result-bytes", "2000", "--description", "for people"),
        *("--label", "team=a", "--validate-only"),
    )
    assert ran.code == 0, ran.err
    request: Any = next(
        item for item in server.requests if isinstance(item, pb.TrainClassifierRequest)
    )

    def uploaded(name: str) -> pb.LabeledData:
        return pb.LabeledData(
            upload=name,
            format=pb.LabeledDataFormat(
                file_format=pb.LABELED_FILE_FORMAT_CSV,
                text_column="query",
                label_column="intent",
                label_separator=";",
                delimiter="|",
            ),
        )

    expected = pb.TrainClassifierRequest(
        encoder="mini@2",
        name="bank",
        data=uploaded("uploads/1"),
        validation_data=uploaded("uploads/2"),
        options=pb.ClassifierOptions(
            task=pb.CLASSIFICATION_TASK_MULTI_LABEL,
            mlp=pb.MlpHead(hidden_sizes=[64, 32], dropout=0.1),
            encoder_tuning=pb.EncoderTuning(
                mode=pb.ENCODER_TUNING_MODE_TABLE_AND_TOKEN_WEIGHTS, token_dropout=0.25
            ),
            ngrams=pb.NgramOptions(
                mode=pb.NGRAM_MODE_ON, min_n=1, max_n=3, max_features=1000, min_count=2
            ),
            class_weights=pb.ClassWeights(values={"a=b": 2, "c": 0.5}),
            focal_gamma=2,
            label_smoothing=0.1,
            max_epochs=9,
            early_stopping=pb.EarlyStopping(
                disabled=True,
                patience=3,
                min_delta=0.01,
                metric=pb.EARLY_STOPPING_METRIC_MACRO_F1,
            ),
            time_budget_seconds=60,
            optimizer=pb.OptimizerOptions(
                batch_size=32,
                head_learning_rate=0.5,
                encoder_learning_rate=0.25,
                weight_decay=0.125,
            ),
            seed=7,
            calibration=pb.CALIBRATION_METHOD_NONE,
            thresholds=pb.ThresholdOptions(minimum_precision=0.75),
            abstention=pb.AbstentionOptions(target_coverage=0.875),
            conflicts=pb.CONFLICT_POLICY_DROP,
            element_type=common_pb2.ELEMENT_TYPE_FLOAT16,
        ),
        report_options=pb.ClassificationReportOptions(
            confused_pairs=5, examples_per_pair=0, calibration_bins=20
        ),
        budget=common_pb2.Budget(seconds=600, memory_bytes=1000, result_bytes=2000),
        validate_only=True,
        description="for people",
        labels={"team": "a"},
        request_id=request.request_id,
    )
    expected.options.encoding.truncate = False
    expected.options.encoding.max_tokens = 64
    expected.options.encoding.dimensions = 128
    expected.options.encoding.prompt_name = "q"
    assert request == expected


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (
            ["--solver", "closed-form", "--l2", "0.5"],
            pb.ClassifierOptions(linear=pb.LinearHead(solver=pb.LINEAR_SOLVER_CLOSED_FORM, l2=0.5)),
        ),
        (
            ["--class-weight", "balanced", "--no-ngrams"],
            pb.ClassifierOptions(
                class_weighting=pb.CLASS_WEIGHTING_BALANCED,
                ngrams=pb.NgramOptions(mode=pb.NGRAM_MODE_OFF),
            ),
        ),
        (
            ["--minimum-recall", "0.5", "--abstain-below", "0"],
            pb.ClassifierOptions(
                thresholds=pb.ThresholdOptions(minimum_recall=0.5),
                abstention=pb.AbstentionOptions(threshold=0.0),
            ),
        ),
        (
            ["--threshold", "0.5", "--target-accuracy", "0.75"],
            pb.ClassifierOptions(
                thresholds=pb.ThresholdOptions(fixed=0.5),
                abstention=pb.AbstentionOptions(target_accuracy=0.75),
            ),
        ),
    ],
)
def test_other_choices(
    server: FakeServer, run: Any, arguments: list[str], options: pb.ClassifierOptions
) -> None:
    finished(server)
    ran = run("train", "bank", "--encoder", "mini", "--data-path", "/d.csv", *arguments)
    assert ran.code == 0, ran.err
    request: Any = server.requests[0]
    assert request.options == options
    assert request.data == pb.LabeledData(path="/d.csv")


@pytest.mark.parametrize(
    ("arguments", "split"),
    [
        (["--held-out", "0.1", "--unstratified"], pb.ValidationSplit(held_out=0.1)),
        (["--folds", "5"], pb.ValidationSplit(folds=5)),
    ],
)
def test_splits(
    server: FakeServer, run: Any, arguments: list[str], split: pb.ValidationSplit
) -> None:
    finished(server)
    split.unstratified = "--unstratified" in arguments
    ran = run("train", "bank", "--encoder", "mini", "--dataset", "a/b", *arguments)
    assert ran.code == 0, ran.err
    request: Any = server.requests[0]
    assert request.validation_split == split
    assert request.data.dataset == common_pb2.HubDataset(repo="a/b")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--data", "/nonexistent.csv"],
        ["--data", "texts.txt"],
        ["--data", "a.csv", "--dataset", "a/b"],
        ["--data-path", "/d.csv", "--head", "forest"],
        ["--data-path", "/d.csv", "--solver", "magic"],
        ["--data-path", "/d.csv", "--head", "linear", "--hidden-size", "8"],
        ["--data-path", "/d.csv", "--class-weight", "some"],
        ["--data-path", "/d.csv", "--class-weight", "a=2", "--class-weight", "balanced"],
        ["--data-path", "/d.csv", "--class-weight", "a=much"],
        ["--data-path", "/d.csv", "--held-out", "0.1", "--folds", "3"],
        ["--data-path", "/d.csv", "--threshold", "0.5", "--minimum-recall", "0.5"],
        ["--data-path", "/d.csv", "--label", "x"],
        ["--data-path", "/d.csv", "--seed", "many"],
        ["--data-path", "/d.csv", "--html", "x.html", "--no-wait"],
    ],
)
def test_wrong_usage_asks_for_nothing(server: FakeServer, run: Any, arguments: list[str]) -> None:
    ran = run("train", "bank", "--encoder", "mini", *arguments)
    assert ran.code == exits.USAGE
    assert ran.err
    assert server.calls == []


def test_an_encoder_is_needed(run: Any) -> None:
    ran = run("train", "bank", "--data", "d.csv")
    assert ran.code == exits.USAGE
    assert "--encoder" in ran.err


def test_data_that_are_wrong(server: FakeServer, run: Any) -> None:
    refusal = status(
        code_pb2.INVALID_ARGUMENT,
        "there is no column intent; there are text, label",
        reason="COLUMN_MISSING",
        field="data.format.label_column",
    )
    server.answer(TRAIN, operation())
    server.on(WATCH, watching(operation(done=1), operation(error=refusal)))
    ran = run("train", "bank", "--encoder", "mini", "--data-path", "/d.csv")
    assert ran.code == exits.USAGE
    assert "there are text, label [data.format.label_column]" in ran.err
    refusal = status(code_pb2.FAILED_PRECONDITION, "bank is a classifier", field="encoder")
    server.on(TRAIN, lambda request, context: fail(context, refusal))
    ran = run("train", "bank2", "--encoder", "bank", "--data-path", "/d.csv")
    assert ran.code == exits.BY_CODE["FAILED_PRECONDITION"]


@pytest.mark.parametrize("wait", ["--wait", "--no-wait"])
def test_what_is_only_validated(server: FakeServer, run: Any, wait: str) -> None:
    response = pb.TrainClassifierResponse()
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response, name="")
    server.answer(TRAIN, done)
    ran = run(
        *("train", "bank", "--encoder", "mini", "--data-path", "/d.csv", "--validate-only", wait)
    )
    assert (ran.code, server.calls) == (0, [TRAIN])
    assert "none was made: everything checks out" in ran.out


def test_train_writes_the_page(
    server: FakeServer, run: Any, classifier: model_pb2.ModelVersion, tmp_path: Path
) -> None:
    finished(server)
    page = tmp_path / "out.html"
    ran = run("train", "bank", "--encoder", "m", "--data-path", "/d.csv", "--html", str(page))
    assert ran.code == 0, ran.err
    assert page.read_bytes() == PAGE
    assert "91.23%" in ran.out


REGISTERED = (
    *("models/mini/versions/2", "one of 3 labels a text", "linear (lbfgs, l2 0.001)"),
    *("8,003 trained on", "91.23% of 2,000 texts", "0.9012 macro, 0.9111 weighted", "0.3457"),
    *("error 0.0123, temperature 0.750\n", "below 0.432\n"),
)


def test_models_show_the_report(
    server: FakeServer, run: Any, classifier: model_pb2.ModelVersion
) -> None:
    for name in ("bank", "bank@3"):
        shown = run("models", "show", name).out
        for text in REGISTERED:
            assert text in shown, text
        assert "macro_f1" not in shown  # not as JSON too
    assert "label_count" in run("models", "show", "bank@3").out
    of_version = json.loads(run("models", "show", "bank@3", "--json").out)
    assert of_version["metadata"]["quality"]["accuracy"] == 0.91234


def test_models_report(
    server: FakeServer, run: Any, classifier: model_pb2.ModelVersion, tmp_path: Path
) -> None:
    people = run("models", "report", "bank")
    assert people.code == 0, people.err
    for text in ("models/bank/versions/3", *REGISTERED):
        assert text in people.out, text
    assert "validated on" not in people.out  # of how many is not among the metadata
    assert "--html" in people.err
    machine = json.loads(run("models", "report", "bank", "--json").out)
    assert machine.keys() == {"quality", "classifier", "data"}
    assert machine["classifier"]["labels"] == list(DESCRIPTION.labels)
    page = tmp_path / "out.html"
    ran = run("models", "report", "bank", "--html", str(page))
    assert (ran.code, ran.out) == (0, ""), ran.err
    assert page.read_bytes() == PAGE
    assert run("models", "report", "bank", "--html", str(tmp_path / "no" / "x.html")).code == 4


def test_classifiers_that_know_little(
    server: FakeServer, run: Any, classifier: model_pb2.ModelVersion, tmp_path: Path
) -> None:
    """Imported ones, and those of other releases."""
    classifier.metadata.Clear()
    page = tmp_path / "out.html"
    assert run("models", "report", "bank", "--html", str(page)).code == 0
    ran = run("models", "report", "bank")
    assert ran.code == exits.BY_CODE["FAILED_PRECONDITION"]
    assert "no report" in ran.err
    del classifier.files[:]
    assert run("models", "report", "bank", "--html", str(page)).code == ran.code
    assert run("models", "show", "bank@3").code == 0
    classifier.metadata.update({"quality": {"accuracy": 0.5, "of_another_release": 1}})
    assert "50.00%" in run("models", "report", "bank").out
    classifier.metadata.update({"quality": {"accuracy": "high"}, "classifier": 5})
    assert run("models", "report", "bank").code == 0
