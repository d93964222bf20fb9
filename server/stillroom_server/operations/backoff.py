"""How long to wait before a dead runner is replaced. No I/O, no clock of its own."""

from __future__ import annotations

_HEALTHY_SECONDS = 10.0


class Backoff:
    """The first pause is ``first`` seconds; each doubles the one before, up to ``longest``.

    A runner that lived for ten seconds, or ended as it should, starts the row anew.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = 0.0

    def ended(self, status: int, lived: float) -> None:
        """``status`` as of the process (negative: a signal), ``lived`` in seconds."""
        if status == 0:
            self._next = 0.0
        elif lived >= _HEALTHY_SECONDS or self._next == 0.0:
            self._next = self._first
        else:
            self._next = min(2 * self._next, self._longest)

    @property
    def pause(self) -> float:
        """Seconds to wait before the next start."""
        return self._next
