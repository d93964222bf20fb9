"""Which runs of token ids become features: counted in texts, then chosen; see ``ngrams``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stillroom_server.inference.classifier.ngrams import MAX_SLOTS, NgramArrays
from stillroom_server.inference.classifier.run_hashes import (
    MODULUS,
    Int64,
    blocks,
    run_hashes,
)
from stillroom_server.inference.engines.base import Ids, Offsets

_SLOTS_PER_RUN = 8  # at least; about one run in sixteen then finds its slot taken


class RunCounts(NamedTuple):
    """Distinct runs of ``min_n`` to ``max_n`` tokens: hashes and prints int64 (u,), and counts
    int64 (u,) of the texts that have each; sorted by hash, then print."""

    min_n: int
    max_n: int
    hashes: Int64
    prints: Int64
    counts: Int64


def count_runs(
    ids: Ids, offsets: Offsets, min_n: int, max_n: int, *, limit: int = MAX_SLOTS
) -> RunCounts:
    """Count in how many of n texts of flat token ids each run occurs.

    Beyond ``limit`` distinct runs the rarest are forgotten as the texts go by, so that memory stays
    bounded; among equals those of higher hashes.
    """
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for part, ends in blocks(ids, offsets):
        keys, counts = _merged(keys, counts, *_counted_once(part, ends, min_n, max_n))
        if len(keys) > limit:
            kept = np.sort(np.argsort(-counts, kind="stable")[:limit])
            keys, counts = keys[kept], counts[kept]
    return RunCounts(min_n, max_n, keys >> 31, keys & MODULUS, counts)


def _counted_once(ids: Ids, offsets: Offsets, min_n: int, max_n: int) -> tuple[Int64, Int64]:
    """Sorted keys (hash and print in one integer) and in how many texts each occurs."""
    lengths = offsets[1:] - offsets[:-1]
    texts = np.repeat(np.arange(len(lengths)), lengths)
    left = np.repeat(offsets[1:], lengths) - np.arange(len(ids))
    keys, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for n, (hashes, prints) in run_hashes(ids, min_n, max_n):
        whole = left[: len(hashes)] >= n
        keys.append((hashes[whole] << 31) | prints[whole])
        owners.append(texts[: len(hashes)][whole])
    key, owner = np.concatenate(keys), np.concatenate(owners)
    order = np.lexsort((owner, key))
    key, owner = key[order], owner[order]
    first = np.ones(len(key), np.bool_)
    first[1:] = (key[1:] != key[:-1]) | (owner[1:] != owner[:-1])
    return _summed(key[first], np.ones(int(first.sum()), np.int64))


def _merged(keys: Int64, counts: Int64, more: Int64, more_counts: Int64) -> tuple[Int64, Int64]:
    if not len(keys):
        return more, more_counts
    key, count = np.concatenate((keys, more)), np.concatenate((counts, more_counts))
    order = np.argsort(key, kind="stable")
    return _summed(key[order], count[order])


def _summed(keys: Int64, counts: Int64) -> tuple[Int64, Int64]:
    """Distinct keys of sorted ones, and the sums of their counts."""
    if not len(keys):
        return keys, counts
    starts = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), keys[1:] != keys[:-1])))
    return keys[starts], np.add.reduceat(counts, starts)


def choose_runs(runs: RunCounts, *, max_features: int, min_count: int = 1) -> NgramArrays:
    """Choose the runs that are features: those in at least ``min_count`` texts.

    Where there are more than ``max_features``, seven in eight features go to the most frequent runs
    and the rarer ones share the rest by hashing. Of runs of one slot the more frequent is kept,
    among equals that of the lower hash. Features are numbered from the most frequent.
    """
    kept = np.flatnonzero(runs.counts >= min_count)
    kept = kept[np.argsort(-runs.counts[kept], kind="stable")]  # the most frequent first
    kept = kept[: MAX_SLOTS // 2]
    size = 1024
    while size < _SLOTS_PER_RUN * len(kept) and size < MAX_SLOTS:
        size *= 2
    places = runs.hashes[kept] & (size - 1)
    _, first = np.unique(places, return_index=True)  # the first of a slot is its most frequent
    first.sort()
    chosen, places = kept[first], places[first]
    features = np.arange(len(chosen))
    if len(chosen) > max_features:
        shared = max(1, max_features // 8)
        own = max_features - shared
        features[own:] = own + runs.prints[chosen[own:]] % shared
        _, features = np.unique(features, return_inverse=True)  # without those that nobody got
    slots, prints = np.zeros(size, np.int32), np.zeros(size, np.int32)
    slots[places] = features + 1
    prints[places] = runs.prints[chosen]
    count = int(features.max(initial=-1)) + 1
    return NgramArrays(runs.min_n, runs.max_n, slots, prints, np.zeros((count + 1, 0), np.float32))
