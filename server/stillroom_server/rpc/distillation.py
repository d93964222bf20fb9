"""DistillationService: a request for a student, as an operation."""

from __future__ import annotations

from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import distillation_service_pb2 as pb
from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_registry.names import ModelRef, check_model_name
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.operations.model import Json
from stillroom_server.rpc import recipes, translate
from stillroom_server.rpc.call import Call, in_thread
from stillroom_server.rpc.launch import Launcher

DESCRIPTOR: ServiceDescriptor = pb.DESCRIPTOR.services_by_name["DistillationService"]


def response(result: Json, registry: Registry) -> pb.DistillResponse:
    """The response of a finished distillation."""
    return pb.DistillResponse(
        model_version=translate.published(result["model_version"], registry),
        teacher_version=result["teacher_version"],
        report=report(result["report"]),
    )


def report(values: Json) -> pb.FidelityReport:
    """What was measured, from the keys that the recipe wrote."""
    parity = values["onnx_parity"]
    return pb.FidelityReport(
        vocabulary_size=values["vocabulary_size"],
        dimensions=values["dimensions"],
        student_bytes=values["student_bytes"],
        teacher_bytes=values["teacher_bytes"],
        explained_variance=values["explained_variance"],
        onnx_parity=pb.OnnxParity(
            min_cosine=parity["min_cosine"],
            max_abs_error=parity["max_abs_error"],
            texts=parity["texts"],
            runs=parity["runs"],
        ),
        teacher_tokens_per_second=values.get("teacher_tokens_per_second"),
        seconds=values["seconds"],
    )


class DistillationServicer:
    """Checks what can be checked, then queues."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def Distill(self, request: pb.DistillRequest, call: Call) -> operations_pb2.Operation:
        return await in_thread(self._launch, request)

    def _launch(self, request: pb.DistillRequest) -> operations_pb2.Operation:
        translate.refuse_later(
            corpus=request.HasField("corpus"),
            minimum_fidelity=request.HasField("minimum_fidelity"),
            budget=request.HasField("budget"),
            validate_only=request.validate_only,
        )
        body = self._launcher.described(request, ModelKind.STUDENT)
        body["recipe"] = recipes.recipe(request)
        body |= self._teacher(request)
        return self._launcher.queue("distill", body, request)

    def _teacher(self, request: pb.DistillRequest) -> dict[str, Any]:
        match request.WhichOneof("teacher_source"):
            case "teacher":
                if request.teacher_name:
                    raise InvalidArgument(
                        "teacher_name is for teacher_import; teacher is registered already",
                        field="teacher_name",
                    )
                return {"teacher": self._registered(request.teacher)}
            case "teacher_import":
                name = check_model_name(
                    request.teacher_name or f"{request.name}-teacher", "teacher_name"
                )
                source = self._launcher.source(request.teacher_import, "teacher_import")
                return {"teacher_import": {"name": name, "source": source}}
        raise InvalidArgument(
            "name a registered teacher, or say where to import one from",
            reason="TEACHER_REQUIRED",
            field="teacher",
        )

    def _registered(self, ref: str) -> str:
        version = self._launcher.registry.resolve(ModelRef.parse(ref, field="teacher"))
        if version.kind is not ModelKind.TEACHER:
            raise FailedPrecondition(
                f"{version.name} is a {version.kind}, and students are made from teachers",
                reason="NOT_A_TEACHER",
                field="teacher",
                metadata={"model_version": version.name, "kind": version.kind},
            )
        return version.name
