from __future__ import annotations

import pytest
from cost.ledger.support import START, measured_of, work_of
from prometheus_client import CollectorRegistry

from stillroom_server import parts
from stillroom_server.cost.figures import Basis
from stillroom_server.cost.ledger.intervals import CORRECTED
from stillroom_server.cost.ledger.ledger import KINDS, Ledger, Work
from stillroom_server.cost.ledger.recent import Recent, RecentAccuracy, network_rate


def test_every_kind_and_figure_is_there_from_the_beginning(ledger: Ledger) -> None:
    found = RecentAccuracy(ledger).read()
    assert set(found) == {(kind, figure) for kind in KINDS for figure in CORRECTED}
    assert set(found.values()) == {Recent(0, None, None)}


def test_the_median_ratio_of_the_latest(ledger: Ledger) -> None:
    recent = RecentAccuracy(ledger, latest=3)
    for at, took in enumerate((900.0, 5.0, 20.0, 40.0)):
        ledger.record(work_of(10.0, took, at=at))
    assert recent.read()["embed", "wall_seconds"] == Recent(
        3, pytest.approx(2.0), pytest.approx(2 / 3)
    )
    before = recent.read()
    assert recent.read() is before  # nothing new, nothing read
    ledger.record(work_of(10.0, 20.0, at=9))
    assert recent.read()["embed", "wall_seconds"].ratio == pytest.approx(2.0)


def transfer(ledger: Ledger, moved: float, seconds: float, kind: str = "pull") -> None:
    phases = [
        ("fetch", measured_of(network_bytes=moved, wall_seconds=seconds)),
        ("verify", measured_of(wall_seconds=1000.0)),
    ]
    ledger.record(Work(kind, None, measured_of(wall_seconds=1.0), START, START, phases))


def test_the_network_is_as_fast_as_it_was(ledger: Ledger) -> None:
    assert not network_rate(ledger).known
    transfer(ledger, 999.0, 0.001)  # too few bytes to tell anything
    transfer(ledger, 1e9, 1.0, kind="distill")
    assert not network_rate(ledger).known
    for seconds in (1.0, 2.0, 4.0, 5.0, 10.0):
        transfer(ledger, 1e8, seconds)
    rate = network_rate(ledger)
    assert rate.basis is Basis.CALIBRATED
    assert rate.numbers() == pytest.approx((1e7, 2.5e7, 1e8))


def test_metrics_tell_it(ledger: Ledger) -> None:
    registry = CollectorRegistry()
    parts._estimate_gauges(RecentAccuracy(ledger), registry)
    labels = {"kind": "embed", "figure": "wall_seconds"}

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"stillroom_estimate_{name}", labels)

    assert (value("jobs"), value("ratio"), value("coverage")) == (0.0, None, None)
    ledger.record(work_of(10.0, 15.0))
    assert (value("jobs"), value("ratio"), value("coverage")) == (1.0, pytest.approx(1.5), 1.0)


def test_what_the_server_executes_is_work_that_the_ledger_knows() -> None:
    assert set(parts.OPERATION_KINDS) <= set(KINDS)
