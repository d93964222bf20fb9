"""Which recipe AUTO takes: the best that fits, the same after a kill, or a refusal with figures."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from types import SimpleNamespace
from typing import Any

import pytest
from distillation.recipes.jobs import PROBE, job_of
from distillation.recipes.room import TEXTS, Room, asking, sentences
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.recipes import choose as choosing
from stillroom_server.distillation.recipes.budget import Budget
from stillroom_server.distillation.recipes.choose import Choice, choose
from stillroom_server.distillation.recipes.job import Job
from stillroom_server.distillation.recipes.outlook import Probe
from stillroom_server.distillation.recipes.request import DistillRequest
from stillroom_server.distillation.tuning.options import TunedOptions


def decided(job: Job, probe: Probe = PROBE) -> Choice:
    return choose(job, lambda _: probe)


def never(_: Job) -> Probe:
    raise AssertionError("nothing is to be measured")


def sized(room: Room, request: Any, texts: int) -> Job:
    """A job whose corpus has so many texts, as far as anyone can tell who does not read it."""
    corpus: Any = None if request.get("corpus") is None else SimpleNamespace(facts={"texts": texts})
    return replace(job_of(room, {**request, "corpus": None}), corpus=corpus)


def test_without_a_budget_nothing_is_measured_and_the_best_is_taken(room: Room) -> None:
    assert choose(job_of(room, asking("auto", texts=None)), never).recipe == "static"
    choice = choose(job_of(room, asking("auto")), never)
    assert choice.recipe == "static_tuned"
    assert choice.options == TunedOptions()


def test_a_corpus_too_small_to_fit_to_is_left_alone(room: Room) -> None:
    assert choose(job_of(room, asking("auto", texts=sentences(127))), never).recipe == "static"
    assert choose(job_of(room, asking("auto", texts=sentences(128))), never).recipe != "static"
    repeated = sentences(100) * 3
    assert choose(job_of(room, asking("auto", texts=repeated)), never).recipe == "static"


def test_the_seed_goes_with_every_choice(room: Room) -> None:
    for texts in (None, TEXTS):
        request = asking("auto", texts=texts)
        request["recipe"] = {"auto": {"seed": 9}}
        request["budget"] = {"result_bytes": 2e6}
        options: Any = decided(sized(room, request, 5000)).options
        assert getattr(options, "static", options).seed == 9


def test_what_was_asked_for_is_made_or_refused_and_nothing_else(room: Room) -> None:
    request = asking("static_tuned", budget={"seconds": 1e6})
    assert decided(job_of(room, request)).recipe == "static_tuned"
    with pytest.raises(FailedPrecondition) as caught:
        decided(job_of(room, {**request, "budget": {"seconds": 1}}))
    assert (caught.value.reason, caught.value.field) == ("BUDGET_EXCEEDED", "budget.seconds")
    assert "static_tuned: seconds about" in str(caught.value)


def test_less_time_means_less_training_then_a_simpler_recipe(room: Room) -> None:
    texts = 100_000
    request = asking("auto")

    def within(seconds: float) -> Choice:
        return decided(sized(room, {**request, "budget": {"seconds": seconds}}, texts))

    full = within(1e6)
    assert isinstance(full.options, TunedOptions)
    assert full.options.time_budget_seconds is None
    whole = choosing.outlook.tuned(PROBE, full.options, texts)
    training = choosing.outlook.training_seconds(full.options, texts)
    limited = within(whole.seconds - training / 2)
    assert isinstance(limited.options, TunedOptions)
    assert limited.options.time_budget_seconds == pytest.approx(training / 2)
    assert within(whole.seconds - training).recipe == "static"


def test_fewer_bytes_mean_smaller_elements_then_fewer_dimensions(room: Room) -> None:
    found = []
    for limit in (20e6, 10e6, 5e6, 2.5e6, 1.3e6):
        request = asking("auto", texts=None, budget={"result_bytes": limit})
        options: Any = decided(sized(room, request, 0)).options
        found.append((options.element_type, options.dimensions))
    sizes = [("int8", size) for size in (256, 128, 64, 32)]
    assert found == [("float16", "auto"), *sizes]


def test_no_more_dimensions_than_the_teacher_has_are_tried(room: Room) -> None:
    narrow = replace(PROBE, dim=100)
    request = asking("auto", texts=None, budget={"result_bytes": PROBE.rows * 90.0})
    options: Any = decided(job_of(room, request), narrow).options
    assert options.dimensions == 64


@pytest.mark.parametrize("name", ["seconds", "memory_bytes", "result_bytes"])
@pytest.mark.parametrize("recipe", ["auto", "static", "static_tuned", "transformer"])
def test_a_budget_too_small_for_anything_is_refused_with_the_figures(
    room: Room, name: str, recipe: str
) -> None:
    job = job_of(room, asking(recipe, budget={name: 1e-3}))
    with pytest.raises(FailedPrecondition) as caught:
        decided(job)
    error = caught.value
    assert (error.reason, error.field) == ("BUDGET_EXCEEDED", f"budget.{name}")
    tried = ["static_tuned", "static"] if recipe == "auto" else [recipe]
    for one in tried:
        assert f"{one}: {name} about" in error.message
        assert float(error.metadata[f"{one}.{name}"]) > 1e-3
    assert not list(job.workspace.glob("choice.json"))


def test_quantizing_needs_no_probe(room: Room) -> None:
    room.distill(asking("static"))
    request = asking("quantize", texts=None, teacher="small", name="smaller")
    request["recipe"] = {"quantize": {"element_type": "int8"}}
    fits = job_of(room, {**request, "budget": {"result_bytes": 1e6}})
    assert choose(fits, never).recipe == "quantize"
    with pytest.raises(FailedPrecondition) as caught:
        choose(job_of(room, {**request, "budget": {"result_bytes": 100}}), never)
    assert caught.value.field == "budget.result_bytes"


@pytest.mark.parametrize("budget", [{"seconds": 700}, {"result_bytes": 3e6}])
def test_a_choice_outlives_a_kill_though_the_machine_got_slower(
    room: Room, budget: dict[str, float]
) -> None:
    request = asking("auto", budget=budget)
    job = sized(room, request, 50_000)
    first = decided(job)
    assert choose(job, never) == first
    later = replace(job, output=job.workspace / "student-2")
    assert decided(later, replace(PROBE, texts_per_second=1e-3)) == first
    assert list(json.loads((job.workspace / "choice.json").read_text())) == [first.recipe]


# Of what some candidate takes, in full or at least: limits that are anywhere near.
shares = st.sampled_from([None, 0.5, 0.9, 1.0, 1.1])


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    limits=st.tuples(shares, shares, shares).filter(any),
    which=st.integers(0, 99),
    texts=st.none() | st.integers(1, 10**7),
    probe=st.builds(
        Probe,
        dim=st.integers(16, 4096),
        bytes=st.integers(10**5, 10**10),
        rows=st.integers(100, 300_000),
        texts_per_second=st.floats(10.0, 1e5),
        tokens_per_second=st.floats(1.0, 1e6),
    ),
)
def test_what_is_chosen_fits_and_what_is_refused_does_not(
    room: Room,
    limits: tuple[float | None, ...],
    which: int,
    texts: int | None,
    probe: Probe,
) -> None:
    """By the choice's own outlook; and the first candidate that fits is taken."""
    request = asking("auto", texts=None if texts is None else ["x"], budget={"result_bytes": 1.0})
    job: Any = _Cheap(room, request, texts)
    candidates = list(choosing._candidates(job))
    outlooks = {
        choice: choosing._outlooks(job, choice, probe)
        for choice in candidates
        if not choosing._too_wide(choice, probe.dim)
    }
    some = [outlook for pair in outlooks.values() for outlook in pair][which % (2 * len(outlooks))]
    budget = Budget(
        *(
            None if share is None else share * amount
            for share, amount in zip(limits, astuple(some), strict=True)
        )
    )
    job.request = replace(job.request, budget=budget)
    fitting = [choice for choice, (_, least) in outlooks.items() if not least.beyond(budget)]
    if not fitting:
        with pytest.raises(FailedPrecondition) as caught:
            choosing._fitting(job, candidates, lambda _: probe)
        assert caught.value.reason == "BUDGET_EXCEEDED"
        return
    choice = choosing._fitting(job, candidates, lambda _: probe)
    assert choice.recipe == fitting[0].recipe
    whole, _ = choosing._outlooks(job, choice, probe)
    for expected, limit in whole.beyond(budget).values():
        assert expected == pytest.approx(limit, rel=1e-9)
    read = choosing.read_recipe(json.loads(json.dumps({choice.recipe: choice.options.to_json()})))
    assert Choice(*read) == choice


class _Cheap:
    """As much of a job as deciding looks at."""

    def __init__(self, room: Room, request: Any, texts: int | None) -> None:
        self.request = DistillRequest.from_json(request)
        self.corpus = None if texts is None else SimpleNamespace(facts={"texts": texts})
        self.folder = room.root
