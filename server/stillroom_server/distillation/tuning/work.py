"""What comes before training, each step kept in a folder once it is done."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.corpus.shards import write_whole
from stillroom_server.distillation.tuning import start, targets, training
from stillroom_server.distillation.tuning.bags import Bags, expansion, write_bags
from stillroom_server.distillation.tuning.growth import GrownVocabulary, grow
from stillroom_server.distillation.tuning.options import (
    DEFAULT_PAIRS,
    DEFAULT_WORDS,
    TunedOptions,
)
from stillroom_server.distillation.tuning.protocols import Context, Corpus, Features
from stillroom_server.distillation.tuning.words import Usage
from stillroom_server.distillation.vocabulary import StudentVocabulary

Encode = Callable[[], NDArray[np.float32]]

_REVISION = 1  # raise when the same inputs give another student, so that old states lapse
_SURVEYED = 128  # shards that words are counted in and the closed form is fitted to, at most
_LEAST_WORD = 5  # occurrences from which a word, or a pair, is frequent
_LEAST_PAIR = 8


class Work:
    """``key`` names it: another corpus, vocabulary or other options are other work."""

    def __init__(
        self,
        vocabulary: StudentVocabulary,
        encode_rows: Encode,
        corpus: Corpus,
        features: Features,
        options: TunedOptions,
        context: Context,
        folder: Path,
    ) -> None:
        self._vocabulary = vocabulary
        self._encode_rows = encode_rows
        self._corpus = corpus
        self._features = features
        self._options = options
        self._context = context
        what = json.dumps([_REVISION, corpus.digest, features.dim, options.to_json()])
        self.key = hashlib.sha256((what + vocabulary.tokenizer_json).encode()).hexdigest()
        self._folder = folder / self.key[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        self.vocabulary = self._grown()
        self.expansion = expansion(self.vocabulary)
        rows = len(self.vocabulary)
        self.training = Bags(self._folder, "training", corpus.training, rows)
        self.held_out = Bags(self._folder, "held-out", corpus.held_out, rows)

    def prepare(self) -> None:
        """Makes the bags, shard by shard."""
        tokenizer = Tokenizer.from_str(self.vocabulary.tokenizer_json)
        total = len(self._corpus.training) + len(self._corpus.held_out)
        done = 0
        for bags in (self.training, self.held_out):

            def tell(index: int, done: int = done) -> None:
                self._context.progress("prepare", done + index, total, unit="shards")
                self._context.check_cancelled()

            write_bags(
                bags,
                tokenizer,
                self._vocabulary.silent,
                self.expansion,
                self._options.static.max_tokens,
                tell,
            )
            done += len(bags)

    def axes(self, asked: int | float | None) -> tuple[NDArray[np.float32], float]:
        """The targets' axes (h, d) and the share they explain."""
        path = self._folder / "axes.npz"
        if not path.exists():
            moment = np.zeros((self._features.dim,) * 2)
            for index in range(len(self.training)):
                self._context.check_cancelled()
                moment += targets.moment_of(self._teacher(index))
            vocabulary = targets.moment_of(self._rows())
            found, explained = targets.leading_axes(moment, vocabulary, asked)
            _save(path, axes=found, explained=np.array(explained))
        stored = _load(path)
        return stored["axes"], float(stored["explained"])

    def judged(self) -> training.Texts:
        """The held out texts, which are few."""
        from scipy import sparse

        bags = [self.held_out.shard(index) for index in range(len(self.held_out))]
        vectors = [self._features.held_out(index) for index in range(len(self.held_out))]
        return sparse.vstack(bags, format="csr"), _finite(np.concatenate(vectors))

    def text(self, index: int) -> training.Texts:
        """The texts of a training shard."""
        return self.training.shard(index), self._teacher(index)

    def fitted(self, axes: NDArray[np.float32]) -> NDArray[np.float32]:
        """The closed form, (rows, d), its rows as bags count them."""
        path = self._folder / "fitted.npz"
        if not path.exists():
            _save(path, table=self._fit(axes))
        return _load(path)["table"]

    def _grown(self) -> GrownVocabulary:
        path = self._folder / "growth.json"
        if not path.exists():
            usage = Usage(Tokenizer.from_str(self._vocabulary.tokenizer_json))
            for shard in _spread(self._corpus.training):
                usage.add(shard.texts(), self._context.check_cancelled)
            words, pairs = self._options.grow_words, self._options.grow_pairs
            most_words = DEFAULT_WORDS if words is None else words
            most_pairs = DEFAULT_PAIRS if pairs is None else pairs
            grown = grow(
                self._vocabulary,
                # Most words are one token already, so all are looked at.
                usage.frequent(usage.words, _LEAST_WORD, len(usage.words)),
                usage.frequent(usage.pairs, _LEAST_PAIR, most_pairs),
                most_words,
            )
            chosen = {"words": grown.words, "pairs": grown.pairs}
            write_whole(path, json.dumps(chosen).encode())
        chosen = json.loads(path.read_text(encoding="utf-8"))
        return grow(self._vocabulary, chosen["words"], chosen["pairs"])

    def _fit(self, axes: NDArray[np.float32]) -> NDArray[np.float32]:
        usage = self.training.usage(self._context.check_cancelled)
        rows = self._rows()
        if not usage[: len(rows)].any():
            raise FailedPrecondition(
                "no text of the corpus holds a token of the teacher's vocabulary; give texts in a"
                " language that it knows",
                reason="NO_KNOWN_TOKENS",
                field="corpus",
            )

        def block(index: int) -> start.Block:
            bags, teacher = self.text(index)
            return bags, targets.project(teacher, axes)

        def tell(done: int, total: int) -> None:
            self._context.progress("fit", done, total, unit="rounds")
            self._context.check_cancelled()

        blocks = [partial(block, index) for index in _spread(range(len(self.training)))]
        # What grown rows add is a difference, and begins as none.
        weighted = np.zeros((len(usage), rows.shape[1]), dtype=np.float32)
        weighted[: len(rows)] = rows * start.token_weights(usage[: len(rows)])[:, None]
        weighted[list(self._vocabulary.silent)] = 0.0
        table = start.fit(blocks, start.mapped(blocks, weighted, tell), tell)
        if not np.isfinite(table).all():
            raise FailedPrecondition(
                "the closed form has no finite solution; the corpus or the teacher is degenerate",
                reason="TRAINING_DIVERGED",
                field="corpus",
            )
        return table

    def _teacher(self, index: int) -> NDArray[np.float32]:
        return _finite(self._features.training(index))

    def _rows(self) -> NDArray[np.float32]:
        path = self._folder / "rows.npz"
        if not path.exists():
            _save(path, rows=self._encode_rows())
        return _load(path)["rows"]


def _spread(items: Sequence[Any]) -> list[Any]:
    """At most _SURVEYED of them, evenly chosen."""
    count = min(len(items), _SURVEYED)
    return [items[index * len(items) // count] for index in range(count)]


def _finite(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(vectors).all():
        raise FailedPrecondition(
            "the teacher's vectors are not finite; its weights are damaged or overflow",
            reason="TEACHER_NOT_FINITE",
            field="teacher",
        )
    return vectors


def _save(path: Path, **arrays: NDArray[Any]) -> None:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    write_whole(path, stream.getvalue())


def _load(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path) as stored:
        return dict(stored)
