"""Feeds a ModelPool from the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.inference.embedders import Embedder, load_embedder
from stillroom_server.inference.models import ModelPool
from stillroom_server.inference.transformer.lanes import Lanes


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
    lanes: Lanes | None = None,
) -> ModelPool[ModelVersion]:
    """Return a pool of the registry's students; arguments as in ``load_embedder``."""
    resolve = resolver(registry)
    shared = lanes or Lanes()

    def load(version: ModelVersion) -> Embedder:
        return load_embedder(
            registry.folder(version),
            engine,
            tokenizer,
            cache=cache,
            digests={file.path: file.digest for file in version.files},
            lanes=shared,
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
