"""Pairs of words as tokens, found outside the tokenizer: the same ids as the reference's."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from inference.students import WORDS, byte_bpe, wordpiece
from stillroom_server.inference.tokenizers import paired
from stillroom_server.inference.tokenizers.base import Unsupported
from stillroom_server.inference.tokenizers.choose import choose_tokenizer
from stillroom_server.inference.tokenizers.equality import check_texts, difference
from stillroom_server.inference.tokenizers.huggingface import HuggingFaceTokenizer
from stillroom_server.inference.tokenizers.paired import PairedTokenizer
from stillroom_server.inference.verdicts import MemoryVerdicts

PAIRS = [
    *("the cat", "cat sat", "a the", "the catalog", "don't", "don't a", "t a"),
    *("rock 'n roll", "h a", "café a", "l\u2019a", "on the"),
]


def with_pairs(pairs: Sequence[str] = PAIRS, **changed: bool) -> str:
    tokenizer = Tokenizer.from_str(wordpiece([*WORDS, "the", "cat", "sat", "catalog"]))
    how = {"single_word": True, "lstrip": True, "normalized": True, **changed}
    tokenizer.add_tokens([AddedToken(pair, **how) for pair in pairs])
    spec = json.loads(tokenizer.to_str())
    for token in spec["added_tokens"]:
        spec["model"]["vocab"].setdefault(token["content"], token["id"])
    return json.dumps(spec)


SOURCE = with_pairs()
REFERENCE = HuggingFaceTokenizer(SOURCE)


@pytest.fixture(scope="module")
def tokenizer() -> PairedTokenizer:
    return PairedTokenizer(SOURCE)


def ids(tokenizer: PairedTokenizer | HuggingFaceTokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.encode([text])[0].tolist()
    return found


def row(pair: str) -> int:
    added = json.loads(SOURCE)["added_tokens"]
    return int(next(token["id"] for token in added if token["content"] == pair))


@pytest.mark.parametrize(
    "text", ["the cat", "The CAT", "the\ncat", "(the cat)", "  the cat", "\tthe cat"]
)
def test_a_pair_is_one_token(tokenizer: PairedTokenizer, text: str) -> None:
    assert row("the cat") in ids(tokenizer, text)


@pytest.mark.parametrize(
    "text", ["the  cat", "the cats", "lathe cat", "the-cat", "the_cat", "_the cat"]
)
def test_what_is_no_pair_is_none(tokenizer: PairedTokenizer, text: str) -> None:
    assert row("the cat") not in ids(tokenizer, text)


def test_what_ends_inside_a_word_hides_what_begins_in_it(tokenizer: PairedTokenizer) -> None:
    # "h a" of "with a" is found first and is none; "a the" begins in it.
    for text in ("with a the", "on the cat sat", "the catalogue a the", "don't a the cat"):
        assert ids(tokenizer, text) == ids(REFERENCE, text)
    assert row("a the") not in ids(tokenizer, "with a the")


PARTS = st.sampled_from(
    [
        *("the", "cat", "sat", "a", "catalog", "don't", "t", "rock", "'n", "roll", "with", "on"),
        *("The", "CAT", "café", "l\u2019a", "h", "Z", "Y", "theZcat", "x" * 101, "[UNK]", "[PAD"),
        *(".", "_", "-", "'", "7", "漢", "é", "\x00", "\x1f", "\x7f", ""),
    ]
)
GAPS = st.sampled_from([" ", " ", " ", " ", "", "  ", "\n", "\t", "\r\n", "\u00a0"])
TEXTS = st.lists(st.tuples(PARTS, GAPS), max_size=9).map(
    lambda parts: "".join(part + gap for part, gap in parts)
)


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_equals_the_reference(tokenizer: PairedTokenizer, texts: list[str]) -> None:
    assert difference(tokenizer, REFERENCE, texts) is None


def test_every_run_of_three_equals_the_reference(tokenizer: PairedTokenizer) -> None:
    words = ["the", "cat", "sat", "a", "don't", "t", "h", "with", "catalog", "on", "l\u2019a"]
    texts = [" ".join(run) for run in product(words, repeat=3)]
    assert difference(tokenizer, REFERENCE, texts) is None


def test_long_texts_and_many_equal_the_reference(
    tokenizer: PairedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired, "_AT_ONCE", 64)
    texts = ["the cat sat " * 40, "a the cat", "", *["don't a the"] * 30, "the cat " * 9]
    assert difference(tokenizer, REFERENCE, texts) is None
    assert difference(tokenizer, REFERENCE, [*texts, "café the cat"]) is None


def test_no_texts(tokenizer: PairedTokenizer) -> None:
    found, offsets = tokenizer.encode([])
    assert (found.tolist(), offsets.tolist()) == ([], [0])


@pytest.mark.parametrize("others", [[], ["the cat"], ["漢"]])
def test_what_is_no_text_is_refused(tokenizer: PairedTokenizer, others: list[str]) -> None:
    with pytest.raises((UnicodeEncodeError, TypeError)):
        tokenizer.encode([*others, "the \ud800 cat"])
    with pytest.raises((UnicodeEncodeError, TypeError)):
        tokenizer.encode_one("\ud800")


def test_it_serves_after_the_whole_check() -> None:
    chosen = choose_tokenizer(SOURCE, verdicts=MemoryVerdicts())
    assert chosen.engine.name == "nanotoken-pairs"
    assert chosen.reason.startswith("same ids as huggingface on ")
    pieces = [*json.loads(SOURCE)["model"]["vocab"], *PAIRS, *("the", "cat", "a", "t", "h") * 20]
    assert difference(chosen.engine, REFERENCE, check_texts(pieces, 2_000, seed=5)) is None


def cased() -> str:
    spec = json.loads(SOURCE)
    spec["normalizer"]["lowercase"] = False
    return json.dumps(spec)


def spelled_alike() -> str:
    spec = json.loads(SOURCE)
    spec["model"]["vocab"]["theZcat"] = len(spec["model"]["vocab"])
    return json.dumps(spec)


def two_ids() -> str:
    spec = json.loads(SOURCE)
    spec["model"]["vocab"]["the cat"] = 2
    return json.dumps(spec)


@pytest.mark.parametrize(
    "source",
    [
        '{"single_word": true',
        '["single_word", {"single_word": true}]',
        '{"added_tokens": [{"single_word": true}]}',
        '{"added_tokens": [{"single_word": true}], "model": null, "normalizer": 7}',
        SOURCE.replace('"normalized": true', '"normal": true'),
        SOURCE.replace('"the cat"', "7"),
        SOURCE.replace('"vocab"', '"words"'),
    ],
)
def test_what_is_no_tokenizer_is_refused(source: str) -> None:
    with pytest.raises(Unsupported):
        choose_tokenizer(source, verdicts=MemoryVerdicts())


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (wordpiece(), "^$"),
        (byte_bpe(), "^$"),
        (with_pairs(single_word=False), "^$"),
        (cased(), "lower case"),
        (two_ids(), "two ids"),
        (spelled_alike(), "a word already"),
        (with_pairs(["the cat", "x y3"]), "no pair of words"),
        (with_pairs(["a " + "b" * 99]), "longer than a word"),
    ],
)
def test_other_tokenizers_go_elsewhere(source: str, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        PairedTokenizer(source)
    assert choose_tokenizer(source, verdicts=MemoryVerdicts()).engine.name != "nanotoken-pairs"


def test_without_the_package_nanotoken_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "daachorse", None)
    with pytest.raises(Unsupported, match="daachorse is not installed"):
        PairedTokenizer(SOURCE)
    assert choose_tokenizer(SOURCE, verdicts=MemoryVerdicts()).engine.name == "nanotoken"
