"""Estimates of operations that run, and what they then took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import timestamp_pb2
from serving import Details, Serving

from stillroom.v1 import (
    common_pb2,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
)
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import cost_service_pb2_grpc as stubs
from stillroom.v1 import distillation_service_pb2 as distillation
from stillroom.v1 import distillation_service_pb2_grpc as distillation_stubs
from stillroom.v1 import operation_service_pb2 as operations


def test_nothing_has_run_yet(server: Serving) -> None:
    stub = stubs.CostServiceStub(server.channel)
    found = stub.GetEstimateAccuracy(pb.GetEstimateAccuracyRequest(page_size=10), timeout=60)
    assert not found.accuracies
    assert not found.entries


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"kind": "nonsense"}, "INVALID_ARGUMENT", "kind"),
        ({"operation": "operations/0123"}, "NOT_FOUND", "operation"),
        ({"page_size": -1}, "INVALID_ARGUMENT", "page_size"),
        ({"page_token": "nonsense"}, "INVALID_ARGUMENT", "page_token"),
        (
            {"start_time": timestamp_pb2.Timestamp(seconds=-(10**14))},
            *("INVALID_ARGUMENT", "start_time"),
        ),
    ],
)
def test_bad_questions_about_the_ledger(
    server: Serving, fields: dict[str, Any], code: str, field: str
) -> None:
    stub = stubs.CostServiceStub(server.channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetEstimateAccuracy(pb.GetEstimateAccuracyRequest(**fields), timeout=60)
    details = Details(caught.value)
    assert (details.code.name, details.field) == (code, field)


def test_a_budget_that_is_not_kept_is_refused_with_the_estimate(server: Serving) -> None:
    stub = distillation_stubs.DistillationServiceStub(server.channel)
    request = distillation.DistillRequest(
        teacher="t", name="n", static={}, budget=common_pb2.Budget(seconds=1e-6)
    )
    with pytest.raises(grpc.RpcError) as caught:
        stub.Distill(request, timeout=60)
    details = Details(caught.value)
    assert (details.code.name, details.info.reason) == ("FAILED_PRECONDITION", "BUDGET_EXCEEDED")
    assert details.field == "budget.seconds"
    estimate = pb.CostEstimate()
    assert [each.Unpack(estimate) for each in details.status.details].count(True) == 1
    assert estimate.budget_check.limits[0].ratio > 1
    assert not estimate.physical.phases


def test_an_import_is_compared_with_what_it_took(server: Serving, root: Path) -> None:
    request = model_service_pb2.ImportModelRequest(
        name="again",
        kind=model_pb2.MODEL_KIND_STUDENT,
        source=common_pb2.ModelSource(path=str(root / "student")),
    )
    stub = model_service_pb2_grpc.ModelServiceStub(server.channel)
    name = stub.ImportModel(request, timeout=60).name
    watched = server.channel.unary_stream("/stillroom.v1.OperationService/WatchOperation")(
        operations.WatchOperationRequest(name=name).SerializeToString(), timeout=60
    )
    last = [operations.WatchOperationResponse.FromString(data) for data in watched][-1]
    assert last.operation.HasField("response"), last.operation.error
    found = stubs.CostServiceStub(server.channel).GetEstimateAccuracy(
        pb.GetEstimateAccuracyRequest(operation=name, page_size=1), timeout=60
    )
    (entry,) = found.entries
    assert (entry.operation, entry.kind, entry.succeeded) == (name, "import", True)
    assert entry.estimate.physical.total.wall_seconds.p50 > 0
    assert entry.measured.wall_seconds.basis == pb.COST_BASIS_MEASURED
    assert entry.measured.wall_seconds.p50 > 0
