"""Estimates as messages, and requests as JSON."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stillroom.v1 import common_pb2
from stillroom.v1 import cost_service_pb2 as pb
from stillroom.v1 import distillation_service_pb2 as distillation
from stillroom_registry.errors import InvalidArgument
from stillroom_server.rpc.cost_messages import made, packed, plain
from stillroom_server.rpc.json_messages import from_json

FIGURE = {"p10": 1, "p50": 2.5, "p90": 1e300, "basis": "COST_BASIS_CALIBRATED", "note": "é"}
ESTIMATE: dict[str, Any] = {
    "kind": "distill",
    "runnable": True,
    "physical": {
        "phases": [{"phase": "encode", "resources": {"flops": FIGURE}, "units": FIGURE}],
        "total": {"wall_seconds": FIGURE, "money_usd": {"basis": "COST_BASIS_UNKNOWN"}},
        "calibration": {"calibration_time": "2026-11-22T06:00:00.250000Z", "rates": []},
    },
    "memory_fit": {"verdict": "VERDICT_KEPT", "available_bytes": 1 << 40},
    "estimate_time": "2026-11-22T06:00:00+00:00",
}


def test_the_quick_way_makes_the_same_message() -> None:
    found = made(pb.CostEstimate, ESTIMATE)
    assert found == from_json(ESTIMATE, pb.CostEstimate())
    assert found.physical.calibration.calibration_time.nanos == 250_000_000
    assert found.estimate_time.seconds == 1_795_327_200
    within = made(pb.EstimateCostResponse, {"estimate": ESTIMATE})
    assert within.estimate == found


@pytest.mark.parametrize(
    "change",
    [
        {"title": "known", "field_of_another_release": 1},
        {"memory_fit": {"verdict": "VERDICT_OF_ANOTHER_RELEASE"}},
        {"memory_fit": {"available_bytes": str(1 << 60)}},
        {"memory_fit": {"available_bytes": 5.0}},
    ],
)
def test_what_is_stored_may_be_of_another_release(change: dict[str, Any]) -> None:
    values = {**ESTIMATE, **change}
    assert made(pb.CostEstimate, values) == from_json(values, pb.CostEstimate())


def test_any_holds_the_estimate() -> None:
    found = pb.CostEstimate()
    message = packed(ESTIMATE)
    assert message is not None
    assert message.Unpack(found)
    assert found.kind == "distill"
    assert packed(None) is None


def test_a_request_as_json_has_numbers_for_integers_of_64_bits() -> None:
    request = distillation.DistillRequest(
        teacher="t",
        static=distillation.StaticRecipe(
            seed=2**64 - 1, element_type=common_pb2.ELEMENT_TYPE_INT8, add_words=["a", "b"]
        ),
        budget=common_pb2.Budget(memory_bytes=1 << 40, seconds=1.5),
        labels={"team": "search"},
    )
    told = plain(request, "workload.distill")
    assert told == {
        "teacher": "t",
        "static": {
            "element_type": "ELEMENT_TYPE_INT8",
            "seed": 2**64 - 1,
            "add_words": ["a", "b"],
        },
        "budget": {"memory_bytes": 1 << 40, "seconds": 1.5},
        "labels": {"team": "search"},
    }
    assert made(distillation.DistillRequest, told) == request
    unset = plain(pb.CostEnvironment(price_usd_per_hour=0.0), "environment")
    assert unset == {"price_usd_per_hour": 0.0}  # it has a presence of its own


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.CostEnvironment(pue=math.nan), "environment.pue"),
        (pb.RecommendationOptions(objective=99), "environment.objective"),  # type: ignore[arg-type]
    ],
)
def test_what_json_cannot_say_is_refused(message: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plain(message, "environment")
    assert caught.value.field == field
