"""From a DistillRequest to the JSON of its operation, or the reason why it is refused."""

from __future__ import annotations

from typing import Any

from stillroom.v1 import distillation_service_pb2 as pb
from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.names import ModelRef, check_model_name
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.distillation.fidelity.gate import MinimumFidelity
from stillroom_server.rpc import recipes
from stillroom_server.rpc.drafts import COMPLETE, DESCRIBED, Draft
from stillroom_server.rpc.fields import at_field, set_fields
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.spool import Spool


class DistillRequests:
    """Checks everything that can be checked without running."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def body(
        self, request: pb.DistillRequest, spool: Spool, draft: Draft = COMPLETE
    ) -> dict[str, Any]:
        """The operation's request. Every error names its field."""
        body = self._launcher.described(request, ModelKind.STUDENT, draft)
        body["recipe"] = recipes.recipe(request)
        body |= self._teacher(request, draft)
        body |= self._demands(request)
        body |= self._corpus(request, spool, draft)
        if request.evaluations:
            body["evaluations"] = self._launcher.texts.evaluations(request.evaluations, spool)
        return body

    def _corpus(self, request: pb.DistillRequest, spool: Spool, draft: Draft) -> dict[str, Any]:
        recipe = recipes.name(request)
        if request.HasField("corpus"):
            if recipe in recipes.REFUSE_CORPUS:
                raise InvalidArgument(
                    f"{recipe} has no use for a corpus; leave it out, or choose static_tuned or"
                    " transformer",
                    reason="CORPUS_UNUSED",
                    field="corpus",
                )
            try:
                return {"corpus": self._launcher.texts.corpus(request.corpus, spool)}
            except (NotFound, FailedPrecondition):
                if not draft.data:
                    raise
        if draft.data:
            return {} if recipe in recipes.REFUSE_CORPUS else {"corpus": DESCRIBED}
        if recipe in recipes.NEED_CORPUS:
            raise InvalidArgument(
                f"{recipe} needs a corpus: texts like those that the student will embed",
                reason="CORPUS_REQUIRED",
                field="corpus",
            )
        return {}

    def _demands(self, request: pb.DistillRequest) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if request.HasField("minimum_fidelity"):
            minimum = MinimumFidelity.from_json(set_fields(request.minimum_fidelity))
            result["minimum_fidelity"] = minimum.to_json()
        if request.HasField("budget"):
            result["budget"] = self._launcher.budget(request.budget)
        return result

    def _teacher(self, request: pb.DistillRequest, draft: Draft) -> dict[str, Any]:
        quantize = recipes.name(request) == "quantize"
        match request.WhichOneof("teacher_source"):
            case "teacher":
                if request.teacher_name:
                    raise InvalidArgument(
                        "teacher_name is for teacher_import; teacher is registered already",
                        field="teacher_name",
                    )
                with at_field("teacher"):
                    version = self._launcher.registry.resolve(ModelRef.parse(request.teacher))
                _check_kind(version, ModelKind.STUDENT if quantize else ModelKind.TEACHER)
                return {"teacher": version.name}
            case "teacher_import" if quantize:
                raise InvalidArgument(
                    "what is quantized is a registered student; import it by ImportModel first",
                    field="teacher_import",
                )
            case "teacher_import":
                student = request.name or ("student" if draft.name else "")
                name = check_model_name(
                    request.teacher_name or f"{student}-teacher", "teacher_name"
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
