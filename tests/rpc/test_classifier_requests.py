"""What a request to train or to evaluate becomes, or why it is refused; nothing is trained here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from inference.students import write_student

from rpc.classifiers import write_classifier
from rpc.estimating import LITTLE, Estimating
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2, cost_service_pb2
from stillroom.v1 import embedding_service_pb2 as embedding
from stillroom.v1 import operation_service_pb2 as operations
from stillroom_registry.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StillroomError,
)
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.inference.memory import Memory
from stillroom_server.inference.options import EmbedOptions, plan
from stillroom_server.inference.registry_models import classifier_pool, student_pool
from stillroom_server.operations.store import OperationStore
from stillroom_server.rpc.budgets import BudgetExceeded
from stillroom_server.rpc.classifier_operations import (
    EVALUATE,
    TRAIN,
    ClassifierOperations,
    evaluate_response,
    train_response,
)
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.operation_messages import OperationMessages
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.uploads.store import UploadStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MULTI = pb.CLASSIFICATION_TASK_MULTI_LABEL


def examples(*labels: str, text: str = "a text") -> pb.LabeledData:
    values = [pb.LabeledExample(text=text, labels=[label]) for label in labels]
    return pb.LabeledData(examples=pb.InlineExamples(values=values))


class FakeTeachers:
    """A teacher of 32 dimensions; remembers that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get(self, version: ModelVersion, seconds: float | None) -> FakeTeachers:
        self.asked.append(version.name)
        return self

    def validate(self, options: EmbedOptions) -> None:
        plan(options, dimensions=32, max_tokens=64, prompts={})


