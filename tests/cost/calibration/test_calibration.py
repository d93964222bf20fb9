"""When this host is measured, and when not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stillroom_registry.errors import NotFound
from stillroom_server.cost.calibration.calibration import Calibration, Subject, Work
from stillroom_server.cost.calibration.fingerprint import Host, cpu_of, fingerprint
from stillroom_server.cost.calibration.measuring import Found, Job
from stillroom_server.cost.calibration.pace import Pace
from stillroom_server.cost.calibration.rates import HOST, STUDENT, TEACHER, fit
from stillroom_server.cost.policy import Policy

NAMES = {"host": HOST, "teacher": TEACHER, "student": STUDENT}
MACHINE = Host("a processor", 2, "numpy==1")
WORK = Work(threads=2, numeric_threads=1)
START = datetime(2030, 1, 1, tzinfo=UTC)


class Measurer:
    """Finds what it is asked for, in no time; ``hidden`` it does not come to."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.hidden: set[str] = set()
        self.now = START
        self.pace = 1.0
        self.slower = 1.0

    def __call__(self, job: Job) -> Found:
        self.jobs.append(job)
        found = Found()
        for group in job.groups:
            names = [name for name in NAMES[group] if name not in self.hidden]
            found.lines[group] = [fit(name, [(1.0, self.pace)]) for name in names]
            if not self.hidden & set(NAMES[group]):
                found.done.add(group)
        return found

    @property
    def groups(self) -> list[list[str]]:
        return [list(job.groups) for job in self.jobs]


@pytest.fixture
def measurer() -> Measurer:
    return Measurer()


@pytest.fixture
def make(tmp_path: Path, measurer: Measurer) -> Callable[..., Calibration]:
    def made(work: Work = WORK, host: Host = MACHINE) -> Calibration:
        return Calibration(
            tmp_path,
            work,
            host=lambda: host,
            clock=lambda: measurer.now,
            run=measurer,
            pace=lambda line: measurer.slower,
        )

    return made


def teacher(tmp_path: Path, digest: str = "sha256:1") -> Subject:
    return Subject("teacher", digest, lambda: tmp_path / "teacher")


def test_once_and_never_again(
    make: Callable[..., Calibration], measurer: Measurer, tmp_path: Path
) -> None:
    first = make().rates(teacher(tmp_path))
    assert set(first.lines) == {*HOST, *TEACHER}
    assert (first.fresh, first.time) == (True, START)
    measurer.now += timedelta(days=1)
    again = make().rates(teacher(tmp_path))
    assert (again.fresh, again.time) == (False, START)
    assert again.lines == first.lines
    assert again.fingerprint == first.fingerprint
    assert measurer.groups == [["host", "teacher"]]
    assert measurer.jobs[0].folder == tmp_path / "teacher"


def test_only_what_the_work_needs(
    make: Callable[..., Calibration], measurer: Measurer, tmp_path: Path
) -> None:
    calibration = make()
    assert set(calibration.rates().lines) == set(HOST)
    calibration.rates(teacher(tmp_path))
    calibration.rates(Subject("student", "sha256:2", lambda: tmp_path / "student"))
    calibration.rates(teacher(tmp_path, "sha256:3"))
    assert measurer.groups == [["host"], ["teacher"], ["student"], ["teacher"]]


@pytest.mark.parametrize(
    ("work", "host"),
    [
        (replace(WORK, threads=1), MACHINE),
        (replace(WORK, numeric_threads=2), MACHINE),
        (replace(WORK, dtype="float32"), MACHINE),
        (replace(WORK, device="cpu"), MACHINE),
        (WORK, replace(MACHINE, cpu="another")),
        (WORK, replace(MACHINE, cores=4)),
        (WORK, replace(MACHINE, libraries="numpy==2")),
    ],
)
def test_anew_when_what_it_holds_for_has_changed(
    make: Callable[..., Calibration], measurer: Measurer, work: Work, host: Host
) -> None:
    before = make().rates()
    after = make(work, host).rates()
    assert len(measurer.jobs) == 2
    assert before.fingerprint != after.fingerprint


def test_never_measures_but_takes_what_is_known(
    make: Callable[..., Calibration], measurer: Measurer
) -> None:
    calibration = make()
    assert calibration.rates(policy=Policy.NEVER).lines == {}
    assert measurer.jobs == []
    calibration.rates()
    assert set(calibration.rates(policy=Policy.NEVER).lines) == set(HOST)
    assert len(measurer.jobs) == 1


def test_a_refresh_measures_anew(make: Callable[..., Calibration], measurer: Measurer) -> None:
    calibration = make()
    calibration.rates()
    measurer.now, measurer.pace = START + timedelta(days=1), 2.0
    found = calibration.rates(policy=Policy.REFRESH)
    assert (found.fresh, found.time) == (True, measurer.now)
    assert found.lines["hash"].slope_seconds == 2.0


def test_what_was_cut_short_is_tried_again_but_not_for_ever(
    make: Callable[..., Calibration], measurer: Measurer
) -> None:
    measurer.hidden = {"write"}
    calibration = make()
    for _ in range(6):
        assert set(calibration.rates().lines) == {*HOST} - {"write"}
    assert len(measurer.jobs) == 3
    measurer.now += timedelta(minutes=11)
    for _ in range(6):
        calibration.rates()
    assert len(measurer.jobs) == 6


