"""What a caller may ask of a classification, checked against the classifier before any text is
tokenized."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stillroom_registry.errors import InvalidArgument
from stillroom_server.inference.classifier.description import Description
from stillroom_server.inference.classifier.head import Task
from stillroom_server.inference.options import ElementType, EmbedOptions


@dataclass(frozen=True, slots=True)
class ClassifyOptions:
    """How to classify one request. None means the default that the field's comment gives."""

    top_k: int = 0  # labels of each text; 0: the best one, or multi-label those that apply
    abstention_threshold: float | None = None  # the classifier's own
    threshold: float | None = None  # multi-label: instead of the classifier's own, of every label
    truncate: bool | None = None  # as in training
    include_embeddings: bool = False
    embedding_element_type: ElementType | None = None  # float32; only with include_embeddings


DEFAULT_CLASSIFY_OPTIONS = ClassifyOptions()


class ClassifyPlan(NamedTuple):
    """Options after they were checked against a classifier.

    top_k is 0 or at most the number of labels; thresholds float32 (K,) or one for all, None for
    single-label; ``encoding`` says how texts are embedded; element_type None: no embeddings.
    """

    task: Task
    labels: int
    top_k: int
    thresholds: npt.NDArray[np.float32] | None
    abstention_threshold: float
    encoding: EmbedOptions
    element_type: ElementType | None

    @property
    def most_labels(self) -> int:
        """The most labels that one text may be answered with: to bound an answer beforehand."""
        if self.top_k:
            return self.top_k
        return 1 if self.thresholds is None else self.labels


def plan(options: ClassifyOptions, description: Description) -> ClassifyPlan:
    """Check ``options`` against a classifier.

    Raises InvalidArgument naming the field: TOP_K_OUT_OF_RANGE, ABSTENTION_THRESHOLD_OUT_OF_RANGE,
    THRESHOLD_OUT_OF_RANGE, THRESHOLD_OF_SINGLE_LABEL, ELEMENT_TYPE_WITHOUT_EMBEDDINGS.
    """
    labels = len(description.labels)
    if options.top_k < 0:
        raise InvalidArgument(
            f"top_k is {options.top_k}; it is 0 or more.",
            reason="TOP_K_OUT_OF_RANGE",
            field="options.top_k",
        )
    abstention = _share("abstention_threshold", options.abstention_threshold)
    threshold = _share("threshold", options.threshold)
    multi_label = description.task is Task.MULTI_LABEL
    if threshold is not None and not multi_label:
        raise InvalidArgument(
            "This classifier gives each text one label, which has no threshold; leave it unset, or "
            "set abstention_threshold.",
            reason="THRESHOLD_OF_SINGLE_LABEL",
            field="options.threshold",
        )
    if options.embedding_element_type is not None and not options.include_embeddings:
        raise InvalidArgument(
            "embedding_element_type is set, but include_embeddings is not.",
            reason="ELEMENT_TYPE_WITHOUT_EMBEDDINGS",
            field="options.embedding_element_type",
        )
    thresholds = description.thresholds if threshold is None else threshold
    encoding = description.encoding
    if options.truncate is not None and options.truncate != encoding.truncate:
        encoding = replace(encoding, truncate=options.truncate)
    element_type = options.embedding_element_type or ElementType.FLOAT32
    return ClassifyPlan(
        task=description.task,
        labels=labels,
        top_k=min(options.top_k, labels),
        thresholds=np.asarray(thresholds, np.float32) if multi_label else None,
        abstention_threshold=(
            description.abstention_threshold if abstention is None else abstention
        ),
        encoding=encoding,
        element_type=element_type if options.include_embeddings else None,
    )


def _share(name: str, value: float | None) -> float | None:
    if value is None or (math.isfinite(value) and 0 <= value <= 1):
        return value
    raise InvalidArgument(
        f"{name} is {value}; it lies from 0 to 1.",
        reason=f"{name.upper()}_OUT_OF_RANGE",
        field=f"options.{name}",
    )
