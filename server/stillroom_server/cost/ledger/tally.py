"""What an operation has taken so far, phase by phase, over all of its attempts. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stillroom_server.cost.figures import Basis, Figure, Resources

_NOT_COUNTED = "there is no counter for it"
_SHARED = "other work ran in the same process"


@dataclass
class Taken:
    """What one phase took: seconds, core seconds, bytes. None: there was no counter."""

    wall: float = 0.0
    cpu: float = 0.0
    memory: int | None = None
    disk: int | None = None
    network: int | None = None

    def add(self, other: Taken) -> None:
        """This and then ``other``."""
        self.wall += other.wall
        self.cpu += other.cpu
        self.memory = _most(self.memory, other.memory)
        self.disk = _most(self.disk, other.disk)
        if other.network is not None:
            self.network = (self.network or 0) + other.network


@dataclass
class Tally:
    """One or more attempts. ``waited``: seconds of threads that were ready and had no core; None
    when unknown. ``shared``: other work ran in the same process, so its counters tell of both."""

    attempts: int = 1
    phases: dict[str, Taken] = field(default_factory=dict)
    waited: float | None = None
    shared: bool = False

    def followed_by(self, other: Tally) -> Tally:
        """Both together; phases stand in the order in which they were first met."""
        sums = Tally(self.attempts + other.attempts, shared=self.shared or other.shared)
        for phases in (self.phases, other.phases):
            for name, taken in phases.items():
                sums.phases.setdefault(name, Taken()).add(taken)
        if self.waited is not None and other.waited is not None:
            sums.waited = self.waited + other.waited
        return sums

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        phases = {name: Taken(**taken) for name, taken in value["phases"].items()}
        return cls(value["attempts"], phases, value["waited"], value["shared"])

    @property
    def whole(self) -> Taken:
        """All phases together."""
        whole = Taken()
        for taken in self.phases.values():
            whole.add(taken)
        return whole

    @property
    def contention(self) -> float | None:
        """Seconds on the clock over what they would have been without waiting for a core.

        Threads side by side wait side by side, so their waiting is divided by how many of them ran
        or wanted to, on average. That the threads of the work wait for each other is in it.
        """
        whole = self.whole
        if self.waited is None or self.shared or whole.wall <= 0:
            return None
        abreast = max(1.0, (whole.cpu + self.waited) / whole.wall)
        lost = min(self.waited / abreast, 0.999 * whole.wall)
        return whole.wall / (whole.wall - lost)

    def resources(self, taken: Taken, note: str = "") -> Resources:
        """As figures, MEASURED or UNKNOWN; ``note`` is added to those that are known."""

        def figure(value: float | None, why: str = _NOT_COUNTED) -> Figure:
            return Figure.unknown(why) if value is None else measured(value, note)

        own = not self.shared
        return Resources(
            flops=Figure.unknown(_NOT_COUNTED),
            memory_traffic_bytes=Figure.unknown(_NOT_COUNTED),
            cpu_seconds=figure(taken.cpu) if own else Figure.unknown(_SHARED),
            wall_seconds=figure(taken.wall),
            peak_memory_bytes=figure(taken.memory) if own else Figure.unknown(_SHARED),
            disk_bytes=figure(taken.disk),
            network_bytes=figure(taken.network),
            energy_joules=Figure.unknown("this host has no energy counter"),
            co2e_grams=Figure.unknown("needs the energy, which was not measured"),
            money_usd=Figure.unknown("a bill is not measured"),
        )


def measured(value: float, note: str = "") -> Figure:
    """A number that was counted."""
    return Figure.exact(max(0.0, float(value)), Basis.MEASURED, note)


def _most(a: int | None, b: int | None) -> int | None:
    known = [value for value in (a, b) if value is not None]
    return max(known) if known else None
