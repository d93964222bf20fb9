"""STATIC_TUNED, step by step: vocabulary, bags of rows, closed form, training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.options import fields_under
from stillroom_server.distillation.tuning import objective, start, training
from stillroom_server.distillation.tuning.options import (
    DEFAULT_EPOCHS,
    FEWEST_TEXTS,
    TunedOptions,
)
from stillroom_server.distillation.tuning.protocols import (
    Checkpoints,
    Context,
    Corpus,
    Features,
    Shard,
)
from stillroom_server.distillation.tuning.settling import (
    PAIR_SETTLING,
    RARE,
    RARE_SHARE,
    SETTLING,
    settled,
)
from stillroom_server.distillation.tuning.targets import unit
from stillroom_server.distillation.tuning.threads import Sparse, sparse_times
from stillroom_server.distillation.tuning.work import Work
from stillroom_server.distillation.vocabulary import StudentVocabulary

PHASES = ("prepare", "fit", "train")
TEMPER = 0.15


@dataclass(frozen=True)
class Tuned:
    """``table`` (rows, d) float32, a row for every id of ``tokenizer_json``; weights are folded in.

    ``axes`` (h, d) float32 take the teacher's vectors, of length one, to what the student was to
    say. ``facts`` are JSON; but for ``seconds`` of training they hold nothing read off the clock.
    """

    table: NDArray[np.float32]
    tokenizer_json: str
    axes: NDArray[np.float32]
    facts: dict[str, Any]


def tune(
    vocabulary: StudentVocabulary,
    encode_rows: Callable[[], NDArray[np.float32]],
    corpus: Corpus,
    features: Features,
    options: TunedOptions,
    checkpoints: Checkpoints,
    context: Context,
    folder: Path,
    *,
    composed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Fits a static student of ``vocabulary`` to the teacher's vectors of ``corpus``.

    ``encode_rows`` gives the teacher's vectors (V, h) of the vocabulary's rows, not normalized; it
    is called when ``folder``, which lasts from attempt to attempt, does not hold them. The last
    ``composed`` training shards are learned from, but no words are counted in them. ``clock``
    (seconds) matters to ``time_budget_seconds`` alone.

    The same arguments give the same bits, with any number of threads and after any number of
    interruptions, unless the time budget ends training. Memory does not grow with the corpus.

    Raises InvalidArgument (under ``static_tuned``) for more dimensions than the teacher's,
    FailedPrecondition (CORPUS_TOO_SMALL, NO_KNOWN_TOKENS, TEACHER_CONSTANT, TEACHER_NOT_FINITE,
    TRAINING_DIVERGED), ResourceExhausted (DISK_FULL), and what ``context`` raises.
    """
    with fields_under("static_tuned.static"):
        asked = options.static.dimensions_of(features.dim)
    if isinstance(asked, int):
        _prefixes(options, asked)  # before anything is paid for
    own = corpus.training[: len(corpus.training) - composed]
    _check_size(own, corpus.held_out)
    context.progress("prepare", 0, 0, unit="shards")
    work = Work(vocabulary, encode_rows, corpus, features, options, context, folder, composed)
    work.prepare(asked)
    dimensions = int(work.axes.shape[1])
    prefixes = _prefixes(options, dimensions)
    material = training.Material(work.training.counts, work.text, work.judged(), work.axes)
    trainer = training.Trainer(
        material,
        objective.Objective((*prefixes, dimensions)),
        epochs=options.max_epochs or DEFAULT_EPOCHS,
        seed=options.static.seed,
        budget=options.time_budget_seconds,
        key=work.key,
        checkpoints=checkpoints,
        context=context,
        clock=clock,
    )
    state = trainer.run(work.fitted)
    usage = work.training.usage(context.check_cancelled)
    table = settled(state.best, work.fitted(), usage, len(work.vocabulary.pairs))
    table = sparse_times(work.expansion, _tempered(table, material.judge[0]))
    table[list(vocabulary.silent)] = 0.0
    facts = {
        "dimensions": dimensions,
        "prefixes": list(prefixes),
        "explained_variance": round(work.explained, 6),
        "base_rows": work.vocabulary.base_rows,
        "grown_words": len(work.vocabulary.words),
        "grown_pairs": len(work.vocabulary.pairs),
        "training_texts": sum(shard.count for shard in own),
        "composed_texts": sum(work.training.counts) - sum(shard.count for shard in own),
        "held_out_texts": sum(work.held_out.counts),
        "epochs": state.epoch,
        "steps": state.adam.steps,
        "held_out_loss": state.best_loss,
        "history": state.history,
        "stopped": state.stopped,
        "seconds": round(state.seconds, 3),
        "rate": training.RATE,
        "dropout": training.DROPOUT,
        "temperature": objective.TEMPERATURE,
        "prior": start.PRIOR,
        "settling": SETTLING,
        "pair_settling": PAIR_SETTLING,
        "rare": RARE,
        "rare_share": RARE_SHARE,
    }
    return Tuned(table, work.vocabulary.tokenizer_json, work.axes, facts)


def _tempered(table: NDArray[np.float32], texts: Sparse) -> NDArray[np.float32]:
    """Divides each column of (rows, d) by its variance over the texts' vectors to the TEMPER: a
    little of what whitening does, so that the first few axes do not decide every similarity. The
    closer a sum of rows follows its target, the more it leaves to them; this gives it back."""
    variances = unit(sparse_times(texts, table)).var(axis=0, dtype=np.float64)
    scales = np.where(variances > 0.0, np.maximum(variances, 1e-30), 1.0) ** -TEMPER
    # By their mean, so that rows keep their lengths.
    return np.asarray(table * (scales / scales.mean()), dtype=np.float32)


def _check_size(training: Sequence[Shard], held_out_shards: Sequence[Shard]) -> None:
    held_out = sum(shard.count for shard in held_out_shards)
    texts = sum(shard.count for shard in training) + held_out
    if texts < FEWEST_TEXTS or not held_out:
        raise FailedPrecondition(
            f"{texts:,} distinct texts are too few to fit a student to, and to judge it by;"
            f" give {FEWEST_TEXTS} or more, or use the recipe static, which needs none",
            reason="CORPUS_TOO_SMALL",
            field="corpus",
            metadata={"texts": str(texts), "least": str(FEWEST_TEXTS)},
        )


def _prefixes(options: TunedOptions, dimensions: int) -> tuple[int, ...]:
    try:
        return options.prefixes_of(dimensions)
    except InvalidArgument as error:
        error.field = f"static_tuned.{error.field}"
        raise
