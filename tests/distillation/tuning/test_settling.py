"""Rows go back the further the less they were seen."""

from __future__ import annotations

import numpy as np

from stillroom_server.distillation.tuning.settling import (
    PAIR_SETTLING,
    RARE,
    RARE_SHARE,
    SETTLING,
    settled,
)

TRAINED = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 8.0]], dtype=np.float32)
FITTED = np.array([[2.0, 2.0], [2.0, 2.0], [2.0, 2.0], [100.0, 100.0]], dtype=np.float32)


def test_words_go_back_to_the_closed_form_and_are_shorter_the_rarer() -> None:
    before = TRAINED.copy(), FITTED.copy()
    usage = np.array([0.0, SETTLING, 1e12, 1e12])
    table = settled(TRAINED, FITTED, usage, 1)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table[0], RARE_SHARE * FITTED[0])
    shorter = (SETTLING + RARE_SHARE * RARE) / (SETTLING + RARE)
    np.testing.assert_allclose(table[1], shorter * (TRAINED[1] + FITTED[1]) / 2, rtol=1e-6)
    np.testing.assert_allclose(table[2], TRAINED[2], atol=1e-6)
    np.testing.assert_array_equal(TRAINED, before[0])
    np.testing.assert_array_equal(FITTED, before[1])


def test_pairs_go_back_to_what_their_words_add_up_to() -> None:
    for seen, kept in ((0.0, 0.0), (PAIR_SETTLING, 0.5), (1e12, 1.0)):
        table = settled(TRAINED, FITTED, np.array([1.0, 1.0, 1.0, seen]), 1)
        np.testing.assert_allclose(table[3], kept * TRAINED[3], atol=1e-6)


def test_without_pairs_all_rows_are_words() -> None:
    table = settled(TRAINED, FITTED, np.zeros(4), 0)
    np.testing.assert_allclose(table, RARE_SHARE * FITTED, rtol=1e-6)
