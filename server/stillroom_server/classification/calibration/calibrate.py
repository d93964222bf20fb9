"""All that is chosen on the scores of validation texts, once a classifier is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.calibration.abstention import choose_abstention
from stillroom_server.classification.calibration.temperature import fit_temperature
from stillroom_server.classification.calibration.thresholds import Thresholds, choose_thresholds
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.inference.classifier.head import Task, confidences, probabilities


@dataclass(frozen=True)
class Calibration:
    """``thresholds`` is empty for single-label."""

    temperature: float
    thresholds: Thresholds
    abstention_threshold: float


def calibrate(
    scores: NDArray[np.float32], targets: NDArray[Any], options: ClassifierOptions
) -> Calibration:
    """scores (n, K) of n >= 0 validation texts; targets int (n,), -1 a label that the classifier
    does not have, or bool (n, K)."""
    fitted = options.calibration == "temperature"
    temperature = fit_temperature(scores, targets) if fitted else 1.0
    task = Task.MULTI_LABEL if options.multi_label else Task.SINGLE_LABEL
    likely = probabilities(scores, temperature, task)
    if options.multi_label:
        thresholds = choose_thresholds(likely, targets, options.thresholds)
        sure = confidences(likely, task, thresholds.values)
        right = ((likely >= thresholds.values) == targets).all(axis=1)
    else:
        thresholds = Thresholds(np.zeros(0), ())
        sure = likely.max(axis=1) if len(likely) else np.zeros(0, np.float32)
        right = likely.argmax(axis=1) == targets if len(likely) else np.zeros(0, np.bool_)
    return Calibration(temperature, thresholds, choose_abstention(sure, right, options.abstention))
