"""One budget of memory for the pools that share it."""

from __future__ import annotations

import threading
from typing import Any, Protocol

DEFAULT_BUDGET_BYTES = 2 << 30


class Held(Protocol):
    """Something in memory; ``last_used`` is in seconds of a clock that all pools share."""

    last_used: float

    @property
    def nbytes(self) -> int: ...


class Memory:
    """At most ``budget_bytes`` on all shelves together, save that the newest always has room."""

    def __init__(self, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self.lock = threading.Lock()  # guards every write to a shelf
        self._budget = budget_bytes
        self._shelves: list[dict[str, Any]] = []

    def add(self, shelf: dict[str, Any]) -> None:
        """Counts what is on ``shelf``, values that are ``Held``, from now on."""
        with self.lock:
            self._shelves.append(shelf)

    def make_room(self, newest: Held) -> None:
        """Drop the least recently used while over the budget. Called under the lock."""
        held = [(each, name, shelf) for shelf in self._shelves for name, each in shelf.items()]
        total = sum(each.nbytes for each, _, _ in held)
        for each, name, shelf in sorted(held, key=lambda item: item[0].last_used):
            if total <= self._budget:
                return
            if each is not newest:
                del shelf[name]
                total -= each.nbytes
