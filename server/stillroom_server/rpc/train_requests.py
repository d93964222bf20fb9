"""From a TrainClassifierRequest to the JSON of its operation, or the reason why it is refused.

Everything that can be known without reading the texts is refused here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.values import ModelKind
from stillroom_server.classification.encoders import EncoderSource, find_encoder
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.classification.report.options import ReportOptions
from stillroom_server.classification.splits import check_scheme
from stillroom_server.operations.model import Json
from stillroom_server.rpc.drafts import COMPLETE, DESCRIBED, Draft
from stillroom_server.rpc.fields import at_field
from stillroom_server.rpc.json_messages import to_json
from stillroom_server.rpc.labeled_data import LabeledTexts
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.spool import Spool


class CheckedTraining(NamedTuple):
    """What training needs of a request that was checked first."""

    encoder: EncoderSource
    options: ClassifierOptions
    told: Json  # the options as JSON


class TrainRequests:
    """Checks in two steps: between them, who serves the encoder may be asked about it."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._data = LabeledTexts(launcher.texts)

    def check(self, request: pb.TrainClassifierRequest) -> CheckedTraining:
        """The encoder and the options. Every error names its field."""
        if not request.encoder:
            raise InvalidArgument(
                "encoder is empty; name the student or teacher whose vectors are classified",
                reason="MODEL_REQUIRED",
                field="encoder",
            )
        with at_field("encoder"):
            encoder = find_encoder(self._launcher.registry, request.encoder)
        told = to_json(request.options, "options")
        options = ClassifierOptions.from_json(told)
        options.check_encoder(encoder.kind)
        return CheckedTraining(encoder, options, told)

    def body(
        self,
        request: pb.TrainClassifierRequest,
        checked: CheckedTraining,
        spool: Spool,
        draft: Draft = COMPLETE,
    ) -> dict[str, Any]:
        """The operation's request. Every error names its field."""
        body = self._launcher.described(request, ModelKind.CLASSIFIER, draft)
        body |= {"encoder": checked.encoder.name, "options": checked.told}
        body["report_options"] = report_options(request.report_options, training=True)
        multi_label = checked.options.multi_label
        try:
            body["data"] = self._source(request.data, spool, multi_label, "data")
        except (NotFound, FailedPrecondition):
            if not draft.data:
                raise
            body["data"] = DESCRIBED
        except InvalidArgument as error:
            if not draft.data or error.reason != "SOURCE_REQUIRED":
                raise
            body["data"] = DESCRIBED
        match request.WhichOneof("validation"):
            case "validation_split":
                split = to_json(request.validation_split, "validation_split")
                check_scheme(split)
                body["validation_split"] = split
            case "validation_data":
                body["validation_data"] = self._source(
                    request.validation_data, spool, multi_label, "validation_data"
                )
        if request.HasField("budget"):
            body["budget"] = self._launcher.budget(request.budget)
        return body

    def _source(self, given: pb.LabeledData, spool: Spool, multi_label: bool, field: str) -> Json:
        return self._data.source(given, spool, multi_label=multi_label, field=field)


def report_options(given: pb.ClassificationReportOptions, *, training: bool) -> Json:
    """As JSON. Raises InvalidArgument on their fields."""
    told = to_json(given, "report_options")
    ReportOptions.from_json(told, training=training)
    return told
