"""The texts composed of a corpus: once an operation, the same in every attempt."""

from __future__ import annotations

from pathlib import Path

import pytest
from distillation.contexts import Context
from distillation.teachers import CORPUS

from stillroom_registry.errors import Cancelled
from stillroom_server.distillation.context import Silent
from stillroom_server.distillation.corpus import Corpus, CorpusOptions, ingest
from stillroom_server.distillation.recipes.composed import with_composed
from stillroom_server.distillation.tuning.compose import Composer
from stillroom_server.distillation.tuning.options import COMPOSED_SHARE
from stillroom_server.distillation.vocabulary import StudentVocabulary, build_vocabulary


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    texts = [f"{text} {at}" for at in range(40) for text in CORPUS if len(text.split()) > 3]
    return ingest({"texts": texts}, tmp_path / "corpus", CorpusOptions(), Silent())


@pytest.fixture
def vocabulary(bert: Path) -> StudentVocabulary:
    return build_vocabulary((bert / "tokenizer.json").read_text(encoding="utf-8"))


def test_new_shards_stand_behind_the_corpus_s_own(
    corpus: Corpus, vocabulary: StudentVocabulary, tmp_path: Path
) -> None:
    more = with_composed(corpus, vocabulary, 0, tmp_path / "composed", Silent())
    own = len(corpus.training)
    assert more.training[:own] == corpus.training
    assert more.held_out == corpus.held_out
    added = sum(shard.count for shard in more.training[own:])
    assert added == int(COMPOSED_SHARE * sum(shard.count for shard in corpus.training))
    assert more.digest != corpus.digest


def test_a_later_attempt_finds_them(
    corpus: Corpus,
    vocabulary: StudentVocabulary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "composed"
    first = with_composed(corpus, vocabulary, 0, folder, Silent())
    elsewhere = with_composed(corpus, vocabulary, 0, tmp_path / "again", Silent())
    assert elsewhere.digest == first.digest
    assert with_composed(corpus, vocabulary, 1, tmp_path / "seed", Silent()).digest != first.digest
    made: list[int] = []
    real = Composer.compose

    def compose(self: Composer, index: int, *rest: object) -> list[str]:
        made.append(index)
        return real(self, index, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Composer, "compose", compose)
    assert with_composed(corpus, vocabulary, 0, folder, Silent()) == first
    assert made == []
    damaged = first.training[-1].path
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert with_composed(corpus, vocabulary, 0, folder, Silent()) == first
    assert made, "what is damaged is made again"


def test_composing_is_cancelled(
    corpus: Corpus, vocabulary: StudentVocabulary, tmp_path: Path
) -> None:
    context = Context(tmp_path / "workspace")
    context.phases.append("featurize")
    context.cancel_in = "featurize"
    with pytest.raises(Cancelled):
        with_composed(corpus, vocabulary, 0, tmp_path / "composed", context)
