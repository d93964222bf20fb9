"""A registry with tiny encoders, trainings in it, and what they leave."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from classification.contexts import Context
from distillation.export.tiny import write_tiny

from stillroom_registry.errors import NotFound
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.classification.evaluate import EvaluateClassifierExecutor
from stillroom_server.classification.executor import TrainClassifierExecutor

TOPICS: Mapping[str, tuple[str, ...]] = {
    "nature": ("river", "mountain", "sunlight", "water", "elephant", "strawberry"),
    "people": ("teacher", "student", "musician", "people", "hospital", "she"),
    "things": ("keyboard", "umbrella", "notebook", "telephone", "kitchen", "register"),
}
"""Words that the tiny students know, by what they are about."""
_FILLERS = ("the", "a", "of", "and", "in", "with", "some", "which", "more", "about")

Example = tuple[str, Sequence[str]]


def text_about(topics: Iterable[str], random: Random) -> str:
    words = [random.choice(_FILLERS) for _ in range(3)]
    words += [word for topic in topics for word in random.sample(TOPICS[topic], 2)]
    random.shuffle(words)
    return " ".join(words)


def single(count: int = 8, seed: int = 0) -> list[list[Any]]:
    """``count`` examples of each label, one label each, as a request has them."""
    random = Random(seed)
    return [[text_about([topic], random), [topic]] for _ in range(count) for topic in TOPICS]


def multiple(count: int = 8, seed: int = 0) -> list[list[Any]]:
    """Examples with any number of labels."""
    random = Random(seed)
    chosen = [[], *([topic] for topic in TOPICS), ["nature", "people"], ["people", "things"]]
    return [[text_about(labels, random), labels] for _ in range(count) for labels in chosen]


def asking(examples: list[list[Any]] | None = None, **more: Any) -> dict[str, Any]:
    """The request for a classifier ``sorter`` on the student ``tiny``."""
    data = {"examples": single() if examples is None else examples, "format": {}}
    return {"encoder": "models/tiny/versions/1", "name": "sorter", "data": data, **more}


@dataclass
class Room:
    """``settings`` are the executors'. Every operation has a workspace of its own, which is removed
    when it has ended, as the runner does."""

    registry: Registry
    root: Path
    settings: dict[str, Any] = field(default_factory=lambda: {"dtype": "float32", "device": "cpu"})
    operations: int = 0

    @classmethod
    def open(cls, root: Path) -> Room:
        registry = Registry.open(root / "data")
        write_tiny(root / "tiny")
        registry.publish("tiny", ModelKind.STUDENT, root / "tiny")
        made = cls(registry, root)
        made.settings["allow_root"] = [str(root)]
        return made

    def context(self) -> Context:
        """Of a new operation."""
        self.operations += 1
        workspace = self.root / "data/operations" / f"{self.operations}"
        workspace.mkdir(parents=True)
        return Context(workspace)

    def attempt(self, request: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """One attempt at a training; the workspace stays."""
        executor = TrainClassifierExecutor(self.settings, self.registry)
        context.phases = []
        try:
            return executor.run(request, context)  # type: ignore[arg-type]
        finally:
            context.attempt += 1

    def train(
        self, request: Mapping[str, Any] | None = None, context: Context | None = None
    ) -> dict[str, Any]:
        """An attempt that ends the operation, well or badly."""
        context = context or self.context()
        try:
            return self.attempt(request or asking(), context)
        finally:
            shutil.rmtree(context.workspace)

    def evaluate(
        self, request: Mapping[str, Any], context: Context | None = None
    ) -> dict[str, Any]:
        context = context or self.context()
        executor = EvaluateClassifierExecutor(self.settings, self.registry)
        try:
            return executor.run(request, context)  # type: ignore[arg-type]
        finally:
            shutil.rmtree(context.workspace)

    def has(self, name: str = "sorter") -> bool:
        try:
            self.registry.resolve(name)
        except NotFound:
            return False
        return True

    def folder(self, name: str = "sorter") -> Path:
        return self.registry.folder(self.registry.resolve(name))

    def bytes_of(self, name: str = "sorter") -> dict[str, str]:
        """The digest of each file that the seed decides, by its path."""
        return decided(self.registry, name)


def decided(registry: Registry, name: str) -> dict[str, str]:
    """The digest of each file that the seed decides, of a model's newest version: all but those
    that tell its name, too."""
    named = ("README.md", "report.html", "stillroom.json")
    files = {file.path: file.digest for file in registry.resolve(name).files}
    assert {"classifier.json", "classifier.safetensors", *named} <= set(files), files
    return {path: digest for path, digest in files.items() if path not in named}
