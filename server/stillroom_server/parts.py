"""What the front process is made of, apart from gRPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from stillroom_registry.registry import Registry
from stillroom_registry.requests import RequestLog
from stillroom_registry.values import system_clock
from stillroom_server import estimating
from stillroom_server.inference.memory import Memory
from stillroom_server.inference.models import LoadedModel, LoadFailure
from stillroom_server.inference.registry_models import (
    ClassifierPool,
    StudentPool,
    classifier_pool,
    student_pool,
)
from stillroom_server.inference.transformer.lanes import Lanes
from stillroom_server.maintenance.gauges import registry_gauges
from stillroom_server.maintenance.scrub import Scrubber
from stillroom_server.observability.metrics import (
    ClassifyMetrics,
    EmbedMetrics,
    GaugeCollector,
    RequestMetrics,
    TeacherMetrics,
)
from stillroom_server.operations.model import OperationState
from stillroom_server.operations.pace import Pace
from stillroom_server.operations.settings import OperationsSettings, all_cores
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.supervisor import RunnerSupervisor
from stillroom_server.operations.watch import OperationWatcher
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.settings import Settings
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.status import SyncStatus
from stillroom_server.teachers.admission import WorkAdmission
from stillroom_server.teachers.settings import EngineSettings
from stillroom_server.teachers.supervisor import EngineSupervisor
from stillroom_server.teachers.teachers import Teachers
from stillroom_server.teachers.transport.client import GrpcEngineLink
from stillroom_server.uploads.mentions import mentioned
from stillroom_server.uploads.store import UploadStore

if TYPE_CHECKING:
    from stillroom_server.cost.ledger.recent import Recent, RecentAccuracy

OPERATION_KINDS = (
    *("collect_garbage", "distill", "evaluate_classifier", "import", "pull", "push"),
    *("train_classifier", "verify"),
)


@dataclass(frozen=True)
class Parts:
    """The domain objects of one server and the settings that they were built from."""

    settings: Settings
    start_time: datetime
    registry: Registry
    requests: RequestLog
    estimating: estimating.Estimating
    operations: OperationStore
    outbox: Outbox
    syncs: SyncStatus
    watcher: OperationWatcher
    supervisor: RunnerSupervisor
    uploads: UploadStore
    scrubber: Scrubber | None
    roots: AllowedRoots
    pool: StudentPool
    classifiers: ClassifierPool
    teachers: Teachers
    request_metrics: RequestMetrics
    embed_metrics: EmbedMetrics
    classify_metrics: ClassifyMetrics

    def prune(self) -> None:
        """Drops the versions in memory that no longer exist."""
        self.pool.prune()
        self.classifiers.prune()

    def load_failures(self) -> list[LoadFailure]:
        """The students and classifiers that did not load when last tried."""
        return [*self.pool.failures(), *self.classifiers.failures()]


def build(
    settings: Settings,
    data_dir: Path,
    registry: Registry,
    metrics: CollectorRegistry,
    clock: Callable[[], datetime] = system_clock,
) -> Parts:
    """Everything built, nothing started. ``data_dir`` is open and ours."""
    outbox = Outbox(registry.database, clock)
    runner = OperationsSettings(
        **_threads(settings), slice_seconds=settings.operation_slice_seconds
    )
    roots = AllowedRoots(settings.allow_root)
    estimates = estimating.build(settings, data_dir, registry, roots, runner, clock)
    operations = OperationStore(registry.database, clock, observer=estimates.observer)
    embed_metrics, classify_metrics = EmbedMetrics(metrics), ClassifyMetrics(metrics)
    verdicts = data_dir / "cache" / "verdicts"
    memory = Memory(settings.model_memory_bytes)
    lanes = Lanes(max_seconds=settings.max_teacher_queue_seconds)
    parts = Parts(
        settings=settings,
        start_time=clock(),
        registry=registry,
        requests=RequestLog(registry.database, clock),
        estimating=estimates,
        operations=operations,
        outbox=outbox,
        syncs=SyncStatus(outbox, operations),
        watcher=OperationWatcher(operations),
        supervisor=RunnerSupervisor(
            operations,
            data_dir,
            runner,
            executor_settings(settings),
            pace=_pace(settings, runner, embed_metrics, classify_metrics),
        ),
        uploads=UploadStore(
            data_dir / "uploads",
            clock=clock,
            time_to_live=timedelta(hours=settings.upload_hours),
            max_bytes=settings.max_upload_bytes,
            max_total_bytes=settings.max_uploads_bytes,
            in_use=lambda: _uploads_in_use(operations),
        ),
        scrubber=_scrubber(settings, registry, clock),
        roots=roots,
        pool=student_pool(
            registry,
            engine=settings.student_engine,
            tokenizer=settings.tokenizer_engine,
            cache=verdicts,
            memory=memory,
            lanes=lanes,
        ),
        classifiers=classifier_pool(
            registry,
            tokenizer=settings.tokenizer_engine,
            cache=verdicts,
            memory=memory,
            lanes=lanes,
        ),
        teachers=_teachers(settings, registry, TeacherMetrics(metrics)),
        request_metrics=RequestMetrics(metrics),
        embed_metrics=embed_metrics,
        classify_metrics=classify_metrics,
    )
    _gauges(parts, metrics)
    return parts


def executor_settings(settings: Settings) -> dict[str, Any]:
    """What the executors of operations may know, as JSON; it travels to the runner by a pipe."""
    return {
        "allow_root": [str(root) for root in settings.allow_root],
        "hub_allow": settings.hub_allow,
        "hub_push": settings.hub_push,
        "hub_endpoint": settings.hub_endpoint,
        "hub_timeout_seconds": settings.hub_timeout_seconds,
        "max_import_files": settings.max_import_files,
        "max_import_bytes": settings.max_import_bytes,
        "registry_quota_bytes": settings.registry_quota_bytes,
        "device": settings.device,
        "dtype": settings.teacher_dtype,
        "feature_cache_bytes": settings.feature_cache_bytes,
        "log_level": settings.log_level,
        "log_format": settings.log_format,
    }


def _scrubber(
    settings: Settings, registry: Registry, clock: Callable[[], datetime]
) -> Scrubber | None:
    """None when nothing is to be looked at again."""
    if not settings.scrub_days:
        return None
    return Scrubber(
        registry,
        interval=timedelta(days=settings.scrub_days),
        bytes_per_second=settings.scrub_bytes_per_second,
        now=clock,
    )


def _teachers(settings: Settings, registry: Registry, metrics: TeacherMetrics) -> Teachers:
    engine = EngineSettings(
        device=settings.device,
        dtype=settings.teacher_dtype,
        threads=settings.teacher_threads,
        batch_tokens=settings.teacher_batch_tokens,
        memory_bytes=settings.teacher_memory_bytes,
        idle_seconds=settings.teacher_idle_seconds,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
    admission = WorkAdmission(
        settings.max_teacher_queue_bytes, settings.max_teacher_queue_seconds, metrics.shed
    )
    return Teachers(
        EngineSupervisor(engine, GrpcEngineLink, on_death=metrics.died),
        admission,
        registry.folder,
        metrics,
        idle_seconds=settings.teacher_engine_idle_seconds,
        hang_seconds=settings.teacher_engine_hang_seconds,
    )


def _threads(settings: Settings) -> dict[str, int]:
    return {"threads": settings.runner_threads} if settings.runner_threads else {}


def _pace(
    settings: Settings,
    runner: OperationsSettings,
    embedded: EmbedMetrics,
    classified: ClassifyMetrics,
) -> Pace:
    """All cores for operations while nothing is served, unless a number of threads was set."""
    idle = settings.runner_threads or all_cores()
    return Pace(
        lambda: embedded.requests + classified.requests,
        busy_threads=runner.threads,
        idle_threads=idle,
    )


def _uploads_in_use(store: OperationStore) -> set[str]:
    """Uploads that an unfinished operation was asked to read."""
    found = store.get_many(store.unfinished_ids()).values()
    return {name for operation in found for name in mentioned(operation.request)}


def _gauges(parts: Parts, metrics: CollectorRegistry) -> None:
    GaugeCollector(
        metrics,
        "stillroom_operations",
        "Operations in the database by kind and state",
        ("kind", "state"),
        lambda: _operations_by_state(parts.operations),
    )
    GaugeCollector(
        metrics,
        "stillroom_hub_syncs",
        "Pushes to and pulls from the Hub by direction and state",
        ("direction", "state"),
        lambda: {
            (way.value, state.value): float(count)
            for (way, state), count in parts.syncs.counts().items()
        },
    )
    GaugeCollector(
        metrics,
        "stillroom_loaded_model_bytes",
        "Memory of each loaded model, by what serves it",
        ("model_version", "engine", "tokenizer"),
        lambda: _loaded_bytes(parts),
    )
    GaugeCollector(
        metrics,
        "stillroom_failed_model_loads",
        "1 for each version of a student or classifier that did not load when last tried",
        ("model_version", "reason"),
        lambda: {(each.name, each.error.reason): 1.0 for each in parts.load_failures()},
    )
    GaugeCollector(
        metrics,
        "stillroom_teacher_queue_bytes",
        "Bytes of text in flight to the teacher engine",
        (),
        lambda: {(): float(parts.teachers.held)},
    )
    registry_gauges(parts.registry, parts.scrubber, partial(GaugeCollector, metrics))
    _estimate_gauges(parts.estimating.recent, metrics)


def _estimate_gauges(recent: RecentAccuracy, metrics: CollectorRegistry) -> None:
    def gauge(name: str, text: str, value: Callable[[Recent], float | None]) -> None:
        def read() -> Mapping[tuple[str, ...], float]:
            found = {labels: value(each) for labels, each in recent.read().items()}
            return {labels: number for labels, number in found.items() if number is not None}

        GaugeCollector(metrics, f"stillroom_estimate_{name}", text, ("kind", "figure"), read)

    gauge(
        "jobs",
        "Latest pieces of work with both an estimate and a measurement, 200 at most",
        lambda each: each.jobs,
    )
    gauge(
        "ratio",
        "Median of what those took over what was estimated; missing while there are none",
        lambda each: each.ratio,
    )
    gauge(
        "coverage",
        "Share of those that took between p10 and p90; missing while there are none",
        lambda each: each.coverage,
    )


def _loaded_bytes(parts: Parts) -> Mapping[tuple[str, ...], float]:
    models: list[LoadedModel[Any]] = [*parts.pool.loaded(), *parts.classifiers.loaded()]
    loaded: dict[tuple[str, ...], float] = {
        (model.name, model.info.engine, model.info.tokenizer): model.info.memory_bytes
        for model in models
    }
    teachers = {
        (teacher.name, "torch", "huggingface"): teacher.facts.memory_bytes
        for teacher in parts.teachers.loaded()
    }
    return loaded | teachers


def _operations_by_state(store: OperationStore) -> Mapping[tuple[str, ...], float]:
    counts: dict[tuple[str, ...], float] = {
        (kind, state.value): 0.0 for kind in OPERATION_KINDS for state in OperationState
    }
    for (kind, state), number in store.count_by_kind_and_state().items():
        counts[kind, state.value] = number
    return counts
