"""Budgets are judged before anything is queued; what nobody can judge is refused."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2

from rpc.estimating import Estimating, figure, options, title, training_seconds, write_teacher
from stillroom.v1 import common_pb2, cost_service_pb2
from stillroom.v1 import distillation_service_pb2 as pb
from stillroom_registry.errors import DataLoss, FailedPrecondition
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, system_clock
from stillroom_server.cost.policy import Policy
from stillroom_server.cost.workloads import DistillWork, Work
from stillroom_server.operations.store import OperationStore
from stillroom_server.rpc import errors
from stillroom_server.rpc.budgets import BudgetExceeded
from stillroom_server.rpc.cost_messages import short
from stillroom_server.rpc.distillation import DistillationServicer
from stillroom_server.rpc.estimates import Estimates
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.operation_messages import OperationMessages
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.uploads.store import UploadStore

MANY = common_pb2.Corpus(texts=common_pb2.InlineTexts(values=[f"text {i}" for i in range(200)]))


class Front:
    """The servicer over a teacher ``t`` of 64 dimensions and estimates that a test decides."""

    def __init__(self, folder: Path) -> None:
        root = folder / "root"
        root.mkdir()
        write_teacher(root)
        self.registry = Registry.open(folder / "data")
        self.registry.publish("t", ModelKind.TEACHER, root)
        self.store = OperationStore(self.registry.database, system_clock)
        roots = AllowedRoots([root])
        self.made = Estimating(self.registry, roots)
        self.launcher = Launcher(
            self.registry,
            self.store,
            UploadStore(folder / "data" / "uploads", clock=system_clock, max_bytes=8 << 20),
            roots,
            OperationMessages({}),
            self.made.estimates,
        )
        self._servicer = DistillationServicer(self.launcher)

    def ask(self, **fields: Any) -> operations_pb2.Operation:
        request = pb.DistillRequest(**{"teacher": "t", "name": "new", **fields})
        call: Any = None
        return asyncio.run(self._servicer.Distill(request, call))

    def stored(self, **fields: Any) -> dict[str, Any]:
        operation = self.ask(**fields)
        return dict(self.store.get(operation.name.removeprefix("operations/")).request)

    def refused(self, **fields: Any) -> BudgetExceeded:
        with pytest.raises(BudgetExceeded) as caught:
            self.ask(**fields)
        assert self.store.list().items == ()
        return caught.value


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    made = Front(tmp_path)
    yield made
    made.made.estimates.close()
    made.registry.close()


def budget(**limits: Any) -> common_pb2.Budget:
    return common_pb2.Budget(**limits)


# The estimate of every operation


def test_the_ledger_is_told_in_the_transaction_that_makes_the_operation(front: Front) -> None:
    operation = front.ask()
    kind, estimate = front.made.ledger.expected[operation.name.removeprefix("operations/")]
    assert kind == "distill"
    assert estimate is not None
    assert estimate["physical"]["total"]["wall_seconds"] == figure(10.0)


def test_an_estimate_that_fails_prevents_nothing(front: Front) -> None:
    for failure in (DataLoss("damaged"), RuntimeError("a mistake")):
        front.made.estimator.fails = failure
        operation = front.ask()
        identifier = operation.name.removeprefix("operations/")
        assert front.made.ledger.expected[identifier] == ("distill", None)


def test_a_ledger_that_refuses_an_estimate_prevents_nothing(front: Front) -> None:
    expected = front.made.ledger.expect

    def refusing(connection: Any, identifier: str, kind: str, estimate: Any) -> None:
        if estimate is not None:
            raise ValueError("these are no figures")
        expected(connection, identifier, kind, estimate)

    front.made.ledger.expect = refusing  # type: ignore[method-assign]
    identifier = front.ask().name.removeprefix("operations/")
    assert front.made.ledger.expected[identifier] == ("distill", None)


def test_an_operator_may_forbid_that_operations_measure_the_host(front: Front) -> None:
    front.ask()
    made = front.made
    made.estimates.close()
    front.launcher.estimates = Estimates(
        made.estimates.works, made.estimator, made.ledger, calibrate=False
    )
    front.launcher.estimates.quietly("distill", {"teacher": "t", "recipe": {"static": {}}})
    assert [policy for *_, policy in made.estimator.asked] == [Policy.WHEN_NEEDED, Policy.NEVER]
    front.launcher.estimates.close()


# Validation


def test_a_checked_request_answers_its_estimate(front: Front) -> None:
    operation = front.ask(validate_only=True, corpus=MANY)
    answer, estimate = pb.DistillResponse(), cost_service_pb2.CostEstimate()
    assert operation.response.Unpack(answer)
    assert answer.estimate.Unpack(estimate)
    assert (estimate.kind, estimate.physical.total.wall_seconds.p50) == ("distill", 10.0)
    assert len(estimate.physical.phases) == 2
    assert not front.made.ledger.expected
    work = front.made.estimator.asked[-1][0]
    assert isinstance(work, DistillWork)
    assert work.data.texts is not None
    assert work.data.texts.value == 200


def test_many_inline_texts_are_looked_at_without_being_stored(front: Front) -> None:
    corpus = common_pb2.Corpus(
        texts=common_pb2.InlineTexts(values=[f"{i} " * 50 for i in range(999)])
    )
    front.ask(validate_only=True, corpus=corpus)
    work = front.made.estimator.asked[-1][0]
    assert isinstance(work, DistillWork)
    assert work.data.texts is not None
    assert work.data.texts.value == 999


def test_what_fails_to_be_estimated_is_no_valid_answer(front: Front) -> None:
    front.made.estimator.fails = DataLoss("damaged")
    with pytest.raises(DataLoss):
        front.ask(validate_only=True)
    with pytest.raises(DataLoss):
        front.ask(budget=budget(seconds=5))


# Budgets


@pytest.mark.parametrize("validate_only", [False, True])
def test_what_exceeds_its_budget_at_the_90th_percentile_is_refused(
    front: Front, validate_only: bool
) -> None:
    """10 s are within 12, but 15 are not."""
    error = front.refused(
        static=pb.StaticRecipe(), budget=budget(seconds=12), validate_only=validate_only
    )
    assert isinstance(error, FailedPrecondition)
    assert (error.reason, error.field) == ("BUDGET_EXCEEDED", "budget.seconds")
    assert "up to 15" in error.message
    assert error.metadata == {"seconds": "up to 15"}


def test_what_keeps_it_is_queued(front: Front) -> None:
    stored = front.stored(static=pb.StaticRecipe(), budget=budget(seconds=15))
    assert list(stored["recipe"]) == ["static"]


def test_what_nobody_knows_keeps_no_budget(front: Front) -> None:
    error = front.refused(static=pb.StaticRecipe(), budget=budget(seconds=1e6, money_usd=1e6))
    assert error.field == "budget.money_usd"
    assert error.metadata == {"money_usd": "unknown (nobody knows)"}


def test_the_refusal_brings_the_estimate_in_small(front: Front) -> None:
    status = errors.to_status(front.refused(budget=budget(seconds=1)))
    found = cost_service_pb2.CostEstimate()
    assert [detail.Unpack(found) for detail in status.details].count(True) == 1
    assert found.budget_check.verdict == cost_service_pb2.VERDICT_EXCEEDED
    assert found.budget_check.limits[0].ratio == 15.0
    assert found.physical.total.wall_seconds.p90 == 15.0
    for name in ("phases", "assumptions", "omissions"):
        assert not getattr(found.physical, name)
    (packed,) = (value for key, value in errors.trailers(status) if key == errors.DETAILS_KEY)
    assert isinstance(packed, bytes)
    assert len(base64.b64encode(packed)) < 7_000


def test_a_large_estimate_loses_what_matters_least() -> None:
    note = "why this is not known, at length: " * 10
    unknown = {"basis": "COST_BASIS_UNKNOWN", "note": note}
    rate = {"name": "teacher.forward", "unit": "tokens", "slope_seconds": 1e-6}
    told = {"value": 1.0, "baseline": "b" * 200, "source": "s" * 200}
    limit = {"limit": "seconds", "value": 1.0, "estimate": figure(2.0)}
    estimate = {
        "kind": "distill",
        "table": {"memory_multiplier": told, "training_speedup": told},
        "physical": {
            "total": {"wall_seconds": figure(2.0), "flops": unknown, "money_usd": unknown},
            "calibration": {"fingerprint": "sha256:x", "rates": [rate] * 100},
        },
        "disagreements": [{"figure": "training_speedup", "note": note}] * 5,
        "budget_check": {"verdict": "VERDICT_EXCEEDED", "limits": [limit]},
        "outcome": dict.fromkeys(("quality", "result_bytes", "texts_per_second"), unknown),
    }
    found = short(estimate)
    assert found.ByteSize() <= 3_500
    assert found.budget_check.limits[0].estimate.p90 == 3.0
    assert found.physical.total.wall_seconds.p90 == 3.0
    assert found.physical.calibration.fingerprint == "sha256:x"
    assert short({"kind": "paradigm"}) == cost_service_pb2.CostEstimate(kind="paradigm")


def test_a_repeated_request_is_not_judged_again(front: Front) -> None:
    """The operation is there: that estimates have become longer refuses nothing any more."""
    fields: dict[str, Any] = {"static": {}, "budget": budget(seconds=15), "request_id": "once"}
    name = front.ask(**fields).name
    front.made.estimator.takes = lambda _: {"seconds": 1e9}
    assert front.ask(**fields).name == name
    with pytest.raises(BudgetExceeded):
        front.ask(**{**fields, "request_id": "another"})
    with pytest.raises(BudgetExceeded):
        front.ask(**fields, validate_only=True)


# The choice that is left to the server


def by_recipe(**seconds: float) -> Any:
    """Seconds by the name of a recipe; of a tuned one its training comes on top."""

    def takes(work: Work) -> dict[str, float | None]:
        return {"seconds": seconds[title(work)] + training_seconds(work)}

    return takes


def test_auto_takes_the_best_that_fits(front: Front) -> None:
    front.made.estimator.takes = by_recipe(static=5.0, static_tuned=20.0)
    wide = front.stored(corpus=MANY, budget=budget(seconds=1e5))
    assert list(wide["recipe"]) == ["static_tuned"]
    assert wide["recipe"]["static_tuned"]["time_budget_seconds"] is None
    assert list(front.stored(corpus=MANY, budget=budget(seconds=8))["recipe"]) == ["static"]
    assert list(front.stored(budget=budget(seconds=1e5))["recipe"]) == ["static"]


def test_less_time_means_less_training(front: Front) -> None:
    """1,020 s at the median, 1,530 at the 90th percentile; 1,500 of them are training."""
    front.made.estimator.takes = by_recipe(static=5.0, static_tuned=20.0)
    for fields in ({}, {"static_tuned": pb.StaticTunedRecipe()}):
        stored = front.stored(corpus=MANY, budget=budget(seconds=1000), **fields)
        limit = stored["recipe"]["static_tuned"]["time_budget_seconds"]
        assert 600 < limit < 660
        work = front.made.estimator.asked[-1][0]
        assert options(work)["time_budget_seconds"] == limit
        assert (limit + 20) * 1.5 <= 1000


def test_too_little_training_is_not_worth_it(front: Front) -> None:
    front.made.estimator.takes = by_recipe(static=5.0, static_tuned=20.0)
    assert list(front.stored(corpus=MANY, budget=budget(seconds=200))["recipe"]) == ["static"]
    operations = len(front.store.list().items)
    with pytest.raises(BudgetExceeded):
        front.ask(corpus=MANY, static_tuned=pb.StaticTunedRecipe(), budget=budget(seconds=200))
    assert len(front.store.list().items) == operations


def test_fewer_bytes_mean_smaller_elements_then_fewer_dimensions(front: Front) -> None:
    def takes(work: Work) -> dict[str, float | None]:
        asked = options(work)
        width = 64 if asked["dimensions"] == "auto" else asked["dimensions"]
        return {
            "seconds": 1.0,
            "result_bytes": width * (2 if asked["element_type"] != "int8" else 1),
        }

    front.made.estimator.takes = takes
    found = []
    for limit in (200, 100, 50):
        recipe = front.stored(budget=budget(result_bytes=limit))["recipe"]["static"]
        found.append((recipe["element_type"], recipe["dimensions"]))
    assert found == [("float16", "auto"), ("int8", 64), ("int8", 32)]


def test_the_refusal_shows_what_misses_least(front: Front) -> None:
    front.made.estimator.takes = by_recipe(static=50.0, static_tuned=2000.0)
    error = front.refused(corpus=MANY, budget=budget(seconds=10))
    assert isinstance(error.detail, cost_service_pb2.CostEstimate)
    assert error.detail.title == "static"
    assert error.detail.budget_check.limits[0].ratio == 7.5


def test_the_seed_goes_with_every_choice(front: Front) -> None:
    stored = front.stored(auto=pb.AutoRecipe(seed=9), budget=budget(seconds=1e9))
    assert stored["recipe"]["static"]["seed"] == 9
