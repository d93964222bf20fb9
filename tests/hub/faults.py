"""Faults on command: which request meets one, what it is, and how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Fault:
    """Strikes ``times`` requests whose "METHOD path" matches ``pattern``, after ``skip`` of them.

    - ``status``: the answer. None: the true one.
    - ``late``: the request has its effect first; else it has none.
    - ``hang``: no answer at all; the connection stays open.
    - ``drop``: the connection is closed instead of an answer.
    - ``cut``: so many bytes of the body are sent, then the connection is closed.
    - ``before``: done first, such as what somebody else commits.
    """

    pattern: str
    status: int | None = None
    late: bool = False
    hang: bool = False
    drop: bool = False
    cut: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None
    times: int = 1
    skip: int = 0


class Faults:
    """Those that are still to come, in order; safe in threads."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._lock = threading.Lock()
        self.struck = 0
        self.over = threading.Event()

    def plan(self, *faults: Fault) -> None:
        with self._lock:
            self._planned += faults

    def clear(self) -> None:
        with self._lock:
            self._planned.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, if any."""
        with self._lock:
            for fault in self._planned:
                if not re.search(fault.pattern, f"{method} {path}"):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if not fault.times:
                    self._planned.remove(fault)
                self.struck += 1
                return fault
        return None
