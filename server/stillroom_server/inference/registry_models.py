"""Feeds pools of models from the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.encoder_name import encoder_of
from stillroom_server.inference.embedders import Embedder, load_embedder
from stillroom_server.inference.memory import Memory
from stillroom_server.inference.models import LoadedModel, ModelPool
from stillroom_server.inference.transformer.lanes import Lanes

StudentPool: TypeAlias = ModelPool[ModelVersion, Embedder]
ClassifierPool: TypeAlias = ModelPool[ModelVersion, Classifier]
LoadedClassifier: TypeAlias = LoadedModel[Classifier]


class NotAStudent(FailedPrecondition):
    """A version of another kind; ``version`` says which."""

    def __init__(self, version: ModelVersion) -> None:
        advice = "distill it into a student first"
        if version.kind is ModelKind.CLASSIFIER:
            advice = "ask Classify, or embed with the model that it was trained on"
        super().__init__(
            f"{version.name} is a {version.kind.value}; {advice}.",
            reason="NOT_A_STUDENT",
            field="model",
            metadata={"model": version.name, "kind": version.kind.value},
        )
        self.version = version


class NotAClassifier(FailedPrecondition):
    """A version of another kind."""

    def __init__(self, version: ModelVersion) -> None:
        super().__init__(
            f"{version.name} is a {version.kind.value}; train a classifier on it first.",
            reason="NOT_A_CLASSIFIER",
            field="model",
            metadata={"model": version.name, "kind": version.kind.value},
        )


def student_pool(
    registry: Registry,
    *,
    engine: str = "auto",
    tokenizer: str = "auto",
    cache: Path | None = None,
    memory: Memory | None = None,
    lanes: Lanes | None = None,
) -> StudentPool:
    """Return a pool of the registry's students; arguments as in ``load_embedder``."""
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

    return ModelPool(resolver(registry, ModelKind.STUDENT, NotAStudent), load, memory=memory)


def classifier_pool(
    registry: Registry,
    *,
    tokenizer: str = "auto",
    cache: Path | None = None,
    memory: Memory | None = None,
    lanes: Lanes | None = None,
) -> ClassifierPool:
    """Return a pool of the registry's classifiers; arguments as in ``Classifier.load``."""
    shared = lanes or Lanes()

    def load(version: ModelVersion) -> Classifier:
        made = Classifier.load(registry.folder(version), tokenizer, cache=cache, lanes=shared)
        made.encoder_version = encoder_of(version, made.encoder_version)
        return made

    return ModelPool(resolver(registry, ModelKind.CLASSIFIER, NotAClassifier), load, memory=memory)


def resolver(
    registry: Registry, kind: ModelKind, refuse: Callable[[ModelVersion], FailedPrecondition]
) -> Callable[[str], ModelVersion]:
    """Resolve references to models of ``kind``; ``refuse`` is the error of any other."""

    def resolve(ref: str) -> ModelVersion:
        version = registry.resolve(ref)
        if version.kind is not kind:
            raise refuse(version)
        return version

    return resolve
