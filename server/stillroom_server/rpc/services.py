"""Every service of the protocol, registered on a gRPC server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health

from stillroom_server.late import late
from stillroom_server.operations.settings import all_cores
from stillroom_server.parts import Parts, executor_settings
from stillroom_server.rpc import (
    classification,
    classifier_operations,
    cost,
    distillation,
    embedding,
    hub_sync,
    models,
    operations,
    reflection,
    server_info,
    upkeep,
    uploads,
)
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.classifier_operations import ClassifierOperations
from stillroom_server.rpc.estimates import Estimates
from stillroom_server.rpc.health import Health
from stillroom_server.rpc.idempotency import Idempotency
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.operation_messages import OperationMessages
from stillroom_server.rpc.registration import Registrar
from stillroom_server.security.access import Access
from stillroom_server.sync.settings import SyncSettings

if TYPE_CHECKING:
    from stillroom_server.rpc.costing import Costing

SERVICES: tuple[ServiceDescriptor, ...] = (
    embedding.DESCRIPTOR,
    uploads.DESCRIPTOR,
    distillation.DESCRIPTOR,
    models.DESCRIPTOR,
    operations.LONGRUNNING,
    operations.DESCRIPTOR,
    server_info.DESCRIPTOR,
    classification.DESCRIPTOR,
    cost.DESCRIPTOR,
)


async def register(server: grpc.aio.Server, parts: Parts, access: Access) -> Health:
    """Adds the handlers of every service, health and reflection to ``server``."""
    settings = parts.settings
    registrar = Registrar(
        authenticate=access,
        observer=parts.request_metrics,
        max_request_bytes=settings.max_request_bytes,
    )
    servicers = _servicers(parts)
    for descriptor in SERVICES:
        handlers = registrar.handlers(descriptor, servicers.get(descriptor.full_name))
        server.add_generic_rpc_handlers((handlers,))
    names = [descriptor.full_name for descriptor in SERVICES]
    described = reflection.ReflectionServicer([*names, health.SERVICE_NAME])
    server.add_generic_rpc_handlers((registrar.handlers(reflection.DESCRIPTOR, described),))
    checked = Health(names)
    await checked.attach(server)
    return checked


def _servicers(parts: Parts) -> dict[str, object]:
    settings, registry = parts.settings, parts.registry
    messages = OperationMessages(
        {
            "distill": lambda result: distillation.response(result, registry),
            "import": lambda result: models.import_response(result, registry),
            classifier_operations.TRAIN: lambda result: classifier_operations.train_response(
                result, registry
            ),
            classifier_operations.EVALUATE: classifier_operations.evaluate_response,
            upkeep.VERIFY: upkeep.verify_response,
            upkeep.COLLECT_GARBAGE: upkeep.collect_response,
            hub_sync.PUSH: hub_sync.push_response,
            hub_sync.PULL: lambda result: hub_sync.pull_response(result, registry),
        }
    )
    costs = parts.estimating
    estimates = Estimates(
        costs.works, costs.estimator, costs.ledger, calibrate=settings.cost_calibrate
    )
    launcher = Launcher(registry, parts.operations, parts.uploads, parts.roots, messages, estimates)
    syncs = hub_sync.HubSyncs(
        launcher, SyncSettings.from_json(executor_settings(settings)), parts.outbox, parts.syncs
    )
    long_running = operations.OperationServicer(parts.operations, parts.watcher, messages)
    admission = Admission(settings.max_concurrent_requests, settings.max_concurrent_streams)
    by_service: dict[ServiceDescriptor, object] = {
        embedding.DESCRIPTOR: embedding.EmbeddingServicer(
            parts.pool, parts.teachers, settings, parts.embed_metrics, admission
        ),
        uploads.DESCRIPTOR: uploads.UploadServicer(
            parts.uploads, settings.max_request_bytes, admission
        ),
        distillation.DESCRIPTOR: distillation.DistillationServicer(launcher),
        classification.DESCRIPTOR: classification.ClassificationServicer(
            ClassifierOperations(launcher, parts.pool, parts.classifiers, parts.teachers),
            parts.classifiers,
            parts.teachers,
            registry,
            settings,
            parts.classify_metrics,
            admission,
        ),
        cost.DESCRIPTOR: cost.CostServicer(
            late(partial(_costing, parts, launcher, syncs)), estimates, admission
        ),
        models.DESCRIPTOR: models.ModelServicer(
            registry,
            launcher,
            Idempotency(parts.requests),
            admission,
            syncs,
            max_response_bytes=settings.max_response_bytes,
        ),
        operations.LONGRUNNING: long_running,
        operations.DESCRIPTOR: long_running,
        server_info.DESCRIPTOR: server_info.ServerServicer(
            settings, parts.start_time, parts.pool, parts.classifiers, parts.teachers
        ),
    }
    return {descriptor.full_name: servicer for descriptor, servicer in by_service.items()}


def _costing(parts: Parts, launcher: Launcher, syncs: hub_sync.HubSyncs) -> Costing:
    from stillroom_server.cost.environment import CostDefaults
    from stillroom_server.rpc.costing import Costing

    settings, costs = parts.settings, parts.estimating
    defaults = CostDefaults.of(settings).to_json(settings.runner_threads or all_cores())
    return Costing(
        launcher, syncs, costs.devices, defaults, costs.ledger, max_texts=settings.max_texts
    )
