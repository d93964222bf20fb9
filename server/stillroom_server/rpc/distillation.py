"""DistillationService: a request for a student, as an operation."""

from __future__ import annotations

from google.longrunning import operations_pb2
from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import distillation_service_pb2 as pb
from stillroom_registry.registry import Registry
from stillroom_server.operations.model import Json
from stillroom_server.rpc import cost_messages, fidelity_messages, translate
from stillroom_server.rpc.budgets import Budgets
from stillroom_server.rpc.call import Call
from stillroom_server.rpc.distill_requests import DistillRequests
from stillroom_server.rpc.launch import Launcher

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["DistillationService"]
_KIND = "distill"


def response(result: Json, registry: Registry) -> pb.DistillResponse:
    """The response of a finished distillation."""
    return pb.DistillResponse(
        model_version=translate.published(result["model_version"], registry),
        teacher_version=result["teacher_version"],
        report=fidelity_messages.report(result["report"]),
    )


class DistillationServicer:
    """Checks what can be checked, and estimates; then queues."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._requests = DistillRequests(launcher)
        self._budgets = Budgets(launcher.estimates)

    async def Distill(self, request: pb.DistillRequest, call: Call) -> operations_pb2.Operation:
        return await self._launcher.estimates.in_thread(self._launch, request)

    def _launch(self, request: pb.DistillRequest) -> operations_pb2.Operation:
        earlier = None if request.validate_only else self._launcher.earlier(_KIND, request)
        if earlier is not None:
            return earlier
        with self._launcher.spool(dry=request.validate_only) as spool:
            asked = self._requests.body(request, spool)
            body, estimate = self._budgets.judged(_KIND, asked, needed=request.validate_only)
            if request.validate_only:
                checked = pb.DistillResponse(
                    teacher_version=body.get("teacher", ""), estimate=cost_messages.packed(estimate)
                )
                return self._launcher.checked(_KIND, request.name, checked)
            return self._launcher.queue(
                _KIND, body, request, spool, target=request.name, estimate=estimate
            )
