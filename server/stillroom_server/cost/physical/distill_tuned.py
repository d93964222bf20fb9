"""STATIC_TUNED: the teacher's vectors of a corpus, a closed form, training.

What grows with the corpus is counted in entries: elements of rows that a text's tokens gather or
scatter, tokens times dimensions. The closed form sees 128 shards at most.
"""

from __future__ import annotations

from stillroom_server.cost.assumptions import Assumption, Source
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.physical import distill_steps as steps
from stillroom_server.cost.physical import memory, quality, sizes
from stillroom_server.cost.physical.distill_options import Corpus, dimensions_of, rows_of
from stillroom_server.cost.physical.distill_static import table_student
from stillroom_server.cost.physical.limited import limited
from stillroom_server.cost.physical.phase import Phase, about, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.recipe import Made
from stillroom_server.distillation.options import fields_under
from stillroom_server.distillation.tuning.options import (
    DEFAULT_EPOCHS,
    DEFAULT_PAIRS,
    DEFAULT_WORDS,
    TunedOptions,
)

_SHARD = 2048.0
_SURVEYED = 128 * _SHARD
_BATCH = 512.0
_GRAM = 1408.0  # columns of the features that map single tokens: the teacher's 384 and 1,024 more
_BENT = 1024.0
_ROUNDS, _STEPS = 3.0, 7.0  # of the closed form: one for pairs, two for the table
_GROWN = (0.35, 1.0)  # of the words and pairs that may be added
_FIT_SPREAD, _TRAIN_SPREAD = 0.5, 0.3
_PER_WORD = 120.0  # tokens of a corpus for each word that is frequent enough to add


def make(options: TunedOptions, teacher: ModelFacts, place: Place, corpus: Corpus | None) -> Made:
    """Raises InvalidArgument for more dimensions than the teacher's."""
    assert corpus is not None
    told: list[Assumption] = []
    static = options.static
    with fields_under("static_tuned.static"):
        dimensions = dimensions_of(static, teacher, told)
    prefixes = options.prefixes_of(dimensions)
    base = float(rows_of(static, teacher, told))
    grown = _grown(options, corpus)
    rows = base + grown
    epochs = options.max_epochs or DEFAULT_EPOCHS
    if options.max_epochs is None:
        told.append(Assumption("max_epochs", f"{epochs}", Source.DEFAULT))
    told.append(
        Assumption("grown_tokens", f"{grown:,.0f}", Source.DEFAULT, "frequent words and pairs")
    )
    student = table_student(rows, dimensions, static.element_type, static.max_tokens)
    folder = sizes.student_folder(student.weight_bytes, rows)
    vectors = 4.0 * teacher.dimensions * (corpus.texts + base)
    kept = 2.0 * vectors + 12.0 * corpus.texts * corpus.tokens
    held = 4.0 * rows * dimensions
    phases = (
        steps.featurize(place, teacher, corpus),
        steps.load(place, teacher, first=False),
        prepare(place, teacher, corpus, base, dimensions, kept),
        steps.encode(place, teacher, base, kept),
        fit(place, teacher, corpus, rows, dimensions, kept),
        train(place, teacher, corpus, rows, dimensions, prefixes, options, epochs, kept),
        steps.write_table(place, rows, dimensions, static.element_type, 3.0 * held),
        steps.verify_table(place, rows, dimensions, static.element_type, 3.0 * held),
        steps.report(place, teacher, corpus, held=4.0 * held, disk=kept + folder),
        steps.publish(place, folder),
    )
    smallest = sizes.table(base, dimensions, static.element_type)
    found = quality.tuned(dimensions, static.element_type, corpus.texts)
    return Made(
        title=f"STATIC_TUNED, {dimensions} dimensions, {static.element_type}",
        phases=phases,
        student=student,
        result=about(student.weight_bytes, min(1.0, smallest / student.weight_bytes), 1.0),
        quality=found,
        assumptions=tuple(told),
        against_table={"quality_retention": found},
    )


