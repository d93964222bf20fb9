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
from stillroom_server.distillation.tuning import mapping, start, targets, training
from stillroom_server.distillation.tuning.bags import Bags, expansion, write_bags
from stillroom_server.distillation.tuning.growth import grow
from stillroom_server.distillation.tuning.options import DEFAULT_PAIRS, DEFAULT_WORDS, TunedOptions
from stillroom_server.distillation.tuning.pairs import PairGains, occurrences
from stillroom_server.distillation.tuning.protocols import Context, Corpus, Features, Shard
from stillroom_server.distillation.tuning.words import Spelling, Usage
from stillroom_server.distillation.vocabulary import StudentVocabulary

_REVISION = 5  # raise when the same inputs give another student, so that old states lapse
_SURVEYED = 128  # shards that words are counted in and the closed form is fitted to, at most
_LEAST_WORD = 5  # occurrences from which a word, or a pair, is frequent
_LEAST_PAIR = 8
_MOST_CANDIDATES = 20_000  # pairs
_ROUNDS = 2  # of the closed form


class Work:
    """``key`` names it: another corpus, vocabulary or other options are other work.

    The last ``composed`` training shards are fitted to and trained on; words, their frequencies and
    the targets' axes are those of the others.

    Call ``prepare`` first. ``vocabulary``, ``expansion``, ``training`` and ``held_out`` (bags) are
    then those of the student.
    """

    def __init__(
        self,
        vocabulary: StudentVocabulary,
        encode_rows: Callable[[], NDArray[np.float32]],
        corpus: Corpus,
        features: Features,
        options: TunedOptions,
        context: Context,
        folder: Path,
        composed: int = 0,
    ) -> None:
        self._base = vocabulary
        self._encode_rows = encode_rows
        self._corpus = corpus
        self._features = features
        self._options = options
        self._context = context
        what = json.dumps([_REVISION, corpus.digest, features.dim, options.to_json()])
        self.key = hashlib.sha256((what + vocabulary.tokenizer_json).encode()).hexdigest()
        self._folder = folder / self.key[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._own = len(corpus.training) - composed
        self._surveyed = surveyed(self._own)
        self._fitted_to = [*self._surveyed, *range(self._own, len(corpus.training))]

    def prepare(self, asked: int | float | None) -> None:
        """Axes of ``asked`` dimensions, the vocabulary, and the bags of its rows."""
        self.axes, self.explained = self._axes(asked)
        words, candidates = self._survey()
        self.vocabulary = grow(self._base, words, [])
        self._unpaired = self._bags("prepare", "words", self._corpus.training[: self._own])
        self._usage = self._unpaired.usage(self._context.check_cancelled)
        if not self._usage[: len(self._base)].any():
            raise FailedPrecondition(
                "no text of the corpus holds a token of the teacher's vocabulary; give texts in a"
                " language that it knows",
                reason="NO_KNOWN_TOKENS",
                field="corpus",
            )
        if candidates:
            self.vocabulary = grow(self._base, words, self._chosen(candidates))
        self.training = self._unpaired
        if candidates or self._own < len(self._corpus.training):
            self.training = self._bags("fit", "training", self._corpus.training)
        self.held_out = self._bags("fit", "held-out", self._corpus.held_out)
        self.expansion = expansion(self.vocabulary)

    def text(self, index: int) -> training.Texts:
        """The texts of a training shard."""
        return self.training.shard(index), _finite(self._features.training(index))

    def judged(self) -> training.Texts:
        """The held out texts, which are few."""
        from scipy import sparse

        bags = [self.held_out.shard(index) for index in range(len(self.held_out))]
        vectors = [self._features.held_out(index) for index in range(len(self.held_out))]
        return sparse.vstack(bags, format="csr"), _finite(np.concatenate(vectors))

    def fitted(self) -> NDArray[np.float32]:
        """The closed form, (rows, d), its rows as bags count them."""

        def make() -> dict[str, NDArray[Any]]:
            # What pairs add is a difference, and begins as none. Words begin anew: alone, they took
            # over a part of what pairs say.
            prior = _longer(self._mapped(), self.training.rows)
            blocks = self._blocks(self.training, self._fitted_to)
            return {"table": self._fit(blocks, prior, _ROUNDS)}

        return self._kept("fitted", make)["table"]

    def _mapped(self) -> NDArray[np.float32]:
        """Where the teacher's rows map to, (V, d)."""

        def make() -> dict[str, NDArray[Any]]:
            rows = self._rows()
            weights = mapping.token_weights(self._usage[: len(rows)])
            weights[list(self._base.silent)] = 0.0
            blocks = self._blocks(self._unpaired, self._surveyed)
            tell = self._context.check_cancelled
            return {"table": mapping.mapped(blocks, rows, weights, tell)}

        return self._kept("mapped", make)["table"]

    def _chosen(self, candidates: Sequence[str]) -> list[str]:
        """The pairs that gain the most."""
        path = self._folder / "pairs.json"
        if not path.exists():
            # One round will do for what is left to say.
            blocks = self._blocks(self._unpaired, self._surveyed)
            table = self._fit(blocks, _longer(self._mapped(), self._unpaired.rows), 1)
            spelling = Spelling(Tokenizer.from_str(self._base.tokenizer_json))
            places = {pair: place for place, pair in enumerate(candidates)}
            gains = PairGains(len(candidates), table.shape[1])
            for index, block in zip(self._surveyed, blocks, strict=True):
                texts = self._corpus.training[index].texts()
                found = occurrences(texts, spelling, places, self._context.check_cancelled)
                gains.add(found, block, table)
            asked = self._options.grow_pairs
            best = gains.best(DEFAULT_PAIRS if asked is None else asked)
            write_whole(path, json.dumps([candidates[place] for place in best]).encode())
        chosen: list[str] = json.loads(path.read_text(encoding="utf-8"))
        return chosen

    def _survey(self) -> tuple[list[str], list[str]]:
        """The words to add, and the pairs to choose from, the most frequent first."""
        path = self._folder / "survey.json"
        if not path.exists():
            usage = Usage(Spelling(Tokenizer.from_str(self._base.tokenizer_json)))
            for done, index in enumerate(self._surveyed):
                self._context.progress("prepare", done, len(self._surveyed), unit="shards")
                usage.add(self._corpus.training[index].texts(), self._context.check_cancelled)
            words, pairs = self._options.grow_words, self._options.grow_pairs
            # Most words are one token already, so all are looked at.
            frequent = usage.frequent(usage.words, _LEAST_WORD, len(usage.words))
            most = DEFAULT_WORDS if words is None else words
            grown = grow(self._base, frequent, [], most) if most else None
            candidates = usage.frequent(usage.pairs, _LEAST_PAIR, _MOST_CANDIDATES)
            survey = {
                "words": list(grown.words) if grown else [],
                "pairs": [] if pairs == 0 else candidates,
            }
            write_whole(path, json.dumps(survey).encode())
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["words"], kept["pairs"]

    def _bags(self, phase: str, name: str, shards: Sequence[Shard]) -> Bags:
        """Of the vocabulary as it is now."""
        vocabulary = self.vocabulary
        bags = Bags(self._folder, name, shards, len(vocabulary))

        def tell(done: int) -> None:
            self._context.progress(phase, done, len(shards), unit="shards")
            self._context.check_cancelled()

        write_bags(
            bags,
            Tokenizer.from_str(vocabulary.tokenizer_json),
            self._base.silent,
            expansion(vocabulary),
            self._options.static.max_tokens,
            tell,
        )
        return bags

    def _axes(self, asked: int | float | None) -> tuple[NDArray[np.float32], float]:
        """The targets' axes (h, d) and the share they explain."""

        def make() -> dict[str, NDArray[Any]]:
            moment = np.zeros((self._features.dim,) * 2)
            for index in range(self._own):
                self._context.check_cancelled()
                moment += targets.moment_of(_finite(self._features.training(index)))
            vocabulary = targets.moment_of(self._rows())
            axes, explained = targets.leading_axes(moment, vocabulary, asked)
            return {"axes": axes, "explained": np.array(explained)}

        kept = self._kept("axes", make)
        return kept["axes"], float(kept["explained"])

    def _fit(
        self, blocks: mapping.Blocks, prior: NDArray[np.float32], rounds: int
    ) -> NDArray[np.float32]:
        def tell(done: int, total: int) -> None:
            self._context.progress("fit", done, total, unit="rounds")
            self._context.check_cancelled()

        table = start.fit(blocks, prior, rounds, tell)
        if not np.isfinite(table).all():
            raise FailedPrecondition(
                "the closed form has no finite solution; the corpus or the teacher is degenerate",
                reason="TRAINING_DIVERGED",
                field="corpus",
            )
        return table

    def _blocks(self, bags: Bags, shards: Sequence[int]) -> mapping.Blocks:
        def wanted(index: int) -> NDArray[np.float32]:
            return targets.project(_finite(self._features.training(index)), self.axes)

        return [mapping.Block(partial(bags.shard, i), partial(wanted, i)) for i in shards]

    def _rows(self) -> NDArray[np.float32]:
        return self._kept("rows", lambda: {"rows": self._encode_rows()})["rows"]

    def _kept(
        self, name: str, make: Callable[[], dict[str, NDArray[Any]]]
    ) -> dict[str, NDArray[Any]]:
        """Arrays that are made once."""
        path = self._folder / f"{name}.npz"
        if not path.exists():
            stream = io.BytesIO()
            np.savez(stream, allow_pickle=False, **make())
            write_whole(path, stream.getvalue())
        with np.load(path) as stored:
            return dict(stored)


def surveyed(count: int) -> list[int]:
    """Which of so many shards words are counted in: at most _SURVEYED, evenly chosen."""
    taken = min(count, _SURVEYED)
    return [index * count // taken for index in range(taken)]


def _longer(table: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """With rows of zeros behind it."""
    return np.concatenate([table, np.zeros((rows - len(table), table.shape[1]), table.dtype)])


def _finite(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(vectors).all():
        raise FailedPrecondition(
            "the teacher's vectors are not finite; its weights are damaged or overflow",
            reason="TEACHER_NOT_FINITE",
            field="teacher",
        )
    return vectors
