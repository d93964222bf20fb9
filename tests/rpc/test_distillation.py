"""Imports and distillations through a real server and its real runner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from distillation import teachers
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from google.rpc import code_pb2
from serving import Details, Serving, serving

from stillroom.v1 import common_pb2, fidelity_pb2
from stillroom.v1 import distillation_service_pb2 as pb
from stillroom.v1 import embedding_service_pb2 as embedding
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import operation_service_pb2 as operations
from stillroom.v1.distillation_service_pb2_grpc import DistillationServiceStub
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub
from stillroom.v1.operation_service_pb2_grpc import OperationServiceStub

STATE = operations.OperationState
DIMENSIONS = 12


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    teachers.make("bert", folder / "bert")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("data"), allow_root=[root]) as running:
        yield running


def source(path: Path) -> common_pb2.ModelSource:
    return common_pb2.ModelSource(path=str(path))


def watched(
    server: Serving, operation: operations_pb2.Operation
) -> list[tuple[operations_pb2.Operation, operations.OperationMetadata]]:
    stub = OperationServiceStub(server.channel)
    request = operations.WatchOperationRequest(name=operation.name)
    states = []
    for answer in stub.WatchOperation(request, timeout=120):
        metadata = operations.OperationMetadata()
        assert answer.operation.metadata.Unpack(metadata)
        states.append((answer.operation, metadata))
    return states


@pytest.fixture(scope="module")
def distilled(server: Serving, root: Path) -> pb.DistillResponse:
    """A student from a teacher that the same request imports."""
    request = pb.DistillRequest(
        teacher_import=source(root / "bert"),
        name="small",
        static=pb.StaticRecipe(dimensions=DIMENSIONS, add_words=["zymurgy"]),
        labels={"team": "still"},
        request_id="the-same-request",
    )
    stub = DistillationServiceStub(server.channel)
    operation = stub.Distill(request)
    states = watched(server, operation)
    last, metadata = states[-1]
    assert last.done
    assert not last.HasField("error"), last.error
    assert metadata.state == STATE.OPERATION_STATE_SUCCEEDED
    assert metadata.target == "models/small"
    assert (metadata.progress.phase, metadata.progress.fraction) == ("publish", 1.0)
    assert metadata.progress.phase_index == metadata.progress.phase_count
    assert [m.progress.fraction for _, m in states] == sorted(
        m.progress.fraction for _, m in states
    )
    assert stub.Distill(request).name == operation.name  # idempotent
    response = pb.DistillResponse()
    assert last.response.Unpack(response)
    return response


def test_one_request_imports_the_teacher_and_distills(
    server: Serving, distilled: pb.DistillResponse
) -> None:
    assert distilled.teacher_version == "models/small-teacher/versions/1"
    version = distilled.model_version
    assert (version.name, list(version.parents)) == (
        "models/small/versions/1",
        ["models/small-teacher/versions/1"],
    )
    assert {"onnx/model.onnx", "model.safetensors", "tokenizer.json", "stillroom.json"} <= {
        file.path for file in version.files
    }
    report = distilled.report
    assert report.dimensions == DIMENSIONS
    assert report.onnx_parity.runs == 200
    assert report.onnx_parity.min_cosine > 0.99999
    assert {"load", "encode", "verify"} <= set(report.seconds)


def test_the_report_stays_with_the_version(server: Serving, distilled: pb.DistillResponse) -> None:
    answer = ModelServiceStub(server.channel).GetModelVersion(
        models.GetModelVersionRequest(name="small@1")
    )
    report = answer.model_version.fidelity
    assert report == distilled.report
    assert report.recipe == "static"
    assert report.element_type == common_pb2.ELEMENT_TYPE_FLOAT16
    assert report.text_source == fidelity_pb2.FIDELITY_TEXTS_BUILT_IN
    assert report.texts > 0
    assert -1 <= report.similarity_spearman <= 1
    assert report.prefixes[-1].dimensions == DIMENSIONS
    assert {loss.element_type for loss in report.quantizations} >= {
        common_pb2.ELEMENT_TYPE_FLOAT32,
        common_pb2.ELEMENT_TYPE_INT8,
    }
    assert report.student_texts_per_second > 0


def test_a_student_that_is_not_good_enough_is_not_registered(
    server: Serving, distilled: pb.DistillResponse
) -> None:
    pairs = [
        pb.SimilarityPair(similarity=index, first="the quick fox", second=text)
        for index, text in enumerate(["a dog", "the fox", "the quick fox jumps"])
    ]
    operation = DistillationServiceStub(server.channel).Distill(
        pb.DistillRequest(
            teacher="small-teacher",
            name="poor",
            static=pb.StaticRecipe(dimensions=2),
            minimum_fidelity=pb.MinimumFidelity(mean_cosine=1.0),
            evaluations=[
                pb.EvaluationSet(
                    name="mine",
                    kind=fidelity_pb2.EVALUATION_KIND_SIMILARITY,
                    pairs=pb.SimilarityPairs(values=pairs),
                )
            ],
        )
    )
    last, metadata = watched(server, operation)[-1]
    assert metadata.state == STATE.OPERATION_STATE_FAILED
    details = Details(last.error)
    assert details.info.reason == "FIDELITY_TOO_LOW"
    report = fidelity_pb2.FidelityReport()
    assert any(detail.Unpack(report) for detail in last.error.details)
    assert report.mean_cosine < 1.0
    assert [(score.name, score.count) for score in report.scores] == [("mine", 3)]
    with pytest.raises(grpc.RpcError) as caught:
        ModelServiceStub(server.channel).GetModel(models.GetModelRequest(name="poor"))
    assert Details(caught.value).code is grpc.StatusCode.NOT_FOUND


def test_a_student_is_quantized(server: Serving, distilled: pb.DistillResponse) -> None:
    operation = DistillationServiceStub(server.channel).Distill(
        pb.DistillRequest(
            teacher="small@1",
            name="smaller",
            quantize=pb.QuantizeRecipe(element_type=common_pb2.ELEMENT_TYPE_INT8),
        )
    )
    last, _ = watched(server, operation)[-1]
    response = pb.DistillResponse()
    assert last.response.Unpack(response), last.error
    assert response.teacher_version == "models/small/versions/1"
    assert response.report.recipe == "quantize"
    assert response.report.mean_cosine > 0.99
    assert response.report.student_bytes < response.report.teacher_bytes


def test_the_student_serves_at_once(server: Serving, distilled: pb.DistillResponse) -> None:
    answer = EmbeddingServiceStub(server.channel).Embed(
        embedding.EmbedRequest(model="small", texts=["zymurgy", "the quick fox"])
    )
    assert answer.embeddings.model_version == distilled.model_version.name
    assert answer.embeddings.token_counts[0] == 1  # the added word
    assert answer.embeddings.vectors.dimensions == DIMENSIONS


def test_a_registered_teacher_is_named_by_version(
    server: Serving, distilled: pb.DistillResponse
) -> None:
    stub = DistillationServiceStub(server.channel)
    request = pb.DistillRequest(
        teacher="small-teacher",
        name="second",
        static=pb.StaticRecipe(
            variance=0.9, element_type=common_pb2.ELEMENT_TYPE_INT8, sif_coefficient=0
        ),
    )
    last, _ = watched(server, stub.Distill(request))[-1]
    response = pb.DistillResponse()
    assert last.response.Unpack(response), last.error
    assert response.report.explained_variance >= 0.9
    assert response.model_version.metadata["options"]["element_type"] == "int8"


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (pb.DistillRequest(name="x"), "INVALID_ARGUMENT", "teacher"),
        (pb.DistillRequest(teacher="small-teacher"), "INVALID_ARGUMENT", "name"),
        (pb.DistillRequest(teacher="gone", name="x"), "NOT_FOUND", None),
        (pb.DistillRequest(teacher="small", name="x"), "FAILED_PRECONDITION", "teacher"),
        (
            pb.DistillRequest(teacher="small-teacher", name="small-teacher"),
            *("FAILED_PRECONDITION", "name"),
        ),
        (
            pb.DistillRequest(teacher="small-teacher", name="x", teacher_name="y"),
            *("INVALID_ARGUMENT", "teacher_name"),
        ),
        (
            pb.DistillRequest(teacher_import=common_pb2.ModelSource(path="/etc"), name="x"),
            *("PERMISSION_DENIED", "teacher_import.path"),
        ),
        (
            pb.DistillRequest(
                teacher="small-teacher", name="x", static=pb.StaticRecipe(dimensions=-3)
            ),
            *("INVALID_ARGUMENT", "static.dimensions"),
        ),
        (
            pb.DistillRequest(
                teacher="small-teacher", name="x", static=pb.StaticRecipe(variance=1.5)
            ),
            *("INVALID_ARGUMENT", "static.dimensions"),
        ),
        (
            pb.DistillRequest(
                teacher="small-teacher", name="x", static=pb.StaticRecipe(all_dimensions=False)
            ),
            *("INVALID_ARGUMENT", "static.all_dimensions"),
        ),
        (
            pb.DistillRequest(
                teacher="small-teacher",
                name="x",
                static=pb.StaticRecipe(element_type=common_pb2.ELEMENT_TYPE_BINARY),
            ),
            *("INVALID_ARGUMENT", "static.element_type"),
        ),
        (
            pb.DistillRequest(
                teacher="small-teacher", name="x", static=pb.StaticRecipe(remove_pattern="(")
            ),
            *("INVALID_ARGUMENT", "static.remove_pattern"),
        ),
        (
            pb.DistillRequest(
                teacher="small-teacher", name="x", transformer=pb.TransformerRecipe()
            ),
            *("INVALID_ARGUMENT", "corpus"),
        ),
        (
            pb.DistillRequest(
                teacher="small-teacher", name="x", corpus=common_pb2.Corpus(path="/x")
            ),
            *("PERMISSION_DENIED", "corpus.path"),
        ),
    ],
)
def test_bad_requests_make_no_operation(
    server: Serving,
    distilled: pb.DistillResponse,
    request_: pb.DistillRequest,
    code: str,
    field: str | None,
) -> None:
    stub = operations_pb2_grpc.OperationsStub(server.channel)
    before = len(stub.ListOperations(operations_pb2.ListOperationsRequest()).operations)
    with pytest.raises(grpc.RpcError) as caught:
        DistillationServiceStub(server.channel).Distill(request_)
    details = Details(caught.value)
    assert details.code.name == code
    if field is not None:
        assert details.field == field
    after = stub.ListOperations(operations_pb2.ListOperationsRequest()).operations
    assert len(after) == before


def test_what_shows_only_later_ends_the_operation_with_its_error(
    server: Serving, root: Path, distilled: pb.DistillResponse
) -> None:
    importing = ModelServiceStub(server.channel).ImportModel(
        models.ImportModelRequest(name="nothing", source=source(root / "empty"))
    )
    distilling = DistillationServiceStub(server.channel).Distill(
        pb.DistillRequest(
            teacher="small-teacher", name="x", static=pb.StaticRecipe(dimensions=5000)
        )
    )
    last, metadata = watched(server, importing)[-1]
    assert metadata.state == STATE.OPERATION_STATE_FAILED
    details = Details(last.error)
    assert (details.code.name, details.info.reason) == ("INVALID_ARGUMENT", "NOT_A_MODEL")
    last, _ = watched(server, distilling)[-1]
    assert Details(last.error).field == "static.dimensions"
    with pytest.raises(grpc.RpcError):
        ModelServiceStub(server.channel).GetModel(models.GetModelRequest(name="nothing"))


def test_operations_are_listed_waited_for_cancelled_and_deleted(
    server: Serving, distilled: pb.DistillResponse
) -> None:
    stub = operations_pb2_grpc.OperationsStub(server.channel)
    operation = DistillationServiceStub(server.channel).Distill(
        pb.DistillRequest(teacher="small-teacher", name="never")
    )
    stub.CancelOperation(operations_pb2.CancelOperationRequest(name=operation.name))
    timeout = duration_pb2.Duration(seconds=120)
    waited = stub.WaitOperation(
        operations_pb2.WaitOperationRequest(name=operation.name, timeout=timeout)
    )
    assert waited.done
    assert waited.error.code == code_pb2.CANCELLED
    asked = operations_pb2.ListOperationsRequest(filter="kind=distill AND state=cancelled")
    listed = stub.ListOperations(asked).operations
    assert operation.name in {item.name for item in listed}
    stub.DeleteOperation(operations_pb2.DeleteOperationRequest(name=operation.name))
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetOperation(operations_pb2.GetOperationRequest(name=operation.name))
    assert Details(caught.value).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["", "operations/", "nope", "operations/../x", "operations/é"])
def test_names_that_no_operation_has(server: Serving, name: str) -> None:
    stub = operations_pb2_grpc.OperationsStub(server.channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetOperation(operations_pb2.GetOperationRequest(name=name))
    assert Details(caught.value).code.name in {"INVALID_ARGUMENT", "NOT_FOUND"}


def test_filters_that_mean_nothing_are_refused(server: Serving) -> None:
    stub = operations_pb2_grpc.OperationsStub(server.channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ListOperations(operations_pb2.ListOperationsRequest(filter="color=red"))
    assert Details(caught.value).field == "filter"
