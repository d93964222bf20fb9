"""DistillationService: a request for a student, as an operation."""

from __future__ import annotations

from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.descriptor import ServiceDescriptor

from stillroom.v1 import distillation_service_pb2 as pb
from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_registry.names import ModelRef, check_model_name
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.distillation.fidelity.gate import MinimumFidelity
from stillroom_server.operations.model import Json
from stillroom_server.rpc import fidelity_messages, recipes, translate
from stillroom_server.rpc.call import Call, in_thread
from stillroom_server.rpc.fields import set_fields
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.spool import Spool

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
    """Checks what can be checked, then queues."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def Distill(self, request: pb.DistillRequest, call: Call) -> operations_pb2.Operation:
        return await in_thread(self._launch, request)

    def _launch(self, request: pb.DistillRequest) -> operations_pb2.Operation:
        with self._launcher.spool(dry=request.validate_only) as spool:
            body = self._launcher.described(request, ModelKind.STUDENT)
            body["recipe"] = recipes.recipe(request)
            body |= self._teacher(request)
            body |= self._demands(request)
            body |= self._texts(request, spool)
            if request.validate_only:
                checked = pb.DistillResponse(teacher_version=body.get("teacher", ""))
                return self._launcher.checked(_KIND, request.name, checked)
            return self._launcher.queue(_KIND, body, request, spool, target=request.name)

    def _texts(self, request: pb.DistillRequest, spool: Spool) -> dict[str, Any]:
        texts, recipe = self._launcher.texts, recipes.name(request)
        result: dict[str, Any] = {}
        if request.HasField("corpus"):
            if recipe in recipes.REFUSE_CORPUS:
                raise InvalidArgument(
                    f"{recipe} has no use for a corpus; leave it out, or choose static_tuned or"
                    " transformer",
                    reason="CORPUS_UNUSED",
                    field="corpus",
                )
            result["corpus"] = texts.corpus(request.corpus, spool)
        elif recipe in recipes.NEED_CORPUS:
            raise InvalidArgument(
                f"{recipe} needs a corpus: texts like those that the student will embed",
                reason="CORPUS_REQUIRED",
                field="corpus",
            )
        if request.evaluations:
            result["evaluations"] = texts.evaluations(request.evaluations, spool)
        return result

    def _demands(self, request: pb.DistillRequest) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if request.HasField("minimum_fidelity"):
            minimum = MinimumFidelity.from_json(set_fields(request.minimum_fidelity))
            result["minimum_fidelity"] = minimum.to_json()
        if request.HasField("budget"):
            result["budget"] = self._launcher.budget(request.budget)
        return result

    def _teacher(self, request: pb.DistillRequest) -> dict[str, Any]:
        quantize = recipes.name(request) == "quantize"
        match request.WhichOneof("teacher_source"):
            case "teacher":
                if request.teacher_name:
                    raise InvalidArgument(
                        "teacher_name is for teacher_import; teacher is registered already",
                        field="teacher_name",
                    )
                version = self._launcher.registry.resolve(
                    ModelRef.parse(request.teacher, field="teacher")
                )
                _check_kind(version, ModelKind.STUDENT if quantize else ModelKind.TEACHER)
                return {"teacher": version.name}
            case "teacher_import" if quantize:
                raise InvalidArgument(
                    "what is quantized is a registered student; import it by ImportModel first",
                    field="teacher_import",
                )
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


def _check_kind(version: ModelVersion, wanted: ModelKind) -> None:
    if version.kind is wanted:
        return
    metadata = {"model_version": version.name, "kind": version.kind.value}
    if wanted is ModelKind.STUDENT:
        raise FailedPrecondition(
            f"{version.name} is a {version.kind}, and only students are quantized",
            reason="NOT_A_STUDENT",
            field="teacher",
            metadata=metadata,
        )
    raise FailedPrecondition(
        f"{version.name} is a {version.kind}, and students are made from teachers",
        reason="NOT_A_TEACHER",
        field="teacher",
        metadata=metadata,
    )
