"""Limits of what an operation may take."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.recipes.budget import Budget


def test_no_budget_is_no_limit() -> None:
    assert Budget.from_json(None) == Budget.from_json({}) == Budget()


def test_one_limit_is_a_budget() -> None:
    assert Budget.from_json({"seconds": 5}) == Budget(seconds=5)


@pytest.mark.parametrize("name", ["seconds", "memory_bytes", "result_bytes", "money_usd"])
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
