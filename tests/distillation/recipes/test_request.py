"""What a request may say, of itself and of what it leaves to the server."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from distillation.recipes.room import asking

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.recipes.auto import AutoOptions
from stillroom_server.distillation.recipes.budget import Budget
from stillroom_server.distillation.recipes.request import DistillRequest, read_recipe


def test_a_request_without_a_recipe_leaves_it_to_the_server() -> None:
    asked = DistillRequest.from_json({"teacher": "t", "name": "s"})
    assert (asked.recipe, asked.options) == ("auto", AutoOptions())
    assert (asked.corpus, asked.evaluations, asked.seed) == (None, (), 0)
    assert asked.budget == Budget()


@pytest.mark.parametrize("recipe", ["static", "static_tuned", "transformer"])
def test_the_seed_is_the_recipes(recipe: str) -> None:
    request = asking(recipe)
    own = request["recipe"][recipe]
    own.get("static", own)["seed"] = 7
    assert DistillRequest.from_json(request).seed == 7


@pytest.mark.parametrize("recipe", ["static_tuned", "transformer"])
def test_the_share_held_out_is_the_recipes(recipe: str) -> None:
    request = asking(recipe)
    request["recipe"][recipe]["held_out"] = 0.25
    assert DistillRequest.from_json(request).held_out == 0.25
    assert DistillRequest.from_json(asking("auto")).held_out == 0.05


def test_options_left_out_have_their_defaults() -> None:
    assert read_recipe({"transformer": None}) == read_recipe({"transformer": {}})


@pytest.mark.parametrize("value", [None, [], "static", {}, {"static": {}, "auto": {}}, {"x": {}}])
def test_anything_but_one_known_recipe_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_recipe(value)
    assert (caught.value.reason, caught.value.field) == ("UNKNOWN_RECIPE", "recipe")


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "1", None])
def test_a_seed_has_64_bits(seed: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        AutoOptions.from_json({"seed": seed})
    assert caught.value.field == "auto.seed"
    assert AutoOptions.from_json({"seed": 2**64 - 1}).to_json() == {"seed": 2**64 - 1}


@pytest.mark.parametrize(
    ("value", "field"), [([], "auto"), ("x", "auto"), ({"dimensions": 3}, "auto.dimensions")]
)
def test_auto_has_a_seed_and_nothing_else(value: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        AutoOptions.from_json(value)
    assert caught.value.field == field


@pytest.mark.parametrize("value", [None, [], "x"])
def test_what_is_no_object_is_no_request(value: Any) -> None:
    with pytest.raises(InvalidArgument):
        DistillRequest.from_json(value)


def test_checking_a_request_loads_nothing_that_trains() -> None:
    """The front does it."""
    code = (
        "import sys; import stillroom_server.distillation.recipes.request;"
        "print([m for m in ('torch', 'transformers', 'onnx', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
