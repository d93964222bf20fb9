"""The short way for one text gives what the general way gives, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.students import write_student
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.tokenizers.base import offsets_of_one

ORDINARY = ["my new card", "the exchange rate was charged twice", "help x", "card " * 500]


@pytest.fixture(scope="module", params=["huggingface", "nanotoken"])
def embedder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> StudentEmbedder:
    folder = write_student(tmp_path_factory.mktemp("one") / "student")
    return StudentEmbedder.load(folder, tokenizer=request.param)


@pytest.mark.parametrize("text", ORDINARY)
def test_it_is_the_general_way_to_the_bit(embedder: StudentEmbedder, text: str) -> None:
    found, general = embedder.embed_one(text), embedder.embed([text])
    assert found is not None
    assert found.data == general.vectors.astype("<f4").tobytes()
    assert found.tokens == general.tokens[0]


@pytest.mark.parametrize("text", ["", "   ", "Ωμέγα", "\ud800", "card " * 513])
def test_what_would_be_cut_warned_of_or_refused_is_left_alone(
    embedder: StudentEmbedder, text: str
) -> None:
    assert embedder.max_tokens == 512
    assert embedder.embed_one(text) is None


def test_with_weights_too(tmp_path: Path) -> None:
    folder = write_student(tmp_path / "student", weights=True, dtype="int8")
    embedder = StudentEmbedder.load(folder)
    found = embedder.embed_one(ORDINARY[0])
    assert found is not None
    vector = np.frombuffer(found.data, "<f4")
    np.testing.assert_array_equal(vector, embedder.embed(ORDINARY[:1]).vectors[0])


def test_shared_offsets_cannot_be_written() -> None:
    assert offsets_of_one(7).tolist() == [0, 7]
    with pytest.raises(ValueError, match="read-only"):
        offsets_of_one(7)[1] = 8
