"""Estimates are whole messages of the protocol, and soon made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cost.physical import folders, models
from google.protobuf import json_format

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.cost.assumptions import Given, Source
from stillroom_server.cost.calibration.calibration import Subject
from stillroom_server.cost.calibration.rates import RateSet
from stillroom_server.cost.devices.host import Host
from stillroom_server.cost.devices.known import Devices
from stillroom_server.cost.estimator import Estimator
from stillroom_server.cost.facts import of_version
from stillroom_server.cost.figures import FIGURES
from stillroom_server.cost.ledger.intervals import Intervals, Scores
from stillroom_server.cost.policy import Policy
from stillroom_server.cost.tables import methods
from stillroom_server.cost.tables.paradigms import DeepLearning, FineTuning
from stillroom_server.cost.workloads import (
    EmbedWork,
    ImportWork,
    ParadigmWork,
    ServeWork,
    TransferWork,
    Work,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
JSON = dict[str, Any]


class Measured:
    """A calibration that has measured, and remembers what it was asked for."""

    def __init__(self, rates: RateSet) -> None:
        self.rates_ = replace(rates, time=NOW, fingerprint="sha256:00")
        self.asked: list[tuple[Subject | None, Policy]] = []

    def rates(self, subject: Subject | None, policy: Policy) -> RateSet:
        self.asked.append((subject, policy))
        return self.rates_


def settings(**given: Any) -> Any:
    names = (
        *("cost_price_usd_per_hour", "cost_pue", "cost_carbon_intensity"),
        *("cost_electricity_usd_per_kwh", "cost_idle_power_watts", "cost_max_power_watts"),
    )
    told = {**dict.fromkeys(names), "cost_region": "", "runner_threads": 0, "device": "cpu"}
    return SimpleNamespace(**{**told, **given})


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry.open(tmp_path / "data")
    yield opened
    opened.close()


def made(registry: Registry, **given: Any) -> Estimator:
    host = Host("a processor", 4, 16_000_000_000, 8_000_000_000)
    given.setdefault("settings", settings())
    given.setdefault("calibration", Measured(models.calibrated()))
    return Estimator(
        registry, given.pop("settings"), devices=lambda: Devices(host), clock=lambda: NOW, **given
    )


WORKS: dict[str, Work] = {
    "static": models.distill({"static": {}}),
    "tuned": models.distill(texts=20_000.0),
    "transformer": models.distill({"transformer": {}}, texts=20_000.0),
    "quantize": models.distill({"quantize": {"element_type": "int8"}}, models.student()),
    "train": models.train(models.student(), 5_000.0, 20.0),
    "train on a teacher": models.train(models.teacher(), 5_000.0, 20.0),
    "embed": models.embed(models.student(), 100_000),
    "embed by a teacher": models.embed(models.teacher(), 1_000),
    "serve": models.serve(models.student(), 100.0),
    "push": TransferWork("push", 30_000_000, 9),
    "pull": TransferWork("pull"),
    "import": ImportWork("path", 90_000_000, 9, models.teacher()),
    "lora": ParadigmWork(FineTuning(methods.Lora(8)), models.teacher(), None, 10_000),
    "no model": ParadigmWork(DeepLearning()),
}


@pytest.mark.parametrize("name", WORKS)
def test_every_estimate_is_a_message_of_the_protocol(registry: Registry, name: str) -> None:
    found = made(registry).estimate(WORKS[name], {"network_bytes_per_second": 1e6})
    message = json_format.ParseDict(found, pb.CostEstimate())
    assert message.kind == WORKS[name].kind
    assert message.title
    assert message.HasField("outcome")
    if name == "no model":
        assert not message.HasField("physical")
        return
    assert message.physical.device == "devices/host"
    assert message.physical.calibration.fingerprint == "sha256:00"
    for resources in (message.physical.total, *(p.resources for p in message.physical.phases)):
        for figure in FIGURES:
            assert getattr(resources, figure).basis != pb.COST_BASIS_UNSPECIFIED
    assert all(phase.unit for phase in message.physical.phases)
    assert message.HasField("memory_fit")
    assert message.HasField("table") == (name not in _NO_PARADIGM)


_NO_PARADIGM = ("embed", "embed by a teacher", "serve", "push", "pull", "import")


def test_what_has_no_price_has_no_money(registry: Registry) -> None:
    found = made(registry).estimate(WORKS["static"])
    money = found["physical"]["total"]["money_usd"]
    assert money["basis"] == "COST_BASIS_UNKNOWN"
    assert "p50" not in money
    told = made(registry, settings=settings(cost_price_usd_per_hour=3.6)).estimate(WORKS["static"])
    wall = told["physical"]["total"]["wall_seconds"]["p50"]
    assert told["physical"]["total"]["money_usd"]["p50"] == pytest.approx(wall / 1000)


def test_a_device_elsewhere_is_specified_never_measured(registry: Registry) -> None:
    calibration = Measured(models.calibrated())
    estimator = made(registry, calibration=calibration)
    found = estimator.estimate(WORKS["embed by a teacher"], {"device": "h100-sxm"})
    assert calibration.asked == []
    assert "calibration" not in found["physical"]
    assert found["physical"]["total"]["wall_seconds"]["basis"] == "COST_BASIS_SPEC"
    assert "core_speed" in [each["name"] for each in found["physical"]["assumptions"]]
    with pytest.raises(InvalidArgument) as refused:
        estimator.estimate(WORKS["static"], {"device": "h100-sxm"}, policy=Policy.REFRESH)
    assert refused.value.field == "calibration"
    with pytest.raises(NotFound):
        estimator.estimate(WORKS["static"], {"device": "abacus"})


def test_the_model_that_is_measured(registry: Registry, tmp_path: Path) -> None:
    version = registry.publish("t", ModelKind.TEACHER, folders.bert(tmp_path / "t"))
    facts = of_version(registry, version)
    calibration = Measured(models.calibrated())
    estimator = made(registry, calibration=calibration)
    estimator.estimate(models.distill({"static": {}}, facts), policy=Policy.NEVER)
    estimator.estimate(EmbedWork(facts, 5, Given(3, Source.REQUEST)))
    estimator.estimate(WORKS["push"])
    first, second, third = calibration.asked
    assert first[1] is Policy.NEVER
    assert first[0] is not None
    assert (first[0].kind, first[0].digest) == ("teacher", version.digest)
    assert first[0].folder().is_dir()
    assert second[0] is not None
    assert third == (None, Policy.WHEN_NEEDED)


def test_a_host_that_was_never_measured_still_answers(registry: Registry) -> None:
    found = made(registry, calibration=None).estimate(WORKS["tuned"])
    total = found["physical"]["total"]
    assert total["wall_seconds"]["basis"] == "COST_BASIS_SPEC"
    assert total["wall_seconds"]["p90"] > total["wall_seconds"]["p50"]


def test_the_ledger_moves_the_whole(registry: Registry) -> None:
    scores = {"wall_seconds": Scores([0.7] * 20, 20)}
    learnt = Intervals(lambda kind, figure: scores.get(figure, Scores([], 0)))
    plain = made(registry).estimate(WORKS["static"])["physical"]["total"]["wall_seconds"]
    found = made(registry, intervals=learnt).estimate(WORKS["static"])["physical"]
    assert found["total"]["wall_seconds"]["p50"] == pytest.approx(2.01375 * plain["p50"], rel=1e-3)
    assert found["intervals"] == {"from_ledger": True, "ledger_jobs": 20, "needed_jobs": 10}


def test_a_budget_is_compared_at_the_90th_percentile(registry: Registry) -> None:
    estimator = made(registry)
    total = estimator.estimate(WORKS["static"])["physical"]["total"]["wall_seconds"]
    between = (total["p50"] + total["p90"]) / 2

    def verdict(**budget: float) -> str:
        found = estimator.estimate(WORKS["static"], budget=budget)
        check = json_format.ParseDict(found["budget_check"], pb.BudgetCheck())
        assert [limit.limit for limit in check.limits] == list(budget)
        return str(found["budget_check"]["verdict"])

    assert verdict(seconds=between) == "VERDICT_EXCEEDED"
    assert verdict(seconds=1.1 * total["p90"]) == "VERDICT_KEPT"
    assert verdict(money_usd=5.0) == "VERDICT_UNKNOWN"
    assert verdict(seconds=0.1, money_usd=5.0) == "VERDICT_EXCEEDED"
    assert "budget_check" not in estimator.estimate(WORKS["static"])


def test_whether_it_fits(registry: Registry) -> None:
    assert made(registry).estimate(WORKS["static"])["memory_fit"] == {
        "verdict": "VERDICT_KEPT",
        "available_bytes": 8_000_000_000,
    }
    huge = models.teacher(40, 8192)
    found = made(registry).estimate(models.distill({"static": {}}, huge))
    assert found["memory_fit"]["verdict"] == "VERDICT_EXCEEDED"


def test_counts_whose_products_overflow_are_refused(registry: Registry) -> None:
    work = ServeWork(
        models.student(),
        1e300,
        Given(1e300, Source.REQUEST),
        Given(1e300, Source.REQUEST),
        Given(10, Source.REQUEST),
    )
    with pytest.raises(InvalidArgument) as refused:
        made(registry).estimate(work, field="workload.serve")
    assert refused.value.field == "workload.serve.texts_per_second"


def test_an_option_that_the_teacher_cannot_do_is_named_where_it_stands(registry: Registry) -> None:
    with pytest.raises(InvalidArgument) as refused:
        made(registry).estimate(
            models.distill({"static": {"dimensions": 999}}), field="workload.distill"
        )
    assert refused.value.field == "workload.distill.static.dimensions"


def test_table_and_phases_are_told_apart_and_compared(registry: Registry) -> None:
    found = made(registry).estimate(WORKS["lora"])
    assert found["runnable"] is False
    assert found["not_runnable_reason"]
    compared = {each["figure"]: each for each in found["disagreements"]}
    assert set(compared) == {
        *("training_speedup", "memory_multiplier"),
        *("trainable_parameters_percent", "memory_reduction_factor"),
    }
    for name, each in compared.items():
        assert each["table"] == found["table"][name]["value"]
        assert each["ratio"] == pytest.approx(each["physical"]["p50"] / each["table"])


def test_machines_pay_for_themselves(registry: Registry) -> None:
    told = settings(cost_price_usd_per_hour=1.0)
    few = made(registry, settings=told).estimate(models.serve(models.student(), 10.0))
    many = made(registry, settings=told).estimate(models.serve(models.student(), 5e4))
    serving = many["outcome"]["serving"]
    replicas = serving["replicas"]["p50"]
    assert replicas > 1
    one, all_ = (each["physical"]["total"]["money_usd"]["p50"] for each in (few, many))
    assert all_ == pytest.approx(replicas * one)
    million = serving["money_usd_per_million_texts"]["p50"]
    assert million == pytest.approx(all_ / (5e4 * 86_400) * 1e6)


def test_an_estimate_of_a_measured_host_is_some_thousand_calls(registry: Registry) -> None:
    """Sixteen thousand at most, which take milliseconds; calls are the same on every machine."""
    estimator = made(registry)
    for name, work in WORKS.items():
        estimator.estimate(work)
        assert calls_of(lambda w=work: estimator.estimate(w)) < 40_000, name


def calls_of(function: Callable[[], object]) -> int:
    """How many functions ``function`` calls, and they call, compiled ones too."""
    count = 0

    def see(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count
