"""CPU and memory of processes, and how busy the rest of the machine is, as Linux counts them.

Elsewhere than on Linux nothing is known: times are empty or None, and memory is None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
_IDLE_COLUMNS = (3, 4)  # of the line "cpu" of /proc/stat: idle, iowait
_BUSY_COLUMNS = 8  # user, nice, system, idle, iowait, irq, softirq, steal; guest is in user


@dataclass
class Reading:
    """What a stretch of time took; filled when it is over."""

    wall: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    elsewhere: float | None = None


@contextmanager
def measured(processes: Mapping[str, int], proc: Path = PROC) -> Iterator[Reading]:
    """Measures the clock, the CPU of ``processes`` (ids by name, with their children) and what
    everything else on the machine used meanwhile."""
    reading = Reading()
    busy = machine_seconds(proc)
    before = {name: process_seconds(pid, proc) for name, pid in processes.items()}
    started = time.perf_counter()
    yield reading
    reading.wall = time.perf_counter() - started
    for name, pid in processes.items():
        reading.cpu[name] = process_seconds(pid, proc) - before[name]
    after = machine_seconds(proc)
    if busy is not None and after is not None:
        used = after - busy - sum(reading.cpu.values())
        reading.elsewhere = max(0.0, used / reading.wall)


def elsewhere(seconds: float, proc: Path = PROC) -> float | None:
    """Cores that the machine keeps busy now, looked at for so long."""
    before = machine_seconds(proc)
    time.sleep(seconds)
    after = machine_seconds(proc)
    return None if before is None or after is None else (after - before) / seconds


def machine_seconds(proc: Path = PROC) -> float | None:
    """Seconds that all cores together were busy since the machine started, time that a hypervisor
    kept for others included."""
    try:
        first = (proc / "stat").read_text().partition("\n")[0].split()
    except OSError:
        return None
    ticks = [int(tick) for tick in first[1 : 1 + _BUSY_COLUMNS]]
    return sum(t for place, t in enumerate(ticks) if place not in _IDLE_COLUMNS) / _ticks()


def process_seconds(pid: int, proc: Path = PROC) -> float:
    """Seconds of CPU of a process and its children, living and dead; 0 where that is not known."""
    total = 0
    for one in _family(pid, proc):
        # The name in parentheses may hold spaces; what follows it is numbers.
        fields = _read(proc / str(one) / "stat").rpartition(")")[2].split()
        if len(fields) > 14:
            total += sum(map(int, fields[11:15]))  # utime, stime, and of children that have ended
    return total / _ticks()


def peak_memory(pid: int, proc: Path = PROC) -> int | None:
    """Bytes that a process and its living children held in memory at most, summed."""
    found = []
    for one in _family(pid, proc):
        for line in _read(proc / str(one) / "status").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                found.append(int(value.split()[0]) * 1024)
    return sum(found) if found else None


def resident(pid: int, proc: Path = PROC, *, family: bool = True) -> int | None:
    """Bytes that a process, and with ``family`` its living children, hold in memory now."""
    found = []
    for one in _family(pid, proc) if family else (pid,):
        for line in _read(proc / str(one) / "status").splitlines():
            name, _, value = line.partition(":")
            if name == "VmRSS":
                found.append(int(value.split()[0]) * 1024)
    return sum(found) if found else None


def children(pid: int, proc: Path = PROC) -> Iterator[int]:
    """The processes that a process started and that still run."""
    for listed in (proc / str(pid) / "task").glob("*/children"):
        yield from map(int, _read(listed).split())


def _family(pid: int, proc: Path) -> Iterator[int]:
    yield pid
    for child in children(pid, proc):
        yield from _family(child, proc)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")
