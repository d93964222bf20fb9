"""Where work would run and what things cost there, and from that its energy, carbon and money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.assumptions import Assumption, Source
from stillroom_server.cost.devices.known import HOST, Devices, HostFigures
from stillroom_server.cost.devices.regions import WORLD, find_region
from stillroom_server.cost.devices.values import Device, DeviceKind, first
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.reading import count, number, refuse

JSON = dict[str, Any]

_FIELD = "environment"
_JOULES_PER_KWH = 3.6e6
_MODELLED = "modelled from power, as nothing counts energy"
_NO_PUE = "without what the site adds to its machines, as no PUE is known"
# What a request or a setting says does not make a figure less sure: the strongest basis.
_TOLD = Basis.MEASURED
# By so much is a line from idle to maximum wrong: of watts that were told, that a specification
# has, and that are an average of many machines.
_LINEAR = (0.85, 1.15)
_SPECIFIED = (0.6, 1.3)
_AVERAGED = (0.5, 1.7)
# Of an idle power that nobody says, as a share of the maximum; of a busy accelerator likewise.
_IDLE_SHARE = 0.3
_BUSY_SHARE = (0.4, 0.75, 1.0)


class CostSettings(Protocol):
    """The server's settings that estimates read; None: not said."""

    @property
    def cost_price_usd_per_hour(self) -> float | None: ...
    @property
    def cost_pue(self) -> float | None: ...
    @property
    def cost_region(self) -> str: ...
    @property
    def cost_carbon_intensity(self) -> float | None: ...
    @property
    def cost_electricity_usd_per_kwh(self) -> float | None: ...
    @property
    def cost_idle_power_watts(self) -> float | None: ...
    @property
    def cost_max_power_watts(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class CostDefaults:
    """What the server says of this host and its site; None (region: empty) where it does not.

    US dollars an hour, site energy over machine energy, a region's name, grams a kilowatt-hour,
    US dollars a kilowatt-hour, watts of the machine.
    """

    price_usd_per_hour: float | None = None
    pue: float | None = None
    region: str = ""
    carbon_intensity: float | None = None
    electricity_usd_per_kwh: float | None = None
    idle_power_watts: float | None = None
    max_power_watts: float | None = None

    @classmethod
    def of(cls, settings: CostSettings) -> CostDefaults:
        """As the settings say. Raises NotFound for a region that is not listed."""
        if settings.cost_region:
            find_region(settings.cost_region, "cost_region")
        return cls(
            settings.cost_price_usd_per_hour,
            settings.cost_pue,
            settings.cost_region,
            settings.cost_carbon_intensity,
            settings.cost_electricity_usd_per_kwh,
            settings.cost_idle_power_watts,
            settings.cost_max_power_watts,
        )

    def host_figures(self, memory_bandwidth: float | None = None) -> HostFigures:
        """What of it is about this host."""
        return HostFigures(
            self.price_usd_per_hour, self.idle_power_watts, self.max_power_watts, memory_bandwidth
        )

    def to_json(self, threads: int) -> JSON:
        """As the protocol's CostEnvironment in JSON: what estimates use that say nothing else."""
        said: JSON = {"device": f"devices/{HOST}", "threads": threads}
        if self.carbon_intensity is None:
            said["region"] = self.region or WORLD
        for name, value in (
            ("price_usd_per_hour", self.price_usd_per_hour),
            ("pue", self.pue),
            ("carbon_intensity_grams_per_kwh", self.carbon_intensity),
            ("electricity_usd_per_kwh", self.electricity_usd_per_kwh),
        ):
            if value is not None:
                said[name] = value
        return said


@dataclass(frozen=True, slots=True)
class Power:
    """Watts of a device when idle (None: no source says) and at most. ``basis``; ``spread``: the
    factors from what follows of them to its 10th and 90th percentile."""

    idle: float | None
    most: float
    basis: Basis
    spread: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bill:
    """What seconds come to: joules of the machine, grams of CO2 equivalent, US dollars."""

    energy: Figure
    co2e: Figure
    money: Figure


@dataclass(frozen=True, slots=True)
class Environment:
    """A request's CostEnvironment with everything that it leaves open filled in.

    ``price`` (US dollars an hour), ``pue``, ``carbon`` (grams a kilowatt-hour), ``electricity`` (US
    dollars a kilowatt-hour; None: part of the hourly price) and ``network`` (bytes a second) are
    unknown figures where nobody says; ``power`` is None there. ``region`` is empty where the
    request or a setting gives the carbon intensity itself. ``available_memory`` in bytes: what this
    host has free, else what the device has. ``contention``: how many times slower other work makes
    work of all ``threads``, at least 1; ``alone``: work of one of them, None: as much.
    """

    device: Device
    threads: int
    price: Figure
    pue: Figure
    carbon: Figure
    region: str
    electricity: Figure | None
    power: Power | None
    contention: float
    network: Figure
    available_memory: int | None
    assumptions: tuple[Assumption, ...] = ()
    alone: float | None = None

    @property
    def in_host(self) -> bool:
        """Whether rates of this host's calibration hold."""
        return self.device.name == HOST

    @classmethod
    def resolve(
        cls,
        request: Mapping[str, Any] | None,
        defaults: CostDefaults,
        devices: Devices,
        *,
        threads: int,
        load: float = 1.0,
        load_alone: float | None = None,
        network: Figure | None = None,
    ) -> Environment:
        """From the JSON of a CostEnvironment, or None.

        ``threads`` is what this server would give the work, ``load`` the contention that this host
        shows now, ``load_alone`` the same for one thread, ``network`` what earlier transfers
        showed. Raises InvalidArgument on a field that begins with ``environment.``, NotFound for a
        device or region that is not listed.
        """
        given = request or {}
        found = _Resolving(given, defaults, devices, threads, load, network).made()
        if load_alone is None or given.get("contention") is not None or not found.in_host:
            return found
        return replace(found, alone=min(max(1.0, load_alone), found.contention))

    def bill(self, cpu_seconds: Figure, wall: Figure) -> Bill:
        """What ``wall`` seconds cost of which cores are busy for ``cpu_seconds``.

        joules = (idle + (maximum - idle) * utilization) * seconds, utilization = core seconds over
        seconds times cores. Money is hours times price, and electricity where it has a price.
        """
        energy = self._energy(cpu_seconds, wall)
        site = energy.times(self.pue).scaled(1 / _JOULES_PER_KWH)
        money = wall.scaled(1 / 3600).times(self.price)
        if self.electricity is not None:
            money = money.plus(site.times(self.electricity))
        return Bill(energy, site.times(self.carbon), money)

    def _energy(self, cpu_seconds: Figure, wall: Figure) -> Figure:
        power = self.power
        if power is None:
            return Figure.unknown(f"no source says what {self.device.display_name} draws")
        if self.device.kind is DeviceKind.GPU or not self.device.cores:
            low, middle, high = (share * power.most for share in _BUSY_SHARE)
            return wall.times(Figure(low, middle, high, power.basis, _MODELLED))
        wrong = Figure.around(1.0, *power.spread, power.basis, _MODELLED)
        if power.idle is not None:
            return self._linear(cpu_seconds, wall, power.idle, power.most).times(wrong)
        # Idle power between none and all of it: the widest that follows from either.
        likely, *extremes = (
            self._linear(cpu_seconds, wall, share * power.most, power.most)
            for share in (_IDLE_SHARE, 0.0, 1.0)
        )
        if not likely.known:
            return likely
        rows = [each.numbers() for each in (likely, *extremes)]
        low, high = min(row[0] for row in rows), max(row[2] for row in rows)
        return Figure(low, rows[0][1], high, likely.basis, likely.note).times(wrong)

    def _linear(self, cpu: Figure, wall: Figure, idle: float, most: float) -> Figure:
        return wall.scaled(idle).plus(cpu.scaled(max(0.0, most - idle) / self.device.cores))


class _Resolving:
    """One resolution: each method fills in a field and writes down what it took for granted."""

    def __init__(
        self,
        request: Mapping[str, Any],
        defaults: CostDefaults,
        devices: Devices,
        threads: int,
        load: float,
        network: Figure | None,
    ) -> None:
        self._request = request
        self._defaults = defaults
        self._devices = devices
        self._threads = threads
        self._load = load
        self._network = network
        self._device = devices.find(str(request.get("device", "")), f"{_FIELD}.device")
        self._assumed: list[Assumption] = []

    def made(self) -> Environment:
        price, pue = self._price(), self._pue()
        carbon, region = self._carbon()
        electricity = self._electricity()
        power = self._power()
        return Environment(
            device=self._device,
            threads=self._given_threads(),
            price=price,
            pue=pue,
            carbon=carbon,
            region=region,
            electricity=electricity,
            power=power,
            contention=self._contention(),
            network=self._given_network(),
            available_memory=self._available_memory(),
            assumptions=tuple(self._assumed),
        )

    def _price(self) -> Figure:
        name = "price_usd_per_hour"
        if (asked := number(self._request, name, _FIELD)) is not None:
            self._assume(name, f"${asked:g} an hour", Source.REQUEST)
            return Figure.exact(asked, _TOLD)
        if self._device.in_host:
            told = self._defaults.price_usd_per_hour
            if told is not None:
                self._assume(name, f"${told:g} an hour", Source.SETTING)
                return Figure.exact(told, _TOLD)
            return Figure.unknown(
                "nobody says what an hour of this host costs: set price_usd_per_hour in the request"
                " or cost_price_usd_per_hour in the settings"
            )
        listed = first(self._device.price_usd_per_hour)
        if listed is None:
            return Figure.unknown(f"no source says what {self._device.display_name} costs")
        note = f"{listed.source}, {listed.note}"
        self._assume(name, f"${listed.value:g} an hour", Source.SPEC, note)
        return Figure.exact(listed.value, Basis.SPEC)

    def _pue(self) -> Figure:
        asked = number(self._request, "pue", _FIELD, least=1.0)
        if asked is not None and asked > 10:
            refuse(f"{_FIELD}.pue", f"{asked:g} is above 10")
        value = self._defaults.pue if asked is None else asked
        if value is not None:
            self._assume("pue", f"{value:g}", Source.SETTING if asked is None else Source.REQUEST)
            return Figure.exact(value, _TOLD)
        self._assume("pue", "1", Source.DEFAULT, _NO_PUE)
        return Figure.exact(1.0, _TOLD, _NO_PUE)

    def _carbon(self) -> tuple[Figure, str]:
        name = "carbon_intensity_grams_per_kwh"
        asked = number(self._request, name, _FIELD)
        region = str(self._request.get("region", ""))
        if asked is not None and region:
            raise InvalidArgument(
                "a region has a carbon intensity of its own; give one of the two",
                reason="OPTIONS_CONFLICT",
                field=f"{_FIELD}.region",
            )
        if asked is not None:
            self._assume(name, f"{asked:g} g/kWh", Source.REQUEST)
            return Figure.exact(asked, _TOLD), ""
        told = self._defaults.carbon_intensity
        if not region and told is not None:
            self._assume(name, f"{told:g} g/kWh", Source.SETTING)
            return Figure.exact(told, _TOLD), ""
        source = Source.REQUEST
        if not region:
            region = self._defaults.region or WORLD
            source = Source.SETTING if self._defaults.region else Source.DEFAULT
        found = find_region(region, f"{_FIELD}.region")
        self._assume("region", region, source, found.display_name)
        note = f"{found.carbon.source}, {found.carbon.note}"
        self._assume(name, f"{found.carbon.value:g} g/kWh", Source.SPEC, note)
        return Figure.exact(found.carbon.value, Basis.SPEC), region

    def _electricity(self) -> Figure | None:
        name = "electricity_usd_per_kwh"
        asked = number(self._request, name, _FIELD)
        value = self._defaults.electricity_usd_per_kwh if asked is None else asked
        if value is None:
            return None
        source = Source.SETTING if asked is None else Source.REQUEST
        self._assume(name, f"${value:g}/kWh", source)
        return Figure.exact(value, _TOLD)

    def _power(self) -> Power | None:
        most, idle = first(self._device.max_power_watts), first(self._device.idle_power_watts)
        if most is None:
            return None
        told = self._device.name == HOST and self._defaults.max_power_watts is not None
        least = f"{idle.value:g} to " if idle is not None else "an unknown idle power to "
        note = "" if told else f"{most.source}: {most.note}" if most.note else most.source
        source = Source.SETTING if told else Source.SPEC
        self._assume("power_watts", f"{least}{most.value:g} W", source, note)
        spread = _SPECIFIED if self._device.name != HOST else _LINEAR if told else _AVERAGED
        idle_watts = None if idle is None else min(idle.value, most.value)
        return Power(idle_watts, most.value, _TOLD if told else Basis.SPEC, spread)

    def _given_threads(self) -> int:
        asked = count(self._request, "threads", _FIELD)
        device = self._device
        cores = device.cores or (self._devices.host.cores if device.in_host else 0)
        if cores and asked > cores:
            refuse(f"{_FIELD}.threads", f"{asked:,} is more than the {cores} cores of the device")
        if asked:
            self._assume("threads", str(asked), Source.REQUEST)
            return asked
        return self._threads if device.in_host else max(1, device.cores)

    def _contention(self) -> float:
        asked = number(self._request, "contention", _FIELD, least=1.0)
        if asked is not None and asked > 1000:
            refuse(f"{_FIELD}.contention", f"{asked:g} is above 1,000")
        if asked is not None:
            self._assume("contention", f"{asked:g} times slower", Source.REQUEST)
            return asked
        if not self._device.in_host:
            return 1.0
        load = min(max(1.0, self._load), 1000.0)
        note = "what other work leaves of this host now"
        self._assume("contention", f"{load:.3g} times slower", Source.MEASURED, note)
        return load

    def _given_network(self) -> Figure:
        name = "network_bytes_per_second"
        asked = number(self._request, name, _FIELD)
        if asked:
            self._assume(name, f"{asked:g} bytes/s", Source.REQUEST)
            return Figure.exact(asked, _TOLD)
        if self._network is not None and self._network.known:
            middle = self._network.numbers()[1]
            self._assume(name, f"{middle:.3g} bytes/s", Source.MEASURED, "earlier transfers")
            return self._network
        return Figure.unknown(
            "nobody says how fast the network is, and nothing was transferred yet: give"
            " network_bytes_per_second"
        )

    def _available_memory(self) -> int | None:
        if self._device.name == HOST:
            return self._devices.host.free_bytes
        for each in self._devices.host.accelerators:
            if self._device.name == f"{HOST}-{each.name}" and each.free_bytes is not None:
                return each.free_bytes
        memory = self._device.memory
        return None if memory is None else int(memory.value)

    def _assume(self, name: str, value: str, source: Source, note: str = "") -> None:
        self._assumed.append(Assumption(name, value, source, note))
