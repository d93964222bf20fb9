"""Finding, watching and awaiting engine processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 120.0  # longer than anything here takes on a busy machine


def engines(parent: int) -> list[int]:
    """The engines that ``parent`` started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = status.read_text().rpartition(")")[2].split()[:2]
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(ppid) == parent and state != "Z" and b"stillroom_server.teachers.engine" in command:
            found.append(int(status.parent.name))
    return found


def socket_folder(engine: int) -> Path:
    """Where its socket is."""
    return Path(os.fsdecode(Path(f"/proc/{engine}/cmdline").read_bytes().split(b"\0")[-2])).parent


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def libraries(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
