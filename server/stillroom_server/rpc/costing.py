"""What CostService answers, from requests to answers; imported at the first of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, StillroomError
from stillroom_server.cost.devices.known import Devices
from stillroom_server.cost.ledger.accuracy import accuracy
from stillroom_server.cost.ledger.ledger import Ledger
from stillroom_server.cost.looking.data import Described
from stillroom_server.cost.policy import Policy
from stillroom_server.cost.recommend import Options, candidates, rank
from stillroom_server.cost.recommend.ranking import Tried
from stillroom_server.operations.model import Json
from stillroom_server.rpc import translate
from stillroom_server.rpc.cost_messages import made, plain
from stillroom_server.rpc.cost_workloads import Asked, Workloads
from stillroom_server.rpc.hub_sync import HubSyncs
from stillroom_server.rpc.json_messages import from_json
from stillroom_server.rpc.launch import Launcher

# Every candidate repeats its request.
_MOST_RECOMMENDED_BYTES = 32 << 10
_POLICIES: Mapping[int, Policy | None] = {
    pb.CALIBRATION_POLICY_UNSPECIFIED: None,
    pb.CALIBRATION_POLICY_WHEN_NEEDED: Policy.WHEN_NEEDED,
    pb.CALIBRATION_POLICY_NEVER: Policy.NEVER,
    pb.CALIBRATION_POLICY_REFRESH: Policy.REFRESH,
}


class Costing:
    """Estimates, recommends, and looks into the ledger. Blocks; for any thread."""

    def __init__(
        self,
        launcher: Launcher,
        syncs: HubSyncs,
        devices: Callable[[], Devices],
        defaults: Json,
        ledger: Ledger,
        *,
        max_texts: int,
    ) -> None:
        self._workloads = Workloads(launcher, syncs, max_texts)
        self._devices = devices
        self._defaults = defaults
        self._ledger = ledger

    def devices(self, request: pb.ListDevicesRequest) -> pb.ListDevicesResponse:
        """A page of what can be estimated for."""
        page = self._devices().page(request.page_size, request.page_token)
        return from_json(page.to_json(dict(self._defaults)), pb.ListDevicesResponse())

    def estimate(self, request: pb.EstimateCostRequest) -> pb.EstimateCostResponse:
        """What a workload will take, and what would be better where that is asked."""
        asked = _asked(request)
        options = self._recommendation(request)
        estimate = self._workloads.estimate(request.workload, asked)
        said: dict[str, Any] = {"estimate": estimate}
        if options is not None:
            said["recommendation"] = self._recommended(request.workload, asked, options)
        return made(pb.EstimateCostResponse, said)

    def _recommendation(self, request: pb.EstimateCostRequest) -> Options | None:
        if not request.HasField("recommend"):
            return None
        size = request.workload.ByteSize()
        if size > _MOST_RECOMMENDED_BYTES:
            raise InvalidArgument(
                f"the workload has {size:,} bytes, and every candidate repeats it; with recommend"
                f" at most {_MOST_RECOMMENDED_BYTES:,} are taken: upload the texts, or describe"
                " them in data",
                reason="REQUEST_TOO_LARGE",
                field="workload",
            )
        return Options.from_json(plain(request.recommend, "recommend"))

    def _recommended(self, workload: pb.Workload, asked: Asked, options: Options) -> Json:
        tried: list[Tried] = []
        for candidate in candidates(plain(workload, "workload")):
            message = from_json(candidate, pb.Workload())
            try:
                tried.append((candidate, self._workloads.estimate(message, asked), None))
            except StillroomError as error:
                tried.append((candidate, None, error))
        return rank(tried, options)

    def accuracy(self, request: pb.GetEstimateAccuracyRequest) -> pb.GetEstimateAccuracyResponse:
        """How right estimates were."""
        start = None
        if request.HasField("start_time"):
            try:
                start = request.start_time.ToDatetime(tzinfo=UTC)
            except (ValueError, OverflowError) as error:
                raise InvalidArgument(
                    "start_time is no time between the years 1 and 9999", field="start_time"
                ) from error
        found = accuracy(
            self._ledger,
            kind=request.kind,
            start_time=start,
            operation=request.operation,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return from_json(found, pb.GetEstimateAccuracyResponse())


def _asked(request: pb.EstimateCostRequest) -> Asked:
    if request.calibration not in _POLICIES:
        raise translate.unknown_value(request.calibration, "calibration")
    return Asked(
        described=Described.from_json(plain(request.data, "data")),
        environment=plain(request.environment, "environment"),
        policy=_POLICIES[request.calibration],
    )
