"""A shard of texts through a teacher: tokenized, in batches, in their order again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.features.batches import batch_tokens, pieces, plan
from stillroom_server.distillation.passes import Passes

if TYPE_CHECKING:
    from stillroom_server.distillation.features.options import FeatureOptions
    from stillroom_server.distillation.teacher import Teacher

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
        self._passes = Passes(options.device)

    def __enter__(self) -> ShardEncoder:
        self._passes.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._passes.__exit__(*details)

    def encode(
        self, texts: Sequence[str], on_done: Callable[[int], None], check: Callable[[], None]
    ) -> Encoded:
        """``on_done`` is told how many texts are done, ``check`` called ten times a second; either
        may raise to stop. Raises FailedPrecondition (TEACHER_NOT_FINITE)."""
        rows = self._tokenized(texts, check)
        vectors = np.empty((len(rows), self._teacher.dim), dtype=np.float32)
        batches = plan([len(row) for row in rows], self._batch_tokens)
        done = 0
        for batch, found in self._passes.run(
            batches, lambda batch: self._pass([rows[at] for at in batch]), check
        ):
            vectors[batch] = found
            done += len(batch)
            on_done(done)
        if not np.isfinite(vectors).all():
            raise FailedPrecondition(
                "the teacher gives vectors that are not finite for texts of this corpus; its "
                "weights are damaged, or overflow in this element type (try float32)",
                reason="TEACHER_NOT_FINITE",
                field="teacher",
            )
        return Encoded(vectors, sum(map(len, rows)))

    def _pass(self, rows: Any) -> NDArray[np.float32]:
        return self._teacher.encode_ids(rows, skip=self._skip, batch_tokens=_ONE_BATCH)

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
