"""What holds for any bytes and any texts, against plain statements of the same rules."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from distillation.corpus.support import from_texts, texts_of
from hypothesis import given, settings
from hypothesis import strategies as st

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.corpus.cleaning import MAX_TEXT_BYTES, clean
from stillroom_server.distillation.corpus.duplicates import SeenDigests, digests
from stillroom_server.distillation.corpus.holdout import HeldOut, held_out_count, scores
from stillroom_server.distillation.corpus.lines import read_lines

_PIECES = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"word", "é".encode(), "日本".encode(), b" "])
_TEXTS = st.lists(st.text(alphabet=st.sampled_from("ab é\n\t\x00日"), max_size=6), max_size=80)


def chunked(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield data[start:end]


@given(st.lists(_PIECES, max_size=60).map(b"".join), st.lists(st.integers(0, 400), max_size=12))
def test_lines_do_not_depend_on_chunks(data: bytes, cuts: list[int]) -> None:
    limit = 7
    expected = data.decode().split("\n")
    if expected[-1] == "":
        expected.pop()
    found = [line for lines in read_lines(chunked(data, cuts), limit, "f") for line in lines]
    assert found == [line[: limit + 1] for line in expected]


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_bad_bytes_are_found_in_the_same_line_however_chunked(data: bytes, cuts: list[int]) -> None:
    def outcome(chunks: Iterator[bytes]) -> object:
        try:
            return [line for lines in read_lines(chunks, 99, "f") for line in lines]
        except InvalidArgument as error:
            return error.metadata["line"]

    whole = outcome(iter([data]))
    good = data.decode("utf-8", "replace").encode() == data
    assert isinstance(whole, list) == good
    assert outcome(chunked(data, cuts)) == whole


@given(st.lists(st.text(max_size=30).map(lambda text: text.replace("\n", " ")), max_size=30))
def test_cleaned_texts_are_one_clean_line(lines: list[str]) -> None:
    cleaned = clean(lines)
    assert len(cleaned.texts) + cleaned.blank == len(lines)
    for text in cleaned.texts:
        assert text == text.strip()
        assert 0 < len(text) <= MAX_TEXT_BYTES
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text.decode())
    again = clean([text.decode() for text in cleaned.texts])
    assert again.texts == cleaned.texts


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=40), max_size=12))
def test_seen_digests_are_a_set(batches: list[list[int]]) -> None:
    seen, expected = SeenDigests(), set[int]()
    for batch in batches:
        new = seen.add(np.array(batch, dtype=np.uint64)).tolist()
        for key, is_new in zip(batch, new, strict=True):
            key = key or 1  # zero and one count as the same
            assert is_new == (key not in expected)
            expected.add(key)
    assert len(seen) == len(expected)


def test_seen_digests_grow_and_keep_everything() -> None:
    keys = digests([b"%d" % i for i in range(200_000)])
    seen = SeenDigests()
    assert all(seen.add(part).all() for part in np.array_split(keys, 37))
    assert not any(seen.add(part).any() for part in np.array_split(keys, 5))
    assert len(seen) == len(np.unique(keys)) == 200_000


def test_keys_that_want_one_slot_are_told_apart() -> None:
    keys = (np.arange(1, 3000, dtype=np.uint64) << np.uint64(20)) | np.uint64(5)
    seen = SeenDigests()
    assert seen.add(keys).all()
    assert not seen.add(keys[::-1]).any()


@settings(deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=6), unique=True, min_size=1, max_size=400),
    st.floats(0.01, 0.5),
    st.integers(0, 2**64 - 1),
)
def test_the_smallest_scores_are_held_out(texts: list[bytes], share: float, seed: int) -> None:
    ranked = scores(digests(texts), seed).tolist()
    chooser = HeldOut(share)
    training = [chooser.offer(text, score) for text, score in zip(texts, ranked, strict=True)]
    rest, held_out = chooser.finish()
    below = sum(score < share * 2.0**64 for score in ranked)
    count = held_out_count(below, len(texts))
    smallest = sorted(zip(ranked, texts, strict=True))[:count]
    assert set(held_out) == {text for _, text in smallest}
    assert held_out == sorted(held_out, key=texts.index)
    assert sorted([text for text in training if text is not None] + rest + held_out) == sorted(
        texts
    )


def test_few_are_held_out_of_few_and_never_all() -> None:
    assert [held_out_count(0, n) for n in (0, 1, 2, 3, 8, 400, 10**6)] == [0, 0, 1, 1, 2, 64, 64]
    assert [held_out_count(10**6, n) for n in (1, 2, 3, 9, 10**6)] == [0, 1, 1, 4, 4096]


def test_a_large_share_stays_within_the_bound() -> None:
    texts = [b"%d" % i for i in range(20_000)]
    ranked = scores(digests(texts), 7).tolist()
    chooser = HeldOut(0.5)
    for text, score in zip(texts, ranked, strict=True):
        chooser.offer(text, score)
    _, held_out = chooser.finish()
    last = sorted(ranked)[4095]
    assert held_out == [t for t, score in zip(texts, ranked, strict=True) if score <= last]


def test_a_text_stays_held_out_when_others_come() -> None:
    few, many = ([b"%d" % i for i in range(n)] for n in (5_000, 40_000))
    chosen = []
    for texts in (few, many):
        chooser = HeldOut(0.05)
        for text, score in zip(texts, scores(digests(texts), 1).tolist(), strict=True):
            chooser.offer(text, score)
        chosen.append(set(chooser.finish()[1]))
    assert chosen[0] == chosen[1] & set(few)


@settings(deadline=None, max_examples=60)
@given(_TEXTS)
def test_a_corpus_is_the_distinct_cleaned_texts(texts: list[str]) -> None:
    expected = {re.sub(r"[\x00-\x1f]", " ", text).strip() for text in texts} - {""}
    with tempfile.TemporaryDirectory() as name:
        if not expected:
            return
        corpus = from_texts(texts, Path(name) / "c", held_out=0.3)
        training, held_out = texts_of(corpus)
    assert sorted(training + held_out) == sorted(expected)
    facts = corpus.facts
    assert facts["lines"] == len(texts) == facts["blank"] + facts["duplicates"] + facts["texts"]
    assert len(held_out) == facts["held_out"] >= (len(expected) >= 2)
    assert facts["bytes"] == sum(len(text.encode()) for text in expected)
