from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillroom_server.cost.ledger.counters import ProcessCounters, files_bytes

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


class Proc:
    """A /proc of one process, ``self``, and its children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.status("self", rss=100, peak=500)

    def status(self, pid: str, rss: int, peak: int = 0) -> None:
        (self.folder / pid / "task").mkdir(parents=True, exist_ok=True)
        text = f"Name:\tpython\nVmHWM:\t  {peak} kB\nVmRSS:\t  {rss} kB\nThreads:\t2\n"
        (self.folder / pid / "status").write_text(text)

    def task(self, pid: str, task: str, waited: float = 0.0, children: str = "") -> None:
        folder = self.folder / pid / "task" / task
        folder.mkdir(exist_ok=True)
        (folder / "schedstat").write_text(f"{10**9} {int(waited * 1e9)} 77\n")
        (folder / "children").write_text(children)

    def end(self, pid: str, task: str) -> None:
        folder = self.folder / pid / "task" / task
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_memory_is_that_of_the_process_and_all_below(proc: Proc) -> None:
    proc.task("self", "1", children="20 30 ")
    for pid, peak in (("20", 7), ("30", 11), ("40", 13)):
        proc.status(pid, rss=1, peak=peak)
    proc.task("30", "30", children="40 ")
    proc.task("self", "2", children="99 ")  # gone before it could be read
    assert ProcessCounters(proc.folder).memory() == (100 + 7 + 11 + 13) * 1024


def test_the_peak_counts_from_the_reset(proc: Proc) -> None:
    counters = ProcessCounters(proc.folder)
    counters.reset_peak_memory()
    assert (proc.folder / "self" / "clear_refs").read_text() == "5"
    assert counters.peak_memory() == 500 * 1024


def test_a_peak_that_cannot_be_reset_hides_all_below_it(proc: Proc) -> None:
    (proc.folder / "self" / "clear_refs").mkdir()  # as where it may not be written
    counters = ProcessCounters(proc.folder)
    counters.reset_peak_memory()
    assert counters.peak_memory() is None
    proc.status("self", rss=100, peak=501)
    assert counters.peak_memory() == 501 * 1024


def test_waiting_is_kept_of_threads_that_end(proc: Proc) -> None:
    counters = ProcessCounters(proc.folder)
    proc.task("self", "1", waited=1.0)
    proc.task("self", "2", waited=2.0)
    assert counters.waited_seconds() == pytest.approx(3.0)
    proc.end("self", "2")
    proc.task("self", "1", waited=1.5)
    assert counters.waited_seconds() == pytest.approx(3.5)
    proc.task("self", "2", waited=0.25)  # another thread of the same number
    proc.task("self", "3", waited=0.5)
    assert counters.waited_seconds() == pytest.approx(4.25)
    proc.task("self", "2", waited=0.125)  # and another
    assert counters.waited_seconds() == pytest.approx(4.375)


def test_nothing_is_known_without_proc(tmp_path: Path) -> None:
    counters = ProcessCounters(tmp_path / "none")
    counters.reset_peak_memory()
    assert counters.memory() is None
    assert counters.peak_memory() is None
    assert counters.waited_seconds() is None
    assert counters.cpu_seconds() > 0


def test_core_seconds_are_those_of_children_too() -> None:
    counters = ProcessCounters()
    before, begun = counters.cpu_seconds(), time.process_time()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    own = time.process_time() - begun
    assert counters.cpu_seconds() - before > own + 0.01


@LINUX
def test_this_very_process() -> None:
    counters = ProcessCounters()
    counters.reset_peak_memory()
    before = counters.peak_memory() or counters.memory()
    assert before is not None
    ballast = bytearray(os.urandom(1 << 20)) * 64
    after = counters.peak_memory()
    assert after is not None
    assert after - before >= 0.9 * len(ballast)
    del ballast
    memory = counters.memory()
    assert memory is not None
    assert memory <= after
    waited = counters.waited_seconds()
    assert waited is None or waited >= 0


def test_files_count_once_and_links_not(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "deep" / "deeper" / "b").write_bytes(b"x" * 7)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "deep" / "up").symlink_to(tmp_path)
    assert files_bytes([tmp_path, tmp_path / "missing"]) == 17