def prepare(
    place: Place, teacher: ModelFacts, corpus: Corpus, base: float, dimensions: float, kept: float
) -> Phase:
    """Axes of the targets, words counted, texts as bags of rows, single tokens mapped."""
    speeds, tokens = place.speeds, corpus.texts * corpus.tokens
    surveyed = min(corpus.texts, _SURVEYED)
    width = float(teacher.dimensions)
    columns = width + _BENT
    moments = 4.0 * (corpus.texts + base) * width**2 + 50.0 * width**3
    mapping = 2.0 * surveyed * columns * (columns + dimensions) + columns**3
    mapping += 4.0 * base * columns * dimensions + 2.0 * base * width * _BENT
    entries = surveyed * corpus.tokens * columns
    cpu = speeds.overhead("survey.token", surveyed * corpus.tokens).plus(
        speeds.overhead("bags.token", tokens),
        speeds.overhead("train.product", (moments + mapping) / 1e9),
        speeds.overhead("fit.entry", entries),
        speeds.overhead("tokenizer.build", 2.0 * base),
    )
    shards = max(1.0, corpus.texts / _SHARD)
    return Phase(
        "prepare",
        "shards",
        counted(shards),
        cpu,
        flops=counted(moments + mapping),
        traffic=about(12.0 * entries, 0.5, 2.0),
        waiting=speeds.seconds("write", 12.0 * tokens, shards),
        memory=memory.held(
            place,
            12.0 * base * width + 8.0 * _SHARD * columns + 8.0 * columns**2,
            memory.weights(place, teacher),
        ),
        disk=counted(kept),
        limited_by="texts read on one core",
    )


def fit(
    place: Place, teacher: ModelFacts, corpus: Corpus, rows: float, dimensions: float, kept: float
) -> Phase:
    """The closed form: conjugate gradients over bags and targets."""
    speeds, seen = place.speeds, min(corpus.texts, _SURVEYED)
    passes = _ROUNDS * _STEPS
    entries = 2.0 * passes * seen * corpus.tokens * dimensions
    targets = passes * 2.0 * seen * teacher.dimensions * dimensions
    rows_moved = passes * 10.0 * rows * dimensions
    cpu = speeds.overhead("fit.entry", entries + rows_moved).plus(
        speeds.overhead("train.product", targets / 1e9),
        speeds.overhead("bags.token", corpus.texts * corpus.tokens),
        speeds.overhead("survey.token", seen * corpus.tokens),
    )
    return Phase(
        "fit",
        "rounds",
        counted(_ROUNDS * _STEPS),
        cpu,
        flops=counted(2.0 * entries + targets),
        traffic=about(8.0 * entries + 4.0 * rows_moved, 0.5, 2.0),
        waiting=speeds.seconds("write", 12.0 * corpus.texts * corpus.tokens),
        spread=_FIT_SPREAD,
        memory=memory.held(
            place,
            32.0 * rows * dimensions + 24.0 * _SHARD * dimensions,
            memory.weights(place, teacher),
        ),
        disk=counted(kept),
        limited_by="memory bandwidth",
    )


def train(
    place: Place,
    teacher: ModelFacts,
    corpus: Corpus,
    rows: float,
    dimensions: float,
    prefixes: tuple[int, ...],
    options: TunedOptions,
    epochs: int,
    kept: float,
) -> Phase:
    """Steps of 512 texts: sums of rows, losses at each prefix, Adam on the rows that occur."""
    speeds, seen = place.speeds, epochs * corpus.training
    batches = epochs * max(1.0, corpus.training / _BATCH)
    width = float(teacher.dimensions)
    widths = 3.0 * (sum(prefixes) + dimensions) + width
    flops = 2.0 * seen * (_BATCH * widths + width * dimensions)
    entries = 2.0 * seen * corpus.tokens * dimensions
    cpu = speeds.overhead("train.entry", entries).plus(
        speeds.overhead("train.product", flops / 1e9), speeds.overhead("train.batch", batches)
    )
    phase = Phase(
        "train",
        "steps",
        about(batches, 0.5, 1.0),
        cpu,
        flops=counted(flops + 2.0 * entries),
        traffic=about(16.0 * entries, 0.5, 2.0),
        spread=_TRAIN_SPREAD,
        waiting=speeds.seconds("write", 20.0 * rows * dimensions, epochs),
        memory=memory.held(
            place,
            24.0 * rows * dimensions + min(96e6, 4.0 * corpus.texts * width) * 2.0,
            memory.weights(place, teacher),
        ),
        disk=counted(kept + 40.0 * rows * dimensions),
        limited_by="memory bandwidth",
    )
    return limited(phase, options.time_budget_seconds, place)


def _grown(options: TunedOptions, corpus: Corpus) -> float:
    words = DEFAULT_WORDS if options.grow_words is None else options.grow_words
    pairs = DEFAULT_PAIRS if options.grow_pairs is None else options.grow_pairs
    seen = min(corpus.texts, _SURVEYED) * corpus.tokens / _PER_WORD
    return min(float(words), seen) + min(float(pairs), seen)
