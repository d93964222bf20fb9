"""Vocabularies of students, for every family."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from distillation.teachers import CORPUS, tokenizer
from tokenizers import Tokenizer

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.vocabulary import StudentVocabulary, build_vocabulary

FAMILIES = ("wordpiece", "bpe", "unigram", "modern", "decoder", "sentencepiece")
UNKNOWN = {
    "wordpiece": "[UNK]",
    "bpe": "<unk>",
    "unigram": "<unk>",
    "modern": None,
    "decoder": None,
    "sentencepiece": "<unk>",
}
BYTE_LEVEL = ("bpe", "modern", "decoder")


def source_of(family: str, **changes: Any) -> str:
    source = json.loads(tokenizer(family).to_str())
    return json.dumps({**source, **changes})


def load(vocabulary: StudentVocabulary) -> Tokenizer:
    return Tokenizer.from_str(vocabulary.tokenizer_json)


def tokens_of(vocabulary: StudentVocabulary, text: str) -> list[str]:
    tokens: list[str] = load(vocabulary).encode(text).tokens
    return tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_the_teachers_tokens_in_its_order(family: str) -> None:
    before = tokenizer(family)
    vocabulary = build_vocabulary(source_of(family))
    after = load(vocabulary)
    assert sorted(after.get_vocab().values()) == list(range(len(vocabulary)))
    assert list(vocabulary.teacher_ids) == sorted(vocabulary.teacher_ids)
    for row, teacher_id in enumerate(vocabulary.teacher_ids):
        assert after.id_to_token(row) == before.id_to_token(int(teacher_id))
    assert vocabulary.words == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_go_and_the_unknown_one_stays(family: str) -> None:
    vocabulary = build_vocabulary(source_of(family))
    left = set(load(vocabulary).get_vocab())
    unknown = UNKNOWN[family]
    assert not left & {"[CLS]", "<s>", "</s>", "[SEP]", "<mask>", "|||EMAIL|||", "[unused0]"}
    silent = [load(vocabulary).id_to_token(row) for row in vocabulary.silent]
    assert silent == ([] if family in BYTE_LEVEL else [unknown])
    parts = json.loads(vocabulary.tokenizer_json)
    assert parts["post_processor"] is parts["truncation"] is parts["padding"] is None


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_cut_up_as_the_teacher_cuts_them(family: str) -> None:
    before, vocabulary = tokenizer(family), build_vocabulary(source_of(family))
    for text in CORPUS:
        # Students of byte-level teachers begin a text as a word in its middle begins.
        given = " " + text if family in BYTE_LEVEL else text
        expected = before.encode(given, add_special_tokens=False).tokens
        assert tokens_of(vocabulary, text) == expected


def test_the_padding_token_of_the_file_stays_silent() -> None:
    padding = {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    vocabulary = build_vocabulary(source_of("wordpiece", padding=padding))
    assert vocabulary.silent == (0, 1)
    assert load(vocabulary).id_to_token(0) == "[PAD]"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "words",
    [
        ["distillery"],
        ["zymurgy", "zymurgyfox", "foxzymurgy", "foxzymurgyfox"],
        ["c++", "New York", "teachers-to-be"],
        ["Größenmaß", "日本"],
    ],
)
def test_added_words_are_one_token_each(family: str, words: list[str]) -> None:
    vocabulary = build_vocabulary(source_of(family), add=words)
    plain = build_vocabulary(source_of(family))
    made = load(vocabulary)
    assert len(vocabulary) == len(plain) + len(words) == made.get_vocab_size()
    assert list(vocabulary.teacher_ids[len(plain) :]) == [-1] * len(words)
    for index, word in enumerate(words):
        row = len(plain) + index
        assert made.encode(word).ids == [row]
        assert made.encode(f"the {word} and a {word}!").ids.count(row) == 2
    for text in CORPUS:  # and no other text is cut up differently
        assert tokens_of(vocabulary, text) == tokens_of(plain, text)


@pytest.mark.parametrize("family", FAMILIES)
def test_removed_tokens_fall_to_pieces(family: str) -> None:
    plain = build_vocabulary(source_of(family))
    text = "a student and the teacher keep the house"
    longest = max(tokens_of(plain, text)[1:], key=len)
    vocabulary = build_vocabulary(source_of(family), remove=[longest])
    assert len(vocabulary) == len(plain) - 1
    assert longest not in load(vocabulary).get_vocab()
    left = tokens_of(vocabulary, text)
    assert longest not in left
    assert set(tokens_of(plain, text)) - {longest} <= set(left)


@pytest.mark.parametrize("family", ["bpe", "modern"])
def test_a_bpe_word_outlives_the_removal_of_its_pieces(family: str) -> None:
    source = json.loads(source_of(family))
    left, right = source["model"]["merges"][-1]
    word = left + right
    if not word.startswith("Ġ"):
        pytest.skip("the last merge of this corpus makes no whole word")
    vocabulary = build_vocabulary(json.dumps(source), remove=[left])
    assert tokens_of(vocabulary, word.removeprefix("Ġ")) == [word]


def test_the_pattern_takes_tokens_by_their_beginning() -> None:
    everything = build_vocabulary(source_of("wordpiece"), remove_pattern=None)
    usual = build_vocabulary(source_of("wordpiece"))
    digits = build_vocabulary(source_of("wordpiece"), remove_pattern=r"(##)?\d")
    assert len(everything) - len(usual) == 5
    assert not [token for token in load(digits).get_vocab() if token[0].isdigit()]
    assert "[unused1]" in load(digits).get_vocab()


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("remove_pattern", {"remove_pattern": "("}),
        ("remove_pattern", {"remove_pattern": "."}),
        ("remove_tokens[1]", {"remove": ["the", "no such token"]}),
        ("remove_tokens[0]", {"remove": ["[UNK]"]}),
        ("add_words[0]", {"add": ["the"]}),
        ("add_words[0]", {"add": ["THE"]}),
        ("add_words[1]", {"add": ["zymurgy", "Zymurgy"]}),
        ("add_words[0]", {"add": [" \t "]}),
        ("add_words[0]", {"add": ["\u200b\ufeff"]}),
        ("add_words[0]", {"add": ["long" * 65]}),
    ],
)
def test_what_makes_no_sense_is_refused(field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        build_vocabulary(source_of("wordpiece"), **arguments)
    assert caught.value.field == field


def test_another_family_is_refused() -> None:
    source = json.loads(source_of("wordpiece"))
    source["model"]["type"] = "Anagram"
    with pytest.raises(FailedPrecondition, match="Anagram"):
        build_vocabulary(json.dumps(source))


@pytest.mark.parametrize("family", ["wordpiece", "bpe"])
def test_the_rows_are_those_of_skeletoken(family: str) -> None:
    """The library that model2vec reduces vocabularies with keeps the same tokens."""
    skeletoken = pytest.importorskip("skeletoken")
    model = skeletoken.TokenizerModel.from_string(source_of(family)).prune_added_tokens()
    model.post_processor = None
    model = model.prune_added_tokens()
    spare = [token for token in model.sorted_vocabulary if token.startswith("[unused")]
    expected = model.remove_tokens_from_vocabulary(spare).sorted_vocabulary
    ours = load(build_vocabulary(source_of(family)))
    found = [ours.id_to_token(row) for row in range(ours.get_vocab_size())]
    # A BPE model without an unknown token of its own needs none: it knows every byte.
    assert found == [token for token in expected if family != "bpe" or token != "<unk>"]


def test_ids_are_integers_of_numpy() -> None:
    assert build_vocabulary(source_of("bpe")).teacher_ids.dtype == np.int64
