"""STATIC_TUNED: the teacher's vectors of a corpus, a closed form, training.

What grows with the corpus is counted in entries: elements of rows that a text's tokens gather or
scatter, tokens times dimensions. The closed form sees 128 shards at most, and the texts that are
composed of these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    COMPOSED_SHARE,
    DEFAULT_EPOCHS,
    DEFAULT_PAIRS,
    DEFAULT_WORDS,
    MOST_COMPOSED,
    TunedOptions,
)

_SHARD = 2048.0
_SURVEYED = 128 * _SHARD
_BATCH = 512.0
_GRAM = 1408.0  # columns of the features that map single tokens: the teacher's 384 and 1,024 more
_BENT = 1024.0
_ROUNDS, _STEPS = 3.0, 7.0  # of the closed form: one for pairs, two for the table
_GROWN = (0.35, 1.0)  # of the words and pairs that may be added
_ENTRY, _DISTINCT, _MOST_ENTRIES = 160.0, 0.8, 2e6  # bytes of a counted word or pair
_A_TEXT = 6e3  # bytes that a text of the first shards leaves in memory
_A_BLOCK = 40.0  # bytes of a text of a block, for each of its dimensions and its target's
_BUFFER = 96e6  # of teacher vectors in memory at once
_FIT_SPREAD, _TRAIN_SPREAD = 0.5, 0.3
_COMPOSED_TOKENS, _COMPOSED_BYTES = 7.0, 45.0  # of a composed text
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
    more = min(COMPOSED_SHARE * min(corpus.training, _SURVEYED), float(MOST_COMPOSED))
    learned = _with(corpus, more)
    told.append(Assumption("composed_texts", f"{more:,.0f}", Source.DEFAULT, "of rare words"))
    work = _Held.of(place, teacher, learned, base, rows, dimensions)
    table = {"held": work.prepared, "disk": work.trained_disk}
    drawn = work.prepared + 6.0 * rows * dimensions
    phases = (
        featurize(place, teacher, corpus, learned),
        steps.load(place, teacher, first=False),
        prepare(place, teacher, corpus, base, dimensions, work),
        steps.encode(
            place,
            teacher,
            base,
            held=memory.FITTER + memory.passes(place, teacher),
            disk=work.disk,
        ),
        fit(place, teacher, learned, rows, dimensions, work),
        train(place, teacher, learned, rows, dimensions, prefixes, options, epochs, work),
        steps.write_table(place, rows, dimensions, static.element_type, **table),
        # Both forms in memory at once are less than what the closed form had.
        steps.verify_table(place, rows, dimensions, static.element_type, new_tokens=True, **table),
        steps.report(place, teacher, corpus, held=drawn, disk=work.trained_disk + folder),
        steps.publish(place, folder, disk=work.trained_disk),
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


@dataclass(frozen=True)
class _Held:
    """Bytes: ``prepared`` in memory once words are counted and rows are mapped, which the process
    keeps; ``disk`` of the vectors and bags in the workspace, and ``trained_disk`` with the closed
    form and two checkpoints."""

    prepared: float
    disk: float
    trained_disk: float

    @classmethod
    def of(
        cls,
        place: Place,
        teacher: ModelFacts,
        corpus: Corpus,
        base: float,
        rows: float,
        dimensions: float,
    ) -> _Held:
        width = float(teacher.dimensions)
        features = 4.0 * base * (width + _BENT) + 4.0 * base * width
        counted_words = _ENTRY * min(2.0 * _MOST_ENTRIES, _DISTINCT * corpus.texts * corpus.tokens)
        texts = _A_TEXT * min(corpus.texts, 4 * _SHARD)
        buffer = min(_BUFFER, 4.0 * corpus.texts * width)
        passes = memory.passes(place, teacher) if place.accelerator is None else 0.0
        prepared = memory.FITTER + passes + features + counted_words + texts + buffer
        disk = 4.0 * corpus.texts * (width + 6.0 * corpus.tokens) + corpus.size
        disk += 4.0 * base * (width + dimensions)
        trained = disk + 4.0 * base * width + 4.0 * rows * dimensions * (1.0 + 8.0)
        return cls(prepared, disk, trained)


def _with(corpus: Corpus, more: float) -> Corpus:
    """And so many composed texts."""
    texts = corpus.texts + more
    tokens = corpus.texts * corpus.tokens + more * _COMPOSED_TOKENS
    size = corpus.size + more * _COMPOSED_BYTES
    return replace(corpus, texts=texts, tokens=tokens / texts, size=size)


def featurize(place: Place, teacher: ModelFacts, corpus: Corpus, learned: Corpus) -> Phase:
    """Texts composed of ``corpus``, which are among those ``learned``; all through the teacher."""
    speeds, seen = place.speeds, min(corpus.texts, _SURVEYED) * corpus.tokens
    more = (learned.texts - corpus.texts) * _COMPOSED_TOKENS
    phase = steps.featurize(place, teacher, learned)
    composing = speeds.overhead("bags.token", seen).plus(speeds.overhead("survey.token", 2 * more))
    return replace(phase, cpu=phase.cpu.plus(composing))


def prepare(
    place: Place,
    teacher: ModelFacts,
    corpus: Corpus,
    base: float,
    dimensions: float,
    work: _Held,
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
        speeds.overhead("product", (moments + mapping) / 1e9),
        speeds.overhead("fit.entry", entries),
        speeds.overhead("tokenizer.build", 2.0 * base),
        speeds.overhead("prepare.start"),
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
        memory=memory.held(place, work.prepared),
        disk=counted(work.disk),
        limited_by="texts read on one core",
    )


def fit(
    place: Place,
    teacher: ModelFacts,
    corpus: Corpus,
    rows: float,
    dimensions: float,
    work: _Held,
) -> Phase:
    """The closed form: conjugate gradients over bags and targets."""
    speeds, seen = place.speeds, min(corpus.texts, _SURVEYED + MOST_COMPOSED)
    passes = _ROUNDS * _STEPS
    entries = 2.0 * passes * seen * corpus.tokens * dimensions
    targets = passes * 2.0 * seen * teacher.dimensions * dimensions
    rows_moved = passes * 10.0 * rows * dimensions
    cpu = speeds.overhead("fit.entry", entries + rows_moved).plus(
        speeds.overhead("product", targets / 1e9),
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
            work.prepared
            + 14.0 * rows * dimensions
            + _A_BLOCK * min(corpus.texts, _SHARD) * (teacher.dimensions + dimensions),
        ),
        disk=counted(work.disk + 4.0 * rows * dimensions),
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
    work: _Held,
) -> Phase:
    """Steps of 512 texts: sums of rows, losses at each prefix, Adam on the rows that occur."""
    speeds, seen = place.speeds, epochs * corpus.training
    batches = epochs * max(1.0, corpus.training / _BATCH)
    width = float(teacher.dimensions)
    widths = 3.0 * (sum(prefixes) + dimensions) + width
    flops = 2.0 * seen * (_BATCH * widths + width * dimensions)
    entries = 2.0 * seen * corpus.tokens * dimensions
    pairs = seen * _BATCH * (len(prefixes) + 1.0)
    saved = 16.0 * rows * dimensions * epochs
    cpu = speeds.overhead("train.entry", entries).plus(
        speeds.overhead("train.start"),
        speeds.overhead("product", flops / 1e9),
        speeds.overhead("train.pair", pairs),
        speeds.overhead("train.batch", batches),
        speeds.overhead("train.save", saved),
    )
    phase = Phase(
        "train",
        "steps",
        about(batches, 0.5, 1.0),
        cpu,
        flops=counted(flops + 2.0 * entries),
        traffic=about(16.0 * entries, 0.5, 2.0),
        spread=_TRAIN_SPREAD,
        waiting=speeds.seconds("write", saved, epochs),
        memory=memory.held(place, work.prepared + 12.0 * rows * dimensions),
        disk=counted(work.trained_disk),
        limited_by="memory bandwidth",
    )
    return limited(phase, options.time_budget_seconds, place)


def _grown(options: TunedOptions, corpus: Corpus) -> float:
    words = DEFAULT_WORDS if options.grow_words is None else options.grow_words
    pairs = DEFAULT_PAIRS if options.grow_pairs is None else options.grow_pairs
    seen = min(corpus.texts, _SURVEYED) * corpus.tokens / _PER_WORD
    return min(float(words), seen) + min(float(pairs), seen)
