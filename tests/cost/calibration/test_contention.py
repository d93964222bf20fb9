"""What other work on the machine costs ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillroom_server.cost.calibration.contention import Load, sessions_share, slowdown
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.physical.phase import ZERO, Phase

OWN = 100
TICKS = 100  # a second, as everywhere


@pytest.mark.parametrize(
    ("busy", "cores", "threads", "nice", "expected"),
    [
        (0.0, 2, 2, 10, 1.0),
        (1.0, 2, 1, 10, 1.0),  # the other core is free
        (1.0, 2, 2, 0, 2 / 1.5),
        (1.0, 2, 2, 10, 2 / (1 + 110 / 1134)),
        (2.0, 2, 1, 0, 2.0),
        (9.0, 2, 1, 0, 2.0),  # no more can be busy than there are
        (0.0, 2, 64, 0, 1.0),  # nor can threads use more
    ],
)
def test_shares(busy: float, cores: int, threads: int, nice: int, expected: float) -> None:
    assert slowdown(busy, cores, threads, nice) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("busy", "threads", "expected"), [(1.0, 1, 1.0), (1.0, 2, 1.5), (2.0, 1, 2.0), (2.0, 2, 3.0)]
)
def test_sessions_share_before_priorities_count(busy: float, threads: int, expected: float) -> None:
    assert slowdown(busy, 2, threads, 10, grouped=True) == pytest.approx(expected)


def test_whether_sessions_share(tmp_path: Path) -> None:
    assert not sessions_share(tmp_path)
    (tmp_path / "sys" / "kernel").mkdir(parents=True)
    file = tmp_path / "sys" / "kernel" / "sched_autogroup_enabled"
    for text, shared in (("1\n", True), ("0\n", False)):
        file.write_text(text)
        assert sessions_share(tmp_path) is shared


@given(
    busy=st.floats(0.0, 300.0),
    more=st.floats(0.0, 10.0),
    cores=st.integers(1, 256),
    threads=st.integers(1, 256),
    nice=st.integers(0, 19),
    grouped=st.booleans(),
)
def test_more_of_others_never_makes_ours_faster(
    busy: float, more: float, cores: int, threads: int, nice: int, grouped: bool
) -> None:
    before, after = (
        slowdown(each, cores, threads, nice, grouped=grouped) for each in (busy, busy + more)
    )
    assert 1.0 <= before <= after * (1 + 1e-9)


class Machine:
    """A /proc that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.pauses: list[float] = []
        self.write(busy=0.0, own=0.0, running=1)

    def write(self, *, busy: float, own: float, running: int, child: float = 0.0) -> None:
        """Seconds since the start of everything; threads that run now."""
        user = round(busy * TICKS)
        (self.folder / "stat").write_text(f"cpu  {user} 0 0 99999 50 0 0 0 0 0\ncpu0 1 2 3\n")
        (self.folder / "loadavg").write_text(f"0.50 0.40 0.30 {running}/345 12345\n")
        for pid, seconds, children in ((OWN, own, "101"), (101, child, "")):
            place = self.folder / str(pid) / "task" / str(pid)
            place.mkdir(parents=True, exist_ok=True)
            (place / "children").write_text(children)
            before = " ".join(["0"] * 11)
            (self.folder / str(pid) / "stat").write_text(
                f"{pid} (a name) S {before} {round(seconds * TICKS)} 0 0 0 20 0\n"
            )

    def load(self) -> Load:
        return Load(lambda: OWN, proc=self.folder, clock=lambda: self.now, pause=self.pauses.append)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_CLK_TCK": TICKS}[name])
    return Machine(tmp_path)


def test_what_others_did_since_the_last_look(machine: Machine) -> None:
    load = machine.load()
    machine.now = 10.0
    machine.write(busy=15.0, own=2.0, running=9, child=3.0)
    assert load.busy() == pytest.approx(1.0)
    assert machine.pauses == []


def test_what_runs_now_where_the_last_look_is_too_near_or_too_far(machine: Machine) -> None:
    load = machine.load()
    for now in (0.1, 1000.0):
        machine.now = now
        machine.write(busy=now, own=0.0, running=3)
        assert load.busy() == 2.0
    assert sum(machine.pauses) < 0.02
    machine.now = 1002.0
    machine.write(busy=1001.0, own=0.0, running=1)
    assert load.busy() == pytest.approx(0.5)


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert Load(proc=tmp_path / "none").busy() is None


def test_this_system() -> None:
    busy = Load().busy()
    assert busy is None or busy >= 0.0


def test_what_one_thread_does_is_slowed_by_what_one_thread_suffers() -> None:
    second = Figure.exact(1.0, Basis.CALIBRATED)
    half = Phase("encode", "texts", ZERO, second, spread=0.5, waiting=second)
    assert half.wall(2, 1.0).p50 == pytest.approx(1.75)
    assert half.wall(2, 4.0).p50 == pytest.approx(1.0 + 0.5 * 4.0 + 0.25 * 4.0)
    assert half.wall(2, 4.0, 1.5).p50 == pytest.approx(1.0 + 0.5 * 1.5 + 0.25 * 4.0)
