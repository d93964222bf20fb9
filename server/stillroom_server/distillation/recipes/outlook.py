"""What each recipe is expected to take for a job: a probe of its teacher, times what is to do.

Seconds per text and epoch of training are those of one core of a 2.5 GHz server CPU; the teacher's
speed is measured here and now.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.recipes.budget import Outlook
from stillroom_server.distillation.recipes.job import Job
from stillroom_server.distillation.transformer.options import (
    DEFAULT_EPOCHS as TRANSFORMER_EPOCHS,
)
from stillroom_server.distillation.transformer.options import (
    TransformerOptions,
)
from stillroom_server.distillation.tuning.options import (
    DEFAULT_EPOCHS,
    DEFAULT_PAIRS,
    DEFAULT_WORDS,
    TunedOptions,
)

_PROBED_TEXTS = 64
_PROBED_TOKENS = 1024
_FIXED_SECONDS = 8.0  # loading, writing, checking, measuring, publishing
_FIT_SECONDS = 1.0e-3  # a text, of vocabulary and closed form
_TUNING_SECONDS = 1.5e-4  # a text and epoch
# A step goes through the layers forward, and twice as much backward.
_STEP_PASSES = 3.0
_LEAST_TRAINING = 0.2  # of what it would take in full: with less, it is not worth starting
_BASE_BYTES = 400e6  # the runner with its libraries
ELEMENT_BYTES = {"float32": 4, "float16": 2, "int8": 1}


@dataclass(frozen=True)
class Probe:
    """A teacher: its vectors' size, the bytes of its weights, the rows of its vocabulary, and how
    fast it embeds texts of this corpus and single tokens, by the second."""

    dim: int
    bytes: int
    rows: int
    texts_per_second: float
    tokens_per_second: float


def probe(job: Job, clock: Callable[[], float] = time.perf_counter) -> Probe:
    """Loads the teacher and embeds a little; takes seconds."""

    def check(_done: int) -> None:
        job.context.check_cancelled()

    teacher = job.teacher()
    rows = teacher.tokenizer.largest_id + 1
    ids = np.resize(np.arange(rows), (_PROBED_TOKENS, 1)).astype(np.int64)
    teacher.encode_ids(ids[:64], on_done=check)  # the first pass makes threads and memory
    start = clock()
    teacher.encode_ids(ids, on_done=check)
    tokens = _PROBED_TOKENS / max(1e-9, clock() - start)
    texts = 0.0
    if job.corpus is not None:
        sample = job.corpus.training[0].texts()[:_PROBED_TEXTS]
        start = clock()
        teacher.encode(sample, on_done=check)
        texts = len(sample) / max(1e-9, clock() - start)
    return Probe(teacher.dim, teacher.files.transformer.size, rows, texts, tokens)


def static(found: Probe, options: StaticOptions) -> Outlook:
    """Every token of the vocabulary once through the teacher."""
    rows = found.rows + len(options.add_words)
    asked = options.dimensions_of(found.dim)
    dimensions = asked if isinstance(asked, int) else found.dim
    return Outlook(
        seconds=_FIXED_SECONDS + rows / found.tokens_per_second,
        memory_bytes=_BASE_BYTES + 2 * found.bytes + 4.0 * rows * (2 * found.dim + dimensions),
        result_bytes=rows * (dimensions * ELEMENT_BYTES[options.element_type] + 4.0),
    )


def tuned(found: Probe, options: TunedOptions, texts: int, *, whole: bool = True) -> Outlook:
    """``static``, every text once through the teacher, and the training; or, unless ``whole``, as
    little training as makes sense."""
    start = static(found, options.static)
    training = training_seconds(options, texts) * (1.0 if whole else _LEAST_TRAINING)
    words = DEFAULT_WORDS if options.grow_words is None else options.grow_words
    grown = words + (DEFAULT_PAIRS if options.grow_pairs is None else options.grow_pairs)
    table = start.result_bytes / found.rows * (found.rows + grown)
    return Outlook(
        seconds=start.seconds + texts * (_FIT_SECONDS + 1.0 / found.texts_per_second) + training,
        memory_bytes=start.memory_bytes + 16.0 * found.rows * found.dim,
        result_bytes=table,
    )


def training_seconds(options: TunedOptions, texts: int) -> float:
    """Of the training of ``tuned`` alone, in full."""
    seconds = texts * (options.max_epochs or DEFAULT_EPOCHS) * _TUNING_SECONDS
    limit = options.time_budget_seconds
    return seconds if limit is None else min(seconds, limit)


def transformer(
    found: Probe, options: TransformerOptions, texts: int, layers: tuple[int, int]
) -> Outlook:
    """Every text through the teacher, and ``layers`` (kept, of so many) of it again and again. The
    result has the share of the teacher's weights that is not layers, at most all."""
    epochs = options.max_epochs or TRANSFORMER_EPOCHS
    kept = layers[0] / layers[1]
    training = epochs * texts * _STEP_PASSES * kept / found.texts_per_second
    if options.time_budget_seconds is not None:
        training = min(training, options.time_budget_seconds)
    size = ELEMENT_BYTES[options.element_type or "float32"] / 4.0
    return Outlook(
        seconds=_FIXED_SECONDS + texts / found.texts_per_second + training,
        memory_bytes=_BASE_BYTES + 6.0 * found.bytes,
        result_bytes=found.bytes * size,
    )


def quantized(weights: Path, options: QuantizeOptions) -> Outlook:
    """The table of the student in ``weights`` is read, and written with a number more for every
    row, or two for every token where tokens share rows."""
    shapes = {}
    with safe_open(weights, framework="numpy") as stored:
        for name in stored.keys():  # noqa: SIM118 - not a dict
            shapes[name] = stored.get_slice(name).get_shape()
    rows, columns = max(([*shape, 1, 1][:2] for shape in shapes.values()), key=math.prod)
    tokens = shapes.get("mapping", [rows if options.vocabulary_clusters else 0])[0]
    kept = options.vocabulary_clusters or rows
    return Outlook(
        seconds=_FIXED_SECONDS,
        memory_bytes=_BASE_BYTES + 12.0 * rows * columns,
        result_bytes=kept * (columns * ELEMENT_BYTES[options.element_type] + 4.0) + 12.0 * tokens,
    )
