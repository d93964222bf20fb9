"""Distillation as a durable operation: what the runner executes.

A request becomes a student in steps, each of which leaves what it made in the operation's
workspace; an attempt after a kill finds it there and goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from stillroom_registry import storage
from stillroom_registry.errors import FailedPrecondition, ResourceExhausted
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_registry.relations import DISTILL, QUANTIZE
from stillroom_server.distillation.recipes.request import DistillRequest
from stillroom_server.provenance import provenance
from stillroom_server.security.paths import AllowedRoots

if TYPE_CHECKING:
    from stillroom_server.distillation.recipes.job import Job, Made
    from stillroom_server.operations.context import OperationContext

PHASES = (
    *("import", "corpus", "load", "featurize", "prepare", "encode", "reduce", "fit", "train"),
    *("quantize", "write", "verify", "report", "publish"),
)
# What each phase of a recipe takes, about, in seconds of a small machine: for the bar alone.
_SHARES: Mapping[str, Mapping[str, float]] = {
    "static": {"load": 2, "encode": 17, "reduce": 1, "write": 1, "verify": 1},
    "static_tuned": {
        **{"featurize": 60, "load": 2, "prepare": 5, "encode": 17},
        **{"fit": 5, "train": 40, "write": 1, "verify": 1},
    },
    "transformer": {"featurize": 60, "prepare": 2, "train": 1500, "write": 2, "verify": 5},
    "quantize": {"load": 1, "quantize": 3, "write": 1, "verify": 3},
}
_REPORT_SHARES = {"report": 4.0, "publish": 0.5}
DEFAULT_CACHE_BYTES = 4_000_000_000

TeacherImporter: TypeAlias = "Callable[[Mapping[str, Any], OperationContext], ModelVersion]"
"""Brings a teacher that is not registered yet, reporting the phase ``import``."""


class DistillExecutor:
    """Runs requests as ``DistillRequest.from_json`` reads them, and publishes version by version
    under their name.

    The result is ``{"model_version", "teacher_version", "report"}``; it commits together with the
    student. ``settings`` may hold ``device`` and ``dtype`` (see ``Teacher.load``),
    ``feature_cache_bytes``, and what the Hub and allowed roots are (see ``imports``).
    """

    kind = "distill"
    phases = PHASES

    def __init__(
        self,
        settings: Mapping[str, Any],
        registry: Registry,
        import_teacher: TeacherImporter | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._import_teacher = import_teacher

    def run(self, request: Any, context: OperationContext) -> dict[str, Any]:
        """Raises InvalidArgument, NotFound or FailedPrecondition for a request that cannot be met,
        FidelityTooLow for a student that is not good enough, ResourceExhausted when disk or memory
        do not suffice."""
        # What trains is imported here, in the runner alone.
        from stillroom_server.distillation.fidelity.attach import attach
        from stillroom_server.distillation.recipes.choose import choose
        from stillroom_server.distillation.recipes.report import evaluations_of, measured

        asked = DistillRequest.from_json(request)
        context.expect(_shares(asked, asked.recipe))
        source = self._source(asked, context)
        output = context.workspace / f"student-{context.attempt}"
        for left in context.workspace.glob("student-*"):
            shutil.rmtree(left, ignore_errors=True)
        with _exhaustion():
            job = self._job(asked, source, output, context)
            evaluations = evaluations_of(job)
            choice = choose(job)
            context.expect(_shares(asked, choice.recipe))
            made = choice.make(job)
            report = measured(job, made, evaluations)
            attach(output, report, context.check_cancelled)
            asked.minimum.check(report)
            result = self._publish(job, made, report)
        shutil.rmtree(output, ignore_errors=True)
        return result

    def _source(self, asked: DistillRequest, context: OperationContext) -> ModelVersion:
        if "teacher_import" in asked.source:
            if self._import_teacher is None:
                raise FailedPrecondition("this runner imports no teachers", field="teacher_import")
            return self._import_teacher(asked.source["teacher_import"], context)
        version = self._registry.resolve(str(asked.source["teacher"]))
        wanted = ModelKind.STUDENT if asked.recipe == "quantize" else ModelKind.TEACHER
        if version.kind is not wanted:
            raise FailedPrecondition(
                f"{version.name} is a {version.kind}, not a {wanted}",
                reason=f"NOT_A_{wanted.name}",
                field="teacher",
            )
        return version

    def _job(
        self,
        asked: DistillRequest,
        source: ModelVersion,
        output: Path,
        context: OperationContext,
    ) -> Job:
        from stillroom_server.distillation.features import FeatureCache
        from stillroom_server.distillation.recipes.job import Job

        cache = self._registry.data_dir / "cache"
        limit = int(self._settings.get("feature_cache_bytes", DEFAULT_CACHE_BYTES))
        job = Job(
            request=asked,
            source=source,
            folder=self._registry.folder(source),
            output=output,
            context=context,
            cache=FeatureCache(cache / "features", limit),
            verdicts=cache / "verdicts",
            roots=AllowedRoots([Path(root) for root in self._settings.get("allow_root") or ()]),
            device=str(self._settings.get("device") or "auto"),
            dtype=str(self._settings.get("dtype") or "auto"),
        )
        return job if asked.corpus is None else replace(job, corpus=self._corpus(job))

    def _corpus(self, job: Job) -> Any:
        from stillroom_server.distillation.corpus import CorpusOptions, ingest
        from stillroom_server.imports.settings import ImportSettings

        hub = ImportSettings.from_json(self._settings)
        return ingest(
            job.request.corpus,
            job.workspace / "corpus",
            CorpusOptions(job.request.held_out, job.request.seed),
            job.context,
            hub=hub.access(),
            roots=job.roots,
        )

    def _publish(self, job: Job, made: Made, report: dict[str, Any]) -> dict[str, Any]:
        context = job.context
        context.progress("publish", 0, 1, unit="student")
        context.check_cancelled()
        result: dict[str, Any] = {"teacher_version": job.source.name, "report": report}

        def succeed(connection: Any, version: Any) -> None:
            context.progress("publish", 1, 1, unit="student")
            result["model_version"] = version.name
            context.succeed(connection, result)

        made_from = provenance(
            seed=job.request.seed,
            sources={job.source.name: job.source.digest},
            corpora={} if job.corpus is None else {"texts": job.corpus.digest},
        )
        self._registry.publish(
            job.request.name,
            ModelKind.STUDENT,
            job.output,
            metadata={
                "report": report,
                "options": made.options,
                "recipe": made.recipe,
                **made_from,
            },
            parents=(job.source.name,),
            relation=QUANTIZE if made.recipe == QUANTIZE else DISTILL,
            description=job.request.description,
            labels=job.request.labels,
            in_transaction=succeed,
        )
        return result


def _shares(asked: DistillRequest, recipe: str) -> dict[str, float]:
    own = _SHARES.get(recipe) or _SHARES["static_tuned" if asked.corpus else "static"]
    before = {"import": 5.0} if "teacher_import" in asked.source else {}
    if asked.corpus is not None:
        before["corpus"] = 1.0
    return {**before, **own, **_REPORT_SHARES}


@contextmanager
def _exhaustion() -> Iterator[None]:
    """Says plainly that disk or memory ran out, or that a disk fails."""
    try:
        yield
    except MemoryError as error:
        raise ResourceExhausted(
            "not enough memory for this teacher and vocabulary", reason="OUT_OF_MEMORY"
        ) from error
    except Exception as error:
        if (told := storage.translate(error)) is not None:
            raise told from error
        if "No space left on device" in str(error):
            raise ResourceExhausted(
                "the disk of the data directory is full; free some space and try again",
                reason="DISK_FULL",
            ) from error
        raise
