"""What becomes of rows that training saw seldom: what few texts taught them is mostly about those.

Shrinkage by the number of observations, as of empirical Bayes estimates (Efron and Morris, 1973).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SETTLING = 30.0
"""Occurrences at which a row is as near to what training made of it as to the closed form."""
PAIR_SETTLING = 150.0
"""Occurrences at which a pair keeps half of what was learned of it."""
RARE = 1000.0
RARE_SHARE = 0.8
"""What a word's row keeps of its length: RARE_SHARE where it was never seen, and from there half
the way to all of it where it was seen RARE times."""


def settled(
    trained: NDArray[np.float32],
    fitted: NDArray[np.float32],
    usage: NDArray[np.float64],
    pairs: int,
) -> NDArray[np.float32]:
    """``trained`` (rows, d) taken back, the further the less a row was seen: words to the closed
    form ``fitted`` (rows, d), the last ``pairs`` rows, which are differences to what their words
    add up to, to none. Then rare words are shortened: a sum of rows hears them louder than the
    teacher does among other words. ``usage`` (rows,) are occurrences in the texts learned from.
    """
    words = len(trained) - pairs
    start, half = fitted.copy(), np.full(len(trained), SETTLING)
    start[words:], half[words:] = 0.0, PAIR_SETTLING
    share = usage / (usage + half)
    length = (usage + RARE_SHARE * RARE) / (usage + RARE)
    length[words:] = 1.0
    table = start + (trained - start) * share[:, None]
    return np.asarray(table * length[:, None], dtype=np.float32)
