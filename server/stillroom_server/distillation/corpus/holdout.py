"""Which texts are held out of training: a function of the seed and the texts, not of their order.

Every text has a score, a number that seed and text determine. Of n distinct texts those with the k
smallest scores are held out, where k is the number of scores below the share, but no fewer than n/4
or 64, and no more than n/2 or 4,096. So as long as no bound is reached, whether a text is held out
does not depend on the texts beside it.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

MAX_HELD_OUT = 4096
_FEW = 64


def scores(digests: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """(n,) digests of texts -> (n,) scores, distinct for distinct digests and evenly spread."""
    return _mixed(digests ^ _mixed(np.array([seed], dtype=np.uint64)))


def held_out_count(below: int, texts: int) -> int:
    """How many of ``texts`` to hold out when ``below`` of them score below the share."""
    if texts < 2:
        return 0
    few = max(1, min(_FEW, texts // 4))
    return min(max(below, few), texts // 2, MAX_HELD_OUT)


class HeldOut:
    """Chooses while the texts stream by, keeping at most MAX_HELD_OUT of them in memory."""

    def __init__(self, share: float) -> None:
        self._below = int(share * 2.0**64)
        self._heap: list[tuple[int, int, bytes]] = []  # negated score, place, text
        self._seen = 0

    def offer(self, text: bytes, score: int) -> bytes | None:
        """Take the next text; the one that is to be trained on instead, itself or an earlier."""
        entry = (-score, self._seen, text)
        self._seen += 1
        if score >= self._below and len(self._heap) >= _FEW and score > -self._heap[0][0]:
            return text
        heapq.heappush(self._heap, entry)
        excess = len(self._heap) > _FEW and -self._heap[0][0] >= self._below
        if excess or len(self._heap) > MAX_HELD_OUT:
            return heapq.heappop(self._heap)[2]
        return None

    def finish(self) -> tuple[list[bytes], list[bytes]]:
        """What is still to be trained on, and the held out texts, each in the order of arrival."""
        below = sum(-negated < self._below for negated, _, _ in self._heap)
        count = held_out_count(below, self._seen)
        ordered = sorted(self._heap, reverse=True)  # smallest score first
        kept, rest = (sorted(part, key=lambda entry: entry[1]) for part in _split(ordered, count))
        return [text for _, _, text in rest], [text for _, _, text in kept]


def _split(
    entries: list[tuple[int, int, bytes]], count: int
) -> tuple[list[tuple[int, int, bytes]], list[tuple[int, int, bytes]]]:
    return entries[:count], entries[count:]


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014), a bijection."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