class Front:
    """The servicer's work on a fresh data directory with a student ``s``, a teacher ``t``, and
    classifiers ``c`` and ``multi``; nothing runs what it queues."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        (self.root / "d.csv").write_text("text,label\na,b\n")
        (self.root / "config.json").write_text("{}")
        self.registry = Registry.open(folder / "data")
        self.registry.publish("s", ModelKind.STUDENT, write_student(folder / "s"))
        self.registry.publish("t", ModelKind.TEACHER, self.root)
        self.registry.publish("c", ModelKind.CLASSIFIER, write_classifier(folder / "c"))
        multi = write_classifier(folder / "m", multi_label=True)
        self.registry.publish("multi", ModelKind.CLASSIFIER, multi)
        self.store = OperationStore(self.registry.database, lambda: NOW)
        self.uploads = UploadStore(
            folder / "data" / "uploads", clock=lambda: NOW, max_bytes=8 << 20
        )
        self.teachers: Any = FakeTeachers()
        roots, messages = AllowedRoots([self.root]), OperationMessages({})
        memory = Memory()
        self.made = Estimating(self.registry, roots)
        self.made.estimator.takes = lambda _: LITTLE
        estimates = self.made.estimates
        self._operations = ClassifierOperations(
            Launcher(self.registry, self.store, self.uploads, roots, messages, estimates),
            student_pool(self.registry, memory=memory),
            classifier_pool(self.registry, memory=memory),
            self.teachers,
        )

    def train(self, **fields: Any) -> operations_pb2.Operation:
        """Trains ``new`` on ``s`` and two examples unless the fields say something else."""
        given = {"encoder": "s", "name": "new", "data": examples("x", "y"), **fields}
        return asyncio.run(self._operations.train(pb.TrainClassifierRequest(**given), 9.0))

    def evaluate(self, **fields: Any) -> operations_pb2.Operation:
        given = {"model": "c", "data": examples("card"), **fields}
        return asyncio.run(self._operations.evaluate(pb.EvaluateClassifierRequest(**given)))

    def stored(self, operation: operations_pb2.Operation) -> dict[str, Any]:
        """The JSON of the operation that a request became."""
        return dict(self.store.get(operation.name.removeprefix("operations/")).request)

    @property
    def files(self) -> int:
        """How many uploads there are."""
        return len(list(self.uploads._root.iterdir()))


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    made = Front(tmp_path)
    yield made
    made.made.estimates.close()
    made.registry.close()


# Training


def test_a_plain_request(front: Front) -> None:
    operation = front.train()
    assert not operation.done
    metadata = operations.OperationMetadata()
    assert operation.metadata.Unpack(metadata)
    assert (metadata.kind, metadata.target) == (TRAIN, "models/new")
    assert front.stored(operation) == {
        "encoder": "models/s/versions/1",
        "name": "new",
        "description": None,
        "labels": None,
        "options": {},
        "report_options": {},
        "data": {"examples": [["a text", ["x"]], ["a text", ["y"]]]},
    }


def test_everything_that_is_told_is_kept(front: Front) -> None:
    options = pb.ClassifierOptions(
        task=MULTI,
        mlp=pb.MlpHead(hidden_sizes=[64, 32], dropout=0.0),
        encoder_tuning=pb.EncoderTuning(mode=pb.ENCODER_TUNING_MODE_TOKEN_WEIGHTS),
        class_weights=pb.ClassWeights(values={"x": 2.5}),
        encoding=embedding.EmbedOptions(dimensions=8, max_tokens=3),
        seed=2**63,
    )
    operation = front.train(
        encoder="s@1",
        data=pb.LabeledData(path=str(front.root / "d.csv")),
        validation_split=pb.ValidationSplit(held_out=0.25, unstratified=True),
        options=options,
        report_options=pb.ClassificationReportOptions(confused_pairs=0, calibration_bins=20),
        budget=common_pb2.Budget(seconds=60, result_bytes=1 << 30),
        description="for people",
        labels={"team": "search"},
    )
    stored = front.stored(operation)
    assert stored["options"] == {
        "task": "CLASSIFICATION_TASK_MULTI_LABEL",
        "mlp": {"hidden_sizes": [64, 32], "dropout": 0.0},
        "encoder_tuning": {"mode": "ENCODER_TUNING_MODE_TOKEN_WEIGHTS"},
        "class_weights": {"values": {"x": 2.5}},
        "encoding": {"dimensions": 8, "max_tokens": 3},
        "seed": str(2**63),
    }
    assert stored["validation_split"] == {"held_out": 0.25, "unstratified": True}
    assert stored["report_options"] == {"confused_pairs": 0, "calibration_bins": 20}
    assert stored["budget"] == {"seconds": 60.0, "result_bytes": 1 << 30}
    assert (stored["description"], stored["labels"]) == ("for people", {"team": "search"})
    assert stored["data"] == {"path": str(front.root / "d.csv")}


def test_what_is_stored_is_what_the_runner_reads(front: Front) -> None:
    from stillroom_server.classification.request import EvaluateRequest, TrainRequest

    fields = {
        "validation_data": examples("x"),
        "options": pb.ClassifierOptions(linear=pb.LinearHead(l2=0.1), seed=7),
    }
    asked = TrainRequest.from_json(front.stored(front.train(**fields)))
    assert (asked.encoder, asked.name, asked.split) == ("models/s/versions/1", "new", None)
    assert asked.validation_data == {"examples": [["a text", ["x"]]]}
    assert asked.options.seed == 7
    options = pb.ClassifyOptions(abstention_threshold=0.5, truncate=False)
    evaluation = EvaluateRequest.from_json(front.stored(front.evaluate(options=options)))
    assert evaluation.model == "models/c/versions/1"


def test_many_examples_are_spooled_and_freed(front: Front) -> None:
    many = examples(*["x", "y"] * 40, text="w" * 1000)
    stored = front.stored(front.train(data=many, validation_data=many, request_id="again"))
    for name in ("data", "validation_data"):
        assert stored[name]["format"] == {"file_format": "LABELED_FILE_FORMAT_JSONL"}
        assert front.uploads.get(stored[name]["upload"]).complete
    assert front.files == 2
    assert front.stored(front.train(data=many, validation_data=many, request_id="again")) == stored
    assert front.files == 2
    with pytest.raises(InvalidArgument):
        front.train(data=many, validation_data=examples())
    assert front.files == 2


def test_validate_only_changes_nothing(front: Front) -> None:
    operation = front.train(data=examples(*["x"] * 80, text="w" * 1000), validate_only=True)
    assert (operation.done, operation.name) == (True, "")
    response = pb.TrainClassifierResponse()
    assert operation.response.Unpack(response)
    assert not response.HasField("model_version")
    estimate = cost_service_pb2.CostEstimate()
    assert response.estimate.Unpack(estimate)
    assert estimate.kind == TRAIN
    work: Any = front.made.estimator.asked[-1][0]
    assert (work.data.texts.value, work.data.labels.value) == (80, 1)
    assert front.files == 0
    assert front.store.list().items == ()
    with pytest.raises(NotFound):
        front.train(encoder="none", validate_only=True)


def test_a_budget_refuses_before_anything_is_queued(front: Front) -> None:
    for validate_only in (False, True):
        with pytest.raises(BudgetExceeded) as caught:
            front.train(budget=common_pb2.Budget(seconds=1), validate_only=validate_only)
        assert (caught.value.reason, caught.value.field) == ("BUDGET_EXCEEDED", "budget.seconds")
    assert front.store.list().items == ()
    identifier = front.train(budget=common_pb2.Budget(seconds=2)).name.removeprefix("operations/")
    kind, estimate = front.made.ledger.expected[identifier]
    assert (kind, estimate is None) == (TRAIN, False)


def test_an_evaluation_is_measured_without_an_estimate(front: Front) -> None:
    identifier = front.evaluate().name.removeprefix("operations/")
    assert front.made.ledger.expected[identifier] == (EVALUATE, None)


def test_a_teachers_encoding_is_checked_by_the_teacher(front: Front) -> None:
    front.train(encoder="t")
    assert front.teachers.asked == []  # it is not loaded for nothing
    fits = pb.ClassifierOptions(encoding=embedding.EmbedOptions(dimensions=32))
    front.train(encoder="t", options=fits)
    assert front.teachers.asked == ["models/t/versions/1"]
    beyond = pb.ClassifierOptions(encoding=embedding.EmbedOptions(dimensions=33))
    with pytest.raises(InvalidArgument) as caught:
        front.train(encoder="t", options=beyond)
    assert caught.value.field == "options.encoding.dimensions"


TUNED = pb.EncoderTuning(mode=pb.ENCODER_TUNING_MODE_TABLE_AND_TOKEN_WEIGHTS)
NAN = float("nan")


@pytest.mark.parametrize(
    ("fields", "kind", "field"),
    [
        ({"encoder": ""}, InvalidArgument, "encoder"),
        ({"encoder": "No!"}, InvalidArgument, "encoder"),
        ({"encoder": "none"}, NotFound, "encoder"),
        ({"encoder": "s@9"}, NotFound, "encoder"),
        ({"encoder": "c"}, FailedPrecondition, "encoder"),
        ({"name": ""}, InvalidArgument, "name"),
        ({"name": "No!"}, InvalidArgument, "name"),
        ({"name": "s"}, FailedPrecondition, "name"),
        ({"data": None}, InvalidArgument, "data"),
        ({"data": examples("")}, InvalidArgument, "data.examples.values[0]"),
        ({"data": pb.LabeledData(path="/etc/passwd")}, PermissionDenied, "data.path"),
        ({"data": pb.LabeledData(upload="uploads/1")}, InvalidArgument, "data.upload"),
        ({"validation_data": examples()}, InvalidArgument, "validation_data.examples"),
        ({"validation_data": pb.LabeledData()}, InvalidArgument, "validation_data"),
        (
            {"validation_split": pb.ValidationSplit(held_out=0.6)},
            *(InvalidArgument, "validation_split.held_out"),
        ),
        (
            {"validation_split": pb.ValidationSplit(held_out=NAN)},
            *(InvalidArgument, "validation_split.held_out"),
        ),
        (
            {"validation_split": pb.ValidationSplit(folds=1)},
            *(InvalidArgument, "validation_split.folds"),
        ),
        ({"options": pb.ClassifierOptions(task=9)}, InvalidArgument, "options.task"),  # type: ignore[arg-type]
        (
            {"options": pb.ClassifierOptions(focal_gamma=NAN)},
            InvalidArgument,
            "options.focal_gamma",
        ),
        (
            {"options": pb.ClassifierOptions(max_epochs=-1)},
            *(InvalidArgument, "options.max_epochs"),
        ),
        (
            {"encoder": "t", "options": pb.ClassifierOptions(encoder_tuning=TUNED)},
            *(InvalidArgument, "options.encoder_tuning.mode"),
        ),
        (
            {"options": pb.ClassifierOptions(encoding=embedding.EmbedOptions(dimensions=25))},
            *(InvalidArgument, "options.encoding.dimensions"),
        ),
        (
            {
                "options": pb.ClassifierOptions(
                    encoding=embedding.EmbedOptions(element_type=common_pb2.ELEMENT_TYPE_INT8)
                )
            },
            *(InvalidArgument, "options.encoding.element_type"),
        ),
        (
            {"report_options": pb.ClassificationReportOptions(include_html=True)},
            *(InvalidArgument, "report_options.include_html"),
        ),
        (
            {"report_options": pb.ClassificationReportOptions(confused_pairs=1001)},
            *(InvalidArgument, "report_options.confused_pairs"),
        ),
        ({"budget": common_pb2.Budget(seconds=0)}, InvalidArgument, "budget.seconds"),
        ({"budget": common_pb2.Budget(money_usd=-1)}, InvalidArgument, "budget.money_usd"),
        ({"description": "x" * 5000}, InvalidArgument, "description"),
        ({"labels": {"A": "b"}}, InvalidArgument, "labels"),
    ],
)
def test_refused_trainings(
    front: Front, fields: dict[str, Any], kind: type[StillroomError], field: str
) -> None:
    with pytest.raises(kind) as caught:
        front.train(**fields)
    assert caught.value.field == field
    assert front.store.list().items == ()


# Evaluation


def test_an_evaluation(front: Front) -> None:
    options = pb.ClassifyOptions(abstention_threshold=0.0, threshold=0.25, truncate=False)
    operation = front.evaluate(
        model="multi",
        data=pb.LabeledData(
            path=str(front.root / "d.csv"), format=pb.LabeledDataFormat(label_separator=";")
        ),
        options=options,
        report_options=pb.ClassificationReportOptions(include_html=True),
    )
    metadata = operations.OperationMetadata()
    assert operation.metadata.Unpack(metadata)
    assert (metadata.kind, metadata.target) == (EVALUATE, "")
    assert front.stored(operation) == {
        "model": "models/multi/versions/1",
        "data": {"path": str(front.root / "d.csv"), "format": {"label_separator": ";"}},
        "options": {"abstention_threshold": 0.0, "threshold": 0.25, "truncate": False},
        "report_options": {"include_html": True},
    }


@pytest.mark.parametrize(
    ("fields", "kind", "field"),
    [
        ({"model": ""}, InvalidArgument, "model"),
        ({"model": "none"}, NotFound, "model"),
        ({"model": "s"}, FailedPrecondition, "model"),
        ({"data": None}, InvalidArgument, "data"),
        ({"data": examples()}, InvalidArgument, "data.examples"),
        ({"options": pb.ClassifyOptions(top_k=1)}, InvalidArgument, "options.top_k"),
        (
            {"options": pb.ClassifyOptions(include_embeddings=True)},
            *(InvalidArgument, "options.include_embeddings"),
        ),
        ({"options": pb.ClassifyOptions(threshold=0.5)}, InvalidArgument, "options.threshold"),
        (
            {"options": pb.ClassifyOptions(abstention_threshold=2)},
            *(InvalidArgument, "options.abstention_threshold"),
        ),
        (
            {"report_options": pb.ClassificationReportOptions(calibration_bins=1)},
            *(InvalidArgument, "report_options.calibration_bins"),
        ),
        (
            {
                "data": pb.LabeledData(
                    path="d.csv", format=pb.LabeledDataFormat(label_separator=";")
                )
            },
            *(InvalidArgument, "data.path"),
        ),
    ],
)
def test_refused_evaluations(
    front: Front, fields: dict[str, Any], kind: type[StillroomError], field: str
) -> None:
    with pytest.raises(kind) as caught:
        front.evaluate(**fields)
    assert caught.value.field == field
    assert front.store.list().items == ()


# Results

REPORT = {
    "task": "CLASSIFICATION_TASK_SINGLE_LABEL",
    "example_count": 3,
    "accuracy": 0.5,
    "labels": [{"label": "x", "support": 2, "precision": 0.25}, {"label": "y"}],
    "confusion": {
        "labels": ["x", "y"],
        "cells": [
            {"true_index": 0, "given_index": 0, "count": 1},
            {"true_index": 1, "given_index": 0, "count": "2"},
        ],
        "omitted_count": 4,
    },
    "calibration": {"expected_calibration_error": 0.125, "fitted_here": True},
}


def expected_report() -> pb.ClassificationReport:
    return pb.ClassificationReport(
        task=pb.CLASSIFICATION_TASK_SINGLE_LABEL,
        example_count=3,
        accuracy=0.5,
        labels=[
            pb.LabelReport(label="x", support=2, precision=0.25),
            pb.LabelReport(label="y"),
        ],
        confusion=pb.ConfusionMatrix(
            labels=["x", "y"],
            cells=[
                pb.ConfusionCell(true_index=0, given_index=0, count=1),
                pb.ConfusionCell(true_index=1, given_index=0, count=2),
            ],
            omitted_count=4,
        ),
        calibration=pb.CalibrationReport(expected_calibration_error=0.125, fitted_here=True),
    )


def test_results_of_trainings(front: Front) -> None:
    result = {
        "model_version": "models/c/versions/1",
        "classifier": {"labels": ["x", "y"], "temperature": 1.5, "options": {"seed": "7"}},
        "report": REPORT,
        "data": {"example_count": 3, "validation_source": "VALIDATION_SOURCE_FOLDS"},
        "training": {"end": "TRAINING_END_SOLVED", "seconds": {"data": 0.5}},
    }
    found = train_response(result, front.registry)
    assert found.model_version.name == "models/c/versions/1"
    assert found.model_version.files
    assert not found.model_version.HasField("fidelity")
    assert found.classifier == pb.ClassifierDescription(
        labels=["x", "y"], temperature=1.5, options=pb.ClassifierOptions(seed=7)
    )
    assert found.report == expected_report()
    assert found.data.validation_source == pb.VALIDATION_SOURCE_FOLDS
    assert found.training == pb.TrainingReport(end=pb.TRAINING_END_SOLVED, seconds={"data": 0.5})
    front.registry.delete_model("c")
    assert train_response(result, front.registry).model_version.name == "models/c/versions/1"


def test_results_of_evaluations() -> None:
    result = {"model_version": "models/c/versions/1", "report": REPORT, "data": {}, "html": "<p>"}
    assert evaluate_response(result) == pb.EvaluateClassifierResponse(
        model_version="models/c/versions/1",
        report=expected_report(),
        data=pb.DataReport(),
        html="<p>",
    )
    multi = {key: value for key, value in REPORT.items() if key != "confusion"}
    found = evaluate_response({"model_version": "m", "report": multi, "data": {}})
    assert not found.report.HasField("confusion")
    assert found.html == ""
