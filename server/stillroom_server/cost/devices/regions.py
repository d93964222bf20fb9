"""How much CO2 a kilowatt-hour stands for, by country and for the world."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from stillroom_registry.errors import NotFound
from stillroom_server.cost.devices.values import Sourced

JSON = dict[str, Any]
WORLD = "WORLD"
_CODECARBON = "codecarbon 3.3.2"
_DATE = "2026-11-22"


@dataclass(frozen=True, slots=True)
class Region:
    """``WORLD``, or a country by its ISO 3166-1 alpha-3 code; ``carbon`` in grams of CO2 equivalent
    a kilowatt-hour."""

    name: str
    display_name: str
    carbon: Sourced

    def to_json(self) -> JSON:
        """As the protocol's CostRegion in JSON."""
        return {
            "name": self.name,
            "display_name": self.display_name,
            "carbon_intensity_grams_per_kwh": [self.carbon.to_json()],
        }


@cache
def regions() -> dict[str, Region]:
    """All of them by name, the world first. Countries without a figure are missing."""
    source = f"{_CODECARBON}, carbon_intensity_per_source.json, after IEA 2019"
    world = Region(WORLD, "World", Sourced(475.0, source, _DATE, "an average of the world"))
    found = {WORLD: world}
    table = resources.files(__package__).joinpath("regions.txt").read_text(encoding="utf-8")
    for line in table.splitlines():
        if line.startswith("#"):
            continue
        code, year, grams, name = line.split(" ", 3)
        source = f"{_CODECARBON}, global_energy_mix.json, after Our World in Data"
        found[code] = Region(code, name, Sourced(float(grams), source, _DATE, f"in {year}"))
    return found


def find_region(name: str, field: str) -> Region:
    """Raises NotFound, with the name in its metadata, for one that is not listed."""
    region = regions().get(name)
    if region is None:
        raise NotFound(
            f"there is no region {name!r}; ListDevices lists them: WORLD, or codes of three"
            " capital letters such as FRA",
            reason="REGION_NOT_FOUND",
            field=field,
            metadata={"region": name},
        )
    return region
