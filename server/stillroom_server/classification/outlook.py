"""What a training is expected to take, to refuse what cannot fit its budget before it is paid for.

Coarse: constants of one core of a 2.5 GHz server CPU, and the encoder's own speed, measured here
and now on a few of the texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.classification.features.encoded import Encoder
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.distillation.recipes.budget import Budget, Outlook

_PROBED_TEXTS = 64
_FIXED_SECONDS = 2.0  # loading, writing, checking, publishing
_BASE_BYTES = 300e6  # the runner with its libraries
_SOLVER_SECONDS = 2e-7  # an example, label and number of its features, of a linear head
_EPOCH_SECONDS = 5e-5  # an example and epoch of gradient steps
_EPOCHS = 30
_CANDIDATES = 4  # where choices are left to the server
_RUNS_OF_A_TEXT = 8  # that become features, at most
_MOST_RUNS = 1 << 17


@dataclass(frozen=True)
class Size:
    """What is to be trained: examples, labels, elements of a vector, tokens of a table that may be
    tuned (0: none), and the bytes of the encoder's files that become part of the classifier."""

    examples: int
    labels: int
    dimensions: int
    rows: int
    encoder_bytes: int


def expected(size: Size, options: ClassifierOptions, texts_per_second: float) -> Outlook:
    """In the units of ``Budget``."""
    features = _features(size, options)
    candidates = 1 if options.head is not None and options.ngrams.on is not None else _CANDIDATES
    width = size.dimensions + (_RUNS_OF_A_TEXT if features else 0)
    training = size.examples * size.labels * width * _SOLVER_SECONDS * candidates
    if options.solver not in ("closed_form", "lbfgs"):
        training += size.examples * (options.max_epochs or _EPOCHS) * _EPOCH_SECONDS
    if options.time_budget_seconds is not None:
        training = min(training, options.time_budget_seconds)
    table = 4.0 * size.rows * size.dimensions
    head = 4.0 * size.labels * (size.dimensions + 1 + features)
    return Outlook(
        seconds=_FIXED_SECONDS + size.examples / max(1e-9, texts_per_second) + training,
        memory_bytes=_BASE_BYTES
        + 3.0 * table
        + 3.0 * head
        + 4.0 * size.examples * (2 * size.dimensions + 4 * size.labels + 64),
        result_bytes=size.encoder_bytes + 2.0 * head,
    )


def check_budget(
    budget: Budget,
    size: Size,
    options: ClassifierOptions,
    encoder: Encoder,
    texts: Sequence[str],
    check: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Raises FailedPrecondition (BUDGET_EXCEEDED) when the training is expected to take more.

    Embeds a few of ``texts`` where seconds are limited; ``check`` may raise to stop.
    """
    if budget.unlimited:
        return
    speed = 1e9
    if budget.seconds is not None:
        sample = [text for text in texts[:_PROBED_TEXTS] if text.strip()] or list(texts[:1])
        encoder.encode(sample[:1], check)  # the first pass makes threads and memory
        start = clock()
        encoder.encode(sample, check)
        speed = len(sample) / max(1e-9, clock() - start)
    outlook = expected(size, options, speed)
    beyond = outlook.beyond(budget)
    if beyond:
        said = ", ".join(
            f"{name} about {found:.3g} of {limit:.3g}" for name, (found, limit) in beyond.items()
        )
        raise FailedPrecondition(
            f"the training is expected to take more than its budget ({said}); allow more, or give"
            " fewer texts",
            reason="BUDGET_EXCEEDED",
            field=f"budget.{next(iter(beyond))}",
            metadata={name: f"{value:.6g}" for name, value in asdict(outlook).items()},
        )


def _features(size: Size, options: ClassifierOptions) -> int:
    if not size.rows or options.ngrams.on is False:
        return 0
    return min(options.ngrams.max_features or _MOST_RUNS, _RUNS_OF_A_TEXT * size.examples)