def test_a_second_try_completes_the_first(
    make: Callable[..., Calibration], measurer: Measurer
) -> None:
    measurer.hidden = {"write"}
    calibration = make()
    calibration.rates()
    measurer.hidden = set()
    assert set(calibration.rates().lines) == set(HOST)
    calibration.rates()
    assert len(measurer.jobs) == 2


def test_a_refresh_that_is_cut_short_keeps_what_it_did_not_come_to(
    make: Callable[..., Calibration], measurer: Measurer
) -> None:
    calibration = make()
    calibration.rates()
    measurer.hidden, measurer.pace = {"write"}, 2.0
    measurer.now += timedelta(days=1)
    found = calibration.rates(policy=Policy.REFRESH)
    assert found.lines["write"].slope_seconds == 1.0
    assert found.lines["hash"].slope_seconds == 2.0
    assert found.time == START  # the oldest
    calibration.rates()
    assert len(measurer.jobs) == 2


def test_a_model_that_is_gone_leaves_the_host(
    make: Callable[..., Calibration], measurer: Measurer
) -> None:
    def folder() -> Path:
        raise NotFound("no such version")

    found = make().rates(Subject("teacher", "sha256:1", folder))
    assert set(found.lines) == set(HOST)
    assert measurer.groups == [["host"]]


def test_a_damaged_file_is_measured_anew(
    make: Callable[..., Calibration], measurer: Measurer, tmp_path: Path
) -> None:
    make().rates()
    (file,) = (tmp_path / "cache" / "calibration").glob("*.json")
    file.write_bytes(file.read_bytes()[:50])
    assert set(make().rates().lines) == set(HOST)
    assert len(measurer.jobs) == 2


def test_threads_that_ask_at_once_measure_once(tmp_path: Path, measurer: Measurer) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow(job: Job) -> Found:
        entered.set()
        assert go.wait(60)
        return measurer(job)

    # Two objects, as two processes have, and two threads of each.
    calibrations = [
        Calibration(tmp_path, WORK, host=lambda: MACHINE, clock=lambda: START, run=slow)
        for _ in range(2)
    ]
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda c=each: found.append(c.rates().fresh))
        for each in calibrations * 2
    ]
    for thread in threads:
        thread.start()
    assert entered.wait(60)
    go.set()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [False, False, False, True]
    assert len(measurer.jobs) == 1


def test_a_lock_that_is_never_given_back_is_not_waited_for_long(
    tmp_path: Path, measurer: Measurer
) -> None:
    import fcntl

    folder = tmp_path / "cache" / "calibration"
    folder.mkdir(parents=True)
    pauses: list[float] = []
    with (folder / ".lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        calibration = Calibration(
            tmp_path, WORK, host=lambda: MACHINE, run=measurer, pause=pauses.append
        )
        assert set(calibration.rates().lines) == set(HOST)
    assert 1.0 < sum(pauses) < 10.0


def test_a_processor_by_its_name_and_instructions(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name : Zeta 9\nflags : avx2\n\nprocessor : 1\n")
    first = cpu_of(file)
    assert "Zeta 9" in first
    file.write_text(file.read_text().replace("avx2", "avx512f"))
    assert cpu_of(file) != first
    assert cpu_of(tmp_path / "none")


def test_models_have_fingerprints_of_their_own() -> None:
    keys = {fingerprint(MACHINE, {"threads": 1}, model) for model in ("", "a", "b")}
    assert len(keys) == 3
    assert all(key.startswith("sha256:") for key in keys)


def test_rates_follow_the_pace_of_the_moment_but_for_those_of_other_parts(
    make: Callable[..., Calibration], measurer: Measurer, tmp_path: Path
) -> None:
    calibration = make()
    own = teacher(tmp_path)
    measured = calibration.rates(own)
    measurer.slower = 1.5
    found = calibration.rates(own)
    assert found.lines["matmul"].slope_seconds == 1.5 * measured.lines["matmul"].slope_seconds
    for name in ("memory", "write", "teacher.forward"):
        assert found.lines[name] == measured.lines[name]
    assert calibration.rates(own, Policy.NEVER).lines == measured.lines
    assert len(measurer.jobs) == 1


def test_the_pace_is_how_long_the_loop_takes_now() -> None:
    python = fit("python", [(1.0, 0.001)])
    now = [0.0, 0.0]

    def cpu() -> float:
        now[0] += now[1]
        return now[0]

    def factor(each: float) -> float:
        now[1] = each
        return Pace(cpu, lambda: 0.0).factor(python)

    assert factor(0.002) == pytest.approx(1.0)
    assert factor(0.004) == pytest.approx(2.0**0.6)
    assert factor(1.0) == 3.0
    assert factor(0.0) == 0.6


def test_the_pace_is_looked_at_once_a_second() -> None:
    python = fit("python", [(1.0, 0.001)])
    time, calls = [0.0], [0]

    def cpu() -> float:
        calls[0] += 1
        return calls[0] * 0.002

    pace = Pace(cpu, lambda: time[0])
    pace.factor(python)
    first = calls[0]
    pace.factor(python)
    assert calls[0] == first
    time[0] = 1.5
    pace.factor(python)
    assert calls[0] == 2 * first
