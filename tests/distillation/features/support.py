"""What the tests of features share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillroom_server.distillation.corpus import Corpus
from stillroom_server.distillation.features import (
    FeatureCache,
    FeatureOptions,
    Features,
    featurize,
)
from stillroom_server.distillation.teacher import Teacher

OPTIONS = FeatureOptions(dtype="float32", device="cpu")


class Loads:
    """Loads a teacher, counting how often, and the rows that it encodes."""

    def __init__(
        self, folder: Path, change: Callable[[Any], Any] = lambda vectors: vectors
    ) -> None:
        self.loads = 0
        self.rows = 0
        self.threads: set[int] = set()
        self._folder = folder
        self._change = change

    def __call__(self) -> Teacher:
        self.loads += 1
        teacher = Teacher.load(self._folder, device="cpu", dtype="float32")
        real = teacher.encode_ids

        def encode_ids(ids: Sequence[Any], **options: Any) -> NDArray[np.float32]:
            self.rows += len(ids)
            self.threads.add(torch.get_num_threads())
            changed: NDArray[np.float32] = self._change(real(ids, **options))
            return changed

        teacher.encode_ids = encode_ids  # type: ignore[method-assign]
        return teacher


def run(
    load: Any,
    corpus: Corpus,
    cache: FeatureCache,
    folder: Path,
    context: Any,
    options: FeatureOptions = OPTIONS,
    teacher: str = "sha256:teacher",
) -> Features:
    return featurize(load, teacher, corpus, cache, folder, options, context)


def vectors(features: Features) -> NDArray[np.float32]:
    """Everything, in order."""
    parts = [features.training(i) for i in range(len(features.training_shards))]
    return np.concatenate([*parts, features.all_held_out()])
