"""A device as estimates know it: every figure with who says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from stillroom_server.cost.figures import Basis

JSON = dict[str, Any]
Sources = tuple["Sourced", ...]


class DeviceKind(StrEnum):
    """Values as in the protocol's CostDeviceKind."""

    CPU = "COST_DEVICE_KIND_CPU"
    GPU = "COST_DEVICE_KIND_GPU"
    UNIFIED = "COST_DEVICE_KIND_UNIFIED"


class NumberFormat(StrEnum):
    """Values as in the protocol's NumberFormat."""

    FP32 = "NUMBER_FORMAT_FP32"
    TF32 = "NUMBER_FORMAT_TF32"
    FP16 = "NUMBER_FORMAT_FP16"
    BF16 = "NUMBER_FORMAT_BF16"
    FP8 = "NUMBER_FORMAT_FP8"
    INT8 = "NUMBER_FORMAT_INT8"


@dataclass(frozen=True, slots=True)
class Sourced:
    """A number in the unit of its field. ``date`` is when it was looked up or measured,
    ``YYYY-MM-DD``, empty where nobody wrote it down; ``note`` what it holds for."""

    value: float
    source: str
    date: str = ""
    note: str = ""
    basis: Basis = Basis.SPEC

    def to_json(self) -> JSON:
        """As the protocol's SourcedFigure in JSON."""
        said: JSON = {"value": self.value, "source": self.source, "basis": str(self.basis)}
        if self.date:
            said["source_date"] = self.date
        return {**said, "note": self.note} if self.note else said


@dataclass(frozen=True, slots=True)
class Peak:
    """Operations a second at best in a format; a multiplication and an addition are two.

    ``sparse`` ones count on half of the weights being zeros: they are shown and never used.
    ``matrix_units`` ones do not hold for plain code.
    """

    format: NumberFormat
    rate: Sourced
    sparse: bool = False
    matrix_units: bool = False

    def to_json(self) -> JSON:
        """As the protocol's PeakRate in JSON."""
        return {
            "format": str(self.format),
            "operations_per_second": self.rate.to_json(),
            "sparse": self.sparse,
            "matrix_units": self.matrix_units,
        }


@dataclass(frozen=True, slots=True)
class Device:
    """``name`` without ``devices/``. Bytes, bytes a second, watts, US dollars an hour; where
    sources differ the first counts, and empty means that no source was found. ``cores`` 0: unknown,
    or no processor."""

    name: str
    display_name: str
    kind: DeviceKind
    in_host: bool = False
    memory_bytes: Sources = ()
    memory_bandwidth: Sources = ()
    peaks: tuple[Peak, ...] = ()
    max_power_watts: Sources = ()
    idle_power_watts: Sources = ()
    price_usd_per_hour: Sources = ()
    cores: int = 0

    @property
    def full_name(self) -> str:
        return f"devices/{self.name}"

    @property
    def memory(self) -> Sourced | None:
        """Bytes of memory."""
        return first(self.memory_bytes)

    @property
    def bandwidth(self) -> Sourced | None:
        """Bytes a second between memory and processor."""
        return first(self.memory_bandwidth)

    def peak(self, *formats: NumberFormat) -> Peak | None:
        """The first dense peak in the first of these formats that has one."""
        for wanted in formats:
            for peak in self.peaks:
                if peak.format is wanted and not peak.sparse:
                    return peak
        return None

    def to_json(self) -> JSON:
        """As the protocol's CostDevice in JSON."""
        lists = {
            name: [each.to_json() for each in getattr(self, name)]
            for name in (
                *("memory_bytes", "memory_bandwidth"),
                *("max_power_watts", "idle_power_watts", "price_usd_per_hour"),
            )
        }
        return {
            "name": self.full_name,
            "display_name": self.display_name,
            "kind": str(self.kind),
            "in_host": self.in_host,
            **lists,
            "peak_rates": [peak.to_json() for peak in self.peaks],
            "cores": self.cores,
        }


def first(sources: Sources) -> Sourced | None:
    """The one that estimates use."""
    return sources[0] if sources else None
