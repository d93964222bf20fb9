from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inference.students import naive_vector, write_student

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.features.encode import encode_texts
from stillroom_server.classification.features.encoded import Encoded
from stillroom_server.classification.features.load import load_encoder
from stillroom_server.classification.features.ngram_matrix import choose_features, ngram_matrix
from stillroom_server.distillation.context import Silent
from stillroom_server.inference.classifier.head import NgramArrays, Ngrams
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.options import EmbedOptions

TEXTS = [
    *("the card has not arrived", "money transfer failed", "", "change my pin please", "漢漢 漢"),
    *("top up failed twice and i am waiting for the new card", "what?", "😀"),
]
OPTIONS = [
    EmbedOptions(),
    EmbedOptions(normalize=False),
    EmbedOptions(dimensions=8),
    EmbedOptions(max_tokens=3, truncate_left=True),
    EmbedOptions(prompt="please help me: "),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_vectors_are_those_of_embed(tmp_path: Path, options: EmbedOptions, kind: str) -> None:
    folder = write_student(tmp_path, dtype=kind)
    encoder = load_encoder(folder, "static", options)
    encoded = encode_texts(encoder, TEXTS, Silent())
    embedded = StudentEmbedder.load(folder).embed(TEXTS, options)
    assert np.allclose(encoded.vectors, embedded.vectors, atol=1e-6)
    assert (encoded.tokens == embedded.tokens).all()
    assert (encoded.truncated == embedded.truncated).all()
    assert (encoded.known == embedded.vectors.any(axis=1)).all()
    assert encoder.dimensions == encoded.vectors.shape[1]
    assert encoder.table is not None
    assert encoder.table.element_type == kind


def test_takes_texts_in_any_order(tmp_path: Path) -> None:
    folder = write_student(tmp_path)
    encoder = load_encoder(folder, "static", EmbedOptions())
    every = encode_texts(encoder, TEXTS, Silent())
    order = np.array([5, 0, 2, 5])
    some = encode_texts(encoder, [TEXTS[at] for at in order], Silent())
    taken = every.take(order)
    for name in ("vectors", "known", "truncated", "tokens", "ids", "offsets"):
        assert (getattr(taken, name) == getattr(some, name)).all(), name
    assert len(every.take(np.zeros(0, np.int64))) == 0
    assert len(encode_texts(encoder, [], Silent())) == 0


def test_refuses_what_the_student_cannot_do(tmp_path: Path) -> None:
    folder = write_student(tmp_path)
    for options, name in (
        (EmbedOptions(dimensions=25), "dimensions"),
        (EmbedOptions(max_tokens=513), "max_tokens"),
        (EmbedOptions(prompt_name="none"), "prompt_name"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            load_encoder(folder, "static", options)
        assert refused.value.field == f"options.encoding.{name}"


def test_names_the_example_that_is_too_long(tmp_path: Path) -> None:
    encoder = load_encoder(
        write_student(tmp_path), "static", EmbedOptions(max_tokens=5, truncate=False)
    )
    with pytest.raises(InvalidArgument, match="example 5") as refused:
        encode_texts(encoder, TEXTS, Silent(), field="validation_data")
    assert refused.value.field == "validation_data"


def test_a_row_adds_what_the_definition_says(tmp_path: Path) -> None:
    folder = write_student(tmp_path, weights=True, mapping=True)
    encoder = load_encoder(folder, "static", EmbedOptions(normalize=False))
    encoded = encode_texts(encoder, TEXTS[:2], Silent())
    for text, vector in zip(TEXTS, encoded.vectors, strict=False):
        assert np.allclose(vector, naive_vector(folder, text, normalize=False), atol=1e-5)


def test_the_matrix_sums_what_serving_sums(tmp_path: Path) -> None:
    encoder = load_encoder(write_student(tmp_path), "static", EmbedOptions())
    encoded = encode_texts(encoder, TEXTS * 2, Silent())
    arrays = choose_features(encoded, 1, 3, 1000, 2)
    matrix = ngram_matrix(arrays, encoded)
    assert matrix.shape == (16, arrays.features + 1)
    rows = np.random.default_rng(0).normal(size=(arrays.features + 1, 3)).astype(np.float32)
    rows[0] = 0
    full = NgramArrays(arrays.min_n, arrays.max_n, arrays.slots, arrays.prints, rows)
    assert encoded.ids is not None
    assert encoded.offsets is not None
    assert np.allclose(matrix @ rows, Ngrams(full).sums(encoded.ids, encoded.offsets), atol=1e-5)


class Slow:
    """An encoder without a table, which counts what it is asked."""

    kind = "transformer"
    dimensions = 2
    max_tokens = 8
    texts_at_once = 2
    table = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str], check: object) -> Encoded:
        self.asked += texts
        count = len(texts)
        vectors = np.array([[len(text), 1] for text in texts], np.float32)
        flags = np.ones(count, np.bool_)
        return Encoded(vectors, flags, ~flags, np.ones(count, np.int32))


class StopsAt(Silent):
    def __init__(self, portion: int) -> None:
        self.left = portion

    def check_cancelled(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    encoder = Slow()
    with pytest.raises(KeyboardInterrupt):
        encode_texts(encoder, texts, StopsAt(2), kept=tmp_path)  # type: ignore[arg-type]
    encoded = encode_texts(encoder, texts, Silent(), kept=tmp_path)  # type: ignore[arg-type]
    assert encoder.asked == texts
    assert encoded.vectors[:, 0].tolist() == [1, 2, 3, 4, 5]
