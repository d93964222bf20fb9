"""What is tried: options with every choice made, of which the validation texts choose.

The numbers were chosen on parts of the training texts of Banking77 and TREC that were held out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from stillroom_server.classification.features.encoded import Encoder
from stillroom_server.classification.option_parts import (
    CLOSED_FORM,
    FROZEN,
    GRADIENT,
    LBFGS,
    TABLE,
    EarlyStopping,
    EncoderTuning,
    LinearHead,
    MlpHead,
    NgramOptions,
    OptimizerOptions,
)
from stillroom_server.classification.options import ClassifierOptions, Head
from stillroom_server.classification.training.closed_form import MOST_NGRAMS, MOST_TEXTS

# The weight of a norm in a mean loss of n texts is strength / n: the more texts, the less it says.
_RIDGE = (0.2, 0.6, 2.0)
_LOGISTIC = (0.05, 0.0167, 0.005)
_EPOCHS, _PATIENCE = 10, 3
_FEW_EPOCHS, _MANY_TEXTS = 3, 100_000
_BATCH, _MOST_BATCH = 128, 1024
_HEAD_RATE, _ENCODER_RATE = 0.03, 0.003
_MLP_RATE, _HIDDEN, _DROPOUT = 0.01, 512, 0.3
_NGRAMS = NgramOptions(on=True, min_n=2, max_n=2, max_features=1 << 16, min_count=1)
_OFF = NgramOptions(on=False)


@dataclass(frozen=True)
class Circumstances:
    """``texts``: of the training; ``few``: they are validated in folds, and a fit costs as many."""

    texts: int
    labels: int
    few: bool


def candidates(
    options: ClassifierOptions, encoder: Encoder, facts: Circumstances
) -> list[ClassifierOptions]:
    """At least one; those that differ in least come after one another. Every choice is made."""
    found = []
    for ngrams in _ngrams(options, encoder, facts):
        for head, tuning in _heads(options, encoder, facts):
            found.append(_filled(options, encoder, facts, head, tuning, ngrams))
    return found


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
    strengths = _RIDGE if solver == CLOSED_FORM else _LOGISTIC
    chosen = [strength / facts.texts for strength in strengths] if head.l2 is None else [head.l2]
    for l2 in chosen:
        yield LinearHead(solver, l2), frozen


def _solver(options: ClassifierOptions, encoder: Encoder, facts: Circumstances) -> str:
    """Of a linear head whose solver is open."""
    steps = options.focal_gamma > 0.0 or (options.label_smoothing or 0.0) > 0.0
    asked = options.max_epochs is not None or options.optimizer != OptimizerOptions()
    if steps or asked or options.tunes:
        return GRADIENT
    if facts.few and facts.texts <= MOST_TEXTS:
        return CLOSED_FORM
    tunable = encoder.table is not None and options.tuning.mode is None
    return GRADIENT if tunable or facts.texts > _MANY_TEXTS else LBFGS


def _tuning(asked: EncoderTuning, encoder: Encoder) -> EncoderTuning:
    mode = asked.mode or (FROZEN if encoder.table is None else TABLE)
    return EncoderTuning(mode, None if mode == FROZEN else asked.token_dropout or 0.0)


def _ngrams(
    options: ClassifierOptions, encoder: Encoder, facts: Circumstances
) -> list[NgramOptions]:
    asked = options.ngrams
    if encoder.table is None or asked.on is False:
        return [_OFF]
    own = asked != NgramOptions(asked.on)  # some number is given, and so min_n is
    min_n = asked.min_n or (2 if own or options.solver != CLOSED_FORM else 1)
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
        return MOST_NGRAMS
    return _NGRAMS.max_features or 1


def _filled(
    options: ClassifierOptions,
    encoder: Encoder,
    facts: Circumstances,
    head: Head,
    tuning: EncoderTuning,
    ngrams: NgramOptions,
) -> ClassifierOptions:
    steps = isinstance(head, MlpHead) or head.solver == GRADIENT
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
    if not steps:
        return replace(filled, max_epochs=None, optimizer=OptimizerOptions())
    return replace(
        filled,
        max_epochs=options.max_epochs
        or (_EPOCHS if facts.texts < 10 * _MANY_TEXTS else _FEW_EPOCHS),
        early_stopping=_stopping(options.early_stopping),
        optimizer=_optimizer(options.optimizer, facts, isinstance(head, MlpHead)),
    )


def _stopping(asked: EarlyStopping) -> EarlyStopping:
    if asked.disabled:
        return asked
    return replace(
        asked,
        patience=asked.patience or _PATIENCE,
        min_delta=0.0 if asked.min_delta is None else asked.min_delta,
    )


def _optimizer(asked: OptimizerOptions, facts: Circumstances, mlp: bool) -> OptimizerOptions:
    size = _MOST_BATCH if facts.texts > _MANY_TEXTS else min(_BATCH, max(8, facts.texts // 16))
    return OptimizerOptions(
        batch_size=asked.batch_size or size,
        head_learning_rate=asked.head_learning_rate or (_MLP_RATE if mlp else _HEAD_RATE),
        encoder_learning_rate=asked.encoder_learning_rate or _ENCODER_RATE,
        weight_decay=asked.weight_decay or 0.0,
    )
