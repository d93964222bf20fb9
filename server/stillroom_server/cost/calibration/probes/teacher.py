"""A teacher as recipes run it: passes of one thread each, side by side, at their batch sizes.

Imports torch: only for the measuring process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillroom_server.cost.calibration.probes.stopwatch import Allowance, Stopwatch
from stillroom_server.cost.calibration.rates import Line, fit

if TYPE_CHECKING:
    from stillroom_server.distillation.teacher import Teacher

_SHORT, _LONG = 24, 128  # tokens of a text: a sentence, a paragraph
_FEWEST = 64  # tokens of a batch that is worth timing
_PCA_ROWS = (1024, 4096)
_KEPT_AXES = 256
_EIGH_FLOPS = 25.0  # of each h^3, about
_SLOW_FLOPS = 5e9  # a second, of float64 on a slow core


@dataclass(frozen=True)
class Asked:
    """``threads``: passes side by side; ``device`` and ``dtype`` as ``Teacher.load`` has them."""

    folder: Path
    threads: int
    device: str = "auto"
    dtype: str = "auto"


def probe(asked: Asked, watch: Stopwatch, allowed: Allowance) -> Iterator[Line]:
    """The lines of ``rates.TEACHER``, the most telling first; those that do not fit any more are
    left out. Raises TimeoutError when not one pass fits, which another try may find calmer."""
    seconds = watch.once(_import)
    yield fit("torch.import", [(1.0, seconds)])
    import torch

    from stillroom_server.distillation.teacher import Teacher

    torch.set_num_threads(asked.threads)
    loaded: list[Teacher] = []
    seconds = watch.once(
        lambda: loaded.append(
            Teacher.load(asked.folder, asked.device, asked.dtype, normalize=False)
        )
    )
    teacher = loaded[0]
    yield fit("teacher.load", [(float(teacher.files.transformer.size), seconds)])
    if teacher.device.partition(":")[0] != "cpu":
        watch = Stopwatch(time.perf_counter)
    passes = _Passes(teacher, asked.threads, watch, allowed)
    yield from passes.lines()
    yield from _tokenized(teacher, Stopwatch(), allowed.share(0.3))
    yield from _reduced(teacher.dim, Stopwatch(), allowed)


def _import() -> None:
    import torch  # noqa: F401

    import stillroom_server.distillation.teacher  # noqa: F401


class _Passes:
    def __init__(
        self, teacher: Teacher, threads: int, watch: Stopwatch, allowed: Allowance
    ) -> None:
        self._teacher = teacher
        self._threads = threads
        self._watch = watch
        self._allowed = allowed
        front, behind = teacher.tokenizer.surroundings
        self._around = list(front), list(behind)
        self._limit = teacher.tokenizer.max_tokens or _LONG
        self._random = np.random.default_rng(0)

    def lines(self) -> Iterator[Line]:
        from stillroom_server.distillation.passes import Passes
        from stillroom_server.distillation.teacher import BATCH_TOKENS

        with Passes(self._teacher.device.partition(":")[0]) as passes:
            single = len(self._around[0]) + 1 + len(self._around[1])
            # A small pass a thread: what the first alone pays, and how long a token takes.
            self._wall(passes, single, _FEWEST)
            token = self._wall(passes, single, _FEWEST) / (_FEWEST * self._threads)
            if token * _FEWEST * self._threads > self._allowed.left:
                raise TimeoutError("imports and weights took all the time; passes were not timed")
            count = self._tokens(token, 0.3, BATCH_TOKENS)
            rows, seconds = self._timed(passes, single, count)
            yield fit("teacher.vocabulary", [(float(rows), seconds)])
            short = min(_SHORT, self._limit)
            texts, seconds = self._timed(passes, short, self._tokens(token, 0.3, BATCH_TOKENS))
            brief = seconds / (texts * short)
            pairs = 0.0
            long = min(_LONG, self._limit)
            if long > 2 * short and token * long * self._threads < self._allowed.left:
                texts, seconds = self._timed(passes, long, self._tokens(token, 0.4, BATCH_TOKENS))
                pairs = max(0.0, (seconds / (texts * long) - brief) / (long - short))
                yield fit("teacher.attention", [(float(texts * long**2), pairs * texts * long**2)])
            flat = max(0.0, brief - pairs * short)
            yield fit("teacher.forward", [(float(texts * short), flat * texts * short)])

    def _tokens(self, token: float, part: float, most: int) -> int:
        """Of a batch, so that one a thread takes ``part`` of what is left."""
        fitting = part * self._allowed.left / max(1e-12, token * self._threads)
        return max(_FEWEST, min(most, int(fitting)))

    def _timed(self, passes: Any, length: int, tokens: int) -> tuple[int, float]:
        """Texts of a batch a thread, and the seconds that they took."""
        batches = self._batches(length, tokens)
        run = self._run(passes, batches)
        return sum(map(len, batches)), self._watch.once(run)

    def _wall(self, passes: Any, length: int, tokens: int) -> float:
        start = time.perf_counter()
        self._run(passes, self._batches(length, tokens))()
        return time.perf_counter() - start

    def _run(self, passes: Any, batches: list[list[list[int]]]) -> Callable[[], None]:
        def compute(batch: list[list[int]]) -> Any:
            return self._teacher.encode_ids(batch, batch_tokens=1 << 62)

        def run() -> None:
            for _ in passes.run(batches, compute, lambda: None):
                pass

        return run

    def _batches(self, length: int, tokens: int) -> list[list[list[int]]]:
        front, behind = self._around
        inside = max(1, length - len(front) - len(behind))
        texts = max(1, tokens // length)
        largest = self._teacher.tokenizer.largest_id
        ids = self._random.integers(0, largest + 1, (self._threads, texts, inside))
        return [[[*front, *map(int, text), *behind] for text in batch] for batch in ids]


def _tokenized(teacher: Teacher, watch: Stopwatch, allowed: Allowance) -> Iterator[Line]:
    from stillroom_server.distillation.fidelity.samples import built_in_texts

    texts = list(built_in_texts())
    counts: dict[int, int] = {}

    def tokenize(size: int) -> Callable[[], object]:
        def call() -> None:
            counts[size] = sum(map(len, teacher.tokenizer.encode(texts[:size])))

        return call

    points = watch.points((32, 256), tokenize, allowed)
    yield fit("teacher.tokenize", [(float(counts[size]), seconds) for size, seconds in points])


def _reduced(width: int, watch: Stopwatch, allowed: Allowance) -> Iterator[Line]:
    from stillroom_server.distillation import static

    expected = (_EIGH_FLOPS * width**3 + 4.0 * _PCA_ROWS[0] * width**2) / _SLOW_FLOPS
    if expected > allowed.left:
        return
    random = np.random.default_rng(0)

    def reduce(rows: int) -> Callable[[], object]:
        vectors = random.standard_normal((rows, width), dtype=np.float32)

        def call() -> None:
            mean = static.mean_of(vectors)
            axes, _ = static.principal_axes(vectors, mean, static.rank_importance(rows))
            static.temper(static.project(vectors, mean, axes[:, :_KEPT_AXES]))

        return call

    points: list[tuple[float, float]] = []
    for rows in _PCA_ROWS:
        if points and 3.0 * points[-1][1] > allowed.left:
            break
        points.append((float(rows), watch.once(reduce(rows))))
    yield fit("pca", points)
