"""Texts to vectors with one loaded student: tokenize, cut, pool, normalize.

Everything between the two calls of compiled code is a handful of numpy operations on flat arrays,
whatever the number of texts. An embedder holds no state that a call changes, so calls of any
threads with any options give what each would give alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillroom_registry.errors import DataLoss, FailedPrecondition, StillroomError
from stillroom_server.inference.engines.base import Float32, Scale, StudentEngine
from stillroom_server.inference.engines.choose import ChosenEngine, choose_engine
from stillroom_server.inference.lazy import Lazy
from stillroom_server.inference.numerics import inverse_lengths, normalize
from stillroom_server.inference.one_text import OneText
from stillroom_server.inference.options import DEFAULT_OPTIONS, EmbedOptions, EmbedPlan, plan
from stillroom_server.inference.results import (
    EmbedResult,
    Timings,
    Warnings,
    warnings_of,
    with_empty_texts,
)
from stillroom_server.inference.student_files import StudentFiles
from stillroom_server.inference.text_errors import encoding_error, refuse_too_long
from stillroom_server.inference.tokenizers.base import (
    Ids,
    Offsets,
    TokenBatch,
    Tokenizer,
    Unsupported,
    count,
    limit,
    limit_one,
)
from stillroom_server.inference.tokenizers.choose import ChosenTokenizer, choose_tokenizer
from stillroom_server.inference.tokenizers.huggingface import HuggingFaceTokenizer, TokenizedText
from stillroom_server.inference.verdicts import FileVerdicts, MemoryVerdicts


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """What serves a student, for people and metrics. ``memory_bytes`` is what it holds, about."""

    engine: str
    engine_reason: str
    tokenizer: str
    tokenizer_reason: str
    dimensions: int
    max_tokens: int
    memory_bytes: int


class StudentEmbedder:
    """One student, ready to embed. Make it with ``load``."""

    def __init__(
        self,
        tokenizer: ChosenTokenizer,
        engine: ChosenEngine,
        *,
        max_tokens: int,
        unk_id: int | None,
        prompts: Mapping[str, str],
        tokenizer_json: str,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tokenizer = tokenizer.engine
        self._engine = engine.engine
        self._unnormalized = engine.unnormalized
        self._unk_id = unk_id
        self._reference = Lazy(lambda: HuggingFaceTokenizer(tokenizer_json))
        self._clock = clock
        self.prompts = dict(prompts)
        self.dimensions = engine.engine.dimensions
        self.max_tokens = max_tokens
        self.info = EmbedderInfo(
            engine=engine.engine.name,
            engine_reason=engine.reason,
            tokenizer=tokenizer.engine.name,
            tokenizer_reason=tokenizer.reason,
            dimensions=self.dimensions,
            max_tokens=max_tokens,
            memory_bytes=engine.nbytes + tokenizer.engine.nbytes + len(tokenizer_json),
        )
        self._default_plan = self._plan(DEFAULT_OPTIONS)
        self.embed_one = OneText(self._tokenizer, self._engine, max_tokens, clock)

    @classmethod
    def load(
        cls,
        folder: Path,
        engine: str = "auto",
        tokenizer: str = "auto",
        *,
        cache: Path | None = None,
        digests: Mapping[str, str] | None = None,
        blame: type[StillroomError] = DataLoss,
    ) -> StudentEmbedder:
        """Load the student in ``folder``; blocks for 0.1 to 3 s, so call it off an event loop.

        ``engine``: auto, onnxruntime or gather; ``tokenizer``: auto, huggingface, nanotoken or
        nanotoken-pairs. ``cache`` is a private folder that keeps the verdicts of the load-time
        checks; without it they last as long as the process. ``digests`` as in ``choose_engine``;
        ``blame`` as in ``StudentFiles.load``.
        """
        files = StudentFiles.load(folder, blame=blame)
        verdicts = FileVerdicts(cache) if cache else MemoryVerdicts()
        try:
            chosen_tokenizer = choose_tokenizer(files.tokenizer_json, tokenizer, verdicts=verdicts)
        except Unsupported as failure:
            raise blame(
                f"tokenizer.json: {failure}.",
                reason="TOKENIZER_INVALID",
                metadata={"file": "tokenizer.json"},
            ) from failure
        return cls(
            chosen_tokenizer,
            choose_engine(files, engine, verdicts=verdicts, digests=digests),
            max_tokens=files.max_tokens,
            unk_id=files.unk_id,
            prompts=files.prompts,
            tokenizer_json=files.tokenizer_json,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that serves."""
        return self._tokenizer

    @property
    def engine(self) -> StudentEngine:
        """The engine that serves."""
        return self._engine

    def validate(self, options: EmbedOptions) -> EmbedPlan:
        """Check options against this student, without touching a text.

        Raises InvalidArgument as ``options.plan`` does, and FailedPrecondition
        (NORMALIZE_UNAVAILABLE) where only a normalizing graph serves and raw vectors are asked for.
        """
        return self._default_plan if options is DEFAULT_OPTIONS else self._plan(options)

    def cost(self, texts: Sequence[str], options: EmbedOptions = DEFAULT_OPTIONS) -> int:
        """Characters to tokenize, prompts included: to decide whether a call may run inline."""
        prompt = self.validate(options).prompt
        return sum(map(len, texts)) + len(prompt) * len(texts)

    def embed(self, texts: Sequence[str], options: EmbedOptions = DEFAULT_OPTIONS) -> EmbedResult:
        """Embed texts. An empty list gives an empty result.

        Raises what ``validate`` raises, and InvalidArgument on ``texts[i]``: TEXT_TOO_LONG when
        ``truncate`` is off, INVALID_UTF8 for lone surrogates.
        """
        how = self.validate(options)
        start = self._clock()
        batch = self.tokens(texts, how)
        tokenized = self._clock()
        vectors, warnings = self.vectors(texts, batch, how)
        return EmbedResult(
            vectors,
            batch.lengths.astype(np.int32),
            batch.truncated,
            warnings,
            Timings(tokenized - start, self._clock() - tokenized),
        )

    def tokens(self, texts: Sequence[str], how: EmbedPlan) -> TokenBatch:
        """The tokens of texts, cut as ``how`` says; the first half of ``embed``."""
        ids, offsets = self._encode(texts, how.prompt)
        if not how.truncate:
            refuse_too_long(offsets, how.max_tokens)
        limiter = limit_one if len(texts) == 1 else limit
        return limiter(ids, offsets, how.max_tokens, left=how.truncate_left)

    def vectors(
        self, texts: Sequence[str], batch: TokenBatch, how: EmbedPlan
    ) -> tuple[Float32, Warnings]:
        """The vectors of those tokens and the warnings of the texts; the second half."""
        vectors = self._pooled(batch, how)
        complete = how.normalize and normalize(vectors)
        return vectors, self._finished(texts, batch, how, vectors, complete)

    def scaled_vectors(
        self, texts: Sequence[str], batch: TokenBatch, how: EmbedPlan
    ) -> tuple[Float32, Float32 | None, Warnings]:
        """``vectors`` (n, d) before each is multiplied by its factor of (n,), for who sooner scales
        what they are multiplied by; None: there are none."""
        vectors = self._pooled(batch, how)
        factors, complete = inverse_lengths(vectors) if how.normalize else (None, False)
        return vectors, factors, self._finished(texts, batch, how, vectors, complete)

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> list[TokenizedText]:
        """Show how texts split into tokens, by the reference tokenizer; ``max_tokens`` of each."""
        try:
            return self._reference.get().tokenize(texts, max_tokens)
        except BaseException as failure:  # a panic of compiled code is no Exception
            raise encoding_error(texts, failure) from failure

    def _plan(self, options: EmbedOptions) -> EmbedPlan:
        how = plan(
            options, dimensions=self.dimensions, max_tokens=self.max_tokens, prompts=self.prompts
        )
        if not how.normalize and self._unnormalized is None:
            raise FailedPrecondition(
                "This student is served by an ONNX graph that normalizes; leave normalize on.",
                reason="NORMALIZE_UNAVAILABLE",
                field="options.normalize",
            )
        return how

    def _encode(self, texts: Sequence[str], prompt: str) -> tuple[Ids, Offsets]:
        if not len(texts):
            return np.zeros(0, np.int32), np.zeros(1, np.int64)
        try:
            return self._tokenizer.encode([prompt + text for text in texts] if prompt else texts)
        except BaseException as failure:  # a panic of compiled code is no Exception
            raise encoding_error(texts, failure) from failure

    def _pooled(self, batch: TokenBatch, how: EmbedPlan) -> Float32:
        engine = self._engine
        if not how.normalize and self._unnormalized is not None:
            engine = self._unnormalized
        vectors = engine.pool(batch.ids, batch.offsets)
        if how.dimensions < self.dimensions:
            vectors = np.ascontiguousarray(vectors[:, : how.dimensions])
        return vectors

    def _finished(
        self,
        texts: Sequence[str],
        batch: TokenBatch,
        how: EmbedPlan,
        vectors: Float32,
        complete: bool,
    ) -> Warnings:
        """The texts' warnings; divides sums that are to be means."""
        if complete:
            # No row is zero, so every text has a known token, and nothing needs counting.
            warnings = warnings_of(batch.lengths, None)
        else:
            known = batch.lengths - count(batch.ids, batch.offsets, self._unk_id)
            if not how.normalize and (self._unnormalized or self._engine).scale is Scale.SUM:
                vectors /= np.maximum(known, 1).astype(np.float32)[:, None]
            warnings = warnings_of(batch.lengths, known)
        return with_empty_texts(warnings, texts) if how.prompt else warnings
