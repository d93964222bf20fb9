"""How long the phases of a run took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """``seconds`` by phase, of this attempt; ``clock`` counts seconds."""

    clock: Callable[[], float]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times what is inside as ``name``."""
        start = self.clock()
        yield
        self.seconds[name] = round(self.clock() - start, 4)
