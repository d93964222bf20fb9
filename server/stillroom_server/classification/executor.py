"""Training a classifier as a durable operation: what the runner executes.

A request becomes a classifier in steps. What takes long leaves what it made in the operation's
workspace; an attempt after a kill finds it there and goes on, and makes the same bytes.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import FailedPrecondition, NotFound
from stillroom_registry.registry import ModelKind, Registry
from stillroom_registry.relations import TRAIN
from stillroom_server.classification.access import DataAccess
from stillroom_server.classification.encoders import (
    check_registered,
    find_encoder,
    still_registered,
)
from stillroom_server.classification.exhaustion import exhaustion
from stillroom_server.classification.request import TrainRequest
from stillroom_server.provenance import provenance

if TYPE_CHECKING:
    from stillroom_server.classification.job import Job, Made
    from stillroom_server.operations.context import OperationContext

PHASES = ("data", "encode", "train", "calibrate", "write", "verify", "report", "publish")
# What each phase takes, about, in seconds of a small machine: for the bar alone.
_SHARES: Mapping[str, tuple[float, ...]] = {
    "static": (1, 1, 10, 0.5, 0.5, 1, 1, 0.5),
    "transformer": (1, 30, 8, 0.5, 0.5, 3, 1, 0.5),
    "teacher": (1, 120, 8, 0.5, 0.5, 0.5, 1, 0.5),
}
_MOST_BYTES = 1 << 18  # of the description in the version's metadata; classifier.json has all


class TrainClassifierExecutor:
    """Runs requests as ``TrainRequest.from_json`` reads them, and publishes version by version
    under their name.

    The result is ``{"model_version", "classifier", "report", "data", "training"}``, of the shapes
    of the protocol's messages; it commits together with the classifier. ``settings`` may hold
    ``device`` and ``dtype`` (of teachers), and what the Hub and allowed roots are (see
    ``imports``).
    """

    kind = "train_classifier"
    phases = PHASES

    def __init__(
        self,
        settings: Mapping[str, Any],
        registry: Registry,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock

    def run(self, request: Any, context: OperationContext) -> dict[str, Any]:
        """Raises InvalidArgument, NotFound or FailedPrecondition for a request that cannot be met,
        Aborted when its file changed, ResourceExhausted when disk or memory do not suffice,
        Internal (LOSS_NOT_FINITE, PARITY_FAILED) when what came out is of no use."""
        # What trains is imported here, in the runner alone.
        from stillroom_server.classification.recipe import make

        asked = TrainRequest.from_json(request)
        self._check_name(asked.name)
        source = find_encoder(self._registry, asked.encoder)
        asked.options.check_encoder(source.kind)
        context.expect(dict(zip(PHASES, _SHARES[source.kind], strict=True)))
        output = context.workspace / f"classifier-{context.attempt}"
        for left in context.workspace.glob("classifier-*"):
            shutil.rmtree(left, ignore_errors=True)
        job = self._job(asked, source, output, context)
        with still_registered(self._registry, source.version, "encoder"), exhaustion():
            result = self._publish(job, make(job))
        shutil.rmtree(output, ignore_errors=True)
        return result

    def _check_name(self, name: str) -> None:
        """Before the work, what publishing would refuse after it."""
        try:
            kind = self._registry.get_model(name).kind
        except NotFound:
            return
        if kind is not ModelKind.CLASSIFIER:
            raise FailedPrecondition(
                f"models/{name} is a {kind}; a classifier needs another name",
                reason="KIND_MISMATCH",
                field="name",
                metadata={"model": name, "kind": kind.value},
            )

    def _job(self, asked: TrainRequest, source: Any, output: Any, context: Any) -> Job:
        from stillroom_server.classification.job import Job

        return Job(
            request=asked,
            source=source,
            output=output,
            context=context,
            access=DataAccess.from_settings(self._settings),
            verdicts=self._registry.data_dir / "cache" / "verdicts",
            device=str(self._settings.get("device") or "auto"),
            dtype=str(self._settings.get("dtype") or "auto"),
            clock=self._clock,
        )

    def _publish(self, job: Job, made: Made) -> dict[str, Any]:
        context, version = job.context, job.source.version
        context.progress("publish", 0, 1, unit="classifiers")
        context.check_cancelled()
        result: dict[str, Any] = {
            "classifier": made.description,
            "report": made.report,
            "data": made.data,
            "training": made.training,
        }

        def succeed(connection: Any, published: Any) -> None:
            # Nobody can delete the encoder between this look and the commit.
            check_registered(self._registry, version, "encoder")
            context.progress("publish", 1, 1, unit="classifiers")
            result["model_version"] = published.name
            context.succeed(connection, result)

        self._registry.publish(
            job.request.name,
            ModelKind.CLASSIFIER,
            job.output,
            metadata={**metadata_of(made), **_provenance(job, made)},
            parents=(version.name,),
            relation=TRAIN,
            description=job.request.description,
            labels=job.request.labels,
            in_transaction=succeed,
        )
        return result


def metadata_of(made: Made) -> dict[str, Any]:
    """What the version shows of itself, always far below what the registry keeps; of very many or
    very long labels only the first are there."""
    from stillroom_server.classification.recipe import headline

    facts = ("digest", "validation_digest", "validation_source", "training_count")
    return {
        "classifier": _shown(made.description),
        "label_count": len(made.description["labels"]),
        "quality": headline(made.report),
        "data": {name: made.data[name] for name in facts if name in made.data},
    }


def _provenance(job: Job, made: Made) -> dict[str, Any]:
    version = job.source.version
    texts = {"texts": "digest", "validation": "validation_digest"}
    return provenance(
        seed=job.request.options.seed,
        sources={version.name: version.digest},
        corpora={name: made.data[key] for name, key in texts.items() if made.data.get(key)},
    )


def _shown(description: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(description)
    if len(json.dumps(shown)) <= _MOST_BYTES:
        return shown
    sizes = accumulate(len(json.dumps(label)) + 2 for label in shown["labels"])
    count = sum(size <= _MOST_BYTES // 2 for size in sizes)
    shown["labels"] = shown["labels"][:count]
    if "thresholds" in shown:
        shown["thresholds"] = shown["thresholds"][:count]
    options = shown["options"].items()
    shown["options"] = {name: value for name, value in options if name != "class_weights"}
    return shown
