"""Feeds a ModelPool from the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.models import ModelPool


class NotAStudent(FailedPrecondition):
    """A version of another kind; ``version`` says which."""

    def __init__(self, version: ModelVersion) -> None:
        super().__init__(
            f"{version.name} is a {version.kind.value}; distill it into a student first.",
            reason="NOT_A_STUDENT",
            field="model",
            metadata={"model": version.name, "kind": version.kind.value},
        )
        self.version = version


def student_pool(
    registry: Registry,
    *,
    engine: str = "auto",
    tokenizer: str = "auto",
    cache: Path | None = None,
    budget_bytes: int | None = None,
) -> ModelPool[ModelVersion]:
    """Return a pool of the registry's students; arguments as in ``StudentEmbedder.load``."""
    resolve = resolver(registry)

    def load(version: ModelVersion) -> StudentEmbedder:
        return StudentEmbedder.load(
            registry.folder(version),
            engine,
            tokenizer,
            cache=cache,
            digests={file.path: file.digest for file in version.files},
        )

    if budget_bytes is None:
        return ModelPool(resolve, load)
    return ModelPool(resolve, load, budget_bytes=budget_bytes)


def resolver(registry: Registry) -> Callable[[str], ModelVersion]:
    """Resolve references to students; any other kind is NotAStudent."""

    def resolve(ref: str) -> ModelVersion:
        version = registry.resolve(ref)
        if version.kind is not ModelKind.STUDENT:
            raise NotAStudent(version)
        return version

    return resolve
