"""Texts to vectors with a student that is a transformer: tokenize, cut, run padded batches.

The same interface as ``StudentEmbedder``, and ``submit`` for event loops: the work is heavy, so it
is queued and done by the lanes' threads, and stops when its caller has left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from stillroom_registry.errors import (
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    StillroomError,
)
from stillroom_server.inference.embedder import EmbedderInfo
from stillroom_server.inference.engines.base import Ids, Offsets
from stillroom_server.inference.engines.onnx import GraphError
from stillroom_server.inference.lazy import Lazy
from stillroom_server.inference.numerics import normalize
from stillroom_server.inference.one_text import OneText
from stillroom_server.inference.options import DEFAULT_OPTIONS, EmbedOptions, EmbedPlan, plan
from stillroom_server.inference.results import EmbedResult, TextWarning, Timings
from stillroom_server.inference.text_errors import encoding_error, refuse_too_long
from stillroom_server.inference.tokenizers.base import TokenBatch, Unsupported, limit
from stillroom_server.inference.tokenizers.choose import ChosenTokenizer, choose_tokenizer
from stillroom_server.inference.tokenizers.huggingface import HuggingFaceTokenizer, TokenizedText
from stillroom_server.inference.transformer.files import ONNX_FILE, TransformerFiles
from stillroom_server.inference.transformer.graph import TransformerGraph
from stillroom_server.inference.transformer.lanes import Batch, Lanes
from stillroom_server.inference.transformer.special_tokens import (
    SpecialTokens,
    find_special_tokens,
)
from stillroom_server.inference.transformer.speed import Speed
from stillroom_server.inference.verdicts import FileVerdicts, MemoryVerdicts

_NEVER_INLINE = 1 << 40


class TransformerEmbedder:
    """One transformer student, ready to embed. Make it with ``load``."""

    embed_one: OneText | None = None  # it has no sooner way for one text

    def __init__(
        self,
        files: TransformerFiles,
        tokenizer: ChosenTokenizer,
        special: SpecialTokens,
        graph: TransformerGraph,
        lanes: Lanes,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tokenizer = tokenizer.engine
        self._special = special
        self._graph = graph
        self._lanes = lanes
        self._clock = clock
        self._default_prompt = files.default_prompt
        self._pools_prompt = files.pools_prompt
        self._reference = Lazy(lambda: HuggingFaceTokenizer(files.tokenizer_json))
        self._speed = Speed()
        self.prompts = dict(files.prompts)
        self.dimensions = graph.dimensions
        self.max_tokens = files.max_tokens
        self.info = EmbedderInfo(
            engine=graph.name,
            engine_reason=_reason(graph, lanes),
            tokenizer=tokenizer.engine.name,
            tokenizer_reason=tokenizer.reason,
            dimensions=self.dimensions,
            max_tokens=self.max_tokens,
            memory_bytes=graph.nbytes + tokenizer.engine.nbytes + len(files.tokenizer_json),
        )
        self._default_plan = self._plan(DEFAULT_OPTIONS)

    @classmethod
    def load(
        cls,
        folder: Path,
        tokenizer: str = "auto",
        *,
        cache: Path | None = None,
        blame: type[StillroomError] = DataLoss,
        lanes: Lanes | None = None,
    ) -> TransformerEmbedder:
        """Load the student in ``folder``; blocks for 0.3 to 3 s. Arguments as in
        ``StudentEmbedder.load``; ``lanes`` compute, its own where none are given."""
        files = TransformerFiles.load(folder, blame=blame)
        verdicts = FileVerdicts(cache) if cache else MemoryVerdicts()
        try:
            special = find_special_tokens(files.tokenizer_json, files.plain_json)
            chosen = choose_tokenizer(files.plain_json, tokenizer, verdicts=verdicts)
            if special.size >= files.max_tokens:
                raise Unsupported(f"its special tokens alone fill the {files.max_tokens} allowed")
            graph = TransformerGraph(
                files.graph,
                vocabulary_size=files.vocabulary_size,
                max_tokens=files.max_tokens,
                pad_id=files.pad_id,
                dimensions=files.dimensions,
            )
        except (Unsupported, GraphError) as failure:
            graph_failed = isinstance(failure, GraphError)
            file = ONNX_FILE if graph_failed else "tokenizer.json"
            reason = "ONNX_FILE_INVALID" if graph_failed else "TOKENIZER_INVALID"
            raise blame(f"{file}: {failure}.", reason=reason, metadata={"file": file}) from failure
        return cls(files, chosen, special, graph, lanes or Lanes())

    def validate(self, options: EmbedOptions) -> EmbedPlan:
        """Check options against this student, without touching a text; its default prompt applies.

        Raises InvalidArgument as ``options.plan`` does, MAX_TOKENS_OUT_OF_RANGE also where only
        special tokens would be left, and FailedPrecondition (PROMPT_UNAVAILABLE) for a prompt whose
        tokens should not be pooled, which the graph cannot do.
        """
        return self._default_plan if options is DEFAULT_OPTIONS else self._plan(options)

    def cost(self, texts: Sequence[str], options: EmbedOptions = DEFAULT_OPTIONS) -> int:
        """More characters than may ever be embedded inline; see ``submit``."""
        return _NEVER_INLINE + self._characters(texts, self.validate(options))

    def embed(self, texts: Sequence[str], options: EmbedOptions = DEFAULT_OPTIONS) -> EmbedResult:
        """Embed texts and wait for it. An empty list gives an empty result.

        Vectors with ``normalize`` off are the graph's own, which normalizes if the student does.
        Raises what ``validate`` raises, and InvalidArgument on ``texts[i]``: TEXT_TOO_LONG when
        ``truncate`` is off, INVALID_UTF8 for lone surrogates.
        """
        return self.submit(texts, options, wait=True).result()

    def submit(
        self,
        texts: Sequence[str],
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        seconds: float | None = None,
        wait: bool = False,
    ) -> Future[EmbedResult]:
        """``embed`` by the lanes, for callers that have ``seconds``; cancel it to stop it.

        Raises at once what ``validate`` raises and, unless ``wait``, ResourceExhausted as
        ``Lanes.admit`` does.
        """
        how = self.validate(options)
        if not wait:
            self._lanes.admit(seconds)
        characters = self._characters(texts, how)
        work = _EmbedWork(self, texts, how, characters, self._clock())
        return self._lanes.submit(work, self._speed.seconds(characters) / self._lanes.threads)

    def tokenize(self, texts: Sequence[str], max_tokens: int | None = None) -> list[TokenizedText]:
        """Show how texts split, special tokens included; at most ``max_tokens`` of each."""
        try:
            return self._reference.get().tokenize(texts, max_tokens, special_tokens=True)
        except BaseException as failure:  # a panic of compiled code is no Exception
            raise encoding_error(texts, failure) from failure

    def _plan(self, options: EmbedOptions) -> EmbedPlan:
        if options.prompt is None and options.prompt_name is None and self._default_prompt:
            options = replace(options, prompt_name=self._default_prompt)
        how = plan(
            options, dimensions=self.dimensions, max_tokens=self.max_tokens, prompts=self.prompts
        )
        if how.max_tokens <= self._special.size:
            raise InvalidArgument(
                f"max_tokens is {how.max_tokens}; this student puts {self._special.size} special"
                f" tokens around a text, so it takes {self._special.size + 1} to"
                f" {self.max_tokens}.",
                reason="MAX_TOKENS_OUT_OF_RANGE",
                field="options.max_tokens",
                metadata={"limit": str(self.max_tokens), "value": str(how.max_tokens)},
            )
        if how.prompt and not self._pools_prompt:
            raise FailedPrecondition(
                "This student should not pool the tokens of a prompt, and its graph cannot leave"
                " them out; embed without a prompt.",
                reason="PROMPT_UNAVAILABLE",
                field="options.prompt",
            )
        return how

    def _characters(self, texts: Sequence[str], how: EmbedPlan) -> int:
        return sum(map(len, texts)) + len(how.prompt) * len(texts)


class _EmbedWork:
    """One request in the lanes."""

    def __init__(
        self,
        embedder: TransformerEmbedder,
        texts: Sequence[str],
        how: EmbedPlan,
        characters: int,
        submitted: float,
    ) -> None:
        self._embedder = embedder
        self._texts = texts
        self._how = how
        self._characters = characters
        self._submitted = submitted
        self._seconds: list[float] = []  # of each batch; appended by any thread

    def prepare(self) -> Sequence[Batch]:
        embedder = self._embedder
        start = embedder._clock()
        self._batch = self._tokenized()
        ids, offsets = embedder._special.surround(self._batch.ids, self._batch.offsets)
        self._lengths = offsets[1:] - offsets[:-1]
        self._out = np.zeros((len(self._texts), embedder.dimensions), np.float32)
        runs = embedder._graph.plan(self._lengths)
        self._tokenize_seconds = embedder._clock() - start
        return [partial(self._run, ids, offsets, rows) for rows in runs]

    def finish(self) -> EmbedResult:
        embedder, how, vectors = self._embedder, self._how, self._out
        start = embedder._clock()
        if how.dimensions < embedder.dimensions:
            vectors = np.ascontiguousarray(vectors[:, : how.dimensions])
        if how.normalize:
            normalize(vectors)
        busy = sum(self._seconds)
        embedder._speed.measured(self._characters, busy)
        end = embedder._clock()
        infer = busy / max(1, min(len(self._seconds), embedder._lanes.threads)) + end - start
        waited = end - self._submitted - self._tokenize_seconds - infer
        return EmbedResult(
            vectors,
            self._lengths.astype(np.int32),
            self._batch.truncated,
            self._warnings(),
            Timings(self._tokenize_seconds, infer, max(0.0, waited)),
        )

    def _tokenized(self) -> TokenBatch:
        """The texts' own tokens, cut so that the special ones have room."""
        embedder, how, texts = self._embedder, self._how, self._texts
        special = embedder._special.size
        ids, offsets = np.zeros(0, np.int32), np.zeros(1, np.int64)
        if len(texts):
            prompted = [how.prompt + text for text in texts] if how.prompt else texts
            try:
                ids, offsets = embedder._tokenizer.encode(prompted)
            except BaseException as failure:  # a panic of compiled code is no Exception
                raise encoding_error(texts, failure) from failure
        if not how.truncate:
            refuse_too_long(offsets + special * np.arange(len(offsets)), how.max_tokens)
        return limit(ids, offsets, how.max_tokens - special, left=how.truncate_left)

    def _run(self, ids: Ids, offsets: Offsets, rows: Offsets) -> None:
        start = self._embedder._clock()
        try:
            self._embedder._graph.run(ids, offsets, rows, self._out)
        except Exception as failure:  # whatever a graph may raise when it runs
            raise Internal(
                f"The student failed on these texts: {failure}", reason="STUDENT_FAILED"
            ) from failure
        self._seconds.append(self._embedder._clock() - start)

    def _warnings(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """EMPTY for texts without a token of their own, as of teachers."""
        empty = self._batch.lengths == 0
        if self._how.prompt:
            blank = (not text or text.isspace() for text in self._texts)
            empty |= np.fromiter(blank, np.bool_, len(self._texts))
        return np.where(empty, np.uint8(TextWarning.EMPTY), np.uint8(TextWarning.NONE))


def _reason(graph: TransformerGraph, lanes: Lanes) -> str:
    threads = f"{lanes.threads} thread{'s' if lanes.threads > 1 else ''} for all transformers"
    if graph.trial.batchable:
        return f"a transformer; the same in any batch within {graph.trial.worst:.0e}; {threads}"
    return (
        f"a transformer; one text a run, for in a batch vectors move by {graph.trial.worst:.0e}; "
        f"{threads}"
    )
