"""Units of a code path to seconds, by the best that is known of it.

A line that was measured on this host is CALIBRATED; an overhead that follows a measured one is too,
with more room. What nobody measured comes from the reference machine, as SPEC, with still more.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_server.cost.calibration.rates import Line, RateSet
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.physical.reference import OVERHEADS, PYTHON, REFERENCE

_MEASURED = (0.87, 1.2)
_FOLLOWING = (0.75, 1.4)
_REFERENCE = (0.45, 2.2)
# A bare loop feels neighbors and caches more than what follows it: where it took 1.98 times as long
# as on the reference machine, imports, reports and checks took 1.4 to 1.7 times as long.
_FELT = 0.7


@dataclass(frozen=True)
class Speeds:
    """``rates`` of this host and of the model, ``NONE`` where the work runs elsewhere;
    ``core_ratio``: how many times slower a core of the device is than the reference's."""

    rates: RateSet
    core_ratio: float = 1.0

    @property
    def calibrated(self) -> bool:
        return bool(self.rates.lines)

    def seconds(self, name: str, units: float, calls: float = 1.0) -> Figure:
        """Of ``units`` of the line ``name`` in so many calls."""
        line = self.rates.get(name)
        if line is not None:
            return Figure.around(line.seconds(units, calls), *_MEASURED, Basis.CALIBRATED)
        known = REFERENCE[name]
        ratio = self._ratio(name)
        value = (known.intercept * calls + known.slope * units) * ratio
        return Figure.around(value, *_REFERENCE, Basis.SPEC)

    def overhead(self, name: str, units: float = 1.0) -> Figure:
        """Of ``units`` of what no calibration measures."""
        known = OVERHEADS[name]
        line = self.rates.get(known.follows)
        if line is None:
            return Figure.around(known.slope * units * self.core_ratio, *_REFERENCE, Basis.SPEC)
        value = known.slope * units * self._of(line)
        return Figure.around(value, *_FOLLOWING, Basis.CALIBRATED)

    def has(self, name: str) -> bool:
        """Whether the line was measured here."""
        return self.rates.get(name) is not None

    def _ratio(self, name: str) -> float:
        """How many times slower than the reference what nobody measured is."""
        follows = "matmul" if name.startswith(("teacher.", "pca")) else "python"
        line = self.rates.get(follows)
        return self.core_ratio if line is None else self._of(line)

    @staticmethod
    def _of(line: Line) -> float:
        ratio = line.slope_seconds / REFERENCE[line.name].slope
        return float(ratio**_FELT) if line.name == PYTHON else ratio
