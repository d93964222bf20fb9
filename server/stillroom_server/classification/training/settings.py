"""The numbers of gradient steps, with nothing left open."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_server.classification.option_parts import FROZEN, TABLE, LinearHead, MlpHead
from stillroom_server.classification.options import ClassifierOptions


@dataclass(frozen=True)
class StepSettings:
    """``hidden``: widths of hidden layers. ``tuned``: whether token weights are trained, ``table``:
    the table too. ``patience`` None: all ``epochs`` are done."""

    hidden: tuple[int, ...]
    dropout: float
    tuned: bool
    table: bool
    token_dropout: float
    l2: float
    batch_size: int
    head_rate: float
    encoder_rate: float
    decay: float
    epochs: int
    patience: int | None
    min_delta: float
    metric: str
    seed: int

    @classmethod
    def of(cls, options: ClassifierOptions) -> StepSettings:
        """Of options in which every choice is made."""
        head, steps, stopping = options.head, options.optimizer, options.early_stopping
        mlp = head if isinstance(head, MlpHead) else None
        return cls(
            hidden=mlp.hidden_sizes if mlp else (),
            dropout=(mlp.dropout or 0.0) if mlp else 0.0,
            tuned=options.tuning.mode not in (None, FROZEN),
            table=options.tuning.mode == TABLE,
            token_dropout=options.tuning.token_dropout or 0.0,
            l2=(head.l2 or 0.0) if isinstance(head, LinearHead) else 0.0,
            batch_size=steps.batch_size or 1,
            head_rate=steps.head_learning_rate or 0.0,
            encoder_rate=steps.encoder_learning_rate or 0.0,
            decay=steps.weight_decay or 0.0,
            epochs=options.max_epochs or 1,
            patience=None if stopping.disabled else stopping.patience,
            min_delta=stopping.min_delta or 0.0,
            metric=stopping.metric,
            seed=options.seed,
        )
