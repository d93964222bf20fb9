"""A shard of texts through a teacher, with as many cores as may be used at the moment.

A pass that is spread over two threads may add in another order than on one, so its last bits would
tell how busy the machine was. Here every pass has one thread, and passes run side by side: however
many do, the vectors are the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.features.batches import batch_tokens, pieces, plan

if TYPE_CHECKING:
    from stillroom_server.distillation.features.options import FeatureOptions
    from stillroom_server.distillation.teacher import Teacher

_LOOK_SECONDS = 0.1
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_ONE_BATCH = 1 << 62


@dataclass(frozen=True)
class Encoded:
    """(n, d) vectors of n texts, and how many tokens these had in all."""

    vectors: NDArray[np.float32]
    tokens: int


class ShardEncoder:
    """Owns the threads: use it in a ``with`` block. ``options`` are resolved."""

    def __init__(self, teacher: Teacher, options: FeatureOptions) -> None:
        self._teacher = teacher
        name = options.prompt_name
        self._prompt = "" if name == "" else teacher.files.prompt(name)
        self._skip = _skipped_tokens(teacher, self._prompt)
        self._max_tokens = options.max_tokens
        config = teacher.files.transformer.config
        layers = next((int(config[key]) for key in _LAYERS if config.get(key)), 12)
        self._batch_tokens = batch_tokens(layers, teacher.encoder.width, options.device)
        self._on_cpu = options.device == "cpu"
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> ShardEncoder:
        import torch

        self._pool = ThreadPoolExecutor(
            max_workers=(os.cpu_count() or 1) if self._on_cpu else 1,
            thread_name_prefix="featurize",
            initializer=lambda: torch.set_num_threads(1),
        )
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        assert self._pool is not None
        self._pool.shutdown(wait=True, cancel_futures=True)
        # What the threads set for themselves is also what a new thread would begin with.
        torch.set_num_threads(torch.get_num_threads())

    def encode(
        self, texts: Sequence[str], on_done: Callable[[int], None], check: Callable[[], None]
    ) -> Encoded:
        """``on_done`` is told how many texts are done, ``check`` called ten times a second; either
        may raise to stop. Raises FailedPrecondition (TEACHER_NOT_FINITE)."""
        rows = self._tokenized(texts, check)
        vectors = np.empty((len(rows), self._teacher.dim), dtype=np.float32)
        waiting = plan([len(row) for row in rows], self._batch_tokens)[::-1]
        running: dict[Future[NDArray[np.float32]], list[int]] = {}
        done = 0
        try:
            while waiting or running:
                while waiting and len(running) < self._at_once():
                    batch = waiting.pop()
                    running[self._start([rows[at] for at in batch])] = batch
                finished, _ = wait(running, _LOOK_SECONDS, FIRST_COMPLETED)
                check()
                for future in finished:
                    batch = running.pop(future)
                    vectors[batch] = future.result()
                    done += len(batch)
                on_done(done)
        finally:
            for future in running:
                future.cancel()
        if not np.isfinite(vectors).all():
            raise FailedPrecondition(
                "the teacher gives vectors that are not finite for texts of this corpus; its "
                "weights are damaged, or overflow in this element type (try float32)",
                reason="TEACHER_NOT_FINITE",
                field="teacher",
            )
        return Encoded(vectors, sum(map(len, rows)))

    def _start(self, rows: list[NDArray[np.int32]]) -> Future[NDArray[np.float32]]:
        assert self._pool is not None
        given: Any = rows
        return self._pool.submit(
            self._teacher.encode_ids, given, skip=self._skip, batch_tokens=_ONE_BATCH
        )

    def _at_once(self) -> int:
        """The threads that this one may use now, which whoever limits it may change at any time."""
        import torch

        return max(1, torch.get_num_threads()) if self._on_cpu else 1

    def _tokenized(self, texts: Sequence[str], check: Callable[[], None]) -> list[Any]:
        tokenizer = self._teacher.tokenizer
        own = tokenizer.max_tokens
        if self._max_tokens is not None:
            tokenizer.max_tokens = min(self._max_tokens, own or self._max_tokens)
        rows: list[Any] = []
        try:
            for piece in pieces(texts):
                check()
                found = tokenizer.encode([self._prompt + text for text in piece])
                rows += [np.array(row, dtype=np.int32) for row in found]
        finally:
            tokenizer.max_tokens = own
        return rows


def _skipped_tokens(teacher: Teacher, prompt: str) -> int:
    """How many tokens of the prompt the pooling leaves out, as ``Teacher.encode`` does."""
    if not prompt or teacher.files.modules.include_prompt:
        return 0
    return len(teacher.tokenizer.surroundings[0]) + len(teacher.tokenizer.plain(prompt))
