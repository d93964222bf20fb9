"""What the data were, as the protocol's DataReport in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.data.issues import about_labels, ordered
from stillroom_server.classification.data.prepared import Prepared
from stillroom_server.classification.data.targets import label_counts
from stillroom_server.classification.splits import Folds, Holdout, Split

_SOURCE = "VALIDATION_SOURCE_"


def data_report(prepared: Prepared, split: Split | None = None) -> dict[str, Any]:
    """The DataReport of ``prepared`` and of how it was split; None: it has validation data of its
    own, or is an evaluation.

    RARE_LABEL names the labels that are not validated (with folds: that cannot be, as they have one
    example), and those of which no example was kept; LABEL_ONLY_IN_VALIDATION also those that an
    unstratified split left without a training example.
    """
    count = len(prepared.labels)
    training, validation = _counts(prepared, split)
    report: dict[str, Any] = {"example_count": prepared.example_count}
    report |= _sizes(prepared, split)
    report["label_counts"] = [
        *_label_counts(prepared.labels, training, validation),
        *(_label_count(name, 0, number) for name, number in prepared.unknown_counts.items()),
        *(
            _label_count(name, 0, 0)
            for name in prepared.lost
            if name not in prepared.unknown_counts
        ),
    ]
    issues = list(prepared.issues)
    if not prepared.evaluation:
        rare = [prepared.labels[at] for at in range(count) if not validation[at]]
        issues += about_labels("RARE_LABEL", [*rare, *prepared.lost])
        untrained = [prepared.labels[at] for at in range(count) if not training[at]]
        # Separate data, which may have such labels too, and a split exclude each other.
        issues += about_labels("LABEL_ONLY_IN_VALIDATION", untrained)
    report["issues"] = ordered(issues)
    report["digest"] = prepared.digest
    if prepared.validation_digest:
        report["validation_digest"] = prepared.validation_digest
    return report


def _counts(prepared: Prepared, split: Split | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """int64 (K,) each: examples trained on and validated on."""
    labels = len(prepared.labels)
    everything = label_counts(prepared.targets, labels)
    none = np.zeros_like(everything)
    if prepared.evaluation:
        return none, everything
    match split:
        case Holdout(train, validation):
            return (
                label_counts(prepared.targets[train], labels),
                label_counts(prepared.targets[validation], labels),
            )
        case Folds(folds):
            return everything, label_counts(prepared.targets[np.concatenate(folds)], labels)
    given = prepared.validation_targets
    return everything, none if given is None else label_counts(given, labels)


def _sizes(prepared: Prepared, split: Split | None) -> dict[str, Any]:
    if prepared.evaluation:
        return {"training_count": 0, "validation_count": len(prepared)}
    match split:
        case Holdout(train, validation):
            return {
                "training_count": len(train),
                "validation_count": len(validation),
                "validation_source": f"{_SOURCE}HELD_OUT",
            }
        case Folds(folds):
            return {
                "training_count": len(prepared),
                "validation_count": sum(map(len, folds)),
                "validation_source": f"{_SOURCE}FOLDS",
                "folds": len(folds),
            }
    return {
        "training_count": len(prepared),
        "validation_count": len(prepared.validation_texts or ()),
        "validation_source": f"{_SOURCE}GIVEN",
    }


def _label_counts(
    labels: Sequence[str], training: NDArray[np.int64], validation: NDArray[np.int64]
) -> list[dict[str, Any]]:
    numbers = zip(labels, training.tolist(), validation.tolist(), strict=True)
    return [_label_count(*each) for each in numbers]


def _label_count(label: str, training: int, validation: int) -> dict[str, Any]:
    return {"label": label, "training": training, "validation": validation}
