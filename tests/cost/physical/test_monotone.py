"""More never takes less: texts, tokens, dimensions, epochs, layers."""

from __future__ import annotations

from typing import Any

from cost.physical import models
from hypothesis import given, settings
from hypothesis import strategies as st

from stillroom_server.cost.calibration.rates import NONE
from stillroom_server.cost.figures import Resources, total
from stillroom_server.cost.physical.build import build
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.tables import methods
from stillroom_server.cost.tables.paradigms import (
    DeepLearning,
    Distillation,
    Ensemble,
    FineTuning,
    Moe,
    Paradigm,
)
from stillroom_server.cost.workloads import ParadigmWork, Work

FIGURES = (
    *("flops", "memory_traffic_bytes", "cpu_seconds", "wall_seconds"),
    *("peak_memory_bytes", "disk_bytes"),
)
RATES = {"calibrated": models.calibrated(1.7), "reference": NONE}
places = st.builds(
    models.place,
    st.sampled_from(list(RATES.values())),
    st.integers(1, 8),
    st.sampled_from([1.0, 2.5]),
    st.sampled_from([None, models.H100]),
)
# What was measured of one teacher says nothing of another.
unmeasured = st.builds(
    models.place,
    st.just(NONE),
    st.integers(1, 8),
    st.sampled_from([1.0, 2.5]),
    st.sampled_from([None, models.H100]),
)
counts = st.floats(200.0, 3e6)
growth = st.floats(1.0, 50.0)


def whole(work: Work, place: Place) -> Resources:
    return total(
        Resources(
            flops=phase.flops,
            memory_traffic_bytes=phase.traffic,
            cpu_seconds=phase.cpu,
            wall_seconds=phase.wall(place.threads, place.contention),
            peak_memory_bytes=phase.memory,
            disk_bytes=phase.disk,
        )
        for phase in build(work, place).phases
    )


def grows(less: Work, more: Work, place: Place) -> None:
    before, after = whole(less, place), whole(more, place)
    for name in FIGURES:
        for low, high in zip(before[name].numbers(), after[name].numbers(), strict=True):
            assert high >= low * (1.0 - 1e-9), (name, before[name], after[name])


def recipe(draw: Any) -> dict[str, Any]:
    return draw(
        st.sampled_from(
            [
                {"auto": {}},
                {"static_tuned": {}},
                {"static_tuned": {"time_budget_seconds": 20.0}},
                {"transformer": {}},
                {"transformer": {"time_budget_seconds": 60.0}},
            ]
        )
    )


@settings(deadline=None, max_examples=30)
@given(st.data(), places, counts, st.floats(2.0, 100.0), growth, growth)
def test_distilling_more_texts_of_more_tokens(
    draw: st.DataObject, place: Place, texts: float, tokens: float, more: float, longer: float
) -> None:
    asked = recipe(draw.draw)
    grows(
        models.distill(asked, texts=texts, tokens=tokens),
        models.distill(asked, texts=texts * more, tokens=min(tokens * longer, 1e4)),
        place,
    )


@settings(deadline=None, max_examples=30)
@given(places, st.integers(1, 383), st.integers(0, 600), st.sampled_from(["float32", "int8"]))
def test_distilling_more_dimensions(place: Place, few: int, more: int, element: str) -> None:
    def work(dimensions: int, corpus: bool) -> Work:
        static = {"dimensions": min(dimensions, 384), "element_type": element}
        if corpus:
            return models.distill({"static_tuned": {"static": static}}, texts=4_000.0)
        return models.distill({"static": static})

    for corpus in (False, True):
        grows(work(few, corpus), work(few + more, corpus), place)


@settings(deadline=None, max_examples=30)
@given(places, st.integers(1, 20), st.integers(0, 20))
def test_distilling_more_epochs(place: Place, few: int, more: int) -> None:
    for name in ("static_tuned", "transformer"):
        grows(
            models.distill({name: {"max_epochs": few}}, texts=4_000.0),
            models.distill({name: {"max_epochs": few + more}}, texts=4_000.0),
            place,
        )


