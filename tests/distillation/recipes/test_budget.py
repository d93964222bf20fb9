"""Limits, and what is said when nothing keeps them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.recipes.budget import Budget, Outlook, refuse

OUTLOOK = Outlook(seconds=100.0, memory_bytes=2e9, result_bytes=3e6)


def test_no_budget_is_no_limit() -> None:
    assert Budget.from_json(None).unlimited
    assert Budget.from_json({}).unlimited
    assert OUTLOOK.beyond(Budget()) == {}


def test_one_limit_is_a_budget() -> None:
    budget = Budget.from_json({"seconds": 5})
    assert not budget.unlimited
    assert budget == Budget(seconds=5)


@pytest.mark.parametrize("name", ["seconds", "memory_bytes", "result_bytes"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, True, "60", [1]])
def test_a_limit_is_a_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Budget.from_json({name: value})
    assert caught.value.field == f"budget.{name}"


@pytest.mark.parametrize("value", [[], "60", 60, {"second": 5}])
def test_what_is_no_budget_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Budget.from_json(value)
    assert caught.value.field == "budget"


def test_what_is_expected_beyond_a_limit_is_found_with_both_figures() -> None:
    budget = Budget(seconds=99.0, memory_bytes=2e9, result_bytes=2e6)
    assert OUTLOOK.beyond(budget) == {"seconds": (100.0, 99.0), "result_bytes": (3e6, 2e6)}


def test_a_refusal_names_the_field_and_the_figures_of_each_recipe() -> None:
    small = Outlook(seconds=10.0, memory_bytes=1e9, result_bytes=1e6)
    error = refuse({"static_tuned": OUTLOOK, "static": small}, Budget(seconds=5, result_bytes=2e6))
    assert (error.reason, error.field) == ("BUDGET_EXCEEDED", "budget.seconds")
    assert "static_tuned: seconds about 100 of 5, result_bytes about 3e+06 of 2e+06" in str(error)
    assert "static: seconds about 10 of 5)" in str(error)
    assert error.metadata["static.seconds"] == "10"
    assert error.metadata["static_tuned.result_bytes"] == "3e+06"
