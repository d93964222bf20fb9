"""All devices that estimates know: this host, its accelerators, and the catalogue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_registry.pages import make_token, page_limit, read_token
from stillroom_server.cost.devices.catalogue import CATALOGUE, VCPU_IDLE, VCPU_MAX
from stillroom_server.cost.devices.host import Accelerator, Host
from stillroom_server.cost.devices.regions import regions
from stillroom_server.cost.devices.values import Device, DeviceKind, Sourced, Sources
from stillroom_server.cost.figures import Basis

JSON = dict[str, Any]
HOST = "host"
_LISTING = "cost-devices"
_SYSTEM = "the operating system"
_SETTING = "a setting of this server"
_RATED = "for each core, as nobody says what this machine draws: set cost_max_power_watts"


@dataclass(frozen=True, slots=True)
class HostFigures:
    """What settings say of this host, None what they do not: US dollars an hour, watts of the whole
    machine when idle and at most; and bytes a second of its memory, measured."""

    price_usd_per_hour: float | None = None
    idle_power_watts: float | None = None
    max_power_watts: float | None = None
    memory_bandwidth: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """``devices`` of a page; ``next_page_token`` empty: the last one."""

    devices: Sequence[Device]
    next_page_token: str
    first: bool

    def to_json(self, defaults: JSON | None = None) -> JSON:
        """As the protocol's ListDevicesResponse in JSON; ``defaults`` is its CostEnvironment."""
        said: JSON = {"devices": [device.to_json() for device in self.devices]}
        if self.next_page_token:
            said["next_page_token"] = self.next_page_token
        if self.first:
            said["regions"] = [region.to_json() for region in regions().values()]
            said["defaults"] = defaults or {}
        return said


class Devices:
    """Devices by name, this host first, then its accelerators, then the catalogue by name."""

    def __init__(self, host: Host, figures: HostFigures | None = None) -> None:
        self.host = host
        given = figures or HostFigures()
        accelerators = [_accelerator(each, host.day, given) for each in host.accelerators]
        self.all = (_host(host, given), *accelerators, *CATALOGUE)
        self._by_name = {device.name: device for device in self.all}

    def find(self, name: str, field: str = "environment.device") -> Device:
        """By ``devices/{device}`` or ``{device}``; empty: this host. Raises NotFound, with the name
        in its metadata."""
        short = name.removeprefix("devices/") or HOST
        if (device := self._by_name.get(short)) is not None:
            return device
        raise NotFound(
            f"there is no device {name!r}; ListDevices lists them",
            reason="DEVICE_NOT_FOUND",
            field=field,
            metadata={"device": name},
        )

    def page(self, page_size: int = 0, page_token: str = "") -> Page:
        """A page of them. Raises InvalidArgument for a negative size, or another list's token."""
        limit = page_limit(page_size)
        after = read_token(_LISTING, page_token, str)
        names = [device.name for device in self.all]
        if after is not None and after not in names:
            raise InvalidArgument(
                f"the page token is for a device, {after}, that is not there; begin again without",
                reason="BAD_PAGE_TOKEN",
                field="page_token",
            )
        start = 0 if after is None else names.index(after) + 1
        found = self.all[start : start + limit]
        more = start + limit < len(self.all)
        return Page(found, make_token(_LISTING, found[-1].name) if more else "", not page_token)


def _host(host: Host, given: HostFigures) -> Device:
    cores = f"{host.cores} core{'s' if host.cores > 1 else ''}"
    return Device(
        name=HOST,
        display_name=f"{host.model}, {cores}" if host.model else f"this host, {cores}",
        kind=DeviceKind.CPU,
        in_host=True,
        memory_bytes=_measured(host.memory_bytes, host.day),
        memory_bandwidth=_measured(given.memory_bandwidth, host.day, "a calibration of this host"),
        max_power_watts=_power(given.max_power_watts, VCPU_MAX, host.cores, given),
        idle_power_watts=_power(given.idle_power_watts, VCPU_IDLE, host.cores, given),
        price_usd_per_hour=_told(given.price_usd_per_hour),
        cores=host.cores,
    )


def _power(told: float | None, rated: Sourced, cores: int, given: HostFigures) -> Sources:
    """The setting; where there is none at all, an average by cores: but never one beside the other,
    as an idle power of one source may exceed the maximum of another."""
    if given.idle_power_watts is not None or given.max_power_watts is not None:
        return _told(told)
    return (replace(rated, value=rated.value * cores, note=f"{rated.note} {_RATED}"),)


def _accelerator(given: Accelerator, day: str, told: HostFigures) -> Device:
    """With what the catalogue knows of its model, but for a cloud's price of such a device: an hour
    of this machine costs what it costs with all that is in it."""
    known = _of_model(given.display_name)
    base = known or Device("", "", DeviceKind.GPU)
    return replace(
        base,
        name=f"{HOST}-{given.name}",
        display_name=given.display_name,
        in_host=True,
        memory_bytes=_measured(given.memory_bytes, day) or base.memory_bytes,
        price_usd_per_hour=_told(told.price_usd_per_hour),
    )


def _of_model(display_name: str) -> Device | None:
    """The catalogue's device whose name's words are all in this one, the longest first:
    ``NVIDIA H100 80GB HBM3`` is an H100 SXM, as only those have that memory."""
    words = set(re.findall(r"[a-z0-9]+", display_name.lower().replace(" gb", "gb")))
    if "h100" in words and "hbm3" in words:
        words.add("sxm")
    if {"v100", "sxm2"} <= words:
        words.add("sxm")
    matches = []
    for device in CATALOGUE:
        wanted = set(re.findall(r"[a-z0-9]+", device.display_name.lower().replace(" gb", "gb")))
        if device.kind is DeviceKind.GPU and wanted - {"nvidia"} <= words:
            matches.append((len(wanted), device))
    return max(matches, key=lambda match: match[0])[1] if matches else None


def _measured(value: float | None, day: str, source: str = _SYSTEM) -> Sources:
    return () if value is None else (Sourced(value, source, day, basis=Basis.MEASURED),)


def _told(value: float | None) -> Sources:
    return () if value is None else (Sourced(value, _SETTING, basis=Basis.SPEC),)
