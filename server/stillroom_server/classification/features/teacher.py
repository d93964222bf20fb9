"""Teachers: vectors as the engine that serves them computes them, here in the runner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.features.encoded import Encoded
from stillroom_server.distillation.features.batches import plan as batches_of
from stillroom_server.distillation.passes import Passes
from stillroom_server.inference.numerics import normalize
from stillroom_server.inference.options import EmbedOptions, EmbedPlan, plan
from stillroom_server.teachers.settings import EngineSettings
from stillroom_server.teachers.torch_teacher import TorchTeacher

_CPU_TOKENS = 2048  # of a pass, padding included: what keeps one core busy
_CUDA_TOKENS = 65_536


class TeacherEncoder:
    """Raises what ``TorchTeacher.load`` raises, and InvalidArgument for an ``encoding`` that the
    teacher cannot do."""

    kind = "teacher"
    texts_at_once = 512
    table = None

    def __init__(
        self, folder: Path, encoding: EmbedOptions, *, device: str = "auto", dtype: str = "auto"
    ) -> None:
        settings = EngineSettings(device=device, dtype=dtype)
        self._teacher = TorchTeacher.load("encoder", folder, settings)
        self._plan = self._planned(encoding)
        self.dimensions = self._plan.dimensions
        self.max_tokens = self._plan.max_tokens

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> Encoded:
        how, device = self._plan, self._teacher.facts.device
        rows = self._teacher.tokenizer.encode(
            texts,
            prompt=how.prompt,
            max_tokens=how.max_tokens,
            truncate=how.truncate,
            left=how.truncate_left,
        )
        vectors = np.zeros((len(texts), self._teacher.dimensions), np.float32)
        with Passes(device) as passes:
            for skip, places in _by_skip(rows.skips.tolist(), rows.lengths.tolist()):
                lengths = [int(rows.lengths[at]) for at in places]
                tokens = _CPU_TOKENS if device == "cpu" else _CUDA_TOKENS
                planned = [[places[at] for at in batch] for batch in batches_of(lengths, tokens)]

                def compute(batch: list[int], skip: int = skip) -> np.ndarray:
                    return self._teacher.forward([rows.row(at) for at in batch], skip)

                for batch, found in passes.run(planned, compute, check):
                    vectors[batch] = found
        vectors = np.ascontiguousarray(vectors[:, : how.dimensions])
        if how.normalize:
            normalize(vectors)
        return Encoded(vectors, ~rows.empty, rows.truncated, rows.lengths.astype(np.int32))

    def _planned(self, encoding: EmbedOptions) -> EmbedPlan:
        facts = self._teacher.facts
        if encoding.prompt is None and encoding.prompt_name is None and facts.default_prompt:
            encoding = replace(encoding, prompt_name=facts.default_prompt)
        how = plan(
            encoding,
            dimensions=facts.dimensions,
            max_tokens=facts.max_tokens,
            prompts=facts.prompts,
        )
        if how.max_tokens <= facts.special_tokens:
            raise InvalidArgument(
                f"max_tokens is {how.max_tokens}; this teacher puts {facts.special_tokens} special"
                " tokens around a text",
                reason="MAX_TOKENS_OUT_OF_RANGE",
                field="options.max_tokens",
            )
        return how


def _by_skip(skips: list[int], lengths: list[int]) -> list[tuple[int, list[int]]]:
    """The places of texts with a token, by how many of a prompt's tokens are not pooled."""
    places = sorted((at for at in range(len(skips)) if lengths[at]), key=lambda at: skips[at])
    return [(skip, list(group)) for skip, group in groupby(places, key=lambda at: skips[at])]
