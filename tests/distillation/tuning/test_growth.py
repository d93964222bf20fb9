from __future__ import annotations

import json

import numpy as np
import pytest
from distillation import teachers
from tokenizers import Tokenizer

from stillroom_server.distillation.tuning.bags import expansion
from stillroom_server.distillation.tuning.growth import grow
from stillroom_server.distillation.tuning.words import Spelling, Usage
from stillroom_server.distillation.vocabulary import build_vocabulary
from stillroom_server.inference.tokenizers.choose import choose_tokenizer

FAMILIES = ("wordpiece", "bpe", "unigram", "modern")
WORDS = ["distillery", "students", "quickest"]
PAIRS = ["the student", "quick brown", "don't"]


def ids(source: str, text: str) -> list[int]:
    found: list[int] = Tokenizer.from_str(source).encode(text, add_special_tokens=False).ids
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_grown_tokens_add_up_to_what_they_replace(family: str) -> None:
    base = build_vocabulary(teachers.tokenizer(family).to_str())
    grown = grow(base, WORDS, PAIRS)
    assert set(WORDS) >= set(grown.words)
    assert len(grown.words) + len(grown.pairs) >= 3, "the family keeps most of them whole"
    text = "who saw the student and a quick brown fox while students don't"
    before, after = ids(base.tokenizer_json, text), ids(grown.tokenizer_json, text)
    assert len(after) < len(before)
    rows = np.random.default_rng(0).normal(size=(len(grown), 3))
    rows[len(base) :] = 0.0  # the differences
    rows[list(base.silent)] = 0.0
    table = expansion(grown) @ rows
    assert np.allclose(table[after].sum(axis=0), rows[before].sum(axis=0))


def test_a_tokenizer_that_splits_nothing_stays_as_it_is() -> None:
    base = build_vocabulary(teachers.tokenizer("sentencepiece").to_str())
    assert len(grow(base, WORDS, PAIRS)) == len(base)


def test_what_cannot_be_one_token_is_left_out() -> None:
    base = build_vocabulary(teachers.tokenizer("wordpiece").to_str())
    unknown = "日本"
    grown = grow(base, ["the", unknown, "students", "students"], ["the student"])
    assert grown.words == ("students",)
    assert grow(base, WORDS, [], 1).words == ("distillery",)
    assert grow(base, [], []).tokenizer_json == base.tokenizer_json


def test_words_of_letters_are_found_by_the_model_itself() -> None:
    base = build_vocabulary(teachers.tokenizer("wordpiece").to_str())
    parts = json.loads(grow(base, WORDS, []).tokenizer_json)
    assert not [token for token in parts["added_tokens"] if token["content"] in WORDS]


def test_the_fast_tokenizer_serves_pairs() -> None:
    pytest.importorskip("daachorse")
    base = build_vocabulary(teachers.tokenizer("wordpiece").to_str())
    chosen = choose_tokenizer(grow(base, WORDS, PAIRS).tokenizer_json)
    assert chosen.engine.name == "nanotoken-pairs", chosen.reason


def test_counts_words_and_pairs_as_they_will_be_matched() -> None:
    usage = Usage(Spelling(teachers.tokenizer("wordpiece")))
    usage.add(["The Student keeps, the  student DON'T keep", "the student 22 words"])
    assert usage.words == {"the": 3, "student": 3, "keeps": 1, "keep": 1, "words": 1}
    assert usage.pairs["the student"] == 2, "neither across two spaces nor a comma"
    assert usage.pairs["don't"] == usage.pairs["don't keep"] == 1
    assert "student words" not in usage.pairs
    assert usage.frequent(usage.words, 2, 9) == ["student", "the"]
    assert usage.frequent(usage.words, 2, 1) == ["student"]


def test_counting_forgets_the_rare_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stillroom_server.distillation.tuning.words._MOST_ENTRIES", 20)
    usage = Usage(Spelling(teachers.tokenizer("wordpiece")))
    letters = "abcdefghijklmnopqrstuvwxyz"
    for first in letters:
        usage.add(["often often often " + " ".join(first + second for second in letters)])
    assert len(usage.words) <= 20
    assert usage.words["often"] == 78
