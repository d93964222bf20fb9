"""Waiting for a remote, and looking all the while whether to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

Wait: TypeAlias = Callable[[float, Callable[[], None]], None]
"""Waits so many seconds; what it is given may raise to stop."""

_STEP = 0.2  # seconds


def wait(seconds: float, check: Callable[[], None]) -> None:
    """A ``Wait`` by the clock."""
    waited, event = 0.0, threading.Event()
    while waited < seconds:
        check()
        event.wait(min(_STEP, seconds - waited))
        waited += _STEP
    check()
