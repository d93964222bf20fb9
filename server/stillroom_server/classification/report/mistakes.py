"""The most confused pairs of labels, with texts to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stillroom_server.classification.report.arrays import Between, Floats, Int64
from stillroom_server.classification.report.confusion import Pair

MOST_CHARACTERS = 500


def confused_pairs(
    pairs: Sequence[Pair],
    rows_of: Callable[[int, int], Int64],
    *,
    names: Sequence[str],
    support: Int64,
    probabilities: Floats,
    texts: Sequence[str],
    indices: Int64,
    examples: int,
    between: Between,
) -> list[dict[str, Any]]:
    """ConfusedPairs. ``rows_of`` gives the rows of the texts that have one label and were given
    another; ``texts`` and ``indices`` are those of the rows of ``probabilities`` (n, K)."""
    known = probabilities.shape[1]
    found: list[dict[str, Any]] = []
    for true, given, count in pairs:
        between()
        entry = {
            "true_label": names[true],
            "given_label": names[given],
            "count": count,
            "share": count / int(support[true]),
            "examples": [],
        }
        found.append(entry)
        if not examples:
            continue
        rows = rows_of(true, given)
        surest = rows[np.argsort(-probabilities[rows, given], kind="stable")[:examples]]
        entry["examples"] = [
            {
                "text": texts[row][:MOST_CHARACTERS],
                "index": int(indices[row]),
                "given_probability": float(probabilities[row, given]),
                "true_probability": float(probabilities[row, true]) if true < known else 0.0,
            }
            for row in surest.tolist()
        ]
    return found
