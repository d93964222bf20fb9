"""Turns an executor's counts into a Progress with a rate and the time left. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from stillroom_server.operations.model import Progress

_WINDOW_SECONDS = 15.0
_SAMPLE_SECONDS = 0.25


class RateMeter:
    """Units a second over the last 15 seconds; None until two counts are a quarter second apart.

    The first count of a phase is its base line, so work that a resumed phase finds done already
    does not count as speed. Keeps at most about 60 samples.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def rate(self, now: float, done: int) -> float | None:
        samples = self._samples
        if samples and done < samples[-1][1]:
            samples.clear()  # the phase went back, as after a failed step
        while len(samples) > 1 and now - samples[0][0] > _WINDOW_SECONDS:
            samples.popleft()
        if not samples or now - samples[-1][0] >= _SAMPLE_SECONDS:
            samples.append((now, done))
        since, base = samples[0]
        if now - since < _SAMPLE_SECONDS:
            return None
        return (done - base) / (now - since)


class ProgressMeter:
    """The progress of one attempt. ``clock`` counts seconds and never goes back."""

    def __init__(self, phases: tuple[str, ...], clock: Callable[[], float]) -> None:
        self._all_phases = self._phases = phases
        self._ends = _ends([1.0] * len(phases))
        self._clock = clock
        self._phase = ""
        self._rate = RateMeter()
        self._fraction = 0.0

    def expect(self, shares: Mapping[str, float]) -> None:
        """The phases that there will be, in their order, each with its share of the time, in any
        unit. Raises ValueError for an unknown phase or a share that is not positive."""
        if not shares or min(shares.values()) <= 0 or not set(shares) <= set(self._all_phases):
            raise ValueError(f"{dict(shares)} are no shares of {self._all_phases}")
        self._phases = tuple(shares)
        self._ends = _ends(list(shares.values()))

    def update(self, phase: str, done: int, total: int, unit: str, message: str = "") -> Progress:
        """Raises ValueError for a phase that the executor did not declare or a negative count.

        More done than ``total`` is shown as all of it: totals are often estimates.
        """
        if phase not in self._phases:
            raise ValueError(f"{phase!r} is no phase of this executor; it has {self._phases}")
        if done < 0 or total < 0:
            raise ValueError(f"negative progress: {done} of {total}")
        if total:
            done = min(done, total)
        if phase != self._phase:
            self._phase = phase
            self._rate = RateMeter()
        index = self._phases.index(phase)
        of_phase = done / total if total else 0.0
        begin, end = self._ends[index], self._ends[index + 1]
        self._fraction = max(self._fraction, begin + of_phase * (end - begin))
        rate = self._rate.rate(self._clock(), done)
        return Progress(
            phase=phase,
            phase_index=index,
            phase_count=len(self._phases),
            done=done,
            total=total,
            unit=unit,
            message=message,
            rate=rate,
            seconds_left=(total - done) / rate if rate and total else None,
            fraction=self._fraction,
        )


def _ends(shares: Sequence[float]) -> list[float]:
    """Where phases of these shares begin and end, from 0 to 1."""
    total = sum(shares)
    return [0.0, *(part / total for part in accumulate(shares))]
