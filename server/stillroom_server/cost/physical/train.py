"""Training a classifier, as ``classification.executor`` reports it.

What is tried is asked of the code that tries it (``training.candidates``), so that the estimate has
as many fits of the same kinds as the training will have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.cost.assumptions import Assumption, Given, Source
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical import embedding, memory, quality, teacher, train_fits
from stillroom_server.cost.physical.built import Built, Outcome
from stillroom_server.cost.physical.distill_steps import publish
from stillroom_server.cost.physical.limited import limited
from stillroom_server.cost.physical.phase import ZERO, Phase, about, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.train_fits import Examples, Fit
from stillroom_server.cost.tables.methods import Full
from stillroom_server.cost.tables.paradigms import (
    DeepLearning,
    FineTuning,
    Paradigm,
    TraditionalMl,
)
from stillroom_server.cost.workloads import TrainWork, tokens_of

_DEFAULT_TEXTS, _DEFAULT_LABELS = 5_000.0, 10.0
_PARITY_RUNS = 200.0
_TEXT_BYTES = 4.5  # of a token


def build(work: TrainWork, place: Place) -> Built:
    """Raises InvalidArgument for options that were not checked."""
    options = ClassifierOptions.from_json(work.body.get("options") or {})
    told: list[Assumption] = []
    examples = _examples(work, told)
    encoder = work.encoder
    scheme = work.body.get("validation_split") or {}

    def planned(each: Examples) -> _Planned:
        return each, train_fits.plan(options, encoder, each, scheme)

    fits = planned(examples)[1]
    ways = _Ways(
        (examples, fits),
        [planned(each) for each in examples.fewer()],
        [planned(each) for each in examples.more()],
    )
    told.extend(fits.assumptions)
    if not options.early_stopping.disabled and any(fit.epochs for fit in fits.tried):
        note = "of those allowed, until nothing is gained any more"
        share = f"{train_fits.SETTLED:.0%}"
        told.append(Assumption("epochs", share, Source.DEFAULT, note))
    sizes = _Sizes.of(encoder, examples, fits.tried)
    own = encoder.computing
    tuned = any(fit.table for fit in fits.tried)
    level = _level(own, examples, tuned=tuned)
    phases = (
        _data(place, examples),
        _encode(place, own, examples, level),
        _train(place, ways, sizes, own, level, options.time_budget_seconds),
        _calibrate(place, fits, examples, level),
        _write(place, sizes, level),
        _verify(place, sizes, examples, level, tuned=tuned),
        _report(place, fits, examples, sizes, level),
        publish(place, sizes.result, unit="classifiers"),
    )
    result = Figure.around(sizes.result, sizes.least / sizes.result, 1.0, counted(1.0).basis)
    return Built(
        title=f"{train_fits.title(options, fits)} on {_on(encoder)}",
        phases=phases,
        outcome=Outcome(
            result,
            quality.trained(
                frozen=not tuned,
                chosen=options.head is None,
                ngrams=options.ngrams.on,
            ),
            embedding.latency(place, _classifier(encoder, examples), examples.tokens),
            embedding.rate(place, _classifier(encoder, examples), examples.tokens, 256),
        ),
        assumptions=tuple(told),
        paradigm=(found := _paradigm(fits, tuned=tuned))[0],
        reason=found[1],
    )


_Planned: TypeAlias = tuple[Examples, train_fits.Plan]


@dataclass(frozen=True)
class _Ways:
    """How a training goes about its texts, and about fewer and more where that differs."""

    asked: _Planned
    fewer: list[_Planned]
    more: list[_Planned]


@dataclass(frozen=True)
class _Sizes:
    """Bytes: ``table`` of the encoder in float32, ``head`` with its features, ``result`` of all
    files of the classifier, ``least`` of them without features."""

    table: float
    head: float
    result: float
    least: float

    @classmethod
    def of(cls, encoder: ModelFacts, examples: Examples, tried: tuple[Fit, ...]) -> _Sizes:
        own = encoder.computing
        table = 4.0 * own.rows * own.hidden if own.is_table else 0.0
        heads = [train_fits.head_bytes(fit, own.dimensions, examples) for fit in tried]
        kept = 0.0 if own.kind == "teacher" else float(encoder.total_bytes or own.weight_bytes)
        least = kept + 2.0 * min(heads) + _ABOUT
        return cls(table, max(heads), kept + 2.0 * max(heads) + _ABOUT, least)


_ONNX = 60e6  # of the library that proves the graph
_A_TEXT = 4.5e3  # bytes that a text leaves in memory, of the first few thousand
_ABOUT = 300e3  # card, report with its figures, description


def _examples(work: TrainWork, told: list[Assumption]) -> Examples:
    data = work.data
    texts = data.texts or Given(_DEFAULT_TEXTS, Source.DEFAULT, "nobody has looked at the data")
    labels = data.labels or Given(_DEFAULT_LABELS, Source.DEFAULT, "nobody has looked at the data")
    tokens = tokens_of(data)
    told.append(texts.assumed("texts", "texts"))
    told.append(labels.assumed("labels", "labels"))
    told.append(tokens.assumed("tokens_per_text", "tokens"))
    own = work.validation
    judged = 0.0 if own is None or own.texts is None else own.texts.value
    size = data.total_bytes.value if data.total_bytes else texts.value * tokens.value * _TEXT_BYTES
    return Examples(
        texts.value, max(2.0, labels.value), tokens.value, size, own is not None, judged
    )


def _data(place: Place, examples: Examples) -> Phase:
    speeds = place.speeds
    cpu = speeds.overhead("data.text", examples.all).plus(
        speeds.overhead("corpus.byte", examples.size),
        speeds.overhead("classifier.start"),
    )
    return Phase(
        "data",
        "bytes",
        counted(examples.size),
        cpu,
        traffic=counted(6.0 * examples.size),
        memory=memory.figure(memory.TRAINER + 3.0 * examples.size + 400.0 * examples.all),
        disk=counted(examples.size),
        limited_by="reading texts on one core",
    )


def _encode(place: Place, own: ModelFacts, examples: Examples, level: float) -> Phase:
    speeds, count = place.speeds, examples.all
    vectors = 4.0 * count * own.dimensions
    spread, flops, traffic, device = 0.0, ZERO, ZERO, ZERO
    held = memory.figure(level)
    if own.kind == "teacher":
        length = examples.tokens + teacher.SPECIAL_TOKENS
        passes = teacher.forward(place, own, count, length)
        cpu = passes.cpu.plus(teacher.load(place, own))
        spread, flops = teacher.SPREAD, passes.flops
        traffic, device = passes.traffic, passes.device
        held = memory.held(place, 2.0 * vectors, memory.passes(place, own))
    else:
        some = embedding.served(place, own, count, examples.tokens, 512.0)
        flops, traffic = some.flops, some.traffic
        if own.is_table:
            # By the reference tokenizer, which needs no check, and without a graph.
            cpu = speeds.overhead("encoder.token", count * examples.tokens)
        else:
            loaded = speeds.seconds("student.load", float(own.total_bytes or own.weight_bytes))
            cpu = some.computing.plus(loaded)
        cpu = cpu.plus(speeds.overhead("encoder.start"))
    return Phase(
        "encode",
        "texts",
        counted(count),
        cpu,
        flops=flops,
        traffic=traffic,
        spread=spread,
        device=device,
        memory=held,
        disk=ZERO if own.is_table else counted(vectors),
        limited_by="tokenizing" if own.is_table else "the encoder's arithmetic",
    )


def _train(
    place: Place,
    ways: _Ways,
    sizes: _Sizes,
    own: ModelFacts,
    level: float,
    seconds: float | None,
) -> Phase:
    examples, fits = ways.asked

    def took(planned: list[_Planned]) -> list[train_fits.Took]:
        return [train_fits.whole(place, each, own, some) for some, each in planned]

    one = took([ways.asked])
    least, most = [*one, *took(ways.more)], [*one, *took(ways.fewer)]
    tuned = any(fit.table for fit in fits.tried)
    vectors = 4.0 * examples.all * own.dimensions
    passes = [_passes(each) for _, each in (ways.asked, *ways.fewer)]
    phase = Phase(
        "train",
        "passes",
        about(max(passes), 0.5, 1.0),
        _between([each.cpu for each in least], [each.cpu for each in most]),
        flops=_between(
            [counted(each.flops) for each in least], [counted(each.flops) for each in most]
        ),
        traffic=_between(
            [counted(each.traffic) for each in least], [counted(each.traffic) for each in most]
        ),
        memory=memory.figure(
            level
            + (3.0 * sizes.table if tuned else 0.0)
            + 4.0 * sizes.head
            + (0.0 if own.is_table else vectors)
            + 8.0 * examples.all * examples.labels
        ),
        disk=counted(2.0 * sizes.head + (2.0 * sizes.table if tuned else 0.0)),
        limited_by="memory bandwidth",
    )
    return limited(phase, seconds, place)


def _passes(plan: train_fits.Plan) -> float:
    return float(sum(fit.epochs or 1 for fit in plan.tried) * plan.parts)


def _between(least: list[Figure], most: list[Figure]) -> Figure:
    """From the least that as many texts or more take to the most that as many or fewer do, their
    geometric mean in the middle. Trainings on few texts are validated in folds, and take longer
    than those on somewhat more: an estimate never falls where texts are added."""
    low = min(each.numbers()[0] for each in least)
    below, above = min(each.numbers()[1] for each in least), max(each.numbers()[1] for each in most)
    high = max(each.numbers()[2] for each in most)
    middle = math.sqrt(below) * math.sqrt(above)
    return Figure(min(low, middle), middle, max(high, middle), most[0].basis)


def _level(own: ModelFacts, examples: Examples, *, tuned: bool) -> float:
    """Bytes of the process once the texts are encoded, which it keeps."""
    texts = _A_TEXT * min(examples.all, 8192.0) + 400.0 * examples.all
    vectors = 4.0 * examples.all * own.dimensions
    if own.kind == "teacher":
        return memory.RUNNER + vectors + texts
    if own.is_table:
        # What is trained is held as it was, as it is, and in the text of its tokens.
        return memory.TRAINER + (4.0 if tuned else 0.3) * 4.0 * own.rows * own.hidden + texts
    return memory.TRAINER + 1.4 * own.weight_bytes + vectors + texts


def _calibrate(place: Place, fits: train_fits.Plan, examples: Examples, level: float) -> Phase:
    cells = fits.judged * examples.labels
    cpu = place.speeds.overhead("calibrate.cell", cells)
    return Phase(
        "calibrate",
        "classifiers",
        counted(1.0),
        cpu,
        flops=counted(400.0 * cells),
        traffic=counted(400.0 * cells),
        memory=memory.figure(level + 40.0 * cells),
        limited_by="one core",
    )


def _write(place: Place, sizes: _Sizes, level: float) -> Phase:
    cpu = place.speeds.overhead("student.write", sizes.result / 4.0).plus(
        place.speeds.overhead("classifier.write")
    )
    return Phase(
        "write",
        "classifiers",
        counted(1.0),
        cpu,
        traffic=counted(4.0 * sizes.result),
        waiting=place.speeds.seconds("write", 0.0, 1.0),
        memory=memory.figure(level + 2.0 * sizes.head),
        disk=counted(sizes.result),
        limited_by="memory bandwidth",
    )


def _verify(place: Place, sizes: _Sizes, examples: Examples, level: float, *, tuned: bool) -> Phase:
    cpu = place.speeds.overhead("classifier.parity").plus(
        place.speeds.overhead("parity.byte", sizes.table + 2.0 * sizes.head),
        place.speeds.overhead("classifier.report.cell", 2_000.0 * examples.labels),
    )
    return Phase(
        "verify",
        "runs",
        counted(_PARITY_RUNS),
        cpu,
        traffic=counted(4.0 * sizes.result),
        memory=memory.figure(
            level + _ONNX + (2.6 if tuned else 4.4) * sizes.table + 2.0 * sizes.head
        ),
        disk=counted(sizes.result),
        limited_by="runs of the graph on one core",
    )


def _report(
    place: Place, fits: train_fits.Plan, examples: Examples, sizes: _Sizes, level: float
) -> Phase:
    cells = fits.judged * examples.labels
    cpu = place.speeds.overhead("classifier.report").plus(
        place.speeds.overhead("classifier.report.cell", cells)
    )
    return Phase(
        "report",
        "reports",
        counted(2.0),
        cpu,
        traffic=counted(40.0 * cells),
        memory=memory.figure(level + _ONNX + sizes.head + 60.0 * cells),
        disk=counted(sizes.result),
        limited_by="one core",
    )


def _paradigm(fits: train_fits.Plan, *, tuned: bool) -> tuple[Paradigm, str]:
    if tuned:
        return FineTuning(Full()), "the encoder's table is trained along with the head"
    if any(fit.hidden for fit in fits.tried):
        return DeepLearning(), "a network is trained on vectors that stay as they are"
    return TraditionalMl(), "a linear model is fitted to vectors that stay as they are"


def _classifier(encoder: ModelFacts, examples: Examples) -> ModelFacts:
    own = encoder.computing
    labels = round(examples.labels)
    if own.kind == "teacher":
        return replace(own, kind="classifier", labels=labels, encoder=own)
    return replace(own, kind="classifier", labels=labels)


def _on(encoder: ModelFacts) -> str:
    return encoder.name.removeprefix("models/").split("/")[0] or "an encoder"
