"""A registry with a tiny teacher, distillations in it, and what they leave."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from distillation.contexts import Context
from distillation.teachers import CORPUS

from stillroom_registry.errors import NotFound
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.distillation.executor import DistillExecutor

WORDS = sorted({word for text in CORPUS for word in text.split()})
CHECKPOINTS = (
    ("stillroom_server.distillation.tuning.training", "_SAVE_SECONDS"),
    ("stillroom_server.distillation.transformer.training", "CHECKPOINT_SECONDS"),
)
"""Where each recipe says how many seconds pass between two checkpoints."""


def sentences(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of words that the tiny teachers know."""
    random = Random(seed)
    return [f"{' '.join(random.choices(WORDS, k=4 + at % 5))} {at}" for at in range(count)]


TEXTS = sentences(160)
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "static": {"dimensions": 12},
    "static_tuned": {
        "static": {"dimensions": 12},
        "max_epochs": 6,
        "matryoshka_dimensions": [4],
        "grow_words": 4,
        "grow_pairs": 4,
    },
    "transformer": {"layers": 1, "max_epochs": 2, "dimensions": 12, "element_type": "float32"},
}
TRAINED = ("static_tuned", "transformer")


def asking(recipe: str, texts: list[str] | None = TEXTS, **more: Any) -> dict[str, Any]:
    """The request for a student ``small`` of ``tiny-bert``."""
    corpus = {} if texts is None or recipe == "static" else {"corpus": {"texts": texts}}
    options = copy.deepcopy(RECIPES.get(recipe, {}))
    asked = {"teacher": "tiny-bert", "name": "small", "recipe": {recipe: options}}
    return {**asked, **corpus, **more}


@dataclass
class Room:
    """``settings`` are the executor's. Every operation has a workspace of its own, which is
    removed when it has ended, as the runner does."""

    registry: Registry
    root: Path
    settings: dict[str, Any] = field(default_factory=lambda: {"dtype": "float32"})
    operations: int = 0

    @classmethod
    def open(cls, root: Path, teacher: Path) -> Room:
        registry = Registry.open(root / "data")
        registry.publish("tiny-bert", ModelKind.TEACHER, teacher)
        return cls(registry, root)

    def context(self) -> Context:
        """Of a new operation."""
        self.operations += 1
        workspace = self.root / "data/operations" / f"{self.operations}"
        workspace.mkdir(parents=True)
        return Context(workspace)

    def attempt(self, request: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """One attempt; the workspace stays."""
        executor = DistillExecutor(self.settings, self.registry)
        try:
            return executor.run(request, context)  # type: ignore[arg-type]
        finally:
            context.attempt += 1

    def distill(self, request: Mapping[str, Any], context: Context | None = None) -> dict[str, Any]:
        """An attempt that ends the operation, well or badly."""
        context = context or self.context()
        try:
            return self.attempt(request, context)
        finally:
            shutil.rmtree(context.workspace)

    def bytes_of(self, name: str = "small") -> dict[str, str]:
        """The digest of each file that the seed decides, by its path."""
        return decided(self.registry, name)

    def has(self, name: str) -> bool:
        try:
            self.registry.resolve(name)
        except NotFound:
            return False
        return True

    @property
    def cached(self) -> list[Path]:
        """The files of the feature cache."""
        return sorted((self.root / "data/cache/features").glob("*"))


def decided(registry: Registry, name: str) -> dict[str, str]:
    """The digest of each file that the seed decides, of a model's newest version."""
    files = {file.path: file.digest for file in registry.resolve(name).files}
    named = ("model.safetensors", "tokenizer.json", "config.json")
    chosen = {path: it for path, it in files.items() if path in named or path.startswith("onnx/")}
    assert set(named) < set(chosen), files
    return chosen


def check_nothing_leaked(registry: Registry) -> None:
    """No blob without a version, no workspace, no half-made file."""
    registry.collect_garbage(grace=timedelta(0), now=datetime.now(UTC) + timedelta(hours=2))
    live = {
        file.digest
        for model in registry.list_models(1000).items
        for version in registry.list_versions(model.name, 1000).items
        for file in version.files
    }
    assert set(registry.blobs.digests()) == live
    for folder in ("tmp/*", "operations"):  # a registry's own folder in tmp lasts as long as it
        left = [str(path) for path in registry.data_dir.glob(f"{folder}/*")]
        assert not left, left
