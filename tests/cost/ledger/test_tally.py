from __future__ import annotations

import json

import pytest

from stillroom_server.cost.figures import FIGURES, Basis
from stillroom_server.cost.ledger.tally import Taken, Tally


@pytest.mark.parametrize(
    ("wall", "cpu", "waited", "contention"),
    [
        (10.0, 10.0, 0.0, 1.0),
        (10.0, 5.0, 5.0, 2.0),  # one thread that got a core half of the time
        (10.0, 10.0, 10.0, 2.0),  # two threads, each of them half of the time
        (10.0, 2.0, 0.0, 1.0),  # it waits for a disk, not for a core
        (10.0, 2.0, 2.0, 1.25),  # of ten seconds two were for want of a core
    ],
)
def test_contention_is_the_clock_over_the_clock_without_waiting(
    wall: float, cpu: float, waited: float, contention: float
) -> None:
    tally = Tally(phases={"train": Taken(wall, cpu)}, waited=waited)
    assert tally.contention == pytest.approx(contention)


def test_contention_is_unknown_without_a_counter_of_its_own() -> None:
    phases = {"train": Taken(10.0, 5.0)}
    assert Tally(phases=phases).contention is None
    assert Tally(phases=phases, waited=5.0, shared=True).contention is None
    assert Tally(waited=5.0).contention is None
    stuck = Tally(phases={"train": Taken(1.0, 0.0)}, waited=50.0)
    assert stuck.contention == pytest.approx(1000.0)  # finite, whatever the counters say


def test_attempts_add_up() -> None:
    first = Tally(
        phases={"load": Taken(1, 2, 30, 400), "train": Taken(10, 20, 300, 50, 7)}, waited=1.0
    )
    second = Tally(phases={"train": Taken(1, 2, 200, 60), "publish": Taken(3, 4)}, waited=0.5)
    both = first.followed_by(second)
    assert both.attempts == 2
    assert both.phases == {
        "load": Taken(1, 2, 30, 400),
        "train": Taken(11, 22, 300, 60, 7),
        "publish": Taken(3, 4),
    }
    assert list(both.phases) == ["load", "train", "publish"]
    assert both.waited == 1.5
    assert both.whole == Taken(15, 28, 300, 400, 7)
    assert first.phases["train"] == Taken(10, 20, 300, 50, 7)  # as it was
    assert first.followed_by(Tally(shared=True)).shared
    assert first.followed_by(Tally()).waited is None


def test_json_and_back() -> None:
    tally = Tally(3, {"load": Taken(1, 2, 30, 400, None)}, 0.25, shared=True)
    assert Tally.from_json(json.loads(json.dumps(tally.to_json()))) == tally


def test_figures_are_measured_or_unknown_with_a_reason() -> None:
    taken = Taken(10.0, 20.0, 300, 400, 500)
    resources = Tally().resources(taken)
    known = {name for name in FIGURES if resources[name].known}
    assert known == {
        *("cpu_seconds", "wall_seconds", "peak_memory_bytes", "disk_bytes", "network_bytes")
    }
    for name in FIGURES:
        figure = resources[name]
        assert figure.note or figure.basis is Basis.MEASURED
        if figure.known:
            assert len(set(figure.numbers())) == 1
    nothing = Tally().resources(Taken(1.0, 2.0))
    assert not nothing.network_bytes.known
    assert not nothing.peak_memory_bytes.known


def test_counters_of_a_shared_process_tell_nothing_of_one_operation() -> None:
    resources = Tally(shared=True).resources(Taken(10.0, 20.0, 300, 400, 500))
    assert not resources.cpu_seconds.known
    assert not resources.peak_memory_bytes.known
    assert "other work" in resources.cpu_seconds.note
    assert resources.wall_seconds.numbers()[1] == 10.0
    assert resources.disk_bytes.numbers()[1] == 400
