"""The demo: what it computes, and the whole of it as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.demo import neighbors, settings, show, texts

ROOT = Path(__file__).resolve().parents[2]


def test_nearest_puts_the_most_similar_first() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)
    queries = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    found = neighbors.nearest(queries, vectors, 2)
    assert [[one.place for one in row] for row in found] == [[1, 2], [0, 2]]
    assert found[0][1].cosine == pytest.approx(0.8)


def test_rank_and_agreement_compare_two_orders() -> None:
    some = [[neighbors.Neighbor(3, 0.9), neighbors.Neighbor(1, 0.5)], [neighbors.Neighbor(2, 0.4)]]
    others = [[neighbors.Neighbor(3, 0.7)], [neighbors.Neighbor(0, 0.7)]]
    assert neighbors.rank(some[0], 1) == 2
    assert neighbors.agreement(some, others) == 1


@pytest.mark.parametrize(
    ("more", "less", "said"), [(90.0, 15.0, "6.0x"), (70_000.0, 70.0, "1,000x"), (1.0, 0.0, "-")]
)
def test_times_are_rounded_for_people(more: float, less: float, said: str) -> None:
    assert show.times(more, less) == said


def test_texts_differ() -> None:
    everything = texts.TEXTS + texts.QUERIES
    assert len(set(everything)) == len(everything) >= 40


def test_check_raises_what_it_is_told() -> None:
    settings.check(True, "no")
    with pytest.raises(settings.DemoFailedError, match="the disk is square"):
        settings.check(False, "the disk is square")


@contextmanager
def demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process whose temporary folder is in ``folder``. It does not ignore interrupts,
    as all does that comes of what a shell starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "benchmarks.demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "STILLROOM_ADDRESS": "nowhere"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def left(folder: Path) -> list[Path]:
    """What the demo left behind."""
    return list(folder.glob("stillroom-demo-*"))


@pytest.mark.slow
@pytest.mark.teacher
@pytest.mark.timeout(900)
def test_the_whole_demo(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        said, _ = process.communicate(timeout=840)
    assert process.returncode == 0, said
    assert f"models/{settings.STUDENT}/versions/1" in said
    assert re.search(r"onnx/model\.onnx .* verified", said)
    assert re.search(r"200 runs, least cosine (1\.0|0\.99999)", said)
    assert re.search(r"distill: encode", said)
    assert re.search(r"texts a second .*x faster", said)
    assert "server stopped" in said
    assert left(tmp_path) == []


@pytest.mark.slow
@pytest.mark.teacher
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_cleans_up(tmp_path: Path, number: int, status: int) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        server = 0
        for line in process.stdout:
            found = re.search(r"listening on .*, process (\d+)", line)
            server = int(found[1]) if found else server
            if line.startswith("[2/"):
                break
        assert server
        process.send_signal(number)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == status, said
    assert "Traceback" not in said
    assert left(tmp_path) == []
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
