"""The executors of this release, put together."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.registry import Registry
from stillroom_server.operations.executor import Executor

ExecutorFactory: TypeAlias = Callable[[Mapping[str, Any], Registry], dict[str, Executor]]


def build(settings_json: Mapping[str, Any], registry: Registry) -> dict[str, Executor]:
    """Every executor by its kind. Imports here: the front process must not load them."""
    from stillroom_server.classification.evaluate import EvaluateClassifierExecutor
    from stillroom_server.classification.executor import TrainClassifierExecutor
    from stillroom_server.distillation.executor import DistillExecutor
    from stillroom_server.imports.executor import ImportExecutor
    from stillroom_server.imports.step import TeacherImport
    from stillroom_server.maintenance.collect import CollectGarbageExecutor
    from stillroom_server.maintenance.verify import VerifyExecutor
    from stillroom_server.sync.pull import PullExecutor
    from stillroom_server.sync.push import PushExecutor

    imports = ImportExecutor(settings_json, registry)
    teachers = TeacherImport(imports, registry)
    return by_kind(
        DistillExecutor(settings_json, registry, teachers),
        imports,
        TrainClassifierExecutor(settings_json, registry),
        EvaluateClassifierExecutor(settings_json, registry),
        PushExecutor(settings_json, registry),
        PullExecutor(settings_json, registry),
        VerifyExecutor(registry),
        CollectGarbageExecutor(registry),
    )


def by_kind(*executors: Executor) -> dict[str, Executor]:
    return {executor.kind: executor for executor in executors}


def load_factory(name: str) -> ExecutorFactory:
    """The function named ``module:function``. Raises InvalidArgument (field executors)."""
    module, _, function = name.partition(":")
    try:
        factory: ExecutorFactory = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgument(
            f"{name!r} names no function (module:function): {error}", field="executors"
        ) from error
    return factory
