"""Below which confidence a classifier says that it does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.option_parts import Rule


def choose_abstention(
    confidences: NDArray[np.floating[Any]], right: NDArray[np.bool_], rule: Rule | None
) -> float:
    """A threshold in [0, 1]; texts of that confidence and more are answered. 0: all are.

    ``confidences`` (n,) of validation texts and whether each answer is ``right``. ``rule`` None:
    the lowest at which answered texts have at most half the error rate of all.
    """
    if rule is not None and rule.name == "threshold":
        return rule.value
    if not len(confidences):
        return 0.0
    order = np.argsort(-confidences, kind="stable")
    values = confidences[order].astype(np.float64)
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    answered = last + 1
    accuracy = np.cumsum(right[order])[last] / answered
    if rule is not None and rule.name == "target_coverage":
        at = int(np.flatnonzero(answered >= rule.value * len(values) - 1e-9)[0])
    else:
        wanted = rule.value if rule is not None else 1.0 - (1.0 - accuracy[-1]) / 2.0
        enough = np.flatnonzero(accuracy >= wanted - 1e-12)
        at = int(enough[-1]) if len(enough) else int(np.argmax(accuracy))
    if at == len(last) - 1:
        return 0.0
    return float((values[last[at]] + values[last[at + 1]]) / 2.0)
