"""What can be estimated for, as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stillroom._protocol import enums
from stillroom.cli import human
from stillroom.v1 import cost_service_pb2 as pb

if TYPE_CHECKING:
    from stillroom.cli.session import Session


def show(session: Session) -> None:
    """All devices and regions; the first source of each figure."""
    with session.client() as client:
        found = client.list_devices()
    if session.json_output:
        from stillroom.cli.plain import plain

        session.emit(
            {
                "devices": [plain(item) for item in found.devices],
                "regions": [plain(item) for item in found.regions],
                "defaults": plain(found.defaults),
            }
        )
        return
    session.table(
        ("DEVICE", "NAME", "MEMORY#", "BANDWIDTH#", "PEAK", "POWER#", "PRICE/H#", "SOURCES"),
        (_device(item) for item in found.devices),
    )
    session.out.print()
    session.table(
        ("REGION", "NAME", "gCO2e/kWh#", "SOURCE"),
        (
            (
                region.name,
                region.display_name,
                _first(region.carbon_intensity_grams_per_kwh, lambda value: f"{value:g}"),
                _sources([region.carbon_intensity_grams_per_kwh]),
            )
            for region in found.regions
        ),
    )
    defaults = [
        (field.name, f"{value:g}" if isinstance(value, float) else str(value))
        for field, value in found.defaults.ListFields()
    ]
    if defaults:
        session.out.print()
        session.facts([("used unless told otherwise", ""), *defaults])


def _device(item: pb.CostDevice) -> tuple[str, ...]:
    figures = (
        item.memory_bytes,
        item.memory_bandwidth,
        item.max_power_watts,
        item.price_usd_per_hour,
    )
    here = " (here)" if item.in_host else ""
    return (
        item.name.removeprefix("devices/"),
        item.display_name + here,
        _first(item.memory_bytes, lambda value: human.size(round(value))),
        _first(item.memory_bandwidth, lambda value: f"{human.size(round(value))}/s"),
        _peak(item),
        _first(item.max_power_watts, lambda value: f"{value:g} W"),
        _first(item.price_usd_per_hour, human.money),
        _sources([*figures, [rate.operations_per_second for rate in item.peak_rates]]),
    )


def _peak(item: pb.CostDevice) -> str:
    """The dense peak of each format in 10^12 operations a second."""
    seen: dict[str, str] = {}
    for rate in item.peak_rates:
        if not rate.sparse:
            form = enums.word(pb.NumberFormat, rate.format)
            peak = f"{rate.operations_per_second.value / 1e12:.6g} T/s"  # as their sources write it
            seen.setdefault(form, peak)
    return ", ".join(f"{form} {peak}" for form, peak in seen.items()) or "unknown"


def _first(figures: Sequence[pb.SourcedFigure], form: Callable[[float], str]) -> str:
    return form(figures[0].value) if figures else "unknown"


def _sources(lists: Sequence[Sequence[pb.SourcedFigure]]) -> str:
    """Each source once, with its date."""
    found = [
        f"{figure.source} {figure.source_date}".strip() for figures in lists for figure in figures
    ]
    return "; ".join(dict.fromkeys(filter(None, found)))
