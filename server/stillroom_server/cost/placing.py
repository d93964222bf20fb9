"""From where work would run to what its physics ask of a place."""

from __future__ import annotations

from stillroom_server.cost.assumptions import Assumption, Source
from stillroom_server.cost.calibration.rates import NONE, RateSet
from stillroom_server.cost.devices.values import DeviceKind, NumberFormat
from stillroom_server.cost.environment import Environment
from stillroom_server.cost.physical.place import Accelerator, Place
from stillroom_server.cost.physical.sizes import ELEMENT_BYTES
from stillroom_server.cost.physical.speeds import Speeds
from stillroom_server.cost.workloads import ParadigmWork, Work

_NARROW = (NumberFormat.BF16, NumberFormat.FP16, NumberFormat.FP32)
_FORMATS = {
    "float32": (NumberFormat.FP32,),
    "float16": (NumberFormat.FP16, NumberFormat.BF16),
    "int8": (NumberFormat.INT8,),
}
_CORES = Assumption(
    "core_speed",
    "a core of an Intel Xeon at 2.50 GHz",
    Source.SPEC,
    "nothing was measured there; docs/performance.md describes that machine",
)


def place_of(
    environment: Environment, work: Work, rates: RateSet, *, device_lines: bool = False
) -> tuple[Place, tuple[Assumption, ...]]:
    """Where the work runs, and what is assumed of its cores. ``device_lines`` as in ``Place``."""
    accelerator, element = None, 4.0
    if environment.device.kind is not DeviceKind.CPU:
        formats: tuple[NumberFormat, ...] = _NARROW
        if isinstance(work, ParadigmWork):
            formats = _FORMATS[work.element_type]
        accelerator = _accelerator(environment, *formats)
        element = 2.0
    if isinstance(work, ParadigmWork):
        element = ELEMENT_BYTES[work.element_type]
    known = rates if environment.in_host else NONE
    place = Place(
        Speeds(known),
        environment.threads,
        environment.contention,
        accelerator,
        element,
        device_lines and environment.in_host,
        environment.network,
    )
    return place, () if known.lines else (_CORES,)


def _accelerator(environment: Environment, *formats: NumberFormat) -> Accelerator:
    device = environment.device
    peak, bandwidth, memory = device.peak(*formats), device.bandwidth, device.memory
    return Accelerator(
        device.display_name,
        None if peak is None else peak.rate.value,
        None if bandwidth is None else bandwidth.value,
        None if memory is None else memory.value,
    )
