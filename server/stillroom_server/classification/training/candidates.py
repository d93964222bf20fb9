"""What is tried: options with every choice made, of which the validation texts choose.

The numbers were chosen on parts of the training texts of Banking77 and TREC that were held out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from stillroom_server.classification.features.encoded import Encoder
from stillroom_server.classification.option_parts import (
    CLOSED_FORM,
    FROZEN,
    GRADIENT,
    LBFGS,
    MOST_CLOSED_FORM_FEATURES,
    TABLE,
    TOKEN_WEIGHTS,
    EarlyStopping,
    EncoderTuning,
    LinearHead,
    MlpHead,
    NgramOptions,
    OptimizerOptions,
)
from stillroom_server.classification.options import ClassifierOptions, Head
from stillroom_server.classification.training.closed_form import MOST_TEXTS

# The weight of a norm in a mean loss of n texts is strength / n: the more texts, the less it says.
_RIDGE = (0.2, 0.6, 2.0)
_LOGISTIC, _LOGISTIC_IN_FOLDS, _LOGISTIC_OF_FEW = (0.05, 0.0167, 0.005), (0.05, 0.005), (0.0167,)
_EPOCHS, _PATIENCE = 10, 3
_FEW_EPOCHS, _MANY_TEXTS = 3, 100_000
_BATCH, _MOST_BATCH = 128, 1024
# Many labels gain by small steps, few labels by large ones.
_HEAD_RATE, _HEAD_RATE_OF_MANY, _MANY_LABELS = 0.03, 0.01, 24
_TABLE_RATE, _WEIGHT_RATE = 0.008, 0.03  # of a table, by the size of what stands in it
_MLP_RATE, _HIDDEN, _DROPOUT = 0.01, 512, 0.3
_FEW_A_LABEL = 16
_NGRAMS = NgramOptions(on=True, min_n=2, max_n=2, max_features=1 << 16, min_count=1)
_OFF = NgramOptions(on=False)


@dataclass(frozen=True)
class Circumstances:
    """``texts``: those of a fit. ``folds``: they are validated in folds, so that a candidate takes
    several fits."""

    texts: int
    labels: int
    folds: bool

    @property
    def few(self) -> bool:
        """Whether nothing but a plain probe of the vectors pays."""
        return self.folds and self.texts < _FEW_A_LABEL * self.labels


def candidates(
    options: ClassifierOptions, encoder: Encoder, facts: Circumstances
) -> list[ClassifierOptions]:
    """At least one; those that differ in least come after one another. Every choice is made."""
    found = []
    for ngrams in _ngrams(options, encoder, facts):
        for head, tuning in _heads(options, encoder, facts):
            found.append(_filled(options, encoder, facts, head, tuning, ngrams))
    return found


def _takes_steps(head: Head) -> bool:
    return isinstance(head, MlpHead) or head.solver == GRADIENT


def _heads(
    options: ClassifierOptions, encoder: Encoder, facts: Circumstances
) -> Iterator[tuple[Head, EncoderTuning]]:
    tuning, frozen = options.tuning, EncoderTuning(FROZEN)
    if isinstance(options.head, MlpHead):
        sizes = options.head.hidden_sizes or (_HIDDEN,)
        dropout = _DROPOUT if options.head.dropout is None else options.head.dropout
        yield MlpHead(sizes, dropout), _tuning(tuning, encoder)
        return
    head = options.head or LinearHead()
    solver = head.solver or _solver(options, encoder, facts)
    if solver == GRADIENT:
        yield LinearHead(GRADIENT, head.l2 or 0.0), _tuning(tuning, encoder)
        return
    strengths: tuple[float, ...] = _LOGISTIC_IN_FOLDS if facts.folds else _LOGISTIC
    strengths = _LOGISTIC_OF_FEW if facts.few else strengths
    if solver == CLOSED_FORM:
        strengths = _RIDGE
    chosen = [strength / facts.texts for strength in strengths] if head.l2 is None else [head.l2]
    for l2 in chosen:
        yield LinearHead(solver, l2), frozen


def _solver(options: ClassifierOptions, encoder: Encoder, facts: Circumstances) -> str:
    """Of a linear head whose solver is open."""
    steps = options.focal_gamma > 0.0 or (options.label_smoothing or 0.0) > 0.0
    asked = options.max_epochs is not None or options.optimizer != OptimizerOptions()
    if steps or asked or options.tunes:
        return GRADIENT
    if facts.few:
        return LBFGS
    tunable = encoder.table is not None and options.tuning.mode is None
    wants_runs = encoder.table is not None and options.ngrams.on is not False
    return GRADIENT if tunable or wants_runs or facts.texts > _MANY_TEXTS else LBFGS


def _tuning(asked: EncoderTuning, encoder: Encoder) -> EncoderTuning:
    mode = asked.mode or (FROZEN if encoder.table is None else TABLE)
    return EncoderTuning(mode, None if mode == FROZEN else asked.token_dropout or 0.0)


def _ngrams(
    options: ClassifierOptions, encoder: Encoder, facts: Circumstances
) -> list[NgramOptions]:
    asked = options.ngrams
    if encoder.table is None or asked.on is False:
        return [_OFF]
    if facts.few and asked == NgramOptions() and not isinstance(options.head, MlpHead):
        return [_OFF]
    min_n = asked.min_n or _NGRAMS.min_n or 2
    chosen = NgramOptions(
        on=True,
        min_n=min_n,
        max_n=asked.max_n or max(min_n, _NGRAMS.max_n or 2),
        max_features=asked.max_features or _most_features(options, facts),
        min_count=asked.min_count or _NGRAMS.min_count,
    )
    return [chosen] if asked.on else [chosen, _OFF]


def _most_features(options: ClassifierOptions, facts: Circumstances) -> int:
    if options.solver == CLOSED_FORM and facts.texts > MOST_TEXTS:
        return MOST_CLOSED_FORM_FEATURES
    return _NGRAMS.max_features or 1


def _filled(
    options: ClassifierOptions,
    encoder: Encoder,
    facts: Circumstances,
    head: Head,
    tuning: EncoderTuning,
    ngrams: NgramOptions,
) -> ClassifierOptions:
    encoding = replace(
        options.encoding,
        max_tokens=encoder.max_tokens,
        dimensions=encoder.dimensions,
        normalize=options.encoding.normalize is not False,
    )
    table = encoder.table
    stored = options.element_type or (table.element_type if table is not None else None)
    filled = replace(
        options,
        head=head,
        tuning=tuning,
        ngrams=ngrams,
        encoding=encoding,
        label_smoothing=options.label_smoothing or 0.0,
        element_type=stored if tuning.mode == TABLE else None,
    )
    if not _takes_steps(head):
        return replace(filled, max_epochs=None, optimizer=OptimizerOptions())
    return replace(
        filled,
        max_epochs=options.max_epochs
        or (_EPOCHS if facts.texts < 10 * _MANY_TEXTS else _FEW_EPOCHS),
        early_stopping=_stopping(options.early_stopping),
        optimizer=_optimizer(options.optimizer, encoder, facts, head, tuning),
    )


def _stopping(asked: EarlyStopping) -> EarlyStopping:
    if asked.disabled:
        return asked
    return replace(
        asked,
        patience=asked.patience or _PATIENCE,
        min_delta=0.0 if asked.min_delta is None else asked.min_delta,
    )


def _optimizer(
    asked: OptimizerOptions,
    encoder: Encoder,
    facts: Circumstances,
    head: Head,
    tuning: EncoderTuning,
) -> OptimizerOptions:
    size = _MOST_BATCH if facts.texts > _MANY_TEXTS else min(_BATCH, max(8, facts.texts // 64))
    rate = _HEAD_RATE_OF_MANY if facts.labels >= _MANY_LABELS else _HEAD_RATE
    rate = _MLP_RATE if isinstance(head, MlpHead) else rate
    tuned = _WEIGHT_RATE if tuning.mode == TOKEN_WEIGHTS else _table_rate(encoder)
    return OptimizerOptions(
        batch_size=asked.batch_size or size,
        head_learning_rate=asked.head_learning_rate or rate,
        encoder_learning_rate=(
            None if tuning.mode == FROZEN else asked.encoder_learning_rate or tuned
        ),
        weight_decay=asked.weight_decay or 0.0,
    )


def _table_rate(encoder: Encoder) -> float:
    """Students differ in the scale of their tables, which a normalized vector does not show."""
    if encoder.table is None:
        return 0.0
    rows = encoder.table.rows.ravel()
    size = math.sqrt(float(np.dot(rows, rows)) / max(1, int(np.count_nonzero(rows))))
    return float(f"{_TABLE_RATE * (size or 1.0):.2g}")
