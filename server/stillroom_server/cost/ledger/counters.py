"""What the operating system counts of this process and its children."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


class Counters(Protocol):
    """Counters of the whole process; a test has its own."""

    def cpu_seconds(self) -> float:
        """Core seconds so far of all threads, and of children that have ended."""
        ...

    def reset_peak_memory(self) -> None:
        """``peak_memory`` counts from here on, where the system lets it."""
        ...

    def memory(self) -> int | None:
        """Bytes resident now, with the most of each descendant that lives. None: unknown."""
        ...

    def peak_memory(self) -> int | None:
        """Bytes of the process alone at most, since the reset. None: unknown."""
        ...

    def waited_seconds(self) -> float | None:
        """Seconds so far in which threads were ready and had no core. None: unknown."""
        ...


class ProcessCounters:
    """Those of Linux; elsewhere only the core seconds are known.

    ``proc`` is there for tests. Not safe between threads: the meter has a lock.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._hidden_peak = 0
        self._waited: dict[str, int] = {}
        self._waited_before = 0

    def cpu_seconds(self) -> float:
        children = 0.0
        if resource is not None:
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            children = usage.ru_utime + usage.ru_stime
        return time.process_time() + children

    def reset_peak_memory(self) -> None:
        self._hidden_peak = 0
        try:
            # Linux: forget the high water mark (proc_pid_clear_refs(5)).
            (self._proc / "self/clear_refs").write_text("5")
        except OSError:
            # Not allowed: the old mark hides all that stays below it.
            self._hidden_peak = self._status("VmHWM") or 0

    def memory(self) -> int | None:
        own = self._status("VmRSS")
        if own is None:
            return None
        # A child may be small again when it is looked at.
        return own + sum(self._status("VmHWM", pid) or 0 for pid in self._descendants("self"))

    def peak_memory(self) -> int | None:
        peak = self._status("VmHWM")
        return None if peak is None or peak <= self._hidden_peak else peak

    def waited_seconds(self) -> float | None:
        found: dict[str, int] = {}
        for task in _names(self._proc / "self/task"):
            text = _text(self._proc / "self/task" / task / "schedstat")
            fields = text.split() if text else ()
            if len(fields) == 3:
                found[task] = int(fields[1])
        if not found:
            return None
        for task, waited in self._waited.items():
            # A thread that has ended, or whose number another one has got.
            if found.get(task, -1) < waited:
                self._waited_before += waited
        self._waited = found
        return (self._waited_before + sum(found.values())) / 1e9

    def _status(self, name: str, pid: str = "self") -> int | None:
        text = _text(self._proc / pid / "status") or ""
        for line in text.splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        return None

    def _descendants(self, pid: str) -> Iterator[str]:
        for task in _names(self._proc / pid / "task"):
            for child in (_text(self._proc / pid / "task" / task / "children") or "").split():
                yield child
                yield from self._descendants(child)


def files_bytes(folders: Sequence[Path]) -> int:
    """Bytes of the regular files in these folders and all below, links not followed; what vanishes
    meanwhile counts nothing."""
    total = 0
    waiting = [os.fspath(folder) for folder in folders]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as found:
            for entry in found:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
    return total


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
