"""Texts to labels with one loaded classifier.

On a student all of it happens here: tokenize, pool, score. On a teacher the vectors come from
elsewhere (``classify_vectors``). No call changes what a classifier holds, so calls of any threads
with any options give what each would give alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import accumulate, chain, pairwise
from pathlib import Path

import numpy as np

from stillroom_registry.errors import DataLoss, FailedPrecondition, StillroomError
from stillroom_server.inference.classifier.answers import answer, answer_each
from stillroom_server.inference.classifier.classified import Classified, ClassifyTimings, share_of
from stillroom_server.inference.classifier.files import ClassifierFiles, EncoderKind
from stillroom_server.inference.classifier.head import Head
from stillroom_server.inference.classifier.one_text import OneLabel
from stillroom_server.inference.classifier.plans import (
    DEFAULT_CLASSIFY_OPTIONS,
    ClassifyOptions,
    ClassifyPlan,
    plan,
)
from stillroom_server.inference.embedder import EmbedderInfo, StudentEmbedder
from stillroom_server.inference.embedders import Embedder
from stillroom_server.inference.engines.base import Float32
from stillroom_server.inference.options import EmbedPlan
from stillroom_server.inference.results import EmbedResult, Warnings
from stillroom_server.inference.transformer.embedder import TransformerEmbedder
from stillroom_server.inference.transformer.lanes import Lanes


class Classifier:
    """One classifier, ready to classify. Make it with ``load``.

    ``classify_one`` answers one short text sooner; None where there is no such way.
    """

    def __init__(
        self,
        files: ClassifierFiles,
        embedder: Embedder | None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.stated = files.stated
        self.description = files.description
        self.labels = files.description.labels
        self.dimensions = files.description.dimensions
        self.encoder = files.encoder
        self.encoder_version = files.description.encoder_version
        self._head = Head(files.head, files.description.temperature)
        self._embedder = embedder
        self._clock = clock
        self._default_plan = plan(DEFAULT_CLASSIFY_OPTIONS, files.description)
        self.max_tokens = files.description.max_tokens
        self._default_encoding: EmbedPlan | None = None
        if embedder is not None:
            self._default_encoding = embedder.validate(self._default_plan.encoding)
            self.max_tokens = self._default_encoding.max_tokens
        self.info = _info(self, embedder, self._head)
        self.classify_one: OneLabel | None = None
        if isinstance(embedder, StudentEmbedder):
            self.classify_one = OneLabel.of(embedder, self._head, self._default_plan, clock)

    @classmethod
    def load(
        cls,
        folder: Path,
        tokenizer: str = "auto",
        *,
        cache: Path | None = None,
        blame: type[StillroomError] = DataLoss,
        lanes: Lanes | None = None,
    ) -> Classifier:
        """Load the classifier in ``folder``; blocks for 0.1 to 3 s, so call it off an event loop.

        Arguments as in ``StudentEmbedder.load`` and ``TransformerEmbedder.load``. Raises ``blame``
        naming the file.
        """
        files = ClassifierFiles.load(folder, blame=blame)
        embedder: Embedder | None = None
        if files.encoder is EncoderKind.STATIC:
            embedder = StudentEmbedder.load(folder, "gather", tokenizer, cache=cache, blame=blame)
        elif files.encoder is EncoderKind.TRANSFORMER:
            embedder = TransformerEmbedder.load(
                folder, tokenizer, cache=cache, blame=blame, lanes=lanes
            )
        if embedder is not None:
            _check_fit(files, embedder, blame)
        return cls(files, embedder)

    @property
    def needs_teacher(self) -> bool:
        """Whether vectors must be brought: by the teacher ``encoder_version``, as a plan's
        ``encoding`` says, to ``classify_vectors``."""
        return self._embedder is None

    @property
    def needs_lanes(self) -> bool:
        """Whether ``submit`` must be used on an event loop, as the work is heavy."""
        return isinstance(self._embedder, TransformerEmbedder)

    def plan(self, options: ClassifyOptions = DEFAULT_CLASSIFY_OPTIONS) -> ClassifyPlan:
        """Check options, without touching a text. Raises InvalidArgument as ``plans.plan`` does."""
        if options is DEFAULT_CLASSIFY_OPTIONS or options == DEFAULT_CLASSIFY_OPTIONS:
            return self._default_plan
        return plan(options, self.description)

    def cost(self, texts: Sequence[str]) -> int:
        """Characters to tokenize, prompts included: to decide whether a call may run inline."""
        default = self._default_encoding
        prompt = 0 if default is None else len(default.prompt)
        return sum(map(len, texts)) + prompt * len(texts)

    def classify(self, texts: Sequence[str], how: ClassifyPlan | None = None) -> Classified:
        """Classify texts. An empty list gives an empty result.

        Raises InvalidArgument on ``texts[i]``: TEXT_TOO_LONG when ``truncate`` is off, INVALID_UTF8
        for lone surrogates; FailedPrecondition where the vectors must come from a teacher.
        """
        how = how or self._default_plan
        embedder = self._embedder
        if isinstance(embedder, TransformerEmbedder):
            return self.submit(texts, how, wait=True).result()
        if embedder is None:
            raise self._no_vectors()
        (classified,) = self._classify(embedder, texts, (slice(0, len(texts)),), how)
        return classified

    def classify_together(
        self, lists: Sequence[Sequence[str]], how: ClassifyPlan | None = None
    ) -> list[Classified]:
        """``classify`` of each list, of two texts or more, to the bit, in less time than one by
        one. Raises what that raises of any, which does not say of which. Not for classifiers that
        need lanes or a teacher."""
        if not isinstance(self._embedder, StudentEmbedder):
            raise TypeError("only classifiers on static students classify lists together")
        ends = list(accumulate(map(len, lists), initial=0))
        parts = [slice(*each) for each in pairwise(ends)]
        texts = list(chain.from_iterable(lists))
        return self._classify(self._embedder, texts, parts, how or self._default_plan)

    def _classify(
        self,
        embedder: StudentEmbedder,
        texts: Sequence[str],
        parts: Sequence[slice],
        how: ClassifyPlan,
    ) -> list[Classified]:
        clock = self._clock
        start = clock()
        encoding = self._encoding(embedder, how)
        batch = embedder.tokens(texts, encoding)
        tokenized = clock()
        vectors, factors, warnings = embedder.scaled_vectors(texts, batch, encoding)
        inferred = clock()
        scores = self._head.logits(vectors, batch.ids, batch.offsets, parts, factors)
        if how.element_type is not None and factors is not None:
            vectors *= factors[:, None]
        answers = answer_each(scores, warnings, how, parts)
        lengths = batch.lengths.astype(np.int32)
        took = (tokenized - start, inferred - tokenized, clock() - inferred)
        return [
            Classified(
                *each,
                lengths[part],
                batch.truncated[part],
                warnings[part],
                None if how.element_type is None else vectors[part],
                share_of(took, part, len(texts)),
            )
            for each, part in zip(answers, parts, strict=True)
        ]

    def submit(
        self,
        texts: Sequence[str],
        how: ClassifyPlan | None = None,
        *,
        seconds: float | None = None,
        wait: bool = False,
    ) -> Future[Classified]:
        """``classify`` by the lanes, where ``needs_lanes``; arguments and errors as in
        ``TransformerEmbedder.submit``. Cancel it to stop it."""
        if not isinstance(self._embedder, TransformerEmbedder):
            raise TypeError("this classifier needs no lanes")
        plan = how or self._default_plan
        embedded = self._embedder.submit(texts, plan.encoding, seconds=seconds, wait=wait)
        classified: Future[Classified] = Future()

        def embedded_done(done: Future[EmbedResult]) -> None:
            if done.cancelled():
                classified.cancel()
            if not classified.set_running_or_notify_cancel():
                return
            try:
                classified.set_result(self.classify_vectors(done.result(), plan))
            except BaseException as failure:
                classified.set_exception(failure)

        def classified_done(done: Future[Classified]) -> None:
            if done.cancelled():
                embedded.cancel()

        classified.add_done_callback(classified_done)
        embedded.add_done_callback(embedded_done)
        return classified

    def classify_vectors(
        self, embedded: EmbedResult, how: ClassifyPlan | None = None
    ) -> Classified:
        """Classify texts of which there are vectors (n, d) already, embedded as ``how.encoding``
        says. Raises FailedPrecondition when they have another number of dimensions."""
        how = how or self._default_plan
        vectors = embedded.vectors
        if vectors.ndim != 2 or vectors.shape[1] != self.dimensions:
            raise FailedPrecondition(
                f"{self.encoder_version or 'The encoder'} gives vectors of "
                f"{vectors.shape[-1]} dimensions, the classifier reads {self.dimensions}.",
                reason="ENCODER_MISMATCH",
            )
        start = self._clock()
        answers = answer(self._head.logits(vectors), embedded.warnings, how)
        took = embedded.timings
        return Classified(
            *answers,
            embedded.tokens,
            embedded.truncated,
            embedded.warnings,
            None if how.element_type is None else vectors,
            ClassifyTimings(took.tokenize, took.infer, self._clock() - start, took.queue),
        )

    def scores(self, texts: Sequence[str]) -> tuple[Float32, Warnings]:
        """The calibrated scores (n, K) of texts, and their warnings."""
        embedder = self._embedder
        if embedder is None:
            raise self._no_vectors()
        if isinstance(embedder, TransformerEmbedder):
            result = embedder.embed(texts, self._default_plan.encoding)
            return self._head.logits(result.vectors), result.warnings
        encoding = self._encoding(embedder, self._default_plan)
        batch = embedder.tokens(texts, encoding)
        vectors, factors, warnings = embedder.scaled_vectors(texts, batch, encoding)
        scores = self._head.logits(vectors, batch.ids, batch.offsets, factors=factors)
        return scores, warnings

    def _encoding(self, embedder: StudentEmbedder, how: ClassifyPlan) -> EmbedPlan:
        default = self._default_encoding
        if default is not None and how.encoding is self._default_plan.encoding:
            return default
        return embedder.validate(how.encoding)

    def _no_vectors(self) -> FailedPrecondition:
        return FailedPrecondition(
            f"This classifier needs vectors of {self.encoder_version}.", reason="NEEDS_TEACHER"
        )


def _check_fit(files: ClassifierFiles, embedder: Embedder, blame: type[StillroomError]) -> None:
    """The encoder must give what the head reads."""
    try:
        found = embedder.validate(files.description.encoding).dimensions
    except StillroomError as failure:
        raise blame(
            f"classifier.json: its encoding does not fit its encoder: {failure.message}",
            reason="DESCRIPTION_INVALID",
            metadata={"file": "classifier.json"},
        ) from failure
    if found != files.description.dimensions:
        raise blame(
            f"classifier.json: the head reads {files.description.dimensions} dimensions, the "
            f"encoder gives {found}.",
            reason="DESCRIPTION_INVALID",
            metadata={"file": "classifier.json"},
        )


def _info(classifier: Classifier, embedder: Embedder | None, head: Head) -> EmbedderInfo:
    """What serves it, as of students."""
    own = embedder.info if embedder else None
    return EmbedderInfo(
        engine=own.engine if own else "teacher",
        engine_reason=(own.engine_reason if own else f"vectors of {classifier.encoder_version}"),
        tokenizer=own.tokenizer if own else "teacher",
        tokenizer_reason=own.tokenizer_reason if own else "the teacher's",
        dimensions=classifier.dimensions,
        max_tokens=classifier.max_tokens,
        memory_bytes=(own.memory_bytes if own else 0) + head.nbytes,
    )
