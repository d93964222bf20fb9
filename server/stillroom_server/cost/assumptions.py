"""What an estimate takes for granted, and what it leaves out, as the protocol shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

JSON = dict[str, Any]


class Source(StrEnum):
    """Where an assumption came from; values as in the protocol's CostAssumptionSource."""

    REQUEST = "COST_ASSUMPTION_SOURCE_REQUEST"
    SETTING = "COST_ASSUMPTION_SOURCE_SETTING"
    MODEL = "COST_ASSUMPTION_SOURCE_MODEL"
    DATA = "COST_ASSUMPTION_SOURCE_DATA"
    MEASURED = "COST_ASSUMPTION_SOURCE_MEASURED"
    SPEC = "COST_ASSUMPTION_SOURCE_SPEC"
    DEFAULT = "COST_ASSUMPTION_SOURCE_DEFAULT"


@dataclass(frozen=True, slots=True)
class Assumption:
    """``value`` with its unit, for people; ``note`` says why it is so, or what hangs on it."""

    name: str
    value: str
    source: Source
    note: str = ""

    def to_json(self) -> JSON:
        """As the protocol's CostAssumption in JSON."""
        said = {"name": self.name, "value": self.value, "source": str(self.source)}
        return {**said, "note": self.note} if self.note else said


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that is in no figure; ``phase`` empty: all of the work."""

    name: str
    reason: str
    phase: str = ""

    def to_json(self) -> JSON:
        """As the protocol's CostOmission in JSON."""
        said = {"name": self.name, "reason": self.reason}
        return {**said, "phase": self.phase} if self.phase else said


@dataclass(frozen=True, slots=True)
class Given:
    """A number of the data, and who says so."""

    value: float
    source: Source
    note: str = ""

    def assumed(self, name: str, unit: str) -> Assumption:
        """The same as an assumption: ``1,000 texts``."""
        return Assumption(name, f"{self.value:,.6g} {unit}", self.source, self.note)
