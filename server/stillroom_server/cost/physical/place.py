"""Where work runs, as far as its physics goes: cores, an accelerator, and how fast they are."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.physical.speeds import Speeds

# Shares of what a specification promises that dense transformers reach, and how far they lie apart.
_COMPUTE, _BANDWIDTH = 0.45, 0.7
_APART = (0.6, 2.5)
CPU_BATCH_TOKENS, DEVICE_BATCH_TOKENS = 2048, 65_536


@dataclass(frozen=True)
class Accelerator:
    """``flops`` a second at best in the type that is computed in, ``bandwidth`` in bytes a second;
    None where no source says so. ``memory`` in bytes."""

    name: str
    flops: float | None
    bandwidth: float | None
    memory: float | None = None

    def seconds(self, flops: Figure, traffic: Figure) -> Figure:
        """By the roofline model (Williams et al. 2009): whichever of arithmetic and memory takes
        longer. Unknown where nobody says how fast the device is."""
        if self.flops is None:
            return Figure.unknown(f"no source says how fast {self.name} computes")
        arithmetic = flops.scaled(1.0 / (self.flops * _COMPUTE))
        if self.bandwidth is not None:
            moving = traffic.scaled(1.0 / (self.bandwidth * _BANDWIDTH))
            arithmetic = arithmetic.largest(moving)
        return arithmetic.times(Figure.around(1.0, *_APART, Basis.SPEC))


@dataclass(frozen=True)
class Place:
    """``threads`` that the work may use, ``contention``: how many times slower others make it;
    ``element_bytes`` of the numbers that teachers are computed in, ``network`` bytes a second.
    ``device_lines``: the measured lines of teachers are seconds of an accelerator of this host."""

    speeds: Speeds
    threads: int
    contention: float = 1.0
    accelerator: Accelerator | None = None
    element_bytes: float = 4.0
    device_lines: bool = False
    network: Figure = Figure.unknown("nobody says how fast the network is")  # noqa: RUF009 - frozen

    @property
    def batch_tokens(self) -> int:
        """Tokens that go through a teacher together."""
        return CPU_BATCH_TOKENS if self.accelerator is None else DEVICE_BATCH_TOKENS
