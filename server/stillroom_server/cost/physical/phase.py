"""One phase of work before prices: what it keeps busy, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_server.cost.figures import Basis, Figure

ZERO = Figure.exact(0.0, Basis.SPEC)


@dataclass(frozen=True)
class Phase:
    """``name``, ``unit`` and ``units`` as the executor reports them.

    ``flops``; ``traffic``: bytes between memory and processor; ``cpu``: seconds of the host's
    cores, of which the share ``spread`` is done by as many threads as there are; ``device``:
    seconds of an accelerator; ``waiting``: seconds on the clock in which neither works (a disk that
    syncs, a network). ``memory``: the most bytes at once, of the accelerator where there is one;
    ``disk``: the most bytes at once; ``network``: bytes. ``limited_by`` is for people.
    """

    name: str
    unit: str
    units: Figure
    cpu: Figure
    flops: Figure = ZERO
    traffic: Figure = ZERO
    spread: float = 0.0
    device: Figure = ZERO
    waiting: Figure = ZERO
    memory: Figure = ZERO
    disk: Figure = ZERO
    network: Figure = ZERO
    limited_by: str = ""

    def wall(self, threads: float, contention: float, alone: float | None = None) -> Figure:
        """Seconds on the clock. Other work on the machine slows the cores, not what waits: what all
        threads do by ``contention``, what one does by ``alone``, which is as much where None."""
        single = contention if alone is None else alone
        share = (1.0 - self.spread) * single + self.spread / max(1.0, threads) * contention
        return self.cpu.scaled(share).plus(self.waiting, self.device)


def counted(value: float, note: str = "") -> Figure:
    """A number that follows from sizes alone."""
    return Figure.exact(value, Basis.SPEC, note)


def about(value: float, low: float, high: float, note: str = "") -> Figure:
    """A number that rests on an assumption, and may be ``low`` to ``high`` times that."""
    return Figure.around(value, low, high, Basis.SPEC, note)
