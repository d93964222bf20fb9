"""Measuring a classifier on labeled texts, as a durable operation. Changes no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_server.classification.access import DataAccess
from stillroom_server.classification.encoders import resolve, still_registered
from stillroom_server.classification.exhaustion import exhaustion
from stillroom_server.classification.request import EvaluateRequest
from stillroom_server.inference.classifier.encoder_name import encoder_of
from stillroom_server.inference.classifier.files import ClassifierFiles, EncoderKind
from stillroom_server.inference.classifier.head import Task
from stillroom_server.inference.classifier.plans import ClassifyOptions, ClassifyPlan, plan

if TYPE_CHECKING:
    from stillroom_server.classification.data.prepared import Prepared
    from stillroom_server.operations.context import OperationContext

_SHARES = {"data": 1.0, "encode": 6.0, "classify": 1.0, "report": 2.0}
_OPTIONS = ("abstention_threshold", "threshold", "truncate")


class EvaluateClassifierExecutor:
    """Runs requests as ``EvaluateRequest.from_json`` reads them. The result is ``{"model_version",
    "report", "data"}`` and, if asked for, ``"html"``. Settings as of TrainClassifierExecutor."""

    kind = "evaluate_classifier"
    phases = tuple(_SHARES)

    def __init__(self, settings: Mapping[str, Any], registry: Registry) -> None:
        self._settings = settings
        self._registry = registry

    def run(self, request: Any, context: OperationContext) -> dict[str, Any]:
        """Raises InvalidArgument, NotFound and FailedPrecondition for a request that cannot be met,
        ABORTED and ResourceExhausted as ``examples.read`` does."""
        asked = EvaluateRequest.from_json(request)
        context.expect(_SHARES)
        version = find_classifier(self._registry, asked.model)
        with exhaustion(), still_registered(self._registry, version, "model"):
            return self._measured(asked, version, context)

    def _measured(
        self, asked: EvaluateRequest, version: ModelVersion, context: OperationContext
    ) -> dict[str, Any]:
        from stillroom_server.classification.data.prepared import prepare_evaluation
        from stillroom_server.classification.data.report import data_report
        from stillroom_server.classification.report.html import to_html
        from stillroom_server.classification.report.measure import measure
        from stillroom_server.classification.report.unknown import unknown_labels
        from stillroom_server.classification.scores import probabilities_of

        files = ClassifierFiles.load(self._registry.folder(version))
        about = files.description
        how = plan(classify_options(asked.options), about)
        examples = DataAccess.from_settings(self._settings).read(
            asked.data,
            context.workspace,
            context,
            multi_label=about.task is Task.MULTI_LABEL,
        )
        prepared = prepare_evaluation(
            examples, about.labels, multi_label=about.task is Task.MULTI_LABEL
        )
        prepared, scores, silent = self._scores(version, files, prepared, how, context)
        context.progress("report", 0, 1, unit="reports")
        report = measure(
            about.labels,
            about.task,
            prepared.targets,
            probabilities_of(scores, about.temperature, about.task),
            texts=prepared.texts,
            thresholds=_thresholds(how, len(about.labels)),
            abstention_threshold=how.abstention_threshold,
            options=asked.report_options,
            uncalibrated=probabilities_of(scores, 1.0, about.task),
            extra_labels=unknown_labels(examples.labels, about.labels),
            silent=silent,
            between=context.check_cancelled,
        )
        data = data_report(prepared)
        result: dict[str, Any] = {"model_version": version.name, "report": report, "data": data}
        if asked.report_options.include_html:
            result["html"] = to_html(report, data, None, files.stated, name=version.model)
        context.progress("report", 1, 1, unit="reports")
        context.check_cancelled()
        return result

    def _scores(
        self,
        version: ModelVersion,
        files: ClassifierFiles,
        prepared: Prepared,
        how: ClassifyPlan,
        context: OperationContext,
    ) -> tuple[Prepared, Any, Any]:
        """The data with what the tokens say of them, scores float32 (n, K), and which texts have no
        known token."""
        from stillroom_server.classification.data.prepared import note_tokens
        from stillroom_server.classification.features.encode import encode_texts
        from stillroom_server.classification.features.load import load_encoder
        from stillroom_server.classification.scores import scores_of

        encoder = load_encoder(
            self._encoder_folder(version, files),
            files.encoder.value,
            how.encoding,
            device=str(self._settings.get("device") or "auto"),
            dtype=str(self._settings.get("dtype") or "auto"),
            cache=self._registry.data_dir / "cache" / "verdicts",
            path="options",
        )
        encoded = encode_texts(
            encoder,
            prepared.texts,
            context,
            kept=context.workspace / "vectors",
            saved=context.give_way,
        )
        scores = scores_of(files.head, encoded, context)
        prepared = note_tokens(prepared, unknown=~encoded.known, truncated=encoded.truncated)
        return prepared, scores, ~encoded.known

    def _encoder_folder(self, version: ModelVersion, files: ClassifierFiles) -> Path:
        if files.encoder is not EncoderKind.TEACHER:
            return files.folder
        name = encoder_of(version, files.description.encoder_version)
        try:
            return self._registry.folder(self._registry.resolve(name))
        except NotFound as error:
            raise FailedPrecondition(
                f"the classifier reads vectors of {name}, which was deleted",
                reason="ENCODER_DELETED",
                field="model",
                metadata={"encoder_version": name},
            ) from error


def find_classifier(registry: Registry, reference: str) -> ModelVersion:
    """The classifier that ``reference`` names. Raises NotFound, and FailedPrecondition
    (NOT_A_CLASSIFIER)."""
    version = resolve(registry, reference, "model")
    if version.kind is not ModelKind.CLASSIFIER:
        raise FailedPrecondition(
            f"{version.name} is a {version.kind}, not a classifier",
            reason="NOT_A_CLASSIFIER",
            field="model",
            metadata={"model_version": version.name, "kind": version.kind.value},
        )
    return version


def classify_options(given: Mapping[str, Any]) -> ClassifyOptions:
    """The options of an evaluation. Raises InvalidArgument for one that it has no use for."""
    for name, value in given.items():
        if name not in _OPTIONS and value not in (None, 0, False, "ELEMENT_TYPE_UNSPECIFIED"):
            raise InvalidArgument(
                f"{name} changes nothing about an evaluation; leave it unset",
                field=f"options.{name}",
            )
    abstention, threshold = (given.get(name) for name in _OPTIONS[:2])
    return ClassifyOptions(
        abstention_threshold=None if abstention is None else float(abstention),
        threshold=None if threshold is None else float(threshold),
        truncate=given.get("truncate"),
    )


def _thresholds(how: ClassifyPlan, labels: int) -> Any:
    import numpy as np

    return None if how.thresholds is None else np.broadcast_to(how.thresholds, (labels,))
