"""Names of worker processes from which anyone on the same host can tell that one is gone.

A name is ``<place>:<pid>:<start>``. The place is the host, its current boot and the process id
namespace (containers of one host count process ids apart); the start tells a process from a later
one with the same id. Only a name from the same place is ever judged: everywhere else, and where
/proc is missing, the lease alone decides.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class WorkerName:
    place: str
    pid: int
    start: str

    def __str__(self) -> str:
        return f"{self.place}:{self.pid}:{self.start}"

    @classmethod
    def parse(cls, text: str) -> WorkerName | None:
        """The parts of a name, or None for a name of another make."""
        place, _, rest = text.partition(":")
        pid, _, start = rest.partition(":")
        if not (place and start and pid.isdecimal()):
            return None
        return cls(place, int(pid), start)


def current_worker() -> WorkerName:
    """The name of this process."""
    pid = os.getpid()
    return WorkerName(_place(), pid, _start(pid) or "unknown")


def is_gone(name: str) -> bool:
    """Whether the named process certainly runs no more; False whenever that cannot be known."""
    worker = WorkerName.parse(name)
    if worker is None or worker.start == "unknown" or worker.place != _place():
        return False
    return _start(worker.pid) != worker.start


@lru_cache(maxsize=1)
def _place() -> str:
    boot = namespace = "unknown"
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (_PROC / "self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        pass  # No Linux: is_gone() then never judges, as starts are unknown too.
    return f"{socket.gethostname()}/{boot}/{namespace}".replace(":", "-")


def _start(pid: int) -> str | None:
    """Clock ticks from boot to the start of a process; None when it is gone or a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field, the command, may hold spaces and parentheses: count from its end.
    fields = stat.rpartition(")")[2].split()
    state, start = fields[0], fields[19]
    return None if state in ("Z", "X") else start
