"""Models, places and work for tests of the physical model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stillroom_server.cost.assumptions import Given, Source
from stillroom_server.cost.calibration.rates import NONE, UNITS, Line, RateSet
from stillroom_server.cost.facts import DataFacts, ModelFacts, of_shape
from stillroom_server.cost.physical.place import Accelerator, Place
from stillroom_server.cost.physical.reference import REFERENCE
from stillroom_server.cost.physical.speeds import Speeds
from stillroom_server.cost.workloads import DistillWork, EmbedWork, ServeWork, TrainWork


def teacher(layers: int = 6, hidden: int = 384, rows: int = 30_522) -> ModelFacts:
    shape = of_shape(
        {
            "layers": layers,
            "hidden_size": hidden,
            "vocabulary_size": rows,
            "max_tokens": 512,
        },
        "shape",
    )
    return replace(shape, kind="teacher", heads=12, vocabulary=rows - 994, unused=994)


def student(dimensions: int = 256, rows: int = 29_525) -> ModelFacts:
    shape = of_shape({"hidden_size": dimensions, "vocabulary_size": rows}, "shape")
    return replace(shape, kind="student", total_bytes=2 * shape.weight_bytes)


def calibrated(factor: float = 1.0) -> RateSet:
    """A host so many times slower than the reference, measured."""
    lines = {
        name: Line(name, factor * known.intercept, factor * known.slope, UNITS[name], 1.0, 1e6)
        for name, known in REFERENCE.items()
    }
    return RateSet(lines)


def place(
    rates: RateSet = NONE,
    threads: int = 2,
    contention: float = 1.0,
    accelerator: Accelerator | None = None,
) -> Place:
    return Place(Speeds(rates), threads, contention, accelerator)


H100 = Accelerator("NVIDIA H100", 989e12, 3.35e12, 80e9)


def data(texts: float, tokens: float = 16.0, labels: float | None = None) -> DataFacts:
    def given(value: float) -> Given:
        return Given(value, Source.REQUEST)

    return DataFacts(given(texts), given(tokens), None, None if labels is None else given(labels))


def distill(
    recipe: dict[str, Any] | None = None,
    facts: ModelFacts | None = None,
    texts: float | None = None,
    tokens: float = 16.0,
) -> DistillWork:
    body: dict[str, Any] = {"name": "s", "teacher": "t", "recipe": recipe or {"auto": {}}}
    if texts is not None:
        body["corpus"] = {"texts": []}
    found = DataFacts() if texts is None else data(texts, tokens)
    return DistillWork(body, facts or teacher(), found)


def train(
    encoder: ModelFacts,
    texts: float,
    labels: float,
    options: dict[str, Any] | None = None,
    tokens: float = 16.0,
) -> TrainWork:
    body = {"name": "c", "encoder": "e", "data": {}, "options": options or {}}
    return TrainWork(body, encoder, data(texts, tokens, labels))


def embed(model: ModelFacts, texts: int, tokens: float = 16.0, size: int = 256) -> EmbedWork:
    return EmbedWork(model, texts, Given(tokens, Source.REQUEST), size)


def serve(model: ModelFacts, rate: float, peak: float | None = None) -> ServeWork:
    return ServeWork(
        model,
        rate,
        Given(peak or 3.0 * rate, Source.REQUEST),
        Given(86_400.0, Source.REQUEST),
        Given(16.0, Source.REQUEST),
    )
