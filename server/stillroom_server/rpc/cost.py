"""CostService: what work will take, and how right that was about work that has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.call import Call, in_thread
from stillroom_server.rpc.estimates import Estimates

if TYPE_CHECKING:
    from stillroom_server.rpc.costing import Costing

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["CostService"]


class CostServicer:
    """Has ``costing``, which may be built at its first use, answer in threads."""

    def __init__(self, costing: Costing, estimates: Estimates, admission: Admission) -> None:
        self._costing = costing
        self._estimates = estimates
        self._admission = admission

    async def EstimateCost(
        self, request: pb.EstimateCostRequest, call: Call
    ) -> pb.EstimateCostResponse:
        with self._admission.request():
            return await self._estimates.in_thread(lambda: self._costing.estimate(request))

    async def ListDevices(
        self, request: pb.ListDevicesRequest, call: Call
    ) -> pb.ListDevicesResponse:
        return await in_thread(lambda: self._costing.devices(request))

    async def GetEstimateAccuracy(
        self, request: pb.GetEstimateAccuracyRequest, call: Call
    ) -> pb.GetEstimateAccuracyResponse:
        with self._admission.request():
            return await in_thread(lambda: self._costing.accuracy(request))
