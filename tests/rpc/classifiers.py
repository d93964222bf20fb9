"""Small classifiers for tests, written as files the way a training would, and naive arithmetic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from inference.students import naive_vector, write_student
from inference.transformers import write_transformer
from safetensors.numpy import save_file

from stillroom_server.inference.classifier.files import (
    DESCRIPTION_FILE,
    TENSORS_FILE,
    EncoderKind,
    describe,
    tensors_of,
)
from stillroom_server.inference.classifier.head import HeadArrays

LABELS = ("billing", "café ☕", "card", "pin", "transfer")
DIMENSIONS = 24
TEMPERATURE = 1.5
THRESHOLDS = (0.5, 0.4, 0.6, 0.5, 0.3)


def write_classifier(
    folder: Path,
    *,
    labels: Sequence[str] = LABELS,
    multi_label: bool = False,
    kind: EncoderKind = EncoderKind.STATIC,
    encoder_version: str = "models/s/versions/1",
    abstention_threshold: float = 0.0,
    encoding: dict[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a classifier with a random linear head and return its folder."""
    if kind is EncoderKind.STATIC:
        write_student(folder)
    elif kind is EncoderKind.TRANSFORMER:
        write_transformer(folder, dimensions=DIMENSIONS)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    weights = 3 * rng.standard_normal((DIMENSIONS, len(labels))).astype(np.float32)
    bias = rng.standard_normal(len(labels)).astype(np.float32)
    head = HeadArrays(((weights, bias),))
    task = "MULTI_LABEL" if multi_label else "SINGLE_LABEL"
    stated = {
        "task": f"CLASSIFICATION_TASK_{task}",
        "labels": list(labels),
        "encoder_version": encoder_version,
        "dimensions": DIMENSIONS,
        "max_tokens": 512,
        "options": {"encoding": encoding or {}},
        "temperature": TEMPERATURE,
        "abstention_threshold": abstention_threshold,
    }
    if multi_label:
        stated["thresholds"] = [*THRESHOLDS, *[0.5] * len(labels)][: len(labels)]
    (folder / DESCRIPTION_FILE).write_text(json.dumps(describe(stated, kind, head)))
    save_file(tensors_of(head), folder / TENSORS_FILE)
    return folder


def naive_probabilities(folder: Path, text: str, **how: Any) -> npt.NDArray[np.float64]:
    """The probabilities of one text in float64: the definition, in as many words."""
    return of_vector(folder, naive_vector(folder, text, **how))


def of_vector(folder: Path, vector: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The same of its vector."""
    from safetensors.numpy import load_file

    tensors = load_file(folder / TENSORS_FILE)
    weights, bias = (tensors[f"layers.0.{name}"].astype(np.float64) for name in ("weight", "bias"))
    scores = (weights @ vector.astype(np.float64) + bias) / TEMPERATURE
    if "MULTI" in json.loads((folder / DESCRIPTION_FILE).read_text())["task"]:
        chances: npt.NDArray[np.float64] = 1 / (1 + np.exp(-scores))
        return chances
    raised = np.exp(scores - scores.max())
    shares: npt.NDArray[np.float64] = raised / raised.sum()
    return shares