@settings(deadline=None, max_examples=30)
@given(
    unmeasured, st.integers(1, 24), st.integers(0, 24), st.integers(64, 1024), st.integers(0, 512)
)
def test_a_deeper_or_wider_teacher(
    place: Place, layers: int, more: int, hidden: int, wider: int
) -> None:
    for asked in ({"static": {}}, {"static_tuned": {}}, {"transformer": {}}):
        texts = None if "static" in asked else 4_000.0
        grows(
            models.distill(asked, models.teacher(layers, hidden), texts),
            models.distill(asked, models.teacher(layers + more, hidden + wider), texts),
            place,
        )


@settings(deadline=None, max_examples=30)
@given(places, st.integers(1, 6), st.integers(0, 5))
def test_keeping_more_layers(place: Place, few: int, more: int) -> None:
    grows(
        models.distill({"transformer": {"layers": few}}, texts=4_000.0),
        models.distill({"transformer": {"layers": min(6, few + more)}}, texts=4_000.0),
        place,
    )


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"linear": {"solver": "LINEAR_SOLVER_LBFGS"}},
    {"linear": {"solver": "LINEAR_SOLVER_CLOSED_FORM"}},
    {"mlp": {"hidden_sizes": [64]}},
    {"ngrams": {"mode": "NGRAM_MODE_ON"}},
)


@settings(deadline=None, max_examples=30)
@given(
    places,
    st.sampled_from(OPTIONS),
    st.sampled_from(["student", "teacher"]),
    st.floats(60.0, 3e6),
    st.floats(2.0, 200.0),
    growth,
    growth,
)
def test_training_on_more_texts_of_more_tokens(
    place: Place,
    options: dict[str, Any],
    kind: str,
    texts: float,
    tokens: float,
    more: float,
    longer: float,
) -> None:
    encoder = models.student() if kind == "student" else models.teacher()
    if kind == "teacher" and "ngrams" in options:
        options = {}
    grows(
        models.train(encoder, texts, 12.0, options, tokens),
        models.train(encoder, texts * more, 12.0, options, tokens * longer),
        place,
    )


@settings(deadline=None, max_examples=30)
@given(places, st.integers(1, 40), st.integers(0, 40), st.integers(8, 512), st.integers(0, 512))
def test_training_more_epochs_on_more_dimensions(
    place: Place, epochs: int, more: int, dimensions: int, wider: int
) -> None:
    def work(times: int, width: int) -> Work:
        options = {"max_epochs": times, "linear": {"solver": "LINEAR_SOLVER_GRADIENT"}}
        return models.train(models.student(width), 5_000.0, 20.0, options)

    grows(work(epochs, dimensions), work(epochs + more, dimensions + wider), place)


@settings(deadline=None, max_examples=30)
@given(places, st.booleans(), st.integers(1, 10**9), st.floats(1.0, 400.0), growth, growth)
def test_embedding_more_texts_of_more_tokens(
    place: Place, table: bool, texts: int, tokens: float, more: float, longer: float
) -> None:
    model = models.student() if table else models.teacher()
    grows(
        models.embed(model, texts, tokens),
        models.embed(model, round(texts * more), tokens * longer),
        place,
    )


PARADIGMS: tuple[Paradigm, ...] = (
    *(DeepLearning(), Distillation(), Moe(8, 2), Ensemble(3)),
    *(FineTuning(methods.Lora(8)), FineTuning(methods.Qlora(16, 4)), FineTuning(methods.Full())),
    *(FineTuning(methods.Adapter()), FineTuning(methods.Prefix()), FineTuning(methods.Ia3())),
)


@settings(deadline=None, max_examples=30)
@given(
    places,
    st.sampled_from(PARADIGMS),
    st.integers(1, 10**12),
    st.integers(1, 20),
    st.integers(0, 24),
    st.integers(16, 2048),
    growth,
    st.integers(0, 5),
)
def test_a_paradigm_of_more_tokens_epochs_and_layers(
    place: Place,
    paradigm: Paradigm,
    tokens: int,
    epochs: int,
    layers: int,
    hidden: int,
    more: float,
    added: int,
) -> None:
    def work(count: int, times: int, deep: int) -> Work:
        return ParadigmWork(
            paradigm, models.teacher(deep, hidden), models.teacher(12, 768), count, times
        )

    grows(
        work(tokens, epochs, layers),
        work(round(tokens * more), epochs + added, layers + added),
        place,
    )
