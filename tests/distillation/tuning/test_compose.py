"""Composed texts bring in the words that a corpus lacks, in pieces of its own texts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from distillation.tuning.support import (
    UNUSED,
    WORDS,
    Corpus,
    make_texts,
    make_vocabulary,
    run,
    speak,
)
from tokenizers import Tokenizer

from stillroom_server.distillation.tuning.compose import Composer, shares
from stillroom_server.distillation.tuning.options import COMPOSED_SHARE, MOST_COMPOSED
from stillroom_server.distillation.vocabulary import build_vocabulary

LONG = [word * 2 for word in WORDS]  # four letters: those of two are too short to be put in


def quiet() -> None:
    pass


def make_composer(seed: int = 0) -> Composer:
    return Composer(build_vocabulary(make_vocabulary().tokenizer_json, add=LONG), seed)


def seen(word: str, times: int) -> list[str]:
    return [f"{word} ba bo bu ba"] * times


def test_rare_words_come_often_and_frequent_ones_seldom() -> None:
    composer = make_composer()
    texts = seen(LONG[0], 400)
    composer.count(texts, quiet)
    found = Counter(
        word for text in composer.compose(0, texts, 500, quiet) for word in text.split()
    )
    put_in = {word: found[word] for word in LONG[1:]}
    assert min(put_in.values()) > 0, "every word that the corpus lacks"
    spans = sum(found[word] for word in ("ba", "bo", "bu"))
    assert spans > sum(put_in.values()) / 2, "in the company of the corpus's own"
    assert found[LONG[0]] < spans


@pytest.mark.parametrize("text", ["ba bo bu", "ba" * 40 + " ba bo bu", "", "babobubabobu"])
def test_texts_that_are_not_words_with_spaces_give_none(text: str) -> None:
    assert make_composer().compose(0, [text] * 9, 20, quiet) == []


def test_a_vocabulary_without_whole_words_gives_none() -> None:
    composer = Composer(build_vocabulary(make_vocabulary().tokenizer_json, remove=[UNUSED]), 0)
    assert composer.words == ()
    assert composer.compose(0, make_texts(50), 20, quiet) == []


def test_texts_follow_from_seed_and_place() -> None:
    texts = make_texts(50)
    first = make_composer().compose(0, texts, 20, quiet)
    assert len(first) == 20
    assert first == make_composer().compose(0, texts, 20, quiet)
    assert first != make_composer().compose(1, texts, 20, quiet)
    assert first != make_composer(seed=1).compose(0, texts, 20, quiet)


def test_shares_are_of_all_texts_and_bounded() -> None:
    assert sum(shares([100, 100, 33])) == int(COMPOSED_SHARE * 233)
    assert shares([100, 0, 100])[1] == 0
    assert sum(shares([2048] * 128)) == MOST_COMPOSED
    assert shares([]) == []


def test_composed_shards_are_learned_from_but_not_counted(tmp_path: Path) -> None:
    texts = make_texts(1_000)
    alone = run(tmp_path / "alone", Corpus(texts, speak))
    assert alone.facts["composed_texts"] == 0
    more = Corpus(texts, speak)
    more.training = (*more.training, *Corpus([f"{UNUSED} {UNUSED} da"] * 256, speak).training)
    added = len(more.training) - len(Corpus(texts, speak).training)
    told = run(tmp_path / "told", more, composed=added)
    assert told.facts["training_texts"] == alone.facts["training_texts"]
    assert told.facts["composed_texts"] == 224
    assert told.facts["grown_pairs"] == alone.facts["grown_pairs"]
    assert told.axes.tobytes() == alone.axes.tobytes()
    row = row_of(UNUSED)
    assert told.table[row].tobytes() != alone.table[row].tobytes()
    counted = run(tmp_path / "counted", more)
    assert counted.axes.tobytes() != alone.axes.tobytes()


def row_of(word: str) -> int:
    row = Tokenizer.from_str(make_vocabulary().tokenizer_json).token_to_id(word)
    assert row is not None
    return int(row)
