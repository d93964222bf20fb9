"""How much slower other work on the machine makes ours: apart from what work costs in seconds of
cores, which other work hardly changes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")
_BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; guest is in user
_FRESH_SECONDS = 0.5  # a shorter look tells too little, as clocks tick a hundred times a second
_STALE_SECONDS = 60.0  # a longer one tells of what is over
_LOOKS, _LOOK_SECONDS = 5, 0.0015  # at what runs just now, where nothing else is known

# A process of each priority gets processor time in this proportion (sched_prio_to_weight of Linux'
# kernel/sched/core.c, nice 0 to 19).
_WEIGHTS = (
    *(1024, 820, 655, 526, 423, 335, 272, 215, 172, 137),
    *(110, 87, 70, 56, 45, 36, 29, 23, 18, 15),
)


def slowdown(
    busy: float, cores: int, threads: int, nice: int = 0, *, grouped: bool = False
) -> float:
    """Times as long as alone, >= 1, for work of ``threads`` at priority ``nice`` (0 to 19) while
    others keep ``busy`` of ``cores`` busy at priority 0.

    Ours has the free cores, and of those that both want the share that its priority earns. A thread
    of theirs is a core's worth: what waits behind another counts no further. ``grouped``: see
    ``sessions_share``; the priority then counts nothing, and our threads share a session's weight.
    """
    cores = max(1, cores)
    wanted = min(max(1, threads), cores)
    busy = min(max(0.0, busy), float(cores))
    free = cores - busy
    contested = max(0.0, wanted - free)
    weight = _WEIGHTS[0] / wanted if grouped else float(_WEIGHTS[min(max(0, nice), 19)])
    got = wanted - contested + contested * weight / (weight + _WEIGHTS[0])
    return max(1.0, wanted / got)


def sessions_share(proc: Path = PROC) -> bool:
    """Whether Linux shares cores among sessions first (autogroups, sched(7)): each process that
    works for us has a session of its own, and there its priority is against nobody."""
    return _read(proc / "sys" / "kernel" / "sched_autogroup_enabled").strip() == "1"


class Load:
    """Cores that others keep busy on this host. ``own`` are the processes whose work is not
    others', with their children. Safe to use from any thread."""

    def __init__(
        self,
        own: Callable[[], int] = os.getpid,
        *,
        proc: Path = PROC,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._own = own
        self._proc = proc
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._last = self._look()

    def busy(self) -> float | None:
        """Since the last look, if that was between half a second and a minute ago; else what runs
        at this moment, looked at for some milliseconds. None where the system does not tell."""
        with self._lock:
            before, now = self._last, self._look()
            if now is None:
                return None
            if before is not None and _FRESH_SECONDS <= now[0] - before[0] <= _STALE_SECONDS:
                self._last = now
                others = (now[1] - before[1]) - max(0.0, now[2] - before[2])
                return max(0.0, others / (now[0] - before[0]))
            if before is None or now[0] - before[0] > _STALE_SECONDS:
                self._last = now
        return self._running()

    def _look(self) -> tuple[float, float, float] | None:
        """Clock, busy seconds of the machine since its start, and of ours."""
        try:
            first = (self._proc / "stat").read_text().partition("\n")[0].split()[1:]
            busy = sum(int(first[place]) for place in _BUSY_COLUMNS) / _ticks()
        except (OSError, ValueError, IndexError):
            return None
        return self._clock(), busy, sum(_seconds(self._proc, pid) for pid in self._family())

    def _family(self) -> list[int]:
        found: list[int] = []
        waiting = [self._own()]
        while waiting and len(found) < 64:
            pid = waiting.pop()
            found.append(pid)
            for listed in (self._proc / str(pid) / "task").glob("*/children"):
                waiting.extend(map(int, _read(listed).split()))
        return found

    def _running(self) -> float | None:
        """Threads that run or wait for a core, but for the one that asks."""
        counts = []
        for _ in range(_LOOKS):
            fields = _read(self._proc / "loadavg").split()
            if len(fields) < 4:
                return None
            counts.append(int(fields[3].partition("/")[0]))
            self._pause(_LOOK_SECONDS)
        return float(max(0, sorted(counts)[_LOOKS // 2] - 1))


def _seconds(proc: Path, pid: int) -> float:
    # The name in parentheses may hold spaces; what follows it is numbers.
    fields = _read(proc / str(pid) / "stat").rpartition(")")[2].split()
    if len(fields) < 15:
        return 0.0
    return sum(map(int, fields[11:15])) / _ticks()  # utime, stime, and of children that have ended


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")
