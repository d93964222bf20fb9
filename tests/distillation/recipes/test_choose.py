"""Which recipe AUTO takes, and what else it may try where bytes are few."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from distillation.recipes.jobs import job_of
from distillation.recipes.room import TEXTS, Room, asking, sentences

from stillroom_server.distillation.recipes.auto import AutoOptions
from stillroom_server.distillation.recipes.candidates import candidates
from stillroom_server.distillation.recipes.choose import choose
from stillroom_server.distillation.recipes.request import read_recipe
from stillroom_server.distillation.tuning.options import TunedOptions


def test_the_best_that_the_corpus_allows_is_taken(room: Room) -> None:
    assert choose(job_of(room, asking("auto", texts=None))).recipe == "static"
    choice = choose(job_of(room, asking("auto")))
    assert choice.recipe == "static_tuned"
    assert choice.options == TunedOptions()


def test_a_corpus_too_small_to_fit_to_is_left_alone(room: Room) -> None:
    assert choose(job_of(room, asking("auto", texts=sentences(127)))).recipe == "static"
    assert choose(job_of(room, asking("auto", texts=sentences(128)))).recipe != "static"
    repeated = sentences(100) * 3
    assert choose(job_of(room, asking("auto", texts=repeated))).recipe == "static"


def test_what_was_asked_for_is_made_whatever_the_budget(room: Room) -> None:
    """Who made the operation has judged it."""
    job = job_of(room, asking("static_tuned", budget={"seconds": 1e-3}))
    choice = choose(job)
    assert (choice.recipe, choice.options) == ("static_tuned", job.request.options)


@pytest.mark.parametrize("texts", [None, TEXTS])
def test_the_seed_goes_with_every_choice(room: Room, texts: Any) -> None:
    request = asking("auto", texts=texts)
    request["recipe"] = {"auto": {"seed": 9}}
    job = job_of(room, request)
    corpus: Any = None if texts is None else SimpleNamespace(facts={"texts": 5000})
    options: Any = choose(replace(job, corpus=corpus)).options
    assert getattr(options, "static", options).seed == 9


def test_fewer_bytes_mean_smaller_elements_then_fewer_dimensions() -> None:
    found = [
        (options.element_type, options.dimensions)
        for recipe, options in candidates(AutoOptions(), 0, few_bytes=True, widest=100)
        if not isinstance(options, TunedOptions)
    ]
    assert found == [("float16", "auto"), ("int8", 64), ("int8", 32)]
    with_corpus = list(candidates(AutoOptions(), 128, few_bytes=True))
    assert [recipe for recipe, _ in with_corpus] == ["static_tuned", "static"] * 5


def test_every_candidate_is_a_recipe_that_an_operation_can_hold() -> None:
    for recipe, options in candidates(AutoOptions(seed=3), 1000, few_bytes=True):
        stored = json.loads(json.dumps({recipe: options.to_json()}))
        assert read_recipe(stored) == (recipe, options)
