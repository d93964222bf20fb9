"""What estimates are made of, apart from gRPC; built at first use, see ``late``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from stillroom_registry.registry import Registry
from stillroom_server.cost.calibration.contention import Load
from stillroom_server.late import late
from stillroom_server.operations.observer import Observer
from stillroom_server.operations.settings import OperationsSettings, all_cores
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.settings import Settings

if TYPE_CHECKING:
    from stillroom_server.cost.calibration.calibration import Calibration
    from stillroom_server.cost.devices.known import Devices
    from stillroom_server.cost.estimator import Estimator
    from stillroom_server.cost.ledger.ledger import Ledger
    from stillroom_server.cost.ledger.recent import RecentAccuracy
    from stillroom_server.cost.looking.works import Works


@dataclass(frozen=True)
class Estimating:
    """``devices`` answers what can be estimated for, as this host is now."""

    ledger: Ledger
    observer: Observer
    recent: RecentAccuracy
    devices: Callable[[], Devices]
    estimator: Estimator
    works: Works


def build(
    settings: Settings,
    data_dir: Path,
    registry: Registry,
    roots: AllowedRoots,
    runner: OperationsSettings,
    clock: Callable[[], datetime],
) -> Estimating:
    """Of a server with these parts."""
    ledger = late(partial(_ledger, registry))
    devices = _devices(settings, clock)
    load = Load()  # looks at what runs beside the server from its start
    return Estimating(
        ledger=ledger,
        observer=late(partial(_observer, ledger)),
        recent=late(partial(_recent, ledger)),
        devices=devices,
        estimator=late(
            partial(_estimator, settings, data_dir, registry, runner, clock, ledger, devices, load)
        ),
        works=late(partial(_works, registry, roots)),
    )


def _ledger(registry: Registry) -> Ledger:
    from stillroom_server.cost.ledger.ledger import Ledger

    return Ledger.open(registry.database)


def _observer(ledger: Ledger) -> Observer:
    from stillroom_server.cost.ledger.observing import LedgerObserver

    return LedgerObserver(ledger)


def _recent(ledger: Ledger) -> RecentAccuracy:
    from stillroom_server.cost.ledger.recent import RecentAccuracy

    return RecentAccuracy(ledger)


def _works(registry: Registry, roots: AllowedRoots) -> Works:
    from stillroom_server.cost.looking.looking import Looking
    from stillroom_server.cost.looking.works import Works

    return Works(registry, Looking(registry, roots))


def _devices(settings: Settings, clock: Callable[[], datetime]) -> Callable[[], Devices]:
    """As this host was a second ago, at most: to look at it takes longer than much of an
    estimate."""

    @lru_cache(maxsize=1)
    def looked(second: int) -> Devices:
        from stillroom_server.cost.devices.host import probe_host
        from stillroom_server.cost.devices.known import Devices
        from stillroom_server.cost.environment import CostDefaults

        del second
        figures = CostDefaults.of(settings).host_figures()
        return Devices(probe_host(clock().date().isoformat()), figures)

    return lambda: looked(int(time.monotonic()))


def _estimator(
    settings: Settings,
    data_dir: Path,
    registry: Registry,
    runner: OperationsSettings,
    clock: Callable[[], datetime],
    ledger: Ledger,
    devices: Callable[[], Devices],
    load: Load,
) -> Estimator:
    from stillroom_server.cost.estimator import Estimator
    from stillroom_server.cost.ledger.recent import network_rate

    return Estimator(
        registry,
        settings,
        devices=devices,
        calibration=_calibration(settings, runner, data_dir, clock),
        intervals=ledger.intervals,
        load=load,
        network=partial(network_rate, ledger),
        clock=clock,
    )


def _calibration(
    settings: Settings,
    runner: OperationsSettings,
    data_dir: Path,
    clock: Callable[[], datetime],
) -> Calibration:
    """Of work as the runner does it."""
    from stillroom_server.cost.calibration.calibration import Calibration, Work

    work = Work(
        threads=settings.runner_threads or all_cores(),
        numeric_threads=runner.threads,
        nice=runner.nice,
        device=settings.device,
        dtype=settings.teacher_dtype,
    )
    return Calibration(data_dir, work, clock=clock)
