"""Training and evaluating classifiers: from requests to operations, and from results to responses.

Everything that can be known without reading the texts is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.longrunning import operations_pb2

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, StillroomError
from stillroom_registry.registry import Registry
from stillroom_server.inference.classifier.head import Task
from stillroom_server.inference.options import DEFAULT_OPTIONS
from stillroom_server.inference.registry_models import ClassifierPool, StudentPool
from stillroom_server.operations.model import Json
from stillroom_server.rpc import classify_messages, cost_messages, translate
from stillroom_server.rpc.budgets import Budgets
from stillroom_server.rpc.call import in_thread
from stillroom_server.rpc.json_messages import from_json, to_json
from stillroom_server.rpc.labeled_data import LabeledTexts
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.spool import Spool
from stillroom_server.rpc.train_requests import CheckedTraining, TrainRequests, report_options
from stillroom_server.teachers.teachers import Teachers

TRAIN, EVALUATE = "train_classifier", "evaluate_classifier"
_EVALUATION_OPTIONS = frozenset({"abstention_threshold", "threshold", "truncate"})


def train_response(result: Json, registry: Registry) -> pb.TrainClassifierResponse:
    """The response of a finished training."""
    return pb.TrainClassifierResponse(
        model_version=translate.published(result["model_version"], registry),
        classifier=from_json(result["classifier"], pb.ClassifierDescription()),
        report=_report(result["report"]),
        data=from_json(result["data"], pb.DataReport()),
        training=from_json(result["training"], pb.TrainingReport()),
    )


def evaluate_response(result: Json) -> pb.EvaluateClassifierResponse:
    """The response of a finished evaluation."""
    return pb.EvaluateClassifierResponse(
        model_version=result["model_version"],
        report=_report(result["report"]),
        data=from_json(result["data"], pb.DataReport()),
        html=result.get("html") or "",
    )


def _report(values: Json) -> pb.ClassificationReport:
    """There may be 100,000 cells: they are made without a detour through their fields' types."""
    confusion = values.get("confusion")
    if not confusion:
        return from_json(values, pb.ClassificationReport())
    matrix = {name: value for name, value in confusion.items() if name != "cells"}
    report = from_json({**values, "confusion": matrix}, pb.ClassificationReport())
    report.confusion.cells.extend(
        pb.ConfusionCell(
            true_index=int(cell.get("true_index") or 0),
            given_index=int(cell.get("given_index") or 0),
            count=int(cell["count"]),
        )
        for cell in confusion.get("cells") or ()
    )
    return report


class ClassifierOperations:
    """Queues trainings and evaluations."""

    def __init__(
        self,
        launcher: Launcher,
        students: StudentPool,
        classifiers: ClassifierPool,
        teachers: Teachers,
    ) -> None:
        self._launcher = launcher
        self._requests = TrainRequests(launcher)
        self._data = LabeledTexts(launcher.texts)
        self._budgets = Budgets(launcher.estimates)
        self._students = students
        self._classifiers = classifiers
        self._teachers = teachers

    async def train(
        self, request: pb.TrainClassifierRequest, seconds: float | None
    ) -> operations_pb2.Operation:
        """The operation; ``seconds`` are those to the caller's deadline, None without one."""
        checked = await in_thread(self._requests.check, request)
        await self._check_encoding(checked, seconds)
        return await self._launcher.estimates.in_thread(self._train, request, checked)

    async def evaluate(self, request: pb.EvaluateClassifierRequest) -> operations_pb2.Operation:
        """The operation."""
        return await in_thread(self._evaluate, request)

    async def _check_encoding(self, checked: CheckedTraining, seconds: float | None) -> None:
        """As in Embed, which needs the encoder loaded: only where something is asked of it."""
        encoding, encoder = checked.options.encoding, checked.encoder
        if encoding == DEFAULT_OPTIONS:
            return
        if encoder.kind == "teacher":
            teacher = await self._teachers.get(encoder.version, seconds)
            with _of_encoding():
                teacher.validate(encoding)
            return
        student = await self._students.get(encoder.name)
        with _of_encoding():
            student.served.validate(encoding)

    def _train(
        self, request: pb.TrainClassifierRequest, checked: CheckedTraining
    ) -> operations_pb2.Operation:
        launcher = self._launcher
        earlier = None if request.validate_only else launcher.earlier(TRAIN, request)
        if earlier is not None:
            return earlier
        with launcher.spool(dry=request.validate_only) as spool:
            asked = self._requests.body(request, checked, spool)
            body, estimate = self._budgets.judged(TRAIN, asked, needed=request.validate_only)
            if request.validate_only:
                response = pb.TrainClassifierResponse(estimate=cost_messages.packed(estimate))
                return launcher.checked(TRAIN, request.name, response)
            return launcher.queue(
                TRAIN, body, request, spool, target=request.name, estimate=estimate
            )

    def _evaluate(self, request: pb.EvaluateClassifierRequest) -> operations_pb2.Operation:
        if not request.model:
            raise InvalidArgument(
                "model is empty; name the classifier", reason="MODEL_REQUIRED", field="model"
            )
        version = self._launcher.registry.resolve(request.model)
        # By its own name, under which no other version is served in its place.
        classifier = self._classifiers.get_blocking(version.name).served
        for field, _ in request.options.ListFields():
            if field.name not in _EVALUATION_OPTIONS:
                raise InvalidArgument(
                    f"an evaluation has no use for {field.name}; of the options it takes"
                    f" {', '.join(sorted(_EVALUATION_OPTIONS))}",
                    reason="OPTION_UNUSED",
                    field=f"options.{field.name}",
                )
        classifier.plan(classify_messages.options(request))
        multi_label = classifier.description.task is Task.MULTI_LABEL
        with self._launcher.spool() as spool:
            body = {
                "model": version.name,
                "data": self._source(request.data, spool, multi_label, "data"),
                "options": to_json(request.options, "options"),
                "report_options": report_options(request.report_options, training=False),
            }
            return self._launcher.queue(EVALUATE, body, request, spool)

    def _source(self, given: pb.LabeledData, spool: Spool, multi_label: bool, field: str) -> Json:
        return self._data.source(given, spool, multi_label=multi_label, field=field)


@contextmanager
def _of_encoding() -> Iterator[None]:
    """Embed's options are a field of the classifier's: so are the fields of their errors."""
    try:
        yield
    except StillroomError as error:
        rest = (error.field or "options").removeprefix("options")
        error.field = f"options.encoding{rest}"
        raise
