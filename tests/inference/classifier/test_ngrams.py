from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.classifier.folders import flat, naive_bag, naive_hash
from stillroom_server.inference.classifier import found_runs
from stillroom_server.inference.classifier import ngrams as module
from stillroom_server.inference.classifier.found_runs import (
    FindRuns,
    compiled_runs,
    find_runs,
    numpy_runs,
)
from stillroom_server.inference.classifier.ngrams import NgramArrays, Ngrams
from stillroom_server.inference.classifier.run_counts import RunCounts, choose_runs, count_runs
from stillroom_server.inference.classifier.run_hashes import MULTIPLIERS, blocks, run_hashes

ROWS = st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=8)
WAYS = [
    pytest.param(numpy_runs, id="numpy"),
    pytest.param(
        find_runs(),
        id="compiled",
        marks=pytest.mark.skipif(find_runs() is numpy_runs, reason="not compiled here"),
    ),
]


def runs_of(rows: list[list[int]], min_n: int, max_n: int) -> list[list[tuple[int, ...]]]:
    """The runs of each text, by the position that they begin at."""
    return [
        [
            tuple(row[i : i + n])
            for i in range(len(row))
            for n in range(min_n, max_n + 1)
            if i + n <= len(row)
        ]
        for row in rows
    ]


def with_rows(chosen: NgramArrays, labels: int = 4) -> NgramArrays:
    rows = np.random.default_rng(0).standard_normal((chosen.features + 1, labels))
    rows[0] = 0
    return replace(chosen, rows=rows.astype(np.float32))


def test_hashes_are_the_polynomials_they_say_even_of_huge_ids() -> None:
    ids = [0, 5, 2**31 - 3, 7, 2**30]
    for n, (first, second) in run_hashes(np.array(ids, np.int32), 1, 5):
        wanted = [[naive_hash(ids[i : i + n], m) for i in range(6 - n)] for m in MULTIPLIERS]
        assert [first.tolist(), second.tolist()] == wanted


@given(rows=ROWS, lengths=st.sampled_from([(1, 1), (1, 3), (2, 2), (2, 5)]))
def test_counts_are_of_texts_not_of_occurrences(
    rows: list[list[int]], lengths: tuple[int, int]
) -> None:
    found = count_runs(*flat(rows), *lengths)
    wanted = Counter(run for runs in runs_of(rows, *lengths) for run in set(runs))
    keys = {tuple(naive_hash(run, m) for m in MULTIPLIERS): count for run, count in wanted.items()}
    pairs = zip(found.hashes.tolist(), found.prints.tolist(), strict=True)
    assert dict(zip(pairs, found.counts.tolist(), strict=True)) == keys


@pytest.mark.parametrize("find", WAYS)
@given(rows=ROWS, lengths=st.sampled_from([(1, 1), (1, 3), (2, 2), (2, 5)]), other=ROWS)
def test_sums_are_those_of_the_definition_alone_or_in_a_batch(
    find: FindRuns, rows: list[list[int]], lengths: tuple[int, int], other: list[list[int]]
) -> None:
    arrays = with_rows(choose_runs(count_runs(*flat(other), *lengths), max_features=500))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "find_runs", lambda: find)
        ngrams = Ngrams(arrays)
    wanted = np.stack([naive_bag(arrays, row) for row in rows])
    np.testing.assert_allclose(ngrams.sums(*flat(rows)), wanted, atol=1e-5)
    for row, bag in zip(rows, wanted, strict=True):
        np.testing.assert_allclose(ngrams.sums(*flat([row]))[0], bag, atol=1e-5)


