"""Sizes, times and counts for people."""

from __future__ import annotations

import math
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp


def size(count: int) -> str:
    """Bytes: 512 B, 15.2 MB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def moment(stamp: Timestamp) -> str:
    """Local time to the second; empty when unset."""
    if stamp.seconds == 0:
        return ""
    return f"{stamp.ToDatetime(tzinfo=UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """Seconds: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def share(part: float, whole: float) -> str:
    """A share: 12.3%; empty of nothing."""
    return f"{part / whole:.1%}" if whole else ""


def precise_duration(seconds: float) -> str:
    """Seconds that may be few or very many: 35 us, 12 ms, 2 min 10 s, 30 days."""
    if seconds == 0:
        return "0 s"
    if seconds < 1e-3:
        return f"{_digits(seconds * 1e6)} us"
    if seconds < 1:
        return f"{_digits(seconds * 1e3)} ms"
    return duration(seconds) if seconds < 48 * 3600 else f"{_digits(seconds / 86400)} days"


def energy(joules: float) -> str:
    """Joules in watt-hours: 0.4 Wh, 1.2 kWh."""
    return _scaled(joules / 3600, "Wh")


def carbon(grams: float) -> str:
    """Grams of CO2 equivalent: 0.2 gCO2e, 1.3 kgCO2e."""
    return _scaled(grams, "gCO2e")


def money(dollars: float) -> str:
    """US dollars: $0.003, $12.40, $1,235."""
    if dollars == 0:
        return "$0"
    if dollars >= 1000:
        return f"${dollars:,.0f}"
    return f"${dollars:.2f}" if dollars >= 1 else f"${_digits(dollars)}"


def operations(count: float) -> str:
    """Floating-point operations: 1.2 TFLOP."""
    return _scaled(count, "FLOP")


def count(number: float) -> str:
    """A count, also of many: 1,234,567; 1.2e+12."""
    return f"{number:,.0f}" if number < 1e12 else f"{number:.3g}"


_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def _scaled(value: float, unit: str) -> str:
    for factor, prefix in _PREFIXES:
        if value >= factor * 0.9995:
            return f"{_digits(value / factor)} {prefix}{unit}"
    if value == 0:
        return f"0 {unit}"
    return f"{_digits(value)} {unit}" if value >= 0.01 else f"{_digits(value * 1e3)} m{unit}"


def _digits(value: float) -> str:
    """Two digits that count, or the whole part of more, never as 1e-05."""
    if value >= 9.95:
        return f"{value:,.0f}"
    if value >= 0.995:
        return f"{value:.1f}"
    if value <= 0:
        return "0"
    places = 1 - math.floor(math.log10(value))
    return f"{value:.{places}f}".rstrip("0")
