"""What work will take: the one place that is asked.

    estimator = Estimator(registry, settings, devices=..., calibration=..., ledger=...)
    estimate = estimator.estimate(work, environment_json, policy=Policy.WHEN_NEEDED)

``work`` is one of ``workloads``; the estimate is a CostEstimate in JSON.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from stillroom_registry.errors import InvalidArgument, StillroomError
from stillroom_registry.registry import Registry
from stillroom_registry.values import system_clock
from stillroom_server.cost.assembling import assemble
from stillroom_server.cost.budget import check_budget
from stillroom_server.cost.calibration.calibration import Calibration, Subject
from stillroom_server.cost.calibration.contention import Load, sessions_share, slowdown
from stillroom_server.cost.calibration.rates import NONE, RateSet
from stillroom_server.cost.devices.known import Devices
from stillroom_server.cost.environment import CostDefaults, CostSettings, Environment
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure, TooLarge
from stillroom_server.cost.ledger.intervals import Intervals
from stillroom_server.cost.physical.build import build
from stillroom_server.cost.placing import place_of
from stillroom_server.cost.policy import Policy
from stillroom_server.cost.workloads import (
    DistillWork,
    EmbedWork,
    ParadigmWork,
    ServeWork,
    TrainWork,
    Work,
)

JSON = dict[str, Any]
_RUNNER_NICE = 10
_LOOK_SECONDS = 1.0
_COUNTS = {"embed": "texts", "classify": "texts", "serve": "texts_per_second"}


class EstimatorSettings(CostSettings, Protocol):
    """The server's settings that estimates read."""

    @property
    def runner_threads(self) -> int: ...
    @property
    def device(self) -> str: ...


class Estimator:
    """Safe to use from any thread. ``calibration`` None: this host is never measured; ``intervals``
    None: nothing was learnt from earlier work; ``load`` None: other work is not looked at.
    ``devices`` looks at this host anew each time, as what is free changes."""

    def __init__(
        self,
        registry: Registry,
        settings: EstimatorSettings,
        *,
        devices: Callable[[], Devices],
        calibration: Calibration | None = None,
        intervals: Intervals | None = None,
        load: Load | None = None,
        network: Callable[[], Figure | None] = lambda: None,
        clock: Callable[[], datetime] = system_clock,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._defaults = CostDefaults.of(settings)
        self._devices = devices
        self._calibration = calibration
        self._intervals = intervals
        self._load = load
        self._network = network
        self._clock = clock
        self._ticks = ticks
        self._seen: tuple[float, float | None] | None = None

    def estimate(
        self,
        work: Work,
        environment: Mapping[str, Any] | None = None,
        *,
        policy: Policy = Policy.WHEN_NEEDED,
        budget: Mapping[str, Any] | None = None,
        field: str = "workload",
    ) -> JSON:
        """The CostEstimate in JSON of ``work`` in a CostEnvironment in JSON, checked against a
        Budget in JSON if there is one.

        Blocks for up to about three seconds where the policy lets it measure this host. Raises
        InvalidArgument (fields beginning with ``environment``, ``calibration`` or ``field``) and
        NotFound for a device or region that is not listed.
        """
        there = self.environment(work, environment)
        rates = self._rates(work, there, policy)
        place, assumed = place_of(there, work, rates, device_lines=self._on_device(there))
        try:
            built = build(work, place)
            found = assemble(
                work.kind, built, there, rates, self._intervals, assumed, self._clock()
            )
        except (TooLarge, OverflowError) as error:
            name = _COUNTS.get(work.kind, "")
            raise InvalidArgument(
                "the counts of this work multiply to no finite number; ask for less",
                reason="TOO_LARGE",
                field=f"{field}.{name}" if name else field,
            ) from error
        except StillroomError as error:
            if error.field and not error.field.startswith(field):
                error.field = f"{field}.{error.field}" if field else error.field
            raise
        if budget:
            found["budget_check"] = check_budget(found, budget)
        return found

    def environment(self, work: Work, asked: Mapping[str, Any] | None = None) -> Environment:
        """Where the work would run. Raises as ``Environment.resolve`` does."""
        devices = self._devices()
        cores = devices.host.cores
        served = isinstance(work, EmbedWork | ServeWork)
        threads = cores if served else min(cores, self._settings.runner_threads or cores)
        busy = self._busy()
        slower = partial(
            slowdown,
            cores=cores,
            nice=0 if served else _RUNNER_NICE,
            grouped=sessions_share(),
        )
        return Environment.resolve(
            asked,
            self._defaults,
            devices,
            threads=threads,
            load=1.0 if busy is None else slower(busy, threads=threads),
            load_alone=None if busy is None else slower(busy, threads=1),
            network=self._network(),
        )

    def _busy(self) -> float | None:
        """Cores that others keep busy; estimates in a row look once."""
        if self._load is None:
            return None
        now, seen = self._ticks(), self._seen
        if seen is None or now - seen[0] > _LOOK_SECONDS:
            seen = self._seen = (now, self._load.busy())
        return seen[1]

    def _rates(self, work: Work, environment: Environment, policy: Policy) -> RateSet:
        if not environment.in_host:
            if policy is Policy.REFRESH:
                raise InvalidArgument(
                    f"{environment.device.full_name} is not this host, and cannot be measured",
                    reason="OPTIONS_CONFLICT",
                    field="calibration",
                )
            return NONE
        if self._calibration is None:
            return NONE
        return self._calibration.rates(self._subject(work), policy)

    def _subject(self, work: Work) -> Subject | None:
        facts = _measured(work)
        if facts is None or not facts.name:
            return None
        folder = partial(self._folder, facts.name)
        return Subject(facts.kind, facts.digest, folder)

    def _folder(self, name: str) -> Any:
        return self._registry.folder(self._registry.resolve(name))

    def _on_device(self, environment: Environment) -> bool:
        """Whether teachers of this host run on an accelerator of it."""
        asked = self._settings.device
        if asked == "auto":
            return environment.in_host and bool(self._devices().host.accelerators)
        return asked.startswith("cuda")


def _measured(work: Work) -> ModelFacts | None:
    """The model whose own rates the work rests on."""
    match work:
        case DistillWork(teacher=facts) if facts is not None:
            return facts
        case TrainWork(encoder=facts):
            return facts.computing
        case EmbedWork(model=facts) | ServeWork(model=facts):
            return facts.encoder or facts
        case ParadigmWork():
            return None
    return None
