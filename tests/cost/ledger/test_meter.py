from __future__ import annotations

import pytest
from cost.ledger.support import FakeCounters
from operations.support import Monotonic

from stillroom_server.cost.ledger.meter import Meter
from stillroom_server.cost.ledger.tally import Taken


class Bench:
    """A meter whose clock, counters and disk the test moves."""

    def __init__(self) -> None:
        self.clock = Monotonic()
        self.counters = FakeCounters()
        self.disk = 1000
        self.looks = 0
        self.meter = Meter(self._disk, counters=self.counters, clock=self.clock)

    def _disk(self) -> int:
        self.looks += 1
        return self.disk

    def work(self, wall: float, cpu: float, peak: int = 0) -> None:
        self.clock.advance(wall)
        self.counters.cpu += cpu
        self.counters.peak = max(self.counters.peak or 0, peak)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_phases_are_measured_one_by_one(bench: Bench) -> None:
    bench.work(1.0, 0.5, peak=700)  # before the first phase is known: it is of that one
    bench.meter.phase("load")
    bench.work(2.0, 1.5, peak=300)
    bench.disk = 5000
    bench.meter.phase("train")
    bench.work(4.0, 8.0, peak=900)
    bench.disk = 2000
    bench.meter.phase("load")  # as when a step has to be repeated
    bench.work(1.0, 1.0)
    tally = bench.meter.tally()
    bench.meter.end()
    assert tally.phases == {
        "load": Taken(4.0, 3.0, 700, 5000),
        "train": Taken(4.0, 8.0, 900, 5000),
    }
    assert tally.whole == Taken(8.0, 11.0, 900, 5000)
    assert bench.counters.resets == 4  # each phase has its own peak


def test_a_tally_can_be_taken_at_any_time_and_changes_nothing(bench: Bench) -> None:
    bench.meter.phase("train")
    bench.work(1.0, 2.0)
    first = bench.meter.tally()
    assert bench.meter.tally() == first
    bench.work(1.0, 2.0)
    assert first.whole.wall == 1.0
    assert bench.meter.tally().whole.wall == 2.0
    bench.meter.end()


def test_work_that_names_no_phase(bench: Bench) -> None:
    bench.work(3.0, 1.0)
    tally = bench.meter.tally()
    bench.meter.end()
    assert list(tally.phases) == [""]
    assert tally.whole.wall == 3.0


def test_bytes_that_moved_count_in_their_phase(bench: Bench) -> None:
    bench.meter.phase("fetch")
    bench.meter.moved(100)
    bench.meter.moved(23)
    bench.meter.phase("verify")
    tally = bench.meter.tally()
    bench.meter.end()
    assert tally.phases["fetch"].network == 123
    assert tally.phases["verify"].network is None
    assert tally.whole.network == 123


def test_children_and_the_disk_are_looked_at_now_and_then(bench: Bench) -> None:
    bench.meter.phase("verify")
    looks = bench.looks
    for tick in range(100):  # twenty seconds of ticks
        bench.clock.advance(0.2)
        bench.counters.now = 4000 if 30 <= tick < 40 else 100  # a child lived for two of them
        bench.disk = 9000 if 20 <= tick < 60 else 1000
        bench.meter.sample()
    assert 3 <= bench.looks - looks <= 4
    tally = bench.meter.tally()
    bench.meter.end()
    assert tally.phases["verify"].memory == 4000
    assert tally.phases["verify"].disk == 9000


def test_waiting_for_a_core_makes_contention(bench: Bench) -> None:
    bench.meter.phase("train")
    bench.work(10.0, 5.0)
    bench.counters.waited = 6.0
    tally = bench.meter.tally()
    bench.meter.end()
    assert tally.waited == 5.0
    assert tally.contention == pytest.approx(2.0)


def test_what_the_system_does_not_count_is_unknown() -> None:
    counters = FakeCounters()
    counters.now = counters.peak = counters.waited = None
    with Meter(counters=counters, clock=Monotonic()) as meter:
        meter.phase("train")
        meter.sample()
        tally = meter.tally()
    assert tally.phases["train"] == Taken(0.0, 0.0, None, None)
    assert tally.contention is None


def test_two_at_once_know_of_each_other(bench: Bench) -> None:
    assert not bench.meter.tally().shared
    with Meter(counters=FakeCounters()) as other:
        assert other.tally().shared
    assert bench.meter.tally().shared  # it was, whatever comes later
    bench.meter.end()
    with Meter(counters=FakeCounters()) as alone:
        assert not alone.tally().shared
