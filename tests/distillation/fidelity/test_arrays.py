"""The arithmetic of the report, against scipy, scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.fidelity import alignment
from stillroom_server.distillation.fidelity.neighbors import nearest, neighbors_for, recall
from stillroom_server.distillation.fidelity.pairs import sample_pairs, similarities
from stillroom_server.distillation.fidelity.ranks import average_ranks, spearman
from stillroom_server.distillation.fidelity.structure import compare, prefix_sizes
from stillroom_server.distillation.fidelity.vectors import checked, row_cosines, silent, unit


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))


def test_spearman_is_scipys_with_and_without_ties() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 7, 300).astype(np.float64)
    second = first + rng.standard_normal(300)
    assert np.array_equal(average_ranks(first), stats.rankdata(first))
    for a, b in ((first, second), (second, first), (second, -second), (first, first)):
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second"),
    [([], []), ([1.0], [2.0]), ([0.5, 0.5, 0.5], [1, 2, 3]), ([0.5, 0.5 + 1e-8, 0.5], [1, 2, 3])],
)
def test_spearman_of_what_does_not_vary_is_unset(first: list, second: list) -> None:
    assert spearman(np.array(first), np.array(second)) is None


def test_vectors_of_any_size_become_unit_and_zeros_stay() -> None:
    vectors = np.array([[3e38, 3e38], [1e-40, 0], [0, 0], [3, 4]], dtype=np.float32)
    units = unit(vectors)
    assert np.allclose(np.linalg.norm(units, axis=1), [1, 1, 0, 1])
    assert np.allclose(units[3], [0.6, 0.8])
    assert silent(units).tolist() == [False, False, True, False]
    assert row_cosines(units, units).tolist() == pytest.approx([1, 1, 0, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_whose_they_are(bad: float) -> None:
    vectors = np.ones((3, 4), np.float32)
    vectors[1, 2] = bad
    with pytest.raises(FailedPrecondition) as caught:
        checked(vectors, 3, "teacher")
    assert caught.value.reason == "TEACHER_NOT_FINITE"
    with pytest.raises(FailedPrecondition) as caught:
        checked(np.ones((2, 4), np.float32), 3, "student")
    assert caught.value.reason == "STUDENT_VECTORS_INVALID"


def test_few_texts_give_every_pair_and_many_a_sample_of_distinct_ones() -> None:
    pairs = sample_pairs(5, seed=0)
    assert sorted(zip(*pairs, strict=True)) == [(i, j) for i in range(5) for j in range(i + 1, 5)]
    pairs = sample_pairs(4096, seed=1, most=20_000)
    assert 19_500 < len(pairs.first) <= 20_000
    assert (pairs.first < pairs.second).all()
    assert pairs.first.min() >= 0
    assert pairs.second.max() < 4096
    assert len(set(zip(*(p.tolist() for p in pairs), strict=True))) == len(pairs.first)
    # Drawn alike: the mean of the larger of two of 4096 is two thirds of the way.
    assert pairs.second.mean() == pytest.approx(4096 * 2 / 3, rel=0.02)
    again = sample_pairs(4096, seed=1, most=20_000)
    assert np.array_equal(again.first, pairs.first)
    assert not np.array_equal(sample_pairs(4096, seed=2, most=20_000).first[:50], pairs.first[:50])


def test_every_pair_number_becomes_its_pair() -> None:
    pairs = sample_pairs(60, seed=0, most=1769)  # of 1,770: the formula instead of the list
    assert (pairs.first < pairs.second).all()
    assert pairs.second.max() == 59


def test_similarities_are_the_gram_matrix() -> None:
    units = rows(40, 8)
    pairs = sample_pairs(40, 0)
    gram = units @ units.T
    assert np.allclose(similarities(units, pairs), gram[pairs.first, pairs.second], atol=1e-6)


def test_neighbors_are_those_of_a_full_sort() -> None:
    units = rows(700, 16)  # over several blocks
    found = nearest(units, 10)
    gram = units.astype(np.float64) @ units.T.astype(np.float64)
    np.fill_diagonal(gram, -np.inf)
    expected = np.zeros_like(found)
    np.put_along_axis(expected, np.argsort(-gram, axis=1)[:, :10], True, axis=1)
    assert (found != expected).sum() <= 2  # float32 may swap two that are equally near
    assert (found.sum(axis=1) == 10).all()
    assert not found.diagonal().any()


def test_recall_knows_the_same_the_turned_and_the_unrelated() -> None:
    teacher = rows(400, 16)
    turned = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    goal = nearest(teacher, 10)
    assert recall(goal, goal) == 1.0
    assert recall(goal, nearest(unit(teacher @ turned), 10)) > 0.99
    assert recall(goal, nearest(rows(400, 16, seed=9), 10)) == pytest.approx(10 / 399, abs=0.01)


def test_a_student_that_says_the_same_of_all_texts_finds_neighbors_by_chance() -> None:
    teacher = rows(400, 16)
    same = unit(np.ones((400, 8), np.float32))
    assert recall(nearest(teacher, 10), nearest(same, 10)) == pytest.approx(10 / 399, abs=0.01)
    found = compare(same, teacher, 0, lambda: None)
    assert found.spearman is None
    zeros = compare(np.zeros((400, 8), np.float32), teacher, 0, lambda: None)
    assert zeros.spearman is None


@pytest.mark.parametrize(
    ("texts", "count"), [(0, None), (2, None), (3, 1), (11, 5), (20, 9), (21, 10), (4096, 10)]
)
def test_fewer_texts_have_fewer_neighbors(texts: int, count: int | None) -> None:
    assert neighbors_for(texts) == count


@pytest.mark.parametrize(
    ("dimensions", "sizes"),
    [
        (1, [1]),
        (32, [32]),
        (33, [32, 33]),
        (256, [32, 64, 128, 256]),
        (300, [32, 64, 128, 256, 300]),
    ],
)
def test_prefixes_double_up_to_the_whole(dimensions: int, sizes: list[int]) -> None:
    assert prefix_sizes(dimensions) == sizes


def test_prefixes_are_cut_then_compared() -> None:
    teacher = rows(80, 64)
    found = compare(teacher, teacher, 0, lambda: None)
    assert [p["dimensions"] for p in found.prefixes] == [32, 64]
    assert found.spearman == pytest.approx(1.0)
    assert found.recall == 1.0
    cut = unit(teacher[:, :32])
    pairs = found.pairs
    expected = stats.spearmanr(
        (teacher[pairs.first] * teacher[pairs.second]).sum(1),
        (cut[pairs.first] * cut[pairs.second]).sum(1),
    ).statistic
    assert found.prefixes[0]["similarity_spearman"] == pytest.approx(expected, abs=1e-3)


def test_a_map_undoes_a_turn_and_an_offset() -> None:
    rng = np.random.default_rng(0)
    student = rows(500, 12)
    teacher = (student @ rng.standard_normal((12, 20)) + rng.standard_normal(20)).astype(np.float32)
    mapping = alignment.fit(student[:300], teacher[:300])
    assert row_cosines(mapping(student[300:]), unit(teacher[300:])).min() > 0.999


def test_a_map_is_scikit_learns_ridge_at_the_best_strength() -> None:
    rng = np.random.default_rng(0)
    x = rows(120, 10)
    y = (x @ rng.standard_normal((10, 6)) + 0.8 * rng.standard_normal((120, 6))).astype(np.float32)
    centered = x - x.mean(axis=0)
    scale = float((centered**2).sum() / 10)
    strengths = np.logspace(-6, 1, 8) * scale
    errors = []
    for strength in strengths:
        left_out = []
        for row in range(120):
            rest = np.arange(120) != row
            model = Ridge(alpha=strength).fit(x[rest], y[rest])
            left_out.append(((model.predict(x[row : row + 1]) - y[row]) ** 2).sum())
        errors.append(sum(left_out))
    best = Ridge(alpha=strengths[int(np.argmin(errors))]).fit(x, y)
    found = alignment.fit(x, y)
    assert np.allclose(found.weights.T, best.coef_, atol=1e-4)
    assert np.allclose(found.offset, best.intercept_, atol=1e-4)


def test_no_row_is_judged_by_a_map_that_saw_it() -> None:
    """On pure noise, with as many dimensions as texts, only a map that peeked could fit."""
    student, teacher = rows(200, 150), rows(200, 30, seed=5)
    peeked = alignment.fit(student, teacher)(student)
    honest = alignment.cross_fitted(student, teacher, seed=0)
    assert abs(row_cosines(honest, teacher).mean()) < 0.1
    assert row_cosines(peeked, teacher).mean() > row_cosines(honest, teacher).mean() + 0.1


def test_silent_texts_get_no_help_from_the_offset() -> None:
    student, teacher = rows(100, 8), unit(rows(100, 8, 1) + 5.0)
    student[7] = 0.0
    mapping = alignment.fit(student, teacher)
    assert row_cosines(mapping(student), teacher)[7] == 0.0
    assert row_cosines(mapping(student), teacher)[8] > 0.9


def test_a_student_that_says_the_same_of_all_texts_is_mapped_to_the_mean() -> None:
    teacher = rows(100, 8)
    mapping = alignment.fit(unit(np.ones((100, 4), np.float32)), teacher)
    assert np.allclose(
        mapping.offset + mapping.weights.sum(axis=0) / 2, teacher.mean(axis=0), atol=1e-6
    )
