"""How long a model takes for so many characters, from what it took before."""

from __future__ import annotations

# The speed is that of the last 128 to 256 thousand characters.
_MOST_MEASURED = 256 << 10


class Speed:
    """Safe under any threads: an estimate that misses an update is still one."""

    def __init__(self) -> None:
        self._measured = (0, 0.0)

    def measured(self, characters: int, seconds: float) -> None:
        """So many characters took so many seconds of one thread."""
        before, took = self._measured
        characters, seconds = characters + before, seconds + took
        if characters > _MOST_MEASURED:
            characters, seconds = characters // 2, seconds / 2
        self._measured = (characters, seconds)

    def seconds(self, characters: int) -> float:
        """What so many characters will take one thread; 0 before anything was measured."""
        known, took = self._measured
        return took * characters / known if known else 0.0
