"""Classifiers from labeled texts to answers: through a real server and its real runner."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from distillation import teachers
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from google.rpc import code_pb2
from inference.students import write_student
from serving import Details, Serving, serving

from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import operation_service_pb2 as operations
from stillroom.v1.classification_service_pb2_grpc import ClassificationServiceStub
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind

WORDS = {
    "card": "card new arrived bank pin code change".split(),  # noqa: SIM905
    "money": "money transfer fee charged twice exchange rate".split(),  # noqa: SIM905
    "help": "please help me i am still waiting".split(),  # noqa: SIM905
}
EVERY = pb.ClassifyOptions(top_k=3)


def rows(number: int, seed: int) -> list[tuple[str, str]]:
    """Texts of words that tell their label."""
    chance = random.Random(seed)
    labels = [label for label in WORDS for _ in range(number)]
    return [(" ".join(chance.choices(WORDS[label], k=5)), label) for label in labels]


def inline(examples: list[tuple[str, str]]) -> pb.LabeledData:
    values = [pb.LabeledExample(text=text, labels=[label]) for text, label in examples]
    return pb.LabeledData(examples=pb.InlineExamples(values=values))


class Room:
    def __init__(self, server: Serving, root: Path) -> None:
        self.server = server
        self.root = root
        self.stub = ClassificationServiceStub(server.channel)

    def ended(self, operation: operations_pb2.Operation) -> operations_pb2.Operation:
        stub = operations_pb2_grpc.OperationsStub(self.server.channel)
        found = stub.WaitOperation(
            operations_pb2.WaitOperationRequest(
                name=operation.name, timeout=duration_pb2.Duration(seconds=100)
            )
        )
        assert found.done
        return found


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    root, data = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("data")
    registry = Registry.open(data)
    registry.publish("s", ModelKind.STUDENT, write_student(root / "student"))
    registry.publish("t", ModelKind.TEACHER, teachers.make("bert", root / "bert"))
    registry.close()
    with (root / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows(20, seed=1), ("card", "unheard of")])
    (root / "one.csv").write_text("text,label\na,x\nb,x\n")
    (root / "torn.csv").write_text("text,label\na,x\nb\n")
    with serving(data, allow_root=[root]) as running:
        yield Room(running, root)


@pytest.fixture(scope="module")
def trained(room: Room) -> pb.TrainClassifierResponse:
    request = pb.TrainClassifierRequest(
        encoder="s",
        name="topics",
        data=inline(rows(60, seed=0)),
        labels={"team": "still"},
        request_id="the-same-request",
    )
    first = room.stub.TrainClassifier(request)
    assert room.stub.TrainClassifier(request).name == first.name
    operation = room.ended(first)
    assert not operation.HasField("error"), operation.error
    metadata = operations.OperationMetadata()
    assert operation.metadata.Unpack(metadata)
    assert (metadata.kind, metadata.target) == ("train_classifier", "models/topics")
    response = pb.TrainClassifierResponse()
    assert operation.response.Unpack(response)
    return response


def test_a_training_tells_what_it_made(trained: pb.TrainClassifierResponse) -> None:
    version = trained.model_version
    assert version.name == "models/topics/versions/1"
    assert list(version.parents) == ["models/s/versions/1"]
    assert "report.html" in {file.path for file in version.files}
    assert not version.HasField("fidelity")
    assert list(trained.classifier.labels) == sorted(WORDS)
    assert trained.classifier.encoder_version == "models/s/versions/1"
    assert trained.classifier.task == pb.CLASSIFICATION_TASK_SINGLE_LABEL
    assert trained.report.accuracy > 0.9
    assert sum(cell.count for cell in trained.report.confusion.cells) == (
        trained.report.example_count
    )
    assert trained.data.example_count == 180
    assert trained.data.digest.startswith("sha256:")
    assert sum(candidate.chosen for candidate in trained.training.candidates) == 1
    assert trained.training.onnx_parity.label_disagreements == 0
    assert trained.training.onnx_parity.texts > 0


def test_it_classifies_at_once(room: Room, trained: pb.TrainClassifierResponse) -> None:
    asked = rows(5, seed=2)
    request = pb.ClassifyRequest(model="topics", texts=[text for text, _ in asked])
    found = room.stub.Classify(request).classifications
    assert found.model_version == trained.model_version.name
    given = [found.labels[index] for index in found.label_indices]
    right = sum(one == other for one, (_, other) in zip(given, asked, strict=True))
    assert right >= len(asked) - 1


def test_it_is_measured_on_other_data(room: Room, trained: pb.TrainClassifierResponse) -> None:
    request = pb.EvaluateClassifierRequest(
        model="topics",
        data=pb.LabeledData(path=str(room.root / "test.csv")),
        options=pb.ClassifyOptions(abstention_threshold=0.0),
        report_options=pb.ClassificationReportOptions(include_html=True, calibration_bins=5),
    )
    operation = room.ended(room.stub.EvaluateClassifier(request))
    assert not operation.HasField("error"), operation.error
    response = pb.EvaluateClassifierResponse()
    assert operation.response.Unpack(response)
    assert response.model_version == trained.model_version.name
    assert response.report.example_count == 61
    assert response.report.accuracy > 0.85
    assert [each.label for each in response.report.labels] == [*sorted(WORDS), "unheard of"]
    assert len(response.report.calibration.bins) == 5
    kinds = {issue.kind for issue in response.data.issues}
    assert pb.DATA_ISSUE_KIND_LABEL_UNKNOWN_TO_CLASSIFIER in kinds
    assert response.html.lower().startswith("<!doctype html>")
    stub = ModelServiceStub(room.server.channel)
    listed = stub.ListModelVersions(models.ListModelVersionsRequest(parent="topics"))
    assert [version.name for version in listed.model_versions] == [trained.model_version.name]


@pytest.mark.parametrize(
    ("file", "code", "field", "reason"),
    [
        ("one.csv", code_pb2.INVALID_ARGUMENT, "data", "SINGLE_CLASS"),
        ("torn.csv", code_pb2.INVALID_ARGUMENT, "data", "ROW_SHAPE"),
    ],
)
def test_what_shows_only_while_it_runs(
    room: Room, file: str, code: int, field: str, reason: str
) -> None:
    request = pb.TrainClassifierRequest(
        encoder="s", name="never", data=pb.LabeledData(path=str(room.root / file))
    )
    operation = room.ended(room.stub.TrainClassifier(request))
    assert operation.error.code == code
    details = Details(operation.error)
    assert (details.field, details.info.reason) == (field, reason)
    stub = ModelServiceStub(room.server.channel)
    names = [model.name for model in stub.ListModels(models.ListModelsRequest()).models]
    assert "models/never" not in names


def test_a_classifier_on_a_teacher(room: Room) -> None:
    request = pb.TrainClassifierRequest(
        encoder="t",
        name="taught",
        data=inline(rows(20, seed=0)),
        options=pb.ClassifierOptions(linear=pb.LinearHead(solver=pb.LINEAR_SOLVER_LBFGS)),
        validation_split=pb.ValidationSplit(held_out=0.3),
    )
    operation = room.ended(room.stub.TrainClassifier(request))
    assert not operation.HasField("error"), operation.error
    response = pb.TrainClassifierResponse()
    assert operation.response.Unpack(response)
    assert response.classifier.encoder_version == "models/t/versions/1"
    asked = rows(4, seed=3)
    texts = [text for text, _ in asked]
    unary = room.stub.Classify(pb.ClassifyRequest(model="taught", texts=texts, options=EVERY))
    items = (pb.ClassifyStreamRequest(model="taught", texts=[t], options=EVERY) for t in texts)
    streamed = [answer.classifications for answer in room.stub.ClassifyStream(items)]
    together = list(unary.classifications.probabilities)
    alone = [value for each in streamed for value in each.probabilities]
    assert alone == pytest.approx(together, abs=1e-4)
    measured = room.ended(
        room.stub.EvaluateClassifier(
            pb.EvaluateClassifierRequest(model="taught", data=inline(asked))
        )
    )
    report = pb.EvaluateClassifierResponse()
    assert measured.response.Unpack(report), measured.error
    names = [each.labels[each.label_indices[0]] for each in streamed]
    right = sum(name == label for name, (_, label) in zip(names, asked, strict=True))
    assert report.report.accuracy == pytest.approx(right / len(asked))
    delete = models.DeleteModelRequest(name="t", force=True)
    ModelServiceStub(room.server.channel).DeleteModel(delete)
    with pytest.raises(grpc.RpcError) as caught:
        room.stub.Classify(pb.ClassifyRequest(model="taught", texts=texts))
    details = Details(caught.value)
    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.info.reason == "ENCODER_DELETED"
