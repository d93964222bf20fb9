"""What serving reads of a ClassifierDescription."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillroom_server.inference.classifier.head import Task
from stillroom_server.inference.options import EmbedOptions

_LEFT = "TRUNCATION_DIRECTION_LEFT"


@dataclass(frozen=True, slots=True)
class Description:
    """labels in the order of the head's outputs; thresholds as many, () for single-label;
    ``encoding`` how texts are embedded, as in training; ``encoder_version`` a full name, or ""."""

    task: Task
    labels: tuple[str, ...]
    encoder_version: str
    dimensions: int
    max_tokens: int
    temperature: float
    thresholds: tuple[float, ...]
    abstention_threshold: float
    encoding: EmbedOptions


def read_description(stated: Mapping[str, Any]) -> Description:
    """Read the JSON of a ClassifierDescription. Raises ValueError, TypeError, KeyError or
    AttributeError for what describes no classifier."""
    task = Task(stated.get("task") or Task.SINGLE_LABEL)
    labels = tuple(stated["labels"])
    if not labels or not all(isinstance(label, str) and label for label in labels):
        raise ValueError("labels are not a list of names")
    if len(set(labels)) != len(labels):
        raise ValueError("a label is there twice")
    thresholds = tuple(_number(v, "thresholds") for v in stated.get("thresholds") or ())
    if len(thresholds) != (len(labels) if task is Task.MULTI_LABEL else 0):
        raise ValueError(f"{len(thresholds)} thresholds for {len(labels)} labels")
    temperature = _number(stated.get("temperature", 1.0), "temperature", most=math.inf)
    if not 0 < temperature < math.inf:
        raise ValueError("temperature is not above 0")
    return Description(
        task=task,
        labels=labels,
        encoder_version=str(stated.get("encoder_version") or ""),
        dimensions=_count(stated["dimensions"], "dimensions"),
        max_tokens=_count(stated["max_tokens"], "max_tokens"),
        temperature=temperature,
        thresholds=thresholds,
        abstention_threshold=_number(stated.get("abstention_threshold", 0.0), "abstention"),
        encoding=read_encoding((stated.get("options") or {}).get("encoding") or {}),
    )


def read_encoding(stated: Mapping[str, Any]) -> EmbedOptions:
    """Read the JSON of an EmbedOptions message; its element type is not read."""
    return EmbedOptions(
        truncate=stated.get("truncate") is not False,
        truncate_left=stated.get("truncation_direction") == _LEFT,
        max_tokens=int(stated.get("max_tokens") or 0) or None,
        normalize=None if stated.get("normalize") is None else bool(stated["normalize"]),
        dimensions=int(stated.get("dimensions") or 0) or None,
        prompt=None if stated.get("prompt") is None else str(stated["prompt"]),
        prompt_name=None if stated.get("prompt_name") is None else str(stated["prompt_name"]),
    )


def _number(value: Any, name: str, most: float = 1.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{name} is {str(value)[:50]!r}")
    return float(value)


def _count(value: Any, name: str) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} is {str(value)[:50]!r}, not a positive integer")
    return value