@pytest.mark.parametrize("find", WAYS)
def test_counted_rows_come_text_by_text(find: FindRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_runs", lambda: find)
    rows = [[1, 2, 1, 2], [], [3], [1, 2, 9, 2, 1]]
    arrays = choose_runs(count_runs(*flat([[1, 2, 1]]), 1, 2), max_features=10)
    found, offsets = Ngrams(arrays).counted(*flat(rows))
    assert offsets.tolist() == [0, 7, 7, 7, 13]  # 1 12 2 21 1 12 2 | 1 12 2 2 21 1
    assert found.dtype == np.int32
    assert (found > 0).all()
    alone, ends = Ngrams(arrays).counted(*flat(rows[:1]))
    assert ends.tolist() == [0, 7]
    assert alone.tolist() == found[:7].tolist()


@WAYS[1].marks[0]
@given(rows=ROWS, lengths=st.sampled_from([(1, 1), (1, 3), (2, 2), (2, 5)]), other=ROWS)
def test_compiled_code_finds_what_numpy_finds(
    rows: list[list[int]], lengths: tuple[int, int], other: list[list[int]]
) -> None:
    slots = Ngrams(choose_runs(count_runs(*flat(other), *lengths), max_features=500))._slots
    ways = [find(*flat(rows), slots, *lengths) for find in (compiled_runs(), numpy_runs)]
    for ours, theirs in zip(*ways, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_long_lists_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    rows = [rng.integers(0, 5, n).tolist() for n in rng.integers(0, 30, 50)]
    arrays = with_rows(choose_runs(count_runs(*flat(rows), 1, 3), max_features=50))
    whole = Ngrams(arrays).counted(*flat(rows))
    counts = count_runs(*flat(rows), 1, 3)
    parts = [len(o) - 1 for _, o in blocks(*flat(rows), 40)]
    assert len(parts) > 10
    assert sum(parts) == 50
    monkeypatch.setattr(module, "find_runs", lambda: numpy_runs)
    monkeypatch.setattr(found_runs, "TOKENS_AT_ONCE", 40)
    monkeypatch.setattr(blocks, "__defaults__", (40,))
    again = Ngrams(arrays).counted(*flat(rows))
    assert [a.tolist() for a in again] == [a.tolist() for a in whole]
    counted = count_runs(*flat(rows), 1, 3)
    assert all(np.array_equal(a, b) for a, b in zip(counted, counts, strict=True))


def test_rare_runs_are_no_features_and_frequent_ones_come_first() -> None:
    rows = [[1, 2], [1, 2], [1, 3], [4]]
    chosen = choose_runs(count_runs(*flat(rows), 1, 2), max_features=10, min_count=2)
    assert chosen.features == 3  # 1, then 2 and (1, 2)
    found, _ = Ngrams(chosen).counted(*flat([[1]]))
    assert found.tolist() == [1]
    assert not len(Ngrams(chosen).counted(*flat([[3, 4]]))[0])


@pytest.mark.parametrize("most", [1, 2, 8, 40])
def test_beyond_the_most_features_rarer_runs_share(most: int) -> None:
    rows = [[i] for i in range(200) for _ in range(300 - i)]
    chosen = choose_runs(count_runs(*flat(rows), 1, 1), max_features=most)
    found, offsets = Ngrams(chosen).counted(*flat([[i] for i in range(200)]))
    assert offsets[-1] == 200  # all of them count
    assert chosen.features == found.max() <= most
    own = most - max(1, most // 8)
    assert found[:own].tolist() == list(range(1, own + 1))
    assert (found[own:] > own).all()


def test_of_one_slot_the_more_frequent_run_is_kept() -> None:
    runs = RunCounts(
        1,
        1,
        hashes=np.array([5, 5 + 1024, 7]),
        prints=np.array([1, 2, 3]),
        counts=np.array([2, 9, 1]),
    )
    chosen = choose_runs(runs, max_features=10)
    assert len(chosen.slots) == 1024
    assert chosen.slots[[5, 7]].tolist() == [1, 2]
    assert chosen.prints[[5, 7]].tolist() == [2, 3]
    assert chosen.features == 2


def test_no_runs_at_all_make_no_features() -> None:
    chosen = choose_runs(count_runs(*flat([[], []]), 2, 3), max_features=10)
    assert chosen.features == 0
    assert Ngrams(with_rows(chosen)).sums(*flat([[1, 2, 3], []])).tolist() == [[0.0] * 4] * 2


def test_beyond_a_limit_the_rarest_are_forgotten() -> None:
    rows = [[1], [1], [2], [2], [3]]
    found = count_runs(*flat(rows), 1, 1, limit=2)
    assert found.hashes.tolist() == [2, 3]  # of the tokens 1 and 2
