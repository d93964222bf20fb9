"""Tokenizer engines: cuts on flat ids, equality with the reference, and what the check passes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.students import WORDS, byte_bpe, wordpiece
from stillroom_registry.errors import InvalidArgument
from stillroom_server.inference.tokenizers import choose
from stillroom_server.inference.tokenizers.base import Ids, Offsets, Unsupported, count, limit
from stillroom_server.inference.tokenizers.base import limit_one as limit_single
from stillroom_server.inference.tokenizers.choose import FastEngine, choose_tokenizer
from stillroom_server.inference.tokenizers.equality import check_texts, difference
from stillroom_server.inference.tokenizers.huggingface import HuggingFaceTokenizer
from stillroom_server.inference.tokenizers.nano import NanoTokenizer
from stillroom_server.inference.verdicts import FileVerdicts, MemoryVerdicts, Verdict


def flat(rows: list[list[int]]) -> tuple[Ids, Offsets]:
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    return np.array([token for row in rows for token in row], np.int32), offsets


rows_of_ids = st.lists(st.lists(st.integers(0, 4), max_size=9), max_size=12)


@given(rows_of_ids, st.integers(1, 10), st.booleans())
def test_limit_cuts_each_text_by_itself(rows: list[list[int]], most: int, left: bool) -> None:
    ids, offsets = flat(rows)
    before = ids.copy()
    batch = limit(ids, offsets, most, left=left)
    expected = [row[-most:] if left else row[:most] for row in rows]
    found = [batch.ids[a:b].tolist() for a, b in pairwise(batch.offsets)]
    assert found == expected
    assert batch.lengths.tolist() == [len(row) for row in expected]
    assert batch.truncated.tolist() == [len(row) > most for row in rows]
    counts = count(batch.ids, batch.offsets, 1)
    assert counts.tolist() == [row.count(1) for row in expected]
    assert count(batch.ids, batch.offsets, None).tolist() == [0] * len(rows)
    np.testing.assert_array_equal(ids, before)
    for row in rows:
        one, many = (
            limit_single(*flat([row]), most, left=left),
            limit(*flat([row]), most, left=left),
        )
        for part, other in zip(one, many, strict=True):
            np.testing.assert_array_equal(part, other)


@given(st.lists(st.text(), max_size=5))
def test_nanotoken_equals_the_reference(texts: list[str]) -> None:
    found = difference(NANO, HUGGINGFACE, texts) if texts else None
    assert found is None


NANO = NanoTokenizer(wordpiece())
HUGGINGFACE = HuggingFaceTokenizer(wordpiece())


class Wrong:
    """The reference, but for one text in many."""

    name = "wrong"
    nbytes = 0
    built = 0

    def __init__(self, tokenizer_json: str) -> None:
        type(self).built += 1
        self._right = HuggingFaceTokenizer(tokenizer_json)

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        ids, offsets = self._right.encode(texts)
        for index, text in enumerate(texts):
            if "漢" in text and offsets[index + 1] > offsets[index]:
                ids[offsets[index]] += 1
        return ids, offsets

    def encode_one(self, text: str) -> Ids:
        return self.encode([text])[0]


class WrongAlone(Wrong):
    name = "wrong-alone"

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        return super().encode(texts) if len(texts) == 1 else self._right.encode(texts)


class Panicking(Wrong):
    name = "panicking"

    class PanicException(BaseException):
        pass

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        raise self.PanicException("boundary")


def few_texts(vocabulary: Sequence[str], seed: int = 0) -> list[str]:
    return check_texts(vocabulary, 40, seed)


@pytest.mark.parametrize(
    ("engine", "what"),
    [(Wrong, "instead of"), (WrongAlone, "when encoded alone"), (Panicking, "failed")],
)
def test_an_engine_that_differs_is_not_used(
    monkeypatch: pytest.MonkeyPatch, engine: type[Wrong], what: str
) -> None:
    monkeypatch.setattr(choose, "check_texts", few_texts)
    engines = {engine.name: FastEngine(engine, ("no-such-distribution",))}
    for name in ("auto", engine.name):
        chosen = choose_tokenizer(wordpiece(), name, verdicts=MemoryVerdicts(), engines=engines)
        assert chosen.engine.name == "huggingface"
        assert f"{engine.name} differs on" in chosen.reason
        assert what in chosen.reason


def test_the_whole_check_passes_nanotoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "check_texts", check_texts)
    monkeypatch.setattr(choose, "_this_process", MemoryVerdicts())
    chosen = choose_tokenizer(wordpiece(), verdicts=MemoryVerdicts())
    assert chosen.engine.name == "nanotoken"
    assert chosen.reason == "same ids as huggingface on 10,032 texts"


def test_what_nanotoken_cannot_load_falls_back_and_says_why() -> None:
    chosen = choose_tokenizer(byte_bpe())
    assert chosen.engine.name == "huggingface"
    assert "nanotoken cannot load it" in chosen.reason


def test_without_the_package_the_reference_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("stillroom_server.inference.tokenizers.nano.load_extension", missing)
    chosen = choose_tokenizer(wordpiece())
    assert chosen.engine.name == "huggingface"
    assert "not installed" in chosen.reason


def test_the_memory_of_words_is_bounded() -> None:
    from nanotoken import nanotoken_rs

    assert NanoTokenizer(wordpiece()).nbytes > 8 << 20
    assert nanotoken_rs.get_cache_entries() == 1 << 16


def test_unknown_engine_and_unloadable_tokenizer() -> None:
    with pytest.raises(InvalidArgument) as caught:
        choose_tokenizer(wordpiece(), "abacus")
    assert "nanotoken" in caught.value.message
    with pytest.raises(Unsupported):
        choose_tokenizer('{"model": {"type": "Magic", "vocab": {}}}')


def test_the_verdict_outlives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = []

    def counted(*arguments: object) -> Verdict:
        checks.append(arguments)
        return {"equal": "yes", "reason": "tried"}

    monkeypatch.setattr(choose, "_check", counted)
    for expected, words in ((1, WORDS), (1, WORDS), (2, [*WORDS, "another"])):
        monkeypatch.setattr(choose, "_this_process", MemoryVerdicts())  # a new process
        chosen = choose_tokenizer(wordpiece(words), verdicts=FileVerdicts(tmp_path / "cache"))
        assert (chosen.engine.name, chosen.reason) == ("nanotoken", "tried")
        assert len(checks) == expected
    for file in (tmp_path / "cache").iterdir():
        file.write_text("{")  # torn
    monkeypatch.setattr(choose, "_this_process", MemoryVerdicts())
    choose_tokenizer(wordpiece(), verdicts=FileVerdicts(tmp_path / "cache"))
    assert len(checks) == 3


def test_check_texts_are_many_and_the_same_each_time() -> None:
    texts = check_texts(["the", "card"])
    assert texts == check_texts(["the", "card"])
    assert len(texts) > 10_000
    assert len(set(texts)) > 9_000
    assert max(map(ord, "".join(texts))) > 0xFFFF
    "".join(texts).encode()  # no lone surrogates: the engines could not even try them
